/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What a server writes: finds the heads of replies, joins each to the oldest request and counts it.
 * Bodies are counted off; most calls are a piece of a blob, and cost a look-up and a subtraction.
 */
#ifndef PULLTAP_TLS_REPLY_H
#define PULLTAP_TLS_REPLY_H

#include "tls_request.h"

/* Replies in one write. */
#define TLS_REPLIES_AT_ONCE 512

/* A peer for hints: no address is known, but a client's HEAD and GET come on one connection. */
static __always_inline void tls_name_peer(struct scratch *s, const struct tls_connection *c)
{
	__u32 i;

	__builtin_memset(s->peer, 0, sizeof(s->peer));
	__builtin_memcpy(s->peer, "tls:", 4);
	for (i = 0; i < 16; i++)
		s->peer[4 + i] = 'a' + (c->born_ns >> (60 - i * 4) & 15);
}

static __always_inline int tls_take_digest(struct scratch *s, const struct tls_connection *c)
{
	__u64 length = c->reply.length;

	if (!length)
		return DIGEST_ABSENT;
	if (length > PT_DIGEST_MAX)
		return DIGEST_MALFORMED;
	if (bpf_probe_read_kernel(s->digest, at_most(length, PT_DIGEST_MAX), c->digest))
		return DIGEST_UNREAD;
	return take_digest(s, length);
}

/* A reply to a request that was kept. Returns its counter. */
static __always_inline __u32 tls_count_reply(struct tls_walk *walk, __u32 method)
{
	struct tls_connection *c = walk->c;
	struct scratch *s = walk->s;
	struct hit *hit = walk->hit;
	struct tls_request *request;
	__u32 outcome;
	__u8 op = 0;

	s->tls.key.number = c->answered;
	request = bpf_map_lookup_elem(&tls_requests, &s->tls.key);
	if (!request)
		return LEDGER(lost_internal);
	bpf_probe_read_kernel(&s->path_length, sizeof(*request), request);
	bpf_map_delete_elem(&tls_requests, &s->tls.key);
	outcome = accept_status(s, method, c->reply.status, &op);
	if (outcome)
		return outcome;
	client_clear(s);
	clear_digest(s);
	if (s->parts.is_digest)
		take_path_digest(s);
	else
		note_digest(hit, tls_take_digest(s, c));
	if (client_needs_agent(hit, op) || client_needs_address(hit, op))
		ledger_add(hit->ledger, LEDGER(note_client_unread));
	if (needs_peer(s, hit, c->reply.status, op))
		tls_name_peer(s, c);
	return count_reply(s, hit, op);
}

/* A reply that nobody is known to have asked for: refusals are sent at any time. */
static __always_inline __u32 tls_unasked(const struct tls_connection *c)
{
	if (c->reply.status >= 500)
		return LEDGER(filtered_status_5xx);
	if (c->reply.status >= 400)
		return LEDGER(filtered_status_4xx);
	return c->lost ? c->lost : LEDGER(lost_out_of_step);
}

/* A head is complete. Returns 1 when nothing behind it is to be looked at. */
static __always_inline long tls_answer(struct tls_walk *walk)
{
	struct tls_connection *c = walk->c;
	__u32 status = c->reply.status, method, outcome;
	__u16 ask;

	if (status < 200 && status != 101) { /* another one follows */
		http1_reply_body(&c->reply, 1);
		return 0;
	}
	if (c->asked == c->answered) {
		/* whether it has a body is not known either */
		outcome = tls_unasked(c);
		tls_count(walk->hit, outcome);
		c->kind = TLS_GIVEN_UP;
		if (!c->lost)
			c->lost = LEDGER(lost_out_of_step);
		return 1;
	}
	c->answered++;
	ask = c->asks[c->answered % TLS_PIPELINE];
	method = ask & 0xff;
	outcome = ask >> 8;
	if (!outcome)
		outcome = tls_count_reply(walk, method);
	tls_count(walk->hit, outcome);
	if (status == 101 || (method == TLS_METHOD_CONNECT && status < 300)) {
		c->kind = TLS_LEFT_ALONE;
		return 1;
	}
	http1_reply_body(&c->reply, method == PT_METHOD_HEAD || status == 204 || status == 304);
	return 0;
}

static long tls_reply_bytes(__u32 i, struct tls_walk *walk)
{
	return tls_parse_step(walk->s, walk->c, &walk->c->reply);
}

/* Goes on to the next head. Returns 1 when there is no more in this write. */
static long tls_reply_step(__u32 i, struct tls_walk *walk)
{
	__u32 event;

	walk->s->tls.event = 0;
	bpf_loop(TLS_STEPS, tls_reply_bytes, walk, 0);
	event = walk->s->tls.event;
	if (event == HTTP1_HEAD)
		return tls_answer(walk);
	if (event == HTTP1_MORE)
		return 1;
	tls_give_up(walk->c, &walk->s->tls.key, walk->hit,
		    event == TLS_FAULT ? LEDGER(lost_fault) : LEDGER(lost_out_of_step));
	return 1;
}

static __always_inline void tls_parse_replies(void *ctx, const struct tls_hit *tls,
					      struct tls_connection *c, __u64 buffer, __u64 from,
					      __u64 length)
{
	struct hit hit = {};
	struct tls_walk walk = {.c = c, .hit = &hit};

	if (!hit_begin(&hit, ctx) || !hit.site)
		return;
	walk.s = scratch_claim();
	if (!walk.s) {
		tls_give_up(c, &tls->key, &hit, LEDGER(lost_scratch));
		return;
	}
	tls_begin_bytes(walk.s, &tls->key, buffer, from, length);
	bpf_loop(TLS_REPLIES_AT_ONCE, tls_reply_step, &walk, 0);
	scratch_release(walk.s);
}

/* OpenSSL accepts whole records of a write, if not all of it; this is the longest. */
#define TLS_RECORD 16384

/*
 * How many bytes of this write were looked at already: all of the last one if nothing of it was
 * accepted, or what is left of one that was accepted in part.
 */
static __always_inline __u64 tls_seen(struct tls_connection *c, const struct tls_hit *hit,
				      __u64 buffer, __u64 length)
{
	__u64 accepted = buffer - c->write_start, seen = 0;

	if (!c->write_length)
		return 0;
	if (c->refused || tls_was_refused(hit))
		seen = c->write_length;
	else if (accepted && accepted < c->write_length && !(accepted % TLS_RECORD) &&
		 accepted + length >= c->write_length)
		seen = c->write_length - accepted;
	c->refused = 0;
	return seen > length ? length : seen;
}

/* length bytes of buffer are about to be written. */
static __always_inline void tls_take_write(void *ctx, const struct tls_hit *hit, __u64 buffer,
					   __u64 length)
{
	struct tls_connection *c = tls_find(hit);
	__u64 seen;

	if (!c) {
		if (tls_make(hit))
			return; /* it is counted when there is a request */
		c = tls_find(hit);
		if (!c)
			return;
		if (http1_is_request(tls_first_bytes(buffer, length))) {
			c->kind = TLS_LEFT_ALONE;
			tls_count_once(ctx, LEDGER(filtered_client_role));
		}
	}
	tls_check_attach(c, hit, &c->write_attach);
	/* before the first request: the rest of what was asked before there was a probe */
	if (c->kind || (!c->asked && !c->lost) || c->reply.state == HTTP1_CLOSE)
		return;
	seen = tls_seen(c, hit, buffer, length);
	c->write_start = buffer;
	c->write_length = length;
	length -= seen;
	if (!length)
		return;
	if (c->reply.state == HTTP1_BODY && length < c->reply.left) { /* most of a blob */
		c->reply.left -= length;
		return;
	}
	tls_parse_replies(ctx, hit, c, buffer, seen, seen + length);
}

#endif
