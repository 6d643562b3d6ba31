/* SPDX-License-Identifier: MIT */
/*
 * One connection to PostgreSQL that never blocks outside poll(2): every wait has a deadline and
 * ends when pg_stop() is called. Belongs to one thread, pg_stop apart. Only the resolution of host
 * names inside libpq can't be interrupted: give hostaddr where that matters.
 */
#ifndef PULLTAP_STORE_PG_H
#define PULLTAP_STORE_PG_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "base/cleanup.h"
#include "store/pg_array.h"

struct pg;

must_check int pg_new(struct pg **ret, const char *conninfo, unsigned int statement_timeout_ms);
void pg_free(struct pg **pg);

/*
 * Connects when there is no connection. -EIO: the server or libpq refused, pg_error() says it and
 * pg_sqlstate() holds the server's code; -ETIMEDOUT; -ECANCELED after pg_stop().
 */
must_check int pg_connect(struct pg *pg);
bool pg_connected(const struct pg *pg);
void pg_disconnect(struct pg *pg);

/* Parameters of one call, all binary. Grows as needed; errors are latched until pg_call. */
#define PG_PARAMS 21
struct pg_params {
	int count;
	const char *values[PG_PARAMS];
	int lengths[PG_PARAMS];
	int64_t integers[PG_PARAMS]; /* room for the scalars that values points to */
	struct pg_array arrays[PG_PARAMS];
	bool failed;
};

void pg_params_reset(struct pg_params *params); /* keeps the buffers */
void pg_params_free(struct pg_params *params);
void pg_param_int8(struct pg_params *params, int64_t value);
void pg_param_int4(struct pg_params *params, int32_t value);
void pg_param_time(struct pg_params *params, int64_t unix_us);
void pg_param_bytes(struct pg_params *params, const void *data, int length);
/* The array to fill; it becomes a parameter in this place. */
struct pg_array *pg_param_array(struct pg_params *params, enum pg_type type);

/*
 * Each returns 0 with the statement complete and the connection idle (or in the open transaction),
 * else -EIO, -ETIMEDOUT, -ECANCELED or -ENOMEM. When the connection itself failed, or its state is
 * unknown, it is closed and pg_connected() is false. ret may be NULL; results are in binary.
 */
must_check int pg_command(struct pg *pg, const char *sql);
must_check int pg_prepare(struct pg *pg, const char *name, const char *sql);
must_check int pg_call(struct pg *pg, const char *name, struct pg_params *params, PGresult **ret);

/* 0 only when the server said COMMIT and is ready for the next transaction. */
must_check int pg_commit(struct pg *pg);

/*
 * Waits for notifications of what this session listens to, and takes them all: 1, or 0 when the
 * time is over. Errors as above, and then the connection is closed.
 */
must_check int pg_wait_notification(struct pg *pg, unsigned int timeout_ms);

const char *pg_error(const struct pg *pg); /* one line */
const char *pg_sqlstate(const struct pg *pg); /* "" when the failure was not the server's */

void pg_stop(struct pg *pg); /* from any thread, for good */

static inline void cleanup_pgresult(PGresult **result)
{
	PQclear(*result);
}
#define _cleanup_pgresult_ _cleanup_(cleanup_pgresult)

#endif
