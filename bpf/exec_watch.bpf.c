// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tells the agent which process has just executed a program, so that a registry that starts later
 * is probed before it serves. A dropped event costs nothing: the agent also looks by itself.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "events.h"

char LICENSE[] SEC("license") = "GPL";

SEC("raw_tp/sched_process_exec")
int exec_watch(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_event event = {PT_EVENT_EXEC, (__u32)(bpf_get_current_pid_tgid() >> 32)};

	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}
