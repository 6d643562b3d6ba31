/* SPDX-License-Identifier: MIT */
/*
 * Opens and closes what follow.c works with, and reads the options that say what to follow.
 */
#include "attach/follow_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

void follow_free(struct follow **follow)
{
	struct follow *f = *follow;

	if (!f)
		return;
	catalog_free(&f->catalog);
	catalog_free(&f->libraries);
	linger_free(&f->linger);
	replaced_free(&f->replaced);
	if (f->proc >= 0)
		close(f->proc);
	if (f->ready_fd >= 0)
		close(f->ready_fd);
	free(f->targets);
	free(f->matched);
	free(f);
	*follow = NULL;
}

static int parse_targets(struct follow *follow, const struct follow_options *options)
{
	char message[256];

	for (unsigned int i = 0; i < options->targets_count; i++) {
		if (!target_parse(options->targets[i], &follow->targets[i], message,
				  sizeof(message))) {
			follow->has_openssl |= follow->targets[i].way == WAY_OPENSSL;
			continue;
		}
		fprintf(stderr, "pulltap: --target %s: %s\n", options->targets[i], message);
		return -EINVAL;
	}
	return 0;
}

static int parse_count_at(struct follow *follow, const struct follow_options *options)
{
	_cleanup_free_ const char **names = calloc(follow->targets_count + 1, sizeof(*names));
	unsigned int count = follow->targets_count;
	enum count_where where;
	char message[256];

	if (!names)
		return -ENOMEM;
	for (unsigned int i = 0; i < count; i++)
		names[i] = follow->targets[i].name;
	if (follow->registry)
		names[count++] = follow->registry;
	if (count_at_parse(options->count_at, options->count_at_count, names, count, &where,
			   message, sizeof(message))) {
		fprintf(stderr, "pulltap: --count-at: %s\n", message);
		return -EINVAL;
	}
	count_at_init(&follow->count_at, follow->kernel, where, options->count_at,
		      options->count_at_count);
	return 0;
}

/* One descriptor for both that something may come from by itself. */
static int open_ready(struct follow *follow)
{
	const int fds[] = {replaced_fd(follow->replaced), linger_fd(follow->linger)};

	follow->ready_fd = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned int i = 0; follow->ready_fd >= 0 && i < sizeof(fds) / sizeof(*fds); i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};

		if (epoll_ctl(follow->ready_fd, EPOLL_CTL_ADD, fds[i], &event))
			return -errno;
	}
	return follow->ready_fd < 0 ? -errno : 0;
}

int follow_new(struct follow **ret, struct kernel *kernel, const struct follow_options *options)
{
	_cleanup_(follow_free) struct follow *follow = calloc(1, sizeof(*follow));
	int rc;

	if (!follow)
		return -ENOMEM;
	*follow = (struct follow){
		.kernel = kernel,
		.proc = -1,
		.ready_fd = -1,
		.discover = options->discover,
		.registry = options->registry,
		.is_off = options->is_off,
		.context = options->context,
		.targets_count = options->targets_count,
	};
	follow->targets = calloc(options->targets_count + 1, sizeof(*follow->targets));
	follow->matched = calloc(options->targets_count + 1, sizeof(*follow->matched));
	if (!follow->targets || !follow->matched)
		return -ENOMEM;
	rc = parse_targets(follow, options);
	rc = rc ?: parse_count_at(follow, options);
	rc = rc ?: catalog_new(&follow->catalog, binary_inspect);
	rc = rc ?: catalog_new(&follow->libraries, binary_inspect_openssl);
	rc = rc ?: replaced_new(&follow->replaced);
	rc = rc ?: linger_new(&follow->linger);
	rc = rc ?: open_ready(follow);
	rc = rc ?: process_open_proc("/proc", &follow->proc);
	if (rc)
		return rc;
	*ret = TAKE_PTR(follow);
	return 0;
}
