/* SPDX-License-Identifier: MIT */
/*
 * The thread between spool and store: takes the oldest window, has it applied, removes its file,
 * and waits when there is nothing to do or the database can't take it. A damaged file is put aside
 * so that it never holds up those behind it. Where too many windows wait it merges some. The spool
 * and the store are the caller's and must outlive the shipper; nobody else may use that store.
 */
#ifndef PULLTAP_STORE_SHIPPER_H
#define PULLTAP_STORE_SHIPPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "store/store.h"
#include "window/spool.h"

struct shipper;

enum shipper_state {
	SHIPPER_IDLE, /* the spool is empty */
	SHIPPER_APPLYING,
	SHIPPER_RETRYING, /* after a failure that passes by itself */
	SHIPPER_SCHEMA, /* waits for `pulltap migrate` or another binary; keeps trying */
	SHIPPER_DENIED, /* waits for an operator; keeps trying */
	SHIPPER_SPOOL, /* the spool can't be read or written */
	SHIPPER_STATES,
};

/* "idle", "applying", ... */
const char *shipper_state_name(enum shipper_state state);

struct shipper_status {
	enum shipper_state state;
	int64_t since_us; /* when that state began, Unix epoch */
	int64_t last_success_us; /* when a window was last accepted or found applied, 0 never */
	uint64_t waiting; /* windows in the spool */
	uint64_t waiting_bytes;
	uint64_t put_aside; /* damaged files under bad/ */
	uint64_t limit; /* bytes that may wait, 0 none */
	uint64_t merged; /* files that became fewer so far */
	bool over_limit; /* and there is nothing left to merge */
	unsigned int failures; /* in a row */
	char last_error[600]; /* "" when the last window went well */
};

/* Starts the thread. limit: bytes that may wait, more is merged; 0 for none. -ENOMEM or -errno of
 * pthread_create. */
must_check int shipper_new(struct shipper **ret, struct spool *spool, struct store *store,
			   uint64_t limit);

/* Says that a window was written; also ends a pause between tries. Any thread. */
void shipper_kick(struct shipper *shipper);

/* Waits until the spool is empty and says whether it is; tries again at once when it waits. */
bool shipper_flush(struct shipper *shipper, unsigned int timeout_ms);

void shipper_status(struct shipper *shipper, struct shipper_status *ret); /* any thread */

/* Seconds since the thread last came round, which an idle one does often. Any thread. */
unsigned int shipper_silent_s(struct shipper *shipper);

/* Stops a running transfer within 100 ms (its window stays in the spool) and ends the thread. */
void shipper_free(struct shipper **shipper);

#endif
