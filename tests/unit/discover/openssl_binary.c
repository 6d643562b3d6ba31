/* SPDX-License-Identifier: MIT */
/* The installed libssl: its places, and that spoiled copies of it are refused. */
#include "discover/binary.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "discover/binary_image.h"
#include "test.h"

#define LIBRARY "/usr/lib/x86_64-linux-gnu/libssl.so.3"

struct file {
	uint8_t *bytes;
	size_t size;
};

static int load(void **state)
{
	static struct file file;
	_cleanup_close_ int fd = open(LIBRARY, O_RDONLY | O_CLOEXEC);
	struct stat st;

	*state = &file;
	if (fd < 0 || fstat(fd, &st))
		return 0;
	file.size = (size_t)st.st_size;
	file.bytes = malloc(file.size);
	return !file.bytes || read(fd, file.bytes, file.size) != st.st_size;
}

static int unload(void **state)
{
	free(((struct file *)*state)->bytes);
	return 0;
}

static int inspect(const struct file *file, size_t size, struct binary *ret)
{
	struct byte_source *source = NULL;
	int err;

	memset(ret, 0, sizeof(*ret));
	assert_int_equal(byte_source_new_memory(file->bytes, size, &source), 0);
	err = binary_inspect_openssl_source(source, ret);
	byte_source_free(&source);
	return err;
}

static const struct file *need(void **state)
{
	const struct file *file = *state;

	if (!file->bytes)
		test_skip(LIBRARY " is not installed");
	return file;
}

/* All places, in the order in which they are to be attached. */
static void assert_whole(const struct binary *binary)
{
	static const uint8_t hooks[] = {PT_HOOK_TLS_FREE, PT_HOOK_TLS_WRITE, PT_HOOK_TLS_READ_DONE,
					PT_HOOK_TLS_READ};

	assert_string_equal(binary->refusal, "");
	assert_int_equal(binary->way, WAY_OPENSSL);
	assert_int_equal(binary->sites_count, 4);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(binary->sites[i].hook, hooks[i]);
		assert_int_equal(binary->sites[i].layout.tls.amount, PT_TLS_AMOUNT_POINTER);
		assert_int_equal(binary->sites[i].layout.tls.exe_inode, 0);
		assert_true(binary->sites[i].layout.tls.rwstate > 0);
	}
}

static void installed_library_has_all_places(void **state)
{
	_cleanup_close_ int fd = open(LIBRARY, O_RDONLY | O_CLOEXEC);
	struct binary binary = {0};

	need(state);
	assert_int_equal(binary_inspect_openssl(fd, &binary), 0);
	assert_whole(&binary);
	assert_string_not_equal(binary.build_id, "");
}

static void library_is_whole(void **state)
{
	struct binary binary;

	assert_int_equal(inspect(need(state), need(state)->size, &binary), 0);
	assert_whole(&binary);
}

static void library_is_no_way_in_by_itself(void **state)
{
	_cleanup_close_ int fd = open(LIBRARY, O_RDONLY | O_CLOEXEC);
	struct binary binary = {0};

	need(state);
	assert_int_equal(binary_inspect(fd, &binary), -ENOENT);
}

static void program_without_openssl_is_none(void **state)
{
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct binary binary = {0};

	(void)state;
	assert_int_equal(binary_inspect_openssl(fd, &binary), -ENOENT);
}

/* Changes one letter of a name wherever it stands, and changes it back. */
static unsigned int spoil(const struct file *file, const char *name)
{
	size_t size = strlen(name) + 1;
	uint8_t *at = file->bytes, *end = file->bytes + file->size;
	unsigned int found = 0;

	while ((at = memmem(at, (size_t)(end - at), name + 1, size - 1))) {
		at[-1] ^= 1;
		at++;
		found++;
	}
	return found;
}

/* Without one of its functions nothing of it is used. */
static void library_that_lacks_one_function_is_refused(void **state)
{
	static const char *const names[] = {"SSL_read_ex", "SSL_write", "SSL_write_ex",
					    "SSL_free",	   "SSL_want",	"TLS_method"};
	const struct file *file = need(state);

	for (unsigned int i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct binary binary;

		assert_true(spoil(file, names[i]) > 0);
		assert_int_equal(inspect(file, file->size, &binary), 0);
		spoil(file, names[i]);
		assert_int_equal(binary.sites_count, 0);
		assert_memory_equal(binary.refusal, names[i], strlen(names[i]));
		assert_non_null(strstr(binary.refusal, "docs/openssl.md"));
	}
	library_is_whole(state);
}

/* Whatever instruction at a place is spoiled: there or elsewhere a place is found, or none is. */
static void spoiled_code_is_refused_or_whole(void **state)
{
	const struct file *file = need(state);
	struct binary binary, good;

	assert_int_equal(inspect(file, file->size, &good), 0);
	for (unsigned int i = 0; i < good.sites_count; i++) {
		for (int at = -64; at < 64; at++) {
			uint8_t *byte = file->bytes + good.sites[i].file_offset + at, was = *byte;

			*byte = 0xc3;
			assert_int_equal(inspect(file, file->size, &binary), 0);
			*byte = was;
			if (binary.sites_count)
				assert_whole(&binary);
			else
				assert_string_not_equal(binary.refusal, "");
		}
	}
}

static void cut_anywhere_is_refused_or_whole(void **state)
{
	const struct file *file = need(state);
	struct binary binary;

	for (size_t size = 0; size < file->size; size += file->size / 100) {
		int err = inspect(file, size, &binary);

		if (!err && binary.sites_count)
			assert_whole(&binary);
		else if (!err)
			assert_string_not_equal(binary.refusal, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(installed_library_has_all_places),
		cmocka_unit_test(library_is_no_way_in_by_itself),
		cmocka_unit_test(program_without_openssl_is_none),
		cmocka_unit_test(library_that_lacks_one_function_is_refused),
		cmocka_unit_test(spoiled_code_is_refused_or_whole),
		cmocka_unit_test(cut_anywhere_is_refused_or_whole),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
