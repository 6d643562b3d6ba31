/* SPDX-License-Identifier: MIT */
/*
 * The connected unix stream sockets of this process's network namespace, whose other ends only the
 * kernel's socket diagnosis names. It takes no rights.
 */
#ifndef PULLTAP_DISCOVER_UNIX_PEERS_H
#define PULLTAP_DISCOVER_UNIX_PEERS_H

#include "discover/topology.h"

/* Calls visit with is_unix, inode, peer and path set; anything but 0 ends it and is returned. */
must_check int unix_peers_each(int (*visit)(void *context, const struct topology_socket *socket),
			       void *context);

#endif
