/* SPDX-License-Identifier: MIT */
/*
 * What inspected files turned out to be. Most programs that start are of no interest and start
 * again and again: those cost a stat and no reading. Bounded to CATALOG_FILES files, the oldest
 * entry makes room; about 100 KiB, and 2.5 KiB more per file that is a Go HTTP server.
 * One thread; failures are returned.
 */
#ifndef PULLTAP_DISCOVER_CATALOG_H
#define PULLTAP_DISCOVER_CATALOG_H

#include "discover/binary.h"
#include "discover/file_identity.h"
#include "discover/process.h"

#define CATALOG_FILES 1024

struct catalog;

/* inspect: binary_inspect() or binary_inspect_openssl(), for all files. */
must_check int catalog_new(struct catalog **ret, int (*inspect)(int fd, struct binary *ret));
void catalog_free(struct catalog **catalog);

/*
 * Inspects what a process runs, with the results of binary_inspect(): 0 and *ret filled; -ENOEXEC
 * or -ENOENT for what is of no interest; other errors are not remembered, the next call tries
 * again. *ret_file, the file's identity, is set whenever the file could be opened or was known.
 */
must_check int catalog_inspect(struct catalog *catalog, int proc, pid_t pid, struct binary *ret,
			       struct file_identity *ret_file);

/* The same for a file that is open. */
must_check int catalog_inspect_file(struct catalog *catalog, int fd, struct binary *ret);

/* Files that were read, and calls that were answered without reading. */
void catalog_counts(const struct catalog *catalog, uint64_t *ret_read, uint64_t *ret_known);

#endif
