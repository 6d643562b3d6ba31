/* SPDX-License-Identifier: MIT */
#include "base/helper.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static int helper = -1;

void helper_use(int socket)
{
	helper = socket;
}

bool helper_may(int rc)
{
	return helper >= 0 && (rc == -EACCES || rc == -EPERM);
}

int helper_send(int socket, const void *data, size_t size, const int *fds, unsigned int fds_count)
{
	union {
		char bytes[CMSG_SPACE(HELPER_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t n;

	if (fds_count) {
		struct cmsghdr *header = &control.align;

		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(fds_count * sizeof(int));
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fds_count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, fds_count * sizeof(int));
	}
	do {
		n = sendmsg(socket, &message, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

int helper_receive(int socket, void *data, size_t size, int *fds, unsigned int *ret_fds_count)
{
	union {
		char bytes[CMSG_SPACE(HELPER_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec part = {.iov_base = data, .iov_len = size};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *header;
	unsigned int count = 0;
	ssize_t n;

	do {
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n == 0 || errno == ECONNRESET ? -EPIPE : -errno;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		count = (unsigned int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(header), count * sizeof(int));
	}
	if ((size_t)n == size && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		*ret_fds_count = count;
		return 0;
	}
	while (count)
		close(fds[--count]);
	return -EBADMSG;
}

static int ask(const struct helper_request *request, const int *fds, unsigned int fds_count)
{
	int got[HELPER_FDS], rc;
	unsigned int got_count = 0;
	int32_t result;

	if (helper < 0)
		return -EPIPE;
	rc = helper_send(helper, request, sizeof(*request), fds, fds_count);
	rc = rc ?: helper_receive(helper, &result, sizeof(result), got, &got_count);
	if (rc)
		return rc;
	if (got_count == 1 && !result)
		return got[0];
	while (got_count)
		close(got[--got_count]);
	return result < 0 ? result : -EBADMSG;
}

int helper_open(enum helper_act act, pid_t pid)
{
	struct helper_request request = {.act = act, .pid = pid};

	return ask(&request, NULL, 0);
}

int helper_attach(int program_fd, int file_fd, uint64_t file_offset, uint64_t cookie)
{
	struct helper_request request = {
		.act = HELPER_ATTACH, .file_offset = file_offset, .cookie = cookie};
	const int fds[HELPER_FDS] = {program_fd, file_fd};

	return ask(&request, fds, HELPER_FDS);
}

int helper_list_sockets(pid_t pid, struct socket_list *ret)
{
	struct helper_request request = {.act = HELPER_LIST_SOCKETS, .pid = pid};
	int got[HELPER_FDS], rc;
	unsigned int got_count = 0;

	if (helper < 0)
		return -EPIPE;
	rc = helper_send(helper, &request, sizeof(request), NULL, 0);
	rc = rc ?: helper_receive(helper, ret, sizeof(*ret), got, &got_count);
	while (got_count)
		close(got[--got_count]);
	if (!rc && ret->count > SOCKET_LIST)
		rc = -EBADMSG;
	return rc ?: ret->result;
}
