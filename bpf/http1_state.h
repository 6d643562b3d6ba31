/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Where a direction of an HTTP/1.x connection stands, and what every step of bpf/http1.h is made
 * of. All that is known between two bytes is in struct http1.
 */
#ifndef PULLTAP_HTTP1_STATE_H
#define PULLTAP_HTTP1_STATE_H

#include "path.h"

/* Most of a head, request line included. Servers stop at 1 MiB (Go) or far below. */
#define HTTP1_HEAD_BYTES (1u << 20)
#define HTTP1_METHOD_BYTES 16
#define HTTP1_DIGEST_BYTES 136 /* a digest is shorter: one that fills this is none */
/* The bytes at hand, a piece of what was read or is written. */
#define HTTP1_PIECE 1024

enum http1_state {
	HTTP1_START = 0, /* of a message; a new connection is all zeroes */
	HTTP1_START_LF,
	HTTP1_METHOD,
	HTTP1_TARGET,
	HTTP1_VERSION,
	HTTP1_REQUEST_LF,
	HTTP1_STATUS,
	HTTP1_LINE, /* of the head */
	HTTP1_NAME,
	HTTP1_VALUE,
	HTTP1_LENGTH,
	HTTP1_CODING,
	HTTP1_DIGEST,
	HTTP1_REST, /* of a line that says nothing of use */
	HTTP1_LINE_LF,
	HTTP1_HEAD_LF,
	HTTP1_CHUNK_SIZE,
	HTTP1_CHUNK_REST, /* extensions */
	HTTP1_CHUNK_LF,
	HTTP1_CHUNK_END,
	HTTP1_CHUNK_END_LF,
	HTTP1_TRAILER,
	HTTP1_TRAILER_REST,
	HTTP1_TRAILER_LF,
	HTTP1_TRAILERS_LF,
	/* from here on bytes are counted, not looked at */
	HTTP1_BODY,
	HTTP1_CHUNK,
	HTTP1_CLOSE, /* a body that ends with the connection */
	HTTP1_STUCK, /* behind HTTP1_BROKEN or HTTP1_H2 */
};

enum http1_event {
	HTTP1_MORE = 1, /* the bytes are used up */
	HTTP1_LOAD, /* the next ones are not in the piece */
	HTTP1_REQUEST, /* method and target are known, a request line is complete */
	HTTP1_HEAD, /* a reply's head is complete: call http1_reply_body() */
	HTTP1_H2, /* method "PRI": the preface of HTTP/2 */
	HTTP1_BROKEN,
};

enum http1_flag {
	HTTP1_IS_REPLY = 1, /* set by the caller once; all others are the head's */
	HTTP1_OLD = 2, /* HTTP/1.0 */
	HTTP1_HAS_LENGTH = 4,
	HTTP1_CHUNKED = 8,
	HTTP1_HAS_DIGEST = 16,
	HTTP1_SPACE = 32, /* behind a value, which must be over then */
};

struct http1 {
	__u64 left; /* of the body or the chunk */
	__u64 number; /* what is being read, and then the body's length */
	__u64 word[3]; /* a name in lower case; a method, a version, a coding as it stands */
	__u32 length; /* of the target, all of it; of a reply's digest */
	__u32 head; /* bytes of this head so far */
	__u8 state; /* enum http1_state */
	__u8 flags; /* enum http1_flag */
	__u8 count; /* characters of word, digits of number */
	__u8 zero;
	__u16 status;
	__u16 zero_too;
};

/* A buffer of total bytes; loaded of them, from start on, are in the piece. */
struct http1_input {
	__u64 at;
	__u64 total;
	__u64 start;
	__u64 loaded;
};

static __always_inline int http1_stop(struct http1 *p, int event)
{
	p->state = HTTP1_STUCK;
	return event;
}

static __always_inline __u8 http1_lower(__u8 c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* What names and methods are made of: no control characters, no separators. */
static __always_inline int http1_is_token(__u8 c)
{
	__u64 set = c < 64 ? 0x3ff6cfa00000000ull : 0x57ffffffc7fffffeull;

	return c < 128 && set >> (c & 63) & 1;
}

/* Appends to word, which takes 24; counts on to 255. */
static __always_inline void http1_append(struct http1 *p, __u8 c)
{
	__u32 count = p->count;

	if (count < 8)
		p->word[0] |= (__u64)c << (count & 7) * 8;
	else if (count < 16)
		p->word[1] |= (__u64)c << (count & 7) * 8;
	else if (count < 24)
		p->word[2] |= (__u64)c << (count & 7) * 8;
	if (count < 255)
		p->count = count + 1;
}

static __always_inline void http1_clear_word(struct http1 *p)
{
	p->word[0] = p->word[1] = p->word[2] = 0;
	p->count = 0;
}

static __always_inline int http1_go(struct http1 *p, __u8 state)
{
	p->state = state;
	return 0;
}

/* The byte must be the second of a line's end. */
static __always_inline int http1_line_feed(struct http1 *p, __u8 c, __u8 state)
{
	return c == '\n' ? http1_go(p, state) : http1_stop(p, HTTP1_BROKEN);
}

/* A byte of what is not looked at, up to the line's end. */
static __always_inline int http1_rest(struct http1 *p, __u8 c, __u8 state)
{
	if (c == '\r')
		return http1_go(p, state);
	return c == '\n' || !c ? http1_stop(p, HTTP1_BROKEN) : 0;
}

#endif
