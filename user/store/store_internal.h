/* SPDX-License-Identifier: MIT */
/* What the files of the store share: store.c (the window), intern.c (names), send.c (counts). */
#ifndef PULLTAP_STORE_STORE_INTERNAL_H
#define PULLTAP_STORE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdint.h>

#include "base/log.h"
#include "store/batch.h"
#include "store/id_cache.h"
#include "store/pg.h"
#include "store/store.h"

/*
 * At most so many keys go into one call: memory on both sides stays bounded. Where a call takes
 * longer than the statement timeout, the next try makes smaller ones.
 */
#define STORE_CHUNK_MAX 20000
#define STORE_CHUNK_MIN 250
/*
 * New names are many times dearer than counts, and each call is a transaction of its own that
 * stays done when a later one fails: small calls never run into the statement's timeout.
 */
#define INTERN_CHUNK 2000

struct store {
	struct pg *pg;
	struct id_cache *cache;
	struct pg_params params; /* of the call being made; its buffers are kept */
	char *node;
	char *version;
	char error[600];
	uint32_t chunk;
	int64_t maintained_day; /* when pulltap.maintain() last ran */
	struct log_gate reject_gate, clock_gate;
	int64_t paired_at; /* when pulltap.apply_pairs() last ran, monotonic seconds */
	bool pairing; /* other nodes report too: halves are sent */
	pthread_mutex_t lock; /* guards stats */
	struct store_stats stats;
};

/* SQLSTATE of an identifier that is gone: see deploy/sql/002_functions.sql. */
#define STORE_UNKNOWN_ID "PT001"
/* And of a merged window of which a part was applied: deploy/sql/007_outages.sql. */
#define STORE_OVERLAPS "PT003"

/* 0, or -errno with pg_error() set. */
must_check int store_intern(struct store *store, struct batch *batch, int64_t since_us);
must_check int store_send(struct store *store, const struct batch *batch,
			  const struct window_header *header);
/* The part of it that rules and kinds of client made: send_names.c. */
must_check int store_send_names(struct store *store, const struct batch *batch,
				const struct window_header *header);
/* Begins a call's parameters with the claim that its function asks for. */
void store_call_begin(struct store *store, const struct window_header *header);
/* Before a window, in the window's name: upkeep.c. */
void store_upkeep(struct store *store, const struct window_header *header);

/* Names of the prepared statements; their SQL is in store.c. */
#define STORE_CLOCK "clock"
#define STORE_MAINTAIN "maintain"
#define STORE_PAIRS "apply_pairs"
#define STORE_CHILDREN "apply_children"
#define STORE_CLAIM "claim_window"
#define STORE_TAGS "apply_tags"
#define STORE_MANIFESTS "apply_manifests"
#define STORE_DAYS "apply_days"
#define STORE_VERSIONS "apply_versions"
#define STORE_UNPAIRED "apply_unpaired"
#define STORE_REJECTED "apply_rejected"
#define STORE_OFF "apply_off"
#define STORE_EXCLUDED "apply_excluded"
#define STORE_NAMES "apply_names"
#define STORE_INTERN_TAGS "intern_tags"
#define STORE_INTERN_MANIFESTS "intern_manifests"

#endif
