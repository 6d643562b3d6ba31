/* SPDX-License-Identifier: MIT */
#include "control/helper_process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "attach/uprobe.h"
#include "base/helper.h"

static int open_of(pid_t pid, const char *entry)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, entry);
	/* a container may put a FIFO there in a fake /proc of its own: never wait for a writer */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

static int act(const struct helper_request *request, const int *fds, unsigned int fds_count)
{
	switch (request->act) {
	case HELPER_OPEN_PROGRAM:
		return open_of(request->pid, "exe");
	case HELPER_OPEN_MAPS:
		return open_of(request->pid, "maps");
	case HELPER_OPEN_ROOT:
		return open_of(request->pid, "root");
	case HELPER_ATTACH:
		if (fds_count != HELPER_FDS)
			return -EINVAL;
		return uprobe_attach(fds[0], fds[1], request->file_offset, request->cookie);
	default:
		return -EINVAL;
	}
}

/* An answer without a descriptor, and a packet of its own size. */
static int list_sockets(int socket, pid_t pid)
{
	static struct socket_list list; /* never what memory held before */

	memset(&list, 0, sizeof(list));
	if (socket_list_read(pid, &list))
		list.count = 0;
	return helper_send(socket, &list, sizeof(list), NULL, 0);
}

static int answer(int socket, const struct helper_request *request, const int *fds,
		  unsigned int fds_count)
{
	int fd = act(request, fds, fds_count);
	int32_t result = fd < 0 ? fd : 0;
	int rc = helper_send(socket, &result, sizeof(result), &fd, fd < 0 ? 0 : 1);

	if (fd >= 0)
		close(fd);
	return rc;
}

_Noreturn void helper_serve(int socket)
{
	struct helper_request request;
	unsigned int fds_count;
	int fds[HELPER_FDS];

	for (;;) {
		int rc = helper_receive(socket, &request, sizeof(request), fds, &fds_count);

		if (rc)
			_exit(rc == -EPIPE ? 0 : 1);
		if (request.act == HELPER_LIST_SOCKETS)
			rc = list_sockets(socket, request.pid);
		else
			rc = answer(socket, &request, fds, fds_count);
		while (fds_count)
			close(fds[--fds_count]);
		if (rc)
			_exit(rc == -EPIPE ? 0 : 1);
	}
}
