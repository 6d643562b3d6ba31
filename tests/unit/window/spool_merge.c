/* SPDX-License-Identifier: MIT */
/* Merging while nothing fails: what is added up, what is kept apart, what it costs. */
#include "window/spool_books.h"

/* Thousands of windows, none of which has to survive a power cut. */
int fsync(int fd)
{
	(void)fd;
	return 0;
}

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

static uint64_t waiting_bytes(struct spool *spool)
{
	struct spool_stats stats;

	assert_int_equal(spool_stats(spool, &stats), 0);
	return stats.bytes;
}

static struct spool_shrunk shrink(struct spool *spool, uint64_t limit)
{
	struct spool_shrunk shrunk;

	assert_int_equal(spool_shrink(spool, limit, NULL, &shrunk), 0);
	assert_int_equal(shrunk.left, waiting_bytes(spool));
	return shrunk;
}

static void write_windows(struct spool *spool, uint64_t first, uint64_t last, unsigned int keys,
			  struct books *books)
{
	for (uint64_t i = first; i <= last; i++)
		assert_int_equal(books_write(spool, i, keys, books), 0);
}

static bool exists(const char *folder, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return !access(path, F_OK);
}

static void too_many_windows_become_few_with_the_same_counts(void **state)
{
	struct spool *spool = open_spool(*state);
	struct books written = {0}, read = {0};
	struct spool_shrunk shrunk;
	uint64_t before, limit;

	write_windows(spool, 1, 200, 50, &written);
	before = waiting_bytes(spool);
	limit = before / 4;
	shrunk = shrink(spool, limit);
	assert_false(shrunk.over);
	assert_true(shrunk.files > 0);
	assert_int_equal(shrunk.bytes, before - shrunk.left);
	assert_true(shrunk.left <= limit / 4 * 3);
	assert_int_equal(shrink(spool, limit).files, 0);
	books_take(spool, &read);
	books_assert_equal(&written, &read);
	assert_true(read.files < 60);
	spool_free(&spool);
}

static void spool_below_three_quarters_is_left_alone(void **state)
{
	struct spool *spool = open_spool(*state);
	struct spool_shrunk shrunk;

	write_windows(spool, 1, 20, 50, NULL);
	shrunk = shrink(spool, waiting_bytes(spool) * 3 / 2);
	assert_int_equal(shrunk.files, 0);
	assert_false(shrunk.over);
	assert_int_equal(sample_count_entries(*state, "0"), 20);
	spool_free(&spool);
}

/* The first may be in the database, the last in the kernel; so may all that was handed out. */
static void ends_of_a_stream_and_what_was_handed_out_are_never_merged(void **state)
{
	struct spool *spool = open_spool(*state);
	struct books written = {0}, read = {0};
	char name[SPOOL_NAME_BYTES], path[512];
	struct spool_shrunk shrunk;

	write_windows(spool, 4, 20, 10, &written);
	assert_int_equal(spool_oldest(spool, name), 1);
	spool_skip(spool, name);
	assert_int_equal(spool_oldest(spool, name), 1);
	assert_int_equal(strtoull(name, NULL, 10), 5);
	/* one that was put back by hand */
	write_windows(spool, 2, 3, 10, &written);
	shrunk = shrink(spool, 1);
	assert_true(shrunk.over);
	assert_int_equal(shrunk.files, 14);
	/* 2, 3, 4 and 5, the rest but one, and 20: still known as its own */
	assert_int_equal(sample_count_entries(*state, "0"), 6);
	snprintf(path, sizeof(path), "%s/%s", (char *)*state, name);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(books_write(spool, 20, 10, NULL), -EEXIST);
	books_take(spool, &read);
	books_assert_equal(&written, &read);
	spool_free(&spool);
}

static void reopened_spool_counts_a_merged_windows_last_number(void **state)
{
	struct spool *spool = open_spool(*state);
	char name[SPOOL_NAME_BYTES] = "";

	write_windows(spool, 1, 20, 10, NULL);
	assert_int_equal(shrink(spool, 1).files, 18);
	while (spool_oldest(spool, name) == 1 && strtoull(name, NULL, 10) < 19)
		assert_int_equal(spool_remove(spool, name), 0);
	assert_int_equal(strlen(name), 78);
	spool_free(&spool);
	assert_true(exists(*state, name));
	spool = open_spool(*state);
	assert_int_equal(spool_sequence(spool), 20);
	assert_true(exists(*state, name));
	spool_free(&spool);
}

static void streams_are_merged_each_for_itself(void **state)
{
	struct spool *spool = open_spool(*state);
	struct books written = {0}, read = {0};

	for (uint64_t i = 1; i <= 40; i++) {
		assert_int_equal(books_write(spool, i, 10, &written), 0);
		assert_int_equal(books_write_at(spool, other_agent, i, (int64_t)i * BOOKS_WINDOW_US,
						0, 10, &written),
				 0);
	}
	assert_true(shrink(spool, 1).over);
	books_take(spool, &read);
	books_assert_equal(&written, &read);
	assert_true(read.files <= 2 * 4);
	spool_free(&spool);
}

/* A missing number, a pause, a clock set back: each stays a border between two files. */
static void windows_with_a_jump_between_them_are_not_merged(void **state)
{
	static const struct {
		uint64_t number;
		int64_t start_us;
	} border[] = {{11, 10000000}, {10, 12000000}, {10, 8000000}};

	for (unsigned int i = 0; i < 3; i++) {
		struct spool *spool = open_spool(*state);
		struct books read = {0};
		int64_t at = 5 * BOOKS_DAY_US;

		for (uint64_t n = 1; n <= 20; n++) {
			uint64_t number = n < 10 ? n : n - 10 + border[i].number;
			int64_t start = at + (int64_t)n * BOOKS_WINDOW_US;

			if (n >= 10)
				start += border[i].start_us - 10000000;
			assert_int_equal(
				books_write_at(spool, other_agent, number, start, 0, 10, NULL), 0);
		}
		assert_int_equal(shrink(spool, 1).files, 8 + 10);
		books_take(spool, &read);
		assert_int_equal(read.files, 4);
		assert_int_equal(read.windows, 20);
		spool_free(&spool);
	}
}

/* Three days of windows that meet at midnight. */
static void write_days(struct spool *spool, struct books *books)
{
	for (uint64_t i = 0; i < 96; i++)
		assert_int_equal(books_write_at(spool, other_agent, i + 1,
						BOOKS_DAY_US + ((int64_t)i - 48) * BOOKS_WINDOW_US +
							(int64_t)(i / 40) * 100,
						0, 100, books),
				 0);
}

static void days_are_kept_apart_while_there_is_room(void **state)
{
	struct spool *spool = open_spool(*state);
	struct books written = {0}, read = {0};
	uint64_t bytes;

	write_days(spool, &written);
	bytes = waiting_bytes(spool);
	/* two ends, and two windows of the days in between */
	assert_false(shrink(spool, bytes / 12).over);
	books_take(spool, &read);
	books_assert_equal(&written, &read);
	assert_memory_equal(written.day, read.day, sizeof(read.day));
	assert_true(read.files < 12);
	spool_free(&spool);
}

static void days_go_together_when_it_has_to_be(void **state)
{
	struct spool *spool = open_spool(*state);
	struct books written = {0}, read = {0};

	write_days(spool, &written);
	shrink(spool, 1);
	books_take(spool, &read);
	books_assert_equal(&written, &read);
	assert_true(read.day[0] < written.day[0]);
	assert_int_equal(read.day[0] + read.day[1], written.day[0] + written.day[1]);
	assert_int_equal(read.files, 3);
	spool_free(&spool);
}

/* A window over midnight ends on the day of those behind it, and still holds the day before. */
static void records_of_different_days_are_kept_apart(void **state)
{
	struct spool *spool = open_spool(*state);
	struct books written = {0}, read = {0};

	for (int64_t i = 0; i < 40; i++)
		assert_int_equal(books_write_at(spool, other_agent, (uint64_t)i + 1,
						BOOKS_DAY_US - 15000000 + i * BOOKS_WINDOW_US, 0,
						100, &written),
				 0);
	assert_false(shrink(spool, waiting_bytes(spool) / 7).over);
	books_take(spool, &read);
	books_assert_equal(&written, &read);
	assert_memory_equal(written.day, read.day, sizeof(read.day));
	assert_true(read.files < 8);
	spool_free(&spool);
}

static void damaged_window_is_not_merged_across(void **state)
{
	struct spool *spool = open_spool(*state);
	struct books written = {0}, read = {0};
	char name[SPOOL_NAME_BYTES], path[512];
	struct spool_shrunk shrunk;
	FILE *file;

	write_windows(spool, 1, 30, 10, &written);
	for (uint64_t i = 1; spool_oldest(spool, name) == 1 && i < 12; i++)
		spool_skip(spool, name);
	spool_free(&spool);
	snprintf(path, sizeof(path), "%s/%s", (char *)*state, name);
	file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(fseek(file, 400, SEEK_SET), 0);
	assert_int_equal(fputs("damaged", file) >= 0, 1);
	assert_int_equal(fclose(file), 0);
	spool = open_spool(*state);
	shrunk = shrink(spool, 1);
	assert_int_equal(shrunk.files, 10 + 17);
	assert_true(exists(*state, name));
	for (unsigned int files = 0; spool_oldest(spool, name) == 1; files++) {
		struct spool_reader *reader = NULL;
		const char *reason = NULL;
		int err = spool_reader_new(&reader, spool, name, &reason);

		assert_true(err == 0 || (err == -EBADMSG && files == 2));
		if (!err)
			books_read(&read, reader);
		assert_int_equal(
			err ? spool_put_aside(spool, name, reason) : spool_remove(spool, name), 0);
		spool_reader_free(&reader);
	}
	assert_int_equal(read.windows, 29);
	assert_int_equal(read.files, 4);
	spool_free(&spool);
}

/* Only a whole merged window may end what its name says it holds. */
static void forged_name_of_a_merged_window_ends_nothing(void **state)
{
	struct spool *spool = open_spool(*state);
	struct books written = {0}, read = {0};
	char name[SPOOL_NAME_BYTES], forged[200];
	const char *reason = NULL;
	struct spool_reader *reader = NULL;

	write_windows(spool, 1, 9, 10, &written);
	assert_int_equal(spool_oldest(spool, name), 1);
	snprintf(forged, sizeof(forged), "%020u%.33s-%020u.win", 10, name + 20, 1);
	sample_put_file(*state, forged, "x", 1);
	spool_free(&spool);
	spool = open_spool(*state);
	for (int i = 0; i < 9; i++) {
		assert_int_equal(spool_oldest(spool, name), 1);
		assert_int_equal(spool_reader_new(&reader, spool, name, &reason), 0);
		books_read(&read, reader);
		spool_reader_free(&reader);
		assert_int_equal(spool_remove(spool, name), 0);
	}
	books_assert_equal(&written, &read);
	assert_int_equal(spool_oldest(spool, name), 1);
	assert_string_equal(name, forged);
	assert_int_equal(spool_reader_new(&reader, spool, name, &reason), -EBADMSG);
	spool_free(&spool);
}

/* However the keys of windows differ: staying within the limit costs in proportion. */
static void each_byte_is_rewritten_a_few_times_at_most(void **state)
{
	static const unsigned int steps[] = {0, 1, 20};

	for (unsigned int i = 0; i < 3; i++) {
		uint64_t limit = 0, drained = 0, rewritten = 0;
		struct spool_shrunk shrunk = {0};
		struct spool *spool;
		char path[256];

		snprintf(path, sizeof(path), "%s/%u", (char *)*state, i);
		spool = open_spool(path);
		for (uint64_t n = 1; n <= 1000; n++) {
			assert_int_equal(
				books_write_at(spool, other_agent, n, (int64_t)n * BOOKS_WINDOW_US,
					       (unsigned int)n * steps[i] % 4000, 20, NULL),
				0);
			drained += waiting_bytes(spool) - shrunk.left;
			if (n == 1)
				limit = 100 * drained;
			shrunk = shrink(spool, limit);
			rewritten += shrunk.written;
		}
		print_message("keys move by %u: rewritten %.2f times, %s\n", steps[i],
			      (double)rewritten / (double)drained,
			      shrunk.over ? "over the limit" : "within the limit");
		/* the last case has new keys in every window: more than the limit can hold */
		assert_int_equal(shrunk.over, i == 2);
		assert_true(rewritten < (i == 2 ? 10 : 1) * drained);
		spool_free(&spool);
	}
}

static void order_to_stop_ends_a_merge_and_leaves_the_parts(void **state)
{
	struct spool *spool = open_spool(*state);
	struct books written = {0}, read = {0};
	struct spool_shrunk shrunk;
	bool stop = true;

	write_windows(spool, 1, 20, 50, &written);
	assert_int_equal(spool_shrink(spool, 1, &stop, &shrunk), -ECANCELED);
	assert_int_equal(sample_count_entries(*state, "tmp-"), 0);
	books_take(spool, &read);
	assert_int_equal(read.files, 20);
	books_assert_equal(&written, &read);
	spool_free(&spool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(too_many_windows_become_few_with_the_same_counts),
		TEST(spool_below_three_quarters_is_left_alone),
		TEST(ends_of_a_stream_and_what_was_handed_out_are_never_merged),
		TEST(reopened_spool_counts_a_merged_windows_last_number),
		TEST(streams_are_merged_each_for_itself),
		TEST(windows_with_a_jump_between_them_are_not_merged),
		TEST(days_are_kept_apart_while_there_is_room),
		TEST(days_go_together_when_it_has_to_be),
		TEST(records_of_different_days_are_kept_apart),
		TEST(damaged_window_is_not_merged_across),
		TEST(forged_name_of_a_merged_window_ends_nothing),
		TEST(each_byte_is_rewritten_a_few_times_at_most),
		TEST(order_to_stop_ends_a_merge_and_leaves_the_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
