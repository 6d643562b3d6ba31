/* SPDX-License-Identifier: MIT */
/*
 * The sockets of some processes, for topology.h: which each has open (base/socket_list.h), and
 * where they lead by the tables of each one's network namespace, which anybody may read. The ends
 * of unix sockets are known in the namespace of this process only. Nothing is atomic: what comes
 * and goes meanwhile may be missed.
 */
#ifndef PULLTAP_DISCOVER_SOCKET_TABLE_H
#define PULLTAP_DISCOVER_SOCKET_TABLE_H

#include <sys/types.h>

#include "discover/topology.h"

/* Namespaces of which one look takes notice. */
#define SOCKET_NETWORKS 16

struct socket_process {
	pid_t pid;
	uint16_t program;
	uint64_t network; /* filled in; 0: it has ended, or is not ours to look at */
};

struct socket_table;

/*
 * What each process has open: on the thread that may ask the helper. A process that is gone has no
 * sockets; -errno when memory or rights are missing altogether.
 */
must_check int socket_table_new(struct socket_table **ret, struct socket_process *processes,
				unsigned int count);
void socket_table_free(struct socket_table **table);

/*
 * Where that leads: a line of text for every TCP socket of each namespace, closed ones included,
 * so tens of milliseconds on a busy node. Any thread. *ret is the caller's to free.
 */
must_check int socket_table_read(struct socket_table *table, struct topology_socket **ret,
				 unsigned int *ret_count);

#endif
