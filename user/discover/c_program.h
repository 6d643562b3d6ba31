/* SPDX-License-Identifier: MIT */
/*
 * What servers written in C have in common: the text they tell their version with, and functions
 * found by their names. Pure.
 */
#ifndef PULLTAP_DISCOVER_C_PROGRAM_H
#define PULLTAP_DISCOVER_C_PROGRAM_H

#include "discover/elf_image.h"
#include "discover/elf_symbol.h"

/*
 * The printable text, without blanks, at the first place that holds prefix; skip bytes of it are
 * left out. -ENOENT: it is nowhere.
 */
must_check int c_program_version(const struct elf_image *image, const char *prefix,
				 unsigned int skip, char *ret, unsigned int size);

/*
 * Reads a function's code, ENTRY_SITE_CODE bytes at most, and says how many they are and where in
 * the file. -ENOENT when that is no code, or a reading error.
 */
must_check int c_program_code(const struct elf_image *image, const struct elf_symbol *symbol,
			      uint8_t *ret, uint64_t *ret_size, uint64_t *ret_offset);

#endif
