/* SPDX-License-Identifier: MIT */
/*
 * The database side: applies spooled windows to PostgreSQL, in order, each in one transaction that
 * claims its sequence in the ledger. One store belongs to one thread (the shipper); it blocks in
 * poll(2) with timeouts, never for ever, and store_stop() from another thread ends any wait.
 */
#ifndef PULLTAP_STORE_STORE_H
#define PULLTAP_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "window/spool.h"

struct store;

struct store_options {
	const char *conninfo; /* libpq connection string or URI; "" takes the PG* variables */
	const char *node; /* this node's name, for the agent table */
	const char *version; /* of the agent */
	unsigned int statement_timeout_ms; /* 0 takes the default of 5,000 */
	unsigned int id_cache_entries; /* bound of the name cache; 0 takes 131,072 */
};

/* Can libpq read this connection string? -EINVAL and its words in message if not. */
must_check int store_check_conninfo(const char *conninfo, char *message, size_t size);

must_check int store_new(struct store **ret, const struct store_options *options);
void store_free(struct store **store);

/* How a window ended. */
enum store_result {
	STORE_ACCEPTED, /* committed now */
	STORE_DUPLICATE, /* the ledger had it: nothing was changed */
	STORE_RETRY, /* connection, timeout, lock, disk: try the same window again later */
	STORE_SCHEMA, /* schema missing, older or newer than this binary: run pulltap migrate */
	STORE_DENIED, /* authentication or privileges: an operator has to act */
	STORE_OVERLAP, /* a part of this merged window was applied by itself: it can't be */
};

/*
 * Applies one window. Rows that PostgreSQL can't store go to pulltap.rejected and do not fail the
 * window. On anything but ACCEPTED and DUPLICATE store_error() says what happened.
 */
enum store_result store_apply(struct store *store, struct spool_reader *reader);

/* The last failure as one line: what was done, SQLSTATE if any, and the server's words. */
const char *store_error(const struct store *store);

/* Ends a running store_apply() within 100 ms with STORE_RETRY; callable from any thread. */
void store_stop(struct store *store);

struct store_stats {
	uint64_t windows_accepted;
	uint64_t windows_duplicate;
	uint64_t rows_applied;
	uint64_t rows_rejected;
	uint64_t failures;
	uint64_t apply_us_total;
	bool connected;
};
/* A snapshot; callable from any thread. */
void store_stats(struct store *store, struct store_stats *ret);

#endif
