/* SPDX-License-Identifier: MIT */
/*
 * What is between two names: HEADs and GETs by digest that are left when a node has paired what it
 * could (mostly none, for a client's HEAD and GET go to the same node in most places), and an index
 * with its children. Runs on the shipper's thread.
 */
#include <errno.h>

#include "store/batch_internal.h"

/* A HEAD of a tag waits for a GET, a hinted GET has found its HEAD, a GET by digest has none. */
int batch_add_half(struct batch *batch, uint32_t tag, uint32_t manifest,
		   const struct window_record *record)
{
	int64_t count = (int64_t)record->count;
	struct batch_half *item;

	if (manifest == BATCH_NONE)
		return 0;
	switch (record->op) {
	case PT_OP_HEAD:
		if (tag == BATCH_NONE)
			return 0;
		break;
	case PT_OP_HINTED_GET:
		count = -count;
		break;
	case PT_OP_GET:
		if (tag != BATCH_NONE)
			return 0;
		break;
	default:
		return 0;
	}
	item = APPEND(&batch->unpaired);
	if (!item)
		return -ENOMEM;
	*item = (struct batch_half){
		.tag = tag, .manifest = manifest, .count = count, .at = record->last_us};
	return 0;
}

int batch_add_child(struct batch *batch, uint32_t index, uint32_t child,
		    const struct window_record *record)
{
	struct batch_child *item = APPEND(&batch->children);

	if (!item)
		return -ENOMEM;
	*item = (struct batch_child){.index = index,
				     .child = child,
				     .count = (int64_t)record->count,
				     .at = record->last_us};
	return 0;
}

static int by_names(const void *a, const void *b)
{
	const struct batch_half *x = a, *y = b;

	if (x->manifest != y->manifest)
		return (x->manifest > y->manifest) - (x->manifest < y->manifest);
	return (x->tag > y->tag) - (x->tag < y->tag);
}

void batch_sort_unpaired(struct batch *batch)
{
	struct batch_halves *list = &batch->unpaired;
	uint32_t i, n = 0;

	if (!list->count)
		return;
	qsort(list->items, list->count, sizeof(*list->items), by_names);
	for (i = 0; i < list->count; i++) {
		const struct batch_half half = list->items[i];
		struct batch_half *last = n ? &list->items[n - 1] : NULL;

		if (batch->manifests.items[half.manifest].rejected ||
		    (half.tag != BATCH_NONE && batch->tags.items[half.tag].rejected))
			continue;
		if (last && last->tag == half.tag && last->manifest == half.manifest) {
			last->count += half.count;
			last->at = half.at > last->at ? half.at : last->at;
			continue;
		}
		if (last && !last->count)
			n--;
		list->items[n++] = half;
	}
	if (n && !list->items[n - 1].count)
		n--;
	list->count = n;
}

/* Two agents that lock rows in one order never wait for each other in a ring. */
static int by_ids(const void *a, const void *b, void *context)
{
	const struct batch_entry *items = context;
	const struct batch_child *x = a, *y = b;
	int64_t index_x = items[x->index].id, index_y = items[y->index].id;
	int64_t child_x = items[x->child].id, child_y = items[y->child].id;

	if (index_x != index_y)
		return (index_x > index_y) - (index_x < index_y);
	return (child_x > child_y) - (child_x < child_y);
}

void batch_sort_children(struct batch *batch)
{
	struct batch_children *list = &batch->children;
	const struct batch_entry *items = batch->manifests.items;
	uint32_t i, n = 0;

	if (!list->count)
		return;
	qsort_r(list->items, list->count, sizeof(*list->items), by_ids, batch->manifests.items);
	for (i = 0; i < list->count; i++) {
		const struct batch_child child = list->items[i];
		struct batch_child *last = n ? &list->items[n - 1] : NULL;

		if (items[child.index].rejected || items[child.child].rejected)
			continue;
		if (last && last->index == child.index && last->child == child.child) {
			last->count += child.count;
			last->at = child.at > last->at ? child.at : last->at;
			continue;
		}
		list->items[n++] = child;
	}
	list->count = n;
}
