/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>

#include "control/switch_word.h"

static int parse(const char *text, bool *ret_off)
{
	return switch_word_parse(text, strlen(text), ret_off);
}

static void every_word_for_off_and_on_is_understood(void **state)
{
	static const char *const offs[] = {"off", "OFF",    "0",	 "false",
					   "no",  " off\n", "\tOff \r\n"};
	static const char *const ons[] = {"on", "On", "1", "true", "YES", "on\n"};
	bool off;

	(void)state;
	for (unsigned int i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
		off = false;
		assert_int_equal(parse(offs[i], &off), 0);
		assert_true(off);
	}
	for (unsigned int i = 0; i < sizeof(ons) / sizeof(ons[0]); i++) {
		off = true;
		assert_int_equal(parse(ons[i], &off), 0);
		assert_false(off);
	}
}

static void anything_else_is_refused_and_says_nothing(void **state)
{
	static const char *const texts[] = {"",	  " \n", "of",	 "offf",	 "off on", "2",
					    "00", "-1",	 "null", "pulltap: off", "\xff"};
	bool off = true;

	(void)state;
	for (unsigned int i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(parse(texts[i], &off), -EINVAL);
	assert_int_equal(switch_word_parse("on\0", 3, &off), -EINVAL);
	assert_true(off);
}

static void text_without_an_end_is_read_to_its_size(void **state)
{
	const char text[] = {'o', 'f', 'f', 'x'};
	bool off = false;

	(void)state;
	assert_int_equal(switch_word_parse(text, 3, &off), 0);
	assert_true(off);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_for_off_and_on_is_understood),
		cmocka_unit_test(anything_else_is_refused_and_says_nothing),
		cmocka_unit_test(text_without_an_end_is_read_to_its_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
