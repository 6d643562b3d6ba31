/* SPDX-License-Identifier: MIT */
#include "window/off_time.h"

#include <string.h>

#include "attach/off.h"
#include "attach/sites.h"

/* What all records of one window share. */
struct off_time {
	const struct pt_slot *slot;
	int64_t end_us;
	int (*each)(const struct window_record *record, void *context);
	void *context;
};

/* The part of a span that lies in the window; false: none. One without an end lasts on. */
static bool within(const struct pt_slot *slot, const struct pt_span *span, bool still_off,
		   struct pt_span *ret)
{
	bool open = still_off || !span->until_ns || span->until_ns > slot->end_boot_ns;

	if (!span->since_ns)
		return false;
	ret->since_ns = span->since_ns > slot->start_boot_ns ? span->since_ns : slot->start_boot_ns;
	ret->until_ns = open ? slot->end_boot_ns : span->until_ns;
	return ret->since_ns < ret->until_ns;
}

static struct window_text text_of(const char *text)
{
	return (struct window_text){.data = text, .length = (uint16_t)strlen(text)};
}

static int tell(const struct off_time *off, const struct pt_span *part, const char *registry,
		const char *source, const char *who)
{
	uint64_t before_end_us = (off->slot->end_boot_ns - part->until_ns) / 1000;
	struct window_record record = {
		.op = PT_OP_OFF,
		.registry = text_of(registry),
		.repository = text_of(who),
		.tag = text_of(source),
		.count = (part->until_ns - part->since_ns + 999999) / 1000000,
		.last_us = off->end_us - (int64_t)before_end_us,
	};

	return off->each(&record, off->context);
}

static int each_source(const struct kernel *kernel, const struct off_time *off)
{
	const struct pt_control *control = kernel->control;
	struct pt_span part;
	int rc = 0;

	if (!within(off->slot, &control->off, *kernel->off, &part))
		return 0;
	for (unsigned int bit = 0; !rc && bit < 32; bit++) {
		if (!(off->slot->off_mask & 1u << bit))
			continue;
		rc = tell(off, &part, "", off_source_name(bit),
			  control->words[bit < OFF_HAND ? bit : OFF_HAND].who[1]);
		if (bit >= OFF_HAND)
			break; /* the other bits have no names either */
	}
	return rc;
}

/* A registry has several sites, and often several of them are off together: the longest counts. */
static int each_target(const struct kernel *kernel, const struct off_time *off, uint32_t registry,
		       uint8_t reason)
{
	struct pt_span longest = {}, part;
	struct pt_registry name = {};

	for (int i = 0; i < PT_SITES; i++) {
		const struct pt_site *site = &kernel->sites[i];

		if (site->registry != registry || !(site->off_was & reason) ||
		    !within(off->slot, &site->off_span, site->off & reason, &part))
			continue;
		if (part.until_ns - part.since_ns > longest.until_ns - longest.since_ns)
			longest = part;
	}
	if (!longest.since_ns)
		return 0;
	sites_registry(kernel, registry, &name);
	return tell(off, &longest, name.name, off_site_name(reason), "");
}

int off_time_each(const struct kernel *kernel, unsigned int window, int64_t end_us,
		  int (*each)(const struct window_record *record, void *context), void *context)
{
	struct off_time off = {
		.slot = &kernel->control->slot[window],
		.end_us = end_us,
		.each = each,
		.context = context,
	};
	int rc = each_source(kernel, &off);

	for (uint32_t registry = 0; !rc && registry < PT_REGISTRIES; registry++)
		for (uint8_t bit = PT_SITE_OFF_LAYOUT; !rc && bit <= PT_SITE_OFF_LATE; bit <<= 1)
			rc = each_target(kernel, &off, registry, bit);
	return rc;
}
