/* SPDX-License-Identifier: MIT */
#include "cli/options_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/network.h"
#include "control/switch_word.h"
#include "discover/way.h"

#define NAME_MAX_BYTES 63

static const char *const checks[] = {"alive", "ready", NULL};
static const char *const outputs[] = {"text", "json", NULL};
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};

#define RUN OPTIONS_RUN
#define LIVE (OPTIONS_RUN | OPTIONS_STATUS | OPTIONS_TOP | OPTIONS_DOCTOR)
#define PRINTERS (OPTIONS_STATUS | OPTIONS_TOP | OPTIONS_LS | OPTIONS_DOCTOR | OPTIONS_SWITCH)
#define KERNEL_ONLY (OPTIONS_TOP | OPTIONS_SWITCH)

const struct option_row option_table[OPTION_ROWS] = {
	{
		.name = "bpffs",
		.argument = "DIR",
		.kind = OPTION_TEXT,
		.offset = offsetof(struct options, bpffs),
		.value = "/sys/fs/bpf/pulltap",
		.commands = LIVE | OPTIONS_SWITCH | OPTIONS_UNINSTALL,
		.help = "where programs and maps are pinned; must be on a bpf file system",
	},
	{
		.name = "check",
		.argument = "WHAT",
		.kind = OPTION_CHOICE,
		.offset = offsetof(struct options, check),
		.unset = "none",
		.choices = checks,
		.commands = OPTIONS_STATUS,
		.help = "for probes: print nothing and succeed if the agent is alive, or ready "
			"(alive, and its windows reach the database)",
	},
	{
		.name = "clients",
		.kind = OPTION_FLAG,
		.offset = offsetof(struct options, clients),
		.value = "no",
		.commands = RUN,
		.help = "also count by kind of client (docker, containerd, ...), as their "
			"User-Agent says",
	},
	{
		.name = "config",
		.argument = "FILE",
		.kind = OPTION_TEXT,
		.offset = offsetof(struct options, config),
		.unset = "/etc/pulltap/pulltap.conf if it exists",
		.commands = OPTIONS_ALL,
		.help = "read settings from this file",
	},
	{
		.name = "count-at",
		.argument = "PLACE",
		.kind = OPTION_NAMES,
		.offset = offsetof(struct options, count_at),
		.unset = "inner",
		.commands = RUN,
		.help = "where a pull counts that several targets of the node see: inner, front, "
			"both; a --target's NAME counts in any case; may be given again",
	},
	{
		.name = "database",
		.argument = "CONNINFO",
		.kind = OPTION_CONNINFO,
		.offset = offsetof(struct options, database),
		.unset = "the PG* variables, else a private cluster in the state directory",
		.commands = OPTIONS_ALL & ~KERNEL_ONLY & ~OPTIONS_UNINSTALL,
		.help = "PostgreSQL to use, as a libpq connection string or URI",
	},
	{
		.name = "guard-budget",
		.argument = "PERCENT",
		.kind = OPTION_PERCENT,
		.offset = offsetof(struct options, guard_budget),
		.value = "1",
		.max = 10000,
		.commands = RUN,
		.help = "switch a target off whose probes take more than this share of its CPU "
			"time; 0 never does",
	},
	{
		.name = "hint-time",
		.argument = "SECONDS",
		.seconds = true,
		.kind = OPTION_NUMBER,
		.offset = offsetof(struct options, hint_s),
		.value = "300",
		.min = 0,
		.max = 86400,
		.commands = RUN,
		.help = "how long a HEAD of a tag waits for the GET of its digest; 0 never joins "
			"them",
	},
	{
		.name = "log-level",
		.argument = "LEVEL",
		.kind = OPTION_CHOICE,
		.offset = offsetof(struct options, log_level),
		.value = "info",
		.choices = log_levels,
		.commands = OPTIONS_ALL,
		.help = "least important messages to print",
	},
	{
		.name = "max-keys",
		.argument = "COUNT",
		.kind = OPTION_NUMBER,
		.offset = offsetof(struct options, max_keys),
		.value = "65536",
		.min = 1024,
		.max = 1048576,
		.commands = RUN,
		.help = "different pulls that one window has room for in the kernel",
	},
	{
		.name = "no-discover",
		.kind = OPTION_FLAG,
		.offset = offsetof(struct options, discover),
		.value = "no",
		.commands = RUN,
		.help = "watch the named targets only, look for no registries",
	},
	{
		.name = "node",
		.argument = "NAME",
		.kind = OPTION_NAME,
		.offset = offsetof(struct options, node),
		.unset = "the host's name",
		.commands = RUN,
		.help = "what this machine is called in the database",
	},
	{
		.name = "output",
		.argument = "FORMAT",
		.kind = OPTION_CHOICE,
		.offset = offsetof(struct options, json),
		.value = "text",
		.choices = outputs,
		.commands = PRINTERS,
		.help = "how results are printed",
	},
	{
		.name = "reconcile",
		.argument = "NAME=WHERE",
		.kind = OPTION_TRUTHS,
		.offset = offsetof(struct options, reconcile),
		.unset = "none",
		.commands = RUN,
		.help = "compare registry NAME with its access log, its metrics or nginx's "
			"stub_status; may be given again",
	},
	{
		.name = "registry",
		.argument = "NAME",
		.kind = OPTION_NAME,
		.offset = offsetof(struct options, registry),
		.unset = "the binary's name",
		.commands = RUN,
		.help = "what registries that were found by themselves are called",
	},
	{
		.name = "rules",
		.argument = "FILE",
		.kind = OPTION_TEXT,
		.offset = offsetof(struct options, rules),
		.unset = "none",
		.commands = RUN,
		.help = "rules that say whose pulls and checks don't count; SIGHUP reads them "
			"again",
	},
	{
		.name = "spool-limit",
		.argument = "MIB",
		.kind = OPTION_NUMBER,
		.offset = offsetof(struct options, spool_limit_mib),
		.value = "256",
		.min = 1,
		.max = 1048576,
		.commands = RUN,
		.help = "room for windows that wait for the database; beyond it they are merged, "
			"never dropped",
	},
	{
		.name = "state-dir",
		.argument = "DIR",
		.kind = OPTION_TEXT,
		.offset = offsetof(struct options, state_dir),
		.value = "/var/lib/pulltap",
		.commands = OPTIONS_ALL & ~KERNEL_ONLY,
		.help = "where the spool, the private cluster and the status file are kept",
	},
	{
		.name = "switch-file",
		.argument = "FILE",
		.kind = OPTION_TEXT,
		.offset = offsetof(struct options, switch_file),
		.unset = "none",
		.commands = RUN,
		.help = "a file whose word, on or off, switches the counting; absent means on",
	},
	{
		.name = "switch-redis",
		.argument = "URL",
		.kind = OPTION_REDIS,
		.offset = offsetof(struct options, switch_redis),
		.unset = "none",
		.commands = RUN,
		.help = "a Redis key, pulltap:switch unless named, whose word switches the "
			"counting; absent means on",
	},
	{
		.name = "target",
		.argument = "NAME=WHAT",
		.kind = OPTION_TARGETS,
		.offset = offsetof(struct options, targets),
		.unset = "none",
		.commands = RUN | OPTIONS_DOCTOR,
		.help = "a process id, executable or container to watch as registry NAME, and "
			"which way in; may be given again",
	},
	{
		.name = "trusted-proxy",
		.argument = "NETWORK",
		.kind = OPTION_NETWORKS,
		.offset = offsetof(struct options, proxies),
		.unset = "none",
		.commands = RUN,
		.help = "where X-Forwarded-For, Forwarded or X-Real-IP says who the client is; "
			"may be given again",
	},
	{
		.name = "user",
		.argument = "NAME",
		.kind = OPTION_NAME,
		.offset = offsetof(struct options, user),
		.unset = "the user that starts it",
		.commands = RUN,
		.help = "user (name or number) that the agent becomes once its folders are ready",
	},
	{
		.name = "window",
		.argument = "SECONDS",
		.seconds = true,
		.kind = OPTION_NUMBER,
		.offset = offsetof(struct options, window_s),
		.value = "10",
		.min = 1,
		.max = 3600,
		.commands = RUN,
		.help = "how long counts are gathered in the kernel before they are written",
	},
};

/* The table's one list of commands, in the order of the bits. */
static const char *const command_names[] = {
	"run", "status", "top", "ls", "doctor", "migrate", "on, off", "uninstall",
};
_Static_assert(OPTIONS_ALL == (1 << (sizeof(command_names) / sizeof(command_names[0]))) - 1,
	       "a command has no name");

static int by_name(const void *key, const void *row)
{
	return strcmp(key, ((const struct option_row *)row)->name);
}

const struct option_row *option_find(const char *name)
{
	return bsearch(name, option_table, OPTION_ROWS, sizeof(option_table[0]), by_name);
}

void option_environment(const struct option_row *row, char ret[OPTION_ENVIRONMENT_MAX])
{
	size_t n = (size_t)snprintf(ret, OPTION_ENVIRONMENT_MAX, "PULLTAP_");

	for (const char *p = row->name; *p && n + 1 < OPTION_ENVIRONMENT_MAX; p++)
		ret[n++] = *p == '-' ? '_' : (char)(*p - 'a' + 'A');
	ret[n] = 0;
}

static bool is_name(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	return length > 0 && length <= NAME_MAX_BYTES;
}

static int store_number(const struct option_row *row, const char *text, unsigned int *field)
{
	unsigned long value;
	char *end;

	/* strtoul takes signs, spaces and "0x" that no range message would explain. */
	if (strspn(text, "0123456789") != strlen(text) || !*text)
		return -EINVAL;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || value < row->min || value > row->max)
		return -EINVAL;
	*field = (unsigned int)value;
	return 0;
}

/* "1", "0.5", "12.25" into hundredths. */
static int store_percent(const struct option_row *row, const char *text, unsigned int *field)
{
	size_t whole = strspn(text, "0123456789");
	size_t decimals = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
	unsigned int value = 0;

	if (!whole || whole > 3 || decimals > 2 || (text[whole] == '.') != (decimals > 0) ||
	    text[whole + (decimals ? decimals + 1 : 0)])
		return -EINVAL;
	for (size_t i = 0; i < whole; i++)
		value = value * 10 + (unsigned int)(text[i] - '0');
	for (size_t i = 0; i < 2; i++)
		value = value * 10 + (i < decimals ? (unsigned int)(text[whole + 1 + i] - '0') : 0);
	if (value < row->min || value > row->max)
		return -EINVAL;
	*field = value;
	return 0;
}

static int parse_flag(const char *text, bool *ret)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

	for (unsigned int i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(text, words[i])) {
			*ret = i & 1;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is_choice(const struct option_row *row, const char *text)
{
	for (const char *const *choice = row->choices; *choice; choice++) {
		if (!strcmp(*choice, text))
			return true;
	}
	return false;
}

/* An absolute path, or a URL without a password in it: those show in the process list. */
static bool is_path_or_url(const char *text)
{
	const char *host = NULL;

	if (!strncmp(text, "http://", 7))
		host = text + 7;
	else if (!strncmp(text, "https://", 8))
		host = text + 8;
	if (!host)
		return *text == '/';
	return strcspn(host, "/?#") && !memchr(host, '@', strcspn(host, "/?#"));
}

static int store_pair(const struct option_row *row, const char *text, struct options_list *list)
{
	const char *equals = strchr(text, '=');

	if (!equals || !equals[1] || !is_name(text, (size_t)(equals - text)) ||
	    list->count == OPTIONS_LIST)
		return -EINVAL;
	if (row->kind == OPTION_TRUTHS && !is_path_or_url(equals + 1))
		return -EINVAL;
	list->items[list->count++] = text;
	return 0;
}

static int store_network(const char *text, struct options_list *list)
{
	struct network network;

	if (list->count == OPTIONS_LIST || network_parse(text, &network))
		return -EINVAL;
	list->items[list->count++] = text;
	return 0;
}

static int store_name(const char *text, struct options_list *list)
{
	if (list->count == OPTIONS_LIST || !is_name(text, strlen(text)))
		return -EINVAL;
	list->items[list->count++] = text;
	return 0;
}

int option_store(const struct option_row *row, const char *text, struct options *options)
{
	void *field = (char *)options + row->offset;
	struct switch_redis redis;
	bool flag;

	switch (row->kind) {
	case OPTION_NUMBER:
		return store_number(row, text, field);
	case OPTION_PERCENT:
		return store_percent(row, text, field);
	case OPTION_TARGETS:
	case OPTION_TRUTHS:
		return store_pair(row, text, field);
	case OPTION_NETWORKS:
		return store_network(text, field);
	case OPTION_NAMES:
		return store_name(text, field);
	case OPTION_FLAG:
		if (parse_flag(text, &flag))
			return -EINVAL;
		/* The only flag whose field says the opposite. */
		*(bool *)field = row->offset == offsetof(struct options, discover) ? !flag : flag;
		return 0;
	case OPTION_CHOICE:
		if (!is_choice(row, text))
			return -EINVAL;
		if (row->offset == offsetof(struct options, json))
			options->json = !strcmp(text, "json");
		else
			*(const char **)field = text;
		return 0;
	case OPTION_NAME:
		if (!is_name(text, strlen(text)))
			return -EINVAL;
		break;
	case OPTION_REDIS:
		if (switch_redis_parse(text, &redis))
			return -EINVAL;
		break;
	case OPTION_TEXT:
	case OPTION_CONNINFO:
		if (!*text)
			return -EINVAL;
		break;
	}
	*(const char **)field = text;
	return 0;
}

static void append(char *text, size_t size, const char *more)
{
	size_t n = strlen(text);

	if (n + 1 < size)
		snprintf(text + n, size - n, "%s", more);
}

void option_accepts(const struct option_row *row, char *ret, size_t size)
{
	ret[0] = 0;
	switch (row->kind) {
	case OPTION_NUMBER:
		snprintf(ret, size, "a number %sfrom %u to %u", row->seconds ? "of seconds " : "",
			 row->min, row->max);
		break;
	case OPTION_PERCENT:
		snprintf(ret, size, "a number from 0 to 100 with at most two decimals");
		break;
	case OPTION_FLAG:
		snprintf(ret, size, "yes or no");
		break;
	case OPTION_CHOICE:
		for (const char *const *choice = row->choices; *choice; choice++) {
			if (choice != row->choices)
				append(ret, size, choice[1] ? ", " : " or ");
			append(ret, size, *choice);
		}
		break;
	case OPTION_NAME:
		snprintf(ret, size, "1 to %d printable characters without spaces", NAME_MAX_BYTES);
		break;
	case OPTION_TARGETS:
		snprintf(ret, size,
			 "NAME=[WAY:]PID, ...EXECUTABLE or ...CONTAINER; WAY: " WAY_NAMES
			 "; at most %d times",
			 OPTIONS_LIST);
		break;
	case OPTION_TRUTHS:
		snprintf(ret, size,
			 "NAME=/PATH or NAME=http[s]://HOST... without a password, at most %d "
			 "times",
			 OPTIONS_LIST);
		break;
	case OPTION_NETWORKS:
		snprintf(ret, size,
			 "an address or a network like 10.0.0.0/8 or 2001:db8::/32, at most %d "
			 "times",
			 OPTIONS_LIST);
		break;
	case OPTION_NAMES:
		snprintf(ret, size, "inner, front, both or a target's NAME, at most %d times",
			 OPTIONS_LIST);
		break;
	case OPTION_REDIS:
		snprintf(ret, size,
			 "redis://HOST[:PORT][/DATABASE][?key=NAME] or "
			 "unix:///SOCKET[?db=DATABASE&key=NAME]");
		break;
	case OPTION_CONNINFO:
		snprintf(ret, size, "a libpq connection string or URI");
		break;
	case OPTION_TEXT:
		snprintf(ret, size, "a path");
		break;
	}
}

static void print_commands(FILE *out, unsigned int commands)
{
	const char *separator = "";

	if (commands == OPTIONS_ALL) {
		fputs("all", out);
		return;
	}
	for (unsigned int i = 0; i < sizeof(command_names) / sizeof(command_names[0]); i++) {
		if (commands & 1u << i) {
			fprintf(out, "%s%s", separator, command_names[i]);
			separator = ", ";
		}
	}
}

void options_print_markdown(FILE *out)
{
	fputs("| option | commands | accepts | default | what it does |\n"
	      "| --- | --- | --- | --- | --- |\n",
	      out);
	for (unsigned int i = 0; i < OPTION_ROWS; i++) {
		const struct option_row *row = &option_table[i];
		char accepts[160];

		fprintf(out, "| `--%s", row->name);
		if (row->argument)
			fprintf(out, "=%s", row->argument);
		fputs("` | ", out);
		print_commands(out, row->commands);
		option_accepts(row, accepts, sizeof(accepts));
		fprintf(out, " | %s | ", accepts);
		if (row->value)
			fprintf(out, "`%s`", row->value);
		else
			fputs(row->unset, out);
		fprintf(out, " | %s |\n", row->help);
	}
}
