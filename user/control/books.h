/* SPDX-License-Identifier: MIT */
/*
 * The agent's books: the conservation ledgers of the windows it has drained, added up, and what
 * was wrong with any of them. Says so in the log at once. Main thread.
 */
#ifndef PULLTAP_CONTROL_BOOKS_H
#define PULLTAP_CONTROL_BOOKS_H

#include <stdint.h>

#include "window/drain.h"
#include "window/window.h"

struct books {
	uint64_t ledger[LEDGER_COUNT]; /* sum since the agent started */
	uint64_t unbalanced_windows;
	uint64_t unbalanced_sequence; /* of the last such window */
	int64_t unbalanced_difference; /* its seen - (counted + filtered + lost) */
	int64_t unbalanced_s; /* when it was drained, Unix time */
	int64_t lost_s; /* when a window with a loss was last drained, 0 never */
};

void books_add(struct books *books, const struct drain_result *result);

#endif
