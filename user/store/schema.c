/* SPDX-License-Identifier: MIT */
#include "store/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* One lock for all who migrate a database; any two numbers that nobody else uses. */
#define LOCK_SQL "select pg_advisory_xact_lock(7885447, 0)"

struct sql_file {
	const char *name; /* "001_tables.sql" */
	const char *text;
};

/* Made by deploy/rules.mk. */
static const struct sql_file files[] = {
#include "sql_files.inc"
};
#define FILES (sizeof(files) / sizeof(files[0]))

static void cleanup_pqfinish(PGconn **conn)
{
	PQfinish(*conn);
}

static void cleanup_pqclear(PGresult **result)
{
	PQclear(*result);
}

static int number_of(const struct sql_file *file)
{
	return atoi(file->name);
}

int schema_version(void)
{
	return number_of(&files[FILES - 1]);
}

static void checksum_of(const struct sql_file *file, char ret[17])
{
	snprintf(ret, 17, "%016" PRIx64, (uint64_t)XXH3_64bits(file->text, strlen(file->text)));
}

static int complain(const char *action, const char *said)
{
	fprintf(stderr, "pulltap: %s: %s%s", action, said,
		said[0] && said[strlen(said) - 1] == '\n' ? "" : "\n");
	return -EIO;
}

static int run(PGconn *conn, const char *action, const char *sql)
{
	_cleanup_(cleanup_pqclear) PGresult *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
		return 0;
	return complain(action, PQerrorMessage(conn));
}

/* The highest number applied, 0 without a schema; -EIO. */
static int applied_number(PGconn *conn)
{
	_cleanup_(cleanup_pqclear) PGresult *result = NULL;

	/* a scan: to_regclass would answer from before the wait for the lock */
	result =
		PQexec(conn, "select from pg_class c join pg_namespace n on n.oid = c.relnamespace "
			     "where n.nspname = 'pulltap' and c.relname = 'schema_version'");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return complain("read the schema's version", PQerrorMessage(conn));
	if (!PQntuples(result))
		return 0;
	PQclear(result);
	result = PQexec(conn, "select coalesce(max(number), 0) from pulltap.schema_version");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return complain("read the schema's version", PQerrorMessage(conn));
	return atoi(PQgetvalue(result, 0, 0));
}

/* Files never change once released; a difference means that two builds met. */
static int check_applied(PGconn *conn)
{
	_cleanup_(cleanup_pqclear) PGresult *result = NULL;
	char checksum[17];
	size_t i;
	int row;

	result = PQexec(conn, "select number, checksum from pulltap.schema_version");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return complain("read the schema's version", PQerrorMessage(conn));
	for (row = 0; row < PQntuples(result); row++) {
		for (i = 0; i < FILES; i++) {
			if (number_of(&files[i]) != atoi(PQgetvalue(result, row, 0)))
				continue;
			checksum_of(&files[i], checksum);
			if (!strcmp(checksum, PQgetvalue(result, row, 1)))
				continue;
			fprintf(stderr,
				"pulltap: migrate: %s of this binary is not the one that this "
				"database was made with; use the pulltap that made it, or start "
				"with an empty database\n",
				files[i].name);
			return -EPROTO;
		}
	}
	return 0;
}

static int record(PGconn *conn, const struct sql_file *file)
{
	_cleanup_(cleanup_pqclear) PGresult *result = NULL;
	char checksum[17], number[12];
	const char *values[] = {number, checksum};

	checksum_of(file, checksum);
	snprintf(number, sizeof(number), "%d", number_of(file));
	result = PQexecParams(conn,
			      "insert into pulltap.schema_version (number, checksum) "
			      "values ($1, $2)",
			      2, NULL, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return complain(file->name, PQerrorMessage(conn));
	return 0;
}

/* One file in one transaction; *ret_applied stays false when somebody was faster. */
static int apply_file(PGconn *conn, const struct sql_file *file, bool *ret_applied)
{
	int number, err;

	err = run(conn, "migrate", "begin");
	if (!err)
		err = run(conn, "wait for another migration", LOCK_SQL);
	if (err)
		return err;
	number = applied_number(conn);
	if (number < 0)
		return number;
	if (number >= number_of(file))
		return run(conn, "migrate", "rollback");
	err = run(conn, file->name, file->text);
	if (!err)
		err = record(conn, file);
	if (!err)
		err = run(conn, file->name, "commit");
	*ret_applied = !err;
	return err;
}

/* Roles may be made by an administrator at any time, so each migration grants again. */
static int grant_roles(PGconn *conn, bool quiet)
{
	_cleanup_(cleanup_pqclear) PGresult *result = NULL;
	int err;

	err = run(conn, "migrate", "begin");
	if (!err)
		err = run(conn, "wait for another migration", LOCK_SQL);
	if (err)
		return err;
	result = PQexec(conn, "select pulltap.grant_roles(), pulltap.grant_views()");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return complain("grant rights to roles", PQerrorMessage(conn));
	if (!PQgetisnull(result, 0, 0) && !quiet)
		printf("roles missing: %s (this user may not create roles; an administrator may, "
		       "then migrate again)\n",
		       PQgetvalue(result, 0, 0));
	return run(conn, "migrate", "commit");
}

static void print_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result; /* "does not exist, skipping" helps nobody */
}

int schema_migrate(const char *conninfo, bool quiet)
{
	const char *const names[] = {"fallback_application_name", "connect_timeout", "dbname",
				     "client_encoding", NULL};
	const char *const values[] = {"pulltap migrate", "10", conninfo ?: "", "UTF8", NULL};
	_cleanup_(cleanup_pqfinish) PGconn *conn = PQconnectdbParams(names, values, 1);
	int number, err;
	bool applied;
	size_t i;

	if (PQstatus(conn) != CONNECTION_OK)
		return complain("connect to the database", PQerrorMessage(conn));
	PQsetNoticeReceiver(conn, print_notice, NULL);
	number = applied_number(conn);
	if (number < 0)
		return number;
	if (number > schema_version()) {
		fprintf(stderr,
			"pulltap: migrate: schema of the database is version %d, this pulltap "
			"speaks %d; install a newer pulltap\n",
			number, schema_version());
		return -EPROTO;
	}
	err = number ? check_applied(conn) : 0;
	for (i = 0; i < FILES && !err; i++) {
		if (number_of(&files[i]) <= number)
			continue;
		applied = false;
		err = apply_file(conn, &files[i], &applied);
		if (applied && !quiet)
			printf("applied %s\n", files[i].name);
	}
	return err ?: grant_roles(conn, quiet);
}
