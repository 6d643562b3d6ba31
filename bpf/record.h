/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The core that every way in shares: given method, status, path, digest and peer of one finished
 * reply, decides what it was and counts it. Each hit ends in exactly one counter of the ledger.
 */
#ifndef PULLTAP_RECORD_H
#define PULLTAP_RECORD_H

#include "path.h"
#include "maps.h"

enum pt_method { PT_METHOD_OTHER, PT_METHOD_GET, PT_METHOD_HEAD, PT_METHOD_PUT, PT_METHOD_DELETE };

/* Index of a counter in struct pt_ledger. */
#define LEDGER(name) (__builtin_offsetof(struct pt_ledger, name) / 8)
#define LEDGER_SIZE (sizeof(struct pt_ledger) / 8)

/*
 * min(n, max) in a form the verifier can follow: the empty asm keeps the compiler from proving the
 * comparison away or from moving it to another register.
 */
static __always_inline __u64 at_most(__u64 n, __u64 max)
{
	asm volatile("" : "+r"(n));
	if (n > max)
		n = max;
	asm volatile("" : "+r"(n));
	return n;
}

/* One hit: what every step needs to know. Lives on the stack of the entry point. */
struct hit {
	struct pt_control *control;
	struct pt_site *site;
	struct pt_ledger *ledger;
	__u32 site_index;
	__u32 window;
};

static __always_inline void ledger_add(struct pt_ledger *ledger, __u32 index)
{
	if (index < LEDGER_SIZE)
		__sync_fetch_and_add((__u64 *)ledger + index, 1);
}

/*
 * Opens a hit: false when counting is switched off or nothing is set up, and then nothing was
 * counted. The window is read once here and nowhere else.
 */
static __always_inline bool hit_begin(struct hit *hit, void *ctx)
{
	__u32 zero = 0, site_index = (__u32)bpf_get_attach_cookie(ctx), window;
	__u32 *off_mask = bpf_map_lookup_elem(&off, &zero);
	void *ledger;

	if (!off_mask || *off_mask)
		return false;
	hit->control = bpf_map_lookup_elem(&control, &zero);
	if (!hit->control)
		return false;
	window = *(volatile __u32 *)&hit->control->active & 1;
	hit->window = window;
	ledger = bpf_map_lookup_elem(&ledgers, &window);
	if (!ledger)
		return false;
	hit->ledger = bpf_map_lookup_elem(ledger, &zero);
	if (!hit->ledger)
		return false;
	hit->site_index = site_index;
	hit->site = bpf_map_lookup_elem(&sites, &site_index);
	return true;
}

/* Closes it: the one place where a hit is entered in the books. */
static __always_inline void hit_end(struct hit *hit, __u32 outcome)
{
	ledger_add(hit->ledger, LEDGER(seen));
	ledger_add(hit->ledger, outcome);
	if (!hit->site)
		return;
	__sync_fetch_and_add(&hit->site->hits, 1);
	if (outcome == LEDGER(lost_layout)) {
		__u64 failures = __sync_fetch_and_add(&hit->site->layout_failures, 1) + 1;

		/* a stray one may be a reused struct; a sixteenth of all hits is a wrong layout */
		if (failures >= 16 && failures * 16 > hit->site->hits)
			hit->site->off = 1;
	}
}

static __always_inline struct scratch *scratch_claim(void)
{
	struct scratch *s;
	__u32 i;

	for (i = 0; i < PT_SCRATCHES; i++) {
		__u32 index = i;

		s = bpf_map_lookup_elem(&scratches, &index);
		if (s && __sync_val_compare_and_swap(&s->busy, 0, 1) == 0)
			return s;
	}
	return NULL;
}

static __always_inline void scratch_release(struct scratch *s)
{
	__sync_lock_test_and_set(&s->busy, 0);
}

/* Global functions are verified once and by themselves: that keeps load time at milliseconds. */
__noinline int scan_path(struct scratch *s, int cut, __u64 raw)
{
	int rc;

	if (!s)
		return PT_PATH_OTHER;
	pt_path_terminate(s->path, s->path_length);
	rc = pt_path_scan((const __u64 *)s->path, s->path_length, cut, raw, &s->scan);
	if (rc)
		return rc;
	return pt_path_reference(s->path, s->scan.end, pt_scan_slash(&s->scan), &s->parts);
}

/*
 * Loops whose bound is large run in bpf_loop(), and keep their state in the scratch buffer, where
 * the verifier takes it for unknown: on the stack it would follow each value of it by itself.
 */
static long decode_loop(__u32 i, struct scratch **s)
{
	return pt_decode_step((*s)->path, &(*s)->decode);
}

static long prefix_loop(__u32 i, struct scratch **s)
{
	return pt_prefix_step((*s)->path, &(*s)->prefix);
}

/* Both are rare: escapes are almost never sent, and a prefix is a registry's own choice. */
static __noinline void decode_path(struct scratch *s)
{
	s->decode.in = 0;
	s->decode.out = 0;
	s->decode.length = s->path_length;
	bpf_loop(PT_PATH_BYTES, decode_loop, &s, 0);
	s->path_length = s->decode.out;
}

static __noinline __u32 find_prefix(struct scratch *s)
{
	s->prefix.at = 0;
	s->prefix.found = 0;
	s->prefix.end = s->parts.reference;
	bpf_loop(PT_PATH_BYTES, prefix_loop, &s, 0);
	return s->prefix.found;
}

/*
 * Takes the request target in s->path apart into s->parts; cut and raw as in pt_path_scan().
 * Returns 0 for a manifest's path, else the ledger counter it belongs to.
 */
static __always_inline __u32 parse_path(struct scratch *s, int cut, __u64 raw)
{
	__u32 start = 4;
	int rc;

	rc = scan_path(s, cut, raw);
	if (rc == PT_PATH_ESCAPED) {
		decode_path(s);
		rc = scan_path(s, 0, 0);
	}
	if (rc == PT_PATH_TOO_LONG)
		return LEDGER(filtered_name_too_long);
	if (rc)
		return LEDGER(filtered_not_manifest);
	if (PT_LOAD32(s->path) != PT_V2) {
		start = find_prefix(s);
		if (!start)
			return LEDGER(filtered_not_manifest);
	}
	if (pt_path_name(start, &s->parts))
		return LEDGER(filtered_not_manifest);
	return 0;
}

/* Sets op for what counts and returns 0; else the counter the reply belongs to. */
static __always_inline __u32 classify(__u32 method, __u32 status, __u8 *ret_op)
{
	if (status >= 200 && status < 300) {
		if (method == PT_METHOD_GET && status == 200)
			*ret_op = PT_OP_GET;
		else if (method == PT_METHOD_HEAD && status == 200)
			*ret_op = PT_OP_HEAD;
		else if (method == PT_METHOD_PUT && status == 201)
			*ret_op = PT_OP_PUT;
		else if (method == PT_METHOD_DELETE && status == 202)
			*ret_op = PT_OP_DELETE;
		else if (status == 206)
			return LEDGER(filtered_status_206);
		else
			return LEDGER(filtered_status_2xx);
		return 0;
	}
	if (status == 304 && (method == PT_METHOD_GET || method == PT_METHOD_HEAD)) {
		*ret_op = PT_OP_HEAD;
		return 0;
	}
	if (status < 200)
		return LEDGER(filtered_status_1xx);
	if (status < 400)
		return LEDGER(filtered_status_3xx);
	if (status == 401)
		return LEDGER(filtered_status_401);
	if (status == 404)
		return LEDGER(filtered_status_404);
	if (status == 429)
		return LEDGER(filtered_status_429);
	if (status < 500)
		return LEDGER(filtered_status_4xx);
	return LEDGER(filtered_status_5xx);
}

/* Raises the count of key, making the key if need be. Returns the counter the hit belongs to. */
static __always_inline __u32 count_key(void *map, const void *key, __u32 now_s, __u32 *keys,
				       __u32 signal, struct hit *hit)
{
	struct pt_count *value = bpf_map_lookup_elem(map, key), first = {.count = 1};
	struct pt_slot *slot = &hit->control->slot[hit->window & 1];
	long rc;

	if (!value) {
		first.last_s = now_s;
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
	value->last_s = now_s;
	return LEDGER(counted);
}

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

/*
 * HEAD of a tag leaves a hint; the same peer's GET of that digest takes it, once, and becomes a
 * pull of the tag, which then stands in s->hint.tag. repository is zero-padded, so that its hash is
 * the same from either size of key. Returns the op to count, or -1 when the hint found no room.
 */
static __always_inline int match_hint(struct scratch *s, __u32 registry, const char *repository,
				      const char *tag, __u32 tag_bytes, __u32 op, __u64 now_ns,
				      __u64 hint_ns)
{
	struct pt_hint_key *key = &s->hint_key;
	struct pt_hint *hint;

	key->registry = registry;
	key->zero = 0;
	__builtin_memcpy(key->peer, s->peer, sizeof(key->peer));
	__builtin_memcpy(key->digest, s->digest, sizeof(key->digest));
	key->digest[sizeof(key->digest) - 1] = 0;
	if (s->parts.name_length < PT_SHORT_REPOSITORY)
		key->repository_hash = hash_words(repository, PT_SHORT_REPOSITORY);
	else
		key->repository_hash = hash_words(s->long_key.repository, PT_REPOSITORY_MAX);
	if (op == PT_OP_HEAD) {
		__builtin_memset(&s->hint, 0, sizeof(s->hint));
		s->hint.boot_ns = now_ns;
		__builtin_memcpy(s->hint.tag, tag, tag_bytes);
		return bpf_map_update_elem(&hints, key, &s->hint, BPF_ANY) ? -1 : (int)op;
	}
	hint = bpf_map_lookup_elem(&hints, key);
	if (!hint || now_ns - hint->boot_ns > hint_ns)
		return op;
	__builtin_memcpy(s->hint.tag, hint->tag, sizeof(s->hint.tag));
	if (bpf_map_delete_elem(&hints, key)) /* another GET took it */
		return op;
	return PT_OP_HINTED_GET;
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
static __noinline __u32 count_overflow(struct scratch *s, struct hit *hit, __u32 now_s)
{
	__u32 window = hit->window, outcome;
	void *map = bpf_map_lookup_elem(&overflows, &window);

	if (!map)
		return LEDGER(lost_internal);
	outcome = count_key(map, &s->key, now_s, &hit->control->slot[window & 1].overflow_keys,
			    PT_OVERFLOW_KEYS / 2, hit);
	if (outcome == LEDGER(counted))
		ledger_add(hit->ledger, LEDGER(note_overflow));
	return outcome;
}

static __always_inline __u32 count_short(struct scratch *s, struct hit *hit, __u32 op, __u32 now_s)
{
	__u32 window = hit->window, outcome;
	void *map = bpf_map_lookup_elem(&counts, &window);

	if (!map)
		return LEDGER(lost_internal);
	*(__u64 *)&s->key = hit->site->registry | (__u64)op << 32; /* and the padding */
	__builtin_memcpy(s->key.digest, s->digest, sizeof(s->key.digest));
	outcome = count_key(map, &s->key, now_s, &hit->control->slot[window & 1].short_keys,
			    hit->control->short_keys_signal, hit);
	return outcome == LEDGER(counted) ? outcome : count_overflow(s, hit, now_s);
}

static __always_inline __u32 count_long(struct scratch *s, struct hit *hit, __u32 op, __u32 now_s)
{
	__u32 window = hit->window, outcome;
	void *map = bpf_map_lookup_elem(&long_counts, &window);

	if (!map)
		return LEDGER(lost_internal);
	s->long_key.registry = hit->site->registry;
	s->long_key.op = (__u8)op;
	__builtin_memcpy(s->long_key.digest, s->digest, sizeof(s->long_key.digest));
	outcome = count_key(map, &s->long_key, now_s, &hit->control->slot[window & 1].long_keys,
			    hit->control->long_keys_signal, hit);
	if (outcome == LEDGER(counted))
		ledger_add(hit->ledger, LEDGER(note_long_key));
	return outcome;
}

/*
 * Counts one accepted reply: s->path and s->parts hold the name, s->digest the reply's digest or
 * nothing, s->peer the client. Returns the counter the hit belongs to.
 */
static __always_inline __u32 count_reply(struct scratch *s, struct hit *hit, __u32 op)
{
	__u32 tag_length = s->parts.is_digest ? 0 : s->parts.reference_length;
	__u32 hint_seconds = hit->control->hint_seconds;
	__u64 now_ns = bpf_ktime_get_boot_ns();
	__u32 now_s = now_ns / 1000000000ull;
	bool is_short = s->parts.name_length < PT_SHORT_REPOSITORY && tag_length < PT_SHORT_TAG &&
			s->digest_length < PT_SHORT_DIGEST;

	if (s->parts.name_length > PT_REPOSITORY_MAX || tag_length > PT_TAG_MAX)
		return LEDGER(filtered_name_too_long);
	if (!s->digest_length)
		ledger_add(hit->ledger, LEDGER(note_digest_missing));
	if (is_short ? fill_short(s, tag_length) : fill_long(s, tag_length))
		return LEDGER(lost_internal);

	if (hint_seconds && s->digest_length && s->peer[0] &&
	    (op == PT_OP_HEAD ? tag_length > 0 : op == PT_OP_GET && !tag_length)) {
		__u64 hint_ns = hint_seconds * 1000000000ull;
		int matched;

		if (is_short)
			matched = match_hint(s, hit->site->registry, s->key.repository, s->key.tag,
					     sizeof(s->key.tag), op, now_ns, hint_ns);
		else
			matched = match_hint(s, hit->site->registry, s->long_key.repository,
					     s->long_key.tag, sizeof(s->long_key.tag), op, now_ns,
					     hint_ns);
		if (matched < 0)
			ledger_add(hit->ledger, LEDGER(note_hint_full));
		else
			op = (__u32)matched;
		if (op == PT_OP_HINTED_GET && is_short && !s->hint.tag[PT_SHORT_TAG - 1]) {
			__builtin_memcpy(s->key.tag, s->hint.tag, sizeof(s->key.tag));
		} else if (op == PT_OP_HINTED_GET) {
			if (is_short && fill_long(s, 0))
				return LEDGER(lost_internal);
			__builtin_memcpy(s->long_key.tag, s->hint.tag, sizeof(s->long_key.tag));
			is_short = false;
		}
	}
	return is_short ? count_short(s, hit, op, now_s) : count_long(s, hit, op, now_s);
}

#endif
