/* SPDX-License-Identifier: MIT */
/*
 * Two counters of the same replies, ours and an outside truth's, that are never read at the same
 * moment: decides whether what lies between them is only what was under way just then. Pure.
 */
#ifndef PULLTAP_CONTROL_COMPARISON_H
#define PULLTAP_CONTROL_COMPARISON_H

#include <stdbool.h>
#include <stdint.h>

/* One look at both, as they are since whenever. */
struct comparison_look {
	uint64_t ours_before; /* just before the truth was read */
	uint64_t truth_done; /* replies that were finished */
	uint64_t truth_begun; /* and those under way; the same where the truth can't tell */
	uint64_t ours_after;
};

struct comparison {
	int64_t since_s; /* Unix time; 0: no look fitted yet */
	uint64_t truth; /* since then */
	uint64_t ours;
	int64_t difference; /* truth - ours that stayed; 0 when all is well */
	int64_t changed_s; /* when that last changed, 0 never */
	/* private */
	struct comparison_look start, last;
	uint64_t truth_before, ours_before; /* up to start */
	unsigned int looks, odd;
	bool begun;
};

/* Returns true when the difference has changed for good: the moment to say so. */
bool comparison_add(struct comparison *comparison, const struct comparison_look *look,
		    int64_t now_s);

/*
 * The truth was away or began at zero again: what happened since the last look is taken for equal,
 * and the next looks begin anew behind it.
 */
void comparison_pause(struct comparison *comparison);

/* Goes on with the sums and the difference that *comparison holds, counted up to *at. */
void comparison_resume(struct comparison *comparison, const struct comparison_look *at);

#endif
