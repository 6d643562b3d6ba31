# SPDX-License-Identifier: MIT
# `make help` lists what there is.

BUILD   := build
CLANG   ?= clang
BPFTOOL ?= $(shell command -v bpftool 2>/dev/null || echo /usr/sbin/bpftool)
CC      ?= gcc
VERSION := $(shell cat VERSION 2>/dev/null || echo 0.1.0)
PYTHON  := /usr/bin/python3

WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef
CFLAGS  ?= -O2 -g
CFLAGS  += -std=gnu11 $(WARN) -D_GNU_SOURCE -Iuser -I$(BUILD) -DPULLTAP_VERSION='"$(VERSION)"' \
	   -fstack-protector-strong -I/usr/include/postgresql
LDLIBS  := -lbpf -lelf -lz -lZydis -lpq -ljansson -lxxhash -lpthread

USER_SRC := $(sort $(wildcard user/*.c user/*/*.c))
USER_OBJ := $(USER_SRC:user/%.c=$(BUILD)/user/%.o)

.PHONY: all
all: $(BUILD)/pulltap

include vmlinux/rules.mk
include bpf/rules.mk
include deploy/rules.mk
include tests/rules.mk

$(BUILD)/user/%.o: user/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/pulltap: $(USER_OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

-include $(USER_OBJ:.o=.d)

.PHONY: clean
clean:
	rm -rf $(BUILD)

.PHONY: help
help:
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'
