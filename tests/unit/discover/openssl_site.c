/* SPDX-License-Identifier: MIT */
/* Functions of libssl as compilers wrote them, and what must not be taken for one. */
#include "discover/openssl_site.h"

#include <errno.h>

#include "test.h"

#define ENDBR "\xf3\x0f\x1e\xfa"

/* ssl3_read_internal() up to and with the branch. */
static const uint8_t debian_11[] = /* 1.1.1w */
	"\x41\x56\x4d\x89\xc6\x41\x55\x41\x89\xcd\x41\x54\x49\x89\xf4\x55\x48\x89\xfd\x53\x48\x89"
	"\xd3\x48\x83\xec\x10\xe8\x30\x10\xff\xff\xc7\x00\x00\x00\x00\x00\x48\x8b\x85\xa8\x00\x00"
	"\x00\x8b\xb8\x04\x01\x00\x00\x85\xff\x0f\x85\xa5\x00\x00\x00\x48\x83\xec\x08\x4c\x89\xe1"
	"\x31\xd2\xbe\x17\x00\x00\x00\xc7\x80\x10\x01\x00\x00\x01\x00\x00\x00\x48\x8b\x45\x08\x45"
	"\x89\xe9\x49\x89\xd8\x41\x56\x48\x89\xef\xff\x50\x68\x59\x48\x8b\x95\xa8\x00\x00\x00\x5e"
	"\x83\xf8\xff\x74\x1d";
static const uint8_t debian_12[] = /* 3.0.19 */
	"\x41\x56\x4d\x89\xc6\x41\x55\x41\x89\xcd\x41\x54\x49\x89\xd4\x55\x48\x89\xf5\x53\x48\x89"
	"\xfb\x48\x83\xec\x10\xe8\x10\x5a\xff\xff\xc7\x00\x00\x00\x00\x00\x8b\xbb\xac\x01\x00\x00"
	"\x85\xff\x0f\x85\xac\x00\x00\x00\x48\x8b\x43\x08\x48\x83\xec\x08\x48\x89\xe9\xbe\x17\x00"
	"\x00\x00\x45\x89\xe9\x4d\x89\xe0\x31\xd2\x48\x89\xdf\xc7\x83\xb8\x01\x00\x00\x01\x00\x00"
	"\x00\x41\x56\xff\x50\x68\x59\x5e\x83\xf8\xff\x74\x2b";
static const uint8_t debian_13[] = /* 3.5.9 */
	"\x41\x56\x4d\x89\xc6\x41\x55\x41\x89\xcd\x41\x54\x49\x89\xd4\x55\x48\x89\xf5\x53\x48\x89"
	"\xfb\x48\x83\xec\x10\xe8\xc0\x35\xff\xff\xc7\x00\x00\x00\x00\x00\x8b\xbb\xcc\x01\x00\x00"
	"\x85\xff\x0f\x85\xac\x00\x00\x00\x48\x8b\x43\x18\x48\x83\xec\x08\x48\x89\xe9\xbe\x17\x00"
	"\x00\x00\x45\x89\xe9\x4d\x89\xe0\x31\xd2\x48\x89\xdf\xc7\x83\xd8\x01\x00\x00\x01\x00\x00"
	"\x00\x41\x56\xff\x90\x80\x00\x00\x00\x59\x5e\x83\xf8\xff\x74\x28";
static const uint8_t debian_sid[] = /* 3.6.5 */
	"\x41\x56\x41\x89\xce\x41\x55\x49\x89\xd5\x41\x54\x49\x89\xf4\x55\x4c\x89\xc5\x53\x48\x89"
	"\xfb\x48\x83\xec\x10\xe8\x30\x32\xff\xff\xc7\x00\x00\x00\x00\x00\x8b\xbb\xcc\x01\x00\x00"
	"\x85\xff\x0f\x85\xac\x00\x00\x00\x48\x8b\x43\x18\x48\x83\xec\x08\x4c\x89\xe1\xbe\x17\x00"
	"\x00\x00\x45\x89\xf1\x4d\x89\xe8\x31\xd2\x48\x89\xdf\xc7\x83\xd8\x01\x00\x00\x01\x00\x00"
	"\x00\x55\xff\x90\x80\x00\x00\x00\x59\x5e\x83\xf8\xff\x74\x29";

static int read_done(const uint8_t *code, uint64_t size, uint32_t *ret_offset)
{
	const char *refusal = NULL;
	int err = openssl_site_read_done(code, size, ret_offset, &refusal);

	if (err) {
		assert_int_equal(err, -ENOTSUP);
		assert_non_null(refusal);
	}
	return err;
}

static void every_release_has_its_branch(void **state)
{
	static const struct {
		const uint8_t *code;
		size_t size;
	} all[] = {{debian_11, sizeof(debian_11) - 1},
		   {debian_12, sizeof(debian_12) - 1},
		   {debian_13, sizeof(debian_13) - 1},
		   {debian_sid, sizeof(debian_sid) - 1}};
	uint32_t offset = 0;

	(void)state;
	for (unsigned int i = 0; i < sizeof(all) / sizeof(*all); i++) {
		assert_int_equal(read_done(all[i].code, all[i].size, &offset), 0);
		assert_int_equal(offset, all[i].size - 2); /* its last instruction */
		for (size_t size = 0; size < all[i].size; size++)
			assert_int_equal(read_done(all[i].code, size, &offset), -ENOTSUP);
	}
}

/* Debian 12's with some bytes changed, each pair a text to find and what stands there instead. */
static int changed(const char *from, size_t size, const char *to)
{
	uint8_t code[sizeof(debian_12)];
	uint32_t offset;
	uint8_t *at;

	memcpy(code, debian_12, sizeof(code));
	at = memmem(code, sizeof(code), from, size);
	assert_non_null(at);
	memcpy(at, to, size);
	return read_done(code, sizeof(code) - 1, &offset);
}
#define assert_changed(from, to, result)                                                           \
	assert_int_equal(changed(from, sizeof(from) - 1, to), result)

static void each_argument_must_be_what_it_is_in_openssl(void **state)
{
	(void)state;
	assert_changed("\x41\x56\xff", "\x41\x56\xff", 0);
	assert_changed("\xbe\x17", "\xbe\x16", -ENOTSUP); /* handshake data */
	assert_changed("\x31\xd2", "\x31\xc9", -ENOTSUP); /* wants to be told the type */
	assert_changed("\x48\x89\xe9\xbe", "\x48\x89\xc1\xbe", -ENOTSUP); /* another buffer */
	assert_changed("\x4d\x89\xe0", "\x4d\x89\xf0", -ENOTSUP); /* another room */
	assert_changed("\x45\x89\xe9", "\x45\x89\xf1", -ENOTSUP); /* peek is not peek */
	assert_changed("\x41\x56\xff", "\x41\x55\xff", -ENOTSUP); /* another amount */
	assert_changed("\x48\x89\xdf", "\x48\x89\xcf", -ENOTSUP); /* another SSL */
	/* kept in a register that a call may change */
	assert_changed("\x48\x89\xfb", "\x48\x89\xf9", -ENOTSUP);
}

static void result_must_reach_the_branch(void **state)
{
	(void)state;
	assert_changed("\x59\x5e", "\x58\x5e", -ENOTSUP); /* pop %rax */
	assert_changed("\xff\x74", "\xff\xeb", -ENOTSUP); /* always jumps */
	assert_changed("\x83\xf8\xff\x74", "\x31\xc0\x90\x74", -ENOTSUP); /* eax = 0 */
	assert_changed("\x83\xf8\xff\x74", "\x85\xc0\x90\x7e", 0); /* another comparison */
}

/* A function that only reads, with no argument that says so. */
static void reading_without_a_choice_is_taken_and_peeking_is_not(void **state)
{
	/* push rbx; mov rcx,rbx; xor r9d,r9d; push rbx; mov rdx,r8; mov rsi,rcx; mov $23,esi;
	 * xor edx,edx; mov 8(rdi),rax; call *0x68(rax); cmp $-1,eax; je */
	static uint8_t code[] = "\x53\x48\x89\xcb\x45\x31\xc9\x53\x49\x89\xd0\x48\x89\xf1\xbe\x17"
				"\x00\x00\x00\x31\xd2\x48\x8b\x47\x08\xff\x50\x68\x83\xf8\xff\x74"
				"\x10";
	static const uint8_t mov[] = {0x41, 0xb1, 0x01}; /* $1,r9b */
	uint32_t offset = 0;

	(void)state;
	assert_int_equal(read_done(code, sizeof(code) - 1, &offset), 0);
	assert_int_equal(offset, 31);
	memcpy(code + 4, mov, sizeof(mov));
	assert_int_equal(read_done(code, sizeof(code) - 1, &offset), -ENOTSUP);
}

#define assert_callee(bytes, distance)                                                             \
	do {                                                                                       \
		const char *refusal_ = "";                                                         \
		int64_t distance_ = 0;                                                             \
		assert_int_equal(openssl_site_callee((const uint8_t *)(bytes), sizeof(bytes) - 1,  \
						     &distance_, &refusal_),                       \
				 0);                                                               \
		assert_int_equal(distance_, distance);                                             \
	} while (0)

#define assert_no_callee(bytes, text)                                                              \
	do {                                                                                       \
		const char *refusal_ = "";                                                         \
		int64_t distance_ = 0;                                                             \
		assert_int_equal(openssl_site_callee((const uint8_t *)(bytes), sizeof(bytes) - 1,  \
						     &distance_, &refusal_),                       \
				 -ENOTSUP);                                                        \
		assert_string_equal(refusal_, text);                                               \
	} while (0)

static void callee_is_the_first_that_is_called(void **state)
{
	(void)state;
	/* SSL_read() of 3.0.19: at 0x35430, calls 0x35290 */
	assert_callee("\x48\x83\xec\x18\x64\x48\x8b\x04\x25\x28\x00\x00\x00\x48\x89\x44\x24\x08"
		      "\x31\xc0\x85\xd2\x78\x2f\x48\x89\xe1\x48\x63\xd2\xe8\x3d\xfe\xff\xff",
		      0x35290 - 0x35430);
	/* SSL_read_ex() */
	assert_callee("\x48\x83\xec\x08\xe8\xc7\xfd\xff\xff", 0x35290 - 0x354c0);
	assert_callee(ENDBR "\xe9\x10\x00\x00\x00", 25); /* a jump is a call */
}

static void callee_must_get_the_arguments(void **state)
{
	(void)state;
	assert_no_callee("\x48\x89\xfb\x31\xff\xe8\x00\x00\x00\x00",
			 "it does not hand its arguments on");
	assert_no_callee("\xbe\x01\x00\x00\x00\xe8\x00\x00\x00\x00",
			 "it does not hand its arguments on");
	assert_no_callee("\xc3\xe8\x00\x00\x00\x00", "it calls nothing");
	assert_no_callee("\xff\xe0\xe8\x00\x00\x00\x00", "it calls nothing");
	assert_no_callee("\xff\xd0\xe8\x00\x00\x00\x00", "it calls nothing");
	assert_no_callee("\x90", "it calls nothing");
	assert_no_callee("", "it calls nothing");
}

static int want(const char *code, size_t size, uint16_t *ret)
{
	const char *refusal = NULL;

	*ret = 0;
	return openssl_site_want((const uint8_t *)code, size, ret, &refusal);
}

static void field_of_ssl_want_is_read_from_its_code(void **state)
{
	/* 3.5.9 up to the branch for QUIC, which has the field in another object */
	static const char newer[] =
		ENDBR "\x48\x85\xff\x74\x0a\x8b\x07\x85\xc0\x74\x11\xa8\x80\x75\x1d\xb8\x01\x00"
		      "\x00\x00\x31\xff\xc3\x0f\x1f\x44\x00\x00\x8b\x47\x68\x31\xff\xc3\x8b\x40"
		      "\x68\xc3";
	static const char two[] = "\x8b\x47\x28\x8b\x47\x2c\xc3", none[] = "\x8b\x07\xc3";
	static const char other[] = "\x8b\x46\x28\xc3", negative[] = "\x8b\x47\xf8\xc3";
	uint16_t field;

	(void)state;
	assert_int_equal(want("\x8b\x47\x28\xc3", 4, &field), 0);
	assert_int_equal(field, 0x28);
	assert_int_equal(want(newer, sizeof(newer) - 1, &field), 0);
	assert_int_equal(field, 0x68);
	assert_int_equal(want(two, sizeof(two) - 1, &field), -ENOTSUP);
	assert_int_equal(want(none, sizeof(none) - 1, &field), -ENOTSUP);
	assert_int_equal(want(other, sizeof(other) - 1, &field), -ENOTSUP);
	assert_int_equal(want(negative, sizeof(negative) - 1, &field), -ENOTSUP);
	assert_int_equal(want("", 0, &field), -ENOTSUP);
}

static void table_is_what_the_function_returns(void **state)
{
	static const char relative[] = ENDBR "\x48\x8d\x05\x10\x00\x00\x00\xc3";
	static const char absolute[] = "\xb8\x00\x20\x40\x00\xc3";
	static const char other[] = "\x48\x8d\x15\x10\x00\x00\x00\xc3";
	const char *refusal = NULL;
	uint64_t table = 0;

	(void)state;
	assert_int_equal(openssl_site_method((const uint8_t *)relative, sizeof(relative) - 1,
					     0x1000, &table, &refusal),
			 0);
	assert_int_equal(table, 0x1000 + 11 + 16);
	assert_int_equal(openssl_site_method((const uint8_t *)absolute, sizeof(absolute) - 1,
					     0x1000, &table, &refusal),
			 0);
	assert_int_equal(table, 0x402000);
	assert_int_equal(openssl_site_method((const uint8_t *)other, sizeof(other) - 1, 0x1000,
					     &table, &refusal),
			 -ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_release_has_its_branch),
		cmocka_unit_test(each_argument_must_be_what_it_is_in_openssl),
		cmocka_unit_test(result_must_reach_the_branch),
		cmocka_unit_test(reading_without_a_choice_is_taken_and_peeking_is_not),
		cmocka_unit_test(callee_is_the_first_that_is_called),
		cmocka_unit_test(callee_must_get_the_arguments),
		cmocka_unit_test(field_of_ssl_want_is_read_from_its_code),
		cmocka_unit_test(table_is_what_the_function_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
