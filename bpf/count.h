/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Keys and counts: fills the short or the long key from the scratch buffer and raises its count in
 * the hit's window. A failure is returned as the ledger counter it belongs to.
 */
#ifndef PULLTAP_COUNT_H
#define PULLTAP_COUNT_H

#include "hit.h"

/* Raises the count of key, making the key if need be. Returns the counter the hit belongs to. */
static __always_inline __u32 count_key(void *map, const void *key, __u32 now_ms, __u32 *keys,
				       __u32 signal, struct hit *hit)
{
	struct pt_count *value = bpf_map_lookup_elem(map, key), first = {.count = 1};
	struct pt_slot *slot = &hit->control->slot[hit->window & 1];
	long rc;

	if (!value) {
		first.last_ms = now_ms;
		rc = bpf_map_update_elem(map, key, &first, BPF_NOEXIST);
		if (!rc) {
			if (__sync_fetch_and_add(keys, 1) + 1 >= signal &&
			    __sync_val_compare_and_swap(&slot->signalled, 0, 1) == 0) {
				struct pt_event event = {PT_EVENT_SWAP, hit->window};

				bpf_ringbuf_output(&events, &event, sizeof(event),
						   BPF_RB_FORCE_WAKEUP);
			}
			return LEDGER(counted);
		}
		value = bpf_map_lookup_elem(map, key); /* another CPU made it first */
		if (!value) {
			if (rc == -7) /* E2BIG */
				return LEDGER(lost_map_full);
			return rc == -12 ? LEDGER(lost_no_memory) : LEDGER(lost_busy);
		}
	}
	if (value->count >= 0xffff0000) /* half a day of a dead agent at 100,000 pulls a second */
		return LEDGER(lost_map_full);
	__sync_fetch_and_add(&value->count, 1);
	value->last_ms = now_ms;
	return LEDGER(counted);
}

/*
 * Copies length bytes of the path as whole words, zeroes behind them. For the short key this is
 * half the price of a helper call; offset + bytes must stay within the buffer.
 */
static __always_inline void copy_words(__u64 *to, const char *path, __u64 offset, __u32 length,
				       __u32 bytes)
{
	const char *from = path + at_most(offset, PT_PATH_BYTES + PT_PATH_SLOP - bytes);
	__u32 i;

	for (i = 0; i < bytes / 8; i++)
		to[i] = PT_LOAD64(from + i * 8) & pt_first_bytes((__s32)(length - i * 8));
}

/* The two sizes of key are filled alike: texts from s->path, zero-padded. Returns 0 or an error. */
static __always_inline long fill_short(struct scratch *s, __u32 tag_length)
{
	copy_words((__u64 *)s->key.repository, s->path, s->parts.name, s->parts.name_length,
		   sizeof(s->key.repository));
	copy_words((__u64 *)s->key.tag, s->path, s->parts.reference, tag_length,
		   sizeof(s->key.tag));
	return 0;
}

static __always_inline long fill_long(struct scratch *s, __u32 tag_length)
{
	__builtin_memset(&s->long_key, 0, sizeof(s->long_key));
	return bpf_probe_read_kernel(s->long_key.repository,
				     at_most(s->parts.name_length, PT_REPOSITORY_MAX),
				     s->path + s->parts.name) |
	       bpf_probe_read_kernel(s->long_key.tag, at_most(tag_length, PT_TAG_MAX),
				     s->path + s->parts.reference);
}

/*
 * A per-CPU element needs memory on every CPU, which the kernel can run out of for a moment when
 * many new keys come at once: those are counted in the overflow map.
 */
static __noinline __u32 count_overflow(struct scratch *s, struct hit *hit, __u32 now_ms)
{
	__u32 window = hit->window, outcome;
	void *map = bpf_map_lookup_elem(&overflows, &window);

	if (!map)
		return LEDGER(lost_internal);
	outcome = count_key(map, &s->key, now_ms, &hit->control->slot[window & 1].overflow_keys,
			    PT_OVERFLOW_KEYS / 2, hit);
	if (outcome == LEDGER(counted))
		ledger_add(hit->ledger, LEDGER(note_overflow));
	return outcome;
}

static __always_inline __u32 count_short(struct scratch *s, struct hit *hit, __u32 op, __u32 now_ms)
{
	__u32 window = hit->window, outcome;
	void *map = bpf_map_lookup_elem(&counts, &window);

	if (!map)
		return LEDGER(lost_internal);
	*(__u64 *)&s->key = hit->site->registry | (__u64)op << 32; /* and the padding */
	__builtin_memcpy(s->key.digest, s->digest, sizeof(s->key.digest));
	outcome = count_key(map, &s->key, now_ms, &hit->control->slot[window & 1].short_keys,
			    hit->control->short_keys_signal, hit);
	return outcome == LEDGER(counted) ? outcome : count_overflow(s, hit, now_ms);
}

static __always_inline __u32 count_long(struct scratch *s, struct hit *hit, __u32 op, __u32 now_ms)
{
	__u32 window = hit->window, outcome;
	void *map = bpf_map_lookup_elem(&long_counts, &window);

	if (!map)
		return LEDGER(lost_internal);
	s->long_key.registry = hit->site->registry;
	s->long_key.op = (enum pt_op)op;
	__builtin_memcpy(s->long_key.digest, s->digest, sizeof(s->long_key.digest));
	outcome = count_key(map, &s->long_key, now_ms, &hit->control->slot[window & 1].long_keys,
			    hit->control->long_keys_signal, hit);
	if (outcome == LEDGER(counted))
		ledger_add(hit->ledger, LEDGER(note_long_key));
	return outcome;
}

#endif
