// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the probes are really attached to: programs that do nothing but jump into the set of
 * programs that counts. Probes are thus never taken off for another build; its set is loaded beside
 * the one in use, and writing a slot of `entry` moves each hit, whole, from one to the other. These
 * programs outlive every build, so nothing that may ever change belongs in here.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "abi.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, PT_ENTRIES);
	__type(key, __u32);
	__type(value, __u32);
} entry SEC(".maps");

/* Hits that found no program behind their entry. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PT_ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
} entry_lost SEC(".maps");

static __always_inline int enter(void *ctx, __u32 index)
{
	__u64 *lost;

	bpf_tail_call(ctx, &entry, index);
	/* the jump does not return: here the slot is empty */
	lost = bpf_map_lookup_elem(&entry_lost, &index);
	if (lost)
		__sync_fetch_and_add(lost, 1);
	return 0;
}

SEC("uprobe")
int entry_http1(struct pt_regs *ctx)
{
	return enter(ctx, PT_ENTRY_HTTP1);
}

SEC("uprobe")
int entry_http2(struct pt_regs *ctx)
{
	return enter(ctx, PT_ENTRY_HTTP2);
}

SEC("uprobe")
int entry_nginx(struct pt_regs *ctx)
{
	return enter(ctx, PT_ENTRY_NGINX);
}

SEC("uprobe")
int entry_tls_read(struct pt_regs *ctx)
{
	return enter(ctx, PT_ENTRY_TLS_READ);
}

SEC("uprobe")
int entry_tls_read_done(struct pt_regs *ctx)
{
	return enter(ctx, PT_ENTRY_TLS_READ_DONE);
}

SEC("uprobe")
int entry_tls_write(struct pt_regs *ctx)
{
	return enter(ctx, PT_ENTRY_TLS_WRITE);
}

SEC("uprobe")
int entry_tls_free(struct pt_regs *ctx)
{
	return enter(ctx, PT_ENTRY_TLS_FREE);
}

SEC("uprobe")
int entry_apache(struct pt_regs *ctx)
{
	return enter(ctx, PT_ENTRY_APACHE);
}
