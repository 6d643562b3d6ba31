/* SPDX-License-Identifier: MIT */
/* What is an apache and what of it can be probed: an image made by hand, and the installed one. */
#include "discover/binary.h"

#include <errno.h>
#include <fcntl.h>

#include "elf_exports.h"
#include "test.h"

#include "inspect.h"

#define HOOK "ap_run_log_transaction"
#define BYTES 16384
#define HOOK_AT 0x1000
#define PARSE_AT 0x1200
#define TEXTS 0x2000
#define EXPORTS 0x2400
#define CORE_AT 0x3100
#define DATA 0x3000
#define DYNAMIC 0x3800

struct apache {
	uint64_t magic;
	uint64_t cookie;
	const char *hook, *core, *parse; /* names of what is exported */
	const char *code; /* what the hook begins with */
	uint32_t uri, status; /* what the code uses */
};

static struct apache usual(void)
{
	return (struct apache){
		.magic = 20120211 | 142ull << 32,
		.cookie = 0x41503234,
		.hook = HOOK,
		.core = "core_module",
		.parse = "ap_parse_uri",
		/* endbr64; mov 0x6b779(%rip), %rax; test %rax, %rax; je; push %r12; ret */
		.code = "\xf3\x0f\x1e\xfa\x48\x8b\x05\x79\xb7\x06\x01\x48\x85\xc0\x74\x54\x41\x54"
			"\xc3",
		.uri = 328,
		.status = 104,
	};
}

static int inspect(const struct apache *apache, struct binary *ret)
{
	static uint8_t bytes[BYTES];
	const struct elf_bytes elf = {
		.size = BYTES, .data = DATA, .dynamic = DYNAMIC, .dynamic_count = 4};
	const uint64_t core[6] = {apache->magic, 0xffffffff, ELF_BYTES_BASE + TEXTS, 0, 0,
				  apache->cookie};
	struct elf_exports exports = {
		.bytes = bytes,
		.dynamic = DYNAMIC,
		.symbols = EXPORTS,
		.names = EXPORTS + 0x200,
		.hash = EXPORTS + 0x400,
	};

	memset(bytes, 0, sizeof(bytes));
	elf_bytes_head(bytes, &elf);
	memcpy(bytes + HOOK_AT, apache->code, strlen(apache->code));
	/* mov x(%rdi), %rax; movl $400, x(%rdi); ret */
	bytes[PARSE_AT] = 0x48;
	bytes[PARSE_AT + 1] = 0x8b;
	bytes[PARSE_AT + 2] = 0x87;
	memcpy(bytes + PARSE_AT + 3, &apache->uri, 4);
	bytes[PARSE_AT + 7] = 0xc7;
	bytes[PARSE_AT + 8] = 0x87;
	memcpy(bytes + PARSE_AT + 9, &apache->status, 4);
	bytes[PARSE_AT + 13] = 0x90;
	bytes[PARSE_AT + 14] = 0x01;
	bytes[PARSE_AT + 17] = 0xc3;
	strcpy((char *)bytes + TEXTS, "core.c");
	strcpy((char *)bytes + TEXTS + 16, "Apache/2.4.71 (Debian)");
	memcpy(bytes + CORE_AT, core, sizeof(core));
	elf_exports_add(&exports, apache->parse, ELF_BYTES_BASE + PARSE_AT, 18);
	elf_exports_add(&exports, apache->hook, ELF_BYTES_BASE + HOOK_AT, strlen(apache->code));
	elf_exports_add(&exports, apache->core, elf_bytes_data(CORE_AT), sizeof(core));
	return inspect_bytes(bytes, sizeof(bytes), ret);
}

static void assert_refused(const struct apache *apache, const char *reason)
{
	struct binary binary;

	assert_int_equal(inspect(apache, &binary), 0);
	assert_int_equal(binary.sites_count, 0);
	assert_string_equal(binary.refusal, reason);
}

static void the_known_magic_number_is_probed(void **state)
{
	struct apache apache = usual();
	struct binary binary;

	(void)state;
	assert_int_equal(inspect(&apache, &binary), 0);
	assert_string_equal(binary.refusal, "");
	assert_string_equal(binary.version, "Apache/2.4.71");
	assert_string_equal(binary.registry_kind, ""); /* not watched unless it is named */
	assert_int_equal(binary.way, WAY_APACHE);
	assert_int_equal(binary.sites_count, 1);
	assert_int_equal(binary.sites[0].hook, PT_APACHE_HOOK_LOG);
	assert_string_equal(binary.sites[0].symbol, HOOK);
	assert_int_equal(binary.sites[0].file_offset, HOOK_AT + 14); /* the je */
}

static void other_magic_numbers_are_refused(void **state)
{
	struct apache apache = usual();

	(void)state;
	apache.magic = 20211221 | 25ull << 32;
	assert_refused(&apache,
		       "module magic number 20211221 is not that of apache 2.4 (20120211), "
		       "whose layout is known: watch the registry behind it");
	apache.magic = 20051115; /* 2.2 */
	assert_refused(&apache,
		       "module magic number 20051115 is not that of apache 2.4 (20120211), "
		       "whose layout is known: watch the registry behind it");
}

static void without_a_magic_number_it_is_refused(void **state)
{
	struct apache apache = usual();

	(void)state;
	apache.cookie = 0x41503232;
	assert_refused(&apache, "core_module tells no module magic number: watch the registry "
				"behind it");
	apache = usual();
	apache.core = "core_nodule";
	assert_refused(&apache, "core_module tells no module magic number: watch the registry "
				"behind it");
}

static void code_that_uses_another_layout_is_refused(void **state)
{
	static const char reason[] = "ap_parse_uri does not use what apache 2.4 has: watch the "
				     "registry behind it";
	struct apache apache = usual();

	(void)state;
	apache.uri = 336;
	assert_refused(&apache, reason);
	apache = usual();
	apache.status = 108;
	assert_refused(&apache, reason);
	apache = usual();
	apache.parse = "ap_parse_urx";
	assert_refused(&apache, reason);
}

static void a_beginning_without_a_place_is_refused(void **state)
{
	struct apache apache = usual();

	(void)state;
	apache.code = "\x48\x89\xc7\x55\xc3"; /* mov %rax, %rdi; push %rbp; ret */
	assert_refused(&apache, HOOK ": its arguments are gone before an instruction that the "
				     "kernel emulates");
}

static void what_does_not_export_the_hook_is_none(void **state)
{
	struct apache apache = usual();
	struct binary binary;

	(void)state;
	apache.hook = "ap_run_log_transactiox";
	assert_int_equal(inspect(&apache, &binary), -ENOENT);
}

/* Debian's, of any version of 2.4. */
static void installed_apache_is_probed(void **state)
{
	_cleanup_close_ int fd = open("/usr/sbin/apache2", O_RDONLY | O_CLOEXEC);
	struct binary binary = {0};

	(void)state;
	if (fd < 0)
		test_skip("apache2 is not installed");
	assert_int_equal(binary_inspect(fd, &binary), 0);
	assert_string_equal(binary.refusal, "");
	assert_int_equal(binary.sites_count, 1);
	assert_int_equal(strncmp(binary.version, "Apache/2.4.", 11), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_known_magic_number_is_probed),
		cmocka_unit_test(other_magic_numbers_are_refused),
		cmocka_unit_test(without_a_magic_number_it_is_refused),
		cmocka_unit_test(code_that_uses_another_layout_is_refused),
		cmocka_unit_test(a_beginning_without_a_place_is_refused),
		cmocka_unit_test(what_does_not_export_the_hook_is_none),
		cmocka_unit_test(installed_apache_is_probed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
