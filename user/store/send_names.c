/* SPDX-License-Identifier: MIT */
/*
 * Sends what rules excluded, per tag and manifest, and the counts that have a name of their own: of
 * rules and of kinds of client. Runs on the shipper's thread within a window's transaction.
 */
#include "store/store_internal.h"

static void add_excluded(struct store *store, const struct batch_entries *entries, uint32_t *at)
{
	struct pg_array *ids = pg_param_array(&store->params, PG_INT8);
	struct pg_array *counts = pg_param_array(&store->params, PG_INT8);
	struct pg_array *times = pg_param_array(&store->params, PG_TIMESTAMPTZ);
	uint32_t n = 0;

	for (; *at < entries->order_count && n < store->chunk; ++*at) {
		const struct batch_entry *entry = &entries->items[entries->order[*at]];

		if (!entry->excluded)
			continue;
		pg_array_int(ids, entry->id);
		pg_array_int(counts, entry->excluded);
		pg_array_time(times, entry->last_excluded);
		n++;
	}
}

static bool any_excluded(const struct batch_entries *entries)
{
	for (uint32_t i = 0; i < entries->order_count; i++) {
		if (entries->items[entries->order[i]].excluded)
			return true;
	}
	return false;
}

static int send_excluded(struct store *store, const struct batch *batch,
			 const struct window_header *header)
{
	uint32_t tag = 0, manifest = 0;
	int err = 0;

	if (!any_excluded(&batch->tags) && !any_excluded(&batch->manifests))
		return 0;
	while (!err && (tag < batch->tags.order_count || manifest < batch->manifests.order_count)) {
		store_call_begin(store, header);
		add_excluded(store, &batch->tags, &tag);
		add_excluded(store, &batch->manifests, &manifest);
		err = pg_call(store->pg, STORE_EXCLUDED, &store->params, NULL);
	}
	return err;
}

/* As many as there are rules and kinds of client, for each registry. */
static int send_names(struct store *store, const struct batch *batch,
		      const struct window_header *header)
{
	struct pg_array *registries, *names, *ops, *counts, *times;
	uint32_t from, i;
	int err = 0;

	for (from = 0; from < batch->names.count && !err; from += store->chunk) {
		store_call_begin(store, header);
		registries = pg_param_array(&store->params, PG_TEXT);
		names = pg_param_array(&store->params, PG_TEXT);
		ops = pg_param_array(&store->params, PG_INT2);
		counts = pg_param_array(&store->params, PG_INT8);
		times = pg_param_array(&store->params, PG_TIMESTAMPTZ);
		for (i = from; i < batch->names.count && i - from < store->chunk; i++) {
			const struct batch_name *item = &batch->names.items[i];

			pg_array_bytes(registries, item->registry.data, item->registry.length);
			pg_array_bytes(names, item->name.data, item->name.length);
			pg_array_int(ops, item->op);
			pg_array_int(counts, item->count);
			pg_array_time(times, item->at);
		}
		err = pg_call(store->pg, STORE_NAMES, &store->params, NULL);
	}
	return err;
}

int store_send_names(struct store *store, const struct batch *batch,
		     const struct window_header *header)
{
	int err = send_excluded(store, batch, header);

	return err ?: send_names(store, batch, header);
}
