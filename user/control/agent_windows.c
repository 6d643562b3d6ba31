/* SPDX-License-Identifier: MIT */
/* How a window ends: by its timer, by an early swap, by the switch, with the agent. */
#include "control/agent_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>

#include "attach/bpffs.h"
#include "attach/generation.h"
#include "attach/sites.h"
#include "control/takeover.h"
#include "window/drain.h"

/* How long the last windows may take to ship at the end. */
#define FLUSH_MS 10000

time_t agent_boot_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec;
}

/* Windows end at multiples of their length, so that days and hours end with one. */
int agent_arm_window(struct agent *agent)
{
	struct timespec now;
	struct itimerspec timer = {};
	int64_t length_ns = agent->options->window_s * 1000000000ll, left;

	clock_gettime(CLOCK_REALTIME, &now);
	left = length_ns - (now.tv_sec * 1000000000ll + now.tv_nsec) % length_ns;
	timer.it_value.tv_sec = left / 1000000000;
	timer.it_value.tv_nsec = left % 1000000000;
	return timerfd_settime(agent->window_fd, 0, &timer, NULL) ? -errno : 0;
}

/* Says at once and then once in a while that windows can't be written, and when they can again. */
void agent_report_drain(struct agent *agent, int rc)
{
	uint64_t suppressed;

	if (!rc) {
		if (agent->status.drain_error)
			log_info("windows are written again", "spool=%s", spool_path(agent->spool));
		agent->status.drain_error = NULL;
		agent->drain_gate = (struct log_gate){};
		return;
	}
	snprintf(agent->drain_error, sizeof(agent->drain_error), "%s", strerror(-rc));
	agent->status.drain_error = agent->drain_error;
	if (log_gate_open(&agent->drain_gate, 30, &suppressed))
		log_error("a window can't be written, its counts stay in the kernel",
			  "spool=%s error=\"%s\" suppressed=%llu", spool_path(agent->spool),
			  strerror(-rc), (unsigned long long)suppressed);
}

/* What other sets still hold comes before our own windows. */
int agent_finish_others(struct agent *agent)
{
	struct drain_result result = {};
	int rc;

	if (agent->others_finished)
		return 0;
	rc = takeover_finish(agent->kernel->path, agent->kernel, agent->spool, &result);
	if (result.swapped)
		books_add(&agent->status.books, &result);
	agent->others_finished = !rc;
	return rc;
}

void agent_drain(struct agent *agent, bool force)
{
	struct drain_result result = {};
	int rc = agent_finish_others(agent);

	rc = rc ?: drain_window(agent->kernel, agent->spool, force, &result);
	agent_report_drain(agent, rc);
	/* also when just the window that was left over could be written */
	if (!result.swapped)
		return;
	agent->last_swap_s = agent_boot_s();
	agent->status.windows++;
	agent->status.last_sequence = result.sequence;
	agent->status.last_keys = result.keys;
	agent->status.last_drain_us = result.took_us;
	agent->status.last_drain_s = time(NULL);
	books_add(&agent->status.books, &result);
	log_debug("window drained", "sequence=%llu keys=%llu seen=%llu took_us=%llu",
		  (unsigned long long)result.sequence, (unsigned long long)result.keys,
		  (unsigned long long)result.ledger[LEDGER_seen],
		  (unsigned long long)result.took_us);
	shipper_kick(agent->shipper);
}

/* Probes go first, then the last counts leave the kernel, then the maps go. */
int agent_close_kernel(struct agent *agent)
{
	struct drain_result result = {};
	int rc = 0;

	if (agent->remove)
		rc = sites_detach_all(agent->kernel);
	rc = rc ?: agent_finish_others(agent);
	rc = rc ?: drain_window(agent->kernel, agent->spool, agent->remove, &result);
	if (rc) {
		log_error("the last counts stay in the kernel", "error=\"%s\" pins=%s",
			  strerror(-rc), agent->options->bpffs);
		return rc;
	}
	if (result.swapped)
		books_add(&agent->status.books, &result);
	shipper_kick(agent->shipper);
	if (!shipper_flush(agent->shipper, FLUSH_MS))
		log_warn("windows are left in the spool for the next agent", "spool=%s",
			 spool_path(agent->spool));
	agent_write_status(agent);
	if (!agent->remove)
		return 0;
	generation_forget(agent->kernel->path);
	return bpffs_remove(agent->options->bpffs, agent->lock_fd);
}
