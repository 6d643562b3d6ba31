// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way in through OpenSSL, the last resort: it sees bytes of connections, not requests. What a
 * server reads and writes is followed as HTTP/1.x, and replies are joined to requests in their
 * order. A hit in the books is a request that was answered (or a connection as a whole that can't
 * be followed), not a call. Facts: docs/adding-a-probe.md.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "tls_reply.h"
#include "tls_request.h"

char LICENSE[] SEC("license") = "GPL";

SEC("uprobe")
int tls_read(struct pt_regs *ctx)
{
	struct tls_connection *c;
	struct tls_hit hit = {};
	struct tls_call *call;
	enum tls_whose whose = tls_hit_begin(&hit, ctx, ctx->di);

	if (whose == TLS_OFF)
		tls_forget(&hit.key);
	if (whose != TLS_OURS)
		return 0;
	call = bpf_task_storage_get(&tls_calls, bpf_get_current_task_btf(), NULL,
				    BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!call) {
		if (!tls_lose(&hit, LEDGER(lost_no_memory)))
			tls_count_once(ctx, LEDGER(lost_no_memory));
		return 0;
	}
	c = tls_find(&hit);
	call->ssl = hit.key.ssl;
	call->buffer = ctx->si;
	call->amount = ctx->cx;
	/* what comes of this read takes the place of what the write left behind */
	if (c && c->write_length && tls_was_refused(&hit))
		c->refused = 1;
	return 0;
}

#define TLS_UNREAD (~0ull)

/* How much the call has read, by its own words; TLS_UNREAD when these can't be read. */
static __always_inline __u64 tls_amount(const struct pt_regs *ctx, const struct tls_call *call,
					const struct pt_tls_layout *layout)
{
	__s32 result = (__s32)ctx->ax;
	__u64 amount = 0;

	if (result <= 0)
		return 0;
	if (layout->amount == PT_TLS_AMOUNT_RESULT)
		return (__u32)result;
	if (bpf_probe_read_user(&amount, sizeof(amount), (void *)call->amount))
		return TLS_UNREAD;
	return amount;
}

SEC("uprobe")
int tls_read_done(struct pt_regs *ctx)
{
	struct tls_call *call =
		bpf_task_storage_get(&tls_calls, bpf_get_current_task_btf(), NULL, 0);
	struct tls_hit hit = {};
	enum tls_whose whose;
	__u64 amount;

	if (!call || !call->ssl)
		return 0;
	whose = tls_hit_begin(&hit, ctx, call->ssl);
	if (whose == TLS_NOBODY)
		return 0;
	call->ssl = 0;
	amount = tls_amount(ctx, call, &hit.site->layout.tls);
	if (!amount)
		return 0;
	if (whose == TLS_OFF)
		tls_forget(&hit.key);
	else if (amount != TLS_UNREAD)
		tls_take_read(ctx, &hit, call->buffer, amount);
	else if (!tls_lose(&hit, LEDGER(lost_fault)))
		tls_count_once(ctx, LEDGER(lost_fault));
	return 0;
}

SEC("uprobe")
int tls_write(struct pt_regs *ctx)
{
	struct tls_hit hit = {};
	enum tls_whose whose = tls_hit_begin(&hit, ctx, ctx->di);
	__u64 length;

	if (whose == TLS_OFF)
		tls_forget(&hit.key);
	if (whose != TLS_OURS)
		return 0;
	length = hit.site->layout.tls.narrow ? (__u32)ctx->dx : ctx->dx;
	if (length)
		tls_take_write(ctx, &hit, ctx->si, length);
	return 0;
}

SEC("uprobe")
int tls_free(struct pt_regs *ctx)
{
	struct tls_connection *c;
	struct tls_hit tls = {};
	struct hit hit = {};
	enum tls_whose whose = tls_hit_begin(&tls, ctx, ctx->di);

	if (whose == TLS_NOBODY)
		return 0;
	c = whose == TLS_OURS ? tls_find(&tls) : NULL;
	if (c && c->asked != c->answered && hit_begin(&hit, ctx) && hit.site)
		tls_drop_requests(c, &tls.key, &hit, LEDGER(filtered_unanswered));
	tls_forget(&tls.key);
	return 0;
}
