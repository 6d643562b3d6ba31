/* SPDX-License-Identifier: MIT */
/*
 * The function table that every Go binary carries, stripped or not, because the runtime itself
 * walks stacks with it. Layouts of Go 1.2, 1.16, 1.18 and 1.20 and later (fields as
 * runtime/symtab.go and debug/gosym have them). Pure; hostile content is refused, never followed
 * out of the file.
 */
#ifndef PULLTAP_DISCOVER_GO_PCLNTAB_H
#define PULLTAP_DISCOVER_GO_PCLNTAB_H

#include <stdint.h>

#include "discover/elf_image.h"

/* Bytes of a name that are looked at; instantiated generics have longer ones. */
#define GO_FUNCTION_NAME 512

struct go_pclntab {
	const struct elf_image *image; /* borrowed */
	uint32_t magic;
	uint64_t start; /* all offsets are the file's */
	uint64_t limit; /* end of the segment that holds the table */
	uint64_t names;
	uint64_t table; /* (pc, offset of the function's record) pairs, sorted by pc */
	uint64_t records; /* what the offsets in table count from */
	uint64_t functions;
	uint64_t text; /* address that pcs count from; 0 when they are absolute */
	bool text_unknown; /* names can be walked, entries mean nothing */
};

struct go_function {
	const char *name; /* cut to GO_FUNCTION_NAME - 1 bytes; valid during the visit */
	unsigned int length;
	uint64_t entry; /* virtual addresses */
	uint64_t end;
};

/*
 * Finds the table by its section, else by its magic in the segments. -ENOENT: none, so it is not
 * Go as the usual compiler makes it; else a reading error.
 */
must_check int go_pclntab_find(const struct elf_image *image, struct go_pclntab *ret);

/*
 * Visits every function in the order of addresses. visit returns 0 to go on; anything else ends
 * the walk and is returned. Records that lead nowhere are skipped; a table that can't be read
 * ends the walk with the reading error.
 */
must_check int go_pclntab_each(const struct go_pclntab *table,
			       int (*visit)(void *context, const struct go_function *function),
			       void *context);

#endif
