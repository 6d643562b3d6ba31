# SPDX-License-Identifier: MIT
# The kernel side: one object per way in, linked into one, embedded in the binary as a skeleton. The
# entry programs are an object of their own, because they outlive the build that made them.

BPF_SRC := $(filter-out bpf/entry.bpf.c,$(sort $(wildcard bpf/*.bpf.c)))
BPF_OBJ := $(BPF_SRC:bpf/%.bpf.c=$(BUILD)/bpf/%.bpf.o)
BPF_CFLAGS := -target bpf -D__TARGET_ARCH_x86 -mcpu=v3 -O2 -g -Wall -Wno-unused-function \
	      -fno-stack-protector -I$(BUILD) -Ibpf

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h) $(BUILD)/vmlinux.h
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(BUILD)/pulltap.bpf.o: $(BPF_OBJ)
	$(BPFTOOL) gen object $@.tmp $^
	@mv $@.tmp $@

$(BUILD)/entry.bpf.o: $(BUILD)/bpf/entry.bpf.o
	$(BPFTOOL) gen object $@.tmp $^
	@mv $@.tmp $@

$(BUILD)/%.skel.h: $(BUILD)/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $*_bpf > $@.tmp
	@mv $@.tmp $@

GENERATED += $(BUILD)/pulltap.skel.h $(BUILD)/entry.skel.h
