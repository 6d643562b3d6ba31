/* SPDX-License-Identifier: MIT */
#include "discover/c_program.h"

#include <errno.h>
#include <string.h>

#include "discover/entry_site.h"

/* nginx with many modules built in has 4 MiB. A larger file that says nothing is none of these. */
#define SEARCH_BYTES (16ull * 1024 * 1024)

struct version_search {
	const struct elf_image *image;
	unsigned int skip;
	char *ret;
	unsigned int size;
};

static int visit_version(void *context, uint64_t address)
{
	struct version_search *search = context;
	uint64_t offset = 0;
	int n = elf_image_offset(search->image, address + search->skip, &offset);

	if (!n)
		n = byte_source_string(search->image->source, offset, search->ret, search->size);
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		if (search->ret[i] <= 0x20 || search->ret[i] > 0x7e)
			search->ret[i] = 0; /* it goes into logs and reports */
	}
	return 1;
}

int c_program_version(const struct elf_image *image, const char *prefix, unsigned int skip,
		      char *ret, unsigned int size)
{
	struct version_search search = {image, skip, ret, size};
	int rc = elf_image_each_bytes(image, prefix, (unsigned int)strlen(prefix), SEARCH_BYTES,
				      visit_version, &search);

	if (rc == 1 && ret[0])
		return 0;
	ret[0] = 0;
	return rc < 0 && rc != -E2BIG ? rc : -ENOENT;
}

int c_program_code(const struct elf_image *image, const struct elf_symbol *symbol, uint8_t *ret,
		   uint64_t *ret_size, uint64_t *ret_offset)
{
	uint64_t size = symbol->size;

	if (!size || size > ENTRY_SITE_CODE)
		size = ENTRY_SITE_CODE;
	if (!elf_image_is_code(image, symbol->address) ||
	    elf_image_offset(image, symbol->address, ret_offset))
		return -ENOENT;
	*ret_size = size;
	return byte_source_read(image->source, *ret_offset, ret, size);
}
