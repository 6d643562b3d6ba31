/* SPDX-License-Identifier: MIT */
#include "store/pg.h"

#include <assert.h>
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#define CONNECT_TIMEOUT_MS 10000
/* The server ends a statement by itself; only when it is silent beyond that, the client gives up.
 */
#define GRACE_MS 5000

struct pg {
	PGconn *conn;
	char *conninfo;
	unsigned int statement_timeout_ms;
	int stop_fd;
	char sqlstate[6];
	char error[512];
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int pg_new(struct pg **ret, const char *conninfo, unsigned int statement_timeout_ms)
{
	_cleanup_(pg_free) struct pg *pg = calloc(1, sizeof(*pg));

	if (!pg)
		return -ENOMEM;
	pg->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pg->stop_fd < 0)
		return -errno;
	pg->conninfo = strdup(conninfo);
	if (!pg->conninfo)
		return -ENOMEM;
	pg->statement_timeout_ms = statement_timeout_ms;
	*ret = TAKE_PTR(pg);
	return 0;
}

void pg_free(struct pg **ptr)
{
	struct pg *pg = *ptr;

	if (!pg)
		return;
	pg_disconnect(pg);
	cleanup_close(&pg->stop_fd);
	free(pg->conninfo);
	free(pg);
	*ptr = NULL;
}

void pg_disconnect(struct pg *pg)
{
	PQfinish(pg->conn);
	pg->conn = NULL;
}

bool pg_connected(const struct pg *pg)
{
	return pg->conn && PQstatus(pg->conn) == CONNECTION_OK;
}

const char *pg_error(const struct pg *pg)
{
	return pg->error;
}

const char *pg_sqlstate(const struct pg *pg)
{
	return pg->sqlstate;
}

void pg_stop(struct pg *pg)
{
	uint64_t one = 1;

	/* can only fail when the counter is full, and then it has been told before */
	if (write(pg->stop_fd, &one, sizeof(one)) < 0)
		return;
}

/* Keeps what was done and the first line of what the server or libpq said. */
static void set_error(struct pg *pg, const char *action, const char *sqlstate, const char *said)
{
	size_t n;

	snprintf(pg->sqlstate, sizeof(pg->sqlstate), "%s", sqlstate ? sqlstate : "");
	while (said && isspace((unsigned char)*said))
		said++;
	snprintf(pg->error, sizeof(pg->error), "%s: %s%s%s", action, pg->sqlstate,
		 pg->sqlstate[0] ? " " : "", said && *said ? said : "no reason given");
	n = strcspn(pg->error, "\r\n");
	pg->error[n] = 0;
}

/* 0 when the socket is ready, -ETIMEDOUT, -ECANCELED, -errno. */
static int wait_socket(struct pg *pg, short events, int64_t deadline, const char *action)
{
	struct pollfd fds[] = {{.fd = PQsocket(pg->conn), .events = events},
			       {.fd = pg->stop_fd, .events = POLLIN}};
	int64_t left;
	int n;

	for (;;) {
		left = deadline - now_ms();
		n = poll(fds, 2, left > 0 ? (int)left : 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			n = -errno;
			set_error(pg, action, NULL, strerror(-n));
			return n;
		}
		if (fds[1].revents) {
			set_error(pg, action, NULL, "stopped");
			return -ECANCELED;
		}
		if (fds[0].revents)
			return 0;
		set_error(pg, action, NULL, "no answer in time");
		return -ETIMEDOUT;
	}
}

/*
 * libpq gives no SQLSTATE for a refused connection, but writes it into the message when asked to
 * be verbose: "FATAL:  28P01: password authentication failed".
 */
static void set_connect_error(struct pg *pg)
{
	const char *said = PQerrorMessage(pg->conn), *p;
	char sqlstate[6] = "";
	int i;

	for (p = strstr(said, ":  "); p; p = strstr(p + 3, ":  ")) {
		for (i = 0; i < 5; i++)
			if (!isdigit((unsigned char)p[3 + i]) && !isupper((unsigned char)p[3 + i]))
				break;
		if (i == 5 && p[8] == ':') {
			memcpy(sqlstate, p + 3, 5);
			said = p + 9;
			break;
		}
	}
	if (!sqlstate[0] && PQconnectionNeedsPassword(pg->conn))
		memcpy(sqlstate, "28P01", 6);
	set_error(pg, "connect", sqlstate, said);
}

static PGconn *begin_connect(const struct pg *pg)
{
	char tcp_timeout[16];
	/* What stands before dbname may be overridden by the connection string in it. */
	const char *const names[] = {"fallback_application_name", "keepalives_idle",
				     "keepalives_interval",	  "keepalives_count",
				     "tcp_user_timeout",	  "dbname",
				     "client_encoding",		  NULL};
	const char *const values[] = {"pulltap",   "30",	 "5",	 "3",
				      tcp_timeout, pg->conninfo, "UTF8", NULL};

	snprintf(tcp_timeout, sizeof(tcp_timeout), "%u", pg->statement_timeout_ms + GRACE_MS);
	return PQconnectStartParams(names, values, 1);
}

static int poll_connect(struct pg *pg)
{
	int64_t deadline = now_ms() + CONNECT_TIMEOUT_MS;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	int err;

	for (;;) {
		if (status == PGRES_POLLING_OK)
			return 0;
		if (status == PGRES_POLLING_FAILED) {
			set_connect_error(pg);
			return -EIO;
		}
		err = wait_socket(pg, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline,
				  "connect");
		if (err)
			return err;
		status = PQconnectPoll(pg->conn);
	}
}

static void ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

/* By a command, not at startup: poolers refuse unknown startup options. */
static int limit_session(struct pg *pg)
{
	unsigned int lock_ms = pg->statement_timeout_ms < 1000 ? pg->statement_timeout_ms : 1000;
	char sql[200];
	int err;

	snprintf(sql, sizeof(sql),
		 "set statement_timeout = %u; set lock_timeout = %u; "
		 "set idle_in_transaction_session_timeout = %u",
		 pg->statement_timeout_ms, lock_ms, pg->statement_timeout_ms);
	err = pg_command(pg, sql);
	if (err)
		pg_disconnect(pg);
	return err;
}

int pg_connect(struct pg *pg)
{
	int err = 0;

	if (pg_connected(pg))
		return 0;
	pg_disconnect(pg);
	pg->conn = begin_connect(pg);
	if (!pg->conn) {
		set_error(pg, "connect", NULL, "out of memory");
		return -ENOMEM;
	}
	PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);
	if (PQstatus(pg->conn) == CONNECTION_BAD) {
		set_connect_error(pg);
		err = -EIO;
	}
	if (!err)
		err = poll_connect(pg);
	if (!err && PQsetnonblocking(pg->conn, 1)) {
		set_error(pg, "connect", NULL, PQerrorMessage(pg->conn));
		err = -EIO;
	}
	if (err) {
		pg_disconnect(pg);
		return err;
	}
	PQsetErrorVerbosity(pg->conn, PQERRORS_DEFAULT);
	return limit_session(pg);
}

/* Sends what is queued and reads until libpq can hand out a result without waiting. */
static int pump(struct pg *pg, int64_t deadline, const char *action)
{
	int unsent = 1, err;

	while (unsent || PQisBusy(pg->conn)) {
		if (unsent) {
			unsent = PQflush(pg->conn);
			if (unsent < 0)
				goto broken;
			if (!unsent)
				continue;
		}
		err = wait_socket(pg, unsent ? POLLIN | POLLOUT : POLLIN, deadline, action);
		if (err)
			return err;
		if (!PQconsumeInput(pg->conn))
			goto broken;
	}
	return 0;
broken:
	set_error(pg, action, NULL, PQerrorMessage(pg->conn));
	return -EIO;
}

/*
 * Collects the answer to what was just sent, until libpq says there is no more: PGRES_COMMAND_OK
 * alone can come before a commit is done.
 */
static int finish(struct pg *pg, const char *action, PGresult **ret)
{
	int64_t deadline = now_ms() + pg->statement_timeout_ms + GRACE_MS;
	_cleanup_pgresult_ PGresult *good = NULL;
	PGTransactionStatusType status;
	PGresult *result;
	int failed = 0, err;

	for (;;) {
		err = pump(pg, deadline, action);
		if (err)
			break;
		result = PQgetResult(pg->conn);
		if (!result)
			break;
		if (PQresultStatus(result) == PGRES_TUPLES_OK ||
		    PQresultStatus(result) == PGRES_COMMAND_OK) {
			PQclear(good);
			good = result;
			continue;
		}
		if (!failed)
			set_error(pg, action, PQresultErrorField(result, PG_DIAG_SQLSTATE),
				  PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
					  ?: PQresultErrorMessage(result));
		failed = -EIO;
		PQclear(result);
	}
	status = err ? PQTRANS_UNKNOWN : PQtransactionStatus(pg->conn);
	if (status == PQTRANS_UNKNOWN || status == PQTRANS_ACTIVE) {
		if (!err && !failed)
			set_error(pg, action, NULL, "connection lost");
		pg_disconnect(pg);
		return err ? err : -EIO;
	}
	if (!failed && ret)
		*ret = TAKE_PTR(good);
	return failed;
}

static int not_sent(struct pg *pg, const char *action)
{
	set_error(pg, action, NULL, pg->conn ? PQerrorMessage(pg->conn) : "not connected");
	pg_disconnect(pg);
	return -EIO;
}

int pg_command(struct pg *pg, const char *sql)
{
	if (!pg->conn || !PQsendQuery(pg->conn, sql))
		return not_sent(pg, sql);
	return finish(pg, sql, NULL);
}

int pg_commit(struct pg *pg)
{
	_cleanup_pgresult_ PGresult *result = NULL;
	int err;

	if (!pg->conn || !PQsendQuery(pg->conn, "commit"))
		return not_sent(pg, "commit");
	err = finish(pg, "commit", &result);
	if (err)
		return err;
	/* a transaction that failed before answers ROLLBACK, without an error */
	if (PQtransactionStatus(pg->conn) != PQTRANS_IDLE ||
	    strcmp(PQcmdStatus(result), "COMMIT")) {
		set_error(pg, "commit", NULL, "the server rolled back");
		return -EIO;
	}
	return 0;
}

int pg_wait_notification(struct pg *pg, unsigned int timeout_ms)
{
	static const char action[] = "wait for a notification";
	int64_t deadline = now_ms() + timeout_ms;
	PGnotify *notification;
	int found = 0, err;

	if (!pg->conn)
		return not_sent(pg, action);
	for (;;) {
		while ((notification = PQnotifies(pg->conn))) {
			PQfreemem(notification);
			found = 1;
		}
		if (found)
			return 1;
		err = wait_socket(pg, POLLIN, deadline, action);
		if (err == -ETIMEDOUT)
			return 0;
		if (!err && PQconsumeInput(pg->conn))
			continue;
		if (!err)
			set_error(pg, action, NULL, PQerrorMessage(pg->conn));
		pg_disconnect(pg);
		return err ?: -EIO;
	}
}

int pg_prepare(struct pg *pg, const char *name, const char *sql)
{
	int err;

	if (!pg->conn || !PQsendPrepare(pg->conn, name, sql, 0, NULL))
		return not_sent(pg, name);
	err = finish(pg, name, NULL);
	if (err)
		pg_disconnect(pg); /* half prepared is worse than none */
	return err;
}

int pg_call(struct pg *pg, const char *name, struct pg_params *params, PGresult **ret)
{
	static const int binary[PG_PARAMS] = {[0 ... PG_PARAMS - 1] = 1};
	int i;

	for (i = 0; i < params->count; i++) {
		if (!params->arrays[i].type)
			continue;
		if (pg_array_finish(&params->arrays[i]))
			params->failed = true;
		params->values[i] = (const char *)params->arrays[i].data;
		params->lengths[i] = (int)params->arrays[i].size;
	}
	if (params->failed) {
		set_error(pg, name, NULL, "out of memory");
		return -ENOMEM;
	}
	if (!pg->conn || !PQsendQueryPrepared(pg->conn, name, params->count, params->values,
					      params->lengths, binary, 1))
		return not_sent(pg, name);
	return finish(pg, name, ret);
}

void pg_params_reset(struct pg_params *params)
{
	int i;

	params->count = 0;
	params->failed = false;
	for (i = 0; i < PG_PARAMS; i++)
		params->arrays[i].type = 0; /* not an array until pg_param_array says so */
}

void pg_params_free(struct pg_params *params)
{
	int i;

	for (i = 0; i < PG_PARAMS; i++)
		pg_array_free(&params->arrays[i]);
}

static int next_param(struct pg_params *params)
{
	assert(params->count < PG_PARAMS);
	return params->count++;
}

void pg_param_bytes(struct pg_params *params, const void *data, int length)
{
	int i = next_param(params);

	params->values[i] = data;
	params->lengths[i] = length;
}

void pg_param_int8(struct pg_params *params, int64_t value)
{
	int64_t *room = &params->integers[params->count];

	*room = (int64_t)htobe64((uint64_t)value);
	pg_param_bytes(params, room, sizeof(*room));
}

void pg_param_int4(struct pg_params *params, int32_t value)
{
	int64_t *room = &params->integers[params->count];
	uint32_t wire = htobe32((uint32_t)value);

	memcpy(room, &wire, sizeof(wire));
	pg_param_bytes(params, room, sizeof(wire));
}

void pg_param_time(struct pg_params *params, int64_t unix_us)
{
	int64_t *room = &params->integers[params->count];

	*room = pg_time(unix_us);
	pg_param_bytes(params, room, sizeof(*room));
}

struct pg_array *pg_param_array(struct pg_params *params, enum pg_type type)
{
	struct pg_array *array = &params->arrays[next_param(params)];

	pg_array_begin(array, type);
	return array;
}
