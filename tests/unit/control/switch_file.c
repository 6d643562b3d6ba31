/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/switch_file.h"

struct place {
	char *folder;
	char path[128];
	struct switch_file *file;
};

static int make(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	place->folder = test_make_folder();
	snprintf(place->path, sizeof(place->path), "%s/switch", place->folder);
	assert_int_equal(switch_file_new(&place->file, place->path), 0);
	*state = place;
	return 0;
}

static int clean(void **state)
{
	struct place *place = *state;

	switch_file_free(&place->file);
	test_remove_folder(place->folder);
	free(place);
	return 0;
}

static void put(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

/* 1 off, 0 on, or the error. */
static int says(struct place *place)
{
	char trouble[160] = "";
	bool off = true;
	int rc = switch_file_read(place->file, &off, trouble, sizeof(trouble));

	assert_true(!rc || strstr(trouble, place->path));
	return rc ? rc : off;
}

static bool woken(const struct place *place)
{
	struct pollfd fd = {.fd = switch_file_fd(place->file), .events = POLLIN};

	return poll(&fd, 1, 2000) == 1;
}

static void absent_file_is_on_and_its_words_are_taken(void **state)
{
	struct place *place = *state;

	assert_int_equal(says(place), 0);
	put(place->path, "off\n");
	assert_true(woken(place));
	assert_int_equal(says(place), 1);
	put(place->path, "on");
	assert_true(woken(place));
	assert_int_equal(says(place), 0);
	put(place->path, "0");
	assert_int_equal(says(place), 1);
	unlink(place->path);
	assert_true(woken(place));
	assert_int_equal(says(place), 0);
}

static void nonsense_an_empty_file_and_no_file_at_all_are_troubles(void **state)
{
	struct place *place = *state;

	put(place->path, "maybe");
	assert_int_equal(says(place), -EINVAL);
	put(place->path, "");
	assert_int_equal(says(place), -EINVAL);
	put(place->path,
	    "off                                                                     ");
	assert_int_equal(says(place), 1); /* a word and blanks beyond what is read */
	unlink(place->path);
	assert_int_equal(mkdir(place->path, 0700), 0);
	assert_int_equal(says(place), -EBADF);
	rmdir(place->path);
	assert_int_equal(symlink(place->path, place->path), 0);
	assert_int_equal(says(place), -ELOOP);
	unlink(place->path);
	assert_int_equal(mkfifo(place->path, 0600), 0); /* nobody waits for its writer */
	assert_int_equal(says(place), -EBADF);
}

/* As kubelet does it: the file is a link through ..data, which is renamed over. */
static void mounted_config_map_that_is_swapped_is_seen(void **state)
{
	struct place *place = *state;
	char first[160], second[160], data[160], fresh[160], text[192];

	snprintf(first, sizeof(first), "%s/..1", place->folder);
	snprintf(second, sizeof(second), "%s/..2", place->folder);
	snprintf(data, sizeof(data), "%s/..data", place->folder);
	snprintf(fresh, sizeof(fresh), "%s/..data_tmp", place->folder);
	assert_int_equal(mkdir(first, 0755) | mkdir(second, 0755), 0);
	snprintf(text, sizeof(text), "%s/switch", first);
	put(text, "on");
	snprintf(text, sizeof(text), "%s/switch", second);
	put(text, "off");
	assert_int_equal(symlink("..1", data), 0);
	assert_int_equal(symlink("..data/switch", place->path), 0);
	assert_int_equal(says(place), 0);
	assert_int_equal(symlink("..2", fresh), 0);
	assert_int_equal(says(place), 0);
	assert_int_equal(rename(fresh, data), 0);
	assert_true(woken(place));
	assert_int_equal(says(place), 1);
}

static void folder_that_comes_later_and_is_replaced_is_watched(void **state)
{
	struct place *place = *state;
	struct place later = {.folder = place->folder};
	char folder[96], old[96];

	snprintf(folder, sizeof(folder), "%s/later", place->folder);
	snprintf(old, sizeof(old), "%s/old", place->folder);
	snprintf(later.path, sizeof(later.path), "%s/switch", folder);
	assert_int_equal(switch_file_new(&later.file, later.path), 0);
	assert_int_equal(says(&later), 0);
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(says(&later), 0);
	put(later.path, "off");
	assert_true(woken(&later));
	assert_int_equal(says(&later), 1);
	assert_int_equal(rename(folder, old), 0);
	assert_true(woken(&later));
	assert_int_equal(says(&later), 0);
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(says(&later), 0);
	put(later.path, "off");
	assert_true(woken(&later));
	assert_int_equal(says(&later), 1);
	switch_file_free(&later.file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(absent_file_is_on_and_its_words_are_taken, make,
						clean),
		cmocka_unit_test_setup_teardown(
			nonsense_an_empty_file_and_no_file_at_all_are_troubles, make, clean),
		cmocka_unit_test_setup_teardown(mounted_config_map_that_is_swapped_is_seen, make,
						clean),
		cmocka_unit_test_setup_teardown(folder_that_comes_later_and_is_replaced_is_watched,
						make, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
