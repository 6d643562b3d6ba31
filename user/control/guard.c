/* SPDX-License-Identifier: MIT */
#include "control/guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach/off.h"
#include "attach/sites.h"
#include "base/log.h"
#include "discover/process.h"

/*
 * What the breakpoint itself costs, before and after the program: 0.3 us on Intel hardware, 0.5 to
 * 0.7 us on a virtual machine (docs/performance.md).
 */
#define TRAP_NS 700
/* Until hits have measured themselves. */
#define PROGRAM_NS 1500
/* Of a call of OpenSSL's that is no hit: finding the connection and counting a body off. */
#define CALL_NS 300
/* Below a thousandth of one CPU nobody is in anybody's way, whatever its share. */
#define NEGLIGIBLE_NS(elapsed_ns) ((elapsed_ns) / 1000)

#define TARGETS 64
#define RUNNERS 64

struct runner {
	pid_t pid;
	uint64_t start_ticks, cpu_ticks;
};

struct target {
	struct site_place place;
	uint32_t registry;
	uint64_t hits; /* traps of this sample, and the next two are of it, too */
	uint64_t cost_ns;
	uint64_t ns_per_hit;
	struct runner runners[RUNNERS];
	unsigned int runners_count; /* 0: the CPU time of the last sample is not known */
	unsigned int strikes;
	unsigned int share;
	bool measured; /* share holds */
};

struct guard {
	struct kernel *kernel;
	const struct follow *follow;
	int proc;
	unsigned int budget;
	uint64_t last_ns, elapsed_ns;
	uint64_t ns_per_tick;
	struct {
		uint64_t hits, calls, timed_hits, timed_ns;
	} last[PT_SITES];
	struct target targets[TARGETS];
	unsigned int targets_count;
};

int guard_new(struct guard **ret, struct kernel *kernel, const struct follow *follow,
	      unsigned int budget)
{
	_cleanup_(guard_free) struct guard *guard = calloc(1, sizeof(*guard));
	int rc;

	if (!guard)
		return -ENOMEM;
	guard->kernel = kernel;
	guard->follow = follow;
	guard->proc = -1;
	guard->budget = budget;
	guard->ns_per_tick = 1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK);
	rc = process_open_proc("/proc", &guard->proc);
	if (rc)
		return rc;
	*ret = TAKE_PTR(guard);
	return 0;
}

void guard_free(struct guard **ptr)
{
	if (!*ptr)
		return;
	cleanup_close(&(*ptr)->proc);
	free(*ptr);
	*ptr = NULL;
}

unsigned int guard_share(uint64_t hits, uint64_t ns_per_hit, uint64_t cpu_ns)
{
	uint64_t cost_ns = hits * ns_per_hit;

	if (!cost_ns)
		return 0;
	if (!cpu_ns || cost_ns / cpu_ns >= 100)
		return 100 * 10000;
	return (unsigned int)(cost_ns * 10000 / cpu_ns);
}

uint64_t guard_cost_ns(uint64_t hits, uint64_t calls, uint64_t program_ns)
{
	if (!calls)
		return hits * (program_ns + TRAP_NS);
	return calls * (TRAP_NS + CALL_NS) + hits * program_ns;
}

static struct target *target_of(struct guard *guard, const struct pt_site *site)
{
	struct site_place place = sites_place(site);
	struct target *target;

	for (unsigned int i = 0; i < guard->targets_count; i++) {
		target = &guard->targets[i];
		if (sites_same_place(&target->place, &place))
			return target;
	}
	if (guard->targets_count == TARGETS)
		return NULL;
	target = &guard->targets[guard->targets_count++];
	*target = (struct target){.place = place, .registry = site->registry};
	return target;
}

/* What a hit of the site takes, by those that measured themselves in this sample, or ever. */
static uint64_t program_ns(const struct guard *guard, uint32_t index)
{
	const struct pt_site *site = &guard->kernel->sites[index];
	uint64_t hits = site->timed_hits - guard->last[index].timed_hits;

	if (hits)
		return (site->timed_ns - guard->last[index].timed_ns) / hits;
	return site->timed_hits ? site->timed_ns / site->timed_hits : PROGRAM_NS;
}

/* Hits and cost of every target since the last sample. Targets without sites are forgotten. */
static void add_up(struct guard *guard)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < guard->targets_count; i++)
		guard->targets[i].hits = guard->targets[i].cost_ns = 0;
	for (uint32_t i = 0; i < PT_SITES; i++) {
		const struct pt_site *site = &guard->kernel->sites[i];
		struct target *target = site->hook ? target_of(guard, site) : NULL;
		uint64_t all_hits = site->hits, all_calls = site->calls, hits, calls;

		/* a slot that was given to another site starts from 0 */
		if (all_hits < guard->last[i].hits || all_calls < guard->last[i].calls ||
		    site->timed_hits < guard->last[i].timed_hits)
			memset(&guard->last[i], 0, sizeof(guard->last[i]));
		hits = all_hits - guard->last[i].hits;
		calls = all_calls - guard->last[i].calls;
		if (target) {
			target->hits += calls ?: hits;
			target->cost_ns += guard_cost_ns(hits, calls, program_ns(guard, i));
		}
		guard->last[i].hits = all_hits;
		guard->last[i].calls = all_calls;
		guard->last[i].timed_hits = site->timed_hits;
		guard->last[i].timed_ns = site->timed_ns;
	}
	for (unsigned int i = 0; i < guard->targets_count; i++) {
		struct target *target = &guard->targets[i];

		if (!target->hits && !target->strikes && !target->measured)
			continue;
		target->ns_per_hit = target->hits ? target->cost_ns / target->hits : 0;
		if (kept != i)
			guard->targets[kept] = *target;
		kept++;
	}
	guard->targets_count = kept;
}

/*
 * CPU time that the target's processes took since the last sample; false when that is not known: at
 * the first time, or because one of them has ended and taken its time along.
 */
static bool cpu_since(const struct guard *guard, struct target *target, uint64_t *ret_ns)
{
	struct runner now[RUNNERS] = {};
	unsigned int count = 0, known = 0;
	uint64_t ticks = 0;
	pid_t pids[RUNNERS];
	unsigned int found = follow_runners(guard->follow, target->place.program_device,
					    target->place.program_inode, pids, RUNNERS);

	for (unsigned int i = 0; i < found; i++) {
		struct runner *runner = &now[count];

		runner->pid = pids[i];
		if (process_times(guard->proc, pids[i], &runner->start_ticks, &runner->cpu_ticks))
			continue;
		count++;
		/* one that is new has spent all its time since, or was only missed before */
		ticks += runner->cpu_ticks;
		for (unsigned int j = 0; j < target->runners_count; j++) {
			const struct runner *before = &target->runners[j];

			if (before->pid != runner->pid ||
			    before->start_ticks != runner->start_ticks)
				continue;
			known++;
			ticks -= before->cpu_ticks;
		}
	}
	*ret_ns = ticks * guard->ns_per_tick;
	found = target->runners_count;
	target->runners_count = count;
	memcpy(target->runners, now, count * sizeof(*now));
	return found && known == found;
}

static void switch_off(struct guard *guard, const struct target *target)
{
	struct pt_registry registry = {};
	char name[200];

	sites_registry(guard->kernel, target->registry, &registry);
	log_error("target switched off: its probes cost more than their budget",
		  "registry=%s inode=%llu cost_percent=%u.%02u budget_percent=%u.%02u "
		  "hits_per_s=%llu ns_per_hit=%llu back=\"pulltap on\"",
		  log_quote(name, sizeof(name), registry.name),
		  (unsigned long long)target->place.inode, target->share / 100, target->share % 100,
		  guard->budget / 100, guard->budget % 100,
		  (unsigned long long)(target->hits * 1000000000 / guard->elapsed_ns),
		  (unsigned long long)target->ns_per_hit);
	for (uint32_t i = 0; i < PT_SITES; i++) {
		struct site_place place = sites_place(&guard->kernel->sites[i]);

		if (sites_same_place(&place, &target->place))
			off_site(guard->kernel, i, PT_SITE_OFF_GUARD, true);
	}
}

/* Returns whether the target is above its budget, or seems to be. */
static bool judge(struct guard *guard, struct target *target)
{
	uint64_t cpu_ns;

	if (target->cost_ns < NEGLIGIBLE_NS(guard->elapsed_ns)) {
		target->strikes = target->runners_count = 0;
		target->measured = false;
		return false;
	}
	if (!cpu_since(guard, target, &cpu_ns))
		return true; /* as long as nobody knows, the list of processes is worth a look */
	target->share = guard_share(target->hits, target->ns_per_hit, cpu_ns);
	target->measured = true;
	if (!guard->budget || target->share <= guard->budget) {
		target->strikes = 0;
		return false;
	}
	if (++target->strikes < GUARD_STRIKES)
		return true;
	switch_off(guard, target);
	target->strikes = target->runners_count = 0;
	return false;
}

bool guard_tick(struct guard *guard)
{
	struct timespec ts;
	uint64_t now_ns;
	bool look = false;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now_ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	if (guard->last_ns && now_ns - guard->last_ns < GUARD_SAMPLE_S * 1000000000ull)
		return false;
	guard->elapsed_ns = guard->last_ns ? now_ns - guard->last_ns : 0;
	guard->last_ns = now_ns;
	add_up(guard);
	/* the first sample has no beginning */
	for (unsigned int i = 0; guard->elapsed_ns && i < guard->targets_count; i++)
		look |= judge(guard, &guard->targets[i]);
	return look && guard->budget;
}

json_t *guard_json(const struct guard *guard)
{
	json_t *targets = json_array();

	for (unsigned int i = 0; guard && i < guard->targets_count; i++) {
		const struct target *target = &guard->targets[i];
		struct pt_registry registry = {};

		if (!target->measured)
			continue;
		sites_registry(guard->kernel, target->registry, &registry);
		json_array_append_new(
			targets, json_pack("{s:s, s:I, s:f, s:I, s:I}", "registry", registry.name,
					   "inode", (json_int_t)target->place.inode, "cpu_percent",
					   target->share / 100.0, "ns_per_hit",
					   (json_int_t)target->ns_per_hit, "strikes",
					   (json_int_t)target->strikes));
	}
	return json_pack("{s:f, s:o}", "budget_percent", guard ? guard->budget / 100.0 : 0,
			 "targets", targets);
}
