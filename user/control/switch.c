/* SPDX-License-Identifier: MIT */
#include "control/switch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>

#include "attach/sites.h"
#include "base/log.h"
#include "control/switch_database.h"
#include "control/switch_file.h"
#include "control/switch_redis.h"

/* The mask is looked at this often, for what other processes wrote into it. */
#define LOOK_MS 200
/* The file is read this often, in case its folder can't be watched. */
#define FILE_S 1
/* While it is written anew it is empty for a moment, and each step is an event. */
#define FILE_PATIENCE 3

struct switchboard {
	struct kernel *kernel;
	struct switch_file *file;
	struct switch_database *database;
	struct switch_redis_source *redis;
	const char *file_path;
	time_t file_read_s;
	unsigned int file_failed; /* in a row */
	int epoll_fd, stop_fd, signal_fd, changed_fd;
	bool started;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below, and orders what is said */
	uint32_t mask; /* that was enforced last */
	uint32_t targets; /* a sum of what every target's off was */
	char registries[PT_REGISTRIES][64]; /* that are flagged off */
	unsigned int registries_count;
	bool off[PT_OFF_SOURCES]; /* what was logged last */
	struct switch_trouble trouble[PT_OFF_SOURCES];
};

static time_t now_s(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec;
}

static void raise_fd(int fd)
{
	uint64_t one = 1;

	/* can only fail when the counter is full, and then it has been told before */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

/* Words that are new since the last look, the agent's own sources' and others'. */
static void log_words(struct switchboard *board, uint32_t mask)
{
	char who[200];

	for (unsigned int i = 0; i < PT_OFF_SOURCES; i++) {
		const struct pt_word *word = &board->kernel->control->words[i];

		if (!!word->off == board->off[i])
			continue;
		board->off[i] = word->off;
		log_warn(word->off ? "switched off" : "switched on",
			 "source=%s who=%s counting=%s mask=%u", off_source_name(i),
			 log_quote(who, sizeof(who), word->who[!!word->off]), mask ? "no" : "yes",
			 mask);
	}
}

/* With the lock. */
static void enforce(struct switchboard *board)
{
	uint32_t mask = off_enforce(board->kernel);

	uint32_t targets = 0;

	for (int i = 0; i < PT_SITES; i++)
		targets = targets * 31 + board->kernel->sites[i].off;
	log_words(board, mask);
	if (mask == board->mask && targets == board->targets)
		return;
	board->mask = mask;
	board->targets = targets;
	raise_fd(board->changed_fd);
}

void switch_say(struct switchboard *board, enum off_source source, bool off, const char *who)
{
	struct switch_trouble *trouble = &board->trouble[source];

	pthread_mutex_lock(&board->lock);
	if (trouble->text[0])
		log_info("the switch's source is back", "source=%s", off_source_name(source));
	trouble->text[0] = 0;
	if (off_say(board->kernel, source, off, who))
		enforce(board);
	pthread_mutex_unlock(&board->lock);
}

void switch_fail(struct switchboard *board, enum off_source source, const char *text)
{
	struct switch_trouble *trouble = &board->trouble[source];
	char quoted[256];

	pthread_mutex_lock(&board->lock);
	if (!trouble->text[0]) {
		trouble->since_s = now_s(CLOCK_REALTIME);
		log_warn("the switch's source keeps its last word", "source=%s says=%s reason=%s",
			 off_source_name(source),
			 board->kernel->control->words[source].off ? "off" : "on",
			 log_quote(quoted, sizeof(quoted), text));
	}
	snprintf(trouble->text, sizeof(trouble->text), "%s", text);
	pthread_mutex_unlock(&board->lock);
}

static bool is_flagged(const struct switchboard *board, const char *name)
{
	for (unsigned int i = 0; i < board->registries_count; i++)
		if (!strncmp(board->registries[i], name, sizeof(board->registries[i]) - 1))
			return true;
	return false;
}

bool switch_registry_is_off(struct switchboard *board, const char *name)
{
	bool off;

	pthread_mutex_lock(&board->lock);
	off = is_flagged(board, name);
	pthread_mutex_unlock(&board->lock);
	return off;
}

void switch_say_registries(struct switchboard *board, const char *const *names, unsigned int count)
{
	struct kernel *kernel = board->kernel;
	char quoted[200];

	pthread_mutex_lock(&board->lock);
	board->registries_count = count;
	for (unsigned int i = 0; i < count; i++)
		snprintf(board->registries[i], sizeof(board->registries[i]), "%s", names[i]);
	for (uint32_t i = 0; i < PT_SITES; i++) {
		struct pt_site *site = &kernel->sites[i];
		struct pt_registry registry = {};
		bool off;

		if (!site->hook)
			continue;
		sites_registry(kernel, site->registry, &registry);
		off = is_flagged(board, registry.name);
		if (off != !!(site->off & PT_SITE_OFF_FLAG))
			log_warn(off ? "target switched off: its registry's flag says so"
				     : "target switched on: its registry's flag says so",
				 "site=%u registry=%s", i,
				 log_quote(quoted, sizeof(quoted), registry.name));
		off_site(kernel, i, PT_SITE_OFF_FLAG, off);
	}
	enforce(board);
	pthread_mutex_unlock(&board->lock);
}

/* What the last agent was told holds until the database answers. */
static void remember_registries(struct switchboard *board)
{
	for (int i = 0; i < PT_SITES; i++) {
		const struct pt_site *site = &board->kernel->sites[i];
		struct pt_registry registry = {};

		if (!site->hook || !(site->off & PT_SITE_OFF_FLAG))
			continue;
		sites_registry(board->kernel, site->registry, &registry);
		if (!is_flagged(board, registry.name) && board->registries_count < PT_REGISTRIES)
			snprintf(board->registries[board->registries_count++],
				 sizeof(board->registries[0]), "%s", registry.name);
	}
}

int switch_listen(struct switchboard *board, const char *conninfo, const char *node)
{
	return switch_database_new(&board->database, board, conninfo, node);
}

void switch_troubles(struct switchboard *board, struct switch_trouble ret[PT_OFF_SOURCES])
{
	pthread_mutex_lock(&board->lock);
	memcpy(ret, board->trouble, sizeof(board->trouble));
	pthread_mutex_unlock(&board->lock);
}

int switch_fd(const struct switchboard *board)
{
	return board->changed_fd;
}

uint32_t switch_changed(struct switchboard *board)
{
	uint64_t count;
	uint32_t mask;

	if (read(board->changed_fd, &count, sizeof(count)) < 0)
		count = 0; /* told already */
	pthread_mutex_lock(&board->lock);
	mask = board->mask;
	pthread_mutex_unlock(&board->lock);
	return mask;
}

static void read_signals(struct switchboard *board)
{
	struct signalfd_siginfo info;
	char who[64];

	while (read(board->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		snprintf(who, sizeof(who), "pid %u, uid %u", info.ssi_pid, info.ssi_uid);
		switch_say(board, OFF_SIGNAL, info.ssi_signo == SIGUSR1, who);
	}
}

static void read_file(struct switchboard *board)
{
	char trouble[160] = "";
	bool off;

	board->file_read_s = now_s(CLOCK_MONOTONIC);
	if (!switch_file_read(board->file, &off, trouble, sizeof(trouble))) {
		board->file_failed = 0;
		switch_say(board, OFF_FILE, off, board->file_path);
	} else if (++board->file_failed > FILE_PATIENCE) {
		switch_fail(board, OFF_FILE, trouble);
	}
}

static void *run_switch(void *context)
{
	struct switchboard *board = context;
	struct epoll_event events[4];

	for (;;) {
		int n = epoll_wait(board->epoll_fd, events, 4, LOOK_MS);
		bool file = board->file && now_s(CLOCK_MONOTONIC) - board->file_read_s >= FILE_S;

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == board->stop_fd)
				return NULL;
			if (events[i].data.fd == board->signal_fd)
				read_signals(board);
			else
				file = true;
		}
		if (file)
			read_file(board);
		pthread_mutex_lock(&board->lock);
		enforce(board);
		pthread_mutex_unlock(&board->lock);
	}
}

static int watch_fd(const struct switchboard *board, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(board->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_descriptors(struct switchboard *board)
{
	sigset_t signals;
	int rc;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	board->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	board->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	board->changed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	board->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (board->signal_fd < 0 || board->stop_fd < 0 || board->changed_fd < 0 ||
	    board->epoll_fd < 0)
		return -errno;
	rc = watch_fd(board, board->signal_fd);
	return rc ?: watch_fd(board, board->stop_fd);
}

static int open_file(struct switchboard *board, const char *path)
{
	int rc;

	if (!path) {
		switch_say(board, OFF_FILE, false, "no --switch-file any more");
		return 0;
	}
	board->file_path = path;
	rc = switch_file_new(&board->file, path);
	rc = rc ?: watch_fd(board, switch_file_fd(board->file));
	if (!rc)
		read_file(board); /* before the first probe is attached */
	return rc;
}

int switch_new(struct switchboard **ret, struct kernel *kernel,
	       const struct switch_options *options)
{
	_cleanup_(switch_free) struct switchboard *board = calloc(1, sizeof(*board));
	int rc;

	if (!board)
		return -ENOMEM;
	*board = (struct switchboard){
		.kernel = kernel,
		.epoll_fd = -1,
		.stop_fd = -1,
		.signal_fd = -1,
		.changed_fd = -1,
	};
	pthread_mutex_init(&board->lock, NULL);
	rc = open_descriptors(board);
	rc = rc ?: open_file(board, options->file);
	if (rc)
		return rc;
	remember_registries(board);
	if (options->redis)
		rc = switch_redis_new(&board->redis, board, options->redis);
	else
		switch_say(board, OFF_REDIS, false, "no --switch-redis any more");
	if (rc)
		return rc;
	pthread_mutex_lock(&board->lock);
	enforce(board);
	pthread_mutex_unlock(&board->lock);
	rc = -pthread_create(&board->thread, NULL, run_switch, board);
	if (rc)
		return rc;
	board->started = true;
	*ret = TAKE_PTR(board);
	return 0;
}

void switch_free(struct switchboard **ptr)
{
	struct switchboard *board = *ptr;

	if (!board)
		return;
	switch_database_free(&board->database);
	switch_redis_free(&board->redis);
	if (board->started) {
		raise_fd(board->stop_fd);
		pthread_join(board->thread, NULL);
	}
	switch_file_free(&board->file);
	cleanup_close(&board->epoll_fd);
	cleanup_close(&board->stop_fd);
	cleanup_close(&board->signal_fd);
	cleanup_close(&board->changed_fd);
	pthread_mutex_destroy(&board->lock);
	free(board);
	*ptr = NULL;
}
