/* SPDX-License-Identifier: MIT */
/*
 * The entry programs, which the probes are attached to, and the slots that say which set of
 * programs counts (bpf/entry.bpf.c). Pinned once under entry/ beside the links; every later build
 * uses what is there.
 */
#ifndef PULLTAP_ATTACH_ENTRY_H
#define PULLTAP_ATTACH_ENTRY_H

#include <stdint.h>

#include "../../bpf/abi.h"
#include "base/cleanup.h"

struct entry {
	int slots_fd;
	int lost_fd;
	int program_fd[PT_ENTRY_COUNT];
	uint32_t program_id[PT_ENTRY_COUNT];
};
#define ENTRY_NONE                                                                                 \
	(struct entry)                                                                             \
	{                                                                                          \
		.slots_fd = -1, .lost_fd = -1, .program_fd = { [0 ... PT_ENTRY_COUNT - 1] = -1 }   \
	}

/* Makes and pins under path/entry what is missing there. Errors as of kernel_load(). */
must_check int entry_make(const char *path);

must_check int entry_open(struct entry *entry, const char *path);
void entry_close(struct entry *entry);

/* From here on every hit of that entry runs this program: at each moment one, never both. */
must_check int entry_set(const struct entry *entry, enum pt_entry index, int program_fd);

/* Id of the program behind an entry; 0 when there is none. */
uint32_t entry_get(const struct entry *entry, enum pt_entry index);

/* Hits that found no program, ever. */
must_check int entry_lost(const struct entry *entry, uint64_t *ret);

#endif
