/* SPDX-License-Identifier: MIT */
/*
 * Drives the store for tests: pg_apply SPOOL CONNINFO [TIMEOUT_MS [CACHE_ENTRIES]]. Reads one JSON
 * object per line, does it, answers with one JSON object per line; one store for the whole run, so
 * that its cache and connection live on between commands. Texts may be given as hex
 * ("tag_hex": "ff") to hold any byte.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "store/embedded.h"
#include "store/query.h"
#include "store/schema.h"
#include "store/shipper.h"
#include "store/store.h"
#include "window/spool.h"

struct context {
	struct spool *spool;
	struct store *store;
	const char *conninfo;
};

static const char *const results[] = {
	[STORE_ACCEPTED] = "accepted", [STORE_DUPLICATE] = "duplicate", [STORE_RETRY] = "retry",
	[STORE_SCHEMA] = "schema",     [STORE_DENIED] = "denied",	[STORE_OVERLAP] = "overlap",
};

static char *text_of(const json_t *record, const char *name, struct window_text *ret)
{
	char key[32], *bytes, two[3] = "";
	const char *hex;
	json_t *value;
	size_t i, n;

	value = json_object_get(record, name);
	if (value) {
		ret->length = (uint16_t)json_string_length(value);
		bytes = malloc(ret->length + 1u);
		memcpy(bytes, json_string_value(value), ret->length + 1u);
		ret->data = bytes;
		return bytes;
	}
	snprintf(key, sizeof(key), "%s_hex", name);
	hex = json_string_value(json_object_get(record, key)) ?: "";
	n = strlen(hex) / 2;
	bytes = malloc(n + 1);
	for (i = 0; i < n; i++) {
		memcpy(two, hex + 2 * i, 2);
		bytes[i] = (char)strtoul(two, NULL, 16);
	}
	ret->data = bytes;
	ret->length = (uint16_t)n;
	return bytes;
}

static int64_t number(const json_t *object, const char *name, int64_t otherwise)
{
	const json_t *value = json_object_get(object, name);

	return value ? json_integer_value(value) : otherwise;
}

static int write_record(struct spool_writer *writer, const json_t *item)
{
	struct window_record record = {.op = (enum pt_op)number(item, "op", PT_OP_GET),
				       .count = (uint64_t)number(item, "count", 1),
				       .last_us = number(item, "last_us", 0)};
	char *texts[] = {text_of(item, "registry", &record.registry),
			 text_of(item, "repository", &record.repository),
			 text_of(item, "tag", &record.tag),
			 text_of(item, "digest", &record.digest)};
	int err = spool_writer_add(writer, &record);
	size_t i;

	for (i = 0; i < 4; i++)
		free(texts[i]);
	return err;
}

static json_t *write_window(struct context *context, const json_t *command)
{
	_cleanup_(spool_writer_free) struct spool_writer *writer = NULL;
	struct window_header header = {.merged = (uint32_t)number(command, "merged", 1)};
	const json_t *ledger = json_object_get(command, "ledger");
	json_t *item;
	size_t i;
	int err;

	memcpy(header.agent, spool_agent(context->spool), 16);
	header.sequence = (uint64_t)number(command, "sequence", 0);
	if (!header.sequence)
		header.sequence = spool_sequence(context->spool) + 1;
	header.pause_us = number(command, "pause_us", WINDOW_PAUSE_UNKNOWN);
	header.before = (uint64_t)number(command, "before", 0);
	header.start_us = number(command, "start_us", 0);
	header.end_us = number(command, "end_us", 0);
	for (i = 0; i < LEDGER_COUNT; i++)
		header.ledger[i] = (uint64_t)number(ledger, ledger_fields[i].name, 0);
	err = spool_reserve(context->spool, header.sequence);
	if (!err)
		err = spool_writer_new(&writer, context->spool, header.agent, header.sequence);
	json_array_foreach(json_object_get(command, "records"), i, item) err =
		err ?: write_record(writer, item);
	if (!err)
		err = spool_writer_commit(writer, &header);
	return json_pack("{s:i, s:I}", "err", err, "sequence", (json_int_t)header.sequence);
}

/* The oldest window; its file goes when it was accepted or known, unless keep is set. */
static json_t *apply(struct context *context, const json_t *command)
{
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	struct timespec start, end;
	enum store_result result;
	const char *reason = "";
	char name[SPOOL_NAME_BYTES];
	int err;

	err = spool_oldest(context->spool, name);
	if (err <= 0)
		return json_pack("{s:s}", "result", err ? "error" : "empty");
	err = spool_reader_new(&reader, context->spool, name, &reason);
	if (err)
		return json_pack("{s:s, s:s}", "result", "bad", "error", reason);
	clock_gettime(CLOCK_MONOTONIC, &start);
	result = store_apply(context->store, reader);
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (result <= STORE_DUPLICATE && !json_is_true(json_object_get(command, "keep")))
		err = spool_remove(context->spool, name);
	return json_pack("{s:s, s:s, s:i, s:f}", "result", results[result], "error",
			 result <= STORE_DUPLICATE ? "" : store_error(context->store), "err", err,
			 "ms",
			 (double)(end.tv_sec - start.tv_sec) * 1e3 +
				 (double)(end.tv_nsec - start.tv_nsec) / 1e6);
}

static json_t *ship(struct context *context, const json_t *command)
{
	struct shipper *shipper = NULL;
	struct shipper_status status;
	bool empty;

	if (shipper_new(&shipper, context->spool, context->store,
			(uint64_t)number(command, "limit", 0)))
		return json_pack("{s:s}", "result", "error");
	empty = shipper_flush(shipper, (unsigned int)number(command, "timeout_ms", 5000));
	shipper_status(shipper, &status);
	shipper_free(&shipper);
	return json_pack("{s:b, s:s, s:s, s:I, s:I, s:i}", "empty", empty, "state",
			 shipper_state_name(status.state), "error", status.last_error, "waiting",
			 (json_int_t)status.waiting, "put_aside", (json_int_t)status.put_aside,
			 "failures", (int)status.failures);
}

static json_t *stats(struct context *context)
{
	struct store_stats s;

	store_stats(context->store, &s);
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "accepted", (json_int_t)s.windows_accepted,
		"duplicate", (json_int_t)s.windows_duplicate, "rows", (json_int_t)s.rows_applied,
		"rejected", (json_int_t)s.rows_rejected, "failures", (json_int_t)s.failures, "us",
		(json_int_t)s.apply_us_total, "connected", s.connected);
}

static json_t *embedded(const json_t *command)
{
	const char *dir = json_string_value(json_object_get(command, "dir"));
	struct embedded *server = NULL;
	char conninfo[8192];
	bool before = embedded_running(dir), during;
	int err = embedded_start(&server, dir);

	embedded_conninfo(dir, conninfo, sizeof(conninfo));
	if (!err && json_is_true(json_object_get(command, "migrate")))
		err = schema_migrate(conninfo, true);
	during = embedded_running(dir);
	if (json_is_true(json_object_get(command, "stop")))
		embedded_stop(&server);
	free(server); /* left running, as by an agent that died */
	return json_pack("{s:i, s:s, s:b, s:b, s:b}", "err", err, "conninfo", conninfo, "before",
			 before, "during", during, "after", embedded_running(dir));
}

static json_t *list(struct context *context, const json_t *command)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	json_t *answer;
	int err;

	err = query_list(context->conninfo, json_string_value(json_object_get(command, "registry")),
			 json_string_value(json_object_get(command, "repository")),
			 json_is_true(json_object_get(command, "json")), out);
	fclose(out);
	answer = json_pack("{s:i, s:s}", "err", err, "text", text);
	free(text);
	return answer;
}

static json_t *run_command(struct context *context, const json_t *command)
{
	const char *name = json_string_value(json_object_get(command, "cmd")) ?: "";

	if (!strcmp(name, "write"))
		return write_window(context, command);
	if (!strcmp(name, "apply"))
		return apply(context, command);
	if (!strcmp(name, "ship"))
		return ship(context, command);
	if (!strcmp(name, "stats"))
		return stats(context);
	if (!strcmp(name, "migrate"))
		return json_pack("{s:i, s:i}", "err", schema_migrate(context->conninfo, true),
				 "version", schema_version());
	if (!strcmp(name, "embedded"))
		return embedded(command);
	if (!strcmp(name, "list"))
		return list(context, command);
	if (!strcmp(name, "stop")) {
		store_stop(context->store);
		return json_pack("{}");
	}
	return json_pack("{s:s}", "error", "unknown command");
}

int main(int argc, char **argv)
{
	struct store_options options = {.node = "node-1", .version = "test"};
	struct context context = {0};
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: pg_apply SPOOL CONNINFO [TIMEOUT_MS [CACHE_ENTRIES]]\n");
		return 2;
	}
	options.conninfo = context.conninfo = argv[2];
	if (getenv("NODE"))
		options.node = getenv("NODE");
	if (argc > 3)
		options.statement_timeout_ms = (unsigned int)strtoul(argv[3], NULL, 10);
	if (argc > 4)
		options.id_cache_entries = (unsigned int)strtoul(argv[4], NULL, 10);
	if (spool_new(&context.spool, argv[1]) || store_new(&context.store, &options))
		return 1;
	while (getline(&line, &size, stdin) > 0) {
		json_t *command = json_loads(line, JSON_ALLOW_NUL, NULL);
		json_t *answer = run_command(&context, command);

		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		json_decref(answer);
		json_decref(command);
	}
	store_free(&context.store);
	spool_free(&context.spool);
	return 0;
}
