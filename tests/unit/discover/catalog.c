/* SPDX-License-Identifier: MIT */
/* Known files cost no reading; changed and forgotten ones are read again. */
#include "discover/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fake_proc.h"
#include "go_image.h"

struct room {
	struct fake_proc proc;
	struct catalog *catalog;
};

static void room_new(struct room *room)
{
	room->catalog = NULL;
	assert_int_equal(catalog_new(&room->catalog, binary_inspect), 0);
	fake_proc_new(&room->proc);
	fake_proc_folder(&room->proc, "7");
}

static void room_free(struct room *room)
{
	fake_proc_free(&room->proc);
	catalog_free(&room->catalog);
	assert_null(room->catalog);
}

static int inspect(struct room *room, struct binary *ret)
{
	struct file_identity file = {0};

	memset(ret, 0, sizeof(*ret));
	return catalog_inspect(room->catalog, room->proc.fd, 7, ret, &file);
}

static void assert_counts(const struct room *room, uint64_t read, uint64_t known)
{
	uint64_t r, k;

	catalog_counts(room->catalog, &r, &k);
	assert_int_equal(r, read);
	assert_int_equal(k, known);
}

static void write_server(struct fake_proc *proc, const char *name)
{
	static const char *const names[] = {"main.main", "net/http.(*response).finishRequest",
					    NULL};
	static struct go_image image;
	char path[128];
	int fd;

	image = (struct go_image){
		.magic = GO_IMAGE_1_20, .names = names, .prologue = GO_IMAGE_PROLOGUE};
	go_image_build(&image);
	snprintf(path, sizeof(path), "%s/%s", proc->folder, name);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, image.bytes, sizeof(image.bytes)), sizeof(image.bytes));
	close(fd);
}

static void same_file_is_read_once(void **state)
{
	struct binary first, second;
	struct room room;

	(void)state;
	room_new(&room);
	write_server(&room.proc, "server");
	fake_proc_link(&room.proc, "7/exe", "../server");
	assert_int_equal(inspect(&room, &first), 0);
	assert_int_equal(inspect(&room, &second), 0);
	assert_int_equal(first.sites_count, 1);
	assert_memory_equal(&first, &second, sizeof(first));
	assert_counts(&room, 1, 1);
	room_free(&room);
}

static void uninteresting_file_is_remembered_too(void **state)
{
	struct binary b;
	struct room room;

	(void)state;
	room_new(&room);
	fake_proc_file(&room.proc, "script", "#!/bin/sh\n");
	fake_proc_link(&room.proc, "7/exe", "../script");
	for (int i = 0; i < 3; i++)
		assert_int_equal(inspect(&room, &b), -ENOEXEC);
	assert_counts(&room, 1, 2);
	room_free(&room);
}

static void changed_file_is_read_again(void **state)
{
	struct binary b;
	struct room room;

	(void)state;
	room_new(&room);
	fake_proc_file(&room.proc, "file", "#!/bin/sh\n");
	fake_proc_link(&room.proc, "7/exe", "../file");
	assert_int_equal(inspect(&room, &b), -ENOEXEC);
	write_server(&room.proc, "file"); /* the same inode */
	assert_int_equal(inspect(&room, &b), 0);
	assert_int_equal(b.sites_count, 1);
	assert_counts(&room, 2, 0);
	room_free(&room);
}

static void process_without_file_is_not_remembered(void **state)
{
	struct binary b;
	struct room room;

	(void)state;
	room_new(&room);
	assert_int_equal(inspect(&room, &b), -ENOENT);
	fake_proc_link(&room.proc, "7/exe", "../nothing");
	assert_int_equal(inspect(&room, &b), -ENOENT);
	assert_counts(&room, 0, 0);
	room_free(&room);
}

static void full_catalog_forgets_the_oldest(void **state)
{
	char name[32], link[40];
	struct binary b;
	struct room room;

	(void)state;
	room_new(&room);
	write_server(&room.proc, "server");
	fake_proc_link(&room.proc, "7/exe", "../server");
	assert_int_equal(inspect(&room, &b), 0);
	for (int i = 0; i < CATALOG_FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		snprintf(link, sizeof(link), "../f%d", i);
		fake_proc_file(&room.proc, name, "x");
		fake_proc_link(&room.proc, "7/exe", link);
		assert_int_equal(inspect(&room, &b), -ENOEXEC);
	}
	assert_counts(&room, CATALOG_FILES + 1, 0);
	/* the last one is still known, the first one made room */
	assert_int_equal(inspect(&room, &b), -ENOEXEC);
	assert_counts(&room, CATALOG_FILES + 1, 1);
	fake_proc_link(&room.proc, "7/exe", "../server");
	assert_int_equal(inspect(&room, &b), 0);
	assert_counts(&room, CATALOG_FILES + 2, 1);
	room_free(&room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_file_is_read_once),
		cmocka_unit_test(uninteresting_file_is_remembered_too),
		cmocka_unit_test(changed_file_is_read_again),
		cmocka_unit_test(process_without_file_is_not_remembered),
		cmocka_unit_test(full_catalog_forgets_the_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
