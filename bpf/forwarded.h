/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Finds the addresses in X-Forwarded-For, Forwarded (RFC 7239) and X-Real-IP, the right-most first:
 * each proxy appends the address that it saw, so that only what stands right of the first address
 * that is no proxy's can be believed. One byte a step, from the end to the start. Compiles for the
 * kernel and for the host, where unit tests and a fuzzer run it.
 */
#ifndef PULLTAP_FORWARDED_H
#define PULLTAP_FORWARDED_H

#include "path.h"

/* So many bytes of a line's end are looked at; a text that begins before them is not believed. */
#define PT_FORWARDED_BYTES 256
/* So many addresses of proxies may stand behind the client's, and so many lines. */
#define PT_FORWARDED_HOPS 16
#define PT_FORWARDED_LINES 4

enum pt_forwarded_kind {
	PT_FORWARDED_LIST = 1, /* addresses, with commas between */
	PT_FORWARDED_PAIRS = 2, /* for=address;by=... */
};

struct pt_forwarded {
	__u32 kind;
	__u32 at; /* what is left of it ends here; 0: nothing is left */
	__u32 value; /* where the element's address begins, if found */
	__u32 found;
	__u32 cut; /* the line is longer than what is here */
};

static __always_inline void pt_forwarded_begin(struct pt_forwarded *f, __u32 kind, __u32 length,
					       __u32 cut)
{
	f->kind = kind;
	f->at = length;
	f->value = 0;
	f->found = 0;
	f->cut = cut;
}

/*
 * Does "for=" stand before the byte at - 1, in any case and as a word of its own? Counted from the
 * eight bytes before the text, so that no offset can be less than 0: Linux 6.1's verifier does not
 * learn from a comparison with 0.
 */
static __always_inline int pt_forwarded_names(const char *text, __u64 at)
{
	char before = text[at + 2];

	return (PT_LOAD32(text + at + 3) | 0x20202020u) == 0x3d726f66u && /* "for=" */
	       (before == ';' || before == ',' || before == ' ' || before == '\t' || !before);
}

/*
 * Takes one byte off the end. text is preceded by eight zero bytes (text[8] is its first). Returns
 * 1 at the end of an element: its address begins at f->value if f->found is set.
 */
static __always_inline int pt_forwarded_step(const char *text, struct pt_forwarded *f)
{
	__u64 at = f->at;
	char c;

	PT_PIN_DOWN(at);
	if (!at || at > PT_FORWARDED_BYTES)
		return 1;
	PT_PIN_DOWN(at);
	c = text[at + 7];
	f->at = (__u32)at - 1;
	if (c == ',')
		return 1;
	if (f->kind == PT_FORWARDED_LIST) {
		if (c != ' ' && c != '\t' && c != '"') {
			f->value = (__u32)at - 1;
			f->found = 1;
		}
	} else if (pt_forwarded_names(text, at)) {
		f->value = (__u32)at - 1 + (c == '"');
		f->found = 1;
	}
	return 0;
}

/* Was the element cut off, so that its address may be another one's end? */
static __always_inline int pt_forwarded_is_cut(const struct pt_forwarded *f, const char *text)
{
	return f->cut && !f->at && text[8] != ',';
}

#endif
