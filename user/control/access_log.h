/* SPDX-License-Identifier: MIT */
/*
 * Follows an access log of the combined format (docker-registry's, nginx's, apache's) and counts
 * the manifest replies in it that pulltap should have counted. Follows a rotation by the file's
 * inode, by truncation too, and can go on where an earlier agent stopped. One thread owns it.
 */
#ifndef PULLTAP_CONTROL_ACCESS_LOG_H
#define PULLTAP_CONTROL_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/*
 * A line without its newline: 1 it is a manifest reply that counts, 0 it is another request,
 * -1 it is no line of a combined log. Pure.
 */
int access_log_line(const char *line, size_t length);

struct access_log;

struct access_log_place {
	uint64_t device, inode, offset;
};

/* path must live as long. Nothing is opened yet. */
must_check int access_log_new(struct access_log **ret, const char *path);
void access_log_free(struct access_log **log);

/* Begins at the file's end. -errno when it can't be opened. */
must_check int access_log_seek_end(struct access_log *log);

/*
 * Begins where access_log_place() was; the file may have been renamed within its folder meanwhile.
 * -ESTALE: it is gone or shorter.
 */
must_check int access_log_seek(struct access_log *log, const struct access_log_place *place);

/*
 * Adds what was written since to *count, 16 MiB at most: *ret_more says that there is more. -errno
 * when the file can't be read; a path that is missing during a rotation is no error.
 */
must_check int access_log_read(struct access_log *log, uint64_t *count, bool *ret_more);

/* Behind the last whole line that was read. */
struct access_log_place access_log_place(const struct access_log *log);

/* Lines so far that were none of a combined log. */
uint64_t access_log_foreign(const struct access_log *log);

#endif
