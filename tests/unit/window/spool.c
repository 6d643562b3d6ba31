/* SPDX-License-Identifier: MIT */
/* The spool's folder while nothing fails: identity, order, hostile entries. */
#include "window/spool_sample.h"

static const uint8_t other_agent[16] = {1, 2, 3};

static int make_folder(void **state)
{
	*state = test_make_folder();
	return 0;
}

static int remove_folder(void **state)
{
	test_remove_folder(*state);
	return 0;
}

static struct spool *open_spool(const char *path)
{
	struct spool *spool = NULL;

	assert_int_equal(spool_new(&spool, path), 0);
	return spool;
}

static void new_folder_is_made_private_with_its_parents(void **state)
{
	char path[256];
	struct spool *spool;
	struct stat st;

	snprintf(path, sizeof(path), "%s/a/b/spool/", (char *)*state);
	spool = open_spool(path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_string_equal(spool_path(spool), path);
	assert_int_equal(spool_sequence(spool), 0);
	spool_free(&spool);
	assert_null(spool);
}

static void reopened_spool_keeps_agent_and_sequence(void **state)
{
	struct spool *spool = open_spool(*state);
	uint8_t agent[16];

	memcpy(agent, spool_agent(spool), 16);
	assert_int_equal(agent[6] >> 4, 4);
	assert_int_equal(agent[8] >> 6, 2);
	assert_int_equal(spool_reserve(spool, 7), 0);
	assert_int_equal(spool_reserve(spool, 3), 0);
	assert_int_equal(spool_sequence(spool), 7);
	spool_free(&spool);
	spool = open_spool(*state);
	assert_memory_equal(spool_agent(spool), agent, 16);
	assert_int_equal(spool_sequence(spool), 7);
	spool_free(&spool);
}

/* An old uuid with a new count would hand out numbers that the database has seen. */
static void lost_sequence_or_agent_begins_a_new_stream(void **state)
{
	static const char *const lost[] = {"sequence", "agent"};

	for (unsigned int i = 0; i < 2; i++) {
		struct spool *spool = open_spool(*state);
		uint8_t agent[16];
		char path[256];

		memcpy(agent, spool_agent(spool), 16);
		assert_int_equal(spool_reserve(spool, 9), 0);
		spool_free(&spool);
		snprintf(path, sizeof(path), "%s/%s", (char *)*state, lost[i]);
		assert_int_equal(unlink(path), 0);
		spool = open_spool(*state);
		assert_memory_not_equal(spool_agent(spool), agent, 16);
		assert_int_equal(spool_sequence(spool), 0);
		spool_free(&spool);
	}
}

static void note_end(struct spool *spool, const uint8_t agent[16], uint64_t sequence,
		     uint64_t boot_ns)
{
	spool_note_end(spool, agent, (struct spool_end){.sequence = sequence, .boot_ns = boot_ns});
}

static void assert_end(struct spool *spool, uint64_t sequence, uint64_t boot_ns)
{
	struct spool_end end = spool_last_end(spool);

	assert_true(end.sequence == sequence);
	assert_true(end.boot_ns == boot_ns);
}

/* Nobody's but this stream's in this boot: a file of another, or damaged, says nothing. */
static void end_of_the_last_window_is_known_until_the_machine_restarts(void **state)
{
	struct spool *spool = open_spool(*state);
	char path[256], text[128] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/ended", (char *)*state);
	assert_end(spool, 0, 0);
	note_end(spool, spool_agent(spool), 7, 12345678901234567ull);
	note_end(spool, spool_agent(spool), 8, 42);
	spool_free(&spool);
	spool = open_spool(*state);
	assert_end(spool, 8, 42);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	assert_int_equal(fclose(file), 0);
	for (size_t i = 0; i < strlen(text); i++) {
		text[i] ^= 1;
		sample_put_file(*state, "ended", text, strlen(text));
		text[i] ^= 1;
		assert_true(spool_last_end(spool).boot_ns != 42 ||
			    spool_last_end(spool).sequence != 8);
	}
	sample_put_file(*state, "ended", text, strlen(text) - 1);
	assert_end(spool, 0, 0);
	note_end(spool, other_agent, 9, 43);
	assert_end(spool, 0, 0);
	note_end(spool, spool_agent(spool), 9, 43);
	assert_end(spool, 9, 43);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	note_end(spool, spool_agent(spool), 10, 44);
	note_end(spool, spool_agent(spool), 11, 45);
	assert_end(spool, 11, 45);
	spool_free(&spool);
}

static void nonsense_in_state_files_is_refused(void **state)
{
	static const struct {
		const char *name;
		const char *content;
		size_t size;
	} cases[] = {
		{"sequence", "", 0},
		{"sequence", "12", 2},
		{"sequence", "-1\n", 3},
		{"sequence", " 1\n", 3},
		{"sequence", "1x\n", 3},
		{"sequence", "1\0\n", 3},
		{"sequence", "99999999999999999999\n", 21},
		{"agent", "", 0},
		{"agent", "d79e3b69-ae22-4910-a38f-6478c249d43\n", 36},
		{"agent", "d79e3b69-ae22-4910-a38f-6478c249d435", 36},
		{"agent", "d79e3b69-ae22-4910-a38f-6478c249d435\nx", 38},
		{"agent", "D79E3B69-ae22-4910-a38f-6478c249d435\n", 37},
		{"agent", "d79e3b69-ae22-4910-a38f-6478c249d4 5\n", 37},
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spool *spool = open_spool(*state);

		spool_free(&spool);
		sample_put_file(*state, cases[i].name, cases[i].content, cases[i].size);
		assert_int_equal(spool_new(&spool, *state), -EUCLEAN);
		assert_null(spool);
		sample_put_file(*state, "sequence", "1\n", 2);
		sample_put_file(*state, "agent", "d79e3b69-ae22-4910-a38f-6478c249d435\n", 37);
	}
}

static void waiting_windows_raise_the_sequence_for_good(void **state)
{
	struct spool *spool = open_spool(*state);
	uint8_t agent[16];
	char name[SPOOL_NAME_BYTES];

	memcpy(agent, spool_agent(spool), 16);
	assert_int_equal(sample_write(spool, agent, 5, 1), 0);
	assert_int_equal(sample_write(spool, other_agent, 99, 1), 0);
	assert_int_equal(spool_sequence(spool), 0);
	spool_free(&spool);
	spool = open_spool(*state);
	assert_int_equal(spool_sequence(spool), 5);
	while (spool_oldest(spool, name) == 1)
		assert_int_equal(spool_remove(spool, name), 0);
	spool_free(&spool);
	spool = open_spool(*state);
	assert_int_equal(spool_sequence(spool), 5);
	spool_free(&spool);
}

static void window_of_many_records_round_trips_through_its_file(void **state)
{
	struct spool *spool = open_spool(*state);
	struct spool_stats stats;
	char name[SPOOL_NAME_BYTES];

	assert_int_equal(spool_oldest(spool, name), 0);
	assert_int_equal(sample_write(spool, spool_agent(spool), 1, SAMPLE_RECORDS), 0);
	assert_int_equal(spool_oldest(spool, name), 1);
	assert_int_equal(sample_check(spool, name, SAMPLE_RECORDS), 0);
	assert_int_equal(spool_stats(spool, &stats), 0);
	assert_int_equal(stats.files, 1);
	assert_true(stats.bytes > SAMPLE_RECORDS * 50);
	assert_int_equal(stats.bad_files, 0);
	assert_int_equal(sample_write(spool, spool_agent(spool), 1, 1), -EEXIST);
	assert_int_equal(sample_check(spool, name, SAMPLE_RECORDS), 0);
	assert_int_equal(spool_remove(spool, name), 0);
	assert_int_equal(spool_remove(spool, name), -ENOENT);
	assert_int_equal(spool_oldest(spool, name), 0);
	assert_int_equal(sample_count_entries(*state, "tmp-"), 0);
	spool_free(&spool);
}

static void abandoned_writer_leaves_nothing(void **state)
{
	struct spool *spool = open_spool(*state);
	struct window_record record = sample_record(0);
	struct spool_writer *writer = NULL;
	char name[SPOOL_NAME_BYTES];

	assert_int_equal(spool_writer_new(&writer, spool, spool_agent(spool), 1), 0);
	assert_int_equal(spool_writer_add(writer, &record), 0);
	assert_int_equal(sample_count_entries(*state, "tmp-"), 1);
	assert_int_equal(spool_oldest(spool, name), 0);
	spool_writer_free(&writer);
	assert_null(writer);
	assert_int_equal(sample_count_entries(*state, "tmp-"), 0);
	spool_free(&spool);
}

/* More than one batch of names, written in an order that is neither up nor down. */
static void windows_come_oldest_first_however_many_wait(void **state)
{
	const uint64_t count = 3000;
	struct spool *spool = open_spool(*state);
	uint8_t agent[16];
	char name[SPOOL_NAME_BYTES];

	memcpy(agent, spool_agent(spool), 16);
	for (uint64_t i = 0; i < count; i++) {
		char file[128];

		snprintf(file, sizeof(file), "%020lu-01020300000000000000000000000000.win",
			 (unsigned long)(i * 1237 % count + 1));
		sample_put_file(*state, file, "", 0);
	}
	for (uint64_t i = 1; i <= count; i++) {
		assert_int_equal(spool_oldest(spool, name), 1);
		assert_int_equal(strtoull(name, NULL, 10), i);
		/* Someone else may take one as well. */
		if (i % 100 == 0) {
			char path[256];

			snprintf(path, sizeof(path), "%s/%s", (char *)*state, name);
			assert_int_equal(unlink(path), 0);
		} else {
			assert_int_equal(spool_remove(spool, name), 0);
		}
	}
	assert_int_equal(spool_oldest(spool, name), 0);
	assert_int_equal(sample_write(spool, agent, 1, 1), 0);
	assert_int_equal(spool_oldest(spool, name), 1);
	spool_free(&spool);
}

static void names_that_are_no_windows_are_left_alone(void **state)
{
	static const char *const names[] = {
		"00000000000000000001-01020300000000000000000000000000.wix",
		"0000000000000000000x-01020300000000000000000000000000.win",
		"99999999999999999999-01020300000000000000000000000000.win",
		"00000000000000000001-0102030000000000000000000000000G.win",
		"00000000000000000001_01020300000000000000000000000000.win",
		"x",
	};
	struct spool *spool = open_spool(*state);
	char name[SPOOL_NAME_BYTES];

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		sample_put_file(*state, names[i], "x", 1);
	assert_int_equal(spool_oldest(spool, name), 0);
	spool_free(&spool);
	spool = open_spool(*state);
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(sample_count_entries(*state, names[i]), 1);
	spool_free(&spool);
}

#define HOSTILE "00000000000000000001-01020300000000000000000000000000.win"

static void assert_hostile(struct spool *spool, const char *expected)
{
	struct spool_reader *reader = NULL;
	const char *reason = NULL;
	char name[SPOOL_NAME_BYTES];

	assert_int_equal(spool_oldest(spool, name), 1);
	assert_string_equal(name, HOSTILE);
	assert_int_equal(spool_reader_new(&reader, spool, name, &reason), -EBADMSG);
	assert_null(reader);
	assert_string_equal(reason, expected);
	assert_int_equal(spool_put_aside(spool, name, reason), 0);
	assert_int_equal(spool_oldest(spool, name), 0);
}

static void hostile_entries_are_put_aside_with_the_reason(void **state)
{
	struct spool *spool = open_spool(*state);
	struct spool_stats stats;
	char path[256], text[64] = {0}, copy[SPOOL_NAME_BYTES], from[256];
	FILE *reason;

	snprintf(path, sizeof(path), "%s/" HOSTILE, (char *)*state);
	sample_put_file(*state, HOSTILE, "", 0);
	assert_hostile(spool, "empty");
	sample_put_file(*state, HOSTILE, "garbage", 7);
	assert_hostile(spool, "shorter than a header");
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_hostile(spool, "not a regular file");
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_hostile(spool, "not a regular file");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_hostile(spool, "not a regular file");
	assert_int_equal(sample_write(spool, other_agent, 2, 1), 0);
	assert_int_equal(spool_oldest(spool, copy), 1);
	snprintf(from, sizeof(from), "%s/%s", (char *)*state, copy);
	assert_int_equal(rename(from, path), 0);
	assert_hostile(spool, "the name is another window's");
	sample_put_file(*state, HOSTILE, "", 0);
	assert_int_equal(truncate(path, (off_t)1 << 40), 0);
	assert_hostile(spool, "larger than any window");

	assert_int_equal(spool_stats(spool, &stats), 0);
	assert_int_equal(stats.files, 0);
	assert_int_equal(stats.bad_files, 7);
	snprintf(path, sizeof(path), "%s/bad/" HOSTILE ".2.reason", (char *)*state);
	reason = fopen(path, "r");
	assert_non_null(reason);
	assert_non_null(fgets(text, sizeof(text), reason));
	assert_int_equal(fclose(reason), 0);
	assert_string_equal(text, "shorter than a header\n");
	spool_free(&spool);
}

/* Neither takes the place of a window to come nor uses up the numbers. */
static void foreign_file_with_a_windows_name_is_not_taken_for_it(void **state)
{
	struct spool *spool = open_spool(*state);
	char name[SPOOL_NAME_BYTES], last[SPOOL_NAME_BYTES];
	struct spool_stats stats;

	assert_int_equal(sample_write(spool, spool_agent(spool), 1, 1), 0);
	assert_int_equal(spool_oldest(spool, name), 1);
	assert_int_equal(spool_remove(spool, name), 0);
	name[19] = '2';
	sample_put_file(*state, name, "garbage", 7);
	assert_int_equal(sample_write(spool, spool_agent(spool), 2, 5), 0);
	assert_int_equal(sample_check(spool, name, 5), 0);
	assert_int_equal(sample_write(spool, spool_agent(spool), 2, 5), -EEXIST);
	assert_int_equal(spool_stats(spool, &stats), 0);
	assert_int_equal(stats.bad_files, 1);
	snprintf(last, sizeof(last), "18446744073709551615%s", name + 20);
	sample_put_file(*state, last, "garbage", 7);
	spool_free(&spool);
	spool = open_spool(*state);
	assert_int_equal(spool_sequence(spool), 2);
	spool_free(&spool);
}

/* Also where the name is the longest there is and the namesakes are many. */
static void every_namesake_in_bad_has_its_own_reason(void **state)
{
	static const char longest[] = "00000000000000000009-01020300000000000000000000000000-"
				      "00000000000000000001.win";
	struct spool *spool = open_spool(*state);
	struct spool_stats stats;
	char path[256];

	for (int i = 0; i < 120; i++) {
		sample_put_file(*state, longest, "garbage", 7);
		assert_int_equal(spool_put_aside(spool, longest, "shorter than a header"), 0);
	}
	assert_int_equal(spool_stats(spool, &stats), 0);
	assert_int_equal(stats.bad_files, 120);
	snprintf(path, sizeof(path), "%s/bad", (char *)*state);
	assert_int_equal(sample_count_entries(path, "0"), 240);
	assert_int_equal(spool_put_aside(spool, longest, "not there"), -ENOENT);
	assert_int_equal(sample_count_entries(path, "0"), 240);
	spool_free(&spool);
}

static void names_with_a_slash_never_leave_the_folder(void **state)
{
	struct spool *spool = open_spool(*state);
	struct spool_reader *reader = NULL;
	const char *reason = NULL;

	assert_int_equal(spool_remove(spool, "../x"), -EINVAL);
	assert_int_equal(spool_put_aside(spool, "../x", "r"), -EINVAL);
	assert_int_equal(spool_reader_new(&reader, spool, "../x", &reason), -EINVAL);
	spool_free(&spool);
}

static void linked_folder_or_state_file_is_refused(void **state)
{
	struct spool *spool = open_spool(*state);
	char path[256], target[256];

	spool_free(&spool);
	snprintf(path, sizeof(path), "%s/link", (char *)*state);
	assert_int_equal(symlink(*state, path), 0);
	assert_int_equal(spool_new(&spool, path), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/agent", (char *)*state);
	snprintf(target, sizeof(target), "%s/elsewhere", (char *)*state);
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(spool_new(&spool, *state), -ELOOP);
}

static void other_processes_can_look_without_changing_anything(void **state)
{
	struct spool *spool = open_spool(*state);
	struct spool_stats stats;
	char path[256];

	assert_int_equal(sample_write(spool, spool_agent(spool), 1, 1), 0);
	sample_put_file(*state, "tmp-9", "x", 1);
	assert_int_equal(spool_stats_path(*state, &stats), 0);
	assert_int_equal(stats.files, 1);
	assert_int_equal(sample_count_entries(*state, "tmp-"), 1);
	snprintf(path, sizeof(path), "%s/none", (char *)*state);
	assert_int_equal(spool_stats_path(path, &stats), -ENOENT);
	assert_int_equal(sample_count_entries(*state, "none"), 0);
	spool_free(&spool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(new_folder_is_made_private_with_its_parents),
		TEST(reopened_spool_keeps_agent_and_sequence),
		TEST(lost_sequence_or_agent_begins_a_new_stream),
		TEST(end_of_the_last_window_is_known_until_the_machine_restarts),
		TEST(nonsense_in_state_files_is_refused),
		TEST(waiting_windows_raise_the_sequence_for_good),
		TEST(window_of_many_records_round_trips_through_its_file),
		TEST(abandoned_writer_leaves_nothing),
		TEST(windows_come_oldest_first_however_many_wait),
		TEST(names_that_are_no_windows_are_left_alone),
		TEST(hostile_entries_are_put_aside_with_the_reason),
		TEST(foreign_file_with_a_windows_name_is_not_taken_for_it),
		TEST(every_namesake_in_bad_has_its_own_reason),
		TEST(names_with_a_slash_never_leave_the_folder),
		TEST(linked_folder_or_state_file_is_refused),
		TEST(other_processes_can_look_without_changing_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
