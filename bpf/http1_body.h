/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Bodies of HTTP/1.x: how far they go, by a length, in chunks, or to the connection's end. A part
 * of bpf/http1.h.
 */
#ifndef PULLTAP_HTTP1_BODY_H
#define PULLTAP_HTTP1_BODY_H

#include "http1_state.h"

static __always_inline void http1_begin_chunk(struct http1 *p)
{
	p->number = 0;
	p->count = 0;
	p->head = 0; /* of what is between two chunks */
	p->state = HTTP1_CHUNK_SIZE;
}

/* Behind a head: where its body leads. */
static __always_inline void http1_begin_body(struct http1 *p)
{
	p->left = p->number;
	if (p->flags & HTTP1_CHUNKED)
		http1_begin_chunk(p);
	else
		p->state = p->left ? HTTP1_BODY : HTTP1_START;
}

/* What follows a reply's head, once it is known what the request was: none says that no body may.
 */
static __always_inline void http1_reply_body(struct http1 *p, int none)
{
	if (none)
		p->state = HTTP1_START;
	else if (p->flags & (HTTP1_CHUNKED | HTTP1_HAS_LENGTH))
		http1_begin_body(p);
	else
		p->state = HTTP1_CLOSE;
}

static __always_inline int http1_chunk_size(struct http1 *p, __u8 c)
{
	int digit = pt_hex(c);

	if (digit >= 0 && p->count < 15) {
		p->number = p->number << 4 | (__u32)digit;
		p->count++;
		return 0;
	}
	if (!p->count)
		return http1_stop(p, HTTP1_BROKEN);
	if (c == '\r')
		return http1_go(p, HTTP1_CHUNK_LF);
	if (c == ';' || c == ' ' || c == '\t')
		return http1_go(p, HTTP1_CHUNK_REST);
	return http1_stop(p, HTTP1_BROKEN);
}

static __always_inline int http1_chunk_begin(struct http1 *p, __u8 c)
{
	p->left = p->number;
	p->count = 0;
	return http1_line_feed(p, c, p->left ? HTTP1_CHUNK : HTTP1_TRAILER);
}

static __always_inline int http1_trailer(struct http1 *p, __u8 c)
{
	if (c == '\r')
		return http1_go(p, HTTP1_TRAILERS_LF);
	p->state = HTTP1_TRAILER_REST;
	return http1_rest(p, c, HTTP1_TRAILER_LF);
}

/* What is not in a request line, a status line or a head. */
static __always_inline int http1_body_byte(struct http1 *p, __u8 c)
{
	switch (p->state) {
	case HTTP1_CHUNK_SIZE:
		return http1_chunk_size(p, c);
	case HTTP1_CHUNK_REST:
		return http1_rest(p, c, HTTP1_CHUNK_LF);
	case HTTP1_CHUNK_LF:
		return http1_chunk_begin(p, c);
	case HTTP1_CHUNK_END:
		return c == '\r' ? http1_go(p, HTTP1_CHUNK_END_LF) : http1_stop(p, HTTP1_BROKEN);
	case HTTP1_CHUNK_END_LF:
		http1_begin_chunk(p);
		return http1_line_feed(p, c, HTTP1_CHUNK_SIZE);
	case HTTP1_TRAILER:
		return http1_trailer(p, c);
	case HTTP1_TRAILER_REST:
		return http1_rest(p, c, HTTP1_TRAILER_LF);
	case HTTP1_TRAILER_LF:
		return http1_line_feed(p, c, HTTP1_TRAILER);
	default: /* HTTP1_TRAILERS_LF */
		return http1_line_feed(p, c, HTTP1_START);
	}
}

/* Counts bytes of a body off. */
static __always_inline int http1_skip(struct http1 *p, struct http1_input *in)
{
	__u64 bytes = in->total - in->at;

	if (p->state == HTTP1_STUCK)
		return HTTP1_BROKEN;
	if (p->state != HTTP1_CLOSE) {
		if (bytes > p->left)
			bytes = p->left;
		p->left -= bytes;
		if (!p->left)
			p->state = p->state == HTTP1_BODY ? HTTP1_START : HTTP1_CHUNK_END;
	}
	in->at += bytes;
	return 0;
}

#endif
