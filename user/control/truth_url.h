/* SPDX-License-Identifier: MIT */
/*
 * Fetches a page by HTTP within seconds or not at all: a server that hangs holds up nobody but the
 * thread that asks. One thread owns it.
 */
#ifndef PULLTAP_CONTROL_TRUTH_URL_H
#define PULLTAP_CONTROL_TRUTH_URL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct truth_url;

/* Before any thread is started: libcurl wants it so. */
must_check int truth_url_begin(void);

/* A request ends early when *stopping becomes true. Both must live as long. */
must_check int truth_url_new(struct truth_url **ret, const char *url, const atomic_bool *stopping);
void truth_url_free(struct truth_url **url);

/*
 * The page as a string, good until the next call. -EIO when there is none: message says why.
 */
must_check int truth_url_get(struct truth_url *url, const char **ret_text, char *message,
			     size_t size);

#endif
