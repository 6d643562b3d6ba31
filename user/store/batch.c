/* SPDX-License-Identifier: MIT */
#include "store/batch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/batch_internal.h"
#include "store/names.h"

#define US_PER_DAY 86400000000ll
/* Times outside 1970-01-02 .. 9999-12-31 come from a clock that was never set. */
#define TIME_MIN US_PER_DAY
#define TIME_MAX 253402300799000000ll
/* Far above any window's real count, far below what could make a sum overflow. */
#define COUNT_MAX (1ull << 40)

/* Entries while they are being gathered: a hash table of indexes that never fills beyond half. */
struct gather {
	struct batch *batch;
	const struct id_cache *cache;
	const struct batch_clock *clock;
	uint32_t *tag_slots, *manifest_slots;
	uint32_t mask;
};

int64_t batch_time(int64_t unix_us)
{
	if (unix_us < TIME_MIN)
		return TIME_MIN;
	return unix_us > TIME_MAX ? TIME_MAX : unix_us;
}

int64_t batch_dated(const struct batch_clock *clock, int64_t unix_us)
{
	int64_t moved = batch_time(batch_time(unix_us) - clock->back_us);

	return moved < clock->latest_us ? moved : clock->latest_us;
}

void batch_forget_versions(struct batch *batch)
{
	uint32_t i;

	batch->observations.count = 0;
	batch->deleted.count = 0;
	for (i = 0; i < batch->tags.count; i++)
		batch->tags.items[i].evidence = 0;
}

static int reject(struct batch *batch, const struct window_record *record, const char *reason)
{
	struct batch_reject *item = APPEND(&batch->rejects);

	if (!item)
		return -ENOMEM;
	*item = (struct batch_reject){
		.registry = record->registry,
		.repository = record->repository,
		.tag = record->tag,
		.digest = record->digest,
		.count = record->count > INT64_MAX ? INT64_MAX : record->count,
		.last_us = record->last_us,
	};
	snprintf(item->reason, sizeof(item->reason), "%s", reason);
	return 0;
}

int batch_reject_entry(struct batch *batch, struct batch_entry *entry, bool is_tag,
		       const char *reason)
{
	struct window_record record = {
		.registry = entry->registry,
		.repository = entry->repository,
		.count = entry->count,
		.last_us = TIME_MIN,
	};
	const int64_t times[] = {entry->last_pull, entry->last_check, entry->last_push,
				 entry->last_delete, entry->last_excluded};
	size_t i;

	if (is_tag)
		record.tag = entry->name;
	else
		record.digest = entry->name;
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (times[i] > record.last_us)
			record.last_us = times[i];
	entry->rejected = true;
	return reject(batch, &record, reason);
}

/* The entry of a name, made when it is new. */
static uint32_t entry_of(struct gather *gather, bool is_tag, const struct window_record *record,
			 const struct digest *digest)
{
	struct batch_entries *entries = is_tag ? &gather->batch->tags : &gather->batch->manifests;
	uint32_t *slots = is_tag ? gather->tag_slots : gather->manifest_slots;
	char name[1 + DIGEST_ALGORITHM_MAX + DIGEST_BYTES_MAX];
	struct batch_entry *entry;
	struct id_key key;
	uint32_t slot;

	if (is_tag) {
		key = id_cache_key(gather->cache, ID_TAG, &record->registry, &record->repository,
				   record->tag.data, record->tag.length);
	} else {
		size_t n = digest->algorithm_length;

		name[0] = (char)n;
		memcpy(name + 1, digest->algorithm, n);
		memcpy(name + 1 + n, digest->bytes, digest->bytes_length);
		key = id_cache_key(gather->cache, ID_MANIFEST, &record->registry,
				   &record->repository, name,
				   (uint16_t)(1 + n + digest->bytes_length));
	}
	for (slot = key.low & gather->mask; slots[slot]; slot = (slot + 1) & gather->mask) {
		entry = &entries->items[slots[slot] - 1];
		if (entry->key.low == key.low && entry->key.high == key.high)
			return slots[slot] - 1;
	}
	entries->items[entries->count] = (struct batch_entry){
		.key = key,
		.registry = record->registry,
		.repository = record->repository,
		.name = is_tag ? record->tag : record->digest,
		.manifest = BATCH_NONE,
		.first_pull = BATCH_NO_TIME,
		.last_pull = BATCH_NO_TIME,
		.first_check = BATCH_NO_TIME,
		.last_check = BATCH_NO_TIME,
		.last_push = BATCH_NO_TIME,
		.last_delete = BATCH_NO_TIME,
		.last_direct = BATCH_NO_TIME,
		.last_excluded = BATCH_NO_TIME,
		.since = BATCH_NO_TIME,
		.seen = BATCH_NO_TIME,
	};
	slots[slot] = ++entries->count;
	return entries->count - 1;
}

static void lower_time(int64_t *time, int64_t at)
{
	if (*time == BATCH_NO_TIME || at < *time)
		*time = at;
}

static void raise_time(int64_t *time, int64_t at)
{
	if (*time == BATCH_NO_TIME || at > *time)
		*time = at;
}

/* Keeps the newest day in the entry and moves every other one to the list. */
static int add_day(struct batch_days *days, struct batch_entry *entry, uint32_t index, int32_t day,
		   int64_t pulls, int64_t checks)
{
	struct batch_day older = {.entry = index, .day = day, .pulls = pulls, .checks = checks};
	struct batch_day *item;

	if (day == entry->day) {
		entry->day_pulls += pulls;
		entry->day_checks += checks;
		return 0;
	}
	if (day > entry->day) {
		older = (struct batch_day){.entry = index,
					   .day = entry->day,
					   .pulls = entry->day_pulls,
					   .checks = entry->day_checks};
		entry->day = day;
		entry->day_pulls = pulls;
		entry->day_checks = checks;
		if (!older.day)
			return 0;
	}
	item = APPEND(days);
	if (!item)
		return -ENOMEM;
	*item = older;
	return 0;
}

static int add_counts(struct batch_days *days, struct batch_entry *entry, uint32_t index,
		      const struct window_record *record)
{
	int64_t count = (int64_t)record->count, at = record->last_us;
	int64_t pulls = 0, checks = 0;

	entry->count += record->count;
	switch (record->op) {
	case PT_OP_HINTED_GET:
		checks = -count; /* its HEAD was counted as a check before */
		entry->hinted += count;
		/* fall through */
	case PT_OP_GET:
		pulls = count;
		if (record->op == PT_OP_GET)
			raise_time(&entry->last_direct, at);
		lower_time(&entry->first_pull, at);
		raise_time(&entry->last_pull, at);
		break;
	case PT_OP_HEAD:
		checks = count;
		lower_time(&entry->first_check, at);
		raise_time(&entry->last_check, at);
		break;
	case PT_OP_PUT:
		entry->pushes += count;
		raise_time(&entry->last_push, at);
		return 0;
	case PT_OP_DELETE:
		raise_time(&entry->last_delete, at);
		return 0;
	case PT_OP_EXCLUDED:
		entry->excluded += count;
		raise_time(&entry->last_excluded, at);
		return 0;
	default:
		return 0;
	}
	entry->pulls += pulls;
	entry->checks += checks;
	return add_day(days, entry, index, (int32_t)(at / US_PER_DAY), pulls, checks);
}

static int observe(struct batch_observations *list, uint32_t tag, uint32_t manifest,
		   const struct window_record *record)
{
	struct batch_observation *item = APPEND(list);

	if (!item)
		return -ENOMEM;
	*item = (struct batch_observation){.tag = tag,
					   .manifest = manifest,
					   .at = record->last_us,
					   .evidence = (uint8_t)record->op};
	return 0;
}

/* Why a record can't be stored at all, or NULL. */
static const char *unstorable(const struct window_record *record)
{
	if (record->op <= PT_OP_NONE || record->op >= PT_OP_COUNT)
		return "unknown operation";
	if (!record->count || record->count > COUNT_MAX)
		return "count out of range";
	if (!record->registry.length || !record->repository.length)
		return "empty name";
	if (record->registry.length > sizeof(((struct pt_registry *)0)->name) ||
	    record->repository.length > PT_REPOSITORY_MAX || record->tag.length > PT_TAG_MAX)
		return "name too long";
	if (!name_is_utf8(record->registry.data, record->registry.length))
		return "registry is not UTF-8 text";
	if (!name_is_utf8(record->repository.data, record->repository.length))
		return "repository is not UTF-8 text";
	if (!name_is_utf8(record->tag.data, record->tag.length))
		return "tag is not UTF-8 text";
	return NULL;
}

/* What was counted is not looked at: the record has other texts in its places (PT_OP_OFF). */
static int add_off(struct batch *batch, const struct window_record *record)
{
	struct batch_off *item;

	if (record->count > COUNT_MAX ||
	    !name_is_utf8(record->registry.data, record->registry.length) ||
	    !name_is_utf8(record->tag.data, record->tag.length) ||
	    !name_is_utf8(record->repository.data, record->repository.length))
		return reject(batch, record, "time switched off is malformed");
	item = APPEND(&batch->offs);
	if (!item)
		return -ENOMEM;
	*item = (struct batch_off){
		.registry = record->registry,
		.source = record->tag,
		.said_by = record->repository,
		.ms = (int64_t)record->count,
		.until = record->last_us,
	};
	return 0;
}

/* A rule's or a client's count: no repository, and the name stands where a tag does. */
static int add_name(struct batch *batch, const struct window_record *record)
{
	struct batch_name *item;

	if (!record->count || record->count > COUNT_MAX || !record->registry.length ||
	    record->registry.length > sizeof(((struct pt_registry *)0)->name) ||
	    !record->tag.length || !name_is_utf8(record->registry.data, record->registry.length) ||
	    !name_is_utf8(record->tag.data, record->tag.length))
		return reject(batch, record, "count of a rule or a client is malformed");
	item = APPEND(&batch->names);
	if (!item)
		return -ENOMEM;
	*item = (struct batch_name){.registry = record->registry,
				    .name = record->tag,
				    .op = record->op,
				    .count = (int64_t)record->count,
				    .at = record->last_us};
	return 0;
}

/* PT_OP_CHILD: the record names two manifests, and counts none of them. */
static int add_child(struct gather *gather, const struct window_record *record)
{
	struct window_record parent = *record;
	struct digest index, child;

	parent.digest = record->tag;
	if (digest_parse(&index, record->tag.data, record->tag.length) ||
	    digest_parse(&child, record->digest.data, record->digest.length))
		return reject(gather->batch, record, "index or child is malformed");
	return batch_add_child(gather->batch, entry_of(gather, false, &parent, &index),
			       entry_of(gather, false, record, &child), record);
}

static int add_record(struct gather *gather, struct window_record *record)
{
	struct batch *batch = gather->batch;
	uint32_t tag = BATCH_NONE, manifest = BATCH_NONE;
	const char *reason = unstorable(record);
	struct digest digest;
	int err = 0;

	record->last_us = batch_dated(gather->clock, record->last_us);
	if (record->op == PT_OP_OFF)
		return add_off(batch, record);
	if (record->op >= PT_OP_RULE && record->op < PT_OP_COUNT)
		return add_name(batch, record);
	if (reason)
		return reject(batch, record, reason);
	if (record->op == PT_OP_CHILD)
		return add_child(gather, record);
	if (record->digest.length) {
		if (!digest_parse(&digest, record->digest.data, record->digest.length)) {
			manifest = entry_of(gather, false, record, &digest);
			err = add_counts(&batch->manifest_days, &batch->manifests.items[manifest],
					 manifest, record);
		} else {
			err = reject(batch, record, "digest is malformed");
		}
	}
	if (!err && record->tag.length) {
		tag = entry_of(gather, true, record, NULL);
		err = add_counts(&batch->tag_days, &batch->tags.items[tag], tag, record);
	}
	if (!err)
		err = batch_add_half(batch, tag, manifest, record);
	if (err)
		return err;
	if (record->op == PT_OP_DELETE) {
		if (tag != BATCH_NONE)
			return observe(&batch->observations, tag, BATCH_NONE, record);
		if (manifest != BATCH_NONE)
			return observe(&batch->deleted, BATCH_NONE, manifest, record);
		return 0;
	}
	if (tag != BATCH_NONE && manifest != BATCH_NONE && record->op != PT_OP_EXCLUDED)
		return observe(&batch->observations, tag, manifest, record);
	return 0;
}

int batch_new(struct batch **ret, struct spool_reader *reader, const struct id_cache *cache,
	      const struct batch_clock *clock)
{
	_cleanup_(batch_free) struct batch *batch = calloc(1, sizeof(*batch));
	_cleanup_free_ uint32_t *tag_slots = NULL, *manifest_slots = NULL;
	size_t records = spool_reader_count(reader);
	struct gather gather = {.batch = batch, .cache = cache, .clock = clock};
	struct window_record record;
	uint64_t slots = 64;
	int err;

	while (slots < 4 * records)
		slots *= 2;
	tag_slots = calloc(slots, sizeof(*tag_slots));
	manifest_slots = calloc(slots, sizeof(*manifest_slots));
	if (!batch || !tag_slots || !manifest_slots)
		return -ENOMEM;
	gather.tag_slots = tag_slots;
	gather.manifest_slots = manifest_slots;
	gather.mask = (uint32_t)(slots - 1);
	/* a record names one tag and two manifests at most; untouched pages cost nothing */
	batch->tags.items = calloc(records + 1, sizeof(struct batch_entry));
	batch->manifests.items = calloc(2 * records + 1, sizeof(struct batch_entry));
	batch->tags.order = malloc((records + 1) * sizeof(uint32_t));
	batch->manifests.order = malloc((2 * records + 1) * sizeof(uint32_t));
	if (!batch->tags.items || !batch->manifests.items || !batch->tags.order ||
	    !batch->manifests.order)
		return -ENOMEM;
	spool_reader_rewind(reader);
	while (spool_reader_next(reader, &record) > 0) {
		err = add_record(&gather, &record);
		if (err)
			return err;
	}
	*ret = TAKE_PTR(batch);
	return 0;
}

void batch_free(struct batch **ptr)
{
	struct batch *batch = *ptr;

	if (!batch)
		return;
	free(batch->tags.items);
	free(batch->tags.order);
	free(batch->manifests.items);
	free(batch->manifests.order);
	free(batch->tag_days.items);
	free(batch->manifest_days.items);
	free(batch->observations.items);
	free(batch->deleted.items);
	free(batch->unpaired.items);
	free(batch->children.items);
	free(batch->rejects.items);
	free(batch->offs.items);
	free(batch->names.items);
	free(batch);
	*ptr = NULL;
}
