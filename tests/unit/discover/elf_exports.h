/* SPDX-License-Identifier: MIT */
/*
 * The symbols that an ELF file exports, in memory: a table, names of 63 bytes at most, and a hash
 * table of one bucket. Of the dynamic section the first three entries.
 */
#ifndef TESTS_UNIT_DISCOVER_ELF_EXPORTS_H
#define TESTS_UNIT_DISCOVER_ELF_EXPORTS_H

#include "elf_bytes.h"

struct elf_exports {
	uint8_t *bytes; /* all zeroes where the following lie, in the file and the first segment */
	uint64_t dynamic, symbols, names, hash;
	unsigned int count;
};

static inline void elf_exports_word(struct elf_exports *exports, uint64_t at, uint32_t word)
{
	memcpy(exports->bytes + exports->hash + at, &word, sizeof(word));
}

/* Adds one, which is the last one until another is added. */
static inline void elf_exports_add(struct elf_exports *exports, const char *name, uint64_t address,
				   uint64_t size)
{
	uint64_t at = 1 + exports->count * 64ull;
	const Elf64_Sym symbol = {
		.st_name = (uint32_t)at,
		.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
		.st_shndx = 1,
		.st_value = address,
		.st_size = size,
	};
	const Elf64_Dyn dynamic[3] = {
		{DT_SYMTAB, {ELF_BYTES_BASE + exports->symbols}},
		{DT_STRTAB, {ELF_BYTES_BASE + exports->names}},
		{DT_GNU_HASH, {ELF_BYTES_BASE + exports->hash}},
	};
	uint32_t hash = 5381, before = 0;
	/* four numbers, one word of the filter, one bucket */
	uint64_t chain = 28 + exports->count * 4ull;

	for (const char *c = name; *c; c++)
		hash = hash * 33 + (uint8_t)*c;
	strcpy((char *)exports->bytes + exports->names + at, name);
	exports->count++;
	memcpy(exports->bytes + exports->symbols + exports->count * sizeof(symbol), &symbol,
	       sizeof(symbol));
	memcpy(exports->bytes + exports->dynamic, dynamic, sizeof(dynamic));
	/* buckets, first symbol, words of the filter; the bucket */
	for (unsigned int i = 0; i < 3; i++)
		elf_exports_word(exports, i * 4ull, 1);
	elf_exports_word(exports, 24, 1);
	/* the last bit ends the chain */
	if (exports->count > 1) {
		memcpy(&before, exports->bytes + exports->hash + chain - 4, sizeof(before));
		elf_exports_word(exports, chain - 4, before & ~1u);
	}
	elf_exports_word(exports, chain, hash | 1);
}

#endif
