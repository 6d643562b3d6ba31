# SPDX-License-Identifier: MIT
# The kernel side: one object per way in, linked into one, embedded in the binary as a skeleton.

BPF_SRC := $(sort $(wildcard bpf/*.bpf.c))
BPF_OBJ := $(BPF_SRC:bpf/%.bpf.c=$(BUILD)/bpf/%.bpf.o)
BPF_CFLAGS := -target bpf -D__TARGET_ARCH_x86 -mcpu=v3 -O2 -g -Wall -Wno-unused-function \
	      -fno-stack-protector -I$(BUILD) -Ibpf

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h) $(BUILD)/vmlinux.h
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(BUILD)/pulltap.bpf.o: $(BPF_OBJ)
	$(BPFTOOL) gen object $@ $^

$(BUILD)/pulltap.skel.h: $(BUILD)/pulltap.bpf.o
	$(BPFTOOL) gen skeleton $< name pulltap_bpf > $@.tmp
	@mv $@.tmp $@

GENERATED += $(BUILD)/pulltap.skel.h
