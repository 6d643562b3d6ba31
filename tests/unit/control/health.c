/* SPDX-License-Identifier: MIT */
/* What a probe is told, by what the agent's status file says and how old it is. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control/health.h"

static char *folder;
static char path[300];
static char reason[1024];

static int make_folder(void **state)
{
	(void)state;
	folder = test_make_folder();
	snprintf(path, sizeof(path), "%s/status.json", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	test_remove_folder(folder);
	return 0;
}

static void write_status(int pid, const char *shipping, const char *drain_error, int age_s)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - age_s}};
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "{\"pid\": %d, \"windows\": {", pid);
	if (drain_error)
		fprintf(file, "\"error\": \"%s\"", drain_error);
	fprintf(file, "}, \"shipping\": {\"state\": \"%s\", \"last_error\": \"it said so\"}}",
		shipping);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool healthy(bool ready)
{
	int rc = health_check(folder, ready, reason, sizeof(reason));

	assert_true(!rc || rc == -EAGAIN);
	return !rc;
}

static void without_a_status_nothing_is_alive(void **state)
{
	(void)state;
	assert_false(healthy(false));
	assert_non_null(strstr(reason, "no agent has become ready"));
	assert_false(healthy(true));
}

static void a_working_agent_is_ready(void **state)
{
	(void)state;
	write_status(getpid(), "idle", NULL, 0);
	assert_true(healthy(false));
	assert_true(healthy(true));
	write_status(getpid(), "applying", NULL, HEALTH_FRESH_S / 2);
	assert_true(healthy(true));
}

static void a_silent_agent_is_dead(void **state)
{
	(void)state;
	write_status(getpid(), "idle", NULL, HEALTH_FRESH_S + 5);
	assert_false(healthy(false));
	assert_non_null(strstr(reason, "has not written"));
	assert_false(healthy(true));
}

static void a_status_from_the_future_is_fresh(void **state)
{
	(void)state;
	write_status(getpid(), "idle", NULL, -3600);
	assert_true(healthy(true));
}

static void a_status_that_outlived_its_agent_is_not_ready(void **state)
{
	pid_t child = fork();

	(void)state;
	if (!child)
		_exit(0);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	write_status(child, "idle", NULL, 0);
	assert_false(healthy(true));
	assert_non_null(strstr(reason, "has ended"));
	write_status(0, "idle", NULL, 0); /* never "all of my group" */
	assert_false(healthy(true));
}

static void what_waits_for_a_person_is_alive_and_not_ready(void **state)
{
	static const char *const states[] = {"retrying", "schema", "denied", "spool"};

	(void)state;
	for (unsigned int i = 0; i < sizeof(states) / sizeof(*states); i++) {
		write_status(getpid(), states[i], NULL, 0);
		assert_true(healthy(false));
		assert_false(healthy(true));
		assert_non_null(strstr(reason, states[i]));
		assert_non_null(strstr(reason, "it said so"));
	}
	write_status(getpid(), "idle", "No space left on device", 0);
	assert_true(healthy(false));
	assert_false(healthy(true));
	assert_non_null(strstr(reason, "No space left on device"));
}

static void a_damaged_status_is_not_ready(void **state)
{
	FILE *file = fopen(path, "w");

	(void)state;
	assert_non_null(file);
	fputs("{\"pid\": 1, ", file);
	assert_int_equal(fclose(file), 0);
	assert_false(healthy(true));
	assert_non_null(strstr(reason, "is not an agent's status"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(without_a_status_nothing_is_alive),
		test(a_working_agent_is_ready),
		test(a_silent_agent_is_dead),
		test(a_status_from_the_future_is_fresh),
		test(a_status_that_outlived_its_agent_is_not_ready),
		test(what_waits_for_a_person_is_alive_and_not_ready),
		test(a_damaged_status_is_not_ready),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
