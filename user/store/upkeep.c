/* SPDX-License-Identifier: MIT */
/*
 * What the database needs now and then, whichever node asks first: months of history ahead, and the
 * pairing of HEADs and GETs that went to different nodes. Runs on the shipper's thread between
 * windows, each call a transaction of its own. A failure is logged and costs nothing but time.
 */
#include <time.h>

#include "store/store_internal.h"

#define PAIRS_SECONDS 60

static bool call(struct store *store, const char *name, const char *failed, PGresult **ret)
{
	char text[256];

	if (!pg_call(store->pg, name, &store->params, ret))
		return true;
	log_warn(failed, "error=%s", log_quote(text, sizeof(text), pg_error(store->pg)));
	return false;
}

/* A day without its month falls into the default partition. */
static void maintain(struct store *store)
{
	int64_t today = time(NULL) / 86400;

	if (store->maintained_day == today)
		return;
	store->maintained_day = today;
	pg_params_reset(&store->params);
	call(store, STORE_MAINTAIN, "months of history were not made ahead", NULL);
}

/* What is unpaired waits for the next call, of whatever node. */
static void pair(struct store *store, const struct window_header *header)
{
	_cleanup_pgresult_ PGresult *result = NULL;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (store->paired_at && now.tv_sec - store->paired_at < PAIRS_SECONDS)
		return;
	store->paired_at = now.tv_sec;
	pg_params_reset(&store->params);
	pg_param_bytes(&store->params, header->agent, sizeof(header->agent));
	if (call(store, STORE_PAIRS, "requests of different nodes were not paired", &result))
		store->pairing = PQntuples(result) == 1 && PQgetlength(result, 0, 0) == 1 &&
				 *PQgetvalue(result, 0, 0) == 1;
}

void store_upkeep(struct store *store, const struct window_header *header)
{
	maintain(store);
	pair(store, header);
}
