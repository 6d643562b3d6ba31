/* SPDX-License-Identifier: MIT */
/*
 * An x86-64 ELF file as the kernel would load it: segments, sections by name if there are any,
 * pointers as they are after RELATIVE relocation. Every number in the file is taken as hostile.
 * Pure, one thread per image; failures are returned.
 */
#ifndef PULLTAP_DISCOVER_ELF_IMAGE_H
#define PULLTAP_DISCOVER_ELF_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "discover/byte_source.h"

/* Linkers write 3 to 12 of each; what lies beyond is ignored. */
#define ELF_IMAGE_SEGMENTS 32
#define ELF_IMAGE_NOTES 8

struct elf_segment {
	uint64_t offset;
	uint64_t address;
	uint64_t size; /* in the file */
	bool executable;
	bool writable;
};

struct elf_image {
	struct byte_source *source; /* borrowed */
	struct elf_segment loads[ELF_IMAGE_SEGMENTS];
	unsigned int loads_count;
	struct elf_segment notes[ELF_IMAGE_NOTES];
	unsigned int notes_count;
	uint64_t sections_offset;
	unsigned int sections_count;
	uint64_t section_names_offset;
	uint64_t section_names_size;
	uint64_t relocations_offset; /* Elf64_Rela, as PT_DYNAMIC says */
	uint64_t relocations_count;
	/* of the dynamic symbols, addresses as PT_DYNAMIC says; 0: none */
	uint64_t symbols_address;
	uint64_t strings_address;
	uint64_t gnu_hash_address;
};

/* 0, -ENOEXEC when it is no x86-64 ELF, or a reading error. source must outlive the image. */
must_check int elf_image_init(struct elf_image *image, struct byte_source *source);

/* -ENOENT when the file has no such section (stripped of section headers, or NOBITS). */
must_check int elf_image_section(const struct elf_image *image, const char *name,
				 uint64_t *ret_offset, uint64_t *ret_size);

/* Where a virtual address lies in the file and back; -ENOENT when no segment holds it. */
must_check int elf_image_offset(const struct elf_image *image, uint64_t address,
				uint64_t *ret_offset);
must_check int elf_image_address(const struct elf_image *image, uint64_t offset,
				 uint64_t *ret_address);
/* The segment whose file range holds offset, or NULL. */
const struct elf_segment *elf_image_segment(const struct elf_image *image, uint64_t offset);
bool elf_image_is_code(const struct elf_image *image, uint64_t address);

/*
 * count words (at most 64) at a virtual address as the program sees them: where a RELATIVE
 * relocation fills a word its addend is taken, for position-independent files hold zeroes there.
 */
must_check int elf_image_words(const struct elf_image *image, uint64_t address, unsigned int count,
			       uint64_t *ret);

/*
 * Calls visit with the address of each place that holds these bytes (at most 64), in the segments
 * that can't be written. visit returns 0 to go on; anything else ends the search and is returned.
 * 0 when all was searched; -E2BIG when there is more than limit to search.
 */
must_check int elf_image_each_bytes(const struct elf_image *image, const void *bytes,
				    unsigned int size, uint64_t limit,
				    int (*visit)(void *context, uint64_t address), void *context);

/*
 * Calls visit with the address of each aligned word that will hold value. visit returns 0 to go
 * on; anything else ends the search and is returned. 0 when all was searched.
 */
must_check int elf_image_each_pointer(const struct elf_image *image, uint64_t value,
				      int (*visit)(void *context, uint64_t address), void *context);

#endif
