/* SPDX-License-Identifier: MIT */
#include "control/agent.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <signal.h>
#include <time.h>

#include "attach/bpffs.h"
#include "attach/follow.h"
#include "attach/generation.h"
#include "attach/hurry.h"
#include "attach/kernel.h"
#include "attach/off.h"
#include "attach/sites.h"
#include "base/log.h"
#include "control/guard.h"
#include "control/notify.h"
#include "control/privileges.h"
#include "control/reconcile.h"
#include "control/status_file.h"
#include "control/switch.h"
#include "control/takeover.h"
#include "store/embedded.h"
#include "store/schema.h"
#include "store/shipper.h"
#include "window/drain.h"

/* Every process is looked at this often, in case an exec was missed. */
#define SCAN_S 30
/* An empty window is closed all the same after this time: it says that the agent is alive. */
#define IDLE_WINDOW_S 60
/* How long the last windows may take to ship at the end. */
#define FLUSH_MS 10000

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
	struct agent_status status;
};

static time_t boot_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec;
}

/* Windows end at multiples of their length, so that days and hours end with one. */
static int arm_window(struct agent *agent)
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

static int watch_fd(struct agent *agent, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(agent->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int on_event(void *context, void *data, size_t size)
{
	struct agent *agent = context;
	const struct pt_event *event = data;

	if (size < sizeof(*event))
		return 0;
	if (event->type == PT_EVENT_SWAP)
		agent->swap_asked = true;
	else if (event->type == PT_EVENT_EXEC &&
		 follow_process(agent->follow, (pid_t)event->value) < 0)
		agent->rescan = true;
	return 0;
}

static int open_loop(struct agent *agent)
{
	struct itimerspec tick = {.it_interval.tv_sec = 1, .it_value.tv_sec = 1};
	sigset_t signals, blocked;
	int rc;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	/* a reader of our log that goes away must not end the counting */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	/* before any thread starts: they inherit the mask. The last two are the kill switch's. */
	blocked = signals;
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGUSR2);
	if (sigprocmask(SIG_BLOCK, &blocked, NULL))
		return -errno;
	agent->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	agent->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	agent->window_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	agent->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (agent->signal_fd < 0 || agent->epoll_fd < 0 || agent->window_fd < 0 ||
	    agent->tick_fd < 0 || timerfd_settime(agent->tick_fd, 0, &tick, NULL))
		return -errno;
	rc = watch_fd(agent, agent->signal_fd);
	rc = rc ?: watch_fd(agent, agent->window_fd);
	return rc ?: watch_fd(agent, agent->tick_fd);
}

static int open_database(struct agent *agent)
{
	const struct options *options = agent->options;
	char buffer[1024], message[256];
	bool embedded;
	struct store_options store = {.node = agent->node, .version = PULLTAP_VERSION};
	int rc = 0;

	store.conninfo = embedded_or(options->database, options->state_dir, buffer, sizeof(buffer),
				     &embedded);
	rc = store_check_conninfo(store.conninfo, message, sizeof(message));
	if (rc) {
		fprintf(stderr, "pulltap: --database: %s\n", message);
		return rc;
	}
	agent->uses_embedded = embedded;
	if (embedded) {
		log_info("starting the embedded PostgreSQL", "state_dir=%s", options->state_dir);
		rc = embedded_start(&agent->embedded, options->state_dir);
		rc = rc ?: schema_migrate(store.conninfo, true);
	}
	if (rc) {
		fprintf(stderr,
			"pulltap: the embedded PostgreSQL is of no use: %s; --database takes "
			"a server of your own\n",
			strerror(-rc));
		return rc;
	}
	rc = store_new(&agent->store, &store);
	rc = rc ?: switch_listen(agent->switchboard, store.conninfo, agent->node);
	return rc
		       ?: shipper_new(&agent->shipper, agent->spool, agent->store,
				      (uint64_t)options->spool_limit_mib << 20);
}

static int open_spool(struct agent *agent)
{
	const char *state_dir = agent->options->state_dir;
	char path[PATH_MAX];
	int rc;

	if (mkdir(state_dir, 0755) && errno != EEXIST) {
		rc = -errno;
		fprintf(stderr, "pulltap: --state-dir %s: %s\n", state_dir, strerror(-rc));
		return rc;
	}
	snprintf(path, sizeof(path), "%s/spool", state_dir);
	rc = spool_new(&agent->spool, path);
	if (rc == -EUCLEAN)
		fprintf(stderr,
			"pulltap: %s/agent or %s/sequence is damaged; move the folder away to "
			"start "
			"a new stream, its *.win files can be put into the new one\n",
			path, path);
	else if (rc)
		fprintf(stderr, "pulltap: spool %s: %s\n", path, strerror(-rc));
	return rc;
}

/* Before the first probe: what was said while no agent ran holds from the start. */
static int open_switch(struct agent *agent)
{
	struct switch_options options = {
		.file = agent->options->switch_file,
		.redis = agent->options->switch_redis,
	};
	int rc = switch_new(&agent->switchboard, agent->kernel, &options);

	return rc ?: watch_fd(agent, switch_fd(agent->switchboard));
}

static bool registry_is_off(void *context, const char *registry)
{
	struct agent *agent = context;

	return switch_registry_is_off(agent->switchboard, registry);
}

static int open_follow(struct agent *agent)
{
	const struct options *options = agent->options;
	struct follow_options follow = {
		.targets = options->targets.items,
		.targets_count = options->targets.count,
		.registry = options->registry,
		.discover = options->discover,
		.is_off = registry_is_off,
		.context = agent,
	};
	int rc = follow_new(&agent->follow, agent->kernel, &follow);

	rc = rc ?: guard_new(&agent->guard, agent->kernel, agent->follow, options->guard_budget);
	if (rc)
		return rc;
	agent->events = ring_buffer__new(agent->kernel->events_fd, on_event, agent, NULL);
	if (!agent->events)
		return -errno;
	rc = watch_fd(agent, ring_buffer__epoll_fd(agent->events));
	return rc ?: watch_fd(agent, follow_fd(agent->follow));
}

/* Everything that needs rights happens here, with one thread; see privileges.h. */
static int open_kernel(struct agent *agent)
{
	const struct options *options = agent->options;
	int rc = takeover_kernel(options, agent->spool, agent->lock_fd, &agent->kernel);

	if (rc) {
		bpffs_tidy(options->bpffs, agent->lock_fd);
		return rc;
	}
	rc = kernel_watch_execs(agent->kernel);
	if (rc)
		log_warn("new processes are found by scanning only", "error=\"%s\" every_s=%d",
			 strerror(-rc), SCAN_S);
	rc = privileges_drop(&agent->helper_fd);
	return rc || agent->helper_fd < 0 ? rc : watch_fd(agent, agent->helper_fd);
}

/* Says at once and then once in a while that windows can't be written, and when they can again. */
static void report_drain(struct agent *agent, int rc)
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
static int finish_others(struct agent *agent)
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

static void drain(struct agent *agent, bool force)
{
	struct drain_result result = {};
	int rc = finish_others(agent);

	rc = rc ?: drain_window(agent->kernel, agent->spool, force, &result);
	report_drain(agent, rc);
	/* also when just the window that was left over could be written */
	if (!result.swapped)
		return;
	agent->last_swap_s = boot_s();
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

static void on_window(struct agent *agent)
{
	uint64_t expirations;

	if (read(agent->window_fd, &expirations, sizeof(expirations)) < 0)
		return;
	drain(agent, boot_s() - agent->last_swap_s >= IDLE_WINDOW_S);
	if (arm_window(agent))
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

static void write_status(struct agent *agent)
{
	uint64_t suppressed;
	int rc;

	store_stats(agent->store, &agent->status.store);
	switch_troubles(agent->switchboard, agent->status.troubles);
	agent->status.guard = agent->guard;
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

	if (read(agent->tick_fd, &expirations, sizeof(expirations)) < 0)
		return;
	report_canaries(agent);
	if (guard_tick(agent->guard))
		agent->rescan = true;
	if (agent->rescan || boot_s() - agent->last_scan_s >= SCAN_S) {
		int rc = follow_scan(agent->follow);

		rc = rc < 0 ? rc : follow_retire(agent->follow);
		rc = rc < 0 ? rc : drain_expired_hints(agent->kernel);
		if (rc < 0)
			log_warn("periodic upkeep failed", "error=\"%s\"", strerror(-rc));
		keep_embedded(agent);
		agent->last_scan_s = boot_s();
		agent->rescan = false;
	}
	write_status(agent);
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
	drain(agent, true);
	return attached;
}

/* A window ends where the switch is thrown, so that it is off as a whole or not at all. */
static void on_switch(struct agent *agent)
{
	uint32_t before = agent->off, mask = switch_changed(agent->switchboard);
	int rc;

	agent->off = mask;
	if (mask && mask != before) {
		drain(agent, true);
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
				follow_replaced(agent->follow);
			else if (ring_buffer__consume(agent->events) < 0)
				agent->rescan = true;
		}
		if (agent->swap_asked) {
			agent->swap_asked = false;
			agent->status.early_swaps++;
			drain(agent, true);
		}
	}
}

static int open_all(struct agent *agent)
{
	const struct options *options = agent->options;
	int rc = reconcile_new(&agent->reconcile, options->reconcile.items,
			       options->reconcile.count, options->state_dir);

	rc = rc ?: open_loop(agent);
	rc = rc ?: takeover_lock(agent->options->bpffs, &agent->lock_fd);
	hurry_prepare();
	rc = rc ?: privileges_become_user(agent->options, agent->lock_fd);
	rc = rc ?: open_spool(agent);
	rc = rc ?: open_kernel(agent);
	rc = rc ?: open_switch(agent);
	rc = rc ?: open_database(agent);
	rc = rc ?: open_follow(agent);
	if (!rc) {
		report_drain(agent, finish_others(agent));
		rc = reconcile_start(agent->reconcile, agent->kernel);
	}
	if (!rc)
		privileges_seal(agent->uses_embedded);
	return rc;
}

/* Probes go first, then the last counts leave the kernel, then the maps go. */
static int close_kernel(struct agent *agent)
{
	struct drain_result result = {};
	int rc = 0;

	if (agent->remove)
		rc = sites_detach_all(agent->kernel);
	rc = rc ?: finish_others(agent);
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
	write_status(agent);
	if (!agent->remove)
		return 0;
	generation_forget(agent->kernel->path);
	return bpffs_remove(agent->options->bpffs, agent->lock_fd);
}

static void close_all(struct agent *agent)
{
	if (agent->kernel)
		agent->kernel->control->agent_pid = 0;
	reconcile_free(&agent->reconcile);
	shipper_free(&agent->shipper);
	store_free(&agent->store);
	ring_buffer__free(agent->events);
	guard_free(&agent->guard);
	follow_free(&agent->follow);
	switch_free(&agent->switchboard);
	kernel_free(&agent->kernel);
	spool_free(&agent->spool);
	embedded_stop(&agent->embedded);
	for (int i = 0; i < 6; i++) {
		const int fds[] = {agent->lock_fd,   agent->epoll_fd, agent->signal_fd,
				   agent->window_fd, agent->tick_fd,  agent->helper_fd};

		if (fds[i] >= 0)
			close(fds[i]);
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
		.last_swap_s = boot_s(),
		.last_scan_s = boot_s(),
	};
	if (options->node)
		snprintf(agent->node, sizeof(agent->node), "%s", options->node);
	else if (gethostname(agent->node, sizeof(agent->node) - 1))
		snprintf(agent->node, sizeof(agent->node), "unknown");
	agent->status.version = PULLTAP_VERSION;
	agent->status.node = agent->node;
	agent->status.started_s = time(NULL);
	agent->status.window_s = options->window_s;
	rc = open_all(agent);
	if (!rc) {
		rc = resume(agent);
		rc = rc < 0 ? rc : arm_window(agent);
	}
	if (!rc) {
		follow_report_missing(agent->follow);
		log_info("ready", "version=%s node=%s window_s=%u pins=%s", PULLTAP_VERSION,
			 agent->node, options->window_s, options->bpffs);
		write_status(agent);
		notify_ready();
		loop(agent);
		rc = close_kernel(agent) ?: agent->failed;
	} else {
		log_error("the agent could not start", "error=\"%s\"", strerror(-rc));
	}
	close_all(agent);
	free(agent);
	return rc ? 1 : 0;
}
