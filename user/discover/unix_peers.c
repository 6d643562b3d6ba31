/* SPDX-License-Identifier: MIT */
#include "discover/unix_peers.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define ESTABLISHED 1 /* TCP_ESTABLISHED: unix sockets borrow the number */

static int ask(int fd)
{
	struct {
		struct nlmsghdr header;
		struct unix_diag_req request;
	} message = {
		.header = {.nlmsg_len = sizeof(message),
			   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.request = {.sdiag_family = AF_UNIX,
			    .udiag_states = 1 << ESTABLISHED,
			    .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER},
	};

	return send(fd, &message, sizeof(message), 0) < 0 ? -errno : 0;
}

/* Not what goes to syslog. */
static bool is_stream(const struct nlmsghdr *header)
{
	return header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct unix_diag_msg)) &&
	       ((const struct unix_diag_msg *)NLMSG_DATA(header))->udiag_type == SOCK_STREAM;
}

static void take_name(struct topology_socket *socket, const char *name, size_t length)
{
	if (length >= sizeof(socket->path))
		length = sizeof(socket->path) - 1;
	memcpy(socket->path, name, length);
	if (length && !socket->path[0])
		socket->path[0] = '@';
	log_plain(socket->path);
}

static struct topology_socket describe(const struct nlmsghdr *header)
{
	const struct unix_diag_msg *message = NLMSG_DATA(header);
	struct topology_socket socket = {.is_unix = true, .inode = message->udiag_ino};
	const struct rtattr *attribute = (const struct rtattr *)(message + 1);
	size_t left = header->nlmsg_len - NLMSG_LENGTH(sizeof(*message));

	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if (attribute->rta_type == UNIX_DIAG_PEER && RTA_PAYLOAD(attribute) >= 4)
			memcpy(&socket.peer, RTA_DATA(attribute), 4);
		else if (attribute->rta_type == UNIX_DIAG_NAME)
			take_name(&socket, RTA_DATA(attribute), RTA_PAYLOAD(attribute));
	}
	return socket;
}

int unix_peers_each(int (*visit)(void *context, const struct topology_socket *socket),
		    void *context)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct nlmsghdr buffer[16384 / sizeof(struct nlmsghdr)];
	int rc = fd < 0 ? -errno : ask(fd);

	while (!rc) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		const struct nlmsghdr *header = buffer;
		size_t left = n > 0 ? (size_t)n : 0;

		if (n <= 0)
			return n ? -errno : -EPIPE;
		for (; !rc && NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
			struct topology_socket socket;

			if (header->nlmsg_type == NLMSG_DONE)
				return 0;
			if (header->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)NLMSG_DATA(header))->error;
			if (!is_stream(header))
				continue;
			socket = describe(header);
			rc = visit(context, &socket);
		}
	}
	return rc;
}
