/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Finds Docker-Content-Digest in a reply's header, and what a request's says of its client. Both
 * are a Go map[string][]string in the registry's memory. A map of up to 8 headers is one group, as
 * every known registry's is; larger ones are walked as far as the bounds below go, then the pull
 * counts with an unknown digest.
 */
#ifndef PULLTAP_GO_HEADER_H
#define PULLTAP_GO_HEADER_H

#include "go_layout.h"
#include "child.h"
#include "client.h"
#include "digest.h"

/* 32 groups are 256 slots: some 150 headers. Beyond: note_digest_unread. */
#define GO_GROUPS_MAX 32

/* What is looked for: the digest, and whether the Content-Type is an index's. */
#define HEADER_DIGEST 1
#define HEADER_TYPE 2
#define HEADER_CLIENT(which) (4 << (which)) /* enum client_header: their values' slices */
#define HEADER_AGENT HEADER_CLIENT(CLIENT_AGENT)
#define HEADER_FORWARDED                                                                           \
	(HEADER_CLIENT(CLIENT_FORWARDED_FOR) | HEADER_CLIENT(CLIENT_FORWARDED) |                   \
	 HEADER_CLIENT(CLIENT_REAL_IP))

/* Is this header the media type of an index? */
static __always_inline bool names_index(__u64 key, __u64 slice)
{
	__u64 text[2], name[2] = {};

	if (!slice || bpf_probe_read_user(text, sizeof(text), (void *)slice) ||
	    !is_index_type(text[1]) || bpf_probe_read_user(name, 12, (void *)key))
		return false;
	return name[0] == 0x2d746e65746e6f43ull /* "Content-" */ &&
	       name[1] == 0x65707954 /* "Type" */;
}

/* Reads one Go string header {pointer, length} and its text into s->digest. */
static __always_inline int read_go_digest(struct scratch *s, __u64 slice)
{
	__u64 text[2];

	if (!slice || bpf_probe_read_user(text, sizeof(text), (void *)slice))
		return DIGEST_UNREAD;
	return read_digest(s, text[0], text[1]);
}

/* Is this key "Docker-Content-Digest"? */
static __always_inline bool key_matches(__u64 key, __u64 length)
{
	__u64 text[3] = {};

	if (length != 21 || bpf_probe_read_user(text, 21, (void *)key))
		return false;
	return text[0] == 0x432d72656b636f44ull /* "Docker-C" */ &&
	       text[1] == 0x442d746e65746e6full /* "ontent-D" */ &&
	       text[2] == 0x7473656769ull; /* "igest" */
}

/* Keeps a value of the request's header that is wanted. Returns whether all were found. */
static __always_inline bool keep_client_header(struct scratch *s, __u64 key, __u64 value)
{
	int found = client_header(s->go.words[key], s->go.words[key + 1]);
	__u64 which;

	if (found < 0 || !(s->walk.wanted & HEADER_CLIENT(found)))
		return false;
	which = (__u64)found & 3;
	s->client.headers[which][0] = s->go.words[value];
	s->client.headers[which][1] = s->go.words[value + 1];
	/* no other one is believed then */
	s->walk.wanted &= which == CLIENT_FORWARDED_FOR ? ~HEADER_FORWARDED : ~HEADER_CLIENT(which);
	return !s->walk.wanted;
}

/*
 * Looks through the eight slots of a group in s->go: one control byte each at 0, keys at offset 8.
 * Returns a digest_result; DIGEST_ABSENT means go on. s->is_index is set by the way: a reply's
 * headers are nearly always one group.
 */
__noinline int search_group(struct scratch *s, int swiss, __u32 key_stride, __u32 values,
			    __u32 value_stride)
{
	int rc = DIGEST_ABSENT;
	__u32 i;

	if (!s)
		return DIGEST_UNREAD;
	for (i = 0; i < 8; i++) {
		__u8 tag = s->go.bytes[i];
		__u64 key = at_most((8 + i * key_stride) / 8, 46);
		__u64 value = at_most((values + i * value_stride) / 8, 46);

		if (swiss ? tag & 0x80 : tag < GO_BUCKET_MIN_TOPHASH)
			continue;
		if (s->go.words[key + 1] == 12 && s->go.words[value + 1] &&
		    s->walk.wanted & HEADER_TYPE)
			s->is_index |= names_index(s->go.words[key], s->go.words[value]);
		else if (s->walk.wanted & HEADER_DIGEST && s->go.words[value + 1] &&
			 key_matches(s->go.words[key], s->go.words[key + 1]))
			rc = read_go_digest(s, s->go.words[value]);
		else if (s->walk.wanted & (HEADER_AGENT | HEADER_FORWARDED) &&
			 s->go.words[value + 1] && keep_client_header(s, key, value))
			return DIGEST_FOUND;
	}
	return rc;
}

/* Buckets of maps before Go 1.24. Returns 1 when done. */
static long bucket_step(__u32 step, struct scratch **scratch)
{
	struct scratch *s = *scratch;
	struct header_walk *walk = &s->walk;
	__u64 address = walk->next ? walk->next : walk->groups + walk->index * GO_BUCKET_BYTES;
	int rc;

	if (bpf_probe_read_user(s->go.bytes, GO_BUCKET_BYTES, (void *)address)) {
		walk->result = DIGEST_UNREAD;
		return 1;
	}
	walk->next = s->go.words[GO_BUCKET_OVERFLOW / 8];
	rc = search_group(s, 0, 16, GO_BUCKET_VALUES, GO_SLICE_BYTES);
	if (rc != DIGEST_ABSENT) {
		walk->result = rc;
		return 1;
	}
	if (walk->next || walk->index++ < walk->last)
		return 0;
	if (walk->other) {
		walk->groups = walk->other;
		walk->last = walk->other_last;
		walk->other = 0;
		walk->index = 0;
		return 0;
	}
	walk->result = DIGEST_ABSENT;
	return 1;
}

/* Groups of Swiss maps. Returns 1 when done. */
static long group_step(__u32 step, struct scratch **scratch)
{
	struct scratch *s = *scratch;
	struct header_walk *walk = &s->walk;
	bool split = walk->kind == PT_GO_MAP_SWISS_SPLIT;
	__u64 table, header[2];
	int rc;

	if (!walk->groups) { /* the next table of the directory */
		if (!walk->other_last--) {
			walk->result = DIGEST_ABSENT;
			return 1;
		}
		if (bpf_probe_read_user(&table, 8, (void *)walk->other) ||
		    bpf_probe_read_user(header, 16, (void *)(table + GO_TABLE_GROUPS))) {
			walk->result = DIGEST_UNREAD;
			return 1;
		}
		walk->other += 8;
		walk->groups = header[0];
		walk->last = header[1];
		walk->index = 0;
	}
	if (bpf_probe_read_user(s->go.bytes, GO_GROUP_BYTES,
				(void *)(walk->groups + walk->index * GO_GROUP_BYTES))) {
		walk->result = DIGEST_UNREAD;
		return 1;
	}
	rc = split ? search_group(s, 1, 16, GO_GROUP_SPLIT_VALUES, GO_SLICE_BYTES)
		   : search_group(s, 1, GO_GROUP_SLOT_BYTES, 8 + GO_GROUP_SLOT_VALUE,
				  GO_GROUP_SLOT_BYTES);
	if (rc != DIGEST_ABSENT) {
		walk->result = rc;
		return 1;
	}
	if (walk->index++ >= walk->last)
		walk->groups = 0;
	return 0;
}

/*
 * Reads what is wanted out of the header map at address: the digest into s->digest, zero-padded,
 * s->is_index, s->client.headers. For the type alone only the first group is looked at.
 */
__noinline int read_header(struct scratch *s, __u64 address, int kind, __u32 wanted)
{
	struct header_walk *walk = &s->walk;
	__u64 map[4];

	if (!s || !address)
		return DIGEST_ABSENT;
	if (bpf_probe_read_user(map, sizeof(map), (void *)address))
		return DIGEST_UNREAD;
	if (!map[0]) /* both kinds begin with the number of entries */
		return DIGEST_ABSENT;
	__builtin_memset(walk, 0, sizeof(*walk));
	walk->kind = kind;
	walk->wanted = wanted;
	walk->result = DIGEST_UNREAD;
	if (kind == PT_GO_MAP_BUCKETS) {
		__u32 b = ((__u8 *)map)[GO_HMAP_B];

		if (b > 16)
			return DIGEST_UNREAD;
		walk->groups = map[GO_HMAP_BUCKETS / 8];
		walk->last = (1ull << b) - 1;
		walk->other = map[GO_HMAP_OLD_BUCKETS / 8];
		/* growing in place keeps the size; reading half of the old array twice is harmless
		 */
		walk->other_last = walk->last >> 1;
		if (!bucket_step(0, &s) && wanted & ~HEADER_TYPE) /* nearly always the only one */
			bpf_loop(GO_GROUPS_MAX, bucket_step, &s, 0);
		return walk->result;
	}
	if (!map[GO_SWISS_DIR_LEN / 8]) { /* small: the pointer is the only group */
		walk->groups = map[GO_SWISS_DIR_PTR / 8];
	} else {
		walk->other = map[GO_SWISS_DIR_PTR / 8];
		walk->other_last = map[GO_SWISS_DIR_LEN / 8];
	}
	if (!group_step(0, &s) && wanted & ~HEADER_TYPE)
		bpf_loop(GO_GROUPS_MAX, group_step, &s, 0);
	return walk->result;
}

#endif
