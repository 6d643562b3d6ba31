/* SPDX-License-Identifier: MIT */
/*
 * A small Go binary as linkers of different versions would write it, in memory: one segment with
 * code and function table, a second with data (moduledata, build info) when asked for. For layouts
 * that no compiler at hand makes, and for what must be refused.
 */
#ifndef TESTS_UNIT_DISCOVER_GO_IMAGE_H
#define TESTS_UNIT_DISCOVER_GO_IMAGE_H

#include <stdint.h>
#include <string.h>

#include "elf_bytes.h"

#define GO_IMAGE_BYTES 32768
#define GO_IMAGE_BASE ELF_BYTES_BASE
#define GO_IMAGE_CODE 0x1000
#define GO_IMAGE_FUNCTION 64 /* bytes of each */
#define GO_IMAGE_TABLE 0x3000
#define GO_IMAGE_DATA 0x6000
#define GO_IMAGE_MODULE 0x6100
#define GO_IMAGE_RELOCATIONS 0x6800
#define GO_IMAGE_DYNAMIC 0x6f00

#define GO_IMAGE_1_2 0xfffffffbu
#define GO_IMAGE_1_16 0xfffffffau
#define GO_IMAGE_1_18 0xfffffff0u
#define GO_IMAGE_1_20 0xfffffff1u

/* cmp 16(r14), rsp; jbe +40 */
#define GO_IMAGE_PROLOGUE "\x49\x3b\x66\x10\x76\x28"
/* mov fs:-8, rcx; cmp 16(rcx), rsp; jbe +40 */
#define GO_IMAGE_OLD_PROLOGUE "\x64\x48\x8b\x0c\x25\xf8\xff\xff\xff\x48\x3b\x61\x10\x76\x28"

struct go_image {
	uint8_t bytes[GO_IMAGE_BYTES];
	uint32_t magic;
	const char *prologue;
	const char *const *names; /* NULL-terminated */
	unsigned int names_count;
	bool zero_text; /* as Go 1.26: the header does not say where the code starts */
	bool module; /* moduledata in the data segment */
	bool relocated; /* its pointers by RELATIVE relocations, zero in the file */
	const char *version; /* build info, inline */
};

static inline void go_image_word(struct go_image *image, uint64_t at, uint64_t value,
				 unsigned int bytes)
{
	memcpy(image->bytes + at, &value, bytes);
}

static inline void go_image_headers(struct go_image *image)
{
	const struct elf_bytes elf = {
		.size = GO_IMAGE_BYTES,
		.data = GO_IMAGE_DATA,
		.dynamic = GO_IMAGE_DYNAMIC,
		.dynamic_count = 3,
		.relocated = image->relocated,
	};

	elf_bytes_head(image->bytes, &elf);
}

/*
 * The function table: header, pairs, records, names. Returns the offset of the names from its
 * start.
 */
static inline uint64_t go_image_table(struct go_image *image)
{
	bool relative = image->magic == GO_IMAGE_1_18 || image->magic == GO_IMAGE_1_20;
	bool split = image->magic != GO_IMAGE_1_2;
	uint64_t text = GO_IMAGE_BASE + GO_IMAGE_CODE;
	uint64_t start = GO_IMAGE_TABLE;
	uint64_t header = !split ? 16 : relative ? 72 : 64;
	uint64_t pairs = start + header;
	uint64_t pair = relative ? 4 : 8;
	uint64_t records = pairs + (2 * image->names_count + 1) * pair;
	uint64_t names = records + 64ull * image->names_count;
	uint64_t names_base = split ? names : start;
	uint64_t records_base = split ? pairs : start;

	go_image_word(image, start, image->magic, 4);
	image->bytes[start + 6] = 1;
	image->bytes[start + 7] = 8;
	go_image_word(image, start + 8, image->names_count, 8);
	if (relative) {
		go_image_word(image, start + 24, image->zero_text || image->relocated ? 0 : text,
			      8);
		go_image_word(image, start + 32, names - start, 8);
		go_image_word(image, start + 64, pairs - start, 8);
	} else if (split) {
		go_image_word(image, start + 24, names - start, 8);
		go_image_word(image, start + 56, pairs - start, 8);
	}
	for (unsigned int i = 0; i <= image->names_count; i++) {
		uint64_t pc = (relative ? 0 : text) + (uint64_t)i * GO_IMAGE_FUNCTION;
		uint64_t record = records + 64ull * i;

		go_image_word(image, pairs + 2 * i * pair, pc, (unsigned int)pair);
		if (i == image->names_count)
			break;
		go_image_word(image, pairs + (2 * i + 1) * pair, record - records_base,
			      (unsigned int)pair);
		go_image_word(image, record, pc, (unsigned int)pair);
		go_image_word(image, record + pair, names - names_base, 4);
		strcpy((char *)image->bytes + names, image->names[i]);
		names += strlen(image->names[i]) + 1;
	}
	return names_base - start;
}

static inline void go_image_pointer(struct go_image *image, uint64_t at, uint64_t value,
				    unsigned int *relocations)
{
	Elf64_Rela rela = elf_bytes_relative(at, value);

	if (!image->relocated) {
		go_image_word(image, at, value, 8);
		return;
	}
	memcpy(image->bytes + GO_IMAGE_RELOCATIONS + *relocations * sizeof(rela), &rela,
	       sizeof(rela));
	++*relocations;
}

static inline void go_image_module(struct go_image *image, uint64_t names)
{
	uint64_t text = GO_IMAGE_BASE + GO_IMAGE_CODE;
	uint64_t table = GO_IMAGE_BASE + GO_IMAGE_TABLE;
	unsigned int n = 0;
	Elf64_Dyn dynamic[3] = {{0}};

	go_image_pointer(image, GO_IMAGE_MODULE - 64, table, &n); /* one that is none */
	go_image_pointer(image, GO_IMAGE_MODULE, table, &n);
	go_image_pointer(image, GO_IMAGE_MODULE + 8, table + names, &n);
	go_image_pointer(image, GO_IMAGE_MODULE + 160, text, &n);
	go_image_pointer(image, GO_IMAGE_MODULE + 168,
			 text + (uint64_t)image->names_count * GO_IMAGE_FUNCTION, &n);
	go_image_pointer(image, GO_IMAGE_MODULE + 176, text, &n);
	dynamic[0].d_tag = DT_RELA;
	dynamic[0].d_un.d_ptr = elf_bytes_data(GO_IMAGE_RELOCATIONS);
	dynamic[1].d_tag = DT_RELASZ;
	dynamic[1].d_un.d_val = n * sizeof(Elf64_Rela);
	memcpy(image->bytes + GO_IMAGE_DYNAMIC, dynamic, sizeof(dynamic));
}

static inline void go_image_build(struct go_image *image)
{
	uint64_t names;

	memset(image->bytes, 0, sizeof(image->bytes));
	image->names_count = 0;
	while (image->names[image->names_count])
		image->names_count++;
	go_image_headers(image);
	for (unsigned int i = 0; i < image->names_count; i++)
		memcpy(image->bytes + GO_IMAGE_CODE + (size_t)i * GO_IMAGE_FUNCTION,
		       image->prologue, strlen(image->prologue));
	names = go_image_table(image);
	if (image->module)
		go_image_module(image, names);
	if (image->version) {
		/* magic, pointer size 8, strings inline */
		static const uint8_t header[16] = {0xff, ' ', 'G', 'o', ' ', 'b', 'u', 'i',
						   'l',	 'd', 'i', 'n', 'f', ':', 8,   2};
		uint8_t *blob = image->bytes + GO_IMAGE_DATA + 32;

		memcpy(blob, header, sizeof(header));
		blob[32] = (uint8_t)strlen(image->version);
		strcpy((char *)blob + 33, image->version);
	}
}

#endif
