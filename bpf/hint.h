/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * HEAD of a tag, then GET of its digest: how containerd and current docker pull. The hint between
 * the two is a pull of the tag.
 */
#ifndef PULLTAP_HINT_H
#define PULLTAP_HINT_H

#include "hit.h"

static __always_inline __u64 hash_words(const char *text, __u32 bytes)
{
	__u64 h = 0x9e3779b97f4a7c15ull;
	__u32 i;

	for (i = 0; i < bytes / 8; i++) {
		h = (h ^ ((const __u64 *)text)[i]) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	return h;
}

/* Keys of hints: peer, registry and repository. The digest is the caller's. */
static __always_inline struct pt_hint_key *hint_key(struct scratch *s, __u32 registry,
						    const char *repository)
{
	struct pt_hint_key *key = &s->hint_key;

	key->registry = registry;
	key->zero = 0;
	__builtin_memcpy(key->peer, s->peer, sizeof(key->peer));
	if (s->parts.name_length < PT_SHORT_REPOSITORY)
		key->repository_hash = hash_words(repository, PT_SHORT_REPOSITORY);
	else
		key->repository_hash = hash_words(s->long_key.repository, PT_REPOSITORY_MAX);
	return key;
}

/*
 * HEAD of a tag leaves a hint; the same peer's GET of that digest takes it, once, and becomes a
 * pull of the tag, which then stands in s->hint.tag. repository is zero-padded, so that its hash is
 * the same from either size of key. Returns the op to count, or -1 when the hint found no room.
 */
static __always_inline int match_hint(struct scratch *s, __u32 registry, const char *repository,
				      const char *tag, __u32 tag_bytes, __u32 op, __u64 now_ns,
				      __u64 hint_ns)
{
	struct pt_hint_key *key = hint_key(s, registry, repository);
	struct pt_hint *hint;

	__builtin_memcpy(key->digest, s->digest, sizeof(key->digest));
	key->digest[sizeof(key->digest) - 1] = 0;
	if (op == PT_OP_HEAD) {
		__builtin_memset(&s->hint, 0, sizeof(s->hint));
		s->hint.boot_ns = now_ns;
		__builtin_memcpy(s->hint.tag, tag, tag_bytes);
		return bpf_map_update_elem(&hints, key, &s->hint, BPF_ANY) ? -1 : (int)op;
	}
	hint = bpf_map_lookup_elem(&hints, key);
	/* a HEAD on another CPU may be later than this hit's time */
	if (!hint || (__s64)(now_ns - hint->boot_ns) > (__s64)hint_ns)
		return op;
	__builtin_memcpy(s->hint.tag, hint->tag, sizeof(s->hint.tag));
	if (bpf_map_delete_elem(&hints, key)) /* another GET took it */
		return op;
	return PT_OP_HINTED_GET;
}

#endif
