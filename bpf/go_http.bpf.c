// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way in through Go's net/http: one hit where a reply is finished, HTTP/1.x and HTTP/2, above
 * TLS and framing. It stands on the `jbe` of the function's stack check, where the arguments are
 * still in place and the flags tell a run that will start over. Facts: docs/adding-a-probe.md.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "record.h"
#include "go_client.h"

char LICENSE[] SEC("license") = "GPL";

#define FLAGS_BELOW_OR_EQUAL 0x41 /* CF or ZF: the jbe is taken, to morestack */

/* What a hook hands over, read from the Go structs. */
struct go_reply {
	__u64 method[2]; /* Go strings: pointer, length */
	__u64 uri[2];
	__u64 peer[2];
	__u64 header;
	__u64 request_header;
	__u32 status;
	__u32 decoded; /* uri is a URL's path: no escapes, no query */
};

/* A *Request at address. */
static __always_inline __u32 read_request(struct scratch *s, __u64 address, struct go_reply *reply)
{
	const __u64 *words = s->go.words;
	__u64 url;

	if (bpf_probe_read_user(s->go.bytes, GO_REQUEST_BYTES, (void *)address))
		return LEDGER(lost_fault);
	reply->method[0] = words[GO_REQUEST_METHOD / 8];
	reply->method[1] = words[GO_REQUEST_METHOD / 8 + 1];
	reply->request_header = words[GO_REQUEST_HEADER / 8];
	reply->peer[0] = words[GO_REQUEST_REMOTE_ADDR / 8];
	reply->peer[1] = words[GO_REQUEST_REMOTE_ADDR / 8 + 1];
	reply->uri[0] = words[GO_REQUEST_URI / 8];
	reply->uri[1] = words[GO_REQUEST_URI / 8 + 1];
	url = words[GO_REQUEST_URL / 8];
	if (!reply->uri[1] && url) { /* a proxy that reuses the request clears it */
		if (bpf_probe_read_user(reply->uri, sizeof(reply->uri),
					(void *)(url + GO_URL_PATH)))
			return LEDGER(lost_fault);
		reply->decoded = 1;
	}
	return 0;
}

static __always_inline __u32 read_http1(struct scratch *s, __u64 w, struct go_reply *reply)
{
	const __u64 *words = s->go.words;
	__u64 request;

	if (bpf_probe_read_user(s->go.bytes, GO_RESPONSE_BYTES, (void *)w))
		return LEDGER(lost_fault);
	request = words[GO_RESPONSE_REQUEST / 8];
	if (words[GO_RESPONSE_CW / 8] == w) {
		reply->header = words[(GO_RESPONSE_CW + GO_CW_HANDLER_HEADER) / 8];
		reply->status = (__u32)words[(GO_RESPONSE_CW + GO_CW_STATUS) / 8];
	} else if (words[GO_RESPONSE_CW_127 / 8] == w) {
		reply->header = words[(GO_RESPONSE_CW_127 + GO_CW_HANDLER_HEADER) / 8];
		reply->status = (__u32)words[(GO_RESPONSE_CW_127 + GO_CW_STATUS) / 8];
	} else {
		return LEDGER(lost_layout);
	}
	return read_request(s, request, reply);
}

/* Does the bufio.Writer at bw write to rws? Then bw's offset is the right one. */
static __always_inline bool writes_to(__u64 bw, __u64 rws)
{
	__u64 writer = 0;

	return bw && !bpf_probe_read_user(&writer, 8, (void *)(bw + GO_BUFIO_WRITER)) &&
	       writer == rws;
}

static __always_inline __u32 read_http2(struct scratch *s, __u64 rws, struct go_reply *reply)
{
	const __u64 *words = s->go.words;
	__u64 request;

	if (bpf_probe_read_user(s->go.bytes, GO_RWS_BYTES, (void *)rws))
		return LEDGER(lost_fault);
	request = words[GO_RWS_REQUEST / 8];
	if (writes_to(words[GO_RWS_BW / 8], rws)) {
		reply->header = words[(GO_RWS_BW + GO_BW_HANDLER_HEADER) / 8];
		reply->status = (__u32)words[(GO_RWS_BW + GO_BW_STATUS) / 8];
	} else if (writes_to(words[GO_RWS_BW_119 / 8], rws)) {
		reply->header = words[(GO_RWS_BW_119 + GO_BW_HANDLER_HEADER) / 8];
		reply->status = (__u32)words[(GO_RWS_BW_119 + GO_BW_STATUS) / 8];
	} else {
		return LEDGER(lost_layout);
	}
	return read_request(s, request, reply);
}

static __always_inline __u32 read_http2_inline(struct scratch *s, __u64 rws, struct go_reply *reply)
{
	const __u64 *words = s->go.words;

	if (bpf_probe_read_user(s->go.bytes, GO_RWS_INLINE_BYTES, (void *)rws))
		return LEDGER(lost_fault);
	if (!writes_to(words[GO_RWS_BW_127 / 8], rws))
		return LEDGER(lost_layout);
	reply->header = words[(GO_RWS_BW_127 + GO_BW_HANDLER_HEADER) / 8];
	reply->status = (__u32)words[(GO_RWS_BW_127 + GO_BW_STATUS) / 8];
	reply->method[0] = words[GO_RWS_INLINE_METHOD / 8];
	reply->method[1] = words[GO_RWS_INLINE_METHOD / 8 + 1];
	reply->request_header = words[GO_RWS_INLINE_HEADER / 8];
	reply->peer[0] = words[GO_RWS_INLINE_REMOTE_ADDR / 8];
	reply->peer[1] = words[GO_RWS_INLINE_REMOTE_ADDR / 8 + 1];
	reply->uri[0] = words[GO_RWS_INLINE_URI / 8];
	reply->uri[1] = words[GO_RWS_INLINE_URI / 8 + 1];
	return 0;
}

/*
 * The reply's digest: from the path where that names it, else from the reply's header. And of a
 * GET, whether it is an index.
 */
static __always_inline void read_reply_digest(struct scratch *s, struct hit *hit, __u64 header,
					      bool get)
{
	__u32 type = get && hit->control->hint_seconds ? HEADER_TYPE : 0;

	clear_digest(s);
	if (!s->parts.is_digest) {
		note_digest(hit, read_header(s, header, hit->site->go_map, HEADER_DIGEST | type));
		return;
	}
	take_path_digest(s);
	if (type)
		read_header(s, header, hit->site->go_map, type);
}

static __always_inline __u32 count_go_reply(struct scratch *s, struct hit *hit, __u64 object)
{
	struct go_reply reply = {};
	__u32 outcome, method;
	__u8 op = 0;

	if (hit->site->hook == PT_GO_HOOK_HTTP1)
		outcome = read_http1(s, object, &reply);
	else if (bpf_probe_read_user(&object, 8, (void *)object))
		outcome = LEDGER(lost_fault);
	else if (hit->site->hook == PT_GO_HOOK_HTTP2)
		outcome = read_http2(s, object, &reply);
	else
		outcome = read_http2_inline(s, object, &reply);
	if (outcome)
		return outcome;
	if (!reply.status) /* a handler that never calls WriteHeader */
		reply.status = 200;
	if (reply.status < 100 || reply.status > 999)
		return LEDGER(lost_layout);
	outcome = read_request_line(s, reply.method, reply.uri, &method);
	if (outcome)
		return outcome;
	outcome = accept_reply(s, method, reply.status, reply.uri[1] > PT_PATH_BYTES,
			       reply.decoded ? 0 : ~0ull, &op);
	if (outcome)
		return outcome;
	read_reply_digest(s, hit, reply.header, op == PT_OP_GET);
	read_go_client(s, hit, op, needs_peer(s, hit, reply.status, op), reply.peer,
		       reply.request_header);
	return count_reply(s, hit, op);
}

static __always_inline __u32 go_outcome(struct pt_regs *ctx, struct hit *hit)
{
	struct scratch *s;
	__u64 object;
	__u32 outcome;

	if (ctx->flags & FLAGS_BELOW_OR_EQUAL)
		return LEDGER(filtered_stack_growth);
	outcome = hit_check_site(hit);
	if (outcome)
		return outcome;
	if (hit->site->go_abi == PT_GO_ABI_REGISTER)
		object = ctx->ax;
	else if (bpf_probe_read_user(&object, 8, (void *)(ctx->sp + 8)))
		return LEDGER(lost_fault);
	s = scratch_claim();
	if (!s)
		return LEDGER(lost_scratch);
	outcome = count_go_reply(s, hit, object);
	scratch_release(s);
	return outcome;
}

SEC("uprobe")
int go_http1(struct pt_regs *ctx)
{
	struct hit hit = {};

	if (hit_begin(&hit, ctx))
		hit_end(&hit, go_outcome(ctx, &hit));
	return 0;
}

SEC("uprobe")
int go_http2(struct pt_regs *ctx)
{
	struct hit hit = {};

	if (hit_begin(&hit, ctx))
		hit_end(&hit, go_outcome(ctx, &hit));
	return 0;
}
