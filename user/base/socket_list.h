/* SPDX-License-Identifier: MIT */
/*
 * The sockets that a process has open, by their inodes: what joins a process with the kernel's
 * tables of connections. It takes rights over the process, so the helper may have to read it.
 */
#ifndef PULLTAP_BASE_SOCKET_LIST_H
#define PULLTAP_BASE_SOCKET_LIST_H

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* More are left out: those that listen have the lowest descriptors, so they are always in it. */
#define SOCKET_LIST 1024

/* As it is, what the helper answers with. */
struct socket_list {
	int32_t result; /* 0, or -errno */
	uint32_t count;
	uint32_t inodes[SOCKET_LIST];
};

/* Fills it in; -EACCES for a process of somebody else's. Returns result. */
must_check int socket_list_read(pid_t pid, struct socket_list *ret);

#endif
