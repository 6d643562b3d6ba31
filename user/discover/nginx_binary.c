/* SPDX-License-Identifier: MIT */
#include "discover/binary_kinds.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "discover/elf_symbol.h"
#include "discover/entry_site.h"
#include "discover/nginx_layout.h"

/* Runs once for each request, when its reply is logged and its memory goes: (r, rc). */
static const char hook[] = "ngx_http_free_request";
#define HOOK_ARGUMENTS 2

/* How nginx -v begins, in every build since 0.1. */
static const char version_text[] = "nginx version: ";
/* nginx with many modules built in has 4 MiB. A larger file without the hook's name is none. */
#define SEARCH_BYTES (16ull * 1024 * 1024)

struct version_search {
	const struct elf_image *image;
	char *ret;
	unsigned int size;
};

static int visit_version(void *context, uint64_t address)
{
	struct version_search *search = context;
	uint64_t offset = 0;
	int n = elf_image_offset(search->image, address + sizeof(version_text) - 1, &offset);

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

/* "nginx/1.22.1", or what a fork says there. -ENOENT: it says nothing. */
static int read_version(const struct elf_image *image, char *ret, unsigned int size)
{
	struct version_search search = {image, ret, size};
	int rc = elf_image_each_bytes(image, version_text, sizeof(version_text) - 1, SEARCH_BYTES,
				      visit_version, &search);

	if (rc == 1 && ret[0])
		return 0;
	ret[0] = 0;
	return rc < 0 && rc != -E2BIG ? rc : -ENOENT;
}

/* Reads the function's code; returns its size in memory at ret. */
static int read_code(const struct elf_image *image, const struct elf_symbol *symbol, uint8_t *ret,
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

int nginx_binary_inspect(const struct elf_image *image, struct binary *ret)
{
	struct binary_site site = {.hook = PT_NGINX_HOOK_REQUEST};
	uint8_t code[ENTRY_SITE_CODE];
	const char *refusal = NULL;
	uint64_t size = 0, offset = 0;
	struct elf_symbol symbol;
	uint32_t within = 0;
	int err = elf_symbol_find(image, hook, &symbol);

	if (err && err != -ENOENT && err != -ENODATA)
		return err;
	if (read_version(image, ret->version, sizeof(ret->version)) && err)
		return -ENOENT;
	snprintf(site.symbol, sizeof(site.symbol), "%s", hook);
	if (err) {
		binary_refuse(ret, "%s: not exported by this build of nginx", hook);
		return 0;
	}
	if (read_code(image, &symbol, code, &size, &offset)) {
		binary_refuse(ret, "%s: its code is not in the file", hook);
		return 0;
	}
	err = entry_site_find(code, size, HOOK_ARGUMENTS, &within, &refusal);
	err = err ?: nginx_layout_find(image, code, size, &site.layout.nginx, &refusal);
	if (err && err != -ENOTSUP)
		return err;
	if (err) {
		binary_refuse(ret, "%s: %s", hook, refusal);
		return 0;
	}
	site.file_offset = offset + within;
	ret->sites[ret->sites_count++] = site;
	return 0;
}
