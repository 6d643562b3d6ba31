/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>

#include "base/cleanup.h"

/* Leaves by every kind of exit; LeakSanitizer is what fails this test when a free is missed. */
static char *allocate(bool keep)
{
	_cleanup_free_ char *kept = strdup("kept");
	_cleanup_free_ char *always_freed = strdup("freed");

	assert_non_null(always_freed);
	return keep ? TAKE_PTR(kept) : NULL;
}

static void taken_pointer_outlives_its_scope_and_others_do_not(void **state)
{
	char *kept = allocate(true);

	(void)state;
	assert_string_equal(kept, "kept");
	free(kept);
	assert_null(allocate(false));
}

static int open_null(bool keep, int *ret_number)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDONLY);

	*ret_number = fd;
	return keep ? TAKE_FD(fd) : -1;
}

static void taken_descriptor_stays_open_and_others_are_closed(void **state)
{
	int number, fd = open_null(true, &number);

	(void)state;
	assert_int_equal(fd, number);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	assert_int_equal(close(fd), 0);
	open_null(false, &number);
	assert_int_equal(fcntl(number, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken_pointer_outlives_its_scope_and_others_do_not),
		cmocka_unit_test(taken_descriptor_stays_open_and_others_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
