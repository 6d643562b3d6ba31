/* SPDX-License-Identifier: MIT */
/*
 * The agent: adopts or loads the kernel side, follows registries, drains a window at every tick and
 * wakes the shipper. One thread and one epoll loop; the shipper has its own.
 */
#ifndef PULLTAP_CONTROL_AGENT_H
#define PULLTAP_CONTROL_AGENT_H

#include "cli/options.h"

/*
 * Runs until SIGINT (last window shipped, probes and maps removed) or SIGTERM (last window
 * shipped, probes left counting for the next agent); SIGHUP reads the rules again. Returns a
 * process exit status; everything that went wrong has been said on standard error.
 */
must_check int agent_run(const struct options *options);

#endif
