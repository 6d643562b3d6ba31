/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Whose call of a library this is: a probe in OpenSSL fires in every process that uses the file.
 */
#ifndef PULLTAP_TLS_PROCESS_H
#define PULLTAP_TLS_PROCESS_H

#include "maps.h"

static __always_inline bool tls_is_target(const struct pt_tls_layout *layout)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *exe;
	struct inode *inode;

	if (!task->mm)
		return false;
	exe = task->mm->exe_file;
	if (!exe)
		return false;
	inode = exe->f_inode;
	return inode->i_ino == layout->exe_inode &&
	       (!layout->exe_device || inode->i_sb->s_dev == layout->exe_device);
}

/* The site of this hit, NULL when it is none of ours. */
static __always_inline struct pt_site *tls_site(void *ctx)
{
	__u32 index = (__u32)bpf_get_attach_cookie(ctx);
	struct pt_site *site = bpf_map_lookup_elem(&sites, &index);

	return site && tls_is_target(&site->layout.tls) ? site : NULL;
}

#endif
