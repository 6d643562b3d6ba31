/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Who asked: User-Agent and address, the latter as trusted proxies tell it. Each way in hands over
 * the addresses of texts in the registry's memory; nothing is read that no rule and no hint needs.
 */
#ifndef PULLTAP_CLIENT_H
#define PULLTAP_CLIENT_H

#include "hit.h"

enum client_header {
	CLIENT_AGENT = 0,
	CLIENT_FORWARDED_FOR = 1, /* believed in this order: the first that is there */
	CLIENT_FORWARDED = 2,
	CLIENT_REAL_IP = 3,
};

enum forwarded_result {
	FORWARDED_NONE = 0, /* nothing yet; only proxies' addresses if s->client.address is set */
	FORWARDED_CLIENT = 1,
	FORWARDED_STOP = 2, /* something else than an address, or too many */
};

static __always_inline void client_clear(struct scratch *s)
{
	s->peer[0] = 0;
	s->client.agent_length = 0;
	s->client.agent_cut = 0;
	s->client.address.high = 0;
	s->client.address.low = 0;
	s->client.found = FORWARDED_NONE;
	s->client.lines_of = 0;
	s->client.lines_count = 0;
}

/* Which header of enum client_header has this name, in any case, or -1. */
static __always_inline int client_header(__u64 name, __u64 length)
{
	__u64 text[2] = {};

	if (length == 10) {
		if (!bpf_probe_read_user(text, 10, (void *)name) &&
		    pt_lower(text[0], 8) == 0x6567612d72657375ull /* "user-age" */ &&
		    pt_lower(text[1], 2) == 0x746e)
			return CLIENT_AGENT;
	} else if (length == 15) {
		if (!bpf_probe_read_user(text, 15, (void *)name) &&
		    pt_lower(text[0], 8) == 0x726177726f662d78ull /* "x-forwar" */ &&
		    pt_lower(text[1], 7) == 0x726f662d646564ull) /* "ded-for" */
			return CLIENT_FORWARDED_FOR;
	} else if (length == 9) {
		if (bpf_probe_read_user(text, 9, (void *)name))
			return -1;
		if (pt_lower(text[0], 8) == 0x6564726177726f66ull /* "forwarde" */ &&
		    pt_lower(text[1], 1) == 'd')
			return CLIENT_FORWARDED;
		if (pt_lower(text[0], 8) == 0x692d6c6165722d78ull /* "x-real-i" */ &&
		    pt_lower(text[1], 1) == 'p')
			return CLIENT_REAL_IP;
	}
	return -1;
}

/* Only pulls and checks have rules. */
static __always_inline bool client_needs_agent(const struct hit *hit, __u32 op)
{
	return hit->policy & PT_POLICY_AGENT && (op == PT_OP_GET || op == PT_OP_HEAD);
}

static __always_inline bool client_needs_address(const struct hit *hit, __u32 op)
{
	return hit->policy & PT_POLICY_PEER && (op == PT_OP_GET || op == PT_OP_HEAD);
}

/*
 * Global functions, here and in rules.h, are verified once and by themselves: nothing that differs
 * between their callers is followed into them.
 *
 * Reads a User-Agent. Returns 0, or -1 when it could not be read.
 */
__weak __noinline int client_read_agent(struct scratch *s, __u64 address, __u64 length)
{
	if (!s)
		return -1;
	s->client.agent_cut = length > PT_AGENT_BYTES;
	length = at_most(length, PT_AGENT_BYTES);
	if (bpf_probe_read_user(s->client.agent, length, (void *)address))
		return -1;
	s->client.agent_length = (__u32)length;
	return 0;
}

static long address_loop(__u32 i, struct scratch **scratch)
{
	struct client *client = &(*scratch)->client;
	__u64 at = client->parse.at;

	PT_PIN_DOWN(at);
	if (at >= PT_FORWARDED_BYTES + PT_ADDRESS_STEPS)
		return 1;
	PT_PIN_DOWN(at);
	return pt_address_step(client->line[8 + at], &client->parse);
}

/* The address that begins at this byte of s->client.line. Returns 0, -1, or 1: nothing is there. */
__weak __noinline int parse_address(struct scratch *s, __u32 at)
{
	struct pt_address address = {};

	if (!s)
		return -1;
	pt_address_begin(&s->client.parse, at);
	bpf_loop(PT_ADDRESS_STEPS, address_loop, &s, 0);
	if (pt_address_empty(&s->client.parse))
		return 1;
	if (pt_address_end(&s->client.parse, &address))
		return -1;
	s->client.address = address;
	return 0;
}

static __always_inline bool is_proxy(struct scratch *s)
{
	struct pt_proxy proxy = {.bits = 128};
	__u64 high = __builtin_bswap64(s->client.address.high);
	__u64 low = __builtin_bswap64(s->client.address.low);

	__builtin_memcpy(proxy.address, &high, 8);
	__builtin_memcpy(proxy.address + 8, &low, 8);
	return bpf_map_lookup_elem(&proxies, &proxy) != NULL;
}

/* s->peer as an address. Returns 1 when it is a trusted proxy's, 0 if not, -1 if it is none. */
__weak __noinline int parse_peer(struct scratch *s)
{
	if (!s)
		return -1;
	__builtin_memcpy(s->client.line + 8, s->peer, sizeof(s->peer));
	return parse_address(s, 0) ? -1 : is_proxy(s);
}

static long forwarded_loop(__u32 i, struct scratch **scratch)
{
	return pt_forwarded_step((*scratch)->client.line, &(*scratch)->client.forwarded);
}

/* The next address to the left. Returns 1 when the line is done, or its client found. */
static long hop_step(__u32 i, struct scratch **scratch)
{
	struct scratch *s = *scratch;
	struct client *client = &s->client;
	struct pt_forwarded *f = &client->forwarded;
	__u64 start, length;
	int rc;

	if (!f->at)
		return 1;
	f->found = 0;
	bpf_loop(PT_FORWARDED_BYTES, forwarded_loop, &s, 0);
	if (!f->found && f->kind == PT_FORWARDED_LIST)
		return 0; /* nothing between two commas */
	if (!f->found || pt_forwarded_is_cut(f, client->line) ||
	    (rc = parse_address(s, f->value)) < 0) {
		client->found = FORWARDED_STOP;
		return 1;
	}
	start = client->parse.start;
	PT_PIN_DOWN(start);
	if (rc || start > PT_FORWARDED_BYTES)
		return 0;
	PT_PIN_DOWN(start);
	length = at_most(client->parse.at - start, sizeof(s->peer) - 1);
	__builtin_memset(s->peer, 0, sizeof(s->peer));
	bpf_probe_read_kernel(s->peer, length, client->line + 8 + start);
	if (!is_proxy(s))
		client->found = FORWARDED_CLIENT;
	return client->found != FORWARDED_NONE;
}

/*
 * Takes one line of a header: s->peer and s->client.address become the right-most address that is
 * no trusted proxy's, or else the left-most. Returns 0, or -1 when it could not be read.
 */
__weak __noinline int client_read_forwarded(struct scratch *s, __u32 kind, __u64 address,
					    __u64 length)
{
	__u64 bytes = at_most(length, PT_FORWARDED_BYTES);
	struct client *client = &s->client;

	if (!s)
		return -1;
	*(__u64 *)client->line = 0;
	if (bpf_probe_read_user(client->line + 8, bytes, (void *)(address + length - bytes)))
		return -1;
	bytes = at_most(bytes, PT_FORWARDED_BYTES);
	client->line[8 + bytes] = 0;
	pt_forwarded_begin(&client->forwarded, kind, (__u32)bytes, length > bytes);
	bpf_loop(PT_FORWARDED_HOPS, hop_step, &s, 0);
	if (client->forwarded.at && client->found == FORWARDED_NONE)
		client->found = FORWARDED_STOP;
	return 0;
}

/*
 * For ways in that meet headers one by one: keeps a line {address, length} of a forwarding header,
 * if no other one that comes before it is there. Of many lines the last ones stay.
 */
static __always_inline void client_keep_line(struct scratch *s, __u32 which, __u64 address,
					     __u64 length)
{
	struct client *client = &s->client;
	__u64 *line;

	if (client->lines_of && which > client->lines_of)
		return;
	if (which != client->lines_of)
		client->lines_count = 0;
	client->lines_of = which;
	line = client->lines[client->lines_count++ % PT_FORWARDED_LINES];
	line[0] = address;
	line[1] = length;
}

/* The last line that is left. */
static long kept_line_step(__u32 i, struct scratch **scratch)
{
	struct scratch *s = *scratch;
	struct client *client = &s->client;
	__u32 kind = client->lines_of == CLIENT_FORWARDED ? PT_FORWARDED_PAIRS : PT_FORWARDED_LIST;
	__u64 *line;

	if (!client->lines_count)
		return 1;
	line = client->lines[--client->lines_count % PT_FORWARDED_LINES];
	if (client_read_forwarded(s, kind, line[0], line[1]))
		client->lines_unread = 1;
	return client->lines_unread || client->found != FORWARDED_NONE;
}

/* Takes the lines that were kept, as client_read_forwarded() does. */
static __always_inline int client_read_lines(struct scratch *s)
{
	s->client.lines_unread = 0;
	bpf_loop(PT_FORWARDED_LINES, kept_line_step, &s, 0);
	return s->client.lines_unread ? -1 : 0;
}

/*
 * s->peer is who the connection comes from. Parses it where that is needed; returns whether it is a
 * trusted proxy, whose headers then say who asks.
 */
static __always_inline bool client_is_forwarded(struct scratch *s, struct hit *hit, bool rule)
{
	return (hit->policy & PT_POLICY_PROXIES || rule) && parse_peer(s) > 0;
}

#endif
