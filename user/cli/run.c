/* SPDX-License-Identifier: MIT */
/* `pulltap run`: the agent, in the foreground. */
#include <string.h>

#include "base/log.h"
#include "cli/commands.h"
#include "control/agent.h"

int command_run(int argc, char **argv)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	_cleanup_(options_free) struct options options = {};
	int rc =
		options_parse(&options, OPTIONS_RUN,
			      "Watch the registries of this node and ship their counts. SIGINT "
			      "removes the probes at the end, SIGTERM leaves them counting for the "
			      "next agent.",
			      argc, argv, NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	for (int i = 0; i < 4; i++)
		if (!strcmp(options.log_level, levels[i]))
			log_set_level((enum log_level)i);
	return agent_run(&options);
}
