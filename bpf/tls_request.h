/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What a server reads: takes the requests out of it and remembers them, in their order, until their
 * replies are written.
 */
#ifndef PULLTAP_TLS_REQUEST_H
#define PULLTAP_TLS_REQUEST_H

#include "tls_connection.h"

/* Besides enum pt_method: what follows its reply is no HTTP. */
#define TLS_METHOD_CONNECT 15
#define TLS_REQUESTS_AT_ONCE 512 /* in one read: a record has 16 KiB */

static __always_inline __u32 tls_method(const struct http1 *p)
{
	if (p->word[0] == 0x5443454e4e4f43ull) /* "CONNECT" */
		return TLS_METHOD_CONNECT;
	return p->word[1] ? PT_METHOD_OTHER : method_of_word(p->word[0]);
}

/* The key of the next request. */
static __always_inline struct pt_tls_key *tls_next(struct tls_walk *walk)
{
	walk->s->tls.key.number = walk->c->asked + 1;
	return &walk->s->tls.key;
}

/*
 * A request line is complete. What is not for a manifest needs no more than its counter, the rest
 * is kept. Returns false when there are too many.
 */
static __always_inline bool tls_ask(struct tls_walk *walk)
{
	struct tls_connection *c = walk->c;
	struct scratch *s = walk->s;
	__u32 method = tls_method(&c->request), outcome;

	if (c->asked - c->answered >= TLS_PIPELINE)
		return false;
	s->path_length = (__u32)at_most(c->request.length, PT_PATH_BYTES);
	if (method == PT_METHOD_OTHER || method == TLS_METHOD_CONNECT)
		outcome = LEDGER(filtered_method);
	else
		outcome = parse_path(s, c->request.length > PT_PATH_BYTES, ~0ull);
	if (!outcome &&
	    bpf_map_update_elem(&tls_requests, tls_next(walk), &s->path_length, BPF_ANY))
		outcome = LEDGER(lost_connection_full);
	c->asked++;
	c->asks[c->asked % TLS_PIPELINE] = (__u16)(method | outcome << 8);
	return true;
}

/* The end of a target is in another read than its beginning. Returns 0, or what is lost. */
static __always_inline __u32 tls_keep_target(struct tls_walk *walk)
{
	if (bpf_map_update_elem(&tls_requests, tls_next(walk), &walk->s->path_length, BPF_ANY))
		return LEDGER(lost_connection_full);
	return 0;
}

static __always_inline __u32 tls_take_target(struct tls_walk *walk)
{
	struct tls_request *request = bpf_map_lookup_elem(&tls_requests, tls_next(walk));

	if (!request)
		return LEDGER(lost_internal);
	bpf_probe_read_kernel(&walk->s->path_length, sizeof(*request), request);
	bpf_map_delete_elem(&tls_requests, &walk->s->tls.key);
	return 0;
}

/*
 * Of a connection that did not get as far as a request. One that begins with no HTTP may be older
 * than the probe: what looks like a request later on is lost, which is no news of another protocol.
 */
static __always_inline void tls_leave_alone(struct tls_walk *walk, __u32 event)
{
	struct tls_connection *c = walk->c;

	c->kind = TLS_LEFT_ALONE;
	if (event == HTTP1_H2 || http1_is_h2(PT_LOAD64(walk->s->tls.piece))) {
		tls_count(walk->hit, LEDGER(lost_h2_unparsed));
	} else if ((c->request.word[0] & 0xffffffff) == 0x50545448) { /* "HTTP": a reply */
		tls_count(walk->hit, LEDGER(filtered_client_role));
	} else {
		c->kind = TLS_GIVEN_UP;
		c->lost = LEDGER(lost_out_of_step);
		tls_count(walk->hit, LEDGER(filtered_not_http));
	}
}

static long tls_request_bytes(__u32 i, struct tls_walk *walk)
{
	return tls_parse_step(walk->s, walk->c, &walk->c->request);
}

/* Goes on to the next request line. Returns 1 when there is no more in this read. */
static long tls_request_step(__u32 i, struct tls_walk *walk)
{
	struct tls_connection *c = walk->c;
	__u32 event;

	walk->s->tls.event = 0;
	bpf_loop(TLS_STEPS, tls_request_bytes, walk, 0);
	event = walk->s->tls.event;
	switch (event) {
	case HTTP1_REQUEST:
		if (tls_ask(walk))
			return 0;
		c->lost = LEDGER(lost_pipelined);
		return 1;
	case HTTP1_MORE:
		if (c->request.state == HTTP1_TARGET)
			c->lost = (__u8)tls_keep_target(walk);
		return 1;
	case TLS_FAULT:
		c->lost = LEDGER(lost_fault);
		return 1;
	default: /* HTTP1_BROKEN, HTTP1_H2, or no end of it */
		if (!c->asked &&
		    (event == HTTP1_H2 ||
		     (!c->request.length && !http1_is_request(PT_LOAD64(walk->s->tls.piece)))))
			tls_leave_alone(walk, event);
		else
			c->lost = LEDGER(lost_head_refused);
		return 1;
	}
}

static __always_inline void tls_parse_requests(void *ctx, const struct tls_hit *tls,
					       struct tls_connection *c, __u64 buffer, __u64 amount)
{
	struct hit hit = {};
	struct tls_walk walk = {.c = c, .hit = &hit};

	if (!hit_begin(&hit, ctx) || !hit.site)
		return;
	walk.s = scratch_claim();
	if (!walk.s) {
		c->lost = LEDGER(lost_scratch);
		return;
	}
	tls_begin_bytes(walk.s, &tls->key, buffer, 0, amount);
	if (c->request.state == HTTP1_TARGET)
		c->lost = (__u8)tls_take_target(&walk);
	if (!c->lost)
		bpf_loop(TLS_REQUESTS_AT_ONCE, tls_request_step, &walk, 0);
	scratch_release(walk.s);
}

/* amount bytes were read into buffer. */
static __always_inline void tls_take_read(void *ctx, const struct tls_hit *hit, __u64 buffer,
					  __u64 amount)
{
	struct tls_connection *c = tls_find(hit);
	__u32 outcome;

	if (!c) {
		outcome = tls_make(hit);
		c = tls_find(hit);
		if (!c) {
			if (http1_is_request(tls_first_bytes(buffer, amount)))
				tls_count_once(ctx, outcome ?: LEDGER(lost_internal));
			return;
		}
	}
	tls_check_attach(c, hit, &c->read_attach);
	if (c->kind == TLS_LEFT_ALONE)
		return;
	if (c->kind == TLS_GIVEN_UP) {
		if (http1_is_request(tls_first_bytes(buffer, amount)))
			tls_count_once(ctx, c->lost);
		return;
	}
	if (c->lost)
		return;
	if (c->request.state == HTTP1_BODY && amount < c->request.left) { /* a push */
		c->request.left -= amount;
		return;
	}
	tls_parse_requests(ctx, hit, c, buffer, amount);
}

#endif
