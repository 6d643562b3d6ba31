/* SPDX-License-Identifier: MIT */
/*
 * The time switched off, as records of the window it fell into: so it reaches the database exactly
 * once, as every count does, and a reader sees a gap instead of silence. Agent's main thread.
 */
#ifndef PULLTAP_WINDOW_OFF_TIME_H
#define PULLTAP_WINDOW_OFF_TIME_H

#include "attach/kernel.h"
#include "window/window.h"

/*
 * Calls each for every source that had counting switched off during a frozen window, and for every
 * registry of which a target was off, with a PT_OP_OFF record: registry ("" for all), tag = the
 * source, repository = who, count = milliseconds, last_us = when it ended; end_us is the window's
 * end. Whoever is in doubt says too much, not too little. Stops when each returns non-zero and
 * returns that.
 */
must_check int off_time_each(const struct kernel *kernel, unsigned int window, int64_t end_us,
			     int (*each)(const struct window_record *record, void *context),
			     void *context);

#endif
