/* SPDX-License-Identifier: MIT */
/*
 * The table itself: one row per setting, and what follows from a row alone. Pure, main thread.
 */
#ifndef PULLTAP_CLI_OPTIONS_TABLE_H
#define PULLTAP_CLI_OPTIONS_TABLE_H

#include <stddef.h>

#include "cli/options.h"

enum option_kind {
	OPTION_TEXT, /* anything but nothing */
	OPTION_CONNINFO, /* text whose passwords are never shown */
	OPTION_REDIS, /* the same, and a flag may hold none */
	OPTION_NAME, /* 1 to 63 printable characters without a space: ends up in the database */
	OPTION_NUMBER,
	OPTION_PERCENT, /* with up to two decimals, kept as hundredths */
	OPTION_FLAG, /* yes or no; yes when a flag stands alone */
	OPTION_CHOICE,
	OPTION_TARGETS, /* NAME=VALUE, up to OPTIONS_LIST of them */
	OPTION_TRUTHS, /* the same; the value is a path or a URL */
	OPTION_NETWORKS, /* up to OPTIONS_LIST of them */
	OPTION_NAMES, /* the same, of OPTION_NAME's kind */
};

struct option_row {
	const char *name; /* of the flag and in the file; the environment's is derived */
	const char *argument; /* as --help names it */
	const char *value; /* default; NULL: not set */
	const char *unset; /* what happens without a value, for the documentation */
	const char *help;
	const char *const *choices; /* OPTION_CHOICE, NULL-terminated */
	size_t offset; /* of the field in struct options */
	unsigned int min; /* OPTION_NUMBER, inclusive */
	unsigned int max;
	bool seconds; /* what the number counts */
	unsigned int commands; /* bits of enum options_command */
	enum option_kind kind;
};

/* In the order of their names. OPTION_ROWS is their number. */
#define OPTION_ROWS 24
extern const struct option_row option_table[OPTION_ROWS];

/* May it be given again, up to OPTIONS_LIST times? */
static inline bool option_is_list(const struct option_row *row)
{
	return row->kind == OPTION_TARGETS || row->kind == OPTION_TRUTHS ||
	       row->kind == OPTION_NETWORKS || row->kind == OPTION_NAMES;
}

/* NULL when there is none. */
const struct option_row *option_find(const char *name);

#define OPTION_ENVIRONMENT_MAX 40
/* "PULLTAP_STATE_DIR" for state-dir. */
void option_environment(const struct option_row *row, char ret[OPTION_ENVIRONMENT_MAX]);

/*
 * Checks the text and puts it into its field (a list's is appended). -EINVAL leaves options alone.
 * text is kept, not copied.
 */
must_check int option_store(const struct option_row *row, const char *text,
			    struct options *options);

/* "a number of seconds from 1 to 3600": completes "must be ...". */
void option_accepts(const struct option_row *row, char *ret, size_t size);

#endif
