/* SPDX-License-Identifier: MIT */
/*
 * `pulltap top`: what is being pulled now, read from the kernel's maps of the window in use. Needs
 * no agent and no database. On a terminal it redraws every second until interrupted; in a pipe it
 * prints once.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "attach/kernel.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "window/drain.h"

/* Rows that JSON and pipes get; a terminal shows what fits. */
#define ROWS_SHOWN 1000

struct row {
	char *name;
	enum pt_op op;
	uint64_t count;
	int64_t last_us;
};

struct picture {
	struct row *rows;
	size_t count, room;
};

static void picture_clear(struct picture *picture)
{
	for (size_t i = 0; i < picture->count; i++)
		free(picture->rows[i].name);
	free(picture->rows);
	*picture = (struct picture){};
}

static int add_row(const struct window_record *record, void *context)
{
	struct picture *picture = context;
	bool tagged = record->tag.length > 0;
	const struct window_text *reference = tagged ? &record->tag : &record->digest;
	struct row *row;

	if (op_counter(record->op) != LEDGER_counted)
		return 0;
	if (picture->count == picture->room) {
		size_t room = picture->room ? picture->room * 2 : 1024;
		struct row *rows = reallocarray(picture->rows, room, sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		picture->rows = rows;
		picture->room = room;
	}
	row = &picture->rows[picture->count];
	if (asprintf(&row->name, "%.*s/%.*s%s%.*s", record->registry.length, record->registry.data,
		     record->repository.length, record->repository.data, tagged ? ":" : "@",
		     reference->length, reference->data) < 0)
		return -ENOMEM;
	row->op = record->op;
	row->count = record->count;
	row->last_us = record->last_us;
	picture->count++;
	return 0;
}

static int by_count(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (int)x->op - (int)y->op;
}

/* A tag has a key for each digest it was answered with; a person sees one line. */
static void merge_rows(struct picture *picture)
{
	size_t kept = 0;

	qsort(picture->rows, picture->count, sizeof(*picture->rows), by_name);
	for (size_t i = 1; i < picture->count; i++) {
		struct row *last = &picture->rows[kept], *row = &picture->rows[i];

		if (by_name(last, row)) {
			picture->rows[++kept] = *row;
			continue;
		}
		last->count += row->count;
		last->last_us = row->last_us > last->last_us ? row->last_us : last->last_us;
		free(row->name);
	}
	picture->count = picture->count ? kept + 1 : 0;
	qsort(picture->rows, picture->count, sizeof(*picture->rows), by_count);
}

static void print_text(const struct picture *picture, const uint64_t *ledger, unsigned int lines,
		       unsigned int columns)
{
	time_t now = time(NULL);
	char name[1024];

	printf("%llu hits: %llu counted, %llu filtered, %llu lost in this window\n\n",
	       (unsigned long long)ledger[LEDGER_seen], (unsigned long long)ledger[LEDGER_counted],
	       (unsigned long long)ledger_sum(ledger, LEDGER_KIND_FILTERED),
	       (unsigned long long)ledger_sum(ledger, LEDGER_KIND_LOST));
	printf("%10s  %-10s %9s  %s\n", "COUNT", "OP", "LAST", "WHAT");
	for (size_t i = 0; i < picture->count && i < lines; i++) {
		const struct row *row = &picture->rows[i];
		long long ago = now - row->last_us / 1000000;

		text_printable(name, sizeof(name), row->name, columns > 35 ? columns - 35 : 20);
		printf("%10llu  %-10s %7llds  %s\n", (unsigned long long)row->count,
		       op_name(row->op), ago > 0 ? ago : 0, name);
	}
	if (picture->count > lines)
		printf("... and %zu more\n", picture->count - lines);
}

static int print_json(const struct picture *picture, const uint64_t *ledger)
{
	json_t *root = json_object(), *keys = json_array(), *books = json_object();

	for (int i = 0; i < LEDGER_COUNT; i++)
		json_object_set_new(books, ledger_fields[i].name,
				    json_integer((json_int_t)ledger[i]));
	for (size_t i = 0; i < picture->count && i < ROWS_SHOWN; i++) {
		const struct row *row = &picture->rows[i];
		char name[1024];

		text_printable(name, sizeof(name), row->name, sizeof(name) - 1);
		json_array_append_new(keys,
				      json_pack("{s:s, s:s, s:I, s:f}", "name", name, "op",
						op_name(row->op), "count", (json_int_t)row->count,
						"last", (double)row->last_us / 1e6));
	}
	json_object_set_new(root, "ledger", books);
	json_object_set_new(root, "keys", keys);
	json_object_set_new(
		root, "more",
		json_integer((json_int_t)(picture->count > ROWS_SHOWN ? picture->count - ROWS_SHOWN
								      : 0)));
	if (json_dumpf(root, stdout, JSON_INDENT(1) | JSON_SORT_KEYS)) {
		json_decref(root);
		return -EIO;
	}
	putchar('\n');
	json_decref(root);
	return 0;
}

int command_top(int argc, char **argv)
{
	_cleanup_(options_free) struct options options = {};
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	struct picture picture = {};
	uint64_t ledger[LEDGER_COUNT];
	int rc = options_parse(&options, OPTIONS_TOP,
			       "What is being pulled now, from the kernel's maps.", argc, argv,
			       NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	if (command_open_kernel(&kernel, &options))
		return 1;
	while (!rc) {
		unsigned int window = kernel->control->active & 1;
		bool live = isatty(STDOUT_FILENO) && !options.json;
		struct winsize size = {.ws_row = 0};

		rc = kernel_ledger(kernel, window, ledger);
		rc = rc ?: drain_each(kernel, window, add_row, &picture);
		if (rc)
			break;
		merge_rows(&picture);
		if (live) {
			ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
			fputs("\033[H\033[J", stdout);
		}
		if (options.json)
			rc = print_json(&picture, ledger);
		else
			print_text(&picture, ledger,
				   size.ws_row > 6 ? size.ws_row - 5u : ROWS_SHOWN,
				   live ? size.ws_col : 1024);
		picture_clear(&picture);
		fflush(stdout);
		if (!live)
			return rc ? 1 : 0;
		sleep(1);
	}
	fprintf(stderr, "pulltap: reading the kernel's maps: %s\n", strerror(-rc));
	return 1;
}
