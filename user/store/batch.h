/* SPDX-License-Identifier: MIT */
/*
 * A window made ready for the database: its records added up per tag and per manifest, what they
 * say about versions of tags put in order, and the rows set aside that text columns can't hold.
 * Texts point into the reader, which must outlive the batch. Pure: no libpq.
 */
#ifndef PULLTAP_STORE_BATCH_H
#define PULLTAP_STORE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "store/id_cache.h"
#include "window/spool.h"

#define BATCH_NO_TIME INT64_MIN
#define BATCH_NONE UINT32_MAX

/* A tag or a manifest. Times in microseconds since the Unix epoch or BATCH_NO_TIME. */
struct batch_entry {
	struct id_key key;
	int64_t id; /* 0: not known yet */
	struct window_text registry;
	struct window_text repository;
	struct window_text name; /* tag, or digest as seen */
	uint64_t count; /* records' counts, whatever they were */
	int64_t pulls, checks, pushes;
	int32_t day; /* newest day with a pull or check since 1970-01-01, 0 none */
	int64_t day_pulls, day_checks; /* of that day */
	int64_t hinted; /* of pulls: by digest after a HEAD of the tag */
	int64_t first_pull, last_pull, first_check, last_check, last_push, last_delete;
	int64_t last_direct; /* tags: latest GET by name */
	/* tags: the newest observation; evidence is an enum pt_op, 0 none */
	uint32_t manifest; /* index of an entry, BATCH_NONE: deleted */
	int64_t since, seen;
	uint8_t evidence;
	int64_t excluded, last_excluded; /* by a rule: in none of the counts above */
	bool rejected;
};

struct batch_entries {
	struct batch_entry *items;
	uint32_t count;
	uint32_t *order; /* after batch_sort: those that apply, by id */
	uint32_t order_count;
};

/* Counts of a day before the newest of an entry. */
struct batch_day {
	uint32_t entry;
	int32_t day;
	int64_t pulls, checks;
};

struct batch_days {
	struct batch_day *items;
	uint32_t count, capacity;
};

/* A tag named a manifest (BATCH_NONE: was deleted) at a time. */
struct batch_observation {
	uint32_t tag;
	uint32_t manifest;
	int64_t at;
	uint8_t evidence;
};

struct batch_observations {
	struct batch_observation *items;
	uint32_t count, capacity;
};

/*
 * What this node could not pair, for the database to pair with other nodes': HEADs of a tag that no
 * GET followed, and GETs by digest (tag is BATCH_NONE) that no HEAD preceded. count is below 0
 * where the HEAD was in an earlier window.
 */
struct batch_half {
	uint32_t tag;
	uint32_t manifest;
	int64_t count;
	int64_t at;
};

struct batch_halves {
	struct batch_half *items;
	uint32_t count, capacity;
};

/* Manifests of an index and of one of its children, and how often they were seen to be pulled so.
 */
struct batch_child {
	uint32_t index;
	uint32_t child;
	int64_t count;
	int64_t at;
};

struct batch_children {
	struct batch_child *items;
	uint32_t count, capacity;
};

struct batch_reject {
	struct window_text registry, repository, tag, digest;
	uint64_t count;
	int64_t last_us;
	char reason[96];
};

struct batch_rejects {
	struct batch_reject *items;
	uint32_t count, capacity;
};

/* Time switched off. */
struct batch_off {
	struct window_text registry, source, said_by;
	int64_t ms;
	int64_t until;
};

struct batch_offs {
	struct batch_off *items;
	uint32_t count, capacity;
};

/* A count that has a name of its own: of a rule, or of a kind of client. */
struct batch_name {
	struct window_text registry, name;
	enum pt_op op;
	int64_t count;
	int64_t at;
};

struct batch_names {
	struct batch_name *items;
	uint32_t count, capacity;
};

struct batch {
	struct batch_entries tags, manifests;
	struct batch_days tag_days, manifest_days;
	struct batch_observations observations; /* after batch_sort: all but each tag's newest */
	struct batch_observations deleted; /* manifests by digest; tag is BATCH_NONE */
	struct batch_halves unpaired; /* after batch_sort: none is 0 */
	struct batch_children children;
	struct batch_rejects rejects;
	struct batch_offs offs;
	struct batch_names names;
};

/* How a window's times become the database's: moved back, and none later than that. */
struct batch_clock {
	int64_t back_us;
	int64_t latest_us;
};

/* Reads all records. -ENOMEM is the only error. */
must_check int batch_new(struct batch **ret, struct spool_reader *reader,
			 const struct id_cache *cache, const struct batch_clock *clock);
void batch_free(struct batch **batch);

/* Sets an entry aside that the database refused. */
must_check int batch_reject_entry(struct batch *batch, struct batch_entry *entry, bool is_tag,
				  const char *reason);

/*
 * Once, when every entry has its id or is rejected: puts entries, days and observations in the
 * order of ids (two agents that lock rows in one order never wait for each other in a ring) and
 * folds observations. 0 or -ENOMEM.
 */
must_check int batch_sort(struct batch *batch);

/* After batch_sort: drops what the window says about versions of tags; counts stay. */
void batch_forget_versions(struct batch *batch);

/* A time that PostgreSQL can hold: clocks that were never set are brought into its range. */
int64_t batch_time(int64_t unix_us);
/* The same by the database's clock. */
int64_t batch_dated(const struct batch_clock *clock, int64_t unix_us);

#endif
