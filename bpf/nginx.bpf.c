// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way in through nginx: one hit where a request is logged and freed, HTTP/1.x, HTTP/2 and
 * HTTP/3, above TLS and framing, for what the client asked and got: sub-requests and internal
 * redirects make no hit of their own. Facts: docs/adding-a-probe.md.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "record.h"
#include "nginx_client.h"

char LICENSE[] SEC("license") = "GPL";

/*
 * The canaries of rule 7. None of these is a client's choice, so that none can be made to fail by
 * what somebody asks for.
 */
static __always_inline bool is_request(const __u64 *request, const __u64 *headers,
				       const __u64 *method)
{
	__u64 size = headers[NGINX_LIST_SIZE / 8], room = headers[NGINX_LIST_ROOM / 8];
	__u64 pool = headers[NGINX_LIST_POOL / 8];

	return (__u32)request[0] == NGINX_SIGNATURE &&
	       (size == NGINX_ELEMENT_BYTES || size == NGINX_ELEMENT_BYTES_123) && room &&
	       room <= 64 && headers[NGINX_LIST_COUNT / 8] <= room && pool && !(pool & 7) &&
	       method[0] && method[0] < NGINX_METHODS && !(method[0] & (method[0] - 1));
}

static __always_inline __u32 method_of_bit(__u32 bit)
{
	if (bit == NGINX_METHOD_GET)
		return PT_METHOD_GET;
	if (bit == NGINX_METHOD_HEAD)
		return PT_METHOD_HEAD;
	if (bit == NGINX_METHOD_PUT)
		return PT_METHOD_PUT;
	return bit == NGINX_METHOD_DELETE ? PT_METHOD_DELETE : PT_METHOD_OTHER;
}

/*
 * The method as the client sent it is the request line's first word: error pages and
 * X-Accel-Redirect make a GET of what r->method says. In HTTP/2 nginx writes a request line by
 * itself, and method and target come with one read, as in HTTP/1.
 */
static __always_inline __u32 find_texts(const __u64 *method, struct nginx_reply *reply)
{
	__u64 line = method[NGINX_METHOD_REQUEST_LINE / 8 + 1];
	__u64 line_length = method[NGINX_METHOD_REQUEST_LINE / 8];

	reply->method_bit = (__u32)method[0];
	reply->uri[0] = method[NGINX_METHOD_UNPARSED_URI / 8 + 1];
	reply->uri[1] = method[NGINX_METHOD_UNPARSED_URI / 8];
	reply->method[0] = line;
	reply->method[1] = method[NGINX_METHOD_NAME / 8];
	reply->method_as_sent = method[NGINX_METHOD_NAME / 8 + 1] == line;
	/* gone, or refused, before it had said what it wants; or a method of somebody's own */
	if (!line || !line_length ||
	    (reply->method_as_sent && method_of_bit(reply->method_bit) == PT_METHOD_OTHER))
		return LEDGER(filtered_method);
	if (!reply->method_as_sent) {
		__u64 start = 0, spaces;

		if (bpf_probe_read_user(&start, at_most(line_length, 8), (void *)line))
			return LEDGER(lost_fault);
		spaces = pt_bytes_equal(start, ' ');
		if (!spaces || spaces & 0x80)
			return LEDGER(filtered_method);
		reply->method[1] = pt_lowest_byte(spaces);
	}
	/* method, space, target, " HTTP/2.0" */
	if (line_length == reply->method[1] + 1 + reply->uri[1] + 9)
		reply->uri[0] = line + reply->method[1] + 1;
	return 0;
}

static __always_inline __u32 read_nginx(struct scratch *s, const struct pt_nginx_layout *layout,
					__u64 r, __s64 rc, struct nginx_reply *reply)
{
	const __u64 *request = s->nginx.words, *headers, *method;
	__u64 sent;

	if (bpf_probe_read_user(s->nginx.words, at_most(layout->size, NGINX_REQUEST_BYTES),
				(void *)r))
		return LEDGER(lost_fault);
	headers = request + at_most(layout->headers_out, NGINX_REQUEST_BYTES - 64) / 8;
	method = request + at_most(layout->method, NGINX_REQUEST_BYTES - NGINX_METHOD_BYTES) / 8;
	if (!is_request(request, headers, method))
		return LEDGER(lost_layout);
	reply->connection = request[NGINX_CONNECTION / 8];
	reply->part[0] = headers[NGINX_LIST_ELEMENTS / 8];
	reply->part[1] = headers[NGINX_LIST_COUNT / 8];
	reply->part[2] = headers[NGINX_LIST_NEXT / 8];
	reply->element_bytes = headers[NGINX_LIST_SIZE / 8];
	reply->pool = headers[NGINX_LIST_POOL / 8];
	reply->status = request[at_most(layout->status, NGINX_REQUEST_BYTES - 8) / 8];
	reply->type_length =
		layout->content_type
			? request[at_most(layout->content_type, NGINX_REQUEST_BYTES - 8) / 8]
			: 0;
	if (rc > 0) { /* nginx's own rule: what could not be sent has the reason for its status */
		if (bpf_probe_read_user(&sent, 8, (void *)(reply->connection + layout->sent)))
			return LEDGER(lost_fault);
		if (!reply->status || !sent)
			reply->status = (__u64)rc;
	}
	if (reply->status > 999)
		return LEDGER(lost_layout);
	return find_texts(method, reply);
}

/* Nothing is believed yet: the agent is sent the request's words and looks for what must be true.
 */
static __noinline __u32 send_sample(struct scratch *s, __u32 site, __u64 r)
{
	struct pt_sample *sample = &s->sample;

	if (bpf_probe_read_user(sample->words, sizeof(sample->words), (void *)r))
		return LEDGER(lost_fault);
	sample->event.type = PT_EVENT_SAMPLE;
	sample->event.value = site;
	sample->address = r;
	/* a few at a time: starts of processes come the same way */
	if ((__u32)sample->words[0] == NGINX_SIGNATURE &&
	    bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < 4 * sizeof(*sample))
		bpf_ringbuf_output(&events, sample, sizeof(*sample), BPF_RB_FORCE_WAKEUP);
	return LEDGER(lost_learning);
}

static __always_inline __u32 count_nginx_reply(struct scratch *s, struct hit *hit, __u64 r,
					       __s64 rc)
{
	const struct pt_nginx_layout *layout = &hit->site->layout.nginx;
	__u64 list = layout->headers_in ? r + layout->headers_in : 0;
	struct nginx_reply *reply = &s->nginx.reply;
	__u32 outcome, method;
	__u8 op = 0;

	outcome = read_nginx(s, layout, r, rc, reply);
	if (outcome)
		return outcome;
	outcome = read_request_line(s, reply->method, reply->uri, &method);
	if (outcome)
		return outcome;
	if (reply->method_as_sent && method != method_of_bit(reply->method_bit))
		return LEDGER(lost_layout);
	outcome = accept_reply(s, method, (__u32)reply->status, reply->uri[1] > PT_PATH_BYTES,
			       ~0ull, &op);
	if (outcome)
		return outcome;
	clear_digest(s);
	if (s->parts.is_digest)
		take_path_digest(s);
	else
		note_digest(hit, find_nginx_digest(s, reply->part, reply->element_bytes));
	s->is_index =
		op == PT_OP_GET && hit->control->hint_seconds && is_index_type(reply->type_length);
	read_nginx_client(s, hit, op, needs_peer(s, hit, (__u32)reply->status, op),
			  reply->connection, list, reply->element_bytes, reply->pool);
	return count_reply(s, hit, op);
}

static __always_inline __u32 nginx_outcome(struct pt_regs *ctx, struct hit *hit)
{
	__u32 outcome = hit_check_site(hit);
	struct scratch *s;

	if (outcome)
		return outcome;
	s = scratch_claim();
	if (!s)
		return LEDGER(lost_scratch);
	outcome = hit->site->layout.nginx.size ? count_nginx_reply(s, hit, ctx->di, (__s64)ctx->si)
					       : send_sample(s, hit->site_index, ctx->di);
	scratch_release(s);
	return outcome;
}

SEC("uprobe")
int nginx_request(struct pt_regs *ctx)
{
	struct hit hit = {};

	if (hit_begin(&hit, ctx))
		hit_end(&hit, nginx_outcome(ctx, &hit));
	return 0;
}
