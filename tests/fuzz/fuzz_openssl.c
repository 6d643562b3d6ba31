/* SPDX-License-Identifier: MIT */
/*
 * binary_inspect_openssl() on edits of the installed libssl, near the places where its code is
 * read; without one on the bytes alone. The first byte says where.
 */
#include "tests/fuzz/binary.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY "/usr/lib/x86_64-linux-gnu/libssl.so.3"
#define NEAR 256

static struct {
	uint8_t *bytes;
	size_t size;
	struct binary binary;
} library;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	_cleanup_close_ int fd = open(LIBRARY, O_RDONLY | O_CLOEXEC);
	struct stat st;

	(void)argc;
	(void)argv;
	if (fd < 0 || fstat(fd, &st) || binary_inspect_openssl(fd, &library.binary))
		return 0;
	library.bytes = malloc((size_t)st.st_size);
	if (library.bytes && read(fd, library.bytes, (size_t)st.st_size) == st.st_size)
		library.size = (size_t)st.st_size;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t kept[2 * NEAR];
	size_t at = 0, length = library.size < sizeof(kept) ? library.size : sizeof(kept);

	if (!size)
		return 0;
	if (!library.size) {
		fuzz_inspect_by(binary_inspect_openssl_source, data, size);
		return 0;
	}
	/* else the file's own header, and what it says about symbols */
	if (data[0] % 8 < library.binary.sites_count)
		at = library.binary.sites[data[0] % 8].file_offset - NEAR;
	memcpy(kept, library.bytes + at, length);
	fuzz_edit(library.bytes + at, length, data + 1, size - 1);
	fuzz_inspect_by(binary_inspect_openssl_source, library.bytes, library.size);
	memcpy(library.bytes + at, kept, length);
	return 0;
}
