/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The connections of this way in: found, made, forgotten, given up. OpenSSL lets one thread at a
 * time use an SSL object, so nothing of a connection is written by two programs at once.
 */
#ifndef PULLTAP_TLS_CONNECTION_H
#define PULLTAP_TLS_CONNECTION_H

#include "record.h"
#include "tls_process.h"

/* As one of a hit: several outcomes may belong to one call. */
static __noinline void tls_count(struct hit *hit, __u32 outcome)
{
	hit_end(hit, outcome);
	hit->start_ns = 0;
}

/* An outcome of a call that has no other. */
static __noinline void tls_count_once(void *ctx, __u32 outcome)
{
	struct hit hit = {};

	if (hit_begin(&hit, ctx))
		hit_end(&hit, outcome);
}

struct tls_drop {
	struct pt_tls_key key;
	__u32 last;
	__u32 outcome;
	struct hit *hit; /* NULL: uncounted */
};

static long tls_drop_step(__u32 i, struct tls_drop *drop)
{
	if (drop->key.number == drop->last)
		return 1;
	drop->key.number++;
	bpf_map_delete_elem(&tls_requests, &drop->key);
	if (drop->hit)
		tls_count(drop->hit, drop->outcome);
	return 0;
}

/* Ends all requests that have no reply, each as this outcome. */
static __noinline void tls_drop_requests(struct tls_connection *c, const struct pt_tls_key *key,
					 struct hit *hit, __u32 outcome)
{
	struct tls_drop drop = {.key = *key, .last = c->asked, .outcome = outcome, .hit = hit};

	drop.key.number = c->answered;
	bpf_loop(TLS_PIPELINE + 1, tls_drop_step, &drop, 0);
	c->answered = c->asked;
	if (c->request.state == HTTP1_TARGET) {
		drop.key.number = c->asked + 1;
		bpf_map_delete_elem(&tls_requests, &drop.key);
	}
}

/* Counting is off: what passes by meanwhile is not seen, so nothing is known of it afterwards. */
static __noinline void tls_forget(const struct pt_tls_key *key)
{
	struct tls_connection *c = bpf_map_lookup_elem(&tls_connections, key);

	if (!c)
		return;
	tls_drop_requests(c, key, NULL, 0);
	bpf_map_delete_elem(&tls_connections, key);
}

/* NULL: not known. One of a process that had this number before is forgotten. */
static __always_inline struct tls_connection *tls_find(const struct tls_hit *hit)
{
	struct tls_connection *c = bpf_map_lookup_elem(&tls_connections, &hit->key);

	if (!c || c->process_ns == tls_process_ns())
		return c;
	tls_forget(&hit->key);
	return NULL;
}

/* Returns 0, or the counter of a connection that finds no room. */
static __noinline __u32 tls_make(const struct tls_hit *hit)
{
	struct tls_connection *c;
	__u32 zero = 0;
	void *blank = bpf_map_lookup_elem(&tls_blank, &zero);
	long rc;

	if (!blank)
		return LEDGER(lost_internal);
	rc = bpf_map_update_elem(&tls_connections, &hit->key, blank, BPF_ANY);
	c = bpf_map_lookup_elem(&tls_connections, &hit->key);
	if (c) {
		c->process_ns = tls_process_ns();
		c->born_ns = bpf_ktime_get_boot_ns();
		c->reply.flags = HTTP1_IS_REPLY;
		return 0;
	}
	if (rc == -7) /* E2BIG */
		return LEDGER(lost_connection_full);
	return rc == -12 ? LEDGER(lost_no_memory) : LEDGER(lost_busy);
}

/*
 * What was read now stays unknown, so the connection's next reply is lost for this reason. Returns
 * false where there is no connection to tell it.
 */
static __noinline bool tls_lose(const struct tls_hit *hit, __u32 outcome)
{
	struct tls_connection *c = tls_find(hit);

	if (!c && !tls_make(hit))
		c = tls_find(hit);
	if (!c)
		return false;
	if (c->kind == TLS_FOLLOWED)
		c->lost = (__u8)outcome;
	return true;
}

/*
 * A probe that was attached anew has not seen what passed by meanwhile: the connection is one of
 * which nothing is known. That time is in the books already.
 */
static __always_inline void tls_check_attach(struct tls_connection *c, const struct tls_hit *hit,
					     __u32 *attach)
{
	if (*attach == hit->site->attach)
		return;
	if (*attach) {
		tls_drop_requests(c, &hit->key, NULL, 0);
		__builtin_memset(&c->request, 0, sizeof(c->request));
		__builtin_memset(&c->reply, 0, sizeof(c->reply));
		c->reply.flags = HTTP1_IS_REPLY;
		c->write_length = 0;
		c->read_attach = c->write_attach = 0;
		c->asked = c->answered = 0;
		c->kind = TLS_FOLLOWED;
		c->refused = c->lost = 0;
	}
	*attach = hit->site->attach;
}

static __always_inline void tls_give_up(struct tls_connection *c, const struct pt_tls_key *key,
					struct hit *hit, __u32 outcome)
{
	tls_drop_requests(c, key, hit, outcome);
	c->kind = TLS_GIVEN_UP;
	if (!c->lost)
		c->lost = (__u8)outcome;
}

/* The first bytes of a buffer of the target's, zeroes if there are fewer or they can't be read. */
static __always_inline __u64 tls_first_bytes(__u64 buffer, __u64 length)
{
	__u64 first = 0;

	if (bpf_probe_read_user(&first, at_most(length, 8), (void *)buffer))
		return 0;
	return first;
}

/* Did the last write on this connection end with nothing accepted? */
static __always_inline bool tls_was_refused(const struct tls_hit *hit)
{
	__u32 rwstate = 0;

	bpf_probe_read_user(&rwstate, sizeof(rwstate),
			    (void *)(hit->key.ssl + hit->site->layout.tls.rwstate));
	return rwstate == 2; /* SSL_WRITING */
}

/* One call's bytes, event by event. What is not a pointer is in the scratch buffer. */
struct tls_walk {
	struct scratch *s;
	struct tls_connection *c;
	struct hit *hit;
};

/* A step is eight bytes of what says nothing, or one byte: more than the longest head has. */
#define TLS_STEPS (1u << 20)
#define TLS_FAULT 0x100 /* besides enum http1_event */

static __always_inline int tls_load(struct scratch *s)
{
	struct http1_input *in = &s->tls.in;
	__u64 bytes = at_most(in->total - in->at, HTTP1_PIECE);

	if (bpf_probe_read_user(s->tls.piece, bytes, (void *)(s->tls.buffer + in->at)))
		return TLS_FAULT;
	in->start = in->at;
	in->loaded = bytes;
	return 0;
}

static __always_inline long tls_parse_step(struct scratch *s, struct tls_connection *c,
					   struct http1 *p)
{
	int event = http1_step(p, &s->tls.in, s->tls.piece, s->path, c->digest);

	if (event == HTTP1_LOAD)
		event = tls_load(s);
	if (!event)
		return 0;
	s->tls.event = (__u32)event;
	return 1;
}

/* The bytes of buffer from one place to another are looked at now. */
static __always_inline void tls_begin_bytes(struct scratch *s, const struct pt_tls_key *key,
					    __u64 buffer, __u64 from, __u64 to)
{
	s->tls.key = *key;
	s->tls.buffer = buffer;
	s->tls.in.at = from;
	s->tls.in.total = to;
	s->tls.in.start = from;
	s->tls.in.loaded = 0;
}

#endif
