/* SPDX-License-Identifier: MIT */
/*
 * What `pulltap ls` shows: repositories with their totals, or the tags and manifests of one. Reads
 * the views only, on the caller's thread, and blocks at most a minute.
 */
#ifndef PULLTAP_STORE_QUERY_H
#define PULLTAP_STORE_QUERY_H

#include <stdbool.h>
#include <stdio.h>

#include "base/cleanup.h"

/*
 * registry NULL: any. repository NULL: lists repositories, else the tags and manifests of it.
 * Prints aligned tables (times in UTC, control characters escaped) or one JSON object. Returns 0;
 * -ENOENT when that repository was never seen; -EIO on a database error; -ENOMEM. Every failure
 * prints one line on standard error.
 */
must_check int query_list(const char *conninfo, const char *registry, const char *repository,
			  bool json, FILE *out);

#endif
