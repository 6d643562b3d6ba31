/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * An index and its children: a peer that pulls an index asks for the manifest of its platform next.
 * The order of the two is all that tells which belong together; it is noted beside the counts, in a
 * key of its own, and never changes one.
 */
#ifndef PULLTAP_CHILD_H
#define PULLTAP_CHILD_H

#include "count.h"
#include "hint.h"

/* Clients take milliseconds; what comes later may be another pull. */
#define PT_CHILD_NS 10000000000ull

/* Text that both a long key's tag and a hint hold. */
_Static_assert(PT_SHORT_DIGEST <= PT_LONG_TAG, "an index's digest fits where a tag does");

/*
 * Is this the length of an index's media type? There are two, and among the media types of
 * manifests their lengths are their own: 39 of the OCI's, 57 of Docker's manifest list.
 */
static __always_inline bool is_index_type(__u64 length)
{
	return length == 39 || length == 57;
}

static __always_inline void note_child(struct scratch *s, struct hit *hit, __u32 now_ms)
{
	__u32 window = hit->window;
	void *map = bpf_map_lookup_elem(&long_counts, &window);

	if (map && !fill_long(s, 0)) {
		s->long_key.registry = hit->site->registry;
		s->long_key.op = PT_OP_CHILD;
		__builtin_memcpy(s->long_key.tag, s->hint.tag, sizeof(s->long_key.tag));
		__builtin_memcpy(s->long_key.digest, s->digest, sizeof(s->long_key.digest));
		if (count_key(map, &s->long_key, now_ms, &hit->control->slot[window & 1].long_keys,
			      hit->control->long_keys_signal, hit) == LEDGER(counted))
			return;
	}
	ledger_add(hit->ledger, LEDGER(note_child_unlearned));
}

/*
 * After a GET was counted, of an index or by digest and without a HEAD of a tag. An index is
 * remembered with its peer and repository; another manifest that the peer then asks for belongs to
 * it. Only sha256.
 */
static __noinline void learn_child(struct scratch *s, struct hit *hit, const char *repository,
				   __u64 now_ns, __u32 now_ms)
{
	struct pt_hint_key *key;
	struct pt_hint *index;

	if (s->digest_length >= PT_SHORT_DIGEST)
		return;
	key = hint_key(s, hit->site->registry, repository);
	__builtin_memset(key->digest, 0, sizeof(key->digest));
	if (s->is_index) {
		__builtin_memset(&s->hint, 0, sizeof(s->hint));
		s->hint.boot_ns = now_ns;
		__builtin_memcpy(s->hint.tag, s->digest, PT_SHORT_DIGEST);
		bpf_map_update_elem(&indexes, key, &s->hint, BPF_ANY);
		return;
	}
	index = bpf_map_lookup_elem(&indexes, key);
	if (!index || now_ns - index->boot_ns > PT_CHILD_NS)
		return;
	__builtin_memcpy(s->hint.tag, index->tag, sizeof(s->hint.tag));
	note_child(s, hit, now_ms);
}

#endif
