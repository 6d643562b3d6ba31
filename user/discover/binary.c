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

/* One per way in. A binary is of one kind. */
static int (*const kinds[])(const struct elf_image *image, struct binary *ret) = {
	go_binary_inspect,
	apache_binary_inspect,
	nginx_binary_inspect,
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

int binary_inspect_source(struct byte_source *source, struct binary *ret)
{
	struct elf_image image;
	int err = elf_image_init(&image, source);

	if (err)
		return err;
	err = -ENOENT;
	for (unsigned int i = 0; err == -ENOENT && i < sizeof(kinds) / sizeof(*kinds); i++)
		err = kinds[i](&image, ret);
	if (!err)
		build_info_id(&image, ret->build_id, sizeof(ret->build_id));
	return err;
}

static void free_source(struct byte_source **source)
{
	byte_source_free(source);
}

int binary_inspect(int fd, struct binary *ret)
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
	err = binary_inspect_source(source, &binary);
	if (!err)
		*ret = binary;
	return err;
}
