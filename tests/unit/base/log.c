/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <unistd.h>

#include "base/log.h"

/* Runs a statement with standard error in a pipe and gives what it wrote. */
#define CAPTURE(text, statement)                                                                   \
	do {                                                                                       \
		int ends_[2], saved_ = dup(STDERR_FILENO);                                         \
		ssize_t n_;                                                                        \
		assert_int_equal(pipe(ends_), 0);                                                  \
		dup2(ends_[1], STDERR_FILENO);                                                     \
		close(ends_[1]);                                                                   \
		statement;                                                                         \
		dup2(saved_, STDERR_FILENO);                                                       \
		close(saved_);                                                                     \
		n_ = read(ends_[0], text, sizeof(text) - 1);                                       \
		close(ends_[0]);                                                                   \
		assert_true(n_ >= 0);                                                              \
		text[n_] = 0;                                                                      \
	} while (0)

static void line_holds_time_level_message_and_pairs(void **state)
{
	char text[4096];

	(void)state;
	CAPTURE(text, log_warn("spool is full", "path=%s files=%d", "/x", 3));
	assert_memory_equal(text, "time=20", 7);
	assert_int_equal(text[28], 'Z');
	assert_string_equal(text + 29, " level=warn msg=\"spool is full\" path=/x files=3\n");
	CAPTURE(text, log_error("no pairs", ""));
	assert_string_equal(text + 29, " level=error msg=\"no pairs\"\n");
}

static void lines_above_the_level_are_dropped(void **state)
{
	char text[4096];

	(void)state;
	CAPTURE(text, log_debug("hidden", ""));
	assert_string_equal(text, "");
	log_set_level(LOG_LEVEL_DEBUG);
	CAPTURE(text, log_debug("shown", ""));
	assert_non_null(strstr(text, "level=debug msg=\"shown\""));
	log_set_level(LOG_LEVEL_ERROR);
	CAPTURE(text, log_warn("hidden", ""));
	assert_string_equal(text, "");
	log_set_level(LOG_LEVEL_INFO);
}

static void overlong_line_is_cut_and_still_ends(void **state)
{
	static char value[5000];
	char text[8192];

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	CAPTURE(text, log_info("long", "value=%s", value));
	assert_int_equal(strlen(text), 2047);
	assert_int_equal(text[2046], '\n');
	CAPTURE(text, log_info(value, "value=%s", value));
	assert_in_range(strlen(text), 2000, 2048);
	assert_int_equal(text[strlen(text) - 1], '\n');
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void quoted_value_can_not_break_out(void **state)
{
	char text[64];

	(void)state;
	assert_string_equal(log_quote(text, sizeof(text), "a b"), "\"a b\"");
	assert_string_equal(log_quote(text, sizeof(text), "\"\\\n\x7f\xc3"),
			    "\"\\\"\\\\\\x0a\\x7f\\xc3\"");
	assert_string_equal(log_quote(text, sizeof(text), ""), "\"\"");
}

/* Every size and every worst content: the quotes stay closed and nothing is written beyond. */
static void quoted_value_fits_any_size(void **state)
{
	static const char *const values[] = {"abcdefghijklmnopqrstuvwxyz",
					     "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
					     "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\""};

	(void)state;
	for (unsigned int v = 0; v < 3; v++) {
		for (size_t size = 0; size < 48; size++) {
			char *text = malloc(size ? size : 1);

			assert_non_null(text);
			text[0] = 0;
			log_quote(text, size, values[v]);
			if (size >= 8) {
				assert_true(strlen(text) < size);
				assert_int_equal(text[0], '"');
				assert_int_equal(text[strlen(text) - 1], '"');
			}
			free(text);
		}
	}
}

static void gate_opens_once_per_interval_and_counts_the_rest(void **state)
{
	struct log_gate gate = {0};
	uint64_t suppressed = 99;

	(void)state;
	assert_true(log_gate_open(&gate, 3600, &suppressed));
	assert_int_equal(suppressed, 0);
	assert_false(log_gate_open(&gate, 3600, &suppressed));
	assert_false(log_gate_open(&gate, 3600, &suppressed));
	gate.next_ns = 0;
	assert_true(log_gate_open(&gate, 3600, &suppressed));
	assert_int_equal(suppressed, 2);
	gate.next_ns = 0;
	assert_true(log_gate_open(&gate, 3600, &suppressed));
	assert_int_equal(suppressed, 0);
}

static void plain_text_holds_nothing_that_a_terminal_obeys(void **state)
{
	char text[] = "/run/\x1b[2J\n\xff\"x";

	(void)state;
	log_plain(text);
	assert_string_equal(text, "/run/?[2J??\"x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_holds_time_level_message_and_pairs),
		cmocka_unit_test(lines_above_the_level_are_dropped),
		cmocka_unit_test(overlong_line_is_cut_and_still_ends),
		cmocka_unit_test(quoted_value_can_not_break_out),
		cmocka_unit_test(quoted_value_fits_any_size),
		cmocka_unit_test(gate_opens_once_per_interval_and_counts_the_rest),
		cmocka_unit_test(plain_text_holds_nothing_that_a_terminal_obeys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
