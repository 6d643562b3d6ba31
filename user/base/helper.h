/* SPDX-License-Identifier: MIT */
/*
 * Three kinds of act need rights that the agent gives up once it counts: opening what belongs to
 * another user's process, listing its sockets, and attaching a probe. A helper process that keeps
 * those rights does them on request (control/helper_process.h); it is asked only where the kernel
 * has refused the caller itself. One thread: the agent's main one.
 */
#ifndef PULLTAP_BASE_HELPER_H
#define PULLTAP_BASE_HELPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/socket_list.h"

enum helper_act {
	HELPER_OPEN_PROGRAM,
	HELPER_ATTACH,
	HELPER_OPEN_MAPS, /* the list of what it has mapped */
	HELPER_OPEN_ROOT, /* its root folder */
	HELPER_LIST_SOCKETS,
};

/* From now on the helper at the other end of that socket is asked; -1: nobody is. */
void helper_use(int socket);

/* Was the caller refused (rc is -EACCES or -EPERM), and is there a helper to ask? */
bool helper_may(int rc);

/*
 * Each returns a descriptor, the caller's; -errno of the act itself; -EPIPE when the helper has
 * ended. What helper_open() opens of a process is for reading.
 */
must_check int helper_open(enum helper_act act, pid_t pid);
must_check int helper_attach(int program_fd, int file_fd, uint64_t file_offset, uint64_t cookie);

/* socket_list_read() with its rights. */
must_check int helper_list_sockets(pid_t pid, struct socket_list *ret);

/* What goes through the socket, one packet each way. */

#define HELPER_FDS 2

struct helper_request {
	uint32_t act;
	int32_t pid; /* HELPER_OPEN_..., HELPER_LIST_SOCKETS */
	uint64_t file_offset; /* HELPER_ATTACH, as the rest, with the two descriptors in order */
	uint64_t cookie;
};

must_check int helper_send(int socket, const void *data, size_t size, const int *fds,
			   unsigned int fds_count);

/*
 * fds has room for HELPER_FDS; what came is the caller's. -EPIPE when the other end has gone,
 * -EBADMSG for a packet of another size.
 */
must_check int helper_receive(int socket, void *data, size_t size, int *fds,
			      unsigned int *ret_fds_count);

#endif
