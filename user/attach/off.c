/* SPDX-License-Identifier: MIT */
#include "attach/off.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attach/sites.h"
#include "base/log.h"

static const char *const source_names[] = {
	[OFF_OPERATOR] = "operator", [OFF_FILE] = "file",     [OFF_DATABASE] = "database",
	[OFF_REDIS] = "redis",	     [OFF_SIGNAL] = "signal", [OFF_GUARD] = "guard",
	[OFF_HAND] = "hand",
};

_Static_assert(sizeof(source_names) / sizeof(source_names[0]) == PT_OFF_SOURCES,
	       "a name and a word per source");
_Static_assert(1 << OFF_GUARD == PT_OFF_GUARD && 1 << OFF_HAND == PT_OFF_HAND,
	       "a source's number is its bit's");

const char *off_source_name(unsigned int source)
{
	return source_names[source < PT_OFF_SOURCES ? source : OFF_HAND];
}

const char *off_site_name(uint8_t bit)
{
	switch (bit) {
	case PT_SITE_OFF_LAYOUT:
		return "layout";
	case PT_SITE_OFF_GUARD:
		return "guard";
	case PT_SITE_OFF_FLAG:
		return "flag";
	case PT_SITE_OFF_ELSEWHERE:
		return "elsewhere";
	default:
		return "late";
	}
}

/* Of a target's reasons, those for which the time is recorded. */
#define GAP ((uint8_t)~PT_SITE_OFF_ELSEWHERE)

static uint64_t clock_now(clockid_t clock, uint64_t per_second)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * per_second +
	       (uint64_t)ts.tv_nsec / (1000000000ull / per_second);
}

static void set_word(struct kernel *kernel, enum off_source source, bool off, const char *who)
{
	struct pt_word *word = &kernel->control->words[source];

	char *text = word->who[off];

	snprintf(text, sizeof(word->who[off]), "%s", who);
	/* names end up in the database and on terminals */
	log_plain(text);
	word->at_us = clock_now(CLOCK_REALTIME, 1000000);
	__atomic_store_n(&word->off, off, __ATOMIC_SEQ_CST);
}

bool off_say(struct kernel *kernel, enum off_source source, bool off, const char *who)
{
	uint32_t bit = 1u << source;

	/* off again where only its bit was cleared by hand: any off wins */
	if (!!kernel->control->words[source].off == off && (!off || *kernel->off & bit))
		return false;
	if (off)
		__atomic_fetch_or(kernel->off, bit, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(kernel->off, ~bit, __ATOMIC_SEQ_CST);
	set_word(kernel, source, off, who);
	return true;
}

/* The bits that nobody's word explains. */
static uint32_t by_hand(const struct kernel *kernel, uint32_t mask)
{
	for (unsigned int i = 0; i < OFF_HAND; i++)
		if (kernel->control->words[i].off)
			mask &= ~(1u << i);
	return mask;
}

uint32_t off_enforce(struct kernel *kernel)
{
	struct pt_control *control = kernel->control;
	uint32_t mask = __atomic_load_n(kernel->off, __ATOMIC_SEQ_CST);
	uint32_t hand = by_hand(kernel, mask);
	uint32_t began_on = 0;
	__u64 none = 0;
	char who[32];

	if (!!hand != !!control->words[OFF_HAND].off) {
		snprintf(who, sizeof(who), "mask %u", hand);
		set_word(kernel, OFF_HAND, hand != 0, who);
	}
	if (!mask)
		return 0;
	__atomic_compare_exchange_n(&control->off.since_ns, &none,
				    clock_now(CLOCK_BOOTTIME, 1000000000), false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	/* for a window that began switched on, in case no agent ends it now */
	__atomic_compare_exchange_n(&control->slot[control->active & 1].off_mask, &began_on, mask,
				    false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	sites_unlink(kernel);
	return mask;
}

/* The last time a target was off is not in any file yet. */
static bool unrecorded(const struct pt_control *control, const struct pt_site *site)
{
	return site->off_span.since_ns &&
	       (site->off_span.until_ns > control->slot[control->active & 1].start_boot_ns ||
		control->slot[!(control->active & 1)].dirty);
}

void off_site(struct kernel *kernel, uint32_t index, uint8_t reason, bool off)
{
	struct pt_site *site = &kernel->sites[index];
	uint64_t now_ns = clock_now(CLOCK_BOOTTIME, 1000000000);

	if (!site->hook || !!(site->off & reason) == off)
		return;
	if (!off) {
		if (reason & GAP)
			site->off_span.until_ns = now_ns;
		__atomic_fetch_and(&site->off, (uint8_t)~reason, __ATOMIC_SEQ_CST);
		return;
	}
	if (reason & GAP) {
		if (!(site->off & GAP) && !unrecorded(kernel->control, site)) {
			site->off_span.since_ns = now_ns;
			site->off_was = 0;
		}
		site->off_span.until_ns = 0;
		site->off_was |= reason;
	}
	__atomic_fetch_or(&site->off, reason, __ATOMIC_SEQ_CST);
	sites_unlink_one(kernel, index);
}

void off_site_back(struct kernel *kernel, uint32_t index)
{
	kernel->sites[index].off_span.until_ns = clock_now(CLOCK_BOOTTIME, 1000000000);
}

void off_site_late(struct kernel *kernel, uint32_t index, uint64_t since_ns)
{
	struct pt_site *site = &kernel->sites[index];

	/* a time that is not recorded yet goes on */
	if (!site->off_span.since_ns) {
		site->off_was = 0;
		site->off_span.since_ns = since_ns;
	}
	site->off_span.until_ns = 0;
	site->off_was |= PT_SITE_OFF_LATE;
}

struct pt_site off_site_gone(const struct kernel *kernel, uint32_t index)
{
	const struct pt_site *site = &kernel->sites[index];
	struct pt_site gone = {
		.registry = site->registry,
		.off_span = site->off_span,
		.off_was = site->off_was,
	};

	if (site->off & GAP)
		gone.off_span.until_ns = clock_now(CLOCK_BOOTTIME, 1000000000);
	return gone;
}

uint32_t off_take_back(struct kernel *kernel, const char *who)
{
	uint32_t mask = __atomic_load_n(kernel->off, __ATOMIC_SEQ_CST);

	kernel->control->off.until_ns = 0; /* not over before the probes are back */
	off_say(kernel, OFF_OPERATOR, false, who);
	off_say(kernel, OFF_SIGNAL, false, who);
	__atomic_fetch_and(kernel->off, ~by_hand(kernel, mask), __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < PT_SITES; i++)
		off_site(kernel, i, PT_SITE_OFF_GUARD, false);
	return off_enforce(kernel);
}

void off_hand_over(const struct kernel *from, struct kernel *to)
{
	memcpy(to->control->words, from->control->words, sizeof(to->control->words));
	to->control->off = from->control->off;
}

void off_end(struct kernel *kernel)
{
	if (kernel->control->off.since_ns)
		kernel->control->off.until_ns = clock_now(CLOCK_BOOTTIME, 1000000000);
}

void off_settle(struct kernel *kernel)
{
	struct pt_control *control = kernel->control;
	const struct pt_slot *active = &control->slot[control->active & 1];
	__u64 since = control->off.since_ns;

	for (int i = 0; i < PT_SITES; i++)
		if (!(kernel->sites[i].off & GAP) && !unrecorded(control, &kernel->sites[i]))
			kernel->sites[i].off_span.since_ns = 0;
	if (!since || *kernel->off || !control->off.until_ns ||
	    control->off.until_ns > active->start_boot_ns ||
	    control->slot[!(control->active & 1)].dirty)
		return;
	control->off.until_ns = 0;
	__atomic_compare_exchange_n(&control->off.since_ns, &since, 0, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	/* switched off meanwhile, by somebody who found the old time still there */
	if (__atomic_load_n(kernel->off, __ATOMIC_SEQ_CST))
		off_enforce(kernel);
}
