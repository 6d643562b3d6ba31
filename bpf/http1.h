/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Follows one direction of an HTTP/1.x connection byte by byte: where a head begins, what it asks
 * or answers, where its body ends. The state between two bytes is all in struct http1, so that it
 * makes no difference how a server cuts the stream into reads and writes. As strict as the
 * strictest server: what two servers could take apart differently is HTTP1_BROKEN, never a guess.
 * Compiles for the kernel and for the host, where unit tests and a fuzzer run it.
 */
#ifndef PULLTAP_HTTP1_H
#define PULLTAP_HTTP1_H

#include "http1_body.h"

#define HTTP1_1_0 0x302e312f50545448ull /* "HTTP/1.0" */
#define HTTP1_1_1 0x312e312f50545448ull
#define HTTP1_PRI 0x495250ull
#define HTTP1_CODING_CHUNKED 0x64656b6e756863ull /* "chunked" */

/* The first byte of a message. */
static __always_inline int http1_start(struct http1 *p, __u8 c)
{
	p->flags &= HTTP1_IS_REPLY;
	p->number = 0;
	p->length = 0;
	p->head = 1;
	p->status = 0;
	http1_clear_word(p);
	if (p->flags && c != 'H')
		return http1_stop(p, HTTP1_BROKEN);
	if (c == '\r')
		return http1_go(p, HTTP1_START_LF);
	if (!http1_is_token(c))
		return http1_stop(p, HTTP1_BROKEN);
	http1_append(p, c);
	return http1_go(p, p->flags ? HTTP1_VERSION : HTTP1_METHOD);
}

static __always_inline int http1_method(struct http1 *p, __u8 c)
{
	if (c == ' ')
		return p->word[0] == HTTP1_PRI ? http1_stop(p, HTTP1_H2)
					       : http1_go(p, HTTP1_TARGET);
	if (!http1_is_token(c) || p->count >= HTTP1_METHOD_BYTES)
		return http1_stop(p, HTTP1_BROKEN);
	http1_append(p, c);
	return 0;
}

/* The method stays in word[0] and [1] until the line is complete; the version is in word[2]. */
static __always_inline int http1_target(struct http1 *p, __u8 c, char *target)
{
	__u64 length = p->length;

	if (c == ' ' && length) {
		p->word[2] = 0;
		p->count = 0;
		return http1_go(p, HTTP1_VERSION);
	}
	if (c <= ' ' || c == 0x7f)
		return http1_stop(p, HTTP1_BROKEN);
	PT_PIN_DOWN(length);
	if (length < PT_PATH_BYTES)
		target[length] = (char)c;
	p->length++;
	return 0;
}

static __always_inline int http1_version_byte(struct http1 *p, __u8 c)
{
	int is_reply = p->flags & HTTP1_IS_REPLY;
	__u64 version = is_reply ? p->word[0] : p->word[2];

	if (p->count < 8) {
		version |= (__u64)c << (p->count++ & 7) * 8;
		if (is_reply)
			p->word[0] = version;
		else
			p->word[2] = version;
		return 0;
	}
	if (c != (is_reply ? ' ' : '\r') || (version != HTTP1_1_0 && version != HTTP1_1_1))
		return http1_stop(p, HTTP1_BROKEN);
	if (version == HTTP1_1_0)
		p->flags |= HTTP1_OLD;
	p->count = 0;
	return http1_go(p, is_reply ? HTTP1_STATUS : HTTP1_REQUEST_LF);
}

static __always_inline int http1_status(struct http1 *p, __u8 c)
{
	if (p->count < 3) {
		if (c < '0' || c > '9')
			return http1_stop(p, HTTP1_BROKEN);
		p->status = p->status * 10 + (c - '0');
		p->count++;
		return 0;
	}
	if (p->status < 100 || (c != ' ' && c != '\r'))
		return http1_stop(p, HTTP1_BROKEN);
	return http1_go(p, c == ' ' ? HTTP1_REST : HTTP1_LINE_LF);
}

static __always_inline int http1_line(struct http1 *p, __u8 c)
{
	http1_clear_word(p);
	if (c == '\r')
		return http1_go(p, HTTP1_HEAD_LF);
	if (!http1_is_token(c)) /* a folded line, too */
		return http1_stop(p, HTTP1_BROKEN);
	http1_append(p, http1_lower(c));
	return http1_go(p, HTTP1_NAME);
}

static __always_inline __u8 http1_header(const struct http1 *p)
{
	const __u64 *name = p->word;

	if (p->count == 14 && name[0] == 0x2d746e65746e6f63ull /* "content-" */ &&
	    name[1] == 0x6874676e656cull /* "length" */)
		return HTTP1_LENGTH;
	if (p->count == 17 && name[0] == 0x726566736e617274ull /* "transfer" */ &&
	    name[1] == 0x6e69646f636e652dull /* "-encodin" */ && name[2] == 'g')
		return HTTP1_CODING;
	if (p->flags & HTTP1_IS_REPLY && p->count == 21 &&
	    name[0] == 0x632d72656b636f64ull /* "docker-c" */ &&
	    name[1] == 0x642d746e65746e6full /* "ontent-d" */ &&
	    name[2] == 0x7473656769ull /* "igest" */)
		return HTTP1_DIGEST;
	return HTTP1_REST;
}

static __always_inline int http1_name(struct http1 *p, __u8 c)
{
	if (c == ':')
		return http1_go(p, HTTP1_VALUE);
	if (!http1_is_token(c))
		return http1_stop(p, HTTP1_BROKEN);
	http1_append(p, http1_lower(c));
	return 0;
}

static __always_inline int http1_length(struct http1 *p, __u8 c)
{
	if (c == ' ' || c == '\t') {
		p->flags |= HTTP1_SPACE;
		return 0;
	}
	if (c == '\r') {
		if (!p->count || p->flags & HTTP1_HAS_LENGTH)
			return http1_stop(p, HTTP1_BROKEN);
		p->flags |= HTTP1_HAS_LENGTH;
		return http1_go(p, HTTP1_LINE_LF);
	}
	if (c < '0' || c > '9' || p->flags & HTTP1_SPACE || p->count >= 18)
		return http1_stop(p, HTTP1_BROKEN);
	if (p->flags & HTTP1_HAS_LENGTH) /* the first one's value is kept: this is broken anyway */
		return http1_stop(p, HTTP1_BROKEN);
	p->number = p->number * 10 + (c - '0');
	p->count++;
	return 0;
}

static __always_inline int http1_coding(struct http1 *p, __u8 c)
{
	if (c == ' ' || c == '\t') {
		p->flags |= HTTP1_SPACE;
		return 0;
	}
	if (c == '\r') {
		if (p->word[0] != HTTP1_CODING_CHUNKED || p->flags & HTTP1_CHUNKED)
			return http1_stop(p, HTTP1_BROKEN);
		p->flags |= HTTP1_CHUNKED;
		return http1_go(p, HTTP1_LINE_LF);
	}
	if (c <= ' ' || p->flags & HTTP1_SPACE || p->count >= 8)
		return http1_stop(p, HTTP1_BROKEN);
	http1_append(p, http1_lower(c));
	return 0;
}

/* The first one that is there; what is not a digest is told apart later. */
static __always_inline int http1_digest(struct http1 *p, __u8 c, char *digest)
{
	__u64 length = p->length;

	if (c == ' ' || c == '\t') {
		p->flags |= HTTP1_SPACE;
		return 0;
	}
	if (c == '\r' || c == '\n' || !c)
		return http1_rest(p, c, HTTP1_LINE_LF);
	if (p->flags & HTTP1_SPACE) /* two words */
		length = HTTP1_DIGEST_BYTES - 1;
	PT_PIN_DOWN(length);
	if (length < HTTP1_DIGEST_BYTES) {
		digest[length] = (char)c;
		p->length = (__u32)length + 1;
	}
	return 0;
}

/* Behind the colon; also the first byte of the value. */
static __always_inline int http1_value(struct http1 *p, __u8 c, char *digest)
{
	__u8 header;

	if (c == ' ' || c == '\t')
		return 0;
	header = http1_header(p);
	if (header == HTTP1_DIGEST && p->flags & HTTP1_HAS_DIGEST)
		header = HTTP1_REST;
	if (header != HTTP1_REST) {
		http1_clear_word(p);
		p->flags &= ~HTTP1_SPACE;
	}
	p->state = header;
	if (header == HTTP1_LENGTH)
		return http1_length(p, c);
	if (header == HTTP1_CODING)
		return http1_coding(p, c);
	if (header == HTTP1_DIGEST) {
		p->flags |= HTTP1_HAS_DIGEST;
		return http1_digest(p, c, digest);
	}
	return http1_rest(p, c, HTTP1_LINE_LF);
}

static __always_inline int http1_head_end(struct http1 *p, __u8 c)
{
	/* two lengths, or one that HTTP/1.0 does not know */
	if (c != '\n' || (p->flags & HTTP1_CHUNKED && p->flags & (HTTP1_HAS_LENGTH | HTTP1_OLD)))
		return http1_stop(p, HTTP1_BROKEN);
	if (p->flags & HTTP1_IS_REPLY)
		return HTTP1_HEAD;
	http1_begin_body(p);
	return 0;
}

static __always_inline int http1_byte(struct http1 *p, __u8 c, char *target, char *digest)
{
	if (p->state >= HTTP1_CHUNK_SIZE)
		return http1_body_byte(p, c);
	switch (p->state) {
	case HTTP1_START:
		return http1_start(p, c);
	case HTTP1_START_LF:
		return http1_line_feed(p, c, HTTP1_START);
	case HTTP1_METHOD:
		return http1_method(p, c);
	case HTTP1_TARGET:
		return http1_target(p, c, target);
	case HTTP1_VERSION:
		return http1_version_byte(p, c);
	case HTTP1_REQUEST_LF:
		return http1_line_feed(p, c, HTTP1_LINE) ?: HTTP1_REQUEST;
	case HTTP1_STATUS:
		return http1_status(p, c);
	case HTTP1_LINE:
		return http1_line(p, c);
	case HTTP1_NAME:
		return http1_name(p, c);
	case HTTP1_VALUE:
		return http1_value(p, c, digest);
	case HTTP1_LENGTH:
		return http1_length(p, c);
	case HTTP1_CODING:
		return http1_coding(p, c);
	case HTTP1_DIGEST:
		return http1_digest(p, c, digest);
	case HTTP1_REST:
		return http1_rest(p, c, HTTP1_LINE_LF);
	case HTTP1_LINE_LF:
		return http1_line_feed(p, c, HTTP1_LINE);
	default: /* HTTP1_HEAD_LF */
		return http1_head_end(p, c);
	}
}

/* All of eight bytes that only a target or a line's rest can be? Then they go in one step. */
static __always_inline int http1_word(struct http1 *p, __u64 v, char *target)
{
	__u64 length = p->length;

	/* any below "!" (control characters, space), any 0x7f */
	if (p->state == HTTP1_REST)
		return !(pt_bytes_equal(v, '\r') | pt_bytes_equal(v, '\n') | pt_bytes_equal(v, 0));
	if (p->state != HTTP1_TARGET || ((v - PT_ONES * 0x21) & ~v & PT_HIGHS) ||
	    pt_bytes_equal(v, 0x7f))
		return 0;
	PT_PIN_DOWN(length);
	if (length > PT_PATH_BYTES - 8)
		return 0;
	PT_STORE64(target + length, v);
	p->length += 8;
	return 1;
}

/*
 * One step: a byte, eight of them, or a piece of a body. Returns 0 to go on, or an enum
 * http1_event. piece has HTTP1_PIECE bytes, target PT_PATH_BYTES, digest HTTP1_DIGEST_BYTES.
 */
static __always_inline int http1_step(struct http1 *p, struct http1_input *in, const char *piece,
				      char *target, char *digest)
{
	__u64 index = in->at - in->start, loaded = in->loaded;

	if (in->at >= in->total)
		return HTTP1_MORE;
	if (p->state >= HTTP1_BODY)
		return http1_skip(p, in);
	PT_PIN_DOWN(index);
	if (index >= HTTP1_PIECE || index >= loaded)
		return HTTP1_LOAD;
	if (p->head > HTTP1_HEAD_BYTES)
		return http1_stop(p, HTTP1_BROKEN);
	PT_PIN_DOWN(index);
	if (index + 8 <= loaded && index <= HTTP1_PIECE - 8 &&
	    http1_word(p, PT_LOAD64(piece + index), target)) {
		in->at += 8;
		p->head += 8;
		return 0;
	}
	in->at++;
	p->head++;
	return http1_byte(p, (__u8)piece[index], target, digest);
}

/*
 * Is this the head of a frame of HTTP/2? The first eight bytes of a connection that was there
 * before there was a probe, so without the preface.
 */
static __always_inline int http1_is_h2(__u64 v)
{
	__u32 length = (v & 0xff) << 16 | (v & 0xff00) | (v >> 16 & 0xff);

	return length <= 16384 && (v >> 24 & 0xff) <= 9 && !(v >> 40 & 0x80);
}

/* Does a message begin here that only a client sends? The first eight bytes, zeroes if fewer. */
static __always_inline int http1_is_request(__u64 v)
{
	__u32 four = (__u32)v;
	__u64 five = v & 0xffffffffffull, six = v & 0xffffffffffffull, seven = v << 8 >> 8;

	return four == 0x20544547 /* "GET " */ || four == 0x20545550 /* "PUT " */ ||
	       four == 0x20495250 /* "PRI " */ || five == 0x2044414548ull /* "HEAD " */ ||
	       five == 0x2054534f50ull /* "POST " */ || six == 0x204843544150ull /* "PATCH " */ ||
	       six == 0x204543415254ull /* "TRACE " */ ||
	       seven == 0x204554454c4544ull /* "DELETE " */ ||
	       v == 0x20534e4f4954504full /* "OPTIONS " */ ||
	       v == 0x205443454e4e4f43ull /* "CONNECT " */;
}

#endif
