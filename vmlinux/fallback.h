/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The kernel types that bpf/ names, for build hosts without BTF. Field names follow the kernel's
 * (UAPI linux/bpf.h and arch/x86/include/asm/ptrace.h); offsets of the relocated ones do not
 * matter, libbpf fixes them on the node.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
enum { false = 0, true = 1 };

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};

enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_LOCAL_STORAGE_GET_F_CREATE = 1 };
enum { BPF_F_NO_PREALLOC = 1, BPF_F_MMAPABLE = 1024 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0 };

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip,
		cs, flags, sp, ss;
};

/* What the kernel lays out as it likes: libbpf puts in the offsets of the node. */
#define PT_RELOCATED __attribute__((preserve_access_index))
struct super_block {
	__u32 s_dev;
} PT_RELOCATED;

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
} PT_RELOCATED;

struct file {
	struct inode *f_inode;
} PT_RELOCATED;

struct mm_struct {
	struct file *exe_file;
} PT_RELOCATED;

struct task_struct {
	struct mm_struct *mm;
	struct task_struct *group_leader;
	__u64 start_boottime;
} PT_RELOCATED;

struct bpf_raw_tracepoint_args {
	__u64 args[0];
};

#endif
