/* SPDX-License-Identifier: MIT */
/*
 * What every unit test includes: cmocka with its prerequisites, a scratch folder, and skips that
 * say why.
 */
#ifndef PULLTAP_TESTS_UNIT_TEST_H
#define PULLTAP_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Ends the test as skipped; run.sh shows the reason and fails on it when CI=true. */
#define test_skip(reason)                                                                          \
	do {                                                                                       \
		print_message("skip: %s: %s\n", __func__, reason);                                 \
		skip();                                                                            \
	} while (0)

/*
 * A new folder for one test, in memory where there is such a place: thousands of small files are
 * made. Remove it with test_remove_folder(), which frees the name.
 */
static inline char *test_make_folder(void)
{
	bool in_memory = !access("/dev/shm", W_OK | X_OK);
	char *path =
		strdup(in_memory ? "/dev/shm/pulltap-unit-XXXXXX" : "/tmp/pulltap-unit-XXXXXX");

	assert_non_null(path);
	assert_non_null(mkdtemp(path));
	return path;
}

static inline void test_remove_folder(char *path)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
	free(path);
}

#endif
