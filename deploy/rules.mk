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

# An installation: the program, its unit and user for systemd, a sample of the settings. Settings and
# counts are nobody's to overwrite: an existing file stays, and uninstalling leaves them.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d

.PHONY: install uninstall
install: $(BUILD)/pulltap ## program, systemd unit and sample settings (DESTDIR, PREFIX)
	install -D -m 0755 $(BUILD)/pulltap $(DESTDIR)$(PREFIX)/bin/pulltap
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR)/pulltap
	sed 's,/usr/local/bin/,$(PREFIX)/bin/,' deploy/systemd/pulltap.service \
		>$(DESTDIR)$(UNITDIR)/pulltap.service
	install -D -m 0644 deploy/systemd/pulltap.sysusers $(DESTDIR)$(SYSUSERSDIR)/pulltap.conf
	install -m 0644 deploy/systemd/pulltap.conf $(DESTDIR)$(SYSCONFDIR)/pulltap/pulltap.conf.sample
	test -e $(DESTDIR)$(SYSCONFDIR)/pulltap/pulltap.conf || \
		install -m 0644 deploy/systemd/pulltap.conf $(DESTDIR)$(SYSCONFDIR)/pulltap/pulltap.conf

uninstall: ## removes what install put there; settings, counts and the user stay
	rm -f $(DESTDIR)$(PREFIX)/bin/pulltap $(DESTDIR)$(UNITDIR)/pulltap.service \
		$(DESTDIR)$(SYSUSERSDIR)/pulltap.conf \
		$(DESTDIR)$(SYSCONFDIR)/pulltap/pulltap.conf.sample
