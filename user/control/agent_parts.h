/* SPDX-License-Identifier: MIT */
/*
 * What the agent's own files share: agent.c (the loop and what its events do), agent_open.c (how
 * it comes up and goes down) and agent_windows.c (how a window ends). Nobody else includes this.
 */
#ifndef PULLTAP_CONTROL_AGENT_PARTS_H
#define PULLTAP_CONTROL_AGENT_PARTS_H

#include <stdbool.h>
#include <time.h>

#include <bpf/libbpf.h>

#include "attach/follow.h"
#include "attach/kernel.h"
#include "base/log.h"
#include "cli/options.h"
#include "control/guard.h"
#include "control/notify.h"
#include "control/policy.h"
#include "control/reconcile.h"
#include "control/status_file.h"
#include "control/switch.h"
#include "control/topology_watch.h"
#include "store/embedded.h"
#include "store/shipper.h"
#include "window/spool.h"

/* Every process is looked at this often, in case an exec was missed. */
#define SCAN_S 30

struct agent {
	const struct options *options;
	struct kernel *kernel;
	struct spool *spool;
	struct store *store;
	struct shipper *shipper;
	struct follow *follow;
	struct switchboard *switchboard;
	struct reconcile *reconcile;
	struct guard *guard;
	struct topology_watch *topology;
	struct embedded *embedded;
	struct ring_buffer *events;
	int lock_fd, epoll_fd, signal_fd, window_fd, tick_fd, helper_fd;
	bool ended, failed, remove, swap_asked, rescan, uses_embedded, others_finished;
	char node[65];
	char drain_error[128];
	time_t last_swap_s, last_scan_s;
	uint32_t off; /* the switch's mask, as windows were closed for it */
	bool site_off[PT_SITES]; /* failed canaries that were reported */
	struct log_gate drain_gate, status_gate;
	struct notify notify;
	struct policy policy; /* at the start */
	struct agent_status status;
};

time_t agent_boot_s(void); /* seconds since the machine's start, suspend included */

/* Everything the loop needs, in the order of rights: the last steps have few. */
must_check int agent_open(struct agent *agent);
void agent_close(struct agent *agent);

/* Sets the timer of the window in use. */
must_check int agent_arm_window(struct agent *agent);
/* Takes the window in use, even an empty one with force; a failure is reported and tried again. */
void agent_drain(struct agent *agent, bool force);
/* What other sets still hold comes before our own windows. */
must_check int agent_finish_others(struct agent *agent);
void agent_report_drain(struct agent *agent, int rc);
void agent_write_status(struct agent *agent);
/* The last window, and on removal the probes before it and the maps after it. */
must_check int agent_close_kernel(struct agent *agent);

#endif
