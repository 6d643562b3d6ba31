# SPDX-License-Identifier: MIT
# Not part of `make test`: it downloads kernels and takes minutes.

KERNELS_TOOLS := $(BUILD)/kernels/verify $(BUILD)/kernels/send

$(KERNELS_TOOLS): $(BUILD)/kernels/%: tests/kernels/%.c bpf/abi.h
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) $(CFLAGS) -I. $< -lbpf -o $@

.PHONY: test-kernels
test-kernels: $(BUILD)/pulltap $(KERNELS_TOOLS) tools ## boots Debian kernels under QEMU and counts there
	BUILD=$(BUILD) tests/kernels/run.sh $(KERNELS)
