/* SPDX-License-Identifier: MIT */
/* The sockets of this very process and of a child, as the kernel's tables have them. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "test.h"

#include "base/socket_list.h"
#include "discover/socket_table.h"

enum { PARENT, CHILD };

struct found {
	unsigned int links; /* from the parent to the child */
	unsigned int others;
	char address[TOPOLOGY_PATH];
	uint16_t port;
};

static int note(void *context, const struct topology_link *link)
{
	struct found *found = context;

	if (link->from != PARENT || link->to != CHILD) {
		found->others++;
		return 0;
	}
	found->links++;
	found->port = link->client->remote_port;
	if (link->client->is_unix)
		snprintf(found->address, sizeof(found->address), "%s", link->server->path);
	return 0;
}

/* A child that has the listener, and what it accepts. */
static pid_t serve(int listener)
{
	pid_t pid = fork();
	int accepted;

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	accepted = accept(listener, NULL, NULL);
	if (write(accepted, "!", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static struct found look(pid_t child)
{
	struct socket_process processes[] = {{getpid(), PARENT, 0}, {child, CHILD, 0}};
	struct socket_table *table = NULL;
	struct topology_socket *sockets = NULL;
	struct found found = {};
	unsigned int count = 0;

	assert_int_equal(socket_table_new(&table, processes, 2), 0);
	assert_int_equal(socket_table_read(table, &sockets, &count), 0);
	assert_int_equal(topology_match(sockets, count, note, &found), 0);
	assert_true(processes[PARENT].network);
	assert_int_equal(processes[PARENT].network, processes[CHILD].network);
	free(sockets);
	socket_table_free(&table);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return found;
}

/* What this process sees of its connection to the child. */
static struct found between(struct sockaddr *address, socklen_t size)
{
	int listener = socket(address->sa_family, SOCK_STREAM, 0), client;
	struct found found;
	pid_t child;
	char byte;

	assert_int_equal(bind(listener, address, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, address, &size), 0);
	child = serve(listener);
	close(listener);
	client = socket(address->sa_family, SOCK_STREAM, 0);
	assert_int_equal(connect(client, address, size), 0);
	assert_int_equal(read(client, &byte, 1), 1);
	found = look(child);
	close(client);
	return found;
}

static void both_ends_of_a_tcp_connection_are_found(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct found found;

	(void)state;
	found = between((struct sockaddr *)&address, sizeof(address));
	assert_int_equal(found.port, ntohs(address.sin_port));
	assert_true(found.links > 0);
}

static void both_ends_of_a_unix_connection_are_found(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct found found;

	(void)state;
	/* abstract: nothing to remove */
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "pulltap-unit-%d", getpid());
	found = between((struct sockaddr *)&address,
			(socklen_t)(sizeof(sa_family_t) + 1 + strlen(address.sun_path + 1)));
	if (!found.links)
		test_skip("this kernel has no diagnosis of unix sockets");
	assert_int_equal(found.address[0], '@');
	assert_string_equal(found.address + 1, address.sun_path + 1);
}

static void a_process_that_is_gone_has_no_sockets(void **state)
{
	struct socket_process process = {.pid = 4194304};
	struct topology_socket *sockets = NULL;
	struct socket_table *table = NULL;
	struct socket_list list;
	unsigned int count = 1;

	(void)state;
	assert_int_equal(socket_list_read(process.pid, &list), -ENOENT);
	assert_int_equal(socket_table_new(&table, &process, 1), 0);
	assert_int_equal(socket_table_read(table, &sockets, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(process.network, 0);
	socket_table_free(&table);
}

static void more_sockets_than_are_listed_are_left_out(void **state)
{
	int pairs[SOCKET_LIST / 2 + 2][2], made = 0;
	struct socket_list list;

	(void)state;
	while (made < SOCKET_LIST / 2 + 2 && !socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[made]))
		made++;
	assert_int_equal(socket_list_read(getpid(), &list), 0);
	assert_true(list.count <= SOCKET_LIST);
	assert_int_equal(list.count, 2 * made < SOCKET_LIST ? 2 * made : SOCKET_LIST);
	while (made--) {
		close(pairs[made][0]);
		close(pairs[made][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_of_a_tcp_connection_are_found),
		cmocka_unit_test(both_ends_of_a_unix_connection_are_found),
		cmocka_unit_test(a_process_that_is_gone_has_no_sockets),
		cmocka_unit_test(more_sockets_than_are_listed_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
