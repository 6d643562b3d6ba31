/* SPDX-License-Identifier: MIT */
/* Processes that wait for their libraries: each comes when it is due, and none for ever. */
#include "attach/linger.h"

#include <poll.h>

#include "test.h"

/* A machine that is busy is late; one that never comes fails. */
#define PATIENCE_MS 20000

static bool is_due(const struct linger *linger, int timeout_ms)
{
	struct pollfd fd = {.fd = linger_fd(linger), .events = POLLIN};

	return poll(&fd, 1, timeout_ms) == 1;
}

static int begin(void **state)
{
	return linger_new((struct linger **)state);
}

static int end(void **state)
{
	struct linger *linger = *state;

	linger_free(&linger);
	return linger != NULL;
}

static void one_that_is_added_comes_once(void **state)
{
	struct linger *linger = *state;

	assert_int_equal(linger_next(linger), 0);
	assert_true(linger_add(linger, 42));
	assert_true(linger_add(linger, 42));
	assert_true(is_due(linger, PATIENCE_MS));
	assert_int_equal(linger_next(linger), 42);
	assert_int_equal(linger_next(linger), 0);
	assert_false(is_due(linger, 50));
}

static void one_that_is_added_again_keeps_its_age(void **state)
{
	struct linger *linger = *state;

	for (int i = 0; i < 10; i++) {
		assert_true(linger_add(linger, 7));
		assert_true(is_due(linger, PATIENCE_MS));
		assert_int_equal(linger_next(linger), 7);
	}
	/* at once it is not due again */
	assert_true(linger_add(linger, 7));
	assert_int_equal(linger_next(linger), 0);
}

static void each_of_many_comes(void **state)
{
	struct linger *linger = *state;
	bool came[LINGER_PROCESSES + 1] = {0};

	for (int pid = 1; pid <= LINGER_PROCESSES; pid++)
		assert_true(linger_add(linger, pid));
	assert_true(linger_add(linger, 1000)); /* no room: it waits for the scan */
	for (int i = 0; i < LINGER_PROCESSES; i++) {
		pid_t pid = linger_next(linger);

		if (!pid) {
			assert_true(is_due(linger, PATIENCE_MS));
			pid = linger_next(linger);
		}
		assert_in_range(pid, 1, LINGER_PROCESSES);
		assert_false(came[pid]);
		came[pid] = true;
	}
	assert_int_equal(linger_next(linger), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_that_is_added_comes_once, begin, end),
		cmocka_unit_test_setup_teardown(one_that_is_added_again_keeps_its_age, begin, end),
		cmocka_unit_test_setup_teardown(each_of_many_comes, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
