/* SPDX-License-Identifier: MIT */
/*
 * Takes a window out of the kernel: flips the programs to the other set of maps, waits until the
 * old one is frozen, writes it as one spool file, and only then clears it. Each step can be the
 * last before a crash: the next agent finds what was left and goes on (rules 4 and 5). Runs on
 * the agent's main thread.
 */
#ifndef PULLTAP_WINDOW_DRAIN_H
#define PULLTAP_WINDOW_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/kernel.h"
#include "window/spool.h"
#include "window/window.h"

struct drain_result {
	bool swapped; /* false: the window was empty and goes on */
	uint64_t sequence;
	uint64_t keys;
	/* counted is the sum of the keys' counts, as the file has it */
	uint64_t ledger[LEDGER_COUNT];
	uint64_t entered; /* what the kernel's own ledger says that it counted */
	uint64_t took_us;
};

/*
 * Gives the active window an owner if it has none: before the first hit, and harmless later. The
 * window of before (may be NULL), the set that is about to be replaced, ends where this one begins.
 */
must_check int drain_begin(struct kernel *kernel, struct spool *spool, struct kernel *before);

/*
 * One window. force swaps even when nothing was seen. On failure (-ENOSPC, -EROFS, ...) the counts
 * stay in the kernel and the next call takes them; counting goes on in the other window.
 */
must_check int drain_window(struct kernel *kernel, struct spool *spool, bool force,
			    struct drain_result *ret);

/*
 * Both windows to the last count, for a set that no probe leads to any more. What was written is
 * added to sum, also on failure. May be repeated until it succeeds, and then leaves nothing.
 */
must_check int drain_frozen(struct kernel *kernel, struct spool *spool, struct drain_result *sum);

/* Forgets HEADs whose time is over. Returns how many, or -errno. */
must_check int drain_expired_hints(struct kernel *kernel);

/*
 * Calls each for every key of a window (0 or 1) with its sum over the CPUs; stops when it returns
 * non-zero and returns that. Reading a window in use gives a momentary picture (pulltap top).
 */
must_check int drain_each(const struct kernel *kernel, unsigned int window,
			  int (*each)(const struct window_record *record, void *context),
			  void *context);

#endif
