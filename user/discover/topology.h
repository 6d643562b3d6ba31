/* SPDX-License-Identifier: MIT */
/*
 * Who talks to whom, given the sockets of several programs. Pure.
 *
 * A connection is matched with its other end: the same two addresses the other way round, which
 * also holds between network namespaces as long as nothing translates addresses on the way; or,
 * within one namespace, with the listener that it leads to. What is not matched leads away: to
 * another node, to a program that was not given, or through a translation (a published port).
 */
#ifndef PULLTAP_DISCOVER_TOPOLOGY_H
#define PULLTAP_DISCOVER_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#include "../../bpf/abi.h"
#include "base/cleanup.h"

#define TOPOLOGY_PATH 108 /* of a unix socket */

/* For a program: nobody that was given. */
#define TOPOLOGY_AWAY UINT16_MAX

struct topology_socket {
	uint64_t network; /* which network namespace */
	uint32_t inode;
	uint32_t peer; /* unix: the other end's inode; 0: not known */
	uint16_t program; /* whose it is; TOPOLOGY_AWAY: the other end of one of theirs */
	bool is_unix;
	bool listens;
	uint16_t local_port, remote_port;
	struct pt_address local, remote; /* IPv4 as ::ffff:a.b.c.d */
	char path[TOPOLOGY_PATH]; /* unix: its own name, an abstract one with '@' */
};

struct topology_link {
	uint16_t from, to; /* programs */
	const struct topology_socket *client; /* the end of from */
	/* Of to, listener or other end; away: NULL, or of a unix socket the other end. */
	const struct topology_socket *server;
};

/*
 * Calls visit for each connection that one of the programs has made, in no order; sockets are
 * sorted in place. visit returns 0 to go on; anything else ends the walk and is returned.
 */
must_check int topology_match(struct topology_socket *sockets, unsigned int count,
			      int (*visit)(void *context, const struct topology_link *link),
			      void *context);

/* Is it 127.0.0.0/8 or ::1? */
bool topology_is_loopback(const struct pt_address *address);

/* "127.0.0.1", "::1"; size INET6_ADDRSTRLEN. */
const char *topology_address(char *ret, const struct pt_address *address);

/*
 * A line of /proc/net/tcp or tcp6: fills inode, listens, addresses and ports. -EINVAL: its first
 * line, or not one of theirs.
 */
must_check int topology_parse_line(const char *line, struct topology_socket *ret);

#endif
