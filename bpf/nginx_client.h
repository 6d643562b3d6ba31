/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Who asked, out of nginx's connection and the list of headers that the client sent, where a rule
 * or a trusted proxy makes that worth its reads. A list is a client's choice: of more than eight
 * parts of 20 nothing is believed.
 */
#ifndef PULLTAP_NGINX_CLIENT_H
#define PULLTAP_NGINX_CLIENT_H

#include "client.h"
#include "nginx_header.h"

/* The address as text, without a port. Clients on a unix socket have none. */
static __always_inline void read_nginx_peer(struct scratch *s, __u64 connection, __u64 addr_text)
{
	__u64 text[2]; /* length, address */

	__builtin_memset(s->peer, 0, sizeof(s->peer));
	if (!addr_text || bpf_probe_read_user(text, sizeof(text), (void *)(connection + addr_text)))
		return;
	if (text[0] >= sizeof(s->peer) ||
	    bpf_probe_read_user(s->peer, at_most(text[0], sizeof(s->peer) - 1), (void *)text[1]) ||
	    *(__u32 *)s->peer == 0x78696e75) /* "unix" */
		s->peer[0] = 0;
}

/* Keeps what the client says of itself out of count elements in s->nginx, each of stride words. */
__noinline int keep_elements(struct scratch *s, __u32 count, __u32 stride)
{
	__u32 i;

	if (!s)
		return -1;
	for (i = 0; i < NGINX_ELEMENTS_MAX && i < count; i++) {
		__u64 at = at_most(i * stride, NGINX_REQUEST_BYTES / 8 - 8);
		const __u64 *element = s->nginx.words + at;
		__u64 address = element[NGINX_ELEMENT_VALUE / 8 + 1];
		__u64 length = element[NGINX_ELEMENT_VALUE / 8];
		int which = element[0] ? client_header(element[NGINX_ELEMENT_KEY / 8 + 1],
						       element[NGINX_ELEMENT_KEY / 8])
				       : -1;

		if (which > CLIENT_AGENT) {
			client_keep_line(s, which, address, length);
		} else if (which == CLIENT_AGENT && !s->client.headers[CLIENT_AGENT][0]) {
			s->client.headers[CLIENT_AGENT][0] = address;
			s->client.headers[CLIENT_AGENT][1] = length;
		}
	}
	return 0;
}

struct list_walk {
	struct scratch *s;
	__u64 part[3];
	__u64 size; /* of an element */
	int result; /* -1 until the list's end was seen */
};

static long list_step(__u32 i, struct list_walk *walk)
{
	if (walk->part[1] > NGINX_ELEMENTS_MAX || read_elements(walk->s, walk->part, walk->size))
		return 1;
	keep_elements(walk->s, (__u32)walk->part[1], (__u32)walk->size / 8);
	if (!walk->part[2]) {
		walk->result = 0;
		return 1;
	}
	return bpf_probe_read_user(walk->part, NGINX_PART_BYTES, (void *)walk->part[2]) != 0;
}

/* Goes through the list of headers at this address. Returns 0, or -1 when not all could be read. */
static __always_inline int read_headers_in(struct scratch *s, __u64 list, __u64 size, __u64 pool)
{
	struct list_walk walk = {.s = s, .size = size, .result = -1};
	__u64 words[NGINX_LIST_BYTES / 8];

	s->client.headers[CLIENT_AGENT][0] = 0;
	/* the canary: both lists are made alike, in the request's own pool */
	if (bpf_probe_read_user(words, sizeof(words), (void *)list) ||
	    words[NGINX_LIST_SIZE / 8] != size || words[NGINX_LIST_POOL / 8] != pool)
		return -1;
	walk.part[0] = words[NGINX_LIST_ELEMENTS / 8];
	walk.part[1] = words[NGINX_LIST_COUNT / 8];
	walk.part[2] = words[NGINX_LIST_NEXT / 8];
	bpf_loop(NGINX_PARTS_IN_MAX, list_step, &walk, 0);
	return walk.result;
}

/* list is that of the headers, 0 if unknown; for_hint: the address is needed for more than rules.
 */
static __always_inline void read_nginx_client(struct scratch *s, struct hit *hit, __u32 op,
					      bool for_hint, __u64 connection, __u64 list,
					      __u64 size, __u64 pool)
{
	bool for_rule = client_needs_address(hit, op), agent = client_needs_agent(hit, op);
	bool forwarded = false, unread;

	if (for_hint || for_rule) {
		read_nginx_peer(s, connection, hit->site->layout.nginx.addr_text);
		forwarded = client_is_forwarded(s, hit, for_rule);
	}
	if (!agent && !forwarded)
		return;
	unread = !list || read_headers_in(s, list, size, pool);
	if (!unread && agent && s->client.headers[CLIENT_AGENT][0])
		unread = client_read_agent(s, s->client.headers[CLIENT_AGENT][0],
					   s->client.headers[CLIENT_AGENT][1]);
	if (!unread && forwarded)
		unread = client_read_lines(s);
	if (unread)
		ledger_add(hit->ledger, LEDGER(note_client_unread));
}

#endif
