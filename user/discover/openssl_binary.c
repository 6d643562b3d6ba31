/* SPDX-License-Identifier: MIT */
/*
 * libssl, or a program that has it inside: the places where application data comes and goes. What
 * OpenSSL exports is known by name; the functions behind it, which serve all forms of a call and
 * are named by nobody, are found by what the exported ones do. All places or none: a way that saw
 * replies and no requests would be worse than none.
 */
#include "discover/binary_kinds.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "discover/c_program.h"
#include "discover/elf_symbol.h"
#include "discover/entry_site.h"
#include "discover/openssl_site.h"

/* A pointer to each function of a protocol; the longest table has 36. */
#define METHOD_WORDS 40
#define INSTEAD "; what to use instead: docs/openssl.md"

struct function {
	const char *name;
	uint64_t size, offset;
	uint8_t code[ENTRY_SITE_CODE];
};

struct inspection {
	const struct elf_image *image;
	struct binary *binary;
	union pt_layout layout;
	struct function function; /* the one that is looked at */
};

/* Two functions that are no more than forms of one, and what the second is a form of in turn. */
struct forms {
	const char *names[3];
	unsigned int arguments; /* that the one behind them has */
	enum pt_hook hook;
};

static int refuse(struct inspection *inspection, const char *name, const char *why)
{
	binary_refuse(inspection->binary, "%s: %s" INSTEAD, name, why);
	return -ENOTSUP;
}

static int read_function(struct inspection *inspection, const char *name, uint64_t address,
			 uint64_t size)
{
	const struct elf_symbol symbol = {address, size};
	struct function *function = &inspection->function;
	int err;

	function->name = name;
	err = c_program_code(inspection->image, &symbol, function->code, &function->size,
			     &function->offset);
	if (err == -ENOENT || err == -ENODATA)
		return refuse(inspection, name, "its code is not in the file");
	return err;
}

static int read_exported(struct inspection *inspection, const char *name,
			 struct elf_symbol *ret_symbol)
{
	int err = elf_symbol_find(inspection->image, name, ret_symbol);

	if (err == -ENOENT || err == -ENODATA)
		return refuse(inspection, name, "not defined, this is no OpenSSL 1.1.1 or 3");
	return err ?: read_function(inspection, name, ret_symbol->address, ret_symbol->size);
}

static int add_site(struct inspection *inspection, enum pt_hook hook, uint32_t within)
{
	struct binary *binary = inspection->binary;
	struct binary_site *site = &binary->sites[binary->sites_count];

	*site = (struct binary_site){
		.hook = hook,
		.layout = inspection->layout,
		.file_offset = inspection->function.offset + within,
	};
	snprintf(site->symbol, sizeof(site->symbol), "%s%s", inspection->function.name,
		 hook == PT_HOOK_TLS_READ_DONE ? ", done" : "");
	binary->sites_count++;
	return 0;
}

static int add_entry(struct inspection *inspection, enum pt_hook hook, unsigned int arguments)
{
	const char *refusal = NULL;
	uint32_t within = 0;

	if (entry_site_find(inspection->function.code, inspection->function.size, arguments,
			    &within, &refusal))
		return refuse(inspection, inspection->function.name, refusal);
	return add_site(inspection, hook, within);
}

static int find_free(struct inspection *inspection)
{
	struct elf_symbol symbol;
	int err = read_exported(inspection, "SSL_free", &symbol);

	return err ?: add_entry(inspection, PT_HOOK_TLS_FREE, 1);
}

/* The function behind all forms of a call. */
static int find_behind(struct inspection *inspection, const struct forms *forms)
{
	struct function *function = &inspection->function;
	const char *refusal = NULL;
	uint64_t behind = 0;
	int64_t distance;

	for (unsigned int i = 0; i < 2; i++) {
		struct elf_symbol symbol;
		/* SSL_write_ex() of OpenSSL 3.5 is a form of SSL_write_ex2() */
		bool newest = i && forms->names[2] &&
			      !elf_symbol_find(inspection->image, forms->names[2], &symbol);
		int err = read_exported(inspection, forms->names[newest ? 2 : i], &symbol);

		if (err)
			return err;
		if (openssl_site_callee(function->code, function->size, &distance, &refusal))
			return refuse(inspection, function->name, refusal);
		if (i && behind != symbol.address + (uint64_t)distance)
			return refuse(inspection, function->name,
				      "it does not call what the others of its kind call");
		behind = symbol.address + (uint64_t)distance;
	}
	/* named by what it serves: it has no name of its own in a stripped library */
	return read_function(inspection, forms->names[0], behind, 0)
		       ?: add_entry(inspection, forms->hook, forms->arguments);
}

/* One function of the protocol's table: does application data come through it? */
static int try_method(struct inspection *inspection, uint64_t address, uint32_t *ret_within,
		      const char **ret_refusal)
{
	struct function *function = &inspection->function;
	int64_t distance;
	int err = read_function(inspection, "SSL_read", address, 0);

	if (err)
		return err;
	if (!openssl_site_read_done(function->code, function->size, ret_within, ret_refusal))
		return 0;
	if (openssl_site_jump(function->code, function->size, &distance) ||
	    !elf_image_is_code(inspection->image, address + (uint64_t)distance))
		return -ENOTSUP;
	err = read_function(inspection, "SSL_read", address + (uint64_t)distance, 0);
	return err
		       ?: openssl_site_read_done(function->code, function->size, ret_within,
						 ret_refusal);
}

static int find_read_done(struct inspection *inspection)
{
	static const char name[] = "TLS_method";
	uint64_t words[METHOD_WORDS], table = 0;
	const char *refusal = NULL;
	struct elf_symbol symbol;
	uint32_t within = 0;
	int err = read_exported(inspection, name, &symbol);

	if (err)
		return err;
	if (openssl_site_method(inspection->function.code, inspection->function.size,
				symbol.address, &table, &refusal))
		return refuse(inspection, name, refusal);
	err = elf_image_words(inspection->image, table, METHOD_WORDS, words);
	if (err == -ENOENT || err == -ENODATA)
		return refuse(inspection, name, "its table is not in the file");
	for (unsigned int i = 0; !err && i < METHOD_WORDS; i++) {
		if (!elf_image_is_code(inspection->image, words[i]))
			continue;
		err = try_method(inspection, words[i], &within, &refusal);
		if (!err)
			return add_site(inspection, PT_HOOK_TLS_READ_DONE, within);
		err = err == -ENOTSUP ? 0 : err;
	}
	return err ?: refuse(inspection, name, refusal ?: "its table holds no functions");
}

static int find_want(struct inspection *inspection)
{
	static const char name[] = "SSL_want";
	const char *refusal = NULL;
	struct elf_symbol symbol;
	int err = read_exported(inspection, name, &symbol);

	if (err)
		return err;
	if (openssl_site_want(inspection->function.code, inspection->function.size,
			      &inspection->layout.tls.rwstate, &refusal))
		return refuse(inspection, name, refusal);
	return 0;
}

/* In the order in which they have to be attached, see enum pt_hook. */
static int find_all(struct inspection *inspection)
{
	static const struct forms write = {
		{"SSL_write", "SSL_write_ex", "SSL_write_ex2"}, 3, PT_HOOK_TLS_WRITE};
	static const struct forms read = {{"SSL_read", "SSL_read_ex"}, 4, PT_HOOK_TLS_READ};
	int err = find_want(inspection);

	err = err ?: find_free(inspection);
	err = err ?: find_behind(inspection, &write);
	err = err ?: find_read_done(inspection);
	return err ?: find_behind(inspection, &read);
}

int openssl_binary_version(const struct elf_image *image, char *ret, unsigned int size)
{
	int err = c_program_version(image, "OpenSSL 3.", 8, ret, size);

	return err ? c_program_version(image, "OpenSSL 1.", 8, ret, size) : 0;
}

int openssl_binary_inspect(const struct elf_image *image, struct binary *ret)
{
	struct inspection inspection = {.image = image, .binary = ret};
	struct elf_symbol symbol;
	int err = elf_symbol_find(image, "SSL_read", &symbol);

	if (err)
		return err == -ENODATA ? -ENOENT : err;
	ret->way = WAY_OPENSSL;
	if (!elf_symbol_find(image, "SSL_CTX_set_grease_enabled", &symbol)) {
		binary_refuse(ret, "this is BoringSSL" INSTEAD);
		return 0;
	}
	/* a library leaves saying so to its other half, libcrypto */
	if (openssl_binary_version(image, ret->version, sizeof(ret->version)))
		ret->version[0] = 0;
	inspection.layout.tls.amount = PT_TLS_AMOUNT_POINTER;
	err = find_all(&inspection);
	if (err == -ENOTSUP)
		ret->sites_count = 0;
	return err == -ENOTSUP ? 0 : err;
}
