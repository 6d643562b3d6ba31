/* SPDX-License-Identifier: MIT */
/*
 * Every setting, in one sorted table (options_table.c) that makes the parsing (flags, PULLTAP_*
 * environment, config file; the first named wins), --help, --print-config and the documentation
 * check. Main thread only.
 */
#ifndef PULLTAP_CLI_OPTIONS_H
#define PULLTAP_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"

/* A setting that may be given again. */
#define OPTIONS_LIST 32
struct options_list {
	const char *items[OPTIONS_LIST];
	unsigned int count;
};

struct options {
	const char *config; /* the file that was read; NULL: none */
	const char *database; /* libpq conninfo; NULL: PG* variables, else the embedded cluster */
	const char *state_dir; /* spool, embedded cluster, status file */
	const char *bpffs; /* where programs and maps are pinned */
	const char *registry; /* registry name for targets found by themselves; NULL: by binary */
	const char *node; /* node name; NULL: host name */
	const char *user; /* to become after the start; NULL: stay who we are */
	struct options_list targets; /* NAME=[WAY:]PID|EXE|CONTAINER */
	struct options_list count_at; /* inner, front, both, NAMEs of targets */
	struct options_list reconcile; /* NAME=PATH|URL of an outside truth */
	unsigned int window_s;
	unsigned int max_keys; /* short keys per window */
	unsigned int spool_limit_mib; /* windows that wait take no more, if merging can do it */
	unsigned int guard_budget; /* hundredths of a percent of the registry's CPU time; 0: none */
	unsigned int hint_s; /* how long a HEAD by tag waits for its GET */
	const char *switch_file; /* says on or off; NULL: none */
	const char *switch_redis; /* URL of a key that does; NULL: none */
	const char *rules; /* file that says who does not count; NULL: everybody counts */
	struct options_list proxies; /* networks whose word about clients is believed */
	bool clients; /* count by kind of client */
	bool discover; /* look for registries by themselves */
	bool json; /* --output json */
	const char *check; /* "alive", "ready"; NULL: the whole status */
	const char *log_level; /* "error", "warn", "info", "debug" */
	struct options_text *text; /* private: what the strings above point into */
};

/* Options apply to some commands only. */
enum options_command {
	OPTIONS_RUN = 1 << 0,
	OPTIONS_STATUS = 1 << 1,
	OPTIONS_TOP = 1 << 2,
	OPTIONS_LS = 1 << 3,
	OPTIONS_DOCTOR = 1 << 4,
	OPTIONS_MIGRATE = 1 << 5,
	OPTIONS_SWITCH = 1 << 6, /* on, off */
	OPTIONS_UNINSTALL = 1 << 7,
	OPTIONS_ALL = 0xff,
};

/*
 * Parses argv of one command (argv[0] is the command's name). Flags win over the environment, the
 * environment over the file, the file over the defaults; a list is taken from one of them as a
 * whole. What does not apply to the command is ignored in the environment and the file, so that a
 * bad window can't keep `pulltap off` from working. positional receives what is left and a NULL
 * behind it: it needs room for positional_max + 1, or is NULL for a command without any.
 * summary is the text of --help; a first line that ends in '\n' names the positional arguments, as
 * in "[REPOSITORY]\nlists what was counted".
 * Returns 0; -EINVAL after a message on standard error that names the setting, where it came from
 * and what is accepted; -ENOMEM; 1 when --help, --version or --print-config was served and the
 * program should end with success. Strings live until options_free, and as long as argv.
 */
must_check int options_parse(struct options *ret, enum options_command command, const char *summary,
			     int argc, char **argv, const char **positional,
			     unsigned int positional_max);
void options_free(struct options *options);

/* The table as Markdown (docs/reference.md is compared with it by a test). */
void options_print_markdown(FILE *out);

#endif
