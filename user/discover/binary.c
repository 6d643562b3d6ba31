/* SPDX-License-Identifier: MIT */
#include "discover/binary.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "discover/binary_image.h"
#include "discover/binary_kinds.h"
#include "discover/build_info.h"
#include "discover/file_identity.h"

typedef int inspect_fn(const struct elf_image *image, struct binary *ret);

/* One per way in. A binary is of one kind. */
static const struct {
	enum way way;
	inspect_fn *inspect;
} kinds[] = {
	{WAY_GO, go_binary_inspect},
	{WAY_APACHE, apache_binary_inspect},
	{WAY_NGINX, nginx_binary_inspect},
};

void binary_refuse(struct binary *binary, const char *fmt, ...)
{
	size_t used = strlen(binary->refusal);
	va_list ap;

	/* one line for all: later ones follow if there is room */
	if (used && used + 3 < sizeof(binary->refusal)) {
		memcpy(binary->refusal + used, "; ", 3);
		used += 2;
	}
	va_start(ap, fmt);
	vsnprintf(binary->refusal + used, sizeof(binary->refusal) - used, fmt, ap);
	va_end(ap);
}

static int inspect_kinds(const struct elf_image *image, struct binary *ret)
{
	int err = -ENOENT;

	for (unsigned int i = 0; err == -ENOENT && i < sizeof(kinds) / sizeof(*kinds); i++) {
		err = kinds[i].inspect(image, ret);
		ret->way = kinds[i].way;
	}
	return err;
}

static int inspect_source(struct byte_source *source, inspect_fn *inspect, struct binary *ret)
{
	struct elf_image image;
	int err = elf_image_init(&image, source);

	err = err ?: inspect(&image, ret);
	if (!err)
		build_info_id(&image, ret->build_id, sizeof(ret->build_id));
	return err;
}

int binary_inspect_source(struct byte_source *source, struct binary *ret)
{
	return inspect_source(source, inspect_kinds, ret);
}

int binary_inspect_openssl_source(struct byte_source *source, struct binary *ret)
{
	return inspect_source(source, openssl_binary_inspect, ret);
}

static void free_source(struct byte_source **source)
{
	byte_source_free(source);
}

static int inspect_file(int fd, inspect_fn *inspect, struct binary *ret)
{
	_cleanup_(free_source) struct byte_source *source = NULL;
	struct file_identity file;
	struct binary binary = {0};
	struct stat st;
	int err;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	err = file_identity_read(fd, &file);
	if (!err)
		err = byte_source_new_file(fd, &source);
	if (err)
		return err;
	binary.device = file.device;
	binary.inode = file.inode;
	err = inspect_source(source, inspect, &binary);
	if (!err)
		*ret = binary;
	return err;
}

int binary_inspect(int fd, struct binary *ret)
{
	return inspect_file(fd, inspect_kinds, ret);
}

int binary_inspect_openssl(int fd, struct binary *ret)
{
	return inspect_file(fd, openssl_binary_inspect, ret);
}

int binary_openssl_version(int fd, char *ret, unsigned int size)
{
	_cleanup_(free_source) struct byte_source *source = NULL;
	struct elf_image image;
	int err = byte_source_new_file(fd, &source);

	err = err ?: elf_image_init(&image, source);
	return err ?: openssl_binary_version(&image, ret, size);
}
