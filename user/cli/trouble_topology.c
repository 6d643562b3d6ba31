/* SPDX-License-Identifier: MIT */
/* Where what sockets show contradicts where pulls are counted. */
#include <stdio.h>
#include <string.h>

#include "cli/topology_words.h"
#include "cli/trouble.h"

const char *topology_name(char ret[TOPOLOGY_NAME], const json_t *program)
{
	snprintf(ret, TOPOLOGY_NAME, "%s %s (%s, pid %d)", topology_text(program, "place"),
		 topology_text(program, "registry"), topology_text(program, "program"),
		 (int)json_integer_value(json_object_get(program, "pid")));
	return ret;
}

const json_t *topology_end(const json_t *topology, const json_t *link, const char *key)
{
	const json_t *number = json_object_get(link, key);

	return json_is_integer(number) ? json_array_get(json_object_get(topology, "programs"),
							(size_t)json_integer_value(number))
				       : NULL;
}

const json_t *topology_away(const json_t *topology, const json_t *program)
{
	const json_t *link, *found = NULL;
	size_t i;

	json_array_foreach(json_object_get(topology, "links"), i, link)
	{
		if (topology_end(topology, link, "from") != program ||
		    topology_end(topology, link, "to"))
			continue;
		/* one that may lead to this node decides nothing, whatever else there is */
		if (!found || json_is_true(json_object_get(link, "unclear")))
			found = link;
	}
	return found;
}

static void find_twice(const json_t *topology, const json_t *link, json_t *found)
{
	const json_t *from = topology_end(topology, link, "from");
	const json_t *to = topology_end(topology, link, "to");
	char one[TOPOLOGY_NAME], other[TOPOLOGY_NAME];

	if (!to || !topology_is(from, "counts") ||
	    !(topology_is(to, "counts") || topology_is(to, "behind")) ||
	    !strcmp(topology_text(from, "place"), "registry"))
		return;
	if (from == to)
		trouble_add(
			found,
			"give the inner one a file of its own (a copy), and --target with a "
			"name of its own; see docs/front-ends.md",
			"%s was seen to talk to itself at %s: what passes it twice counts twice",
			topology_name(one, from), topology_text(link, "address"));
	else
		trouble_add(found,
			    "count at one of them: leave --count-at out, or name one place; see "
			    "docs/front-ends.md",
			    "%s was seen to talk to %s at %s and both count: each pull through "
			    "both counts twice",
			    topology_name(one, from), topology_name(other, to),
			    topology_text(link, "address"));
}

static void find_nowhere(const json_t *topology, const json_t *program, json_t *found)
{
	const json_t *away = topology_away(topology, program);
	char name[TOPOLOGY_NAME], advice[320];

	if (!topology_is(program, "elsewhere") || topology_is(program, "counts") ||
	    topology_is(program, "behind") || !away || topology_is(away, "unclear"))
		return;
	snprintf(advice, sizeof(advice),
		 "if another registry is there, count it: --count-at=%s; if it leads to one that "
		 "counts, leave this target out; see docs/front-ends.md",
		 topology_text(program, "registry"));
	trouble_add(found, advice,
		    "%s does not count, for others of this node do, but was seen to talk to %s and "
		    "to none of them",
		    topology_name(name, program), topology_text(away, "address"));
}

void trouble_topology(const json_t *status, json_t *found)
{
	const json_t *agent = json_object_get(status, "agent"), *entry;
	const json_t *topology = json_object_get(agent, "topology");
	size_t i;

	if (!topology_is(agent, "running"))
		return;
	json_array_foreach(json_object_get(topology, "links"), i, entry)
		find_twice(topology, entry, found);
	json_array_foreach(json_object_get(topology, "programs"), i, entry)
		find_nowhere(topology, entry, found);
}
