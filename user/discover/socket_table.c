/* SPDX-License-Identifier: MIT */
#include "discover/socket_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/helper.h"
#include "base/socket_list.h"
#include "discover/unix_peers.h"

struct owned {
	uint64_t network;
	uint32_t inode;
	uint16_t program;
};

struct socket_table {
	struct owned *owned;
	unsigned int owned_count;
	struct topology_socket *sockets;
	unsigned int sockets_count;
	struct {
		uint64_t id;
		pid_t pid; /* one that lives in it */
	} networks[SOCKET_NETWORKS];
	unsigned int networks_count;
	uint64_t here; /* the namespace that is being read */
};

/* Each namespace has a file of its own behind this name, and so an inode that tells it. */
static uint64_t network_of(const char *process)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%s/net/tcp", process);
	return stat(path, &st) ? 0 : st.st_ino;
}

static int in_order(const void *left, const void *right)
{
	const struct owned *a = left, *b = right;

	if (a->network != b->network)
		return a->network < b->network ? -1 : 1;
	return a->inode < b->inode ? -1 : a->inode > b->inode;
}

/* Names the owner; false when it is a socket of nobody's. */
static bool find_owner(const struct socket_table *table, struct topology_socket *socket)
{
	struct owned wanted = {.network = table->here, .inode = socket->inode};
	const struct owned *found =
		bsearch(&wanted, table->owned, table->owned_count, sizeof(wanted), in_order);

	if (!found || !socket->inode)
		return false;
	socket->network = table->here;
	socket->program = found->program;
	return true;
}

/* Grows by doubling: count is what is in it. */
static int make_room(void **array, unsigned int count, size_t size)
{
	void *grown;

	if (count & (count - 1) || (count && count < 64))
		return 0;
	grown = reallocarray(*array, count ? 2 * (size_t)count : 64, size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	return 0;
}

static int add(struct socket_table *table, const struct topology_socket *socket)
{
	int rc = make_room((void **)&table->sockets, table->sockets_count, sizeof(*socket));

	if (!rc)
		table->sockets[table->sockets_count++] = *socket;
	return rc;
}

static int add_unix(void *context, const struct topology_socket *socket)
{
	struct socket_table *table = context;
	struct topology_socket mine = *socket, other = {.inode = socket->peer};

	if (find_owner(table, &mine))
		return add(table, &mine);
	/* the name that one of ours was connected to is that of the end which is not */
	if (!find_owner(table, &other))
		return 0;
	mine.network = table->here;
	mine.program = TOPOLOGY_AWAY;
	return add(table, &mine);
}

static void know_network(struct socket_table *table, const struct socket_process *process)
{
	for (unsigned int i = 0; i < table->networks_count; i++)
		if (table->networks[i].id == process->network)
			return;
	if (table->networks_count == SOCKET_NETWORKS)
		return;
	table->networks[table->networks_count].id = process->network;
	table->networks[table->networks_count++].pid = process->pid;
}

static int take_process(struct socket_table *table, struct socket_process *process,
			struct socket_list *list)
{
	char name[16];
	int rc = socket_list_read(process->pid, list);

	if (helper_may(rc))
		rc = helper_list_sockets(process->pid, list);
	snprintf(name, sizeof(name), "%d", process->pid);
	process->network = rc ? 0 : network_of(name);
	if (!process->network)
		return rc == -ENOENT || rc == -ESRCH ? 0 : rc;
	know_network(table, process);
	for (unsigned int i = 0; i < list->count; i++) {
		rc = make_room((void **)&table->owned, table->owned_count, sizeof(*table->owned));
		if (rc)
			return rc;
		table->owned[table->owned_count++] =
			(struct owned){process->network, list->inodes[i], process->program};
	}
	return 0;
}

static int read_file(struct socket_table *table, pid_t pid, const char *name)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[64], line[512];
	int rc = 0;

	snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, name);
	file = fopen(path, "re");
	while (!rc && file && fgets(line, sizeof(line), file)) {
		struct topology_socket socket;

		if (!topology_parse_line(line, &socket) && find_owner(table, &socket))
			rc = add(table, &socket);
	}
	return rc; /* none: no IPv6, or the process has just ended */
}

static int read_networks(struct socket_table *table)
{
	uint64_t own = network_of("self");
	int rc = 0;

	for (unsigned int i = 0; !rc && i < table->networks_count; i++) {
		table->here = table->networks[i].id;
		rc = read_file(table, table->networks[i].pid, "tcp");
		rc = rc ?: read_file(table, table->networks[i].pid, "tcp6");
		/* where the kernel has no such diagnosis, unix sockets are not seen */
		if (!rc && table->here == own && unix_peers_each(add_unix, table) == -ENOMEM)
			rc = -ENOMEM;
	}
	return rc;
}

void socket_table_free(struct socket_table **table)
{
	if (!*table)
		return;
	free((*table)->owned);
	free((*table)->sockets);
	free(*table);
	*table = NULL;
}

int socket_table_new(struct socket_table **ret, struct socket_process *processes,
		     unsigned int count)
{
	_cleanup_(socket_table_free) struct socket_table *table = calloc(1, sizeof(*table));
	_cleanup_free_ struct socket_list *list = malloc(sizeof(*list));
	int rc = table && list ? 0 : -ENOMEM;

	for (unsigned int i = 0; !rc && i < count; i++)
		rc = take_process(table, &processes[i], list);
	if (rc)
		return rc;
	if (table->owned)
		qsort(table->owned, table->owned_count, sizeof(*table->owned), in_order);
	*ret = TAKE_PTR(table);
	return 0;
}

int socket_table_read(struct socket_table *table, struct topology_socket **ret,
		      unsigned int *ret_count)
{
	int rc = read_networks(table);

	if (rc)
		return rc;
	*ret = TAKE_PTR(table->sockets);
	*ret_count = table->sockets_count;
	table->sockets_count = 0;
	return 0;
}
