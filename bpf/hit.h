/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * One hit of a probe: what every step needs to know about it, and the ledger it ends in.
 */
#ifndef PULLTAP_HIT_H
#define PULLTAP_HIT_H

#include "maps.h"

/* Index of a counter in struct pt_ledger. */
#define LEDGER(name) (__builtin_offsetof(struct pt_ledger, name) / 8)
#define LEDGER_SIZE (sizeof(struct pt_ledger) / 8)

/*
 * min(n, max) in a form the verifier can follow: the empty asm keeps the compiler from proving the
 * comparison away or from moving it to another register.
 */
static __always_inline __u64 at_most(__u64 n, __u64 max)
{
	PT_PIN_DOWN(n);
	if (n > max)
		n = max;
	PT_PIN_DOWN(n);
	return n;
}

/* One hit: what every step needs to know. Lives on the stack of the entry point. */
struct hit {
	struct pt_control *control;
	struct pt_site *site;
	struct pt_ledger *ledger;
	__u64 start_ns; /* 0: not measured */
	__u32 site_index;
	__u32 window;
	__u32 policy; /* enum pt_policy, read once */
};

static __always_inline void ledger_add(struct pt_ledger *ledger, __u32 index)
{
	if (index < LEDGER_SIZE)
		__sync_fetch_and_add((__u64 *)ledger + index, 1);
}

#endif
