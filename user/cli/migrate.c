/* SPDX-License-Identifier: MIT */
/* `pulltap migrate`: the schema's owner brings the database to this version. */
#include "cli/commands.h"
#include "store/schema.h"

int command_migrate(int argc, char **argv)
{
	_cleanup_(options_free) struct options options = {};
	char buffer[1024];
	const char *conninfo;
	bool embedded;
	int rc = options_parse(&options, OPTIONS_MIGRATE,
			       "Bring the database to this version's schema. Needs a role that may "
			       "create the schema; agents need only the role pulltap_agent.",
			       argc, argv, NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	conninfo = command_conninfo(&options, buffer, sizeof(buffer), &embedded);
	return !conninfo || schema_migrate(conninfo, false) ? 1 : 0;
}
