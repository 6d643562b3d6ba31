/* SPDX-License-Identifier: MIT */
/*
 * The schema's owner: the numbered files of deploy/sql, embedded in the binary, applied in order
 * under an advisory lock, each in a transaction of its own that records its number and checksum.
 */
#ifndef PULLTAP_STORE_SCHEMA_H
#define PULLTAP_STORE_SCHEMA_H

#include <stdbool.h>

#include "base/cleanup.h"

/* The version this binary speaks: the number of the last embedded file. */
int schema_version(void);

/*
 * Brings the database to schema_version(). Prints one line per file applied to standard output
 * unless quiet. Returns 0; -EPROTO when the database is newer than this binary; -EIO on any
 * database error. Every failure prints what happened and what to do on standard error.
 */
must_check int schema_migrate(const char *conninfo, bool quiet);

#endif
