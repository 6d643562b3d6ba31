/* SPDX-License-Identifier: MIT */
#include "attach/linger.h"

#include <errno.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define SHORTEST_NS 10000000ull
/* A pause is this part of the time waited so far. */
#define PART 8

struct waiting {
	pid_t pid; /* 0: none */
	uint64_t since_ns, next_ns;
};

struct linger {
	int fd;
	struct waiting processes[LINGER_PROCESSES];
	struct waiting taken; /* by linger_next() last */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

int linger_new(struct linger **ret)
{
	struct linger *linger = calloc(1, sizeof(*linger));

	if (!linger)
		return -ENOMEM;
	linger->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (linger->fd < 0) {
		free(linger);
		return -errno;
	}
	*ret = linger;
	return 0;
}

void linger_free(struct linger **linger)
{
	if (!*linger)
		return;
	close((*linger)->fd);
	free(*linger);
	*linger = NULL;
}

int linger_fd(const struct linger *linger)
{
	return linger->fd;
}

/* The timer for the first that is due; with nobody waiting it stands still. */
static void arm(const struct linger *linger)
{
	struct itimerspec when = {0};
	uint64_t first = 0;

	for (unsigned int i = 0; i < LINGER_PROCESSES; i++) {
		const struct waiting *waiting = &linger->processes[i];

		if (waiting->pid && (!first || waiting->next_ns < first))
			first = waiting->next_ns;
	}
	when.it_value.tv_sec = (time_t)(first / NS_PER_S);
	when.it_value.tv_nsec = (long)(first % NS_PER_S);
	if (timerfd_settime(linger->fd, TFD_TIMER_ABSTIME, &when, NULL))
		return; /* the scan of all processes comes to it */
}

bool linger_add(struct linger *linger, pid_t pid)
{
	uint64_t now = now_ns(), pause;
	struct waiting entry = {.pid = pid, .since_ns = now}, *place = NULL;

	for (unsigned int i = 0; i < LINGER_PROCESSES; i++) {
		struct waiting *waiting = &linger->processes[i];

		if (waiting->pid == pid)
			return true; /* it has its time */
		if (!waiting->pid)
			place = waiting;
	}
	if (linger->taken.pid == pid)
		entry.since_ns = linger->taken.since_ns;
	if (now - entry.since_ns >= LINGER_S * NS_PER_S)
		return false;
	pause = (now - entry.since_ns) / PART;
	entry.next_ns = now + (pause > SHORTEST_NS ? pause : SHORTEST_NS);
	if (place)
		*place = entry;
	arm(linger);
	return true;
}

pid_t linger_next(struct linger *linger)
{
	uint64_t expirations, now = now_ns();

	if (read(linger->fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		return 0;
	for (unsigned int i = 0; i < LINGER_PROCESSES; i++) {
		struct waiting *waiting = &linger->processes[i];

		if (!waiting->pid || waiting->next_ns > now)
			continue;
		linger->taken = *waiting;
		waiting->pid = 0;
		return linger->taken.pid;
	}
	linger->taken.pid = 0;
	arm(linger);
	return 0;
}
