/* SPDX-License-Identifier: MIT */
/*
 * The subcommands. Each takes its own argv (argv[0] is its name) and returns an exit status:
 * 0 done, 1 failed, 2 wrong usage.
 */
#ifndef PULLTAP_CLI_COMMANDS_H
#define PULLTAP_CLI_COMMANDS_H

#include "base/cleanup.h"
#include "cli/options.h"

int command_run(int argc, char **argv);
int command_status(int argc, char **argv);
int command_top(int argc, char **argv);
int command_ls(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_migrate(int argc, char **argv);
int command_on(int argc, char **argv);
int command_off(int argc, char **argv);
int command_uninstall(int argc, char **argv);

/*
 * Opens the pinned set for a command that looks or switches; on failure says on standard error
 * what is missing and what to do.
 */
struct kernel;
must_check int command_open_kernel(struct kernel **ret, const struct options *options);

/*
 * The database that a command works with (see embedded_or()); NULL after a message when libpq would
 * not understand how it was named.
 */
const char *command_conninfo(const struct options *options, char *buffer, size_t size,
			     bool *ret_embedded);

#endif
