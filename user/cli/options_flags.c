/* SPDX-License-Identifier: MIT */
/*
 * The command line, by argp: its options are made from the table at each call, because each
 * command has some of them only.
 */
#include <argp.h>
#include <errno.h>
#include <string.h>

#include "cli/options_parse.h"

/* argp keys: a row's is KEY_ROW + its index. All are outside of what a letter could be. */
enum {
	KEY_ROW = 0x1000,
	KEY_HELP = 0x2000,
	KEY_USAGE,
	KEY_VERSION,
	KEY_PRINT_CONFIG,
};

static const struct argp_option common_options[] = {
	{"print-config", KEY_PRINT_CONFIG, NULL, 0, "print the settings in effect and end", -1},
	{"help", KEY_HELP, NULL, 0, "print this and end", -1},
	{"usage", KEY_USAGE, NULL, 0, "print the options in short and end", -1},
	{"version", KEY_VERSION, NULL, 0, "print the version and end", -1},
};
#define COMMON_OPTIONS (sizeof(common_options) / sizeof(common_options[0]))

static const char epilogue[] =
	"\vEach setting is also PULLTAP_ and its name in the environment (PULLTAP_LOG_LEVEL) and a "
	"line \"name = value\" in the config file. The flag wins over the environment, that over "
	"the "
	"file.";

static const struct option_row *row_of_key(int key)
{
	return key >= KEY_ROW && key < KEY_ROW + OPTION_ROWS ? &option_table[key - KEY_ROW] : NULL;
}

static error_t on_row(struct argp_state *state, const struct option_row *row, const char *value)
{
	if (options_add(state->input, row, SOURCE_FLAG, 0, value ? value : "yes")) {
		argp_error(state, "--%s is given more than %d times", row->name, OPTIONS_LIST);
		return EINVAL;
	}
	return 0;
}

static error_t on_argument(struct argp_state *state, const char *argument)
{
	struct parse *parse = state->input;

	if (parse->positional_count == parse->positional_max) {
		argp_error(state, "unexpected argument: %s", argument);
		return EINVAL;
	}
	parse->positional[parse->positional_count++] = argument;
	return 0;
}

static error_t on_key(int key, char *argument, struct argp_state *state)
{
	const struct option_row *row = row_of_key(key);
	struct parse *parse = state->input;

	if (row)
		return on_row(state, row, argument);
	switch (key) {
	case KEY_HELP:
	case KEY_USAGE:
		argp_state_help(state, stdout,
				key == KEY_HELP ? ARGP_HELP_STD_HELP : ARGP_HELP_USAGE);
		parse->served = true;
		return 0;
	case KEY_VERSION:
		printf("pulltap %s\n", PULLTAP_VERSION);
		parse->served = true;
		return 0;
	case KEY_PRINT_CONFIG:
		parse->print_config = true;
		return 0;
	case ARGP_KEY_ARG:
		return on_argument(state, argument);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Adds the default to a row's help, and what is accepted where the name does not say it. */
static char *add_default(int key, const char *text, void *input)
{
	const struct option_row *row = row_of_key(key);
	char accepts[160] = "", *longer;
	bool flag;

	(void)input;
	if (!row)
		return (char *)text;
	flag = row->kind == OPTION_FLAG;
	if (row->kind == OPTION_NUMBER || row->kind == OPTION_CHOICE)
		option_accepts(row, accepts, sizeof(accepts));
	if (flag || asprintf(&longer, "%s (%s%sdefault: %s)", text, accepts, *accepts ? "; " : "",
			     row->value ? row->value : row->unset) < 0)
		return (char *)text;
	return longer; /* argp frees what is not text */
}

static void fill_options(struct argp_option *out, unsigned int command)
{
	for (unsigned int i = 0; i < OPTION_ROWS; i++) {
		const struct option_row *row = &option_table[i];

		if (!(row->commands & command))
			continue;
		*out++ = (struct argp_option){
			.name = row->name,
			.key = KEY_ROW + (int)i,
			.arg = row->kind == OPTION_FLAG ? "yes|no" : row->argument,
			.flags = row->kind == OPTION_FLAG ? OPTION_ARG_OPTIONAL : 0,
			.doc = row->help,
		};
	}
	memcpy(out, common_options, sizeof(common_options));
}

int options_parse_flags(struct parse *parse, const char *summary, int argc, char **argv)
{
	struct argp_option rows[OPTION_ROWS + COMMON_OPTIONS + 1] = {0};
	const char *newline = strchr(summary, '\n');
	_cleanup_free_ char *arguments =
		newline ? strndup(summary, (size_t)(newline - summary)) : strdup("");
	_cleanup_free_ char *doc = NULL;
	struct argp argp = {.options = rows, .parser = on_key, .help_filter = add_default};

	if (!arguments || asprintf(&doc, "%s%s", newline ? newline + 1 : summary, epilogue) < 0) {
		doc = NULL;
		return -ENOMEM;
	}
	fill_options(rows, parse->command);
	argp.args_doc = *arguments ? arguments : NULL;
	argp.doc = doc;
	/* A library that may be tested does not end the process: no exit, and a --help of our own.
	 */
	return argp_parse(&argp, argc, argv, ARGP_NO_EXIT | ARGP_NO_HELP, NULL, parse) ? -EINVAL
										       : 0;
}
