/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * apache's tables of headers, looked through for the digest that a reply names or for what a
 * request's say of its client. Texts end with a NUL; their lengths are nowhere.
 */
#ifndef PULLTAP_APACHE_HEADER_H
#define PULLTAP_APACHE_HEADER_H

#include "client.h"
#include "digest.h"

/* What is looked for. */
enum apache_search { APACHE_DIGEST, APACHE_CLIENT };

/* 0, or the counter that a hit with such a table belongs to. */
static __always_inline __u32 read_apache_table(__u64 address, __u64 ret[4])
{
	__u32 count, room;

	if (bpf_probe_read_user(ret, APACHE_TABLE_BYTES, (void *)address))
		return LEDGER(lost_fault);
	count = (__u32)(ret[APACHE_TABLE_SIZE / 8] >> 32);
	room = (__u32)ret[APACHE_TABLE_ROOM / 8];
	if ((__u32)ret[APACHE_TABLE_SIZE / 8] != APACHE_ENTRY_BYTES || count > room ||
	    room > 1u << 24 || !ret[0] || ret[0] & 7 || ret[APACHE_TABLE_ELEMENTS / 8] & 7)
		return LEDGER(lost_layout);
	return 0;
}

struct table_context {
	struct scratch *s;
	__u64 elements;
	__u64 count;
	enum apache_search search;
	__s32 result;
};

/* Does its name begin like one that is looked for? */
static __always_inline bool begins_as_wanted(__u32 checksum, enum apache_search search)
{
	if (search == APACHE_DIGEST)
		return checksum == APACHE_CHECKSUM('D', 'o', 'c', 'k');
	return checksum == APACHE_CHECKSUM('U', 's', 'e', 'r') ||
	       checksum == APACHE_CHECKSUM('X', '-', 'F', 'o') ||
	       checksum == APACHE_CHECKSUM('F', 'o', 'r', 'w') ||
	       checksum == APACHE_CHECKSUM('X', '-', 'R', 'e');
}

/* Keeps what the client says of itself; how long the text is will be seen later. */
static __always_inline void keep_apache_header(struct scratch *s, __u64 key, __u64 length,
					       __u64 value)
{
	int which = client_header(key, length);

	if (which > CLIENT_AGENT)
		client_keep_line(s, which, value, 0);
	else if (which == CLIENT_AGENT && !s->client.headers[CLIENT_AGENT][0])
		s->client.headers[CLIENT_AGENT][0] = value;
}

/* One entry. Returns 1 when done. */
static long entry_step(__u32 i, struct table_context *context)
{
	__u64 at = i % APACHE_ENTRIES_STEP, text[3] = {};
	struct scratch *s = context->s;
	const __u64 *entry;
	long n;

	if (i >= context->count) {
		context->result = DIGEST_ABSENT;
		return 1;
	}
	if (i >= APACHE_ENTRIES_MAX)
		return 1;
	if (!at) {
		__u64 left = at_most(context->count - i, APACHE_ENTRIES_STEP);

		left = at_most(left * APACHE_ENTRY_BYTES, sizeof(s->apache.words));
		if (bpf_probe_read_user(s->apache.words, left,
					(void *)(context->elements + i * APACHE_ENTRY_BYTES)))
			return 1;
	}
	entry = s->apache.words + at_most(at * APACHE_ENTRY_BYTES / 8, APACHE_WORDS - 3);
	if (!begins_as_wanted((__u32)entry[2], context->search))
		return 0;
	n = bpf_probe_read_user_str(text, sizeof(text), (void *)entry[0]);
	if (n <= 0)
		return 1;
	if (context->search == APACHE_CLIENT) {
		keep_apache_header(s, entry[0], (__u64)n - 1, entry[1]);
		return 0;
	}
	if (n != 22 || !is_digest_name(text))
		return 0;
	s->client.text = entry[1];
	context->result = DIGEST_FOUND;
	return 1;
}

/*
 * Looks through count elements. A digest's text is then at s->client.text; the texts of a request's
 * headers are kept, bpf/client.h. DIGEST_FOUND, DIGEST_UNREAD, or DIGEST_ABSENT at the end.
 */
__noinline int search_apache_table(struct scratch *s, __u64 elements, __u64 count, __u32 search)
{
	struct table_context context = {
		.s = s,
		.elements = elements,
		.count = count,
		.search = search,
		.result = DIGEST_UNREAD,
	};

	if (!s)
		return DIGEST_UNREAD;
	/* one more, which sees the end */
	bpf_loop(APACHE_ENTRIES_MAX + 1, entry_step, &context, 0);
	return context.result;
}

static __always_inline int search_table(struct scratch *s, const __u64 table[4],
					enum apache_search search)
{
	return search_apache_table(s, table[APACHE_TABLE_ELEMENTS / 8],
				   table[APACHE_TABLE_SIZE / 8] >> 32, search);
}

/* Reads the digest at s->client.text, where s->digest was cleared. */
static __always_inline int read_apache_digest(struct scratch *s)
{
	/* room for one byte more than the longest, and the end */
	long n = bpf_probe_read_user_str(s->digest, PT_DIGEST_MAX + 2, (void *)s->client.text);

	if (n == 1)
		return DIGEST_ABSENT;
	if (n > 1 && n <= PT_DIGEST_MAX + 1)
		return take_digest(s, (__u64)n - 1);
	clear_digest(s);
	return n <= 0 ? DIGEST_UNREAD : DIGEST_MALFORMED;
}

#endif
