# SPDX-License-Identifier: MIT
# The SQL files go into the binary as bytes, in the order of their numbers.

SQL_FILES := $(sort $(wildcard deploy/sql/[0-9][0-9][0-9]_*.sql))

$(BUILD)/sql_files.inc: $(SQL_FILES) deploy/rules.mk
	@mkdir -p $(@D)
	@for f in $(SQL_FILES); do \
		printf '{"%s", (const char[]){\n' "$$(basename $$f)"; \
		od -An -v -tx1 $$f | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; \
		printf '0}},\n'; \
	done > $@.tmp && mv $@.tmp $@

$(BUILD)/user/store/schema.o $(BUILD)/asan/user/store/schema.o \
$(BUILD)/fuzz/user/store/schema.o: $(BUILD)/sql_files.inc
GENERATED += $(BUILD)/sql_files.inc

ENGINE ?= $(firstword $(notdir $(wildcard /usr/bin/podman /usr/bin/buildah /usr/bin/docker)))

.PHONY: image
image: ## build the container image pulltap:VERSION, ENGINE=podman, buildah or docker
	$(or $(ENGINE),$(error no container engine is installed: podman, buildah or docker)) build \
		-f deploy/container/Containerfile --build-arg VERSION=$(VERSION) -t pulltap:$(VERSION) .
