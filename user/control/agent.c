/* SPDX-License-Identifier: MIT */
#include "control/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "attach/off.h"
#include "attach/sites.h"
#include "control/agent_parts.h"
#include "window/drain.h"

/* An empty window is closed all the same after this time: it says that the agent is alive. */
#define IDLE_WINDOW_S 60

static void on_window(struct agent *agent)
{
	uint64_t expirations;

	if (read(agent->window_fd, &expirations, sizeof(expirations)) < 0)
		return;
	agent_drain(agent, agent_boot_s() - agent->last_swap_s >= IDLE_WINDOW_S);
	if (agent_arm_window(agent))
		log_error("the window timer can't be set", "error=\"%s\"", strerror(errno));
}

/* Rule 7: a target whose canaries failed was switched off by its program; say so once. */
static void report_canaries(struct agent *agent)
{
	for (int i = 0; i < PT_SITES; i++) {
		const struct pt_site *site = &agent->kernel->sites[i];
		bool off = site->hook && site->off & PT_SITE_OFF_LAYOUT;

		if (off && !agent->site_off[i])
			log_error("target switched off: its layout is not the expected one",
				  "site=%d inode=%llu failures=%llu symbol=\"%s\"", i,
				  (unsigned long long)site->inode,
				  (unsigned long long)site->layout_failures, site->symbol);
		agent->site_off[i] = off;
	}
}

void agent_write_status(struct agent *agent)
{
	uint64_t suppressed;
	int rc;

	store_stats(agent->store, &agent->status.store);
	switch_troubles(agent->switchboard, agent->status.troubles);
	agent->status.guard = agent->guard;
	agent->status.topology = agent->topology;
	shipper_status(agent->shipper, &agent->status.shipper);
	agent->status.truths_count = reconcile_reports(agent->reconcile, agent->status.truths);
	rc = status_file_write(agent->options->state_dir, &agent->status);
	if (rc && log_gate_open(&agent->status_gate, 30, &suppressed))
		log_warn("the status file can't be written", "state_dir=%s error=\"%s\"",
			 agent->options->state_dir, strerror(-rc));
}

/* The private server may die like any other; its windows wait in the spool meanwhile. */
static void keep_embedded(struct agent *agent)
{
	if (!agent->uses_embedded || embedded_running(agent->options->state_dir))
		return;
	log_warn("the private database has ended, starting it again", "state_dir=%s",
		 agent->options->state_dir);
	embedded_stop(&agent->embedded);
	if (embedded_start(&agent->embedded, agent->options->state_dir))
		agent->embedded = NULL;
	shipper_kick(agent->shipper);
}

static void on_tick(struct agent *agent)
{
	uint64_t expirations;
	bool again;

	if (read(agent->tick_fd, &expirations, sizeof(expirations)) < 0)
		return;
	report_canaries(agent);
	again = guard_tick(agent->guard);
	again = follow_tick(agent->follow) || again;
	if (again)
		agent->rescan = true;
	if (agent->rescan || agent_boot_s() - agent->last_scan_s >= SCAN_S) {
		int rc = follow_scan(agent->follow);

		rc = rc < 0 ? rc : follow_retire(agent->follow);
		rc = rc < 0 ? rc : drain_expired_hints(agent->kernel);
		if (rc < 0)
			log_warn("periodic upkeep failed", "error=\"%s\"", strerror(-rc));
		keep_embedded(agent);
		agent->last_scan_s = agent_boot_s();
		agent->rescan = false;
	}
	topology_watch_tick(agent->topology);
	agent_write_status(agent);
	notify_tick(&agent->notify, &agent->status.shipper, shipper_silent_s(agent->shipper));
}

/*
 * Probes come back, and the window of the time without them ends. Where they had stayed, while no
 * agent ran, the last hit that found it off has told the end.
 */
static int resume(struct agent *agent)
{
	struct pt_control *control = agent->kernel->control;
	int attached = follow_scan(agent->follow);

	if (attached < 0 || *agent->kernel->off || !control->off.since_ns)
		return attached;
	if (attached || !control->off.until_ns)
		off_end(agent->kernel);
	agent_drain(agent, true);
	return attached;
}

/* A window ends where the switch is thrown, so that it is off as a whole or not at all. */
static void on_switch(struct agent *agent)
{
	uint32_t before = agent->off, mask = switch_changed(agent->switchboard);
	int rc;

	agent->off = mask;
	if (mask && mask != before) {
		agent_drain(agent, true);
		log_info("probes are removed, nothing is counted", "pins=%s mask=%u",
			 agent->options->bpffs, mask);
	}
	if (mask)
		return;
	if (before)
		agent->kernel->control->off.until_ns = 0; /* not over before they are back */
	rc = resume(agent); /* also of single targets */
	if (rc < 0)
		agent->rescan = true;
	if (before)
		log_info("counting again", "attached=%d", rc);
}

static void on_signal(struct agent *agent)
{
	struct signalfd_siginfo info;

	if (read(agent->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		policy_reload(agent->options, agent->kernel);
		return;
	}
	agent->ended = true;
	agent->remove = info.ssi_signo == SIGINT;
	notify_stopping();
	log_info("stopping", "signal=%s probes=%s", agent->remove ? "SIGINT" : "SIGTERM",
		 agent->remove ? "removed" : "kept");
}

/* Without it no registry that starts later is counted: end, so that whoever watches starts anew. */
static void on_helper_end(struct agent *agent)
{
	log_error("the helper process has ended, so does the agent; probes stay", "pins=%s",
		  agent->options->bpffs);
	agent->ended = agent->failed = true;
}

static void loop(struct agent *agent)
{
	struct epoll_event events[8];

	while (!agent->ended) {
		int n = epoll_wait(agent->epoll_fd, events, 8, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == agent->window_fd)
				on_window(agent);
			else if (fd == agent->tick_fd)
				on_tick(agent);
			else if (fd == agent->signal_fd)
				on_signal(agent);
			else if (fd == agent->helper_fd)
				on_helper_end(agent);
			else if (fd == switch_fd(agent->switchboard))
				on_switch(agent);
			else if (fd == follow_fd(agent->follow))
				follow_ready(agent->follow);
			else if (ring_buffer__consume(agent->events) < 0)
				agent->rescan = true;
		}
		if (agent->swap_asked) {
			agent->swap_asked = false;
			agent->status.early_swaps++;
			agent_drain(agent, true);
		}
	}
}

int agent_run(const struct options *options)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	int rc;

	if (!agent)
		return 1;
	*agent = (struct agent){
		.options = options,
		.lock_fd = -1,
		.epoll_fd = -1,
		.signal_fd = -1,
		.window_fd = -1,
		.tick_fd = -1,
		.helper_fd = -1,
		.last_swap_s = agent_boot_s(),
		.last_scan_s = agent_boot_s(),
	};
	if (options->node)
		snprintf(agent->node, sizeof(agent->node), "%s", options->node);
	else if (gethostname(agent->node, sizeof(agent->node) - 1))
		snprintf(agent->node, sizeof(agent->node), "unknown");
	agent->status.version = PULLTAP_VERSION;
	agent->status.node = agent->node;
	agent->status.started_s = time(NULL);
	agent->status.window_s = options->window_s;
	rc = agent_open(agent);
	if (!rc) {
		rc = resume(agent);
		rc = rc < 0 ? rc : agent_arm_window(agent);
	}
	if (!rc) {
		follow_report_missing(agent->follow);
		log_info("ready", "version=%s node=%s window_s=%u pins=%s", PULLTAP_VERSION,
			 agent->node, options->window_s, options->bpffs);
		agent_write_status(agent);
		notify_ready();
		loop(agent);
		rc = agent_close_kernel(agent) ?: agent->failed;
	} else {
		log_error("the agent could not start", "error=\"%s\"", strerror(-rc));
	}
	agent_close(agent);
	free(agent);
	return rc ? 1 : 0;
}
