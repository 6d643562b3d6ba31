/* SPDX-License-Identifier: MIT */
/*
 * Keeps probes within their budget: what the probes of a binary cost, against the CPU time of the
 * processes that run it. A target that costs more in several samples in a row is switched off and
 * stays so until `pulltap on`. Agent's main thread.
 *
 * A hit costs what the program takes, which a few hits of each site measure themselves, and the
 * trap that leads to it, which no program can see and for which a constant stands.
 */
#ifndef PULLTAP_CONTROL_GUARD_H
#define PULLTAP_CONTROL_GUARD_H

#include <jansson.h>

#include "attach/follow.h"
#include "attach/kernel.h"

/* A sample is this long, and so many in a row have to be above the budget. */
#define GUARD_SAMPLE_S 5
#define GUARD_STRIKES 3

struct guard;

/* budget in hundredths of a percent; 0: measure only. */
must_check int guard_new(struct guard **ret, struct kernel *kernel, const struct follow *follow,
			 unsigned int budget);
void guard_free(struct guard **guard);

/*
 * At any rate, the second is good. True when the processes of a costly target should be looked for
 * anew: one that was missed would make its share look smaller.
 */
bool guard_tick(struct guard *guard);

/* What was measured last, per target. */
json_t *guard_json(const struct guard *guard);

/*
 * What a site's probe cost: each hit's program and its trap. Where the hits are found in calls of a
 * library (pt_site.calls), a call may hold several of them or none, and the traps are the calls'.
 */
uint64_t guard_cost_ns(uint64_t hits, uint64_t calls, uint64_t program_ns);

/*
 * The share of the probes in hundredths of a percent: hits at ns_per_hit each, of CPU time in ns.
 * More than everything is possible, where processes were missed; no CPU time at all is everything.
 */
unsigned int guard_share(uint64_t hits, uint64_t ns_per_hit, uint64_t cpu_ns);

#endif
