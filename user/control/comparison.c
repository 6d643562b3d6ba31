/* SPDX-License-Identifier: MIT */
#include "control/comparison.h"

#include <stdlib.h>

/* Looks after which a comparison begins although the counters never stood still. */
#define IMPATIENCE 10
/* Looks in a row that must find another difference before it is believed. */
#define PATIENCE 5
/* Of a busy registry so many replies may be under way, and a tenth of those since the last look. */
#define UNDER_WAY 8

static bool still(const struct comparison_look *a, const struct comparison_look *b)
{
	return b->ours_before == b->ours_after && b->truth_done == b->truth_begun &&
	       a->ours_after == b->ours_after && a->truth_done == b->truth_done;
}

/*
 * A reply that is in one counter and not yet in the other would be a difference for ever. Between
 * two looks that agree on the distance there is hardly one, whatever the load.
 */
static bool fits(const struct comparison *c, const struct comparison_look *look)
{
	if (c->looks >= IMPATIENCE)
		return true;
	return c->looks && look->ours_before == look->ours_after &&
	       look->truth_done == look->truth_begun &&
	       look->truth_done - look->ours_after == c->last.truth_done - c->last.ours_after;
}

static void begin(struct comparison *c, const struct comparison_look *look, int64_t now_s)
{
	c->begun = fits(c, look);
	c->looks++;
	if (!c->begun)
		return;
	c->start = *look;
	c->odd = 0;
	c->since_s = c->since_s ? c->since_s : now_s;
}

/* How far the believed difference lies outside what this look allows. */
static int64_t outside(const struct comparison *c, const struct comparison_look *look)
{
	int64_t base = (int64_t)(c->truth_before - c->ours_before);
	int64_t least = base + (int64_t)(look->truth_done - c->start.truth_done) -
			(int64_t)(look->ours_after - c->start.ours_after);
	int64_t most = base + (int64_t)(look->truth_begun - c->start.truth_done) -
		       (int64_t)(look->ours_before - c->start.ours_after);

	if (c->difference < least)
		return least - c->difference;
	return c->difference > most ? most - c->difference : 0;
}

static bool believe(struct comparison *c, const struct comparison_look *look, int64_t now_s)
{
	uint64_t moved = look->truth_done - c->last.truth_done;
	int64_t off = outside(c, look);

	if (!off)
		c->odd = 0;
	else if (still(&c->last, look) || (uint64_t)llabs(off) > UNDER_WAY + moved / 10)
		c->odd++;
	if (c->odd < PATIENCE)
		return false;
	c->odd = 0;
	c->difference += off;
	c->changed_s = now_s;
	return true;
}

bool comparison_add(struct comparison *c, const struct comparison_look *look, int64_t now_s)
{
	bool changed = false;

	if (!c->begun)
		begin(c, look, now_s);
	else
		changed = believe(c, look, now_s);
	c->last = *look;
	if (c->begun) {
		c->truth = c->truth_before + (look->truth_done - c->start.truth_done);
		c->ours = c->ours_before + (look->ours_after - c->start.ours_after);
	}
	return changed;
}

void comparison_pause(struct comparison *c)
{
	if (c->begun) {
		c->ours_before = c->ours;
		c->truth_before = c->truth = c->ours + (uint64_t)c->difference;
	}
	c->begun = false;
	c->looks = 0;
}

void comparison_resume(struct comparison *c, const struct comparison_look *at)
{
	c->truth_before = c->truth;
	c->ours_before = c->ours;
	c->start = c->last = *at;
	c->begun = true;
}
