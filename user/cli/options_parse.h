/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the option parser share; nobody else includes this.
 */
#ifndef PULLTAP_CLI_OPTIONS_PARSE_H
#define PULLTAP_CLI_OPTIONS_PARSE_H

#include "cli/options.h"
#include "cli/options_table.h"

/* Higher wins. */
enum source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG };

/* What one setting was given by the highest source that named it. */
struct setting {
	enum source source;
	unsigned int line; /* SOURCE_FILE */
	unsigned int count;
	const char *values[OPTIONS_LIST];
};

struct parse {
	unsigned int command;
	const char *program; /* "pulltap run" */
	const char *config_path; /* the file that was read; NULL: none */
	unsigned int config_mode; /* its permissions */
	struct options_text *text;
	struct setting settings[OPTION_ROWS]; /* by row */
	const char **positional;
	unsigned int positional_count;
	unsigned int positional_max;
	bool print_config;
	bool served; /* --help and its like: nothing is left to do */
};

/* Takes one value unless a higher source has named the setting. Returns 1 for one too many. */
must_check int options_add(struct parse *parse, const struct option_row *row, enum source source,
			   unsigned int line, const char *value);

/* The flags. 0, -EINVAL after a message. argv[0] is the program's name for messages. */
must_check int options_parse_flags(struct parse *parse, const char *summary, int argc, char **argv);

#endif
