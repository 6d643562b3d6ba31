/* SPDX-License-Identifier: MIT */
/*
 * The order in which a batch goes to the database, and what a tag's observations within one window
 * come down to. Runs on the shipper's thread; fails only for lack of memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/batch_internal.h"

static int by_id(const void *a, const void *b, void *context)
{
	const struct batch_entry *items = context;
	int64_t x = items[*(const uint32_t *)a].id, y = items[*(const uint32_t *)b].id;

	return (x > y) - (x < y);
}

static void sort_entries(struct batch_entries *entries)
{
	uint32_t i;

	entries->order_count = 0;
	for (i = 0; i < entries->count; i++)
		if (!entries->items[i].rejected)
			entries->order[entries->order_count++] = i;
	qsort_r(entries->order, entries->order_count, sizeof(*entries->order), by_id,
		entries->items);
}

static int by_id_and_day(const void *a, const void *b, void *context)
{
	const struct batch_entry *items = context;
	const struct batch_day *x = a, *y = b;
	int64_t id_x = items[x->entry].id, id_y = items[y->entry].id;

	if (id_x != id_y)
		return (id_x > id_y) - (id_x < id_y);
	return (x->day > y->day) - (x->day < y->day);
}

static void sort_days(struct batch_days *days, const struct batch_entries *entries)
{
	uint32_t i, n = 0;

	if (!days->count)
		return;
	qsort_r(days->items, days->count, sizeof(*days->items), by_id_and_day, entries->items);
	for (i = 0; i < days->count; i++) {
		const struct batch_day *day = &days->items[i];

		if (entries->items[day->entry].rejected)
			continue;
		if (n && days->items[n - 1].entry == day->entry &&
		    days->items[n - 1].day == day->day) {
			days->items[n - 1].pulls += day->pulls;
			days->items[n - 1].checks += day->checks;
		} else {
			days->items[n++] = *day;
		}
	}
	days->count = n;
}

/*
 * Times are whole seconds in the kernel, so a push and the pulls around it often share one. Then
 * pulls come first, a deletion next, a push last: a tag that was deleted and pushed within a
 * second is there more often than not.
 */
static int rank(const struct batch_observation *observation)
{
	if (observation->evidence == PT_OP_PUT)
		return 2;
	return observation->evidence == PT_OP_DELETE;
}

static int by_tag_and_time(const void *a, const void *b, void *context)
{
	const struct batch_entry *items = context;
	const struct batch_observation *x = a, *y = b;
	int64_t id_x = items[x->tag].id, id_y = items[y->tag].id;

	if (id_x != id_y)
		return (id_x > id_y) - (id_x < id_y);
	if (x->at != y->at)
		return (x->at > y->at) - (x->at < y->at);
	if (rank(x) != rank(y))
		return rank(x) - rank(y);
	return (x->manifest > y->manifest) - (x->manifest < y->manifest);
}

static bool same_second(const struct batch_observation *a, const struct batch_observation *b)
{
	return a->tag == b->tag && a->at == b->at;
}

/* A pull of what was pushed in the same second came after the push, which says it all. */
static bool told_by_push(const struct batch_observation *items, uint32_t i, uint32_t count)
{
	uint32_t j;

	if (rank(&items[i]))
		return false;
	for (j = i + 1; j < count && same_second(&items[i], &items[j]); j++)
		if (items[j].evidence == PT_OP_PUT && items[j].manifest == items[i].manifest)
			return true;
	return false;
}

/* Those that can't be stored leave; a hint stays only where it is all that a tag has. */
static uint32_t drop_useless(struct batch *batch)
{
	struct batch_observation *items = batch->observations.items;
	uint32_t i, n = 0, count = batch->observations.count;

	for (i = 0; i < count; i++) {
		struct batch_entry *tag = &batch->tags.items[items[i].tag];

		if (tag->rejected || (items[i].manifest != BATCH_NONE &&
				      batch->manifests.items[items[i].manifest].rejected))
			continue;
		if (items[i].evidence != PT_OP_HINTED_GET)
			tag->evidence = items[i].evidence;
		items[n++] = items[i];
	}
	count = n;
	for (i = n = 0; i < count; i++) {
		const struct batch_entry *tag = &batch->tags.items[items[i].tag];

		if (items[i].evidence == PT_OP_HINTED_GET && tag->evidence)
			continue;
		items[n++] = items[i];
	}
	return n;
}

/*
 * Folds the sorted observations of one tag, items[from..to), into runs of one manifest. The last
 * run goes to the tag's entry, the first and the last observation of each other run to kept[].
 */
static uint32_t fold_tag(struct batch *batch, uint32_t from, uint32_t to,
			 struct batch_observation *kept)
{
	const struct batch_observation *items = batch->observations.items;
	struct batch_entry *tag = &batch->tags.items[items[from].tag];
	struct batch_observation run;
	uint32_t i, n = 0;
	int64_t seen;

	while (told_by_push(items, from, to))
		from++;
	run = items[from];
	seen = run.at;
	for (i = from + 1; i < to; i++) {
		int64_t at = items[i].at;

		if (told_by_push(items, i, to))
			continue;
		if (items[i].manifest == run.manifest) {
			seen = at;
			continue;
		}
		kept[n++] = run;
		if (seen > run.at) {
			kept[n] = run;
			kept[n++].at = seen;
		}
		run = items[i];
		if (at <= seen)
			run.at = at = seen + 1; /* what follows within the second comes after */
		seen = at;
	}
	tag->manifest = run.manifest;
	tag->since = run.at;
	tag->seen = seen > run.at ? seen : run.at;
	tag->evidence = run.evidence;
	return n;
}

static int fold_observations(struct batch *batch)
{
	struct batch_observations *list = &batch->observations;
	_cleanup_free_ struct batch_observation *kept = NULL;
	uint32_t from, to, n = 0, i;

	for (i = 0; i < batch->tags.count; i++)
		batch->tags.items[i].evidence = 0;
	list->count = drop_useless(batch);
	if (!list->count)
		return 0;
	kept = malloc(list->count * sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	qsort_r(list->items, list->count, sizeof(*list->items), by_tag_and_time, batch->tags.items);
	for (from = 0; from < list->count; from = to) {
		for (to = from + 1; to < list->count; to++)
			if (list->items[to].tag != list->items[from].tag)
				break;
		n += fold_tag(batch, from, to, kept + n);
	}
	memcpy(list->items, kept, n * sizeof(*kept));
	list->count = n;
	return 0;
}

int batch_sort(struct batch *batch)
{
	sort_entries(&batch->tags);
	sort_entries(&batch->manifests);
	sort_days(&batch->tag_days, &batch->tags);
	sort_days(&batch->manifest_days, &batch->manifests);
	batch_sort_unpaired(batch);
	batch_sort_children(batch);
	return fold_observations(batch);
}
