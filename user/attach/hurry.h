/* SPDX-License-Identifier: MIT */
/*
 * Attaching against time. A uprobe comes into force on a process that runs already only after a
 * grace period of the kernel, 5 to 30 ms, while a registry may answer its first request 15 ms after
 * its start. For the moment of attaching the kernel is asked for expedited grace periods, which
 * take less than a millisecond (/sys/kernel/rcu_expedited; Documentation/RCU). Where that file
 * can't be written attaching takes its time. Main thread.
 */
#ifndef PULLTAP_ATTACH_HURRY_H
#define PULLTAP_ATTACH_HURRY_H

#include "attach/kernel.h"

/* Opens the file while there are rights to. Without it the rest does nothing. */
void hurry_prepare(void);

/* Takes back what an agent that died meanwhile has left set. */
void hurry_recover(struct kernel *kernel);

void hurry_begin(struct kernel *kernel);
void hurry_end(struct kernel *kernel);

#endif
