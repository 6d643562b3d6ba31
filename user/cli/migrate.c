/* SPDX-License-Identifier: MIT */
/* `pulltap migrate`: the schema's owner brings the database to this version. */
#include "cli/commands.h"
#include "store/embedded.h"
#include "store/schema.h"

int command_migrate(int argc, char **argv)
{
	_cleanup_(options_free) struct options options = {};
	char buffer[1024];
	bool embedded;
	int rc = options_parse(&options, OPTIONS_MIGRATE,
			       "Bring the database to this version's schema. Needs a role that may "
			       "create the schema; agents need only the role pulltap_agent.",
			       argc, argv, NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	return schema_migrate(embedded_or(options.database, options.state_dir, buffer,
					  sizeof(buffer), &embedded),
			      false)
		       ? 1
		       : 0;
}
