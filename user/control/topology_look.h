/* SPDX-License-Identifier: MIT */
/*
 * One look at the sockets of some processes: begun on the agent's main thread, which has the
 * helper, read by a thread of its own, because the kernel's tables may be long, and taken by the
 * main one.
 */
#ifndef PULLTAP_CONTROL_TOPOLOGY_LOOK_H
#define PULLTAP_CONTROL_TOPOLOGY_LOOK_H

#include <pthread.h>

#include "discover/socket_table.h"

/* All zeroes: none. What it found is read by the owner once it is done. */
struct topology_look {
	bool under_way;
	bool done; /* atomically */
	pthread_t thread;
	uint64_t began_ns, ended_ns; /* since boot */
	struct socket_table *table;
	struct topology_socket *sockets;
	unsigned int count;
	int rc;
};

/* look must stay where it is. On failure, too, topology_look_end() is due. */
must_check int topology_look_begin(struct topology_look *look, struct socket_process *processes,
				   unsigned int count);
bool topology_look_done(const struct topology_look *look);
/* Waits for it if need be; harmless when there is none. */
void topology_look_end(struct topology_look *look);

#endif
