/* SPDX-License-Identifier: MIT */
/* One binary, one command each. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"run", command_run, "watch the registries of this node and ship their counts (the agent)"},
	{"status", command_status, "targets, probes, windows, spool, ledger and losses"},
	{"top", command_top, "what is being pulled now, from the kernel's maps"},
	{"ls", command_ls, "repositories, or the tags and manifests of one, from the database"},
	{"doctor", command_doctor, "can this machine be observed, and if not what to do"},
	{"migrate", command_migrate, "bring the database to this version's schema"},
	{"on", command_on, "count again after off"},
	{"off", command_off, "stop counting at once and remove the probes"},
	{"uninstall", command_uninstall, "remove probes, programs and maps from the kernel"},
};

static void usage(FILE *out)
{
	fputs("Usage: pulltap COMMAND [OPTION...]\n\n"
	      "When was this tag last pulled, and how often? Answered from the kernel, without\n"
	      "touching the registry.\n\n",
	      out);
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	fputs("\n`pulltap COMMAND --help` lists a command's options.\n", out);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		puts("pulltap " PULLTAP_VERSION);
		return 0;
	}
	fprintf(stderr, "pulltap: there is no command \"%s\"\n\n", argv[1]);
	usage(stderr);
	return 2;
}
