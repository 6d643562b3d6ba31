/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "window/window.h"

static void every_counter_has_name_help_and_place(void **state)
{
	struct pt_ledger ledger = {0};
	const uint64_t *values = (const uint64_t *)&ledger;

	(void)state;
	for (unsigned int i = 0; i < LEDGER_COUNT; i++) {
		assert_non_null(ledger_fields[i].name);
		assert_true(ledger_fields[i].help[0] != 0);
	}
	for (unsigned int i = 0; i <= LEDGER_COUNT; i++)
		assert_int_equal(*ledger_advice(i) != 0,
				 i < LEDGER_COUNT && ledger_fields[i].kind == LEDGER_KIND_LOST);
	ledger.lost_fault = 7;
	assert_int_equal(values[LEDGER_lost_fault], 7);
	assert_string_equal(ledger_fields[LEDGER_lost_fault].name, "lost_fault");
	assert_int_equal(ledger_fields[LEDGER_lost_fault].kind, LEDGER_KIND_LOST);
}

/* The prefix is what a reader goes by; the kind is what the sums go by. */
static void kinds_agree_with_the_names_prefixes(void **state)
{
	static const char *const prefixes[] = {
		[LEDGER_KIND_SEEN] = "seen",	      [LEDGER_KIND_COUNTED] = "counted",
		[LEDGER_KIND_FILTERED] = "filtered_", [LEDGER_KIND_LOST] = "lost_",
		[LEDGER_KIND_NOTE] = "note_",
	};

	(void)state;
	for (unsigned int i = 0; i < LEDGER_COUNT; i++) {
		const char *prefix = prefixes[ledger_fields[i].kind];

		assert_memory_equal(ledger_fields[i].name, prefix, strlen(prefix));
	}
}

static void balanced_books_have_no_imbalance_and_notes_do_not_count(void **state)
{
	uint64_t ledger[LEDGER_COUNT] = {
		[LEDGER_seen] = 10,	    [LEDGER_counted] = 4,     [LEDGER_filtered_method] = 3,
		[LEDGER_lost_map_full] = 2, [LEDGER_lost_layout] = 1, [LEDGER_note_long_key] = 4,
	};

	(void)state;
	assert_int_equal(ledger_imbalance(ledger), 0);
	assert_int_equal(ledger_sum(ledger, LEDGER_KIND_LOST), 3);
	assert_int_equal(ledger_sum(ledger, LEDGER_KIND_NOTE), 4);
}

static void unbalanced_books_show_the_difference_with_its_sign(void **state)
{
	uint64_t ledger[LEDGER_COUNT] = {[LEDGER_seen] = 10, [LEDGER_counted] = 9};

	(void)state;
	assert_int_equal(ledger_imbalance(ledger), 1);
	ledger[LEDGER_lost_busy] = 3;
	assert_int_equal(ledger_imbalance(ledger), -2);
}

static void operations_have_names_and_others_are_unknown(void **state)
{
	(void)state;
	assert_string_equal(op_name(PT_OP_GET), "get");
	assert_string_equal(op_name(PT_OP_HINTED_GET), "hinted_get");
	for (int op = 0; op < PT_OP_COUNT; op++)
		assert_string_not_equal(op_name((enum pt_op)op), "unknown");
	assert_string_equal(op_name(PT_OP_COUNT), "unknown");
	assert_string_equal(op_name((enum pt_op) - 1), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_counter_has_name_help_and_place),
		cmocka_unit_test(kinds_agree_with_the_names_prefixes),
		cmocka_unit_test(balanced_books_have_no_imbalance_and_notes_do_not_count),
		cmocka_unit_test(unbalanced_books_show_the_difference_with_its_sign),
		cmocka_unit_test(operations_have_names_and_others_are_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
