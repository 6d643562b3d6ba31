# SPDX-License-Identifier: MIT
# `make help` lists what there is.

BUILD   := build
CLANG   ?= clang
BPFTOOL ?= $(shell command -v bpftool 2>/dev/null || echo /usr/sbin/bpftool)
CC      ?= gcc
VERSION := $(shell cat VERSION 2>/dev/null || echo 0.1.0)
PYTHON  := /usr/bin/python3

WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef \
	    -Wno-format-zero-length
CFLAGS   ?= -O2 -g
C_FLAGS  := -std=gnu11 $(WARN) -D_GNU_SOURCE -Iuser -I$(BUILD) -DPULLTAP_VERSION='"$(VERSION)"' \
	    -fstack-protector-strong -I/usr/include/postgresql
LDLIBS   := -Wl,--as-needed -lbpf -lelf -lz -lZydis -lpq -ljansson -lxxhash -lseccomp -lcap-ng \
	    -lsystemd -lhiredis -lcurl -lm -lpthread

# What the user objects include but no repository holds. vmlinux/, bpf/ and deploy/ append to it.
GENERATED :=

USER_SRC := $(sort $(wildcard user/*.c user/*/*.c))
# Rooms without main: what the binary, the tests, the fuzzers and the tools all link.
ROOM_SRC := $(filter-out user/main.c,$(USER_SRC))

.PHONY: all
all: $(BUILD)/pulltap ## build build/pulltap

include vmlinux/rules.mk
include bpf/rules.mk
include deploy/rules.mk
include tests/rules.mk

$(BUILD)/user/%.o: user/%.c | $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libpulltap.a: $(ROOM_SRC:user/%.c=$(BUILD)/user/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/pulltap: $(BUILD)/user/main.o $(BUILD)/libpulltap.a
	$(CC) $(C_FLAGS) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

-include $(USER_SRC:user/%.c=$(BUILD)/user/%.d)

.PHONY: demo
demo: ## install what is missing, build, watch a real registry being pulled from
	deploy/demo.sh

.PHONY: clean
clean: ## remove build/
	rm -rf $(BUILD)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'
