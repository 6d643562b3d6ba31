/* SPDX-License-Identifier: MIT */
/*
 * Which windows to merge when too many wait. Files of similar size go together, smallest first:
 * rewriting a large one costs most, so it has to be worth at least a quarter of it, and each byte
 * is written again only as often as there are sizes. That is also why merging begins at three
 * quarters of the limit: what may be left unmerged, each a quarter of the next, fits into the rest.
 *
 * Never merged: what may be in the database already (a stream's oldest, whatever was handed out),
 * what the kernel may still hold (its newest), and windows between which numbers, time or the
 * clock make a jump: a gap stays visible, and one offset of the clock holds for a whole window.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "window/spool_folder.h"
#include "window/spool_format.h"

/* Of one merge. More files make fewer rounds, and cost a descriptor and a mapping each. */
#define GROUP_FILES 32
#define GROUP_BYTES (1ull << 30)
/* After so much the shipper may look for other things to do; the rest is merged next time. */
#define ROUND_BYTES (256ull << 20)
/* Windows that follow each other meet within milliseconds. */
#define JOINT_US 1000000
/* Sizes are classed by powers of 4, up to what a group may hold. */
#define CLASSES 16

struct part {
	struct spool_span span;
	uint64_t bytes;
	int64_t start_us, end_us, pause_us;
	bool fixed;
};

struct shrink {
	struct spool *spool;
	struct {
		struct part *items;
		size_t count;
	} parts;
	uint64_t target;
	const bool *stop;
	struct spool_shrunk *ret;
};

static void shrink_end(struct shrink *s)
{
	free(s->parts.items);
}

static bool same_stream(const struct part *a, const struct part *b)
{
	return !memcmp(a->span.agent, b->span.agent, sizeof(a->span.agent));
}

static bool was_handed_out(const struct spool *spool, const struct spool_span *span)
{
	for (size_t i = 0; i < spool->handed.count; i++) {
		const struct spool_span *known = &spool->handed.items[i];

		if (!memcmp(known->agent, span->agent, sizeof(span->agent)))
			return span->first <= known->last;
	}
	return false;
}

static int add_part(struct spool *spool, const struct spool_span *span, struct part *part)
{
	struct window_header header;
	int err;

	*part = (struct part){.span = *span};
	err = spool_peek(spool, span, &header, &part->bytes);
	if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err;
	/* what can't be read is dealt with when its turn comes; nothing is merged across it */
	part->fixed = err || was_handed_out(spool, span);
	if (!err) {
		part->start_us = header.start_us;
		part->end_us = header.end_us;
		part->pause_us = header.pause_us;
	}
	return 0;
}

/*
 * A stream's newest file and its oldest, which is the one that may have been sent. A damaged one
 * can't have been: then the next may have been as well.
 */
static void fix_ends(struct shrink *s)
{
	bool oldest = true;

	for (size_t i = 0; i < s->parts.count; i++) {
		struct part *part = &s->parts.items[i];

		oldest |= !i || !same_stream(part - 1, part);
		if (oldest) {
			part->fixed = true;
			oldest = !spool_is_whole(s->spool, &part->span);
		}
		if (i + 1 == s->parts.count || !same_stream(part, part + 1))
			part->fixed = true;
	}
}

static int list_parts(struct shrink *s)
{
	_cleanup_(spool_spans_free) struct spool_spans spans = {0};
	int err = spool_spans_list(s->spool, &spans);

	if (err)
		return err;
	s->parts.items = calloc(spans.count + 1, sizeof(*s->parts.items));
	if (!s->parts.items)
		return -ENOMEM;
	for (size_t i = 0; !err && i < spans.count; i++)
		err = add_part(s->spool, &spans.items[i], &s->parts.items[i]);
	s->parts.count = spans.count;
	if (!err)
		fix_ends(s);
	return err;
}

static bool follows(const struct part *a, const struct part *b)
{
	int64_t between;

	return same_stream(a, b) && a->span.last + 1 == b->span.first &&
	       !__builtin_sub_overflow(b->start_us, a->end_us, &between) && between <= JOINT_US &&
	       between >= -JOINT_US && b->pause_us <= JOINT_US;
}

/* How many parts from this one on go together; 1: none. */
static size_t group_at(const struct shrink *s, size_t at, unsigned int rank, bool over_days)
{
	const struct part *parts = &s->parts.items[at];
	uint64_t sum = 0, largest = 0;
	size_t n;

	for (n = 0; n < GROUP_FILES && at + n < s->parts.count; n++) {
		const struct part *part = &parts[n];

		if (part->fixed || part->bytes >> (2 * rank + 2) ||
		    sum + part->bytes > GROUP_BYTES || (n && !follows(part - 1, part)) ||
		    (!over_days &&
		     spool_format_day(part->end_us) != spool_format_day(parts->end_us)))
			break;
		sum += part->bytes;
		if (part->bytes > largest)
			largest = part->bytes;
	}
	return n > 1 && sum - largest >= largest / 4 ? n : 1;
}

/* 1 when parts became *merged, 0 when one of them turned out to be no good, -errno. */
static int merge_group(struct shrink *s, struct part *parts, size_t count, bool over_days,
		       struct part *merged)
{
	struct spool_span spans[GROUP_FILES];
	struct spool_merge merge = {
		.parts = spans, .count = count, .over_days = over_days, .stop = s->stop};
	struct window_header header;
	uint64_t before = 0;
	size_t failed;
	int err;

	for (size_t i = 0; i < count; i++) {
		spans[i] = parts[i].span;
		before += parts[i].bytes;
	}
	err = spool_merge(s->spool, &merge, &header, &failed);
	if (err && failed < count && err != -ENOMEM && err != -EMFILE && err != -ENFILE) {
		parts[failed].fixed = true;
		return 0;
	}
	if (err)
		return err;
	*merged = (struct part){
		.start_us = header.start_us, .end_us = header.end_us, .pause_us = header.pause_us};
	merged->span = spool_span_of(&header);
	err = spool_peek(s->spool, &merged->span, &header, &merged->bytes);
	merged->fixed = err != 0;
	s->ret->files += count;
	s->ret->written += merged->bytes;
	s->ret->bytes += before - merged->bytes;
	s->ret->left -= before - merged->bytes;
	return 1;
}

static bool enough(const struct shrink *s)
{
	return s->ret->left <= s->target || s->ret->written >= ROUND_BYTES;
}

/* One round over all files of at most this size; what was merged counts as one of them after. */
static int merge_class(struct shrink *s, unsigned int rank, bool over_days)
{
	struct part *items = s->parts.items;
	size_t in = 0, out = 0;
	int merged = 0;

	while (in < s->parts.count) {
		size_t n = merged < 0 || enough(s) ? 1 : group_at(s, in, rank, over_days);

		if (n > 1) {
			struct part part;

			merged = merge_group(s, &items[in], n, over_days, &part);
			if (merged <= 0)
				continue;
			items[out++] = part;
			in += n;
			continue;
		}
		items[out++] = items[in++];
	}
	s->parts.count = out;
	return merged < 0 ? merged : 0;
}

static int merge_all(struct shrink *s, bool over_days)
{
	int err = 0;

	for (unsigned int rank = 0; !err && rank < CLASSES && !enough(s); rank++)
		err = merge_class(s, rank, over_days);
	return err;
}

int spool_shrink(struct spool *spool, uint64_t limit, const bool *stop, struct spool_shrunk *ret)
{
	_cleanup_(shrink_end) struct shrink s = {
		.spool = spool, .target = limit / 4 * 3, .stop = stop, .ret = ret};
	struct spool_stats stats;
	int err = spool_stats(spool, &stats);

	*ret = (struct spool_shrunk){.left = stats.bytes};
	if (err || stats.bytes <= s.target)
		return err;
	err = spool_drop_merged(spool);
	err = err ? err : list_parts(&s);
	if (err)
		return err;
	ret->left = 0;
	for (size_t i = 0; i < s.parts.count; i++)
		ret->left += s.parts.items[i].bytes;
	err = merge_all(&s, false);
	if (!err && ret->left > limit)
		err = merge_all(&s, true);
	ret->over = !err && ret->left > limit && ret->written < ROUND_BYTES;
	/* names that were read before may be gone, and the new ones are not among them */
	spool->batch_next = spool->batch_count = 0;
	return err;
}
