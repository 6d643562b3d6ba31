# SPDX-License-Identifier: MIT
# Every suite runs alone; `make test` runs all of them and fails when any of them fails.

FUZZ_SECONDS ?= 60
SUITES := test-unit test-fuzz test-pg test-kernel test-e2e test-sandbox-short test-faults-short
PYTEST := PULLTAP_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -q -p no:cacheprovider

# The rooms twice more: for unit tests (gcc) and for fuzzers (clang), each with its sanitizers.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
ASAN_CC := gcc -O1 -g $(C_FLAGS) -I. -Itests/unit $(SANITIZE)
FUZZ_CC := $(CLANG) -O1 -g $(C_FLAGS) -I. $(SANITIZE)

UNIT_SRC := $(sort $(wildcard tests/unit/*/*.c))
UNIT := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/asan/unit/%)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/fuzz/%)
TOOLS_SRC := $(sort $(wildcard tests/tools/*.c))
TOOLS := $(TOOLS_SRC:tests/tools/%.c=$(BUILD)/tools/%)

$(BUILD)/asan/user/%.o: user/%.c | $(GENERATED)
	@mkdir -p $(@D)
	$(ASAN_CC) -MMD -MP -c $< -o $@

$(BUILD)/fuzz/user/%.o: user/%.c | $(GENERATED)
	@mkdir -p $(@D)
	$(FUZZ_CC) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

# Archives, so that a test that includes a .c file to reach its insides does not meet it twice.
$(BUILD)/asan/libpulltap.a: $(ROOM_SRC:user/%.c=$(BUILD)/asan/user/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

# The agent itself with its sanitizers, for the test that runs it for a while.
$(BUILD)/asan/pulltap: $(BUILD)/asan/user/main.o $(BUILD)/asan/libpulltap.a
	$(ASAN_CC) $^ $(LDLIBS) -o $@

$(BUILD)/fuzz/libpulltap.a: $(ROOM_SRC:user/%.c=$(BUILD)/fuzz/user/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/asan/unit/%: tests/unit/%.c $(BUILD)/asan/libpulltap.a
	@mkdir -p $(@D)
	$(ASAN_CC) -MMD -MP -MT $@ -MF $@.d $< $(BUILD)/asan/libpulltap.a $(LDLIBS) -lcmocka -o $@

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(BUILD)/fuzz/libpulltap.a
	@mkdir -p $(@D)
	$(FUZZ_CC) -fsanitize=fuzzer -MMD -MP -MT $@ -MF $@.d $< $(BUILD)/fuzz/libpulltap.a \
		$(LDLIBS) -o $@

$(BUILD)/tools/%: tests/tools/%.c $(BUILD)/libpulltap.a
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) $(CFLAGS) -I. $(LDFLAGS) -MMD -MP -MT $@ -MF $@.d $< $(BUILD)/libpulltap.a \
		$(LDLIBS) -o $@

-include $(USER_SRC:user/%.c=$(BUILD)/asan/user/%.d) $(ROOM_SRC:user/%.c=$(BUILD)/fuzz/user/%.d)
-include $(UNIT:=.d) $(FUZZ:=.d) $(TOOLS:=.d)

.PHONY: test
test: ## install what is missing, build, run every suite
	deploy/deps.sh build test
	$(MAKE) --no-print-directory all
	@failed=; for suite in $(SUITES); do \
		echo "== $$suite"; $(MAKE) --no-print-directory $$suite || failed="$$failed $$suite"; \
	done; \
	if [ -n "$$failed" ]; then echo "test: failed:$$failed"; exit 1; fi; \
	echo "test: all suites passed: $(SUITES)"

.PHONY: test-unit
test-unit: $(UNIT) ## pure logic, with ASan and UBSan, no root needed
	@tests/unit/run.sh $(UNIT)

.PHONY: test-fuzz
test-fuzz: $(FUZZ) ## libFuzzer on every harness, FUZZ_SECONDS (60) in all
	@tests/fuzz/run.sh $(FUZZ_SECONDS) $(BUILD)/fuzz $(FUZZ)

.PHONY: test-pg
test-pg: $(BUILD)/pulltap tools ## the store against a private PostgreSQL
	$(PYTEST) tests/pg

.PHONY: test-kernel
test-kernel: $(BUILD)/pulltap tools ## BPF programs in the running kernel (root)
	$(PYTEST) tests/kernel

.PHONY: test-e2e
test-e2e: $(BUILD)/pulltap tools ## real registries, real clients, database rows compared (root)
	$(PYTEST) tests/e2e

# Every agent of these tests as an unprivileged user behind its filter. `make test` has a selection:
# registries that come and go, every source of the kill switch, probes in a library.
SANDBOX_SHORT := tests/e2e/test_following.py tests/e2e/test_kill_switch.py \
	"tests/e2e/test_openssl.py::test_skopeo_and_many_connections_are_as_in_haproxys_log"
.PHONY: test-sandbox test-sandbox-short
test-sandbox: $(BUILD)/pulltap tools ## test-e2e once more, with agents in their sandbox (root)
	PULLTAP_TEST_SANDBOX=1 $(PYTEST) tests/e2e
test-sandbox-short: $(BUILD)/pulltap tools
	PULLTAP_TEST_SANDBOX=1 $(PYTEST) $(SANDBOX_SHORT)

.PHONY: test-faults test-faults-short
test-faults: $(BUILD)/pulltap $(BUILD)/asan/pulltap tools variants ## everything fails while clients pull, one table of figures (root)
	$(PYTEST) -rA tests/faults
test-faults-short: $(BUILD)/pulltap $(BUILD)/asan/pulltap tools variants
	PULLTAP_FAULTS=0.15 $(PYTEST) tests/faults

.PHONY: test-counting
test-counting: $(BUILD)/pulltap tools ## what a pull is: every client, case and way, one table (root)
	PULLTAP_COUNTING=full $(PYTEST) -rA tests/e2e/test_counting*.py

# Other builds, which upgrades are tested with.
VARIANTS := $(BUILD)/other/pulltap $(BUILD)/longer/pulltap
.PHONY: variants FORCE
variants: $(VARIANTS) ## other builds of pulltap, for the tests of upgrades
$(VARIANTS): $(BUILD)/%/pulltap: FORCE
	@$(PYTHON) tests/faults/variant.py $* $(BUILD)/$*/source
	@$(MAKE) --no-print-directory -s -C $(BUILD)/$*/source BUILD=.. all
FORCE:

# The long ones alone.
ALONE := $(BUILD)/pulltap tools
.PHONY: test-access-log test-clients test-go-matrix test-load test-crash test-frontends
test-access-log: $(ALONE) ## 10,000 requests over 200 tags against the registry's log
	$(PYTEST) tests/e2e/test_access_log.py
test-clients: $(ALONE) ## skopeo, podman, buildah, docker and containerd against the registry's log
	$(PYTEST) tests/e2e/test_clients.py
test-go-matrix: $(ALONE) ## servers of every Go version, HTTP/1.1, TLS and HTTP/2
	$(PYTEST) tests/kernel/test_go_matrix.py
test-frontends: $(ALONE) ## front ends by every way in, build, protocol and way of serving: one table
	PULLTAP_REQUESTS=50000 $(PYTEST) tests/kernel/test_nginx*.py tests/e2e/test_nginx*.py \
		tests/e2e/test_topology.py tests/e2e/test_front_ends.py \
		tests/kernel/test_apache*.py tests/e2e/test_apache*.py \
		tests/kernel/test_tls*.py tests/kernel/test_openssl*.py tests/e2e/test_openssl*.py
test-load: $(ALONE) ## three million pulls over 100,000 keys, adoption, off and on
	$(PYTEST) tests/kernel/test_load.py
test-crash: $(ALONE) ## 200 deaths of the agent and of the database's sessions
	$(PYTEST) tests/e2e/test_crash.py

.PHONY: tools
tools: $(TOOLS) ## small programs that tests drive, in build/tools

include tests/kernels/rules.mk

.PHONY: bench
bench: $(BUILD)/pulltap tools ## cost of a probe and of a window
	@if [ -x tests/bench/run.sh ]; then tests/bench/run.sh; else echo "bench: none yet"; fi

# Only what git knows, so that a scratch file does not fail it.
LINT_C = $(shell git ls-files 'user/*.c' 'tests/*.c')
LINT_FORMAT = $(shell git ls-files 'bpf/*.[ch]' 'user/*.[ch]' 'tests/*.[ch]')
LINT_PYTHON = $(shell git ls-files '*.py')
LINT_SPDX = $(shell git ls-files '*.c' '*.h' '*.mk' '*.sh' '*.py' '*.sql' Makefile)

.PHONY: lint
lint: lint-format lint-spdx lint-python lint-cppcheck lint-tidy ## every static check

.PHONY: lint-format
lint-format:
	clang-format --dry-run -Werror $(LINT_FORMAT)

.PHONY: lint-spdx
lint-spdx:
	@missing=$$(grep -L 'SPDX-License-Identifier:' $(LINT_SPDX)); \
	if [ -n "$$missing" ]; then echo "no SPDX line:" $$missing; exit 1; fi

.PHONY: lint-python
lint-python:
	PYTHONPYCACHEPREFIX=$(abspath $(BUILD))/pycache $(PYTHON) -m py_compile $(LINT_PYTHON)

# It can't see cleanup attributes (leaks are LeakSanitizer's in the unit tests), takes `x ?: y` for x,
# and knows no macro of jansson's.
.PHONY: lint-cppcheck
lint-cppcheck:
	cppcheck -q --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
		--suppress=memleak --suppress=resourceLeak --suppress=missingIncludeSystem \
		--suppress=selfAssignment --library=tests/jansson.cppcheck.xml \
		-D_GNU_SOURCE -Iuser -j 2 $(filter user/%,$(LINT_C))

.PHONY: lint-tidy
lint-tidy: | $(GENERATED)
	@mkdir -p $(BUILD)
	@printf '%s\n' -std=gnu11 -D_GNU_SOURCE -I$(abspath user) -I$(abspath $(BUILD)) -I$(CURDIR) \
		-I$(abspath tests/unit) -I/usr/include/postgresql '-DPULLTAP_VERSION="$(VERSION)"' \
		>$(BUILD)/compile_flags.txt
	printf '%s\n' $(LINT_C) | xargs -P 2 -n 4 clang-tidy --quiet -p $(BUILD)

.PHONY: format
format: ## clang-format everything in place
	clang-format -i $(LINT_FORMAT)
