// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way in through OpenSSL, the last resort: it sees bytes of connections, not requests. What a
 * server reads and writes is followed in HTTP/1.x, request and reply of a connection are joined in
 * their order. Facts: docs/adding-a-probe.md.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "record.h"
#include "tls_process.h"

char LICENSE[] SEC("license") = "GPL";

SEC("uprobe")
int tls_read(struct pt_regs *ctx)
{
	return !tls_site(ctx);
}

SEC("uprobe")
int tls_read_done(struct pt_regs *ctx)
{
	return !tls_site(ctx);
}

SEC("uprobe")
int tls_write(struct pt_regs *ctx)
{
	return !tls_site(ctx);
}

SEC("uprobe")
int tls_free(struct pt_regs *ctx)
{
	return !tls_site(ctx);
}
