/* SPDX-License-Identifier: MIT */
/*
 * Functions and tables of a C program by their names: those that it exports to its modules, which
 * survive strip, else those of a symbol table that was left in. Pure; every number in the file is
 * taken as hostile.
 */
#ifndef PULLTAP_DISCOVER_ELF_SYMBOL_H
#define PULLTAP_DISCOVER_ELF_SYMBOL_H

#include <stdint.h>

#include "discover/elf_image.h"

struct elf_symbol {
	uint64_t address;
	uint64_t size; /* as the file says, may be 0 */
};

/* -ENOENT when the file defines no such symbol; else a reading error. */
must_check int elf_symbol_find(const struct elf_image *image, const char *name,
			       struct elf_symbol *ret);

/* The same for an exported one alone, which takes a few reads however large the file is. */
must_check int elf_symbol_exported(const struct elf_image *image, const char *name,
				   struct elf_symbol *ret);

#endif
