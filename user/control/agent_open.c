/* SPDX-License-Identifier: MIT */
/* How the agent comes up, and how it goes down. */
#include "control/agent_parts.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "attach/bpffs.h"
#include "attach/hurry.h"
#include "attach/learn.h"
#include "control/privileges.h"
#include "control/takeover.h"
#include "store/schema.h"

static int watch_fd(struct agent *agent, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(agent->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_loop(struct agent *agent)
{
	struct itimerspec tick = {.it_interval.tv_sec = 1, .it_value.tv_sec = 1};
	sigset_t signals, blocked;
	int rc;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
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

static int on_event(void *context, void *data, size_t size)
{
	struct agent *agent = context;
	const struct pt_event *event = data;

	if (size < sizeof(*event))
		return 0;
	if (event->type == PT_EVENT_SWAP)
		agent->swap_asked = true;
	else if (event->type == PT_EVENT_SAMPLE)
		learn_request(agent->kernel, agent->follow, data, size);
	else if (event->type == PT_EVENT_EXEC &&
		 follow_process(agent->follow, (pid_t)event->value) < 0)
		agent->rescan = true;
	return 0;
}

static int open_follow(struct agent *agent)
{
	const struct options *options = agent->options;
	struct follow_options follow = {
		.targets = options->targets.items,
		.targets_count = options->targets.count,
		.registry = options->registry,
		.discover = options->discover,
		.count_at = options->count_at.items,
		.count_at_count = options->count_at.count,
		.is_off = registry_is_off,
		.context = agent,
	};
	int rc = follow_new(&agent->follow, agent->kernel, &follow);

	rc = rc ?: guard_new(&agent->guard, agent->kernel, agent->follow, options->guard_budget);
	rc = rc
		     ?: topology_watch_new(&agent->topology, agent->kernel, agent->follow,
					   options->proxies.items, options->proxies.count);
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
	int rc = takeover_kernel(options, &agent->policy, agent->spool, agent->lock_fd,
				 &agent->kernel);

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

int agent_open(struct agent *agent)
{
	const struct options *options = agent->options;
	int rc = reconcile_new(&agent->reconcile, options->reconcile.items,
			       options->reconcile.count, options->state_dir);

	rc = rc ?: policy_read(&agent->policy, options);
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
		agent_report_drain(agent, agent_finish_others(agent));
		rc = reconcile_start(agent->reconcile, agent->kernel);
	}
	if (!rc)
		privileges_seal(agent->uses_embedded);
	return rc;
}

void agent_close(struct agent *agent)
{
	if (agent->kernel)
		agent->kernel->control->agent_pid = 0;
	reconcile_free(&agent->reconcile);
	shipper_free(&agent->shipper);
	store_free(&agent->store);
	ring_buffer__free(agent->events);
	topology_watch_free(&agent->topology);
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
