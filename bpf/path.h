/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Takes a request target apart by the OCI distribution grammar:
 *   [prefix]/v2/<name>/manifests/<reference>[?query]
 * The name has any depth, so the split is at the last "/manifests/"; the query goes first. Eight
 * bytes are looked at together, because this runs for every blob request too. Compiles for the
 * kernel and for the host, where unit tests and a fuzzer run it.
 */
#ifndef PULLTAP_PATH_H
#define PULLTAP_PATH_H

#include "abi.h"

/*
 * Longest path that is looked at: a prefix, "/v2/", the longest repository, "/manifests/" and the
 * longest reference with its colon escaped. The query does not count.
 */
#define PT_PATH_BYTES 1024
#define PT_PATH_WORDS (PT_PATH_BYTES / 8)
/* Unaligned loads may start at any byte of the path, and be as long as a rule's pattern. */
#define PT_PATH_SLOP 72

enum pt_path_kind {
	PT_PATH_MANIFEST = 0,
	PT_PATH_OTHER = 1,
	PT_PATH_TOO_LONG = 2,
	PT_PATH_ESCAPED = 3, /* holds "%": decode and look again */
	PT_PATH_NUL = 4, /* holds "%00" */
};

struct pt_path {
	__u32 name; /* offsets and lengths in bytes from the path's start */
	__u32 name_length;
	__u32 reference;
	__u32 reference_length;
	__u32 is_digest;
};

#define PT_ONES 0x0101010101010101ull
#define PT_HIGHS 0x8080808080808080ull

#ifdef __bpf__
#define PT_LOAD64(p) (*(const __u64 *)(p))
#define PT_LOAD32(p) (*(const __u32 *)(p))
#define PT_LOAD16(p) (*(const __u16 *)(p))
#define PT_STORE64(p, v) (*(__u64 *)(p) = (v))
#else
#include <string.h>
#define PT_LOAD(type, p)                                                                           \
	({                                                                                         \
		type v_;                                                                           \
		memcpy(&v_, (p), sizeof(v_));                                                      \
		v_;                                                                                \
	})
#define PT_LOAD64(p) PT_LOAD(__u64, p)
#define PT_LOAD32(p) PT_LOAD(__u32, p)
#define PT_LOAD16(p) PT_LOAD(__u16, p)
#define PT_STORE64(p, v)                                                                           \
	({                                                                                         \
		__u64 v_ = (v);                                                                    \
		memcpy((p), &v_, sizeof(v_));                                                      \
	})
#endif

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/*
 * Linux 6.1's verifier learns nothing about a value from a comparison of its 32-bit copy. This pins
 * one down in its register: use it before and behind the comparison.
 */
#define PT_PIN_DOWN(v) asm volatile("" : "+r"(v))

/* 0x80 in exactly the bytes of v that equal c; no false neighbours, unlike the shorter form. */
static __always_inline __u64 pt_bytes_equal(__u64 v, __u8 c)
{
	__u64 x = v ^ (PT_ONES * c);

	return ~(((x & ~PT_HIGHS) + ~PT_HIGHS) | x | ~PT_HIGHS);
}

/* The first count bytes with letters in lower case, to be compared with letters and '-'. */
static __always_inline __u64 pt_lower(__u64 text, __u32 count)
{
	return text | (0x2020202020202020ull >> (64 - count * 8));
}

/* Index of the highest byte set in a mask of pt_bytes_equal; the mask is not 0. */
static __always_inline __u32 pt_highest_byte(__u64 mask)
{
	__u32 index = 0;

	if (mask >> 32) {
		index = 4;
		mask >>= 32;
	}
	if (mask >> 16) {
		index += 2;
		mask >>= 16;
	}
	return index + (mask >> 8 != 0);
}

/* The bytes below the lowest one set in a mask of pt_bytes_equal, all ones in each. */
static __always_inline __u64 pt_below_lowest(__u64 mask)
{
	__u64 lowest = mask & -mask; /* 0x80 of that byte */

	return (lowest >> 7) - 1;
}

/* The same as a number of bytes. */
static __always_inline __u32 pt_lowest_byte(__u64 mask)
{
	__u64 below = pt_below_lowest(mask) & PT_HIGHS;

	/* one 0x80 per byte below: gather them in the top byte */
	return (__u32)(((below >> 7) * PT_ONES) >> 56);
}

/* All ones in the first n bytes of a word; n may lie outside 0..8. */
static __always_inline __u64 pt_first_bytes(__s32 n)
{
	if (n <= 0)
		return 0;
	return n >= 8 ? ~0ull : (1ull << (n * 8)) - 1;
}

/*
 * What a scan found. Volatile, in memory that the verifier takes for unknown, so that each word of
 * the path is verified once and not once for every place where the last slash may have been.
 */
struct pt_scan {
	volatile __u64 slashes; /* mask of the last word that has any */
	volatile __u32 word; /* its index */
	volatile __u32 end; /* length of the path */
};

/* The bytes behind the text must be 0: the scan goes by whole words. */
static __always_inline void pt_path_terminate(char *path, __u32 length)
{
	if (length <= PT_PATH_BYTES)
		PT_STORE64(path + length, 0);
}

/*
 * Finds where the path ends and its last slash. words holds length bytes, at most PT_PATH_BYTES,
 * and was terminated; cut says that the target is longer than that. raw is all ones where a "?"
 * ends the path and "%" is an escape, else 0. Returns PT_PATH_MANIFEST (go on),
 * PT_PATH_TOO_LONG or PT_PATH_ESCAPED.
 */
static __always_inline int pt_path_scan(const __u64 *words, __u32 length, int cut, __u64 raw,
					struct pt_scan *scan)
{
	__u64 escapes = 0, queries = 0, slashes, v = 0;
	__u32 i;

	scan->slashes = 0;
	scan->word = 0;
	scan->end = length;
	for (i = 0; i < PT_PATH_WORDS; i++) {
		if (i * 8 >= length)
			break;
		v = words[i];
		queries = pt_bytes_equal(v, '?') & raw;
		if (queries) {
			scan->end = i * 8 + pt_lowest_byte(queries);
			v &= pt_below_lowest(queries);
		}
		escapes |= pt_bytes_equal(v, '%') & raw;
		slashes = pt_bytes_equal(v, '/');
		if (slashes) {
			scan->slashes = slashes;
			scan->word = i;
		}
		if (queries)
			break;
	}
	if (cut && !queries)
		return PT_PATH_TOO_LONG;
	return escapes ? PT_PATH_ESCAPED : PT_PATH_MANIFEST;
}

/* Offset of the last slash of a scan; 0 also when there is none. */
static __always_inline __u32 pt_scan_slash(const struct pt_scan *scan)
{
	__u64 slashes = scan->slashes;

	return slashes ? scan->word * 8 + pt_highest_byte(slashes) : 0;
}

/* One step of percent decoding, in place; malformed escapes stay as they are. */
struct pt_decode {
	__u32 in, out, length;
	__u32 nul; /* an escape stood for a NUL byte */
};

static __always_inline int pt_hex(__u8 c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Returns 1 at the end. path has PT_PATH_BYTES + PT_PATH_SLOP bytes. */
static __always_inline int pt_decode_step(char *path, struct pt_decode *d)
{
	__u32 in = d->in, out = d->out;
	__u8 c;

	if (in >= d->length || in >= PT_PATH_BYTES || out >= PT_PATH_BYTES)
		return 1;
	c = path[in];
	if (c == '?') { /* the query begins: it is no part of the decoded path */
		d->length = in;
		return 1;
	}
	if (c == '%' && in + 2 < d->length) {
		int high = pt_hex(path[in + 1]), low = pt_hex(path[in + 2]);

		if (high >= 0 && low >= 0) {
			c = (__u8)(high << 4 | low);
			in += 2;
		}
	}
	d->nul |= !c;
	path[out] = (char)c;
	d->in = in + 1;
	d->out = out + 1;
	return 0;
}

/* One step of looking for "/v2/" behind a prefix. Returns 1 when found or at the end. */
struct pt_prefix {
	__u32 at, end, found;
};

#define PT_V2 0x2f32762fu /* "/v2/" little-endian */

static __always_inline int pt_prefix_step(const char *path, struct pt_prefix *p)
{
	__u64 at = p->at;

	PT_PIN_DOWN(at);
	if (at >= PT_PATH_BYTES)
		return 1;
	PT_PIN_DOWN(at);
	if (at + 4 > p->end)
		return 1;
	if (PT_LOAD32(path + at) == PT_V2) {
		p->found = (__u32)at + 4;
		return 1;
	}
	p->at = (__u32)at + 1;
	return 0;
}

/*
 * Is the last slash the one of "/manifests/"? Then the reference is set, and whether it is a
 * digest: a tag never holds ":", and an algorithm's name ends within 24 bytes.
 */
static __always_inline int pt_path_reference(const char *path, __u32 end, __u32 slash,
					     struct pt_path *ret)
{
	__s32 length = (__s32)(end - slash) - 1;
	const char *reference;
	__u64 colons;

	if (slash < 10 || slash >= PT_PATH_BYTES || end <= slash + 1)
		return PT_PATH_OTHER;
	if (PT_LOAD64(path + slash - 10) != 0x736566696e616d2full || /* "/manifes" */
	    PT_LOAD16(path + slash - 2) != 0x7374) /* "ts" */
		return PT_PATH_OTHER;
	ret->reference = slash + 1;
	ret->reference_length = (__u32)length;
	reference = path + slash + 1;
	colons = (pt_bytes_equal(PT_LOAD64(reference), ':') & pt_first_bytes(length)) |
		 (pt_bytes_equal(PT_LOAD64(reference + 8), ':') & pt_first_bytes(length - 8)) |
		 (pt_bytes_equal(PT_LOAD64(reference + 16), ':') & pt_first_bytes(length - 16));
	ret->is_digest = colons != 0;
	return PT_PATH_MANIFEST;
}

/* With start of the name known (after "/v2/"): sets the name, or says that there is none. */
static __always_inline int pt_path_name(__u32 start, struct pt_path *ret)
{
	__u32 end = ret->reference - 11; /* "/manifests/" */

	if (start >= end)
		return PT_PATH_OTHER;
	ret->name = start;
	ret->name_length = end - start;
	return PT_PATH_MANIFEST;
}

#ifndef __bpf__
/*
 * The whole of it, for the host; the kernel side does the same steps with bpf_loop(). path holds
 * length bytes in a buffer of PT_PATH_BYTES + PT_PATH_SLOP, 8-byte aligned, and is decoded in
 * place if it holds escapes. cut: the target was longer than length.
 */
static inline int pt_path_parse(char *path, __u32 length, int cut, struct pt_path *ret)
{
	struct pt_scan scan;
	__u32 start = 4;
	int rc;

	pt_path_terminate(path, length);
	rc = pt_path_scan((const __u64 *)path, length, cut, ~0ull, &scan);
	if (rc == PT_PATH_ESCAPED) {
		struct pt_decode d = {.length = length};

		while (!pt_decode_step(path, &d))
			;
		if (d.nul)
			return PT_PATH_NUL;
		pt_path_terminate(path, d.out);
		rc = pt_path_scan((const __u64 *)path, d.out, 0, 0, &scan);
	}
	if (rc)
		return rc;
	rc = pt_path_reference(path, scan.end, pt_scan_slash(&scan), ret);
	if (rc)
		return rc;
	if (PT_LOAD32(path) != PT_V2) {
		struct pt_prefix p = {.end = ret->reference};

		while (!pt_prefix_step(path, &p))
			;
		if (!p.found)
			return PT_PATH_OTHER;
		start = p.found;
	}
	return pt_path_name(start, ret);
}
#endif

#endif
