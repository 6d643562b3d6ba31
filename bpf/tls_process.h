/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Whose call of a library this is: a probe in OpenSSL fires in every process that uses the file.
 */
#ifndef PULLTAP_TLS_PROCESS_H
#define PULLTAP_TLS_PROCESS_H

#include "maps.h"

/* What the programs of this way in know of a hit at once. Small: the BPF stack is. */
struct tls_hit {
	struct pt_site *site;
	struct pt_tls_key key; /* of the connection */
};

enum tls_whose {
	TLS_NOBODY, /* of another program, or of a probe in whose place there is another */
	TLS_OFF, /* nothing is counted now: what passes by is not seen */
	TLS_OURS,
};

static __always_inline bool tls_is_target(struct task_struct *task,
					  const struct pt_tls_layout *layout)
{
	struct inode *inode;
	struct file *exe;

	if (!task->mm)
		return false;
	exe = task->mm->exe_file;
	if (!exe)
		return false;
	inode = exe->f_inode;
	return inode->i_ino == layout->exe_inode &&
	       (!layout->exe_device || inode->i_sb->s_dev == layout->exe_device);
}

static __always_inline enum tls_whose tls_hit_begin(struct tls_hit *hit, void *ctx, __u64 ssl)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 index = (__u32)cookie, zero = 0;
	__u32 *off_mask;

	hit->site = bpf_map_lookup_elem(&sites, &index);
	if (!hit->site || hit->site->attach != (__u32)(cookie >> 32) ||
	    !tls_is_target(bpf_get_current_task_btf(), &hit->site->layout.tls))
		return TLS_NOBODY;
	__sync_fetch_and_add(&hit->site->calls, 1);
	hit->key.ssl = ssl;
	hit->key.tgid = (__u32)(bpf_get_current_pid_tgid() >> 32);
	hit->key.number = 0;
	off_mask = bpf_map_lookup_elem(&off, &zero);
	return !off_mask || *off_mask || hit->site->off ? TLS_OFF : TLS_OURS;
}

/* Process ids are used again, these times are not. */
static __always_inline __u64 tls_process_ns(void)
{
	return bpf_get_current_task_btf()->group_leader->start_boottime;
}

#endif
