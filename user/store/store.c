/* SPDX-License-Identifier: MIT */
#include "store/store.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/conninfo_mask.h"
#include "store/names.h"
#include "store/schema.h"
#include "store/store_internal.h"

#define DEFAULT_TIMEOUT_MS 5000
#define DEFAULT_CACHE_ENTRIES 131072
/* A counter of one window above this is nonsense and must not overflow a sum. */
#define COUNTER_MAX (1ull << 52)
/* Clocks that agree this well need no words. */
#define AHEAD_US 1000000
/* Of a window's counters, the one that no kernel counts. */
#define TIME_AHEAD "time_ahead_ms"

static const struct {
	const char *name;
	const char *sql;
} statements[] = {
	{"schema_number", "select pulltap.schema_number()"},
	{STORE_MAINTAIN, "select pulltap.maintain()"},
	{STORE_INTERN_TAGS, "select pulltap.intern_tags($1, $2, $3, $4)"},
	{STORE_INTERN_MANIFESTS, "select pulltap.intern_manifests($1, $2, $3, $4, $5)"},
	{STORE_CLOCK, "select (extract(epoch from clock_timestamp()) * 1000000)::bigint"},
	{STORE_CLAIM,
	 "select pulltap.claim_window($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"},
	{STORE_TAGS, "select pulltap.apply_tags($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
		     "$13, $14, $15, $16, $17, $18, $19, $20, $21)"},
	{STORE_MANIFESTS, "select pulltap.apply_manifests($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
			  "$11, $12, $13, $14, $15, $16)"},
	{STORE_DAYS, "select pulltap.apply_days($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"},
	{STORE_VERSIONS, "select pulltap.apply_versions($1, $2, $3, $4, $5, $6, $7, $8)"},
	{STORE_UNPAIRED, "select pulltap.apply_unpaired($1, $2, $3, $4, $5, $6)"},
	{STORE_PAIRS, "select pulltap.apply_pairs($1)"},
	{STORE_CHILDREN, "select pulltap.apply_children($1, $2, $3, $4, $5, $6)"},
	{STORE_REJECTED, "select pulltap.apply_rejected($1, $2, $3, $4, $5, $6, $7, $8, $9)"},
	{STORE_EXCLUDED, "select pulltap.apply_excluded($1, $2, $3, $4, $5, $6, $7, $8)"},
	{STORE_NAMES, "select pulltap.apply_names($1, $2, $3, $4, $5, $6, $7)"},
	{STORE_OFF, "select pulltap.apply_off($1, $2, $3, $4, $5, $6, $7)"},
};

/* A host name may be any bytes; the agent's table takes text. */
static char *text_or_unknown(const char *text)
{
	return strdup(text && name_is_utf8(text, strlen(text)) ? text : "unknown");
}

int store_check_conninfo(const char *conninfo, char *message, size_t size)
{
	char *words = NULL;
	PQconninfoOption *parsed = PQconninfoParse(conninfo, &words);
	bool good = parsed != NULL;

	/* libpq quotes what it does not understand, which may be half of a password */
	if (!good && words && conninfo_secret(conninfo))
		snprintf(message, size,
			 "not a valid connection string; the reason is not shown, for "
			 "it would quote the password: check quotes and escapes");
	else
		snprintf(message, size, "%s", words ? words : good ? "" : "out of memory");
	message[strcspn(message, "\n")] = 0;
	PQconninfoFree(parsed);
	PQfreemem(words);
	return good ? 0 : -EINVAL;
}

int store_new(struct store **ret, const struct store_options *options)
{
	_cleanup_(store_free) struct store *store = calloc(1, sizeof(*store));
	int err;

	if (!store)
		return -ENOMEM;
	pthread_mutex_init(&store->lock, NULL);
	store->chunk = STORE_CHUNK_MAX;
	store->node = text_or_unknown(options->node);
	store->version = text_or_unknown(options->version);
	if (!store->node || !store->version)
		return -ENOMEM;
	err = id_cache_new(&store->cache, options->id_cache_entries ?: DEFAULT_CACHE_ENTRIES);
	if (err)
		return err;
	err = pg_new(&store->pg, options->conninfo ?: "",
		     options->statement_timeout_ms ?: DEFAULT_TIMEOUT_MS);
	if (err)
		return err;
	*ret = TAKE_PTR(store);
	return 0;
}

void store_free(struct store **ptr)
{
	struct store *store = *ptr;

	if (!store)
		return;
	pg_free(&store->pg);
	id_cache_free(&store->cache);
	pg_params_free(&store->params);
	pthread_mutex_destroy(&store->lock);
	free(store->node);
	free(store->version);
	free(store);
	*ptr = NULL;
}

const char *store_error(const struct store *store)
{
	return store->error;
}

void store_stop(struct store *store)
{
	pg_stop(store->pg);
}

void store_stats(struct store *store, struct store_stats *ret)
{
	pthread_mutex_lock(&store->lock);
	*ret = store->stats;
	pthread_mutex_unlock(&store->lock);
}

static bool sqlstate_in(const char *sqlstate, const char *const *list)
{
	for (; *list; list++)
		if (!strncmp(sqlstate, *list, strlen(*list)))
			return true;
	return false;
}

/* Whom a failure concerns: most pass by themselves, some need an operator. */
static enum store_result classify(const struct store *store)
{
	/* authorization, privileges, no such database */
	static const char *const denied[] = {"28", "42501", "3D", NULL};
	/* no such schema, table, column, function, type */
	static const char *const schema[] = {"3F", "42P01", "42703", "42883", "42704", NULL};

	if (!strcmp(pg_sqlstate(store->pg), STORE_OVERLAPS))
		return STORE_OVERLAP;
	if (sqlstate_in(pg_sqlstate(store->pg), denied))
		return STORE_DENIED;
	if (sqlstate_in(pg_sqlstate(store->pg), schema))
		return STORE_SCHEMA;
	return STORE_RETRY;
}

static enum store_result failed(struct store *store)
{
	enum store_result result = classify(store);

	/* 57014: canceled by the statement timeout */
	if (!strcmp(pg_sqlstate(store->pg), "57014"))
		store->chunk =
			store->chunk / 2 > STORE_CHUNK_MIN ? store->chunk / 2 : STORE_CHUNK_MIN;

	snprintf(store->error, sizeof(store->error), "%s%s", pg_error(store->pg),
		 result == STORE_SCHEMA ? "; run: pulltap migrate" : "");
	return result;
}

static enum store_result check_schema(struct store *store)
{
	_cleanup_pgresult_ PGresult *result = NULL;
	uint32_t wire;
	int number;

	pg_params_reset(&store->params);
	if (pg_call(store->pg, "schema_number", &store->params, &result))
		return failed(store);
	if (PQntuples(result) != 1 || PQgetlength(result, 0, 0) != sizeof(wire)) {
		snprintf(store->error, sizeof(store->error), "schema_number: unexpected answer");
		return STORE_SCHEMA;
	}
	memcpy(&wire, PQgetvalue(result, 0, 0), sizeof(wire));
	number = (int)be32toh(wire);
	if (number == schema_version())
		return STORE_ACCEPTED;
	snprintf(store->error, sizeof(store->error),
		 "schema of the database is version %d, this pulltap speaks %d; %s", number,
		 schema_version(),
		 number < schema_version() ? "run: pulltap migrate" : "install a newer pulltap");
	return STORE_SCHEMA;
}

static enum store_result prepare(struct store *store)
{
	enum store_result result;
	size_t i;

	for (i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		if (pg_prepare(store->pg, statements[i].name, statements[i].sql))
			return failed(store);
		if (i == 0) {
			/* the others exist in the right version only */
			result = check_schema(store);
			if (result != STORE_ACCEPTED)
				return result;
		}
	}
	return STORE_ACCEPTED;
}

static enum store_result connect_store(struct store *store, const struct window_header *header)
{
	enum store_result result;

	if (!pg_connected(store->pg)) {
		if (pg_connect(store->pg))
			return failed(store);
		result = prepare(store);
		if (result != STORE_ACCEPTED) {
			pg_disconnect(store->pg);
			return result;
		}
	}
	store_upkeep(store, header);
	return STORE_ACCEPTED;
}

static void rollback(struct store *store)
{
	if (pg_connected(store->pg) && pg_command(store->pg, "rollback"))
		pg_disconnect(store->pg);
}

static int64_t counter(uint64_t value)
{
	return (int64_t)(value > COUNTER_MAX ? COUNTER_MAX : value);
}

/*
 * A node's clock may be ahead of the database's, where a pull of tomorrow would stand for a day. A
 * window that ends in the database's future is moved back as a whole, so that it ends now.
 */
static int ask_clock(struct store *store, const struct window_header *header,
		     struct batch_clock *ret)
{
	_cleanup_pgresult_ PGresult *result = NULL;
	uint64_t wire, suppressed;
	int err;

	pg_params_reset(&store->params);
	err = pg_call(store->pg, STORE_CLOCK, &store->params, &result);
	if (err)
		return err;
	if (PQntuples(result) != 1 || PQgetlength(result, 0, 0) != sizeof(wire))
		return -EIO;
	memcpy(&wire, PQgetvalue(result, 0, 0), sizeof(wire));
	ret->latest_us = batch_time((int64_t)be64toh(wire));
	ret->back_us = batch_time(header->end_us) - ret->latest_us;
	if (ret->back_us < 0)
		ret->back_us = 0;
	if (ret->back_us > AHEAD_US && log_gate_open(&store->clock_gate, 60, &suppressed))
		log_warn("this node's clock is ahead of the database's, dates are moved back",
			 "ahead_ms=%lld windows_not_logged=%llu", (long long)(ret->back_us / 1000),
			 (unsigned long long)suppressed);
	return 0;
}

/* Every counter of the kernel's, and what was done to the times. */
static void add_counters(struct pg_params *params, const struct window_header *header,
			 const struct batch_clock *clock)
{
	struct pg_array *names = pg_param_array(params, PG_TEXT);
	struct pg_array *values = pg_param_array(params, PG_INT8);

	for (int i = 0; i < LEDGER_COUNT; i++) {
		pg_array_bytes(names, ledger_fields[i].name, strlen(ledger_fields[i].name));
		pg_array_int(values, counter(header->ledger[i]));
	}
	pg_array_bytes(names, TIME_AHEAD, strlen(TIME_AHEAD));
	pg_array_int(values, (clock->back_us + 999) / 1000);
}

static void add_known(struct pg_params *params, uint64_t value, bool known)
{
	if (known)
		pg_param_int8(params, counter(value));
	else
		pg_param_bytes(params, NULL, 0);
}

/* 1 claimed, 0 the ledger had it, -errno. */
static int claim(struct store *store, const struct window_header *header,
		 const struct batch_clock *clock, uint64_t rows)
{
	_cleanup_pgresult_ PGresult *result = NULL;
	struct pg_params *params = &store->params;
	int err;

	pg_params_reset(params);
	pg_param_bytes(params, header->agent, sizeof(header->agent));
	pg_param_int8(params, (int64_t)header->sequence);
	pg_param_bytes(params, store->node, (int)strlen(store->node));
	pg_param_bytes(params, store->version, (int)strlen(store->version));
	pg_param_time(params, batch_dated(clock, header->start_us));
	pg_param_time(params, batch_dated(clock, header->end_us));
	pg_param_int4(params, header->merged > INT32_MAX ? INT32_MAX : (int32_t)header->merged);
	pg_param_int8(params, counter(rows));
	add_counters(params, header, clock);
	add_known(params, header->before, header->before != 0);
	add_known(params, (uint64_t)header->pause_us / 1000, header->pause_us >= 0);
	err = pg_call(store->pg, STORE_CLAIM, params, &result);
	if (err)
		return err;
	return PQntuples(result) == 1 && PQgetlength(result, 0, 0) == 1 &&
	       *PQgetvalue(result, 0, 0) == 1;
}

static enum store_result transact(struct store *store, const struct batch *batch,
				  const struct window_header *header,
				  const struct batch_clock *clock, uint64_t rows)
{
	int claimed, err;

	err = pg_command(store->pg, "begin");
	if (err)
		return failed(store);
	claimed = claim(store, header, clock, rows);
	if (claimed == 0) {
		rollback(store);
		return STORE_DUPLICATE;
	}
	err = claimed < 0 ? claimed : store_send(store, batch, header);
	if (!err)
		err = pg_commit(store->pg);
	if (!err)
		return STORE_ACCEPTED;
	return failed(store);
}

/*
 * Identifiers can be gone when names were removed behind the cache: they are registered again. A
 * window whose versions the database refuses twice goes without them, so that a flaw in their
 * history never holds back counts.
 */
static enum store_result apply(struct store *store, struct spool_reader *reader,
			       uint32_t *ret_rejected)
{
	const struct window_header *header = spool_reader_header(reader);
	unsigned int refused = 0;
	enum store_result result = STORE_RETRY;
	struct batch_clock clock;
	char state[6], text[256];
	unsigned int attempt;

	for (attempt = 0; attempt < 4; attempt++) {
		_cleanup_(batch_free) struct batch *batch = NULL;

		result = connect_store(store, header);
		if (result != STORE_ACCEPTED)
			return result;
		if (ask_clock(store, header, &clock))
			return failed(store);
		if (batch_new(&batch, reader, store->cache, &clock)) {
			snprintf(store->error, sizeof(store->error), "apply: out of memory");
			return STORE_RETRY;
		}
		if (store_intern(store, batch, batch_dated(&clock, header->start_us)))
			return failed(store);
		if (batch_sort(batch)) {
			snprintf(store->error, sizeof(store->error), "apply: out of memory");
			return STORE_RETRY;
		}
		if (refused > 1)
			batch_forget_versions(batch);
		result = transact(store, batch, header, &clock, spool_reader_count(reader));
		if (result == STORE_ACCEPTED) {
			*ret_rejected = batch->rejects.count;
			if (store->chunk < STORE_CHUNK_MAX)
				store->chunk += STORE_CHUNK_MIN;
			return result;
		}
		if (result == STORE_DUPLICATE)
			return result;
		snprintf(state, sizeof(state), "%s", pg_sqlstate(store->pg));
		rollback(store);
		if (!strcmp(state, STORE_UNKNOWN_ID)) {
			id_cache_clear(store->cache);
		} else if (!strncmp(state, "22", 2) || !strncmp(state, "23", 2)) {
			if (++refused < 2)
				continue;
			log_error("a window's tag versions were refused, its counts go on",
				  "sequence=%llu error=%s", (unsigned long long)header->sequence,
				  log_quote(text, sizeof(text), store->error));
		} else {
			break;
		}
	}
	return result;
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

enum store_result store_apply(struct store *store, struct spool_reader *reader)
{
	int64_t start_us = now_us();
	enum store_result result;
	uint32_t rejected = 0;
	uint64_t suppressed;

	result = apply(store, reader, &rejected);
	if (result == STORE_SCHEMA || result == STORE_DENIED)
		pg_disconnect(store->pg); /* what changed meanwhile shows on a new connection */
	if (rejected && log_gate_open(&store->reject_gate, 60, &suppressed))
		log_warn("rows went to pulltap.rejected", "rows=%u windows_not_logged=%llu",
			 rejected, (unsigned long long)suppressed);
	pthread_mutex_lock(&store->lock);
	if (result == STORE_ACCEPTED) {
		store->stats.windows_accepted++;
		store->stats.rows_applied += spool_reader_count(reader);
		store->stats.rows_rejected += rejected;
		store->stats.apply_us_total += (uint64_t)(now_us() - start_us);
	} else if (result == STORE_DUPLICATE) {
		store->stats.windows_duplicate++;
	} else {
		store->stats.failures++;
	}
	store->stats.connected = pg_connected(store->pg);
	pthread_mutex_unlock(&store->lock);
	return result;
}
