/* SPDX-License-Identifier: MIT */
#include "discover/go_pclntab.h"

#include <errno.h>
#include <string.h>

#define MAGIC_GO_1_2 0xfffffffbu
#define MAGIC_GO_1_16 0xfffffffau
#define MAGIC_GO_1_18 0xfffffff0u
#define MAGIC_GO_1_20 0xfffffff1u

/* The largest Go programs have some 500,000. */
#define FUNCTIONS_MAX (4ull * 1024 * 1024)
#define BLOCK_BYTES 8192

/* Offsets in runtime.moduledata, the same from Go 1.16 on. */
#define MODULEDATA_WORDS 23
#define MODULEDATA_NAMES 1 /* index of funcnametab's pointer */
#define MODULEDATA_MINPC 20
#define MODULEDATA_MAXPC 21
#define MODULEDATA_TEXT 22 /* byte offset 176 */

static bool relative_pcs(const struct go_pclntab *table)
{
	return table->magic == MAGIC_GO_1_18 || table->magic == MAGIC_GO_1_20;
}

static unsigned int pair_bytes(const struct go_pclntab *table)
{
	return relative_pcs(table) ? 8 : 16;
}

static bool known_magic(uint32_t magic)
{
	return magic == MAGIC_GO_1_2 || magic == MAGIC_GO_1_16 || magic == MAGIC_GO_1_18 ||
	       magic == MAGIC_GO_1_20;
}

/* The first eight bytes: magic, two zeroes, instruction size 1 and pointer size 8 on x86-64. */
static bool looks_like_header(uint64_t word)
{
	return known_magic((uint32_t)word) && word >> 32 == 0x08010000u;
}

/* A pc and the offset of its function's record; i == functions gives the end of the code. */
static int read_pair(const struct go_pclntab *table, uint64_t i, uint64_t *ret_pc,
		     uint64_t *ret_record)
{
	uint64_t at = table->table + i * pair_bytes(table);
	int err;

	if (relative_pcs(table)) {
		uint32_t pair[2] = {0};

		err = byte_source_read(table->image->source, at, pair,
				       i < table->functions ? 8 : 4);
		*ret_pc = table->text + pair[0];
		*ret_record = pair[1];
	} else {
		uint64_t pair[2] = {0};

		err = byte_source_read(table->image->source, at, pair,
				       i < table->functions ? 16 : 8);
		*ret_pc = pair[0];
		*ret_record = pair[1];
	}
	return err;
}

/* Returns the name's length, or a negative errno when the record leads nowhere. */
static int read_name(const struct go_pclntab *table, uint64_t record, char *ret)
{
	/* behind the entry, which is a pointer before Go 1.18 and an offset from then on */
	unsigned int field = relative_pcs(table) ? 4 : 8;
	uint64_t room = table->limit - table->records;
	int32_t name = 0;
	int err;

	if (record >= room || room - record < field + sizeof(name))
		return -ENODATA;
	err = byte_source_read(table->image->source, table->records + record + field, &name,
			       sizeof(name));
	if (err)
		return err;
	if (name < 0 || (uint64_t)name >= table->limit - table->names)
		return -ENODATA;
	return byte_source_string(table->image->source, table->names + (uint64_t)name, ret,
				  GO_FUNCTION_NAME);
}

/* Fills all but text from the header; -ENOENT when it is not what a linker writes. */
static int read_header(struct go_pclntab *table)
{
	uint64_t room = table->limit - table->start;
	uint64_t words[9] = {0}; /* the newest header is nine words */
	unsigned int names = relative_pcs(table) ? 4 : 3;
	unsigned int records = names + 4;
	uint64_t first_pc = 0, last_pc = 0, record = 0;
	uint64_t bytes = table->magic == MAGIC_GO_1_2 ? 16 : (records + 1) * 8;
	char name[GO_FUNCTION_NAME];
	int err;

	if (room < bytes)
		return -ENOENT;
	err = byte_source_read(table->image->source, table->start, words, bytes);
	if (err)
		return err;
	table->functions = words[1];
	if (!table->functions || table->functions > FUNCTIONS_MAX)
		return -ENOENT;
	if (table->magic == MAGIC_GO_1_2) {
		table->names = table->start;
		table->records = table->start;
		table->table = table->start + 16;
	} else {
		if (words[names] >= room || words[records] >= room)
			return -ENOENT;
		table->names = table->start + words[names];
		table->records = table->start + words[records];
		table->table = table->records;
	}
	if ((table->limit - table->table) / pair_bytes(table) <= table->functions)
		return -ENOENT;

	/* the table must lead somewhere: magics occur in debuggers' code as well */
	err = read_pair(table, table->functions, &last_pc, &record);
	if (!err)
		err = read_pair(table, 0, &first_pc, &record);
	if (err)
		return err;
	if (first_pc >= last_pc || read_name(table, record, name) <= 0)
		return -ENOENT;
	return 0;
}

struct module_search {
	const struct go_pclntab *table;
	uint64_t table_address;
	uint64_t first; /* pcs relative to the text */
	uint64_t last;
	unsigned int candidates;
	uint64_t text;
};

/* moduledata is proven by its pointers: to the names, and to the first and last pc. */
static int check_module(void *context, uint64_t address)
{
	struct module_search *search = context;
	uint64_t words[MODULEDATA_WORDS] = {0};
	uint64_t text;
	int err;

	/* each costs a walk over the relocations; a program has one or two such pointers */
	if (++search->candidates > 16)
		return -ENOTSUP;
	err = elf_image_words(search->table->image, address, MODULEDATA_WORDS, words);
	if (err == -ENOENT || err == -ENODATA)
		return 0;
	if (err)
		return err;
	text = words[MODULEDATA_TEXT];
	if (words[MODULEDATA_NAMES] !=
		    search->table_address + (search->table->names - search->table->start) ||
	    words[MODULEDATA_MINPC] != text + search->first ||
	    words[MODULEDATA_MAXPC] != text + search->last)
		return 0;
	search->text = text;
	return 1;
}

/*
 * Go 1.18 to 1.25 write the start of the code into the header (in position-independent files by a
 * relocation). Go 1.26 leaves it zero, there only moduledata knows. The start of the section
 * .text is no substitute: with cgo the C start files come first.
 */
static int find_text(struct go_pclntab *table)
{
	struct module_search search = {.table = table};
	uint64_t header_text = 0;
	uint64_t unused = 0;
	int err;

	err = elf_image_address(table->image, table->start, &search.table_address);
	if (!err)
		err = elf_image_words(table->image, search.table_address + 24, 1, &header_text);
	if (err)
		return err;
	if (header_text && elf_image_is_code(table->image, header_text)) {
		table->text = header_text;
		return 0;
	}
	err = read_pair(table, 0, &search.first, &unused);
	if (!err)
		err = read_pair(table, table->functions, &search.last, &unused);
	if (!err)
		err = elf_image_each_pointer(table->image, search.table_address, check_module,
					     &search);
	if (err < 0)
		return err;
	if (!search.text || !elf_image_is_code(table->image, search.text))
		return -ENOTSUP;
	table->text = search.text;
	return 0;
}

/* Takes the table at a file offset when a whole and sane one is there. */
static int try_offset(const struct elf_image *image, uint64_t offset, struct go_pclntab *ret)
{
	const struct elf_segment *load = elf_image_segment(image, offset);
	struct go_pclntab table = {.image = image, .start = offset};
	uint64_t word = 0;
	int err;

	if (!load)
		return -ENOENT;
	table.limit = load->offset + load->size;
	err = byte_source_read(image->source, offset, &word, sizeof(word));
	if (err)
		return err;
	if (!looks_like_header(word))
		return -ENOENT;
	table.magic = (uint32_t)word;
	err = read_header(&table);
	if (!err && relative_pcs(&table))
		err = find_text(&table);
	table.text_unknown = err == -ENOTSUP;
	if (err && err != -ENOTSUP)
		return err;
	*ret = table;
	return 0;
}

/*
 * Magics in code are no tables: debuggers and profilers hold them as constants. try_offset tells,
 * and what it refuses is passed over.
 */
static int scan_segment(const struct elf_image *image, const struct elf_segment *load,
			struct go_pclntab *ret)
{
	uint64_t block[BLOCK_BYTES / 8];
	uint64_t i = -load->address % 8;

	while (i < load->size && load->size - i >= 8) {
		uint64_t n = (load->size - i) / 8;
		int err;

		if (n > BLOCK_BYTES / 8)
			n = BLOCK_BYTES / 8;
		err = byte_source_read(image->source, load->offset + i, block, n * 8);
		if (err)
			return err == -ENODATA ? -ENOENT : err;
		for (uint64_t k = 0; k < n; k++) {
			if (!looks_like_header(block[k]))
				continue;
			err = try_offset(image, load->offset + i + k * 8, ret);
			if (!err || err == -E2BIG)
				return err;
		}
		i += n * 8;
	}
	return -ENOENT;
}

int go_pclntab_find(const struct elf_image *image, struct go_pclntab *ret)
{
	static const char *const sections[] = {".gopclntab", ".data.rel.ro.gopclntab"};

	for (unsigned int i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		uint64_t offset = 0;
		uint64_t size = 0;
		int err = elf_image_section(image, sections[i], &offset, &size);

		if (!err)
			err = try_offset(image, offset, ret);
		if (!err || err == -E2BIG)
			return err;
	}
	for (unsigned int i = 0; i < image->loads_count; i++) {
		int err = scan_segment(image, &image->loads[i], ret);

		if (!err || err == -E2BIG)
			return err;
	}
	return -ENOENT;
}

/* One pair out of a block that read_block filled. */
static void pair_at(const struct go_pclntab *table, const uint8_t *block, uint64_t i,
		    uint64_t *ret_pc, uint64_t *ret_record)
{
	if (relative_pcs(table)) {
		uint32_t pair[2];

		memcpy(pair, block + i * sizeof(pair), sizeof(pair));
		*ret_pc = table->text + pair[0];
		*ret_record = pair[1];
	} else {
		uint64_t pair[2];

		memcpy(pair, block + i * sizeof(pair), sizeof(pair));
		*ret_pc = pair[0];
		*ret_record = pair[1];
	}
}

int go_pclntab_each(const struct go_pclntab *table,
		    int (*visit)(void *context, const struct go_function *function), void *context)
{
	/* a pair's end is its successor's start, hence one pair more than is visited per block */
	uint64_t per_block = BLOCK_BYTES / pair_bytes(table) - 1;
	uint8_t block[BLOCK_BYTES];
	char name[GO_FUNCTION_NAME];

	for (uint64_t i = 0; i < table->functions; i += per_block) {
		uint64_t n = table->functions - i < per_block ? table->functions - i : per_block;
		uint64_t pc = 0, record = 0, next = 0, next_record = 0;
		/* the last pair has no record: half of it belongs to the table */
		uint64_t bytes = n * pair_bytes(table) + pair_bytes(table) / 2;
		int err;

		memset(block + bytes, 0, pair_bytes(table) / 2);
		err = byte_source_read(table->image->source, table->table + i * pair_bytes(table),
				       block, bytes);
		if (err)
			return err;
		pair_at(table, block, 0, &pc, &record);
		for (uint64_t k = 0; k < n; k++, pc = next, record = next_record) {
			struct go_function function = {.name = name, .entry = pc};
			int length;

			pair_at(table, block, k + 1, &next, &next_record);
			length = read_name(table, record, name);
			if (length == -ENODATA || next <= pc)
				continue;
			if (length < 0)
				return length;
			function.length = (unsigned int)length;
			function.end = next;
			err = visit(context, &function);
			if (err)
				return err;
		}
	}
	return 0;
}
