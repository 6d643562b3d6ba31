/* SPDX-License-Identifier: MIT */
/*
 * One uprobe on one instruction of a file, for every process that runs it now or later.
 */
#ifndef PULLTAP_ATTACH_UPROBE_H
#define PULLTAP_ATTACH_UPROBE_H

#include <stdint.h>

#include "base/cleanup.h"

/*
 * Attaches program_fd to the instruction at file_offset of the open file. Returns a link's
 * descriptor: the probe goes when the last reference (descriptor or pin) does. The program reads
 * cookie with bpf_get_attach_cookie(). Errors: -EPERM, -ENOENT no uprobes in this kernel,
 * -EINVAL no instruction there, -EIO the file system can't be probed.
 */
must_check int uprobe_attach(int program_fd, int file_fd, uint64_t file_offset, uint64_t cookie);

/*
 * The event alone, attached to nothing yet: a descriptor, -EACCES where the kernel wants more
 * rights for it. A path that does not exist asks for the rights and leaves no trace.
 */
must_check int uprobe_event(const char *path, uint64_t file_offset);

#endif
