/* SPDX-License-Identifier: MIT */
/*
 * Applies the rule of count_at_rule.h to the sites: whose pulls are counted elsewhere gets
 * PT_SITE_OFF_ELSEWHERE, which takes its probe away; for what it is not asked, that is no gap. Who
 * stops counting stops first: a grace period lies before anybody who begins, so that no pull is
 * counted twice. Agent's main thread.
 */
#ifndef PULLTAP_ATTACH_COUNT_AT_H
#define PULLTAP_ATTACH_COUNT_AT_H

#include <time.h>

#include "attach/count_at_rule.h"
#include "attach/kernel.h"
#include "discover/binary.h"

/* So long nobody must have run a file until others count instead: longer than a restart takes. */
#define COUNT_AT_IDLE_S 60

struct count_at {
	struct kernel *kernel;
	enum count_where where;
	const char *const *names; /* that count in any case; others may stand among them */
	unsigned int names_count;
	struct count_seat {
		enum count_place place;
		uint8_t order;
		time_t last_run; /* when a process of that site's file was seen, since boot */
		bool seen; /* by this agent */
	} seats[PT_SITES];
};

/*
 * names are kept. Who runs the sites that are there already is seen by the first scan; until then
 * each of them counts, or does not, as the agent before has left it.
 */
void count_at_init(struct count_at *count_at, struct kernel *kernel, enum count_where where,
		   const char *const *names, unsigned int names_count);

/*
 * A process of this binary was seen, or (runs is false) may be at any moment; order is that of the
 * --target that names it.
 */
void count_at_seen(struct count_at *count_at, const struct binary *binary, uint8_t order,
		   bool runs);

/* For how long nobody has run the file of a site. */
time_t count_at_idle_s(const struct count_at *count_at, uint32_t index);

/*
 * Brings the sites in line with what is there now. Returns how many may be probed again, which
 * somebody has to see to; -errno when the kernel would not wait, and then nobody has begun.
 */
must_check int count_at_update(struct count_at *count_at);

/* Of a binary that is about to be probed. */
struct count_newcomer {
	const char *registry;
	uint8_t order;
	bool runs; /* else nobody has to make room for it yet */
	bool able; /* nothing else keeps it from counting */
	/* The answers. */
	uint8_t off; /* what it has to be off for: 0 or PT_SITE_OFF_ELSEWHERE */
	bool unprobed; /* what it did until now was neither seen here nor elsewhere */
};

/* The same before a binary is probed, whether it has sites already or not. */
must_check int count_at_admit(struct count_at *count_at, const struct binary *binary,
			      struct count_newcomer *newcomer);

#endif
