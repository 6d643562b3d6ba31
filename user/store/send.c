/* SPDX-License-Identifier: MIT */
/*
 * The calls of a window's transaction after its claim: totals, older days, versions, rejected
 * rows, each in chunks and in the order of identifiers. Runs on the shipper's thread; the first
 * failure ends it and the caller rolls back.
 */
#include <errno.h>
#include <string.h>

#include "store/store_internal.h"

/* An entry of rejected rows' primary key must stay within a third of a page. */
#define REJECT_TEXT_MAX 512

void store_call_begin(struct store *store, const struct window_header *header)
{
	pg_params_reset(&store->params);
	pg_param_bytes(&store->params, header->agent, sizeof(header->agent));
	pg_param_int8(&store->params, (int64_t)header->sequence);
}

static void add_time(struct pg_array *array, int64_t unix_us)
{
	if (unix_us == BATCH_NO_TIME)
		pg_array_null(array);
	else
		pg_array_time(array, unix_us);
}

enum column {
	ID,
	PULLS,
	CHECKS,
	PUSHES,
	HINTED,
	DAY,
	DAY_PULLS,
	DAY_CHECKS,
	FIRST_PULL,
	LAST_PULL,
	FIRST_CHECK,
	LAST_CHECK,
	LAST_PUSH,
	LAST_DELETE,
	MANIFEST, /* from here on of tags alone */
	SINCE,
	SEEN,
	EVIDENCE,
	LAST_DIRECT,
	COLUMNS
};

static void add_counts(struct pg_array *a[], const struct batch_entry *entry)
{
	pg_array_int(a[ID], entry->id);
	pg_array_int(a[PULLS], entry->pulls);
	pg_array_int(a[CHECKS], entry->checks);
	pg_array_int(a[PUSHES], entry->pushes);
	pg_array_int(a[HINTED], entry->hinted);
	pg_array_int(a[DAY], entry->day);
	pg_array_int(a[DAY_PULLS], entry->day_pulls);
	pg_array_int(a[DAY_CHECKS], entry->day_checks);
	add_time(a[FIRST_PULL], entry->first_pull);
	add_time(a[LAST_PULL], entry->last_pull);
	add_time(a[FIRST_CHECK], entry->first_check);
	add_time(a[LAST_CHECK], entry->last_check);
	add_time(a[LAST_PUSH], entry->last_push);
	add_time(a[LAST_DELETE], entry->last_delete);
}

static void add_observation(struct pg_array *a[], const struct batch *batch,
			    const struct batch_entry *tag)
{
	if (tag->manifest == BATCH_NONE)
		pg_array_null(a[MANIFEST]);
	else
		pg_array_int(a[MANIFEST], batch->manifests.items[tag->manifest].id);
	add_time(a[SINCE], tag->since);
	add_time(a[SEEN], tag->seen);
	pg_array_int(a[EVIDENCE], tag->evidence);
	add_time(a[LAST_DIRECT], tag->last_direct);
}

static int send_entries(struct store *store, const struct batch *batch,
			const struct window_header *header, bool tags)
{
	static const enum pg_type types[COLUMNS] = {[ID] = PG_INT8,
						    [PULLS] = PG_INT8,
						    [CHECKS] = PG_INT8,
						    [PUSHES] = PG_INT8,
						    [HINTED] = PG_INT8,
						    [DAY] = PG_INT4,
						    [DAY_PULLS] = PG_INT8,
						    [DAY_CHECKS] = PG_INT8,
						    [FIRST_PULL] = PG_TIMESTAMPTZ,
						    [LAST_PULL] = PG_TIMESTAMPTZ,
						    [FIRST_CHECK] = PG_TIMESTAMPTZ,
						    [LAST_CHECK] = PG_TIMESTAMPTZ,
						    [LAST_PUSH] = PG_TIMESTAMPTZ,
						    [LAST_DELETE] = PG_TIMESTAMPTZ,
						    [MANIFEST] = PG_INT8,
						    [SINCE] = PG_TIMESTAMPTZ,
						    [SEEN] = PG_TIMESTAMPTZ,
						    [EVIDENCE] = PG_INT2,
						    [LAST_DIRECT] = PG_TIMESTAMPTZ};
	const struct batch_entries *entries = tags ? &batch->tags : &batch->manifests;
	struct pg_array *a[COLUMNS];
	uint32_t from, to, i;
	int c, err = 0;

	for (from = 0; from < entries->order_count && !err; from = to) {
		to = entries->order_count - from > store->chunk ? from + store->chunk
								: entries->order_count;
		store_call_begin(store, header);
		for (c = 0; c < (tags ? COLUMNS : MANIFEST); c++)
			a[c] = pg_param_array(&store->params, types[c]);
		for (i = from; i < to; i++) {
			const struct batch_entry *entry = &entries->items[entries->order[i]];

			add_counts(a, entry);
			if (tags)
				add_observation(a, batch, entry);
		}
		err = pg_call(store->pg, tags ? STORE_TAGS : STORE_MANIFESTS, &store->params, NULL);
	}
	return err;
}

static void add_days(struct store *store, const struct batch_entries *entries,
		     const struct batch_days *days, uint32_t from)
{
	struct pg_params *params = &store->params;
	struct pg_array *ids = pg_param_array(params, PG_INT8);
	struct pg_array *numbers = pg_param_array(params, PG_INT4);
	struct pg_array *pulls = pg_param_array(params, PG_INT8);
	struct pg_array *checks = pg_param_array(params, PG_INT8);
	uint32_t i;

	for (i = from; i < days->count && i - from < store->chunk; i++) {
		pg_array_int(ids, entries->items[days->items[i].entry].id);
		pg_array_int(numbers, days->items[i].day);
		pg_array_int(pulls, days->items[i].pulls);
		pg_array_int(checks, days->items[i].checks);
	}
}

static int send_days(struct store *store, const struct batch *batch,
		     const struct window_header *header)
{
	uint32_t from = 0;
	int err = 0;

	while (!err && (from < batch->tag_days.count || from < batch->manifest_days.count)) {
		store_call_begin(store, header);
		add_days(store, &batch->tags, &batch->tag_days, from);
		add_days(store, &batch->manifests, &batch->manifest_days, from);
		err = pg_call(store->pg, STORE_DAYS, &store->params, NULL);
		from += store->chunk;
	}
	return err;
}

static void add_versions(struct store *store, const struct batch *batch, uint32_t from)
{
	struct pg_params *params = &store->params;
	struct pg_array *tags = pg_param_array(params, PG_INT8);
	struct pg_array *manifests = pg_param_array(params, PG_INT8);
	struct pg_array *times = pg_param_array(params, PG_TIMESTAMPTZ);
	struct pg_array *evidence = pg_param_array(params, PG_INT2);
	const struct batch_observations *list = &batch->observations;
	uint32_t i;

	for (i = from; i < list->count && i - from < store->chunk; i++) {
		const struct batch_observation *item = &list->items[i];

		pg_array_int(tags, batch->tags.items[item->tag].id);
		if (item->manifest == BATCH_NONE)
			pg_array_null(manifests);
		else
			pg_array_int(manifests, batch->manifests.items[item->manifest].id);
		pg_array_time(times, item->at);
		pg_array_int(evidence, item->evidence);
	}
}

static void add_deleted(struct store *store, const struct batch *batch, uint32_t from)
{
	struct pg_params *params = &store->params;
	struct pg_array *manifests = pg_param_array(params, PG_INT8);
	struct pg_array *times = pg_param_array(params, PG_TIMESTAMPTZ);
	const struct batch_observations *list = &batch->deleted;
	uint32_t i;

	for (i = from; i < list->count && i - from < store->chunk; i++) {
		const struct batch_entry *manifest =
			&batch->manifests.items[list->items[i].manifest];

		if (manifest->rejected)
			continue;
		pg_array_int(manifests, manifest->id);
		pg_array_time(times, list->items[i].at);
	}
}

static int send_versions(struct store *store, const struct batch *batch,
			 const struct window_header *header)
{
	uint32_t from = 0;
	int err = 0;

	while (!err && (from < batch->observations.count || from < batch->deleted.count)) {
		store_call_begin(store, header);
		add_versions(store, batch, from);
		add_deleted(store, batch, from);
		err = pg_call(store->pg, STORE_VERSIONS, &store->params, NULL);
		from += store->chunk;
	}
	return err;
}

static void add_cut(struct pg_array *array, const struct window_text *text)
{
	pg_array_bytes(array, text->data,
		       text->length > REJECT_TEXT_MAX ? REJECT_TEXT_MAX : text->length);
}

static void add_unpaired(struct store *store, const struct batch *batch, uint32_t from)
{
	struct pg_params *params = &store->params;
	struct pg_array *tags = pg_param_array(params, PG_INT8);
	struct pg_array *manifests = pg_param_array(params, PG_INT8);
	struct pg_array *counts = pg_param_array(params, PG_INT8);
	struct pg_array *times = pg_param_array(params, PG_TIMESTAMPTZ);
	const struct batch_halves *list = &batch->unpaired;
	uint32_t i;

	for (i = from; i < list->count && i - from < store->chunk; i++) {
		const struct batch_half *half = &list->items[i];

		if (half->tag == BATCH_NONE)
			pg_array_null(tags);
		else
			pg_array_int(tags, batch->tags.items[half->tag].id);
		pg_array_int(manifests, batch->manifests.items[half->manifest].id);
		pg_array_int(counts, half->count);
		pg_array_time(times, half->at);
	}
}

/* Only where another node may have the other half. */
static int send_unpaired(struct store *store, const struct batch *batch,
			 const struct window_header *header)
{
	uint32_t from;
	int err = 0;

	if (!store->pairing)
		return 0;
	for (from = 0; from < batch->unpaired.count && !err; from += store->chunk) {
		store_call_begin(store, header);
		add_unpaired(store, batch, from);
		err = pg_call(store->pg, STORE_UNPAIRED, &store->params, NULL);
	}
	return err;
}

static int send_children(struct store *store, const struct batch *batch,
			 const struct window_header *header)
{
	const struct batch_children *list = &batch->children;
	const struct batch_entry *manifests = batch->manifests.items;
	struct pg_array *indexes, *children, *counts, *times;
	uint32_t from, i;
	int err = 0;

	for (from = 0; from < list->count && !err; from += store->chunk) {
		store_call_begin(store, header);
		indexes = pg_param_array(&store->params, PG_INT8);
		children = pg_param_array(&store->params, PG_INT8);
		counts = pg_param_array(&store->params, PG_INT8);
		times = pg_param_array(&store->params, PG_TIMESTAMPTZ);
		for (i = from; i < list->count && i - from < store->chunk; i++) {
			pg_array_int(indexes, manifests[list->items[i].index].id);
			pg_array_int(children, manifests[list->items[i].child].id);
			pg_array_int(counts, list->items[i].count);
			pg_array_time(times, list->items[i].at);
		}
		err = pg_call(store->pg, STORE_CHILDREN, &store->params, NULL);
	}
	return err;
}

static int send_rejected(struct store *store, const struct batch *batch,
			 const struct window_header *header)
{
	const struct batch_rejects *list = &batch->rejects;
	struct pg_array *texts[4], *reasons, *counts, *times;
	uint32_t from, to, i;
	int c, err = 0;

	for (from = 0; from < list->count && !err; from = to) {
		to = list->count - from > store->chunk ? from + store->chunk : list->count;
		store_call_begin(store, header);
		for (c = 0; c < 4; c++)
			texts[c] = pg_param_array(&store->params, PG_BYTEA);
		reasons = pg_param_array(&store->params, PG_TEXT);
		counts = pg_param_array(&store->params, PG_INT8);
		times = pg_param_array(&store->params, PG_TIMESTAMPTZ);
		for (i = from; i < to; i++) {
			const struct batch_reject *item = &list->items[i];

			add_cut(texts[0], &item->registry);
			add_cut(texts[1], &item->repository);
			add_cut(texts[2], &item->tag);
			add_cut(texts[3], &item->digest);
			pg_array_bytes(reasons, item->reason, strlen(item->reason));
			pg_array_int(counts, (int64_t)item->count);
			pg_array_time(times, item->last_us);
		}
		err = pg_call(store->pg, STORE_REJECTED, &store->params, NULL);
	}
	return err;
}

/* A handful at most: a row per source and registry. */
static int send_off(struct store *store, const struct batch *batch,
		    const struct window_header *header)
{
	struct pg_array *texts[3], *ms, *until;
	uint32_t i;
	int c;

	if (!batch->offs.count)
		return 0;
	store_call_begin(store, header);
	for (c = 0; c < 3; c++)
		texts[c] = pg_param_array(&store->params, PG_TEXT);
	ms = pg_param_array(&store->params, PG_INT8);
	until = pg_param_array(&store->params, PG_TIMESTAMPTZ);
	for (i = 0; i < batch->offs.count; i++) {
		const struct batch_off *item = &batch->offs.items[i];

		pg_array_bytes(texts[0], item->registry.data, item->registry.length);
		pg_array_bytes(texts[1], item->source.data, item->source.length);
		pg_array_bytes(texts[2], item->said_by.data, item->said_by.length);
		pg_array_int(ms, item->ms);
		pg_array_time(until, item->until);
	}
	return pg_call(store->pg, STORE_OFF, &store->params, NULL);
}

int store_send(struct store *store, const struct batch *batch, const struct window_header *header)
{
	int err;

	err = send_entries(store, batch, header, true);
	if (!err)
		err = send_entries(store, batch, header, false);
	if (!err)
		err = send_days(store, batch, header);
	if (!err)
		err = send_versions(store, batch, header);
	if (!err)
		err = send_unpaired(store, batch, header);
	if (!err)
		err = send_children(store, batch, header);
	if (!err)
		err = send_rejected(store, batch, header);
	if (!err)
		err = send_off(store, batch, header);
	if (!err)
		err = store_send_names(store, batch, header);
	return err;
}
