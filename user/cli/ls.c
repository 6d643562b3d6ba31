/* SPDX-License-Identifier: MIT */
/* `pulltap ls [REPO]`: what the database knows. */
#include <stdio.h>

#include "cli/commands.h"
#include "store/embedded.h"
#include "store/query.h"

int command_ls(int argc, char **argv)
{
	_cleanup_(options_free) struct options options = {};
	const char *positional[2] = {};
	char buffer[1024];
	const char *conninfo;
	bool embedded;
	int rc =
		options_parse(&options, OPTIONS_LS,
			      "List repositories, or the tags and manifests of REPO: pulls, checks "
			      "and when they were last used.",
			      argc, argv, positional, 1);

	if (rc)
		return rc < 0 ? 2 : 0;
	conninfo = command_conninfo(&options, buffer, sizeof(buffer), &embedded);
	if (!conninfo)
		return 1;
	if (embedded && !embedded_running(options.state_dir)) {
		fprintf(stderr,
			"pulltap: the embedded PostgreSQL under %s is not running: it runs with "
			"`pulltap run`; --database takes a server of your own\n",
			options.state_dir);
		return 1;
	}
	return query_list(conninfo, options.registry, positional[0], options.json, stdout) ? 1 : 0;
}
