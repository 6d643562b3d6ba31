/* SPDX-License-Identifier: MIT */
#include "discover/binary_kinds.h"

#include <errno.h>
#include <stdio.h>

#include "../../bpf/apache_layout.h"
#include "discover/c_program.h"
#include "discover/entry_site.h"

/* Runs once for each request, when it is done and its memory is about to go: (r). */
static const char hook[] = "ap_run_log_transaction";
#define HOOK_ARGUMENTS 1

/* Every module begins with the magic number of what it was built against, so does apache's own. */
static const char core[] = "core_module";
#define CORE_COOKIE_WORD 5
#define CORE_WORDS 6

/* By apache's sources it keeps the target as the client sent it, and refuses some with a status. */
static const char user_of_layout[] = "ap_parse_uri";

/* The number of the layout that the file was built with; 0: it does not say. */
static int read_magic(const struct elf_image *image, uint32_t *ret)
{
	uint64_t words[CORE_WORDS];
	struct elf_symbol symbol;
	int err = elf_symbol_exported(image, core, &symbol);

	*ret = 0;
	err = err ?: elf_image_words(image, symbol.address, CORE_WORDS, words);
	if (!err && words[CORE_COOKIE_WORD] == APACHE_MODULE_COOKIE)
		*ret = (uint32_t)words[0];
	return err == -ENOENT || err == -ENODATA ? 0 : err;
}

/* Does the code use what the layout says? */
static int check_layout(const struct elf_image *image, bool *ret)
{
	uint8_t code[ENTRY_SITE_CODE];
	uint64_t size = 0, offset = 0;
	struct elf_symbol symbol;
	int err = elf_symbol_exported(image, user_of_layout, &symbol);

	err = err ?: c_program_code(image, &symbol, code, &size, &offset);
	*ret = !err && entry_site_touches(code, size, APACHE_UNPARSED_URI) &&
	       entry_site_touches(code, size, APACHE_STATUS);
	return err == -ENOENT || err == -ENODATA ? 0 : err;
}

static int find_site(const struct elf_image *image, const struct elf_symbol *symbol,
		     struct binary *ret)
{
	struct binary_site site = {.hook = PT_APACHE_HOOK_LOG};
	uint8_t code[ENTRY_SITE_CODE];
	const char *refusal = NULL;
	uint64_t size = 0, offset = 0;
	uint32_t within = 0;

	if (c_program_code(image, symbol, code, &size, &offset)) {
		binary_refuse(ret, "%s: its code is not in the file", hook);
		return 0;
	}
	if (entry_site_find(code, size, HOOK_ARGUMENTS, &within, &refusal)) {
		binary_refuse(ret, "%s: %s", hook, refusal);
		return 0;
	}
	snprintf(site.symbol, sizeof(site.symbol), "%s", hook);
	site.file_offset = offset + within;
	ret->sites[ret->sites_count++] = site;
	return 0;
}

int apache_binary_inspect(const struct elf_image *image, struct binary *ret)
{
	struct elf_symbol symbol;
	bool is_used = false;
	uint32_t magic = 0;
	int err = elf_symbol_exported(image, hook, &symbol);

	if (err)
		return err == -ENODATA ? -ENOENT : err;
	err = c_program_version(image, "Apache/2.", 0, ret->version, sizeof(ret->version));
	if (err && err != -ENOENT)
		return err;
	err = read_magic(image, &magic);
	err = err ?: check_layout(image, &is_used);
	if (err)
		return err;
	if (!magic) {
		binary_refuse(ret, "%s tells no module magic number: watch the registry behind it",
			      core);
		return 0;
	}
	if (magic != APACHE_MAGIC_MAJOR) {
		binary_refuse(ret,
			      "module magic number %u is not that of apache 2.4 (%u), whose layout "
			      "is known: watch the registry behind it",
			      magic, APACHE_MAGIC_MAJOR);
		return 0;
	}
	if (!is_used) {
		binary_refuse(ret,
			      "%s does not use what apache 2.4 has: watch the registry behind it",
			      user_of_layout);
		return 0;
	}
	return find_site(image, &symbol, ret);
}
