/* SPDX-License-Identifier: MIT */
#include "cli/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/conninfo_mask.h"
#include "base/log.h"
#include "cli/options_file.h"
#include "cli/options_parse.h"
#include "cli/options_table.h"

#define DEFAULT_CONFIG "/etc/pulltap/pulltap.conf"
#define CONFIG_MAX (1u << 20)

/* Owned texts that the strings in struct options point into. */
struct options_text {
	char *file;
	char *environment[OPTION_ROWS];
};

static const char *source_name(const struct parse *parse, const struct option_row *row,
			       char ret[512])
{
	const struct setting *setting = &parse->settings[row - option_table];
	char variable[OPTION_ENVIRONMENT_MAX];

	switch (setting->source) {
	case SOURCE_FLAG:
		snprintf(ret, 512, "flag --%s", row->name);
		break;
	case SOURCE_ENVIRONMENT:
		option_environment(row, variable);
		snprintf(ret, 512, "environment %s", variable);
		break;
	case SOURCE_FILE:
		snprintf(ret, 512, "%.480s:%u", parse->config_path, setting->line);
		break;
	case SOURCE_DEFAULT:
		snprintf(ret, 512, "default");
		break;
	}
	return ret;
}

/* A value as it may be shown to anyone. */
static const char *shown(const struct option_row *row, const char *value, char ret[1024])
{
	if (row->kind == OPTION_CONNINFO || row->kind == OPTION_REDIS)
		conninfo_mask(value, ret, 1024);
	else
		snprintf(ret, 1024, "%s", value);
	return ret;
}

static int refuse(const struct parse *parse, const struct option_row *row, const char *value)
{
	char source[512], text[1024], quoted[256], accepts[160];

	option_accepts(row, accepts, sizeof(accepts));
	fprintf(stderr, "%s: %s = %s (%s) must be %s\n", parse->program, row->name,
		log_quote(quoted, sizeof(quoted), shown(row, value, text)),
		source_name(parse, row, source), accepts);
	return -EINVAL;
}

int options_add(struct parse *parse, const struct option_row *row, enum source source,
		unsigned int line, const char *value)
{
	struct setting *setting = &parse->settings[row - option_table];
	bool list = option_is_list(row);

	if (source < setting->source)
		return 0;
	if (source > setting->source)
		setting->count = 0;
	/* A flag given again replaces itself, as everywhere; a second line in a file is a slip. */
	if (source == SOURCE_FLAG && !list)
		setting->count = 0;
	if (setting->count == (list ? OPTIONS_LIST : 1))
		return 1;
	setting->source = source;
	setting->line = line;
	setting->values[setting->count++] = value;
	return 0;
}

/* A list stands in one variable, separated by commas. Cuts the copy in place. */
static int add_environment_list(struct parse *parse, const struct option_row *row, char *value)
{
	char *save = NULL;

	for (char *part = strtok_r(value, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		if (options_add(parse, row, SOURCE_ENVIRONMENT, 0, part))
			return refuse(parse, row, part);
	}
	return 0;
}

static int read_environment(struct parse *parse)
{
	for (unsigned int i = 0; i < OPTION_ROWS; i++) {
		const struct option_row *row = &option_table[i];
		char variable[OPTION_ENVIRONMENT_MAX];
		const char *value;
		char *copy;
		int err;

		option_environment(row, variable);
		value = getenv(variable);
		/* Manifests of orchestrators can hardly unset a variable: empty says nothing. */
		if (!value || !*value || !(row->commands & parse->command))
			continue;
		copy = parse->text->environment[i] = strdup(value);
		if (!copy)
			return -ENOMEM;
		err = option_is_list(row) ? add_environment_list(parse, row, copy)
					  : options_add(parse, row, SOURCE_ENVIRONMENT, 0, copy);
		if (err)
			return err;
	}
	return 0;
}

/* A line of the file. Returns 1 after a message. */
static int on_line(void *context, const char *key, const char *value, unsigned int line)
{
	const struct option_row *row = option_find(key);
	struct parse *parse = context;
	char quoted[128];

	if (!row || !strcmp(key, "config")) {
		fprintf(stderr, "%s: %s:%u: unknown setting %s\n", parse->program,
			parse->config_path, line, log_quote(quoted, sizeof(quoted), key));
		return 1;
	}
	if (!(row->commands & parse->command))
		return 0;
	if (options_add(parse, row, SOURCE_FILE, line, value)) {
		fprintf(stderr, "%s: %s:%u: %s is set more than %d time(s)\n", parse->program,
			parse->config_path, line, key, option_is_list(row) ? OPTIONS_LIST : 1);
		return 1;
	}
	return 0;
}

/* Reads a whole file and leaves room for one byte more. */
static int read_all(const char *path, char **ret, size_t *ret_size, unsigned int *ret_mode)
{
	_cleanup_free_ char *text = malloc(CONFIG_MAX + 1);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	size_t size = 0;

	if (!text)
		return -ENOMEM;
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	for (;;) {
		ssize_t n = read(fd, text + size, CONFIG_MAX + 1 - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		size += (size_t)n;
		if (size > CONFIG_MAX)
			return -EFBIG;
	}
	*ret = TAKE_PTR(text);
	*ret_size = size;
	*ret_mode = st.st_mode;
	return 0;
}

static int read_file(struct parse *parse)
{
	const struct setting *named = &parse->settings[option_find("config") - option_table];
	const char *path = named->count ? named->values[0] : DEFAULT_CONFIG;
	const struct options_file_sink sink = {.line = on_line, .context = parse};
	const char *reason = NULL;
	unsigned int line = 0;
	size_t size = 0;
	int err = read_all(path, &parse->text->file, &size, &parse->config_mode);

	if (err == -ENOENT && !named->count)
		return 0;
	if (err) {
		fprintf(stderr, "%s: cannot read config file %s: %s\n", parse->program, path,
			strerror(-err));
		return err == -ENOMEM ? err : -EINVAL;
	}
	parse->config_path = path;
	err = options_file_parse(parse->text->file, size, &sink, &line, &reason);
	if (err < 0)
		fprintf(stderr, "%s: %s:%u: %s\n", parse->program, path, line, reason);
	return err ? -EINVAL : 0;
}

/*
 * A password where everybody of this machine can read it is one that has leaked. With an @ that
 * nobody can place, libpq would take a part of the password for the host and name it in messages.
 */
static int check_secret(const struct parse *parse, const struct option_row *row,
			const struct setting *setting)
{
	enum conninfo_secret secret = conninfo_secret(setting->values[0]);
	const char *trouble = NULL;
	char source[512];

	if (secret && setting->source == SOURCE_FLAG)
		trouble = "holds a password that every process list shows: put it into a file that "
			  "PGPASSFILE names, a libpq service file, the environment or the config "
			  "file";
	else if (secret && setting->source == SOURCE_FILE && parse->config_mode & S_IRWXO)
		trouble = "holds a password in a file that others may read: chmod o= it, or put "
			  "the password into a file that PGPASSFILE names";
	else if (secret == CONNINFO_UNCLEAR)
		trouble = "has an @ that may be the password's: write @ as %40, / as %2F, ? as "
			  "%3F and : as %3A within user, password and parameters";
	if (!trouble)
		return 0;
	fprintf(stderr, "%s: %s (%s) %s\n", parse->program, row->name,
		source_name(parse, row, source), trouble);
	return -EINVAL;
}

/* Checks what is in effect, after everyone had a say. Lists in the order given. */
static int store_settings(struct parse *parse, struct options *options)
{
	for (unsigned int i = 0; i < OPTION_ROWS; i++) {
		const struct option_row *row = &option_table[i];
		struct setting *setting = &parse->settings[i];

		if (!setting->count && row->value)
			setting->values[setting->count++] = row->value;
		if ((row->kind == OPTION_CONNINFO || row->kind == OPTION_REDIS) && setting->count &&
		    check_secret(parse, row, setting))
			return -EINVAL;
		for (unsigned int v = 0; v < setting->count; v++) {
			if (option_store(row, setting->values[v], options))
				return refuse(parse, row, setting->values[v]);
		}
	}
	options->config = parse->config_path;
	return 0;
}

/* As a config file that would say the same, each line below where it came from. */
static void print_config(const struct parse *parse)
{
	for (unsigned int i = 0; i < OPTION_ROWS; i++) {
		const struct option_row *row = &option_table[i];
		const struct setting *setting = &parse->settings[i];
		char source[512], text[1024];

		if (!(row->commands & parse->command))
			continue;
		printf("# %s\n", source_name(parse, row, source));
		/* The file can't name itself. */
		if (!strcmp(row->name, "config"))
			printf("# config = %s\n", parse->config_path ? parse->config_path : "");
		else if (!setting->count)
			printf("# %s is not set: %s\n", row->name, row->unset);
		for (unsigned int v = 0; strcmp(row->name, "config") && v < setting->count; v++)
			printf("%s = %s\n", row->name, shown(row, setting->values[v], text));
	}
}

static int parse_all(struct parse *parse, struct options *options, const char *summary, int argc,
		     char **argv)
{
	int err = options_parse_flags(parse, summary, argc, argv);

	if (err || parse->served)
		return err ? err : 1;
	err = read_environment(parse);
	if (!err)
		err = read_file(parse);
	if (!err)
		err = store_settings(parse, options);
	if (!err && parse->print_config) {
		print_config(parse);
		return 1;
	}
	return err;
}

int options_parse(struct options *ret, enum options_command command, const char *summary, int argc,
		  char **argv, const char **positional, unsigned int positional_max)
{
	_cleanup_(options_free) struct options options = {0};
	_cleanup_free_ char **args = calloc((size_t)argc + 1, sizeof(*args));
	struct parse parse = {
		.command = command,
		.positional = positional,
		.positional_max = positional_max,
	};
	char program[64];
	int err;

	options.text = parse.text = calloc(1, sizeof(*options.text));
	if (!args || !options.text)
		return -ENOMEM;
	/* getopt and argp name the program by argv[0] in their messages; a user knows two words. */
	snprintf(program, sizeof(program), "pulltap %s", argv[0]);
	memcpy(args, argv, (size_t)argc * sizeof(*args));
	args[0] = program;
	parse.program = program;
	err = parse_all(&parse, &options, summary, argc, args);
	if (err)
		return err;
	if (positional)
		positional[parse.positional_count] = NULL;
	*ret = options;
	options = (struct options){0};
	return 0;
}

void options_free(struct options *options)
{
	struct options_text *text = options->text;

	if (text) {
		for (unsigned int i = 0; i < OPTION_ROWS; i++)
			free(text->environment[i]);
		free(text->file);
		free(text);
	}
	*options = (struct options){0};
}
