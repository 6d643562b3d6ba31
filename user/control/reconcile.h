/* SPDX-License-Identifier: MIT */
/*
 * --reconcile: compares what pulltap counts for a registry with what somebody else says about the
 * same replies, for as long as the agent runs. Observes only. Asks on a thread of its own, so that
 * a disk or a server that hangs delays no window.
 *
 *   an access log        the manifest replies in it that count, with pt_registry.counted
 *   registry's metrics   the same, by registry_http_requests_total{handler="manifest"}
 *   nginx's stub_status  all requests but those for that page, with pt_registry.replies
 */
#ifndef PULLTAP_CONTROL_RECONCILE_H
#define PULLTAP_CONTROL_RECONCILE_H

#include <stdbool.h>

#include "attach/kernel.h"
#include "base/cleanup.h"
#include "control/comparison.h"

#define RECONCILE_MAX 32

struct reconcile;

/*
 * specs: NAME=PATH or NAME=URL, checked by the options. To be called before the first thread;
 * *ret stays NULL when there are none. state_dir and the specs must live as long.
 */
must_check int reconcile_new(struct reconcile **ret, const char *const *specs, unsigned int count,
			     const char *state_dir);

/* Starts the thread. The kernel must outlive it. No-op without a reconciler. */
must_check int reconcile_start(struct reconcile *reconcile, const struct kernel *kernel);

/* Ends the thread, keeps its place in logs, frees all. */
void reconcile_free(struct reconcile **reconcile);

enum reconcile_source { RECONCILE_LOG, RECONCILE_STUB_STATUS, RECONCILE_METRICS };

struct reconcile_report {
	char registry[64];
	const char *where;
	enum reconcile_source source; /* what a page is shows when it was read */
	bool known; /* a registry of that name was probed */
	struct comparison comparison;
	uint64_t foreign; /* lines of no combined log */
	char error[160]; /* why the truth can't be had now; "" */
};

/* A snapshot from any thread; returns how many there are. */
unsigned int reconcile_reports(struct reconcile *reconcile,
			       struct reconcile_report ret[RECONCILE_MAX]);

/* "access log", "stub_status", "metrics" */
const char *reconcile_source_name(enum reconcile_source source);

#endif
