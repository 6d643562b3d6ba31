/* SPDX-License-Identifier: MIT */
/* Prologues as compilers wrote them, and everything near them that must be refused. */
#include "discover/go_site.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "../../../bpf/abi.h"

#define FUNCTION_BYTES 4096

static int find(const char *bytes, size_t size, uint64_t function_bytes, struct go_site *ret,
		const char **refusal)
{
	uint8_t code[GO_SITE_CODE];

	assert_true(size <= sizeof(code));
	memset(code, 0x90, sizeof(code));
	memcpy(code, bytes, size);
	return go_site_find(code, sizeof(code), function_bytes, ret, refusal);
}

#define assert_site(bytes, abi, at)                                                                \
	do {                                                                                       \
		const char *refusal_ = NULL;                                                       \
		struct go_site site_ = {0};                                                        \
		assert_int_equal(                                                                  \
			find(bytes, sizeof(bytes) - 1, FUNCTION_BYTES, &site_, &refusal_), 0);     \
		assert_int_equal(site_.go_abi, abi);                                               \
		assert_int_equal(site_.offset, at);                                                \
	} while (0)

#define assert_refused(bytes, text)                                                                \
	do {                                                                                       \
		const char *refusal_ = NULL;                                                       \
		struct go_site site_ = {0};                                                        \
		assert_int_equal(                                                                  \
			find(bytes, sizeof(bytes) - 1, FUNCTION_BYTES, &site_, &refusal_),         \
			-ENOTSUP);                                                                 \
		assert_string_equal(refusal_, text);                                               \
	} while (0)

#define NO_CHECK "no stack check at its start"
#define UNKNOWN "its stack check has an unknown form"

#define JBE_SHORT "\x76\x20"
#define JBE_NEAR "\x0f\x86\xb7\x00\x00\x00"
#define CMP_RSP_R14 "\x49\x3b\x66\x10"
#define CMP_R12_R14 "\x4d\x3b\x66\x10"
#define LEA8_R12 "\x4c\x8d\x64\x24\xd8"
#define LEA32_R12 "\x4c\x8d\xa4\x24\x58\xff\xff\xff"
#define LOAD_G "\x64\x48\x8b\x0c\x25\xf8\xff\xff\xff"
#define CMP_RSP_RCX "\x48\x3b\x61\x10"
#define CMP_RAX_RCX "\x48\x3b\x41\x10"
#define LEA8_RAX "\x48\x8d\x44\x24\xd8"
#define LEA32_RAX "\x48\x8d\x84\x24\x58\xff\xff\xff"
#define PIE_OFFSET "\x48\xc7\xc1\xf8\xff\xff\xff"
#define PIE_GOT "\x48\x8b\x0d\x11\x22\x33\x00"
#define PIE_LOAD_G "\x64\x48\x8b\x09"

static void register_abi_small_frame_finds_branch(void **state)
{
	(void)state;
	assert_site(CMP_RSP_R14 JBE_SHORT, PT_GO_ABI_REGISTER, 4);
	assert_site(CMP_RSP_R14 JBE_NEAR, PT_GO_ABI_REGISTER, 4);
}

static void register_abi_large_frame_finds_branch(void **state)
{
	(void)state;
	assert_site(LEA8_R12 CMP_R12_R14 JBE_SHORT, PT_GO_ABI_REGISTER, 9);
	assert_site(LEA8_R12 CMP_R12_R14 JBE_NEAR, PT_GO_ABI_REGISTER, 9);
	assert_site(LEA32_R12 CMP_R12_R14 JBE_SHORT, PT_GO_ABI_REGISTER, 12);
	assert_site(LEA32_R12 CMP_R12_R14 JBE_NEAR, PT_GO_ABI_REGISTER, 12);
}

static void stack_abi_small_frame_finds_branch(void **state)
{
	(void)state;
	assert_site(LOAD_G CMP_RSP_RCX JBE_SHORT, PT_GO_ABI_STACK, 13);
	assert_site(LOAD_G CMP_RSP_RCX JBE_NEAR, PT_GO_ABI_STACK, 13);
}

static void stack_abi_large_frame_finds_branch(void **state)
{
	(void)state;
	assert_site(LOAD_G LEA8_RAX CMP_RAX_RCX JBE_SHORT, PT_GO_ABI_STACK, 18);
	assert_site(LOAD_G LEA32_RAX CMP_RAX_RCX JBE_NEAR, PT_GO_ABI_STACK, 21);
}

static void stack_abi_position_independent_finds_branch(void **state)
{
	(void)state;
	assert_site(PIE_OFFSET PIE_LOAD_G CMP_RSP_RCX JBE_SHORT, PT_GO_ABI_STACK, 15);
	assert_site(PIE_GOT PIE_LOAD_G CMP_RSP_RCX JBE_NEAR, PT_GO_ABI_STACK, 15);
	assert_site(PIE_GOT PIE_LOAD_G LEA8_RAX CMP_RAX_RCX JBE_NEAR, PT_GO_ABI_STACK, 20);
}

static void no_stack_check_is_refused(void **state)
{
	(void)state;
	assert_refused("\x55\x48\x89\xe5", NO_CHECK); /* push rbp; mov rsp, rbp */
	assert_refused("\x48\x83\xec\x18", NO_CHECK); /* sub $24, rsp */
	assert_refused("\xc3", NO_CHECK);
	assert_refused(JBE_SHORT, NO_CHECK);
	assert_refused("", NO_CHECK); /* nops */
	assert_refused("\xe8\x00\x00\x00\x00" CMP_RSP_R14 JBE_SHORT, NO_CHECK); /* a call first */
}

static void another_branch_is_refused(void **state)
{
	(void)state;
	assert_refused(CMP_RSP_R14 "\x77\x20", UNKNOWN); /* ja */
	assert_refused(CMP_RSP_R14 "\x72\x20", UNKNOWN); /* jb */
	assert_refused(CMP_RSP_R14 "\x7e\x20", UNKNOWN); /* jle */
	assert_refused(CMP_RSP_R14 "\x90" JBE_SHORT, UNKNOWN);
	assert_refused(CMP_RSP_R14 CMP_RSP_R14 JBE_SHORT, UNKNOWN);
}

static void another_guard_is_refused(void **state)
{
	(void)state;
	assert_refused("\x49\x3b\x66\x18" JBE_SHORT, NO_CHECK); /* stackguard1 */
	assert_refused("\x49\x3b\x67\x10" JBE_SHORT, NO_CHECK); /* 16(r15) */
	assert_refused("\x49\x39\x66\x10" JBE_SHORT, NO_CHECK); /* cmp with sides exchanged */
	assert_refused("\x41\x3b\x66\x10" JBE_SHORT, NO_CHECK); /* esp */
	assert_refused("\x67\x49\x3b\x66\x10" JBE_SHORT, NO_CHECK); /* 16(r14d) */
	assert_refused("\x48\x3b\x61\x10" JBE_SHORT, NO_CHECK); /* rcx without a load of g */
	assert_refused(LOAD_G CMP_RSP_R14 JBE_SHORT, UNKNOWN); /* both ways at once */
	assert_refused(LOAD_G LEA8_RAX CMP_RSP_RCX JBE_SHORT, UNKNOWN);
}

static void clobbered_argument_is_refused(void **state)
{
	(void)state;
	/* the frame's end in rax, which holds argument 0 in the register ABI */
	assert_refused("\x48\x8d\x44\x24\xd8\x49\x3b\x46\x10" JBE_SHORT, NO_CHECK);
	assert_refused(LEA8_R12 CMP_RSP_R14 JBE_SHORT, UNKNOWN);
	assert_refused("\x4c\x8d\x64\x24\x28" CMP_R12_R14 JBE_SHORT, NO_CHECK); /* upwards */
}

static void another_thread_local_is_refused(void **state)
{
	(void)state;
	assert_refused("\x64\x48\x8b\x0c\x25\xf0\xff\xff\xff" CMP_RSP_RCX JBE_SHORT, NO_CHECK);
	assert_refused("\x65\x48\x8b\x0c\x25\xf8\xff\xff\xff" CMP_RSP_RCX JBE_SHORT, NO_CHECK);
	assert_refused("\x64\x48\x8b\x04\x25\xf8\xff\xff\xff" CMP_RSP_RCX JBE_SHORT, NO_CHECK);
	assert_refused(PIE_OFFSET "\x64\x48\x8b\x49\x08" CMP_RSP_RCX JBE_SHORT, UNKNOWN);
	assert_refused(PIE_OFFSET CMP_RSP_RCX JBE_SHORT, UNKNOWN);
}

static void huge_frame_is_refused(void **state)
{
	(void)state;
	/* mov rsp, r12; sub $8192, r12; jb; cmp 16(r14), r12; jbe */
	assert_refused("\x49\x89\xe4\x49\x81\xec\x00\x20\x00\x00\x72\x30" CMP_R12_R14 JBE_SHORT,
		       NO_CHECK);
}

static void branch_out_of_function_is_refused(void **state)
{
	static const char code[] = CMP_RSP_R14 JBE_SHORT;
	const char *refusal = NULL;
	struct go_site site = {0};

	(void)state;
	/* ends at 6, target is 6 + 32: the last byte of 39 */
	assert_int_equal(find(code, sizeof(code) - 1, 39, &site, &refusal), 0);
	assert_int_equal(find(code, sizeof(code) - 1, 38, &site, &refusal), -ENOTSUP);
	assert_string_equal(refusal, UNKNOWN);
	assert_refused(CMP_RSP_R14 "\x76\xf8", UNKNOWN); /* backwards */
	assert_refused(CMP_RSP_R14 "\x0f\x86\xff\xff\xff\x7f", UNKNOWN);
}

static void code_cut_anywhere_is_refused(void **state)
{
	static const char code[] = PIE_GOT PIE_LOAD_G LEA8_RAX CMP_RAX_RCX JBE_NEAR;

	(void)state;
	for (size_t size = 0; size < sizeof(code) - 1; size++) {
		_cleanup_free_ uint8_t *exact = malloc(size ? size : 1);
		const char *refusal = NULL;
		struct go_site site = {0};

		assert_non_null(exact);
		memcpy(exact, code, size); /* so that a read beyond it is found */
		assert_int_equal(go_site_find(exact, size, FUNCTION_BYTES, &site, &refusal),
				 -ENOTSUP);
		assert_non_null(refusal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(register_abi_small_frame_finds_branch),
		cmocka_unit_test(register_abi_large_frame_finds_branch),
		cmocka_unit_test(stack_abi_small_frame_finds_branch),
		cmocka_unit_test(stack_abi_large_frame_finds_branch),
		cmocka_unit_test(stack_abi_position_independent_finds_branch),
		cmocka_unit_test(no_stack_check_is_refused),
		cmocka_unit_test(another_branch_is_refused),
		cmocka_unit_test(another_guard_is_refused),
		cmocka_unit_test(clobbered_argument_is_refused),
		cmocka_unit_test(another_thread_local_is_refused),
		cmocka_unit_test(huge_frame_is_refused),
		cmocka_unit_test(branch_out_of_function_is_refused),
		cmocka_unit_test(code_cut_anywhere_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
