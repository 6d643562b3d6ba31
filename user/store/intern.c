/* SPDX-License-Identifier: MIT */
/*
 * Names to identifiers: from the cache, else registered by the database in a transaction of their
 * own, which may be repeated. What the database refuses is narrowed down by halves to the row at
 * fault, which is rejected; the others go on. Runs on the shipper's thread.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "store/names.h"
#include "store/store_internal.h"

struct intern {
	struct store *store;
	struct batch *batch;
	bool tags;
	int64_t since_us;
	uint32_t *missing; /* indexes of entries without an id */
};

static void add_text(struct pg_array *array, struct window_text text)
{
	pg_array_bytes(array, text.data, text.length);
}

static struct batch_entry *entry_at(const struct intern *intern, uint32_t i)
{
	struct batch_entries *entries =
		intern->tags ? &intern->batch->tags : &intern->batch->manifests;

	return &entries->items[intern->missing[i]];
}

static void fill_params(const struct intern *intern, uint32_t from, uint32_t to)
{
	struct pg_params *params = &intern->store->params;
	struct pg_array *registries, *repositories, *names, *digests = NULL;
	struct digest digest;
	uint32_t i;

	pg_params_reset(params);
	pg_param_time(params, intern->since_us);
	registries = pg_param_array(params, PG_TEXT);
	repositories = pg_param_array(params, PG_TEXT);
	names = pg_param_array(params, PG_TEXT);
	if (!intern->tags)
		digests = pg_param_array(params, PG_BYTEA);
	for (i = from; i < to; i++) {
		const struct batch_entry *entry = entry_at(intern, i);

		add_text(registries, entry->registry);
		add_text(repositories, entry->repository);
		if (!digests) {
			add_text(names, entry->name);
			continue;
		}
		/* parsed before, when the batch was made */
		if (digest_parse(&digest, entry->name.data, entry->name.length))
			abort();
		pg_array_bytes(names, digest.algorithm, digest.algorithm_length);
		pg_array_bytes(digests, digest.bytes, digest.bytes_length);
	}
}

/* Takes a binary bigint[] of exactly the right length. */
static int take_ids(const struct intern *intern, uint32_t from, uint32_t to, const PGresult *result)
{
	const char *data;
	uint64_t wire;
	uint32_t i;

	if (PQntuples(result) != 1 || PQnfields(result) != 1 ||
	    PQgetlength(result, 0, 0) != (int)(20 + 12 * (to - from)))
		return -EIO;
	data = PQgetvalue(result, 0, 0) + 20;
	for (i = from; i < to; i++, data += 12) {
		struct batch_entry *entry = entry_at(intern, i);

		memcpy(&wire, data + 4, sizeof(wire));
		entry->id = (int64_t)be64toh(wire);
		id_cache_put(intern->store->cache, entry->key, entry->id);
	}
	return 0;
}

/* Did the server object to the data (and not to the time, the connection, the schema)? */
static bool is_data_error(const char *sqlstate)
{
	return !strncmp(sqlstate, "22", 2) || !strncmp(sqlstate, "23", 2) ||
	       !strncmp(sqlstate, "54", 2);
}

/* again: this row was refused before, alone. Once may be any accident; twice it is the row. */
static int intern_range(const struct intern *intern, uint32_t from, uint32_t to, bool again)
{
	struct store *store = intern->store;
	_cleanup_pgresult_ PGresult *result = NULL;
	char reason[96];
	int err;

	fill_params(intern, from, to);
	err = pg_call(store->pg, intern->tags ? STORE_INTERN_TAGS : STORE_INTERN_MANIFESTS,
		      &store->params, &result);
	if (!err)
		return take_ids(intern, from, to, result);
	if (err != -EIO || !is_data_error(pg_sqlstate(store->pg)))
		return err;
	if (to - from == 1 && !again)
		return intern_range(intern, from, to, true);
	if (to - from == 1) {
		snprintf(reason, sizeof(reason), "refused by the database: SQLSTATE %s",
			 pg_sqlstate(store->pg));
		return batch_reject_entry(intern->batch, entry_at(intern, from), intern->tags,
					  reason);
	}
	err = intern_range(intern, from, from + (to - from) / 2, false);
	return err ?: intern_range(intern, from + (to - from) / 2, to, false);
}

static int intern_entries(struct store *store, struct batch *batch, bool tags, int64_t since_us)
{
	struct batch_entries *entries = tags ? &batch->tags : &batch->manifests;
	struct intern intern = {.store = store, .batch = batch, .tags = tags, .since_us = since_us};
	uint32_t i, n = 0, from, to;
	int err = 0;

	/* order is free until batch_sort fills it */
	intern.missing = entries->order;
	for (i = 0; i < entries->count; i++) {
		struct batch_entry *entry = &entries->items[i];

		entry->id = id_cache_get(store->cache, entry->key);
		if (!entry->id)
			intern.missing[n++] = i;
	}
	for (from = 0; from < n && !err; from = to) {
		to = n - from > INTERN_CHUNK ? from + INTERN_CHUNK : n;
		err = intern_range(&intern, from, to, false);
	}
	return err;
}

int store_intern(struct store *store, struct batch *batch, int64_t since_us)
{
	int err = intern_entries(store, batch, true, since_us);

	return err ?: intern_entries(store, batch, false, since_us);
}
