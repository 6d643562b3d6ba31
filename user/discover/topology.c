/* SPDX-License-Identifier: MIT */
#include "discover/topology.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED 0xffff00000000ull /* the low half of ::ffff:0.0.0.0 */
#define LISTEN 0x0a /* TCP_LISTEN */

bool topology_is_loopback(const struct pt_address *address)
{
	if (address->high)
		return false;
	return address->low == 1 || address->low >> 24 == (MAPPED >> 24 | 127);
}

const char *topology_address(char *ret, const struct pt_address *address)
{
	uint64_t words[2] = {htobe64(address->high), htobe64(address->low)};
	bool mapped = !address->high && address->low >> 32 == MAPPED >> 32;

	if (!inet_ntop(mapped ? AF_INET : AF_INET6, (uint8_t *)words + (mapped ? 12 : 0), ret,
		       INET6_ADDRSTRLEN))
		ret[0] = 0;
	return ret;
}

static bool same(const struct pt_address *a, const struct pt_address *b)
{
	return a->high == b->high && a->low == b->low;
}

/* 0.0.0.0 or ::, which listens for IPv4 as well. */
static bool is_any(const struct pt_address *address)
{
	return !address->high && (!address->low || address->low == MAPPED);
}

/* Does a connection of that program to this end come in through this listener? */
static bool accepts(const struct topology_socket *listener, const struct topology_socket *end)
{
	return listener->network == end->network && listener->local_port == end->local_port &&
	       (is_any(&listener->local) || same(&listener->local, &end->local));
}

/*
 * Does it lead to this listener? To one of any address only where it leads to this very machine,
 * which has loopback's address or its own at both ends.
 */
static bool leads_to(const struct topology_socket *client, const struct topology_socket *listener)
{
	if (listener->network != client->network || listener->local_port != client->remote_port)
		return false;
	if (is_any(&listener->local))
		return topology_is_loopback(&client->remote) ||
		       same(&client->remote, &client->local);
	return same(&listener->local, &client->remote);
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_ends(const struct topology_socket *a, const struct topology_socket *b)
{
	return compare(a->local.high, b->local.high)	   ?:
	       compare(a->local.low, b->local.low)	   ?:
	       compare(a->local_port, b->local_port)	   ?:
	       compare(a->remote.high, b->remote.high)	   ?:
	       compare(a->remote.low, b->remote.low)	   ?:
	       compare(a->remote_port, b->remote_port);
}

/* Listeners first, then unix sockets by inode, then connections by their ends. */
static int in_order(const void *left, const void *right)
{
	const struct topology_socket *a = left, *b = right;
	int rc = compare(b->listens, a->listens) ?: compare(b->is_unix, a->is_unix);

	if (rc || a->listens)
		return rc;
	if (a->is_unix)
		return compare(a->inode, b->inode);
	return compare_ends(a, b) ?: compare(a->network, b->network);
}

struct walk {
	const struct topology_socket *listeners, *unixes, *ends;
	unsigned int listeners_count, unixes_count, ends_count;
};

/* The same connection seen from its other side, or NULL. */
static const struct topology_socket *other_end(const struct walk *walk,
					       const struct topology_socket *socket)
{
	struct topology_socket wanted = {
		.local = socket->remote,
		.local_port = socket->remote_port,
		.remote = socket->local,
		.remote_port = socket->local_port,
	};
	unsigned int low = 0, high = walk->ends_count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (compare_ends(&walk->ends[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < walk->ends_count && !compare_ends(&walk->ends[low], &wanted); low++)
		/* loopback's addresses are every namespace's own */
		if (walk->ends[low].network == socket->network ||
		    !topology_is_loopback(&socket->local))
			return &walk->ends[low];
	return NULL;
}

static bool came_in(const struct walk *walk, const struct topology_socket *socket)
{
	for (unsigned int i = 0; i < walk->listeners_count; i++)
		if (!walk->listeners[i].is_unix && walk->listeners[i].program == socket->program &&
		    accepts(&walk->listeners[i], socket))
			return true;
	return false;
}

static const struct topology_socket *server_of(const struct walk *walk,
					       const struct topology_socket *socket)
{
	const struct topology_socket *end = other_end(walk, socket);

	for (unsigned int i = 0; !end && i < walk->listeners_count; i++)
		if (!walk->listeners[i].is_unix && leads_to(socket, &walk->listeners[i]))
			end = &walk->listeners[i];
	return end;
}

/* What is accepted has its listener's name, who connects has none. */
static const struct topology_socket *unix_server_of(const struct walk *walk,
						    const struct topology_socket *socket)
{
	unsigned int low = 0, high = walk->unixes_count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (walk->unixes[middle].inode < socket->peer)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == walk->unixes_count || walk->unixes[low].inode != socket->peer ||
	    !walk->unixes[low].path[0])
		return NULL;
	return &walk->unixes[low];
}

static struct walk sort(struct topology_socket *sockets, unsigned int count)
{
	struct walk walk = {.listeners = sockets};

	if (count)
		qsort(sockets, count, sizeof(*sockets), in_order);
	while (walk.listeners_count < count && sockets[walk.listeners_count].listens)
		walk.listeners_count++;
	walk.unixes = sockets + walk.listeners_count;
	while (walk.listeners_count + walk.unixes_count < count &&
	       walk.unixes[walk.unixes_count].is_unix)
		walk.unixes_count++;
	walk.ends = walk.unixes + walk.unixes_count;
	walk.ends_count = count - walk.listeners_count - walk.unixes_count;
	return walk;
}

int topology_match(struct topology_socket *sockets, unsigned int count,
		   int (*visit)(void *context, const struct topology_link *link), void *context)
{
	struct walk walk = sort(sockets, count);
	int rc = 0;

	for (unsigned int i = 0; !rc && i < walk.unixes_count; i++) {
		const struct topology_socket *socket = &walk.unixes[i];
		const struct topology_socket *server = unix_server_of(&walk, socket);

		if (socket->program == TOPOLOGY_AWAY || socket->path[0] || !server)
			continue;
		rc = visit(context, &(struct topology_link){socket->program, server->program,
							    socket, server});
	}
	for (unsigned int i = 0; !rc && i < walk.ends_count; i++) {
		const struct topology_socket *socket = &walk.ends[i], *server;

		if (came_in(&walk, socket))
			continue;
		server = server_of(&walk, socket);
		rc = visit(context, &(struct topology_link){
					    socket->program,
					    server ? server->program : TOPOLOGY_AWAY,
					    socket,
					    server,
				    });
	}
	return rc;
}

/* Words of 32 bits as the kernel prints them: each in the machine's order. */
static int parse_address(const char *text, struct pt_address *ret)
{
	uint32_t words[4] = {0, 0, htobe32(0xffff), 0};
	size_t length = strlen(text);

	if (length != 8 && length != 32)
		return -EINVAL;
	for (size_t i = 0; i < length / 8; i++) {
		char word[9] = "";

		memcpy(word, text + 8 * i, 8);
		words[length == 8 ? 3 : i] = (uint32_t)strtoul(word, NULL, 16);
	}
	ret->high = (uint64_t)be32toh(words[0]) << 32 | be32toh(words[1]);
	ret->low = (uint64_t)be32toh(words[2]) << 32 | be32toh(words[3]);
	return 0;
}

int topology_parse_line(const char *line, struct topology_socket *ret)
{
	char local[33], remote[33];
	unsigned int local_port, remote_port, state;
	unsigned long inode;

	if (sscanf(line, "%*u: %32[0-9A-Fa-f]:%4x %32[0-9A-Fa-f]:%4x %2x %*s %*s %*s %*u %*u %lu",
		   local, &local_port, remote, &remote_port, &state, &inode) != 6)
		return -EINVAL;
	*ret = (struct topology_socket){
		.inode = (uint32_t)inode,
		.listens = state == LISTEN,
		.local_port = (uint16_t)local_port,
		.remote_port = (uint16_t)remote_port,
	};
	return parse_address(local, &ret->local) ?: parse_address(remote, &ret->remote);
}
