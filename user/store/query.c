/* SPDX-License-Identifier: MIT */
#include "store/query.h"

#include <errno.h>
#include <string.h>

#include "store/table.h"

/* The same rows for people and for programs: short digests and plain times, or all of it. */
#define UTC(column, format) "to_char(" column " at time zone 'UTC', '" format "') as " column
#define TEXT(column) UTC(column, "YYYY-MM-DD HH24:MI:SS")
#define JSON(column) UTC(column, "YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"")
#define WHERE " where ($1::text is null or registry = $1) and ($2::text is null or repository = $2)"

#define REPOSITORIES                                                                               \
	"select registry, repository, tags, manifests, tag_pulls, manifest_pulls, tag_checks, "    \
	"manifest_checks, "
#define FROM_REPOSITORIES " from pulltap.repositories" WHERE " order by registry, repository"
static const char *const repositories_text =
	REPOSITORIES TEXT("last_pull") ", " TEXT("last_check") FROM_REPOSITORIES;
static const char *const repositories_json =
	REPOSITORIES JSON("first_pull") ", " JSON("last_pull") ", " JSON("last_check") ", " JSON(
		"last_used") ", " JSON("observed_since") FROM_REPOSITORIES;

#define TIMES_TEXT TEXT("last_pull") ", " TEXT("last_check") ", " TEXT("last_used")
#define TIMES_JSON                                                                                 \
	JSON("first_pull")                                                                         \
	", " JSON("last_pull") ", " JSON("last_check") ", " JSON("last_used") ", " JSON(           \
		"last_push") ", " JSON("last_delete")
#define SHORT_DIGEST "coalesce(left(split_part(digest, ':', 2), 12), '-') as "

#define FROM_TAGS                                                                                  \
	" from pulltap.tags" WHERE " order by registry, tags.last_used desc nulls last, tag"
static const char *const tags_text =
	"select registry, tag, " SHORT_DIGEST "digest, pulls, checks, " TIMES_TEXT FROM_TAGS;
static const char *const tags_json =
	"select registry, repository, tag, digest, pulls, checks, pushes, " TIMES_JSON FROM_TAGS;

#define FROM_MANIFESTS                                                                             \
	" from pulltap.manifests" WHERE                                                            \
	" order by registry, manifests.last_used desc nulls last, digest"
static const char *const manifests_text =
	"select registry, " SHORT_DIGEST "manifest, "
	"coalesce(nullif(array_to_string(tags, ', '), ''), '-') as tags, pulls, checks, " TIMES_TEXT
		FROM_MANIFESTS;
static const char *const manifests_json =
	"select registry, repository, digest, to_json(tags)::text as tags, pulls, checks, "
	"pushes, " TIMES_JSON FROM_MANIFESTS;

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
