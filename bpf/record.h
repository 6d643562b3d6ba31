/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The core that every way in shares: given method, status, path, digest and peer of one finished
 * reply, decides what it was and counts it. Each hit ends in exactly one counter of the ledger.
 */
#ifndef PULLTAP_RECORD_H
#define PULLTAP_RECORD_H

#include "child.h"
#include "digest.h"
#include "request.h"
#include "rules.h"

/*
 * For the guard, hits of each site measure themselves: four of 256, in a row, for clients send HEAD
 * and GET in turns and the one costs more than the other.
 */
#define TIMED_EVERY 256
#define TIMED_IN_A_ROW 4
#define TIMED_MAX_NS 100000

/* A hit that finds counting switched off tells when that was, in case no agent runs that knows. */
static __noinline void note_off(__u32 mask)
{
	__u64 now_ns = bpf_ktime_get_boot_ns();
	struct pt_control *c;
	struct pt_slot *slot;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&control, &zero);
	if (!c)
		return;
	slot = &c->slot[c->active & 1];
	if (!slot->off_mask)
		slot->off_mask = mask;
	__sync_val_compare_and_swap(&c->off.since_ns, 0, now_ns);
	c->off.until_ns = now_ns;
}

/*
 * Opens a hit: false when counting is switched off, nothing is set up or the probe is a former one,
 * and then nothing was counted. The window is read once here and nowhere else.
 */
static __always_inline bool hit_begin(struct hit *hit, void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 zero = 0, site_index = (__u32)cookie, window;
	__u32 *off_mask = bpf_map_lookup_elem(&off, &zero);
	void *ledger;

	if (!off_mask)
		return false;
	if (*off_mask) {
		note_off(*off_mask);
		return false;
	}
	hit->control = bpf_map_lookup_elem(&control, &zero);
	if (!hit->control)
		return false;
	window = *(volatile __u32 *)&hit->control->active & 1;
	hit->window = window;
	hit->policy = *(volatile __u32 *)&hit->control->policy;
	ledger = bpf_map_lookup_elem(&ledgers, &window);
	if (!ledger)
		return false;
	hit->ledger = bpf_map_lookup_elem(ledger, &zero);
	if (!hit->ledger)
		return false;
	hit->site_index = site_index;
	hit->site = bpf_map_lookup_elem(&sites, &site_index);
	if (!hit->site)
		return true;
	if (hit->site->hits % TIMED_EVERY < TIMED_IN_A_ROW)
		hit->start_ns = bpf_ktime_get_ns();
	/* else the probe that took this one's place counts the reply */
	return hit->site->attach == (__u32)(cookie >> 32);
}

/* One that was interrupted, by another thread or by the host, tells nothing of what it takes. */
static __always_inline void add_time(struct pt_site *site, __u64 took_ns)
{
	if (took_ns > TIMED_MAX_NS)
		return;
	__sync_fetch_and_add(&site->timed_ns, took_ns);
	__sync_fetch_and_add(&site->timed_hits, 1);
}

/* Not a function that starts over, and not a connection as a whole. */
static __always_inline bool is_reply(__u32 outcome)
{
	return outcome != LEDGER(filtered_stack_growth) &&
	       outcome != LEDGER(filtered_client_role) && outcome != LEDGER(filtered_not_http) &&
	       outcome != LEDGER(lost_h2_unparsed);
}

static __always_inline void registry_add(__u32 index, __u32 outcome)
{
	struct pt_registry *registry = bpf_map_lookup_elem(&registries, &index);

	if (!registry || !is_reply(outcome))
		return;
	__sync_fetch_and_add(&registry->replies, 1);
	if (outcome == LEDGER(counted) || outcome == LEDGER(filtered_excluded))
		__sync_fetch_and_add(&registry->counted, 1);
}

/* Closes it: the one place where a hit is entered in the books. */
static __always_inline void hit_end(struct hit *hit, __u32 outcome)
{
	ledger_add(hit->ledger, LEDGER(seen));
	ledger_add(hit->ledger, outcome);
	if (!hit->site)
		return;
	__sync_fetch_and_add(&hit->site->hits, 1);
	registry_add(hit->site->registry, outcome);
	if (hit->start_ns)
		add_time(hit->site, bpf_ktime_get_ns() - hit->start_ns);
	if (outcome == LEDGER(lost_layout)) {
		__u64 failures = __sync_fetch_and_add(&hit->site->layout_failures, 1) + 1;

		/* a stray one may be a reused struct; a sixteenth of all hits is a wrong layout */
		if (failures >= 16 && failures * 16 > hit->site->hits) {
			hit->site->off |= PT_SITE_OFF_LAYOUT;
			hit->site->off_was = PT_SITE_OFF_LAYOUT;
			hit->site->off_span.since_ns = bpf_ktime_get_boot_ns();
			hit->site->off_span.until_ns = 0;
		}
	}
}

/* 0, or the counter of a hit that no site stands for any more. */
static __always_inline __u32 hit_check_site(const struct hit *hit)
{
	if (!hit->site)
		return LEDGER(lost_internal);
	return hit->site->off ? LEDGER(filtered_target_off) : 0;
}

static __always_inline struct scratch *scratch_claim(void)
{
	struct scratch *s;
	__u32 i;

	for (i = 0; i < PT_SCRATCHES; i++) {
		__u32 index = i;

		s = bpf_map_lookup_elem(&scratches, &index);
		if (s && __sync_val_compare_and_swap(&s->busy, 0, 1) == 0) {
			s->is_index = 0; /* for ways in that can't tell */
			client_clear(s);
			return s;
		}
	}
	return NULL;
}

static __always_inline void scratch_release(struct scratch *s)
{
	__sync_lock_test_and_set(&s->busy, 0);
}

/* Global functions are verified once and by themselves: that keeps load time at milliseconds. */
__weak __noinline int scan_path(struct scratch *s, int cut, __u64 raw)
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

/* A path that was decoded by the registry itself may hold a NUL, where a key's text would end. */
static long nul_loop(__u32 i, struct scratch **s)
{
	__u64 at = i;

	PT_PIN_DOWN(at);
	if (at >= PT_PATH_BYTES)
		return 1;
	PT_PIN_DOWN(at);
	if (at >= (*s)->path_length)
		return 1;
	(*s)->decode.nul |= !(*s)->path[at];
	return 0;
}

static __noinline __u32 holds_nul(struct scratch *s)
{
	s->decode.nul = 0;
	bpf_loop(PT_PATH_BYTES, nul_loop, &s, 0);
	return s->decode.nul;
}

/* Both are rare: escapes are almost never sent, and a prefix is a registry's own choice. */
static __noinline void decode_path(struct scratch *s)
{
	s->decode.in = 0;
	s->decode.out = 0;
	s->decode.nul = 0;
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

	if (!raw && holds_nul(s))
		return LEDGER(filtered_name_nul);
	rc = scan_path(s, cut, raw);
	if (rc == PT_PATH_ESCAPED) {
		decode_path(s);
		if (s->decode.nul)
			return LEDGER(filtered_name_nul);
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
	if (!status)
		return LEDGER(filtered_unanswered);
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

/* What is left of accept_reply() once the path was taken apart. */
static __always_inline __u32 accept_status(const struct scratch *s, __u32 method, __u32 status,
					   __u8 *ret_op)
{
	__u32 outcome = classify(method, status, ret_op);

	if (outcome)
		return outcome;
	if (s->parts.is_digest && s->parts.reference_length > PT_DIGEST_MAX)
		return LEDGER(filtered_name_too_long);
	return 0;
}

/*
 * The first half of counting a reply, all that needs no more than its request line and status.
 * Returns 0 when it counts, with op set and s->parts filled; else the counter it belongs to.
 */
static __always_inline __u32 accept_reply(struct scratch *s, __u32 method, __u32 status, int cut,
					  __u64 raw, __u8 *ret_op)
{
	__u32 outcome;

	if (method == PT_METHOD_OTHER)
		return LEDGER(filtered_method);
	outcome = parse_path(s, cut, raw);
	return outcome ?: accept_status(s, method, status, ret_op);
}

/*
 * Is the client's address of use? A HEAD of a tag leaves a hint, a GET by digest takes one, and of
 * an index the next GET by digest may be a child.
 */
static __always_inline bool needs_peer(const struct scratch *s, const struct hit *hit, __u32 status,
				       __u32 op)
{
	return hit->control->hint_seconds &&
	       (s->parts.is_digest ? op == PT_OP_GET
				   : s->is_index || (op == PT_OP_HEAD && status == 200));
}

/*
 * The second half, for an accepted reply: s->path and s->parts hold the name, s->digest the reply's
 * digest or nothing, s->peer the client. Returns the counter the hit belongs to.
 */
static __always_inline __u32 count_reply(struct scratch *s, struct hit *hit, __u32 op)
{
	__u32 tag_length = s->parts.is_digest ? 0 : s->parts.reference_length;
	__u32 hint_seconds = hit->control->hint_seconds;
	__u64 now_ns = bpf_ktime_get_boot_ns();
	__u64 age_ms = (now_ns - hit->control->slot[hit->window & 1].start_boot_ns) / 1000000;
	__u32 now_ms = age_ms > ~0u ? ~0u : (__u32)age_ms;
	bool is_short = s->parts.name_length < PT_SHORT_REPOSITORY && tag_length < PT_SHORT_TAG &&
			s->digest_length < PT_SHORT_DIGEST;
	__u32 outcome;

	if (s->parts.name_length > PT_REPOSITORY_MAX || tag_length > PT_TAG_MAX)
		return LEDGER(filtered_name_too_long);
	if (is_short ? fill_short(s, tag_length) : fill_long(s, tag_length))
		return LEDGER(lost_internal);

	if (is_excluded(s, hit, op, now_ms)) {
		/* its own count took the key */
		if (is_short && fill_short(s, tag_length))
			return LEDGER(lost_internal);
		outcome = is_short ? count_short(s, hit, PT_OP_EXCLUDED, now_ms)
				   : count_long(s, hit, PT_OP_EXCLUDED, now_ms);
		return outcome == LEDGER(counted) ? LEDGER(filtered_excluded) : outcome;
	}
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
	outcome = is_short ? count_short(s, hit, op, now_ms) : count_long(s, hit, op, now_ms);
	if (hint_seconds && s->peer[0] &&
	    (s->is_index ? op == PT_OP_GET || op == PT_OP_HINTED_GET
			 : op == PT_OP_GET && !tag_length))
		learn_child(s, hit, is_short ? s->key.repository : s->long_key.repository, now_ns,
			    now_ms);
	if (outcome == LEDGER(counted))
		count_client(s, hit, op, now_ms);
	return outcome;
}

#endif
