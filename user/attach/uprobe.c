/* SPDX-License-Identifier: MIT */
#include "attach/uprobe.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "base/helper.h"

/* The kernel numbers its event sources at boot; this one's number is in sysfs. */
static int uprobe_type(void)
{
	_cleanup_fclose_ FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	int type;

	if (!f)
		return -errno;
	return fscanf(f, "%d", &type) == 1 ? type : -ENOENT;
}

int uprobe_event(const char *path, uint64_t file_offset)
{
	struct perf_event_attr attr = {.size = sizeof(attr)};
	int type = uprobe_type(), fd;

	if (type < 0)
		return type;
	attr.type = (uint32_t)type;
	attr.config1 = (uint64_t)(uintptr_t)path;
	attr.config2 = file_offset;
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int attach(int program_fd, int file_fd, uint64_t file_offset, uint64_t cookie)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .perf_event.bpf_cookie = cookie);
	_cleanup_close_ int event = -1;
	char path[64];
	int link;

	/* by descriptor: the path may be in another mount namespace, or already replaced */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd);
	event = uprobe_event(path, file_offset);
	if (event < 0)
		return event;
	link = bpf_link_create(program_fd, event, BPF_PERF_EVENT, &options);
	return link < 0 ? -errno : link;
}

int uprobe_attach(int program_fd, int file_fd, uint64_t file_offset, uint64_t cookie)
{
	int link = attach(program_fd, file_fd, file_offset, cookie);

	return helper_may(link) ? helper_attach(program_fd, file_fd, file_offset, cookie) : link;
}
