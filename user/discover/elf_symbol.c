/* SPDX-License-Identifier: MIT */
#include "discover/elf_symbol.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

/* A chain of the hash table holds a few symbols; a crafted one may never end. */
#define CHAIN_MAX 4096
#define NAME_MAX_BYTES 128
#define BLOCK_SYMBOLS 128
/* Large servers with their symbols left in have some 100,000. */
#define SYMBOLS_MAX (256ull * 1024)

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	for (; *name; name++)
		h = h * 33 + (uint8_t)*name;
	return h;
}

static int read_at(const struct elf_image *image, uint64_t address, void *ret, uint64_t size)
{
	uint64_t offset = 0;
	int err = elf_image_offset(image, address, &offset);

	return err ? err : byte_source_read(image->source, offset, ret, size);
}

static bool is_defined(const Elf64_Sym *symbol)
{
	return symbol->st_shndx != SHN_UNDEF && symbol->st_value &&
	       ELF64_ST_TYPE(symbol->st_info) != STT_TLS;
}

/* The dynamic symbol of that index, if it is the one that is looked for. */
static int match(const struct elf_image *image, uint32_t index, const char *name,
		 struct elf_symbol *ret)
{
	char found[NAME_MAX_BYTES];
	uint64_t offset = 0;
	Elf64_Sym symbol;
	int n = read_at(image, image->symbols_address + index * sizeof(symbol), &symbol,
			sizeof(symbol));

	n = n ?: elf_image_offset(image, image->strings_address + symbol.st_name, &offset);
	if (n)
		return n;
	n = byte_source_string(image->source, offset, found, sizeof(found));
	if (n < 0)
		return n;
	if (strcmp(found, name) != 0 || !is_defined(&symbol))
		return -ENOENT;
	*ret = (struct elf_symbol){symbol.st_value, symbol.st_size};
	return 0;
}

/* The table that the dynamic linker itself uses; it needs no section headers. */
int elf_symbol_exported(const struct elf_image *image, const char *name, struct elf_symbol *ret)
{
	uint32_t header[4], hash = gnu_hash(name),
			    index = 0; /* buckets, first, bloom words, shift */
	uint64_t buckets, chains;
	int err;

	if (!image->gnu_hash_address || !image->symbols_address || !image->strings_address)
		return -ENOENT;
	err = read_at(image, image->gnu_hash_address, header, sizeof(header));
	if (err)
		return err;
	if (!header[0])
		return -ENOENT;
	buckets = image->gnu_hash_address + sizeof(header) + header[2] * 8ull;
	chains = buckets + header[0] * 4ull;
	err = read_at(image, buckets + hash % header[0] * 4ull, &index, sizeof(index));
	if (err || index < header[1])
		return err ?: -ENOENT;
	for (uint32_t i = 0; i < CHAIN_MAX; i++, index++) {
		uint32_t chain = 0;

		err = read_at(image, chains + (index - header[1]) * 4ull, &chain, sizeof(chain));
		if (!err && (chain | 1) == (hash | 1))
			err = match(image, index, name, ret);
		else if (!err)
			err = -ENOENT;
		if (err != -ENOENT || chain & 1) /* its last bit ends a chain */
			return err;
	}
	return -ENOENT;
}

static int find_kept(const struct elf_image *image, const char *name, struct elf_symbol *ret)
{
	uint64_t offset = 0, size = 0, strings = 0, strings_size = 0;
	Elf64_Sym block[BLOCK_SYMBOLS];
	char found[NAME_MAX_BYTES];
	int err = elf_image_section(image, ".symtab", &offset, &size);

	err = err ?: elf_image_section(image, ".strtab", &strings, &strings_size);
	if (err)
		return err;
	size /= sizeof(block[0]);
	if (size > SYMBOLS_MAX)
		size = SYMBOLS_MAX;
	for (uint64_t i = 0; i < size; i += BLOCK_SYMBOLS) {
		uint64_t count = size - i < BLOCK_SYMBOLS ? size - i : BLOCK_SYMBOLS;

		err = byte_source_read(image->source, offset + i * sizeof(block[0]), block,
				       count * sizeof(block[0]));
		if (err)
			return err;
		for (uint64_t k = 0; k < count; k++) {
			if (!is_defined(&block[k]) || block[k].st_name >= strings_size)
				continue;
			err = byte_source_string(image->source, strings + block[k].st_name, found,
						 sizeof(found));
			if (err < 0)
				return err;
			if (strcmp(found, name) != 0)
				continue;
			*ret = (struct elf_symbol){block[k].st_value, block[k].st_size};
			return 0;
		}
	}
	return -ENOENT;
}

int elf_symbol_find(const struct elf_image *image, const char *name, struct elf_symbol *ret)
{
	int err = elf_symbol_exported(image, name, ret);

	return err == -ENOENT || err == -ENODATA ? find_kept(image, name, ret) : err;
}
