/* SPDX-License-Identifier: MIT */
/*
 * `pulltap on` and `pulltap off`: the operator's word. Both act on the kernel's maps and pins
 * themselves and need no agent; one that runs closes its window and brings the probes back.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "attach/bpffs.h"
#include "attach/off.h"
#include "cli/commands.h"

static const char *who(char *ret, size_t size)
{
	const struct passwd *account = getpwuid(getuid());
	const char *sudo = getenv("SUDO_USER");

	if (sudo && *sudo)
		snprintf(ret, size, "%s", sudo);
	else if (account)
		snprintf(ret, size, "%s", account->pw_name);
	else
		snprintf(ret, size, "uid %u", getuid());
	return ret;
}

static bool agent_runs(const struct options *options)
{
	int lock = bpffs_lock(options->bpffs);

	if (lock >= 0)
		close(lock);
	return lock == -EWOULDBLOCK;
}

static void print_result(const struct kernel *kernel, const struct options *options, uint32_t mask,
			 bool off)
{
	const char *separator = "";

	if (options->json) {
		printf("{\"counting\": %s, \"off_mask\": %u}\n", mask ? "false" : "true", mask);
		return;
	}
	if (off) {
		puts("off: nothing is counted, the probes are removed; `pulltap on` counts again");
		return;
	}
	if (!mask) {
		puts(agent_runs(options) ? "on"
					 : "on: counting is allowed; the probes come back with "
					   "`pulltap run`, no agent is running");
		return;
	}
	printf("still off (mask %u): ", mask);
	for (unsigned int i = 0; i < PT_OFF_SOURCES; i++) {
		const struct pt_word *word = &kernel->control->words[i];

		if (!(mask & 1u << i))
			continue;
		printf("%s%s says so", separator, off_source_name(i));
		if (word->off && word->who[1][0])
			printf(" (%s)", word->who[1]);
		separator = ", ";
	}
	puts("");
}

static int operate(int argc, char **argv, const char *summary, bool off)
{
	_cleanup_(options_free) struct options options = {};
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	char name[64];
	uint32_t mask;
	int rc = options_parse(&options, OPTIONS_SWITCH, summary, argc, argv, NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	if (command_open_kernel(&kernel, &options))
		return 1;
	who(name, sizeof(name));
	if (off) {
		off_say(kernel, OFF_OPERATOR, true, name);
		mask = off_enforce(kernel);
	} else {
		mask = off_take_back(kernel, name);
	}
	print_result(kernel, &options, mask, off);
	return 0;
}

int command_on(int argc, char **argv)
{
	return operate(argc, argv,
		       "Count again after `pulltap off`, a signal, a bit set by hand or the guard. "
		       "What a file, the database or Redis says has to be taken back there.",
		       false);
}

int command_off(int argc, char **argv)
{
	return operate(argc, argv,
		       "Stop counting at once and remove the probes. What was counted is kept and "
		       "shipped; the time switched off is recorded.",
		       true);
}
