/* SPDX-License-Identifier: MIT */
/*
 * The agent's last words about itself, as JSON in its state folder: what `pulltap status` cannot
 * read from the kernel's maps. Replaced by rename(2), so that a reader never sees half of it.
 */
#ifndef PULLTAP_CONTROL_STATUS_FILE_H
#define PULLTAP_CONTROL_STATUS_FILE_H

#include <stdint.h>

#include "base/cleanup.h"
#include "control/books.h"
#include "control/guard.h"
#include "control/reconcile.h"
#include "control/switch.h"
#include "control/topology_watch.h"
#include "store/shipper.h"
#include "store/store.h"
#include "window/window.h"

struct agent_status {
	const char *version;
	const char *node;
	int64_t started_s; /* Unix time */
	unsigned int window_s;
	uint64_t windows; /* drained by this agent */
	uint64_t early_swaps;
	uint64_t last_sequence;
	uint64_t last_keys;
	uint64_t last_drain_us;
	int64_t last_drain_s; /* Unix time */
	const char *drain_error; /* NULL when the last drain went well */
	struct books books;
	struct reconcile_report truths[RECONCILE_MAX];
	unsigned int truths_count;
	struct store_stats store;
	struct shipper_status shipper;
	const struct guard *guard;
	struct topology_watch *topology;
	struct switch_trouble troubles[PT_OFF_SOURCES]; /* by source of the kill switch */
};

#define STATUS_FILE_NAME "status.json"

must_check int status_file_write(const char *state_dir, const struct agent_status *status);

#endif
