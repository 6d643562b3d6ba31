/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Who asked, out of Go's Request: RemoteAddr, and what its header says of the client where a rule
 * or a trusted proxy makes that worth its reads.
 */
#ifndef PULLTAP_GO_CLIENT_H
#define PULLTAP_GO_CLIENT_H

#include "go_header.h"

/* RemoteAddr is "address:port"; the port changes with each connection and is cut off. */
__noinline int read_peer(struct scratch *s, __u64 address, __u64 length)
{
	__u32 i, port = 0;

	if (!s)
		return -1;
	__builtin_memset(s->peer, 0, sizeof(s->peer));
	if (bpf_probe_read_user(s->peer, at_most(length, sizeof(s->peer) - 1), (void *)address))
		return -1;
	for (i = 0; i < sizeof(s->peer) / 8; i++) {
		__u64 colons = pt_bytes_equal(((__u64 *)s->peer)[i], ':');

		if (colons)
			port = i * 8 + pt_highest_byte(colons);
	}
	if (!port)
		return 0;
	/* a port has at most five digits: clear the colon and all behind it */
	for (i = 0; i < 8; i++)
		if (port + i < sizeof(s->peer))
			s->peer[port + i] = 0;
	return 0;
}

struct line_context {
	struct scratch *s;
	__u64 lines, count; /* a []string */
	__u32 kind;
	__u32 failed;
};

/* The last line that is left. */
static long line_step(__u32 i, struct line_context *context)
{
	__u64 text[2];

	if (!context->count)
		return 1;
	context->count--;
	if (bpf_probe_read_user(text, sizeof(text),
				(void *)(context->lines + context->count * GO_STRING_BYTES)) ||
	    client_read_forwarded(context->s, context->kind, text[0], text[1]))
		context->failed = 1;
	return context->failed || context->s->client.found != FORWARDED_NONE;
}

/* Returns 0, or -1 when it could not be read. */
__noinline int read_go_forwarded(struct scratch *s)
{
	struct line_context context = {.s = s, .kind = PT_FORWARDED_LIST};
	__u64(*headers)[2] = s->client.headers;

	if (!s)
		return -1;
	if (headers[CLIENT_FORWARDED_FOR][1]) {
		context.lines = headers[CLIENT_FORWARDED_FOR][0];
		context.count = headers[CLIENT_FORWARDED_FOR][1];
	} else if (headers[CLIENT_FORWARDED][1]) {
		context.lines = headers[CLIENT_FORWARDED][0];
		context.count = headers[CLIENT_FORWARDED][1];
		context.kind = PT_FORWARDED_PAIRS;
	} else {
		context.lines = headers[CLIENT_REAL_IP][0];
		context.count = headers[CLIENT_REAL_IP][1];
	}
	bpf_loop(PT_FORWARDED_LINES, line_step, &context, 0);
	return context.failed ? -1 : 0;
}

/* for_hint: the address is needed for more than rules. */
static __always_inline void read_go_client(struct scratch *s, struct hit *hit, __u32 op,
					   bool for_hint, const __u64 peer[2], __u64 header)
{
	bool for_rule = client_needs_address(hit, op), unread = false;
	__u32 wanted = client_needs_agent(hit, op) ? HEADER_AGENT : 0;
	__u64 text[2];

	if (for_hint || for_rule) {
		read_peer(s, peer[0], peer[1]);
		if (client_is_forwarded(s, hit, for_rule))
			wanted |= HEADER_FORWARDED;
	}
	if (!wanted)
		return;
	__builtin_memset(s->client.headers, 0, sizeof(s->client.headers));
	unread = read_header(s, header, hit->site->go_map, wanted) == DIGEST_UNREAD;
	if (s->client.headers[CLIENT_AGENT][1] &&
	    (bpf_probe_read_user(text, sizeof(text), (void *)s->client.headers[CLIENT_AGENT][0]) ||
	     client_read_agent(s, text[0], text[1])))
		unread = true;
	if (wanted & HEADER_FORWARDED && read_go_forwarded(s))
		unread = true;
	if (unread)
		ledger_add(hit->ledger, LEDGER(note_client_unread));
}

#endif
