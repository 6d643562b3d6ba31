// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way in through apache httpd: one hit where a request is logged, HTTP/1.x and HTTP/2, above
 * TLS and framing, for what the client asked and got: sub-requests make no hit, and what internal
 * redirects make hangs on the client's own request. Facts: docs/adding-a-probe.md.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "record.h"
#include "apache_client.h"

char LICENSE[] SEC("license") = "GPL";

/* What a hit hands over: addresses, but for the numbers. */
struct apache_reply {
	__u64 line; /* of the client's own request, as the next three */
	__u64 uri;
	__u64 useragent_ip;
	__u64 headers_in;
	__u64 headers_out; /* of the last request that a redirect made, as what follows */
	__u64 err_headers_out;
	__u64 content_type;
	__u32 status;
	__u32 method_number;
	__u32 redirected;
};

/*
 * The canaries of rule 7, with those of the tables and of the method's number. None of these is a
 * client's choice, so that none can be made to fail by what somebody asks for.
 */
static __always_inline bool is_request(const __u64 *request)
{
	__u64 pool = request[APACHE_POOL / 8], connection = request[APACHE_CONNECTION / 8];
	__u64 in = request[APACHE_HEADERS_IN / 8], out = request[APACHE_HEADERS_OUT / 8];
	__u64 err = request[APACHE_ERR_HEADERS_OUT / 8];

	return pool && connection && in && out && err &&
	       !((pool | connection | in | out | err) & 7) &&
	       (__u32)request[APACHE_STATUS / 8] <= 999 &&
	       request[APACHE_STATUS / 8] >> 32 < APACHE_METHODS;
}

/* Follows a link to its end, from the request at *address on; 0 or -1. */
static __always_inline int follow_link(__u64 *address, __u64 link, __u64 offset)
{
	__u32 i;

	for (i = 0; i < APACHE_REDIRECTS_MAX; i++) {
		if (!link)
			return 0;
		*address = link;
		if (bpf_probe_read_user(&link, 8, (void *)(*address + offset)))
			return -1;
	}
	return -1;
}

static __always_inline __u32 read_request_rec(struct scratch *s, __u64 r)
{
	if (bpf_probe_read_user(s->apache.words, APACHE_REQUEST_BYTES, (void *)r))
		return LEDGER(lost_fault);
	return is_request(s->apache.words) ? 0 : LEDGER(lost_layout);
}

/*
 * A redirect, to an ErrorDocument for one, makes another request of it, which has what was sent;
 * method and target are what the client said. apache's own log holds it so.
 */
static __always_inline __u32 read_apache(struct scratch *s, __u64 r, struct apache_reply *reply)
{
	const __u64 *request = s->apache.words;
	__u32 outcome = read_request_rec(s, r);
	__u64 connection, last = r;

	if (!outcome && request[APACHE_PREV / 8]) {
		if (follow_link(&r, request[APACHE_PREV / 8], APACHE_PREV))
			return LEDGER(lost_fault);
		outcome = read_request_rec(s, r);
	}
	if (outcome)
		return outcome;
	reply->line = request[APACHE_THE_REQUEST / 8];
	reply->uri = request[APACHE_UNPARSED_URI / 8];
	reply->useragent_ip = request[APACHE_USERAGENT_IP / 8];
	reply->headers_in = request[APACHE_HEADERS_IN / 8];
	reply->redirected = request[APACHE_NEXT / 8] != 0;
	connection = request[APACHE_CONNECTION / 8];
	if (reply->redirected) {
		if (follow_link(&last, request[APACHE_NEXT / 8], APACHE_NEXT))
			return LEDGER(lost_fault);
		outcome = read_request_rec(s, last);
		if (outcome)
			return outcome;
		if (request[APACHE_CONNECTION / 8] != connection || !request[APACHE_PREV / 8])
			return LEDGER(lost_layout);
	}
	reply->status = (__u32)request[APACHE_STATUS / 8];
	reply->method_number = (__u32)(request[APACHE_STATUS / 8] >> 32);
	reply->headers_out = request[APACHE_HEADERS_OUT / 8];
	reply->err_headers_out = request[APACHE_ERR_HEADERS_OUT / 8];
	reply->content_type = request[APACHE_CONTENT_TYPE / 8];
	return 0;
}

/*
 * The method as the client sent it is the line's first word: an ErrorDocument makes a GET of what
 * r->method says. A line or a target that is not there was refused before it said what it wants.
 */
static __always_inline __u32 read_target(struct scratch *s, const struct apache_reply *reply,
					 __u32 *ret_method, int *ret_cut)
{
	__u64 word = 0, spaces;
	long n;

	if (!reply->line || !reply->uri)
		return LEDGER(filtered_method);
	if (bpf_probe_read_user_str(&word, sizeof(word), (void *)reply->line) < 0)
		return LEDGER(lost_fault);
	spaces = pt_bytes_equal(word, ' ');
	*ret_method = method_of_word(spaces ? word & pt_below_lowest(spaces) : 0);
	if (*ret_method == PT_METHOD_OTHER)
		return LEDGER(filtered_method);
	n = bpf_probe_read_user_str(s->path, PT_PATH_BYTES + 2, (void *)reply->uri);
	if (n <= 0)
		return LEDGER(lost_fault);
	s->path_length = (__u32)at_most((__u64)n - 1, PT_PATH_BYTES);
	*ret_cut = n - 1 > PT_PATH_BYTES;
	return 0;
}

/* An accepted reply is that of a request that was understood: then its method has its number. */
static __always_inline bool is_numbered(const struct apache_reply *reply, __u32 method)
{
	__u32 number = method == PT_METHOD_PUT	    ? APACHE_METHOD_PUT
		       : method == PT_METHOD_DELETE ? APACHE_METHOD_DELETE
						    : APACHE_METHOD_GET;

	return reply->method_number == number ||
	       (reply->redirected && reply->method_number == APACHE_METHOD_GET);
}

/* 0, or the counter the hit belongs to. */
static __always_inline __u32 find_apache_digest(struct scratch *s, struct hit *hit,
						const struct apache_reply *reply)
{
	__u64 table[APACHE_TABLE_BYTES / 8];
	__u32 outcome = read_apache_table(reply->headers_out, table);
	int result;

	if (outcome)
		return outcome;
	clear_digest(s);
	if (s->parts.is_digest) {
		take_path_digest(s);
		return 0;
	}
	result = search_table(s, table, APACHE_DIGEST);
	if (result == DIGEST_ABSENT) {
		outcome = read_apache_table(reply->err_headers_out, table);
		if (outcome)
			return outcome;
		result = search_table(s, table, APACHE_DIGEST);
	}
	note_digest(hit, result == DIGEST_FOUND ? read_apache_digest(s) : result);
	return 0;
}

static __always_inline bool is_index(struct scratch *s, __u64 content_type)
{
	long n = content_type ? bpf_probe_read_user_str(s->apache.words, 64, (void *)content_type)
			      : 0;

	return n > 0 && is_index_type((__u64)n - 1);
}

static __always_inline __u32 count_apache_reply(struct scratch *s, struct hit *hit, __u64 r)
{
	struct apache_reply reply = {};
	__u32 outcome, method = 0;
	int cut = 0;
	__u8 op = 0;

	outcome = read_apache(s, r, &reply);
	if (!outcome)
		outcome = read_target(s, &reply, &method, &cut);
	if (!outcome)
		outcome = accept_reply(s, method, reply.status, cut, ~0ull, &op);
	if (outcome)
		return outcome;
	if (!is_numbered(&reply, method))
		return LEDGER(lost_layout);
	outcome = find_apache_digest(s, hit, &reply);
	if (outcome)
		return outcome;
	if (op == PT_OP_GET && hit->control->hint_seconds)
		s->is_index = is_index(s, reply.content_type);
	read_apache_client(s, hit, op, needs_peer(s, hit, reply.status, op), reply.useragent_ip,
			   reply.headers_in);
	return count_reply(s, hit, op);
}

static __always_inline __u32 apache_outcome(struct pt_regs *ctx, struct hit *hit)
{
	__u32 outcome = hit_check_site(hit);
	struct scratch *s;

	if (outcome)
		return outcome;
	s = scratch_claim();
	if (!s)
		return LEDGER(lost_scratch);
	outcome = count_apache_reply(s, hit, ctx->di);
	scratch_release(s);
	return outcome;
}

SEC("uprobe")
int apache_request(struct pt_regs *ctx)
{
	struct hit hit = {};

	if (hit_begin(&hit, ctx))
		hit_end(&hit, apache_outcome(ctx, &hit));
	return 0;
}
