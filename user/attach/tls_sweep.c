/* SPDX-License-Identifier: MIT */
#include "attach/tls_sweep.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static bool is_alive(int proc, uint32_t tgid)
{
	_cleanup_close_ int fd = -1;
	char name[16];

	snprintf(name, sizeof(name), "%u", tgid);
	fd = openat(proc, name, O_PATH | O_CLOEXEC);
	return fd >= 0 || errno != ENOENT;
}

/*
 * A walk may start over when the key that it stands on goes; what it then does not come to is the
 * next sweep's.
 */
#define STEPS_MAX 131072

static unsigned int sweep(int map, int proc)
{
	unsigned int removed = 0, steps = 0;
	struct pt_tls_key key, next;
	uint32_t asked = 0;
	bool alive = true;
	int end = bpf_map_get_next_key(map, NULL, &next);

	while (!end && steps++ < STEPS_MAX) {
		key = next;
		end = bpf_map_get_next_key(map, &key, &next);
		if (key.tgid != asked) {
			asked = key.tgid;
			alive = is_alive(proc, asked);
		}
		if (!alive && !bpf_map_delete_elem(map, &key))
			removed++;
	}
	return removed;
}

unsigned int tls_sweep(const struct kernel *kernel, int proc)
{
	if (kernel->tls_connections_fd < 0) /* a set of an older build */
		return 0;
	return sweep(kernel->tls_connections_fd, proc) + sweep(kernel->tls_requests_fd, proc);
}
