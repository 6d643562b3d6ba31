/* SPDX-License-Identifier: MIT */
/*
 * Which windows each file holds, told by its name. A merged window is there before its parts go,
 * so that a crash in between leaves both: then the parts are the ones to go. Shipper's thread, and
 * spool_new() before there is one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "window/spool_folder.h"

int spool_spans_add(struct spool_spans *spans, const struct spool_span *span)
{
	if (spans->count == spans->capacity) {
		size_t capacity = spans->capacity ? 2 * spans->capacity : 16;
		void *items = realloc(spans->items, capacity * sizeof(*spans->items));

		if (!items)
			return -ENOMEM;
		spans->items = items;
		spans->capacity = capacity;
	}
	spans->items[spans->count++] = *span;
	return 0;
}

void spool_spans_free(struct spool_spans *spans)
{
	free(spans->items);
	*spans = (struct spool_spans){0};
}

/* Of two files that end with the same window the merged one comes last. */
static int by_stream_and_end(const void *a, const void *b)
{
	const struct spool_span *x = a, *y = b;
	int order = memcmp(x->agent, y->agent, sizeof(x->agent));

	if (order)
		return order;
	if (x->last != y->last)
		return (x->last > y->last) - (x->last < y->last);
	return (x->first < y->first) - (x->first > y->first);
}

int spool_spans_list(const struct spool *spool, struct spool_spans *ret)
{
	_cleanup_(spool_spans_free) struct spool_spans spans = {0};
	_cleanup_closedir_ DIR *dir = NULL;
	struct spool_span span;
	const char *name;
	int err = spool_scan_open(spool->fd, &dir);

	if (err)
		return err;
	while ((name = spool_scan_next(dir, &err))) {
		if (!spool_name_parse(name, &span))
			continue;
		err = spool_spans_add(&spans, &span);
		if (err)
			return err;
	}
	if (err)
		return err;
	if (spans.count)
		qsort(spans.items, spans.count, sizeof(*spans.items), by_stream_and_end);
	*ret = spans;
	spans = (struct spool_spans){0};
	return 0;
}

bool spool_is_whole(struct spool *spool, const struct spool_span *span)
{
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	char name[SPOOL_NAME_BYTES];
	const char *reason;

	spool_name_format(name, span);
	return !spool_reader_new(&reader, spool, name, &reason);
}

/* What is no file can't be a part; it is put aside when its turn comes. */
static int drop(struct spool *spool, const struct spool_span *span)
{
	char name[SPOOL_NAME_BYTES];
	struct stat st;

	spool_name_format(name, span);
	if (fstatat(spool->fd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return 0;
	return unlinkat(spool->fd, name, 0) && errno != ENOENT ? -errno : 0;
}

/* From the end: a merged window is met before all that may be inside it. */
int spool_drop_merged(struct spool *spool)
{
	_cleanup_(spool_spans_free) struct spool_spans spans = {0};
	const struct spool_span *outer = NULL;
	bool checked = false;
	int err = spool_spans_list(spool, &spans);

	for (size_t i = spans.count; !err && i--;) {
		const struct spool_span *span = &spans.items[i];

		if (!outer || memcmp(outer->agent, span->agent, sizeof(span->agent)) ||
		    span->last < outer->first || span->first < outer->first) {
			outer = span;
			checked = false;
			continue;
		}
		checked = checked || spool_is_whole(spool, outer);
		if (checked)
			err = drop(spool, span);
		else
			outer = span;
	}
	return err;
}
