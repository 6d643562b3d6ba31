/* SPDX-License-Identifier: MIT */
#include "discover/binary_kinds.h"

#include <errno.h>
#include <stdio.h>

#include "discover/c_program.h"
#include "discover/entry_site.h"
#include "discover/nginx_layout.h"
#include "discover/nginx_learn.h"

/* Runs once for each request, when its reply is logged and its memory goes: (r, rc). */
static const char hook[] = "ngx_http_free_request";
#define HOOK_ARGUMENTS 2

/* How nginx -v begins, in every build since 0.1. */
static const char version_text[] = "nginx version: ";

int nginx_binary_inspect(const struct elf_image *image, struct binary *ret)
{
	struct binary_site site = {.hook = PT_NGINX_HOOK_REQUEST};
	uint8_t code[ENTRY_SITE_CODE];
	const char *refusal = NULL;
	uint64_t size = 0, offset = 0;
	struct elf_symbol symbol;
	uint32_t within = 0;
	bool learns = false;
	int err = elf_symbol_find(image, hook, &symbol);

	if (err && err != -ENOENT && err != -ENODATA)
		return err;
	if (c_program_version(image, version_text, sizeof(version_text) - 1, ret->version,
			      sizeof(ret->version)) &&
	    err)
		return -ENOENT;
	snprintf(site.symbol, sizeof(site.symbol), "%s", hook);
	if (err) {
		binary_refuse(ret, "%s: not exported by this build of nginx", hook);
		return 0;
	}
	if (c_program_code(image, &symbol, code, &size, &offset)) {
		binary_refuse(ret, "%s: its code is not in the file", hook);
		return 0;
	}
	err = entry_site_find(code, size, HOOK_ARGUMENTS, &within, &refusal);
	if (!err) {
		err = nginx_layout_find(image, code, size, &site.layout.nginx, &refusal);
		learns = err == -ENOTSUP && nginx_can_learn(code, size);
	}
	if (err && err != -ENOTSUP)
		return err;
	if (err)
		binary_refuse(ret, "%s: %s%s", hook, refusal,
			      learns ? ": learned from requests" : "");
	if (err && !learns)
		return 0;
	site.file_offset = offset + within;
	ret->sites[ret->sites_count++] = site;
	return 0;
}

static void free_source(struct byte_source **source)
{
	byte_source_free(source);
}

int nginx_learn_file(int fd, const struct pt_sample *sample, struct pt_nginx_layout *ret)
{
	_cleanup_(free_source) struct byte_source *source = NULL;
	uint8_t code[ENTRY_SITE_CODE];
	uint64_t size = 0, offset = 0;
	struct elf_symbol symbol;
	struct elf_image image;
	int err = byte_source_new_file(fd, &source);

	err = err ?: elf_image_init(&image, source);
	err = err ?: elf_symbol_find(&image, hook, &symbol);
	err = err ?: c_program_code(&image, &symbol, code, &size, &offset);
	return err ?: nginx_learn(sample, code, size, ret);
}
