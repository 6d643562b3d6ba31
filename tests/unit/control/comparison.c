/* SPDX-License-Identifier: MIT */
/* Two counters that are never read at the same moment. */
#include "test.h"

#include "control/comparison.h"

/* Adds a look n times; returns how often a difference was news. */
static unsigned int look(struct comparison *c, uint64_t before, uint64_t done, uint64_t begun,
			 uint64_t after, unsigned int n)
{
	unsigned int news = 0;

	while (n--)
		news += comparison_add(c, &(struct comparison_look){before, done, begun, after},
				       1000);
	return news;
}

static struct comparison begun_at(uint64_t ours, uint64_t truth)
{
	struct comparison c = {};

	assert_int_equal(look(&c, ours, truth, truth, ours, 2), 0);
	assert_true(c.begun);
	return c;
}

static void two_looks_that_agree_begin_a_comparison_at_zero(void **state)
{
	struct comparison c = {};

	(void)state;
	look(&c, 5, 100, 100, 5, 1);
	assert_int_equal(c.since_s, 0);
	look(&c, 6, 100, 100, 6, 1); /* a reply between: not yet */
	assert_int_equal(c.since_s, 0);
	look(&c, 7, 101, 101, 7, 1);
	assert_int_equal(c.since_s, 1000);
	assert_int_equal(c.truth + c.ours + (uint64_t)c.difference, 0);
	look(&c, 17, 111, 111, 17, 1);
	assert_int_equal(c.truth, 10);
	assert_int_equal(c.ours, 10);
}

static void registry_that_is_never_still_is_compared_all_the_same(void **state)
{
	struct comparison c = {};

	(void)state;
	for (uint64_t i = 0; i < 11; i++)
		look(&c, i * 10, i * 10 + i % 3, i * 10 + i % 3, i * 10 + 1, 1);
	assert_int_equal(c.since_s, 1000);
}

static void what_is_under_way_is_no_difference(void **state)
{
	struct comparison c = begun_at(0, 0);

	(void)state;
	for (uint64_t i = 1; i < 1000; i++) {
		/* five replies while we look, three logged that are not counted yet */
		assert_int_equal(look(&c, i * 100, i * 100 + 3, i * 100 + 3, i * 100 + 5, 1), 0);
		assert_int_equal(look(&c, i * 100, i * 100 - 3, i * 100 - 3, i * 100, 1), 0);
	}
	assert_int_equal(c.difference, 0);
	/* begun in nginx, not finished there, counted in the registry: any load */
	c = begun_at(0, 0);
	for (uint64_t i = 1; i < 100; i++)
		assert_int_equal(look(&c, i * 500, i * 500 - 200, i * 500 + 50, i * 500, 1), 0);
}

static void one_missing_reply_is_believed_when_all_is_still(void **state)
{
	struct comparison c = begun_at(40, 7);

	(void)state;
	look(&c, 1040, 1008, 1008, 1040, 1);
	assert_int_equal(look(&c, 1040, 1008, 1008, 1040, 4), 0);
	assert_int_equal(look(&c, 1040, 1008, 1008, 1040, 1), 1);
	assert_int_equal(c.difference, 1);
	assert_int_equal(c.changed_s, 1000);
	assert_int_equal(c.truth, 1001);
	assert_int_equal(c.ours, 1000);
	/* once, not again and again */
	assert_int_equal(look(&c, 1040, 1008, 1008, 1040, 100), 0);
	/* one more, and one too many the other way */
	assert_int_equal(look(&c, 1040, 1009, 1009, 1040, 6), 1);
	assert_int_equal(c.difference, 2);
	assert_int_equal(look(&c, 1043, 1009, 1009, 1043, 6), 1);
	assert_int_equal(c.difference, -1);
}

static void many_missing_replies_are_believed_under_load(void **state)
{
	struct comparison c = begun_at(0, 0);
	unsigned int news = 0;

	(void)state;
	for (uint64_t i = 1; i <= 20; i++)
		news += look(&c, i * 100, i * 100 + 500, i * 100 + 500, i * 100, 1);
	assert_int_equal(news, 1);
	assert_int_equal(c.difference, 500);
}

static void truth_that_begins_anew_keeps_the_sums_and_the_difference(void **state)
{
	struct comparison c = begun_at(0, 0);

	(void)state;
	assert_int_equal(look(&c, 90, 100, 100, 90, 6), 1);
	comparison_pause(&c);
	look(&c, 120, 0, 0, 120, 2); /* 30 came while the truth was away */
	assert_int_equal(look(&c, 170, 50, 50, 170, 10), 0);
	assert_int_equal(c.truth, 150);
	assert_int_equal(c.ours, 140);
	assert_int_equal(c.difference, 10);
	assert_int_equal(look(&c, 170, 51, 51, 170, 6), 1);
	assert_int_equal(c.difference, 11);
}

static void resumed_comparison_sees_what_happened_between(void **state)
{
	struct comparison kept = {.since_s = 5, .truth = 110, .ours = 100, .difference = 10};

	(void)state;
	comparison_resume(&kept, &(struct comparison_look){1000, 2000, 2000, 1000});
	assert_int_equal(look(&kept, 1050, 2050, 2050, 1050, 10), 0);
	assert_int_equal(kept.truth, 160);
	assert_int_equal(kept.ours, 150);
	assert_int_equal(kept.since_s, 5);
	assert_int_equal(look(&kept, 1050, 2053, 2053, 1050, 6), 1);
	assert_int_equal(kept.difference, 13);
}

static void pause_before_the_beginning_is_harmless(void **state)
{
	struct comparison c = {};

	(void)state;
	comparison_pause(&c);
	look(&c, 5, 5, 5, 5, 1);
	comparison_pause(&c);
	look(&c, 9, 9, 9, 9, 2);
	assert_true(c.begun);
	assert_int_equal(c.truth + c.ours, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_looks_that_agree_begin_a_comparison_at_zero),
		cmocka_unit_test(registry_that_is_never_still_is_compared_all_the_same),
		cmocka_unit_test(what_is_under_way_is_no_difference),
		cmocka_unit_test(one_missing_reply_is_believed_when_all_is_still),
		cmocka_unit_test(many_missing_replies_are_believed_under_load),
		cmocka_unit_test(truth_that_begins_anew_keeps_the_sums_and_the_difference),
		cmocka_unit_test(resumed_comparison_sees_what_happened_between),
		cmocka_unit_test(pause_before_the_beginning_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
