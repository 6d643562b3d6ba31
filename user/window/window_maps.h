/* SPDX-License-Identifier: MIT */
/*
 * The kernel's maps of one window: read as records, and cleared once they are on disk. Knows
 * nothing of swaps and spool files, see drain.h. Any thread may read; the drainer's clears.
 */
#ifndef PULLTAP_WINDOW_WINDOW_MAPS_H
#define PULLTAP_WINDOW_WINDOW_MAPS_H

#include <stdint.h>

#include "attach/kernel.h"
#include "base/cleanup.h"
#include "window/window.h"

/* A time since the machine started as microseconds since the epoch; offset_ns: CLOCK_REALTIME minus
 * CLOCK_BOOTTIME. */
int64_t window_unix_us(int64_t offset_ns, uint64_t boot_ns);

/* Calls each for every key with its sum over the CPUs, dated by that offset; stops when it returns
 * non-zero and returns that. -errno when the maps can't be read. */
must_check int window_maps_each(const struct kernel *kernel, unsigned int window, int64_t offset_ns,
				int (*each)(const struct window_record *record, void *context),
				void *context);

/* Clears a frozen window and its ledger, keeping keys that were hit with a count of 0; then marks
 * its slot clean. May be repeated after a failure. */
must_check int window_maps_clear(struct kernel *kernel, unsigned int window);

#endif
