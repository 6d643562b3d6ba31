# SPDX-License-Identifier: MIT
# Kernel types for the BPF side: from the running kernel's BTF, else from the small kept fallback,
# which holds just what bpf/ names. CO-RE moves what differs on the node.

VMLINUX_BTF ?= /sys/kernel/btf/vmlinux

$(BUILD)/vmlinux.h: vmlinux/fallback.h
	@mkdir -p $(@D)
	@if [ -r $(VMLINUX_BTF) ] && $(BPFTOOL) btf dump file $(VMLINUX_BTF) format c > $@.tmp; then \
		mv $@.tmp $@; \
	else \
		echo "no kernel BTF at $(VMLINUX_BTF): building against vmlinux/fallback.h"; \
		rm -f $@.tmp; cp vmlinux/fallback.h $@; \
	fi
