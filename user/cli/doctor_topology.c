/* SPDX-License-Identifier: MIT */
/* Which probed program talks to which, where pulls are counted, and what clients look like there.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/doctor.h"
#include "cli/topology_words.h"

static const char *where(const json_t *program)
{
	if (topology_is(program, "counts"))
		return "counts";
	return topology_is(program, "elsewhere") ? "does not count: others of this node do"
						 : "is off";
}

static void say_program(struct report *report, const json_t *topology, const json_t *program)
{
	const json_t *away = topology_away(topology, program);
	char name[TOPOLOGY_NAME], advice[256];

	topology_name(name, program);
	if (!topology_is(program, "elsewhere") || topology_is(program, "behind")) {
		report_say(report, VERDICT_OK, "topology", "", "%s %s", name, where(program));
		return;
	}
	snprintf(advice, sizeof(advice),
		 "nothing, if it passes pulls on to them; else --count-at=%s (docs/front-ends.md)",
		 topology_text(program, "registry"));
	if (!away)
		report_say(report, VERDICT_NOTE, "topology", advice,
			   "%s %s; it was not seen to talk to anybody yet", name, where(program));
	else
		report_say(report, VERDICT_NOTE, "topology", advice,
			   "%s %s; it was seen to talk to %s, %s", name, where(program),
			   topology_text(away, "address"),
			   topology_is(away, "unclear") ? "and sockets do not show who that is"
							: "which is none of them");
}

/* What it costs when the registry takes its front end for all clients. */
static void say_client(struct report *report, const json_t *from, const json_t *to,
		       const json_t *link)
{
	const char *client = topology_text(link, "client");
	char advice[400];

	if (!topology_is(to, "counts") || from == to || topology_is(link, "trusted"))
		return;
	if (!client[0]) {
		report_say(report, VERDICT_NOTE, "clients",
			   "let it listen on 127.0.0.1 and trust that address (docs/front-ends.md)",
			   "registry %s is asked over a unix socket, which has no address: a HEAD "
			   "and its GET are not joined, and rules with peer= hold for nobody",
			   topology_text(to, "registry"));
		return;
	}
	snprintf(advice, sizeof(advice),
		 "in %s set X-Forwarded-For (nginx: proxy_set_header X-Forwarded-For "
		 "$proxy_add_x_forwarded_for;), then add --trusted-proxy=%s (docs/front-ends.md)",
		 topology_text(from, "program"), client);
	report_say(report, VERDICT_NOTE, "clients", advice,
		   "registry %s sees %s as every client's address: rules with peer= see no client, "
		   "and a HEAD is joined with whoever's GET of that digest",
		   topology_text(to, "registry"), client);
}

static void say_link(struct report *report, const json_t *topology, const json_t *link)
{
	const json_t *from = topology_end(topology, link, "from");
	const json_t *to = topology_end(topology, link, "to");
	char one[TOPOLOGY_NAME], other[TOPOLOGY_NAME];
	long long ago = (long long)time(NULL) - json_integer_value(json_object_get(link, "seen"));

	if (!to)
		return; /* said with the program, where it matters */
	report_say(report, VERDICT_OK, "topology", "", "%s talks to %s at %s, seen %lld s ago",
		   topology_name(one, from), topology_name(other, to),
		   topology_text(link, "address"), ago);
	say_client(report, from, to, link);
}

void doctor_topology(struct report *report, const json_t *status)
{
	const json_t *topology = json_object_get(json_object_get(status, "agent"), "topology");
	const json_t *entry;
	size_t i;

	if (!json_is_true(json_object_get(json_object_get(status, "agent"), "running")))
		return;
	json_array_foreach(json_object_get(topology, "programs"), i, entry)
		say_program(report, topology, entry);
	json_array_foreach(json_object_get(topology, "links"), i, entry)
		say_link(report, topology, entry);
}
