/* SPDX-License-Identifier: MIT */
/* Mapped files: this process's own, and lists as a process could have them. */
#include "discover/process_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "discover/openssl_process.h"
#include "test.h"

#include "fake_proc.h"

struct seen {
	unsigned int count;
	struct process_map maps[8];
};

static int remember(void *context, const struct process_map *map)
{
	struct seen *seen = context;

	assert_true(seen->count < 8);
	seen->maps[seen->count++] = *map;
	return 0;
}

static void each_mapping_of_a_file_is_told(void **state)
{
	static struct seen seen;
	struct fake_proc proc;

	(void)state;
	fake_proc_new(&proc);
	fake_proc_folder(&proc, "7");
	fake_proc_file(
		&proc, "7/maps",
		"55d0a2c00000-55d0a2c02000 r--p 00001000 fe:01 123                /usr/bin/a b\n"
		"55d0a2c02000-55d0a2c03000 r-xp 00003000 00:2f 18446744073709551615 /x (deleted)\n"
		"7ffc0000-7ffd0000 rw-p 00000000 00:00 0                          [stack]\n"
		"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"
		"7f0000002000-7f0000003000 r-xp 00000000 00:01 5 anon_inode:[x]\n"
		"not a line at all\n"
		"7f0000004000-7f0000005000 r-xp 00000000 103:0 6    / (deleted)\n");
	assert_int_equal(process_maps_each(proc.fd, 7, remember, &seen), 0);
	assert_int_equal(seen.count, 3);
	assert_string_equal(seen.maps[0].path, "/usr/bin/a b");
	assert_int_equal(seen.maps[0].start, 0x55d0a2c00000);
	assert_int_equal(seen.maps[0].end, 0x55d0a2c02000);
	assert_int_equal(seen.maps[0].offset, 0x1000);
	assert_int_equal(seen.maps[0].major, 0xfe);
	assert_int_equal(seen.maps[0].minor, 1);
	assert_int_equal(seen.maps[0].inode, 123);
	assert_false(seen.maps[0].executable);
	assert_false(seen.maps[0].deleted);
	assert_string_equal(seen.maps[1].path, "/x");
	assert_true(seen.maps[1].inode == UINT64_MAX);
	assert_true(seen.maps[1].executable);
	assert_true(seen.maps[1].deleted);
	assert_string_equal(seen.maps[2].path, "/");
	assert_int_equal(process_maps_each(proc.fd, 8, remember, &seen), -ENOENT);
	fake_proc_free(&proc);
}

static int stop(void *context, const struct process_map *map)
{
	(void)map;
	++*(int *)context;
	return 42;
}

static void visitor_ends_the_walk(void **state)
{
	int proc, calls = 0;

	(void)state;
	assert_int_equal(process_open_proc("/proc", &proc), 0);
	assert_int_equal(process_maps_each(proc, getpid(), stop, &calls), 42);
	assert_int_equal(calls, 1);
	close(proc);
}

struct wanted {
	uint64_t inode;
	struct process_map map;
};

static int take(void *context, const struct process_map *map)
{
	struct wanted *wanted = context;

	if (map->inode != wanted->inode)
		return 0;
	wanted->map = *map;
	return 1;
}

/* Maps a file of one page that holds text; its path in ret_path. */
static struct wanted map_file(const char *folder, char ret_path[128])
{
	struct wanted wanted = {0};
	struct stat st;
	int fd, proc;

	snprintf(ret_path, 128, "%s/libssl.so.3", folder);
	fd = open(ret_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "old", 3), 3);
	assert_int_equal(fstat(fd, &st), 0);
	wanted.inode = st.st_ino;
	assert_true(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	close(fd);
	assert_int_equal(process_open_proc("/proc", &proc), 0);
	assert_int_equal(process_maps_each(proc, getpid(), take, &wanted), 1);
	close(proc);
	return wanted;
}

static void mapped_file_is_opened(void **state)
{
	char *folder = test_make_folder(), path[128], text[4] = "";
	struct wanted wanted = map_file(folder, path);
	int proc, fd = -1;

	(void)state;
	assert_string_equal(wanted.map.path, path);
	assert_int_equal(process_open_proc("/proc", &proc), 0);
	assert_int_equal(process_open_map(proc, getpid(), &wanted.map, &fd), 0);
	assert_int_equal(read(fd, text, 3), 3);
	assert_string_equal(text, "old");
	close(fd);
	close(proc);
	test_remove_folder(folder);
}

/* What lies there now must never be taken for what was mapped. */
static void replaced_file_is_the_old_one_or_none(void **state)
{
	char *folder = test_make_folder(), path[128], other[160], text[4] = "";
	struct wanted wanted = map_file(folder, path);
	int proc, fd = -1, rc;

	(void)state;
	snprintf(other, sizeof(other), "%s.new", path);
	fd = creat(other, 0600);
	assert_int_equal(write(fd, "new", 3), 3);
	close(fd);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(process_open_proc("/proc", &proc), 0);
	rc = process_open_map(proc, getpid(), &wanted.map, &fd);
	if (rc) {
		assert_int_equal(rc, -ESTALE);
	} else {
		assert_int_equal(read(fd, text, 3), 3);
		assert_string_equal(text, "old");
		close(fd);
	}
	close(proc);
	test_remove_folder(folder);
}

static void libraries_are_known_by_their_names(void **state)
{
	static const struct {
		const char *path, *other;
		bool is;
	} cases[] = {
		{"/usr/lib/x86_64-linux-gnu/libssl.so.3", NULL, true},
		{"/usr/lib/libssl.so.1.1", NULL, true},
		{"/app/cryptography.libs/libssl-81ffa89e.so.1.1", NULL, true},
		{"/usr/lib/libssl3.so", "NSS", false},
		{"/usr/lib/libgnutls.so.30.34.3", "GnuTLS", false},
		{"/usr/lib/libboringssl.so", "BoringSSL", false},
		{"/usr/lib/libcrypto.so.3", NULL, false},
		{"/libssl.so.3/x", NULL, false},
		{"/usr/lib/mylibssl.so.3", NULL, false},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *other = NULL;

		assert_int_equal(openssl_process_is_library(cases[i].path, &other), cases[i].is);
		if (cases[i].other)
			assert_string_equal(other, cases[i].other);
		else
			assert_null(other);
	}
}

/* Each file once, of its executable parts; the program's device as the kernel has it. */
static void process_tells_its_libraries_and_its_device(void **state)
{
	static struct process process = {
		.pid = 7, .exe = "/usr/sbin/haproxy", .file = {.device = 1, .inode = 99}};
	struct openssl_process openssl = {.process = &process};
	struct binary binary = {.sites_count = 1};
	struct fake_proc proc;

	(void)state;
	fake_proc_new(&proc);
	fake_proc_folder(&proc, "7");
	fake_proc_file(&proc, "7/maps",
		       "1000-2000 r-xp 00000000 fe:01 99 /usr/sbin/haproxy\n"
		       "3000-4000 r--p 00000000 fe:01 5 /lib/libssl.so.3\n"
		       "4000-5000 r-xp 00001000 fe:01 5 /lib/libssl.so.3\n"
		       "5000-6000 r-xp 00002000 fe:01 5 /lib/libssl.so.3\n"
		       "6000-7000 r-xp 00000000 fe:01 6 /lib/libgnutls.so.30\n"
		       "7000-8000 r-xp 00000000 fe:02 5 /opt/libssl.so.1.1\n");
	assert_int_equal(openssl_process_read(proc.fd, &openssl), 0);
	assert_int_equal(openssl.libraries_count, 2);
	assert_int_equal(openssl.libraries[0].start, 0x4000);
	assert_string_equal(openssl.libraries[1].path, "/opt/libssl.so.1.1");
	assert_string_equal(openssl.other, "GnuTLS");
	openssl_process_own(&openssl, &binary);
	assert_int_equal(binary.sites[0].layout.tls.exe_inode, 99);
	assert_int_equal(binary.sites[0].layout.tls.exe_device, PT_KERNEL_DEVICE(0xfe, 1));
	/* of an overlay nobody knows which device the kernel will see */
	process.file.device = FILE_IDENTITY_OVERLAY;
	assert_int_equal(openssl_process_read(proc.fd, &openssl), 0);
	openssl_process_own(&openssl, &binary);
	assert_int_equal(binary.sites[0].layout.tls.exe_device, 0);
	fake_proc_free(&proc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mapping_of_a_file_is_told),
		cmocka_unit_test(visitor_ends_the_walk),
		cmocka_unit_test(mapped_file_is_opened),
		cmocka_unit_test(replaced_file_is_the_old_one_or_none),
		cmocka_unit_test(libraries_are_known_by_their_names),
		cmocka_unit_test(process_tells_its_libraries_and_its_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
