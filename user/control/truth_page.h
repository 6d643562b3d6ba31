/* SPDX-License-Identifier: MIT */
/*
 * What a server says about itself, as numbers that pulltap's can be compared with. Pure.
 */
#ifndef PULLTAP_CONTROL_TRUTH_PAGE_H
#define PULLTAP_CONTROL_TRUTH_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum truth_page_kind {
	TRUTH_PAGE_STUB_STATUS = 1, /* nginx: every request, whatever for */
	TRUTH_PAGE_METRICS = 2, /* a registry's Prometheus metrics: manifest replies that count */
};

struct truth_page {
	enum truth_page_kind kind;
	uint64_t begun; /* requests so far, the one for this page included if it is one of them */
	uint64_t busy; /* of these, under way; this page's included */
};

/* text is NUL-terminated. -EINVAL: it is neither of the two. */
must_check int truth_page_parse(const char *text, struct truth_page *ret);

#endif
