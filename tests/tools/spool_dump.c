/* SPDX-License-Identifier: MIT */
/*
 * spool_dump FILE...: prints windows as JSON lines, the header of each and then its records, for
 * tests that compare what was counted with what happened, and for people with a file in bad/.
 * Exits with 1 when a file could not be read; the reason is on standard error.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "window/spool.h"

#define FILE_MAX (1u << 31)

/* JSON has no bytes: what is not UTF-8 is shown in hex, under another key. */
static void set_text(json_t *object, const char *key, struct window_text text)
{
	_cleanup_free_ char *hex = NULL;
	json_t *value = text.length ? json_stringn(text.data, text.length) : json_string("");
	char hex_key[32];

	if (value) {
		json_object_set_new(object, key, value);
		return;
	}
	hex = calloc(2, text.length + 1u);
	for (unsigned int i = 0; hex && i < text.length; i++)
		sprintf(hex + 2 * (size_t)i, "%02x", (unsigned char)text.data[i]);
	snprintf(hex_key, sizeof(hex_key), "%s_hex", key);
	json_object_set_new(object, hex_key, json_string(hex ? hex : ""));
}

static void print_line(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

static void print_header(const struct window_header *header, size_t records)
{
	json_t *ledger = json_object(), *object;
	char agent[33];

	for (unsigned int i = 0; i < 16; i++)
		sprintf(agent + 2 * (size_t)i, "%02x", header->agent[i]);
	for (unsigned int i = 0; i < LEDGER_COUNT; i++) {
		if (header->ledger[i])
			json_object_set_new(ledger, ledger_fields[i].name,
					    json_integer((json_int_t)header->ledger[i]));
	}
	object = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "agent", agent,
			   "sequence", (json_int_t)header->sequence, "start_us",
			   (json_int_t)header->start_us, "end_us", (json_int_t)header->end_us,
			   "before", (json_int_t)header->before, "pause_us",
			   (json_int_t)header->pause_us, "merged", (json_int_t)header->merged,
			   "records", (json_int_t)records, "ledger", ledger);
	print_line(object);
}

static void print_record(const struct window_record *record)
{
	json_t *object = json_object();

	json_object_set_new(object, "op", json_string(op_name(record->op)));
	set_text(object, "registry", record->registry);
	set_text(object, "repository", record->repository);
	set_text(object, "tag", record->tag);
	set_text(object, "digest", record->digest);
	json_object_set_new(object, "count", json_integer((json_int_t)record->count));
	json_object_set_new(object, "last_us", json_integer((json_int_t)record->last_us));
	print_line(object);
}

static int read_file(const char *path, char **ret, size_t *ret_size)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *data = NULL;
	long size;

	if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0)
		return -errno;
	if (size > FILE_MAX)
		return -EFBIG;
	data = malloc((size_t)size + 1);
	if (!data)
		return -ENOMEM;
	rewind(file);
	if (fread(data, 1, (size_t)size, file) != (size_t)size)
		return -EIO;
	*ret = TAKE_PTR(data);
	*ret_size = (size_t)size;
	return 0;
}

static int dump(const char *path)
{
	_cleanup_free_ char *data = NULL;
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	struct window_record record;
	const char *reason = NULL;
	size_t size = 0;
	int err = read_file(path, &data, &size);

	if (!err)
		err = spool_reader_parse(&reader, data, size, &reason);
	if (err) {
		fprintf(stderr, "%s: %s\n", path, reason ? reason : strerror(-err));
		return err;
	}
	print_header(spool_reader_header(reader), spool_reader_count(reader));
	while (spool_reader_next(reader, &record) > 0)
		print_record(&record);
	return 0;
}

int main(int argc, char **argv)
{
	int failed = argc < 2;

	if (argc < 2)
		fprintf(stderr, "usage: %s FILE...\n", argv[0]);
	for (int i = 1; i < argc; i++)
		failed |= dump(argv[i]) != 0;
	return failed;
}
