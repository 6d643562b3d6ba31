/* SPDX-License-Identifier: MIT */
/*
 * Bounded reading of a file that somebody else owns. The file is never mapped: it belongs to a
 * container that may truncate it while it is read, and a fault on a lost page (SIGBUS) would end
 * the agent. Instead pread fills a few chunks, so memory stays at 1 MiB whatever the file's
 * size, a lost tail is -ENODATA, and a file made to be read in circles runs out of budget.
 * One thread per source. Failures are returned, nothing is logged.
 */
#ifndef PULLTAP_DISCOVER_BYTE_SOURCE_H
#define PULLTAP_DISCOVER_BYTE_SOURCE_H

#include <stdint.h>

#include "base/cleanup.h"

struct byte_source;

/* fd is borrowed and must outlive the source; its file offset is left alone. */
must_check int byte_source_new_file(int fd, struct byte_source **ret);
/* The bytes are borrowed and must outlive the source. */
must_check int byte_source_new_memory(const void *bytes, uint64_t size, struct byte_source **ret);
void byte_source_free(struct byte_source **source);

/*
 * All or nothing: 0, -ENODATA when the range is not wholly inside the file, -E2BIG when the
 * budget of bytes is used up, -errno of pread.
 */
must_check int byte_source_read(struct byte_source *source, uint64_t offset, void *ret,
				uint64_t size);

/*
 * A NUL-terminated string, cut to size - 1 bytes; ret is always terminated. Returns its length in
 * the file as far as it was read (size - 1 means it may go on), or an error as above.
 */
must_check int byte_source_string(struct byte_source *source, uint64_t offset, char *ret,
				  unsigned int size);

#endif
