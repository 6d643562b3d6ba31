/* SPDX-License-Identifier: MIT */
/*
 * Proof that a probe is in force: the text of a process that runs or has loaded its file holds
 * another byte at the site than the file does, the kernel's breakpoint. Needs the right to read
 * other processes' memory (CAP_SYS_PTRACE), so it is done while an agent takes over and before it
 * drops its rights.
 */
#ifndef PULLTAP_ATTACH_TEXT_H
#define PULLTAP_ATTACH_TEXT_H

#include "attach/kernel.h"

/*
 * Looks at every process below proc. A probe that some process does not have is taken off with a
 * word in the log, so that follow_scan() attaches it anew; what can't be looked at proves nothing.
 * Returns the number of probes taken off.
 */
must_check int text_prove(struct kernel *kernel, const char *proc);

#endif
