/* SPDX-License-Identifier: MIT */
/* Beginnings of functions as compilers wrote them, and what must not be taken for a site. */
#include "discover/entry_site.h"

#include <errno.h>

#include "test.h"

#define ENDBR "\xf3\x0f\x1e\xfa"
#define NO_SITE "no instruction that the kernel emulates at its start"
#define GONE "its arguments are gone before an instruction that the kernel emulates"

#define assert_site(bytes, at)                                                                     \
	do {                                                                                       \
		const char *refusal_ = "";                                                         \
		uint32_t offset_ = 0;                                                              \
		assert_int_equal(entry_site_find((const uint8_t *)(bytes), sizeof(bytes) - 1, 2,   \
						 &offset_, &refusal_),                             \
				 0);                                                               \
		assert_int_equal(offset_, at);                                                     \
	} while (0)

#define assert_refused(bytes, text)                                                                \
	do {                                                                                       \
		const char *refusal_ = "";                                                         \
		uint32_t offset_ = 0;                                                              \
		assert_int_equal(entry_site_find((const uint8_t *)(bytes), sizeof(bytes) - 1, 2,   \
						 &offset_, &refusal_),                             \
				 -ENOTSUP);                                                        \
		assert_string_equal(refusal_, text);                                               \
	} while (0)

static void each_emulated_instruction_is_a_site(void **state)
{
	(void)state;
	assert_site("\x55\xc3", 0); /* push %rbp */
	assert_site("\x41\x55\xc3", 0); /* push %r13 */
	assert_site("\x90\xc3", 0); /* nop */
	assert_site("\x74\x00\xc3", 0); /* je */
	assert_site("\x0f\x84\x00\x00\x00\x00\xc3", 0); /* je, near */
	assert_site("\xeb\x00\xc3", 0); /* jmp */
	assert_site("\xe9\x00\x00\x00\x00\xc3", 0);
	assert_site("\xe8\x00\x00\x00\x00\xc3", 0); /* call */
}

static void what_is_stepped_is_passed_over(void **state)
{
	(void)state;
	assert_site(ENDBR "\x41\x55\xc3", 4); /* nginx 1.26.3 */
	/* a longer nop, one with a size, pause; push of a constant and of memory; sub %rsp */
	assert_site("\x0f\x1f\x44\x00\x00\x55\xc3", 5);
	assert_site("\x66\x90\x55\xc3", 2);
	assert_site("\xf3\x90\x55\xc3", 2);
	assert_site("\x6a\x01\x55\xc3", 2);
	assert_site("\xff\x35\x00\x00\x00\x00\x55\xc3", 6);
	assert_site("\x48\x83\xec\x18\x55\xc3", 4);
	assert_site("\x66\x55\x55\xc3", 2);
	assert_site("\x49\x89\xf5\x48\x89\xfd\x53\xc3", 6); /* reads of the arguments */
	/* nginx 1.30.6: no push; the first jump */
	assert_site(ENDBR "\x48\x83\xec\x38\x48\x8b\x47\x08\x48\x89\x6c\x24\x20\x48\x89\xfd"
			  "\x4c\x89\x64\x24\x28\x4c\x8b\x60\x50\x4c\x89\x6c\x24\x30"
			  "\x64\x4c\x8b\x2c\x25\x28\x00\x00\x00\x4c\x89\x6c\x24\x08\x49\x89\xf5"
			  "\x41\xf6\x44\x24\x01\x01\x0f\x85\xa1\x01\x00\x00\xc3",
		    57);
}

static void written_arguments_are_refused(void **state)
{
	(void)state;
	assert_refused("\x48\x89\xc7\x55\xc3", GONE); /* mov %rax, %rdi */
	assert_refused("\x31\xf6\x55\xc3", GONE); /* xor %esi, %esi */
	assert_refused("\x40\xb7\x01\x55\xc3", GONE); /* mov $1, %dil */
	assert_refused("\x5f\x55\xc3", GONE); /* pop %rdi */
	assert_refused("\xf3\xa4\x55\xc3", GONE); /* rep movsb writes both unsaid */
	assert_refused("\x48\x87\xfe\x55\xc3", GONE); /* xchg */
	assert_site("\x31\xd2\x55\xc3", 2); /* the third is not asked for */
}

static void an_end_of_the_straight_way_is_refused(void **state)
{
	(void)state;
	assert_refused("\xc3", NO_SITE);
	assert_refused("\xff\xe0\x55", NO_SITE); /* jmp *%rax */
	assert_refused("\xff\xd0\x55", NO_SITE); /* call *%rax */
	assert_refused("\x0f\x0b\x55", NO_SITE); /* ud2 */
	assert_refused("\xcc\x55", NO_SITE); /* int3 */
	assert_refused("\x0f\x05\x55", NO_SITE); /* syscall */
	assert_refused("\xe3\x00\xc3",
		       NO_SITE); /* jrcxz is not emulated: behind it anything goes */
	assert_refused("\xe2\x00\x55\xc3", NO_SITE); /* nor is loop */
	assert_refused("\x48\x83", NO_SITE); /* cut off */
	assert_refused("", NO_SITE);
	assert_refused("\x06", NO_SITE); /* no instruction */
	assert_refused("\x48\x89\xe5", NO_SITE); /* the code ends */
}

static void a_site_in_a_loop_is_refused(void **state)
{
	(void)state;
	/* mov (%rax), %rcx; push %rcx; dec %rdx; jne to the push */
	assert_refused("\x48\x8b\x08\x51\x48\xff\xca\x75\xfa\xc3", "its start is part of a loop");
	/* to the entry: that is another call */
	assert_site("\x48\x8b\x08\x51\x48\xff\xca\x75\xf7\xc3", 3);
	/* behind the site */
	assert_site("\x48\x8b\x08\x51\x48\xff\xca\x75\xfb\xc3", 3);
}

static void touches_finds_displacements_of_either_size(void **state)
{
	static const uint8_t code[] = "\x48\x8b\x47\x08\x48\x83\xbf\x88\x02\x00\x00\x00"
				      "\x48\x8b\x44\x24\x10\x48\x8b\x05\x20\x00\x00\x00\xc3";

	(void)state;
	assert_true(entry_site_touches(code, sizeof(code) - 1, 8));
	assert_true(entry_site_touches(code, sizeof(code) - 1, 648));
	assert_false(entry_site_touches(code, sizeof(code) - 1, 16)); /* of the stack */
	assert_false(entry_site_touches(code, sizeof(code) - 1, 32)); /* of rip */
	assert_false(entry_site_touches(code, 5, 648));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_emulated_instruction_is_a_site),
		cmocka_unit_test(what_is_stepped_is_passed_over),
		cmocka_unit_test(written_arguments_are_refused),
		cmocka_unit_test(an_end_of_the_straight_way_is_refused),
		cmocka_unit_test(a_site_in_a_loop_is_refused),
		cmocka_unit_test(touches_finds_displacements_of_either_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
