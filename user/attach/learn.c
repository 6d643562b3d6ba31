/* SPDX-License-Identifier: MIT */
#include "attach/learn.h"

#include <string.h>
#include <time.h>

#include "base/log.h"
#include "discover/nginx_learn.h"
#include "discover/process.h"

/* Requests are of all sorts, and not each tells: one that failed, or with another method. */
#define SAMPLES_MAX 1000
#define RUNNERS 16

/* A descriptor of the site's file, through one of the processes that run it; or -1. */
static int open_file(const struct follow *follow, const struct pt_site *site)
{
	_cleanup_close_ int proc = -1;
	pid_t pids[RUNNERS];
	unsigned int count = follow_runners(follow, site->device, site->inode, pids, RUNNERS);
	int fd = -1;

	if (!count || process_open_proc("/proc", &proc))
		return -1;
	while (count--)
		if (!process_open_binary(proc, pids[count], &fd))
			return fd;
	return -1;
}

static void give_up(struct pt_site *site)
{
	struct timespec now;

	if (++site->layout_failures < SAMPLES_MAX)
		return;
	clock_gettime(CLOCK_BOOTTIME, &now);
	site->off_was = PT_SITE_OFF_LAYOUT;
	site->off_span = (struct pt_span){.since_ns = (uint64_t)now.tv_sec * 1000000000ull +
						      (uint64_t)now.tv_nsec};
	__atomic_or_fetch(&site->off, PT_SITE_OFF_LAYOUT, __ATOMIC_SEQ_CST);
}

/* What one request says stays in the site, with size 0, until another says the same. */
static void take(struct pt_site *site, struct pt_nginx_layout found)
{
	uint16_t size = found.size;

	found.size = 0;
	if (memcmp(&site->layout.nginx, &found, sizeof(found)) != 0) {
		site->layout.nginx = found;
		return;
	}
	site->layout_failures = 0;
	__atomic_store_n(&site->layout.nginx.size, size, __ATOMIC_SEQ_CST);
	log_info("layout learned from requests",
		 "inode=%llu symbol=\"%s\" headers_out=%u status=%u method=%u",
		 (unsigned long long)site->inode, site->symbol, found.headers_out, found.status,
		 found.method);
}

void learn_request(struct kernel *kernel, const struct follow *follow, const void *data,
		   size_t size)
{
	const struct pt_sample *sample = data;
	struct pt_nginx_layout found;
	_cleanup_close_ int fd = -1;
	struct pt_site *site;

	if (size < sizeof(*sample) || sample->event.value >= PT_SITES)
		return;
	site = &kernel->sites[sample->event.value];
	/* one that came before the layout was known, or of a site that is gone */
	if (site->hook != PT_NGINX_HOOK_REQUEST || site->layout.nginx.size || site->off)
		return;
	fd = open_file(follow, site);
	if (fd < 0 || nginx_learn_file(fd, sample, &found))
		give_up(site);
	else
		take(site, found);
}
