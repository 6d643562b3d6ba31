/* SPDX-License-Identifier: MIT */
/* `pulltap on` and `pulltap off`: the operator's bit of the kill switch. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attach/kernel.h"
#include "cli/commands.h"

static int operate(int argc, char **argv, const char *summary, uint32_t set, uint32_t clear)
{
	_cleanup_(options_free) struct options options = {};
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	uint32_t mask = 0;
	int rc = options_parse(&options, OPTIONS_SWITCH, summary, argc, argv, NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	if (command_open_kernel(&kernel, &options))
		return 1;
	rc = kernel_switch(kernel, set, clear, &mask);
	if (rc) {
		fprintf(stderr, "pulltap: writing the switch: %s\n", strerror(-rc));
		return 1;
	}
	if (options.json)
		printf("{\"counting\": %s, \"off_mask\": %u}\n", mask ? "false" : "true", mask);
	else if (mask && !set)
		printf("still off: another source says so (mask %u)\n", mask);
	else
		puts(mask ? "off: nothing is counted; `pulltap on` counts again" : "on");
	return 0;
}

int command_on(int argc, char **argv)
{
	return operate(argc, argv, "Count again after `pulltap off`.", 0, PT_OFF_OPERATOR);
}

int command_off(int argc, char **argv)
{
	return operate(argc, argv,
		       "Stop counting at once. The probes stay and return immediately; `pulltap "
		       "uninstall` removes them.",
		       PT_OFF_OPERATOR, 0);
}
