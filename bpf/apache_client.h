/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Who asked, out of apache's request and the table of headers that the client sent, where a rule or
 * a trusted proxy makes that worth its reads.
 */
#ifndef PULLTAP_APACHE_CLIENT_H
#define PULLTAP_APACHE_CLIENT_H

#include "apache_header.h"

/* LimitRequestFieldSize is 8190 unless it is set. A longer text counts as unread. */
#define APACHE_TEXT_STEPS 8

/* Length of a text in the server's memory; -1 when it can't be read or has no end. */
__noinline long apache_text_length(struct scratch *s, __u64 address)
{
	__u64 length = 0;
	__u32 i;

	if (!s)
		return -1;
	for (i = 0; i < APACHE_TEXT_STEPS; i++) {
		long n = bpf_probe_read_user_str(s->apache.words, sizeof(s->apache.words),
						 (void *)(address + length));

		if (n <= 0)
			return -1;
		length += (__u64)n - 1;
		if (n < (long)sizeof(s->apache.words))
			return (long)length;
	}
	return -1;
}

/* The address as text. Clients on a unix socket have none. */
static __always_inline void read_apache_peer(struct scratch *s, __u64 useragent_ip)
{
	__builtin_memset(s->peer, 0, sizeof(s->peer));
	if (!useragent_ip ||
	    bpf_probe_read_user_str(s->peer, sizeof(s->peer), (void *)useragent_ip) < 0 ||
	    s->peer[0] == '/')
		s->peer[0] = 0;
}

static __always_inline int read_apache_agent(struct scratch *s)
{
	__u64 value = s->client.headers[CLIENT_AGENT][0];
	long length = value ? apache_text_length(s, value) : 0;

	if (!value)
		return 0;
	return length < 0 ? -1 : client_read_agent(s, value, (__u64)length);
}

/* apache makes one line of several, but a module may add another. */
static __always_inline int read_apache_forwarded(struct scratch *s)
{
	__u32 i;

	for (i = 0; i < PT_FORWARDED_LINES && i < s->client.lines_count; i++) {
		long length = apache_text_length(s, s->client.lines[i][0]);

		if (length < 0)
			return -1;
		s->client.lines[i][1] = (__u64)length;
	}
	return client_read_lines(s);
}

/* for_hint: the address is needed for more than rules. */
static __always_inline void read_apache_client(struct scratch *s, struct hit *hit, __u32 op,
					       bool for_hint, __u64 useragent_ip, __u64 headers_in)
{
	bool for_rule = client_needs_address(hit, op), agent = client_needs_agent(hit, op);
	bool forwarded = false, unread;
	__u64 table[APACHE_TABLE_BYTES / 8];

	if (for_hint || for_rule) {
		read_apache_peer(s, useragent_ip);
		forwarded = client_is_forwarded(s, hit, for_rule);
	}
	if (!agent && !forwarded)
		return;
	s->client.headers[CLIENT_AGENT][0] = 0;
	unread = read_apache_table(headers_in, table) ||
		 search_table(s, table, APACHE_CLIENT) != DIGEST_ABSENT;
	if (!unread && agent)
		unread = read_apache_agent(s);
	if (!unread && forwarded)
		unread = read_apache_forwarded(s);
	if (unread)
		ledger_add(hit->ledger, LEDGER(note_client_unread));
}

#endif
