/* SPDX-License-Identifier: MIT */
#include "store/query.h"

#include <errno.h>
#include <string.h>

#include "store/table.h"

#define TIME_TEXT(column)                                                                          \
	"to_char(" column " at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as " column
#define TIME_JSON(column)                                                                          \
	"to_char(" column " at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as " column
#define WHERE " where ($1::text is null or registry = $1) and ($2::text is null or repository = $2)"

/* The same rows for people and for programs: short digests and plain times, or all of it. */
static const char *const repositories_text =
	"select registry, repository, tags, manifests, tag_pulls, manifest_pulls, "
	"tag_checks, manifest_checks, " TIME_TEXT("last_pull") ", " TIME_TEXT(
		"last_check") " from pulltap.repositories" WHERE " order by registry, repository";
static const char *const repositories_json =
	"select registry, repository, tags, manifests, tag_pulls, tag_checks, manifest_pulls, "
	"manifest_checks, " TIME_JSON("first_pull") ", " TIME_JSON("last_pull") ", " TIME_JSON(
		"last_check") ", " TIME_JSON("last_used") ", " TIME_JSON("observed_since") " from "
											   "pulltap"
											   ".reposi"
											   "torie"
											   "s" WHERE
											   " order "
											   "by "
											   "registr"
											   "y, "
											   "reposit"
											   "ory";
static const char *const tags_text =
	"select registry, tag, coalesce(left(split_part(digest, ':', 2), 12), '-') as digest, "
	"pulls, checks, " TIME_TEXT("last_pull") ", " TIME_TEXT("last_check") ", " TIME_TEXT(
		"last_used") " from pulltap.tags" WHERE
			     " order by registry, tags.last_used desc nulls last, tag";
static const char *const tags_json =
	"select registry, repository, tag, digest, pulls, checks, pushes, " TIME_JSON("first_pull") ", " TIME_JSON("last_pull") ", " TIME_JSON(
		"last_check") ", " TIME_JSON("last_used") ", " TIME_JSON("last_push") ","
										      " " TIME_JSON("last_delete") " from pulltap.tags" WHERE
														   " order by registry, tags.last_used desc nulls last, tag";
static const char
	*const manifests_text =
		"select registry, left(split_part(digest, ':', 2), 12) as manifest, "
		"coalesce(nullif(array_to_string(tags, ', '), ''), '-') as tags, pulls, "
		"checks, " TIME_TEXT("last_pull") ", " TIME_TEXT("last_check") ", " TIME_TEXT(
			"last_used") " from pulltap.manifests" WHERE
				     " order by registry, manifests.last_used desc nulls last, "
				     "digest";
static const char *const manifests_json =
	"select registry, repository, digest, to_json(tags)::text as tags, pulls, checks, "
	"pushes, " TIME_JSON("first_pull") ", " TIME_JSON("last_pull") ", " TIME_JSON("last_check") ", " TIME_JSON(
		"last_used") ", " TIME_JSON("last_push") ", " TIME_JSON("last_delete") " from "
										       "pulltap."
										       "manifest"
										       "s" WHERE
										       " order by "
										       "registry, "
										       "manifests."
										       "last_used "
										       "desc nulls "
										       "last, "
										       "digest";

static void cleanup_pqfinish(PGconn **conn)
{
	PQfinish(*conn);
}

static void cleanup_pqclear(PGresult **result)
{
	PQclear(*result);
}

#define _cleanup_result_ _cleanup_(cleanup_pqclear)

struct query {
	PGconn *conn;
	const char *registry, *repository;
	FILE *out;
};

static int ask(const struct query *query, const char *sql, PGresult **ret)
{
	const char *values[] = {query->registry, query->repository};
	PGresult *result = PQexecParams(query->conn, sql, 2, NULL, values, NULL, NULL, 0);
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	bool missing;

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		*ret = result;
		return 0;
	}
	/* no schema, table or column: there is no pulltap in that database, or an old one */
	missing = code &&
		  (!strcmp(code, "3F000") || !strcmp(code, "42P01") || !strcmp(code, "42703"));
	fprintf(stderr, "pulltap: read the database: %s%s", PQerrorMessage(query->conn),
		missing ? "run: pulltap migrate\n" : "");
	PQclear(result);
	return -EIO;
}

/* tags come as JSON text because an array has no simpler form in text results */
static int unpack_tags(json_t *manifests)
{
	json_t *object, *tags;
	size_t i;

	json_array_foreach(manifests, i, object)
	{
		tags = json_loads(json_string_value(json_object_get(object, "tags")) ?: "[]", 0,
				  NULL);
		if (json_object_set_new(object, "tags", tags))
			return -ENOMEM;
	}
	return 0;
}

static int print_json(FILE *out, json_t *root)
{
	int err = -ENOMEM;

	if (root && !json_dumpf(root, out, JSON_INDENT(2)) && fputc('\n', out) != EOF)
		err = 0;
	json_decref(root);
	return err;
}

static int list_repositories(const struct query *query, bool json)
{
	_cleanup_result_ PGresult *result = NULL;
	int err;

	err = ask(query, json ? repositories_json : repositories_text, &result);
	if (err)
		return err;
	if (json)
		return print_json(query->out,
				  json_pack("{s:o}", "repositories", table_json(result)));
	if (!PQntuples(result)) {
		fprintf(query->out, "nothing was pulled yet\n");
		return 0;
	}
	return table_print(query->out, result, "never");
}

static int list_repository(const struct query *query, bool json)
{
	_cleanup_result_ PGresult *tags = NULL, *manifests = NULL;
	json_t *rows;
	int err;

	err = ask(query, json ? tags_json : tags_text, &tags);
	if (!err)
		err = ask(query, json ? manifests_json : manifests_text, &manifests);
	if (err)
		return err;
	if (!PQntuples(tags) && !PQntuples(manifests)) {
		fprintf(stderr, "pulltap: repository %s was never seen\n", query->repository);
		return -ENOENT;
	}
	if (json) {
		rows = table_json(manifests);
		if (rows && unpack_tags(rows)) {
			json_decref(rows);
			rows = NULL;
		}
		return print_json(query->out, json_pack("{s:o, s:o}", "tags", table_json(tags),
							"manifests", rows));
	}
	err = table_print(query->out, tags, "never");
	if (!err && fputc('\n', query->out) != EOF)
		err = table_print(query->out, manifests, "never");
	return err;
}

int query_list(const char *conninfo, const char *registry, const char *repository, bool json,
	       FILE *out)
{
	const char *const names[] = {"fallback_application_name", "connect_timeout", "dbname",
				     "client_encoding", NULL};
	const char *const values[] = {"pulltap ls", "10", conninfo ?: "", "UTF8", NULL};
	_cleanup_(cleanup_pqfinish) PGconn *conn = PQconnectdbParams(names, values, 1);
	struct query query = {
		.conn = conn, .registry = registry, .repository = repository, .out = out};
	int err;

	if (PQstatus(conn) != CONNECTION_OK) {
		fprintf(stderr, "pulltap: connect to the database: %s", PQerrorMessage(conn));
		return -EIO;
	}
	PQclear(PQexec(conn, "set statement_timeout = '60s'"));
	err = repository ? list_repository(&query, json) : list_repositories(&query, json);
	if (!err && fflush(out))
		err = -errno;
	return err;
}
