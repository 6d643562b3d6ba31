/* SPDX-License-Identifier: MIT */
/*
 * The spool when the disk says no and when the agent dies between any two system calls.
 */
#include "window/spool_fault.h"
#include "window/spool_sample.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

static int make_folder(void **state)
{
	*state = test_make_folder();
	return 0;
}

static int remove_folder(void **state)
{
	arm(FAULT_NONE, 0, 0);
	test_remove_folder(*state);
	return 0;
}

static struct spool *open_spool(const char *path)
{
	struct spool *spool = NULL;

	assert_int_equal(spool_new(&spool, path), 0);
	return spool;
}

static void check_only_window(struct spool *spool, unsigned int records)
{
	char name[SPOOL_NAME_BYTES];

	assert_int_equal(spool_oldest(spool, name), 1);
	assert_int_equal(sample_check(spool, name, records), 0);
	assert_int_equal(spool_remove(spool, name), 0);
	assert_int_equal(spool_oldest(spool, name), 0);
}

static void any_failing_call_is_reported_and_the_window_can_be_written_again(void **state)
{
	static const int errors[] = {ENOSPC, EIO, EROFS, EDQUOT};
	struct spool *spool = open_spool(*state);
	unsigned int at = 0, failures = 0;
	bool failed;
	char name[SPOOL_NAME_BYTES];
	int err;

	do {
		int error = errors[at % 4];

		arm(FAULT_ERROR, ++at, error);
		err = sample_write(spool, spool_agent(spool), at, SAMPLE_RECORDS);
		failed = faults > 0;
		arm(FAULT_NONE, 0, 0);
		if (failed) {
			failures++;
			assert_int_equal(err, -error);
			assert_int_equal(spool_oldest(spool, name), 0);
			assert_int_equal(sample_count_entries(*state, "tmp-"), 0);
			assert_int_equal(
				sample_write(spool, spool_agent(spool), at, SAMPLE_RECORDS), 0);
		}
		check_only_window(spool, SAMPLE_RECORDS);
	} while (failed);
	/* three buffers, checksum, lseek, header, fsync of the file, rename, fsync of the folder */
	assert_int_equal(failures, 9);
	spool_free(&spool);
}

/* A name that may come back must not be followed by others that leave. */
static void removal_that_is_not_on_disk_is_made_sure_of_before_the_next(void **state)
{
	struct spool *spool = open_spool(*state);
	char name[SPOOL_NAME_BYTES];

	for (uint64_t i = 1; i <= 2; i++)
		assert_int_equal(sample_write(spool, spool_agent(spool), i, 1), 0);
	assert_int_equal(spool_oldest(spool, name), 1);
	/* its unlink succeeds, the fsync of the folder does not, nor does the next */
	arm(FAULT_ERROR, 2, EIO);
	assert_int_equal(spool_remove(spool, name), -EIO);
	arm(FAULT_ERROR, 1, EIO);
	assert_int_equal(spool_oldest(spool, name), -EIO);
	arm(FAULT_NONE, 0, 0);
	check_only_window(spool, 1);
	spool_free(&spool);
}

static void failed_reservation_is_reported_and_hands_nothing_out(void **state)
{
	struct spool *spool = open_spool(*state);

	for (unsigned int at = 1; at <= 4; at++) {
		arm(FAULT_ERROR, at, EIO);
		assert_int_equal(spool_reserve(spool, 10 + at), -EIO);
		assert_int_equal(faults, 1);
		assert_int_equal(spool_sequence(spool), 0);
		assert_int_equal(sample_count_entries(*state, "tmp-"), 0);
	}
	arm(FAULT_NONE, 0, 0);
	assert_int_equal(spool_reserve(spool, 20), 0);
	spool_free(&spool);
}

static void failed_opening_is_reported_and_succeeds_later(void **state)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), "%s/spool", (char *)*state);
	for (unsigned int at = 1;; at++) {
		struct spool *spool = NULL;

		arm(FAULT_ERROR, at, ENOSPC);
		err = spool_new(&spool, path);
		if (!faults) {
			spool_free(&spool);
			break;
		}
		assert_int_equal(err, -ENOSPC);
		assert_null(spool);
		arm(FAULT_NONE, 0, 0);
		spool = open_spool(path);
		assert_int_equal(sample_count_entries(path, "tmp-"), 0);
		spool_free(&spool);
		snprintf(path, sizeof(path), "%s/spool%u", (char *)*state, at);
	}
	assert_int_equal(err, 0);
}

static void die_writing(const char *path)
{
	struct spool *spool = NULL;

	if (spool_new(&spool, path) || spool_reserve(spool, spool_sequence(spool) + 1) ||
	    sample_write(spool, spool_agent(spool), spool_sequence(spool), SAMPLE_RECORDS))
		_exit(1);
}

/*
 * Whatever call was the last: the next agent finds a usable folder, the window whole or not at all,
 * and a sequence that was never handed out before.
 */
static void death_at_any_call_leaves_the_window_whole_or_absent(void **state)
{
	static const enum fault kinds[] = {FAULT_DIE_BEFORE, FAULT_DIE_AFTER};
	unsigned int deaths = 0, whole = 0;

	for (unsigned int i = 0; i < 2; i++) {
		for (unsigned int at = 1;; at++) {
			struct spool *spool;
			char path[256], name[SPOOL_NAME_BYTES];
			bool died;
			int found;

			snprintf(path, sizeof(path), "%s/%u-%u", (char *)*state, i, at);
			died = dies(kinds[i], at, die_writing, path);
			spool = open_spool(path);
			found = spool_oldest(spool, name);
			assert_true(found >= 0);
			if (found) {
				assert_int_equal(sample_check(spool, name, SAMPLE_RECORDS), 0);
				assert_true(spool_sequence(spool) >= strtoull(name, NULL, 10));
			}
			whole += died && found;
			deaths += died;
			assert_int_equal(sample_count_entries(path, "tmp-"), 0);
			assert_int_equal(sample_write(spool, spool_agent(spool),
						      spool_sequence(spool) + 1, 1),
					 0);
			spool_free(&spool);
			if (!died)
				break;
		}
	}
	assert_true(deaths > 30);
	assert_true(whole >= 2);
}

/* A second agent's start that dies must not change who the first one was. */
static void death_while_reserving_keeps_the_stream(void **state)
{
	struct spool *spool = open_spool(*state);
	uint64_t last = 0;
	uint8_t agent[16];

	memcpy(agent, spool_agent(spool), 16);
	spool_free(&spool);
	for (unsigned int at = 1; dies(FAULT_DIE_AFTER, at, die_writing, *state); at++) {
		spool = open_spool(*state);
		assert_memory_equal(spool_agent(spool), agent, 16);
		assert_true(spool_sequence(spool) >= last);
		last = spool_sequence(spool);
		spool_free(&spool);
	}
	assert_true(last > 0);
}

static void file_size_limit_is_reported_and_leaves_nothing(void **state)
{
	struct spool *spool = open_spool(*state);
	struct rlimit before, limit;
	char name[SPOOL_NAME_BYTES];
	int err;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 100000;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	err = sample_write(spool, spool_agent(spool), 1, SAMPLE_RECORDS);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(err, -EFBIG);
	assert_int_equal(spool_oldest(spool, name), 0);
	assert_int_equal(sample_count_entries(*state, "tmp-"), 0);
	spool_free(&spool);
}

/* In a mount namespace of its own: 0 as expected, else the number of the step that was not. */
static int fill_small_disk(const char *path)
{
	struct spool *spool = NULL;
	char name[SPOOL_NAME_BYTES];
	uint64_t sequence = 1;
	int err;

	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", path, "tmpfs", 0, "size=1m"))
		return DIED;
	if (spool_new(&spool, path))
		return 1;
	do {
		err = sample_write(spool, spool_agent(spool), sequence++, SAMPLE_RECORDS);
	} while (!err && sequence < 100);
	if (err != -ENOSPC || sequence < 4)
		return 2;
	if (sample_count_entries(path, "tmp-"))
		return 3;
	/* What was there is intact, and room that is made is room again. */
	for (uint64_t i = 1; i < sequence - 1; i++) {
		if (spool_oldest(spool, name) != 1 || sample_check(spool, name, SAMPLE_RECORDS) ||
		    spool_remove(spool, name))
			return 4;
	}
	if (spool_oldest(spool, name) ||
	    sample_write(spool, spool_agent(spool), sequence - 1, SAMPLE_RECORDS))
		return 5;
	spool_free(&spool);
	return 0;
}

static bool write_proc(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	bool written = file && fputs(text, file) >= 0;

	return file && !fclose(file) && written;
}

/* A mount namespace; without root a user namespace first, in which this user is root. */
static bool enter_namespace(void)
{
	char uid_map[32], gid_map[32];

	if (!getuid())
		return !unshare(CLONE_NEWNS);
	snprintf(uid_map, sizeof(uid_map), "0 %u 1", getuid());
	snprintf(gid_map, sizeof(gid_map), "0 %u 1", getgid());
	return !unshare(CLONE_NEWUSER | CLONE_NEWNS) &&
	       write_proc("/proc/self/setgroups", "deny") &&
	       write_proc("/proc/self/uid_map", uid_map) &&
	       write_proc("/proc/self/gid_map", gid_map);
}

static void full_disk_keeps_what_was_written_and_recovers(void **state)
{
	pid_t child = fork();
	int status = 0;

	assert_true(child >= 0);
	if (!child) {
		if (!enter_namespace())
			_exit(DIED);
		_exit(fill_small_disk(*state));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == DIED)
		test_skip("no mount namespace to be had; the size limit's test covers the path");
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(any_failing_call_is_reported_and_the_window_can_be_written_again),
		TEST(removal_that_is_not_on_disk_is_made_sure_of_before_the_next),
		TEST(failed_reservation_is_reported_and_hands_nothing_out),
		TEST(failed_opening_is_reported_and_succeeds_later),
		TEST(death_at_any_call_leaves_the_window_whole_or_absent),
		TEST(death_while_reserving_keeps_the_stream),
		TEST(file_size_limit_is_reported_and_leaves_nothing),
		TEST(full_disk_keeps_what_was_written_and_recovers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
