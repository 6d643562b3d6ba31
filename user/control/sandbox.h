/* SPDX-License-Identifier: MIT */
/*
 * What may still be asked of the kernel once an agent counts: lists of system calls, everything
 * else answers EPERM. Filters can't be taken back and hold for every thread and child.
 */
#ifndef PULLTAP_CONTROL_SANDBOX_H
#define PULLTAP_CONTROL_SANDBOX_H

#include "base/cleanup.h"

/*
 * For the agent: its spool, its database, reading and pinning what its maps hold. No new program,
 * map or process. For all threads. -errno where the kernel has no filters.
 */
must_check int sandbox_agent(void);

/* For the helper: opening for reading, attaching, answering. */
must_check int sandbox_helper(void);

#endif
