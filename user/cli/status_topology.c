/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <time.h>

#include "cli/topology_words.h"

void status_print_topology(const json_t *status)
{
	const json_t *topology = json_object_get(json_object_get(status, "agent"), "topology");
	char one[TOPOLOGY_NAME], other[TOPOLOGY_NAME];
	const char *title = "topology";
	const json_t *link;
	size_t i;

	json_array_foreach(json_object_get(topology, "links"), i, link)
	{
		const json_t *to = topology_end(topology, link, "to");

		if (!to)
			continue;
		printf("%-10s %s talks to %s at %s\n", title,
		       topology_name(one, topology_end(topology, link, "from")),
		       topology_name(other, to), topology_text(link, "address"));
		title = "";
	}
}
