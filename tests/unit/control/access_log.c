/* SPDX-License-Identifier: MIT */
/* Lines of access logs, and files that are renamed, truncated and half written. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "control/access_log.h"

#define AT "127.0.0.1 - - [25/Nov/2026:21:04:11 +0000] "
#define BEHIND " 1234 \"\" \"curl/7.88.1\""
#define PULL AT "\"GET /v2/a/manifests/v1 HTTP/1.1\" 200" BEHIND "\n"
#define OTHER AT "\"GET /v2/ HTTP/1.1\" 200 2 \"\" \"x\"\n"

static int line(const char *text)
{
	return access_log_line(text, strlen(text));
}

static void lines_of_real_servers_are_read(void **state)
{
	(void)state;
	/* docker-registry 2.8.2, nginx 1.22, apache 2.4 */
	assert_int_equal(line("127.0.0.1 - - [25/Nov/2026:21:04:11 +0000] \"GET /v2/team/app/"
			      "manifests/v1 HTTP/1.1\" 200 743 \"\" \"containerd/1.6\""),
			 1);
	assert_int_equal(line("10.0.0.7 - ci [25/Nov/2026:21:04:11 +0000] \"HEAD /v2/app/manifests/"
			      "latest?ns=hub HTTP/2.0\" 200 0 \"-\" \"Go-http-client/2.0\""),
			 1);
	assert_int_equal(line("::1 - - [25/Nov/2026:21:04:11 +0000] \"GET /v2/app/manifests/v1 "
			      "HTTP/1.1\" 304 - \"-\" \"-\""),
			 1);
	assert_int_equal(line("1.2.3.4 - - [x] \"-\" 400 0 \"-\" \"-\""), 0);
	assert_int_equal(line("1.2.3.4 - - [x] \"\\x16\\x03\\x01\" 400 157 \"-\" \"-\""), 0);
	assert_int_equal(line("1.2.3.4 - - [x] \"\" 400 0 \"-\" \"-\""), 0);
}

static void lines_that_are_none_are_told(void **state)
{
	static const char *const none[] = {
		"",
		"time=\"2026-11-25T21:04:11Z\" level=info msg=\"response completed\"",
		"[",
		"[] \"",
		"[]\"GET / HTTP/1.1\" 200",
		"[] \"GET / HTTP/1.1\" 2x0",
		"[] \"GET / HTTP/1.1\" 20",
		"[] \"GET / HTTP/1.1\"200 1",
		"[] \"GET /v2/a/manifests/v1 HTTP/1.1\\\" 200 1",
		"{\"request\": \"GET /v2/a/manifests/v1 HTTP/1.1\", \"status\": 200}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		assert_int_equal(line(none[i]), -1);
}

static void only_manifests_count(void **state)
{
	static const struct {
		const char *target;
		int counts;
	} targets[] = {
		{"/v2/a/manifests/v1", 1},
		{"/v2/a/b/c/manifests/sha256:00", 1},
		{"/v2/a/manifests/sha256%3A00", 1},
		{"/v2/a%2Fmanifests%2Fv1", 1},
		{"/v2/manifests/manifests/v1", 1},
		{"/prefix/v2/a/manifests/v1", 1},
		{"http://host/v2/a/manifests/v1", 1},
		{"/v2/a/manifests/v1?x=/blobs/y", 1},
		{"/v2/a/manifests/", 0},
		{"/v2//manifests/v1", 0},
		{"/v2/manifests/v1", 0},
		{"/v2/a/manifests/v1/x", 0},
		{"/v2/a/blobs/sha256:00", 0},
		{"/v2/a/xmanifests/v1", 0},
		{"/a/manifests/v1", 0},
		{"/?/v2/a/manifests/v1", 0},
		{"/v2/", 0},
		{"", 0},
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
		snprintf(text, sizeof(text), AT "\"GET %s HTTP/1.1\" 200" BEHIND,
			 targets[i].target);
		assert_int_equal(line(text), targets[i].counts);
	}
}

static void status_decides_for_each_method(void **state)
{
	static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "POST", "get"};
	static const int statuses[] = {200, 201, 202, 206, 301, 304, 401, 404, 500};
	char text[256];

	(void)state;
	for (size_t m = 0; m < sizeof(methods) / sizeof(*methods); m++)
		for (size_t s = 0; s < sizeof(statuses) / sizeof(*statuses); s++) {
			bool counts = (m < 2 && (statuses[s] == 200 || statuses[s] == 304)) ||
				      (m == 2 && statuses[s] == 201) ||
				      (m == 3 && statuses[s] == 202);

			snprintf(text, sizeof(text),
				 AT "\"%s /v2/a/manifests/b HTTP/1.1\" %d" BEHIND, methods[m],
				 statuses[s]);
			assert_int_equal(line(text), counts);
		}
}

/* A log in a folder of its own, followed from its end. */
struct place {
	char *folder, path[64];
	struct access_log *log;
	uint64_t count;
};

static void append(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void set_up(struct place *place, const char *text)
{
	*place = (struct place){.folder = test_make_folder()};
	snprintf(place->path, sizeof(place->path), "%s/log", place->folder);
	append(place->path, text);
	assert_int_equal(access_log_new(&place->log, place->path), 0);
}

static void clean_up(struct place *place)
{
	access_log_free(&place->log);
	test_remove_folder(place->folder);
}

static uint64_t count(struct place *place)
{
	bool more = true;

	while (more)
		assert_int_equal(access_log_read(place->log, &place->count, &more), 0);
	return place->count;
}

static void rename_log(struct place *place, const char *suffix)
{
	char other[80];

	snprintf(other, sizeof(other), "%s%s", place->path, suffix);
	assert_int_equal(rename(place->path, other), 0);
}

static void only_what_comes_later_is_counted(void **state)
{
	struct place place;

	(void)state;
	set_up(&place, PULL PULL "half of a line");
	assert_int_equal(access_log_seek_end(place.log), 0);
	assert_int_equal(count(&place), 0);
	append(place.path, " is finished\n" PULL OTHER PULL);
	assert_int_equal(count(&place), 2);
	assert_int_equal(access_log_foreign(place.log), 1);
	clean_up(&place);
}

static void lines_written_byte_by_byte_are_whole_lines(void **state)
{
	static const char text[] = PULL OTHER PULL;
	struct place place;

	(void)state;
	set_up(&place, "");
	assert_int_equal(access_log_seek_end(place.log), 0);
	for (size_t i = 0; text[i]; i++) {
		append(place.path, (char[]){text[i], 0});
		count(&place);
	}
	assert_int_equal(place.count, 2);
	assert_int_equal(access_log_foreign(place.log), 0);
	clean_up(&place);
}

static void renamed_file_is_read_to_its_end_beside_the_new_one(void **state)
{
	struct place place;
	char old[80];

	(void)state;
	set_up(&place, "");
	assert_int_equal(access_log_seek_end(place.log), 0);
	append(place.path, PULL);
	rename_log(&place, ".1");
	snprintf(old, sizeof(old), "%s.1", place.path);
	assert_int_equal(count(&place), 1);
	append(old, PULL); /* its writer has not noticed */
	assert_int_equal(count(&place), 2);
	append(place.path, PULL PULL);
	assert_int_equal(count(&place), 4);
	append(old, PULL); /* another worker's last words */
	append(place.path, PULL);
	assert_int_equal(count(&place), 6);
	clean_up(&place);
}

static void truncated_file_is_read_from_its_beginning(void **state)
{
	struct place place;

	(void)state;
	set_up(&place, "");
	assert_int_equal(access_log_seek_end(place.log), 0);
	append(place.path, PULL PULL "half");
	assert_int_equal(count(&place), 2);
	assert_int_equal(truncate(place.path, 0), 0);
	append(place.path, PULL);
	assert_int_equal(count(&place), 3);
	clean_up(&place);
}

static void line_longer_than_any_is_skipped_and_the_next_is_read(void **state)
{
	_Static_assert(sizeof(PULL) < 200, "fits");
	char *huge = malloc(300000);
	struct place place;

	(void)state;
	memset(huge, 'x', 299999);
	huge[299999] = 0;
	set_up(&place, "");
	assert_int_equal(access_log_seek_end(place.log), 0);
	append(place.path, huge);
	count(&place);
	append(place.path, "\n" PULL);
	assert_int_equal(count(&place), 1);
	assert_int_equal(access_log_foreign(place.log), 1);
	free(huge);
	clean_up(&place);
}

static void place_is_found_again_after_a_rename(void **state)
{
	struct access_log_place at;
	struct place place;

	(void)state;
	set_up(&place, PULL);
	assert_int_equal(access_log_seek_end(place.log), 0);
	append(place.path, PULL "half");
	assert_int_equal(count(&place), 1);
	at = access_log_place(place.log);
	assert_int_equal(at.offset, 2 * strlen(PULL));
	access_log_free(&place.log);
	/* nobody looks meanwhile */
	append(place.path, " a line\n" PULL);
	rename_log(&place, "-20261125");
	append(place.path, PULL);
	assert_int_equal(access_log_new(&place.log, place.path), 0);
	assert_int_equal(access_log_seek(place.log, &at), 0);
	assert_int_equal(count(&place), 3);
	clean_up(&place);
}

static void place_that_is_gone_is_told(void **state)
{
	struct access_log_place at;
	struct place place;

	(void)state;
	set_up(&place, PULL PULL);
	assert_int_equal(access_log_seek_end(place.log), 0);
	at = access_log_place(place.log);
	access_log_free(&place.log);
	assert_int_equal(truncate(place.path, 10), 0);
	assert_int_equal(access_log_new(&place.log, place.path), 0);
	assert_int_equal(access_log_seek(place.log, &at), -ESTALE);
	at.inode += 12345;
	assert_int_equal(access_log_seek(place.log, &at), -ESTALE);
	clean_up(&place);
}

static void missing_file_and_what_is_no_file_are_errors(void **state)
{
	struct place place;
	struct access_log *other = NULL;

	(void)state;
	set_up(&place, "");
	assert_int_equal(access_log_new(&other, place.folder), 0);
	assert_int_equal(access_log_seek_end(other), -EINVAL);
	access_log_free(&other);
	assert_int_equal(access_log_new(&other, "/nonexistent/log"), 0);
	assert_int_equal(access_log_seek_end(other), -ENOENT);
	access_log_free(&other);
	assert_int_equal(mkfifo(strcat(place.path, ".fifo"), 0600), 0);
	assert_int_equal(access_log_new(&other, place.path), 0);
	assert_int_equal(access_log_seek_end(other), -EINVAL);
	access_log_free(&other);
	clean_up(&place);
}

static void long_absence_is_caught_up_with_in_pieces(void **state)
{
	char block[100 * sizeof(PULL)] = "";
	uint64_t lines = 0, before = 0;
	unsigned int pieces = 0;
	struct place place;
	bool more = true;

	(void)state;
	set_up(&place, "");
	assert_int_equal(access_log_seek_end(place.log), 0);
	for (int i = 0; i < 100; i++)
		strcat(block, PULL);
	for (; lines * strlen(PULL) < 40 << 20; lines += 100)
		append(place.path, block);
	for (; more; pieces++) {
		assert_int_equal(access_log_read(place.log, &place.count, &more), 0);
		assert_true(place.count > before);
		before = place.count;
	}
	assert_int_equal(pieces, 3);
	assert_int_equal(place.count, lines);
	clean_up(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_real_servers_are_read),
		cmocka_unit_test(lines_that_are_none_are_told),
		cmocka_unit_test(only_manifests_count),
		cmocka_unit_test(status_decides_for_each_method),
		cmocka_unit_test(only_what_comes_later_is_counted),
		cmocka_unit_test(lines_written_byte_by_byte_are_whole_lines),
		cmocka_unit_test(renamed_file_is_read_to_its_end_beside_the_new_one),
		cmocka_unit_test(truncated_file_is_read_from_its_beginning),
		cmocka_unit_test(line_longer_than_any_is_skipped_and_the_next_is_read),
		cmocka_unit_test(place_is_found_again_after_a_rename),
		cmocka_unit_test(place_that_is_gone_is_told),
		cmocka_unit_test(missing_file_and_what_is_no_file_are_errors),
		cmocka_unit_test(long_absence_is_caught_up_with_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
