/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "control/guard.h"

#define MS 1000000ull

/* In hundredths of a percent. */
static void share_is_cost_of_cpu_time(void **state)
{
	(void)state;
	assert_int_equal(guard_share(1000, 2000, 1000 * MS), 20); /* 2 ms of 1 s */
	assert_int_equal(guard_share(10000, 2500, 250 * MS), 1000);
	assert_int_equal(guard_share(0, 2500, 250 * MS), 0);
	assert_int_equal(guard_share(0, 0, 0), 0);
	assert_int_equal(guard_share(1000, 1000, 1 * MS), 10000); /* all of it */
}

static void share_without_cpu_time_is_the_highest_there_is(void **state)
{
	(void)state;
	assert_int_equal(guard_share(1, 1000, 0), 1000000);
	assert_int_equal(guard_share(1u << 30, 1u << 20, 1), 1000000);
}

static void calls_without_a_hit_cost_too(void **state)
{
	uint64_t one = guard_cost_ns(1, 0, 1000);

	(void)state;
	assert_true(one > 1000);
	assert_int_equal(guard_cost_ns(10, 0, 1000), 10 * one);
	assert_int_equal(guard_cost_ns(0, 0, 1000), 0);
	/* a blob's 6,400 writes hold one reply */
	assert_true(guard_cost_ns(1, 6400, 1000) > 6400 * (one - 1000));
	/* five replies in one write: one trap, five times the program */
	assert_true(guard_cost_ns(5, 1, 1000) > 5000 && guard_cost_ns(5, 1, 1000) < 5 * one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(share_is_cost_of_cpu_time),
		cmocka_unit_test(calls_without_a_hit_cost_too),
		cmocka_unit_test(share_without_cpu_time_is_the_highest_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
