/* SPDX-License-Identifier: MIT */
/* Sockets as they are found, and who is said to talk to whom. Programs: 0 is a front end. */
#include <errno.h>

#include "test.h"

#include "base/network.h"
#include "discover/topology.h"

enum { FRONT, REGISTRY, OTHER };
enum { HERE = 1, THERE };

static struct pt_address address(const char *text)
{
	struct network network;

	assert_int_equal(network_parse(text, &network), 0);
	return network.address;
}

static struct topology_socket listener(uint16_t program, uint64_t network, const char *local,
				       uint16_t port)
{
	return (struct topology_socket){
		.program = program,
		.network = network,
		.listens = true,
		.local = address(local),
		.local_port = port,
		.remote = address("::"),
	};
}

static struct topology_socket end(uint16_t program, uint64_t network, const char *local,
				  uint16_t local_port, const char *remote, uint16_t remote_port)
{
	return (struct topology_socket){
		.program = program,
		.network = network,
		.local = address(local),
		.local_port = local_port,
		.remote = address(remote),
		.remote_port = remote_port,
	};
}

static struct topology_socket unix_end(uint16_t program, uint32_t inode, uint32_t peer,
				       const char *path)
{
	struct topology_socket socket = {
		.program = program, .network = HERE, .is_unix = true, .inode = inode, .peer = peer};

	snprintf(socket.path, sizeof(socket.path), "%s", path);
	return socket;
}

static int note(void *context, const struct topology_link *link)
{
	char *text = context, one[32];

	snprintf(one, sizeof(one), link->to == TOPOLOGY_AWAY ? "%u>away " : "%u>%u ", link->from,
		 link->to);
	strcat(text, one);
	return 0;
}

/* "0>1 " for each connection from program 0 to program 1. */
static const char *links(struct topology_socket *sockets, unsigned int count)
{
	static char text[256];

	text[0] = 0;
	assert_int_equal(topology_match(sockets, count, note, text), 0);
	return text;
}
#define LINKS(sockets) links(sockets, sizeof(sockets) / sizeof(*(sockets)))

static void both_ends_of_a_connection_are_one_link(void **state)
{
	struct topology_socket sockets[] = {
		listener(FRONT, HERE, "0.0.0.0", 80),
		listener(REGISTRY, HERE, "127.0.0.1", 5000),
		end(FRONT, HERE, "127.0.0.1", 40000, "127.0.0.1", 5000),
		end(REGISTRY, HERE, "127.0.0.1", 5000, "127.0.0.1", 40000),
		end(FRONT, HERE, "10.0.0.1", 80, "10.0.0.9", 50000), /* a client of its own */
	};

	(void)state;
	assert_string_equal(LINKS(sockets), "0>1 ");
}

static void a_listener_is_enough_where_the_other_end_was_not_seen(void **state)
{
	struct topology_socket any[] = {
		listener(REGISTRY, HERE, "::", 5000),
		end(FRONT, HERE, "127.0.0.1", 40000, "127.0.0.1", 5000),
		end(FRONT, HERE, "10.0.0.1", 40001, "10.0.0.1", 5000),
	};
	struct topology_socket six[] = {
		listener(REGISTRY, HERE, "::1", 5000),
		end(FRONT, HERE, "::1", 40000, "::1", 5000),
	};

	(void)state;
	assert_string_equal(LINKS(any), "0>1 0>1 ");
	assert_string_equal(LINKS(six), "0>1 ");
}

static void the_same_port_of_another_node_is_not_ours(void **state)
{
	struct topology_socket sockets[] = {
		listener(REGISTRY, HERE, "0.0.0.0", 5000),
		end(FRONT, HERE, "10.0.0.1", 40000, "10.0.0.2", 5000),
	};

	(void)state;
	assert_string_equal(LINKS(sockets), "0>away ");
}

static void loopback_of_another_namespace_is_another_one(void **state)
{
	struct topology_socket sockets[] = {
		listener(REGISTRY, THERE, "127.0.0.1", 5000),
		end(FRONT, HERE, "127.0.0.1", 40000, "127.0.0.1", 5000),
		end(REGISTRY, THERE, "127.0.0.1", 5000, "127.0.0.1", 40000),
	};

	(void)state;
	assert_string_equal(LINKS(sockets), "0>away ");
}

static void namespaces_joined_by_a_cable_are_seen_by_both_ends(void **state)
{
	struct topology_socket sockets[] = {
		listener(REGISTRY, THERE, "::", 5000),
		end(FRONT, HERE, "10.9.0.1", 40000, "10.9.0.2", 5000),
		end(REGISTRY, THERE, "10.9.0.2", 5000, "10.9.0.1", 40000),
	};

	(void)state;
	assert_string_equal(LINKS(sockets), "0>1 ");
}

static void what_is_translated_on_the_way_leads_away(void **state)
{
	struct topology_socket sockets[] = {
		listener(REGISTRY, THERE, "::", 5000),
		end(FRONT, HERE, "127.0.0.1", 40000, "127.0.0.1", 8000),
		end(REGISTRY, THERE, "172.17.0.2", 5000, "172.17.0.1", 40123),
	};

	(void)state;
	assert_string_equal(LINKS(sockets), "0>away ");
}

static void two_listeners_of_one_port_are_told_apart_by_their_address(void **state)
{
	struct topology_socket sockets[] = {
		listener(OTHER, HERE, "127.0.0.2", 5000),
		listener(REGISTRY, HERE, "127.0.0.1", 5000),
		listener(REGISTRY, HERE, "127.0.0.1", 5000), /* SO_REUSEPORT */
		end(FRONT, HERE, "127.0.0.1", 40000, "127.0.0.1", 5000),
		end(FRONT, HERE, "127.0.0.1", 40001, "127.0.0.2", 5000),
	};

	(void)state;
	assert_string_equal(LINKS(sockets), "0>1 0>2 ");
}

static void a_program_that_talks_to_itself_is_a_link(void **state)
{
	struct topology_socket sockets[] = {
		listener(FRONT, HERE, "0.0.0.0", 80),
		listener(FRONT, HERE, "127.0.0.1", 8080),
		end(FRONT, HERE, "127.0.0.1", 40000, "127.0.0.1", 8080),
		end(FRONT, HERE, "127.0.0.1", 8080, "127.0.0.1", 40000),
	};

	(void)state;
	assert_string_equal(LINKS(sockets), "0>0 ");
}

static void unix_sockets_are_told_by_their_other_ends(void **state)
{
	struct topology_socket sockets[] = {
		unix_end(FRONT, 7, 9, ""), /* connected */
		unix_end(REGISTRY, 9, 7, "/run/registry.sock"), /* accepted */
		unix_end(FRONT, 20, 21, ""), /* a socket pair of master and worker */
		unix_end(FRONT, 21, 20, ""),
		unix_end(FRONT, 30, 0, ""), /* in a namespace that is not asked */
		unix_end(FRONT, 31, 99, ""), /* to somebody who was not given */
	};

	(void)state;
	assert_string_equal(LINKS(sockets), "0>1 ");
}

static void a_unix_socket_of_a_stranger_leads_away(void **state)
{
	struct topology_socket sockets[] = {
		unix_end(FRONT, 7, 9, ""),
		unix_end(TOPOLOGY_AWAY, 9, 7, "/run/gunicorn.sock"),
		unix_end(FRONT, 11, 12, "/run/nginx.sock"), /* a client of its own */
		unix_end(TOPOLOGY_AWAY, 12, 11, ""),
	};

	(void)state;
	assert_string_equal(LINKS(sockets), "0>away ");
}

static void nobody_talks_where_nothing_is(void **state)
{
	(void)state;
	assert_string_equal(links(NULL, 0), "");
}

static void lines_of_the_kernels_tables_are_read(void **state)
{
	static const char four[] =
		"   1: 0100007F:1388 0200000A:C001 01 00000000:00000000 00:00000000 00000000  1000 "
		"       0 4021 1 000000009c2670aa 20 4 30 10 -1\n";
	static const char six[] = "   0: 00000000000000000000000000000000:0050 "
				  "00000000000000000000000000000000:0000 0A "
				  "00000000:00000000 00:00000000 00000000     0        0 77 1 "
				  "0000000000000000 100 0 0 "
				  "10 0\n";
	static const char mapped[] =
		"  12: 0000000000000000FFFF00000100007F:1388 0000000000000000FFFF00000100007F:C001 "
		"01 "
		"00000000:00000000 00:00000000 00000000     0        0 78 1 0000000000000000\n";
	struct topology_socket socket;
	char text[64];

	(void)state;
	assert_int_equal(topology_parse_line(four, &socket), 0);
	assert_string_equal(topology_address(text, &socket.local), "127.0.0.1");
	assert_string_equal(topology_address(text, &socket.remote), "10.0.0.2");
	assert_int_equal(socket.local_port, 5000);
	assert_int_equal(socket.remote_port, 0xc001);
	assert_int_equal(socket.inode, 4021);
	assert_false(socket.listens);
	assert_int_equal(topology_parse_line(six, &socket), 0);
	assert_string_equal(topology_address(text, &socket.local), "::");
	assert_true(socket.listens);
	assert_int_equal(topology_parse_line(mapped, &socket), 0);
	assert_string_equal(topology_address(text, &socket.local), "127.0.0.1");
	assert_true(topology_is_loopback(&socket.remote));
}

static void other_lines_are_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt",
		"   1: 0100007:1388 0200000A:C001 01 0:0 0:0 0 0 0 4021",
		"   1: 0100007F:1388 0200000A:C001 01",
	};
	struct topology_socket socket;

	(void)state;
	for (unsigned int i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		assert_int_equal(topology_parse_line(lines[i], &socket), -EINVAL);
}

static void loopback_is_told_from_all_others(void **state)
{
	static const struct {
		const char *text;
		bool loopback;
	} cases[] = {{"127.0.0.1", true},  {"127.255.0.9", true}, {"::1", true},
		     {"128.0.0.1", false}, {"126.0.0.1", false},  {"::2", false},
		     {"10.0.0.1", false},  {"::", false},	  {"fe80::1", false}};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct pt_address one = address(cases[i].text);

		assert_int_equal(topology_is_loopback(&one), cases[i].loopback);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_of_a_connection_are_one_link),
		cmocka_unit_test(a_listener_is_enough_where_the_other_end_was_not_seen),
		cmocka_unit_test(the_same_port_of_another_node_is_not_ours),
		cmocka_unit_test(loopback_of_another_namespace_is_another_one),
		cmocka_unit_test(namespaces_joined_by_a_cable_are_seen_by_both_ends),
		cmocka_unit_test(what_is_translated_on_the_way_leads_away),
		cmocka_unit_test(two_listeners_of_one_port_are_told_apart_by_their_address),
		cmocka_unit_test(a_program_that_talks_to_itself_is_a_link),
		cmocka_unit_test(unix_sockets_are_told_by_their_other_ends),
		cmocka_unit_test(a_unix_socket_of_a_stranger_leads_away),
		cmocka_unit_test(nobody_talks_where_nothing_is),
		cmocka_unit_test(lines_of_the_kernels_tables_are_read),
		cmocka_unit_test(other_lines_are_refused),
		cmocka_unit_test(loopback_is_told_from_all_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
