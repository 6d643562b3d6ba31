/* SPDX-License-Identifier: MIT */
/*
 * `pulltap status`: where everything stands. Probes, windows and the books come from the kernel
 * itself and are true without an agent; shipping comes from the file that the agent writes each
 * second. Exit status 1 when something needs a person.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attach/bpffs.h"
#include "attach/kernel.h"
#include "attach/sites.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "control/health.h"
#include "control/status_file.h"
#include "window/window.h"

static json_t *agent_json(const struct options *options, const struct kernel *kernel)
{
	char path[PATH_MAX];
	json_t *agent;
	int lock = bpffs_lock(options->bpffs);

	snprintf(path, sizeof(path), "%s/" STATUS_FILE_NAME, options->state_dir);
	agent = json_load_file(path, 0, NULL);
	if (!agent)
		agent = json_object();
	json_object_set_new(agent, "running", json_boolean(lock == -EWOULDBLOCK));
	json_object_set_new(agent, "pid", json_integer(kernel->control->agent_pid));
	if (lock >= 0)
		close(lock);
	return agent;
}

static json_t *sites_json(const struct kernel *kernel)
{
	json_t *sites = json_array();

	for (uint32_t i = 0; i < PT_SITES; i++) {
		struct pt_site site;
		struct pt_registry registry = {};

		if (!sites_read(kernel, i, &site))
			continue;
		sites_registry(kernel, site.registry, &registry);
		json_array_append_new(
			sites, json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:I}", "registry",
					 registry.name, "symbol", site.symbol, "inode",
					 (json_int_t)site.inode, "hits", (json_int_t)site.hits,
					 "layout_failures", (json_int_t)site.layout_failures, "off",
					 site.off, "file_offset", (json_int_t)site.file_offset));
	}
	return sites;
}

static json_t *programs_json(const struct kernel *kernel)
{
	json_t *programs = json_array();

	for (enum kernel_program i = 0; i < KERNEL_PROGRAMS; i++) {
		uint64_t ns, runs;

		if (kernel_program_stats(kernel, i, &ns, &runs))
			continue;
		json_array_append_new(programs,
				      json_pack("{s:s, s:I, s:I}", "name", kernel_program_name(i),
						"measured_runs", (json_int_t)runs, "ns_per_run",
						(json_int_t)(runs ? ns / runs : 0)));
	}
	return programs;
}

static json_t *window_json(const struct kernel *kernel)
{
	unsigned int active = kernel->control->active & 1;
	const struct pt_slot *slot = &kernel->control->slot[active];
	uint64_t ledger[LEDGER_COUNT] = {}, used = 0, limit = 0;
	json_t *books = json_object();
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	if (kernel_ledger(kernel, active, ledger) || kernel_memory(kernel, &used, &limit))
		json_object_set_new(books, "error", json_string("the maps can't be read"));
	for (int i = 0; i < LEDGER_COUNT; i++)
		json_object_set_new(books, ledger_fields[i].name,
				    json_integer((json_int_t)ledger[i]));
	return json_pack(
		"{s:I, s:I, s:i, s:i, s:b, s:I, s:I, s:o}", "sequence", (json_int_t)slot->sequence,
		"age_s", (json_int_t)(now.tv_sec - (time_t)(slot->start_boot_ns / 1000000000ull)),
		"keys", (int)slot->short_keys, "long_keys", (int)slot->long_keys, "other_waits",
		kernel->control->slot[!active].dirty != 0, "memory_bytes", (json_int_t)used,
		"memory_limit_bytes_per_window", (json_int_t)limit, "ledger", books);
}

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Every counter of one kind that is not zero, as "name=1 other=2". */
static uint64_t print_kind(const json_t *ledger, enum ledger_kind kind, const char *title)
{
	uint64_t sum = 0;

	for (int i = 0; i < LEDGER_COUNT; i++) {
		json_int_t value = number(ledger, ledger_fields[i].name);

		if (ledger_fields[i].kind != kind || !value)
			continue;
		printf("%-10s %12" JSON_INTEGER_FORMAT "  %s: %s\n", sum ? "" : title, value,
		       ledger_fields[i].name, ledger_fields[i].help);
		sum += (uint64_t)value;
	}
	return sum;
}

static void print_agent(const json_t *agent)
{
	const json_t *windows = json_object_get(agent, "windows");
	const json_t *shipping = json_object_get(agent, "shipping");
	const char *error = json_string_value(json_object_get(windows, "error"));
	const char *last_error = json_string_value(json_object_get(shipping, "last_error"));
	char shown[700];

	if (json_is_true(json_object_get(agent, "running")))
		printf("agent      running, pid %" JSON_INTEGER_FORMAT
		       ", pulltap %s, node %s, up %lld s\n",
		       number(agent, "pid"),
		       json_string_value(json_object_get(agent, "version")) ?: "?",
		       json_string_value(json_object_get(agent, "node")) ?: "?",
		       (long long)(time(NULL) - number(agent, "started")));
	else
		puts("agent      NOT RUNNING: probes go on counting, nothing is shipped; start "
		     "`pulltap run`");
	if (!shipping)
		return;
	printf("windows    every %" JSON_INTEGER_FORMAT " s, %" JSON_INTEGER_FORMAT
	       " drained (%" JSON_INTEGER_FORMAT " early), last one %" JSON_INTEGER_FORMAT
	       " keys in %" JSON_INTEGER_FORMAT " us\n",
	       number(windows, "length_s"), number(windows, "drained"), number(windows, "early"),
	       number(windows, "last_keys"), number(windows, "last_drain_us"));
	if (error)
		printf("           NOT WRITTEN: %s; counts stay in the kernel\n",
		       text_printable(shown, sizeof(shown), error, 500));
	printf("spool      %" JSON_INTEGER_FORMAT " waiting, %s, %" JSON_INTEGER_FORMAT
	       " put aside\n",
	       number(shipping, "waiting"),
	       text_bytes(shown, (uint64_t)number(shipping, "waiting_bytes")),
	       number(shipping, "put_aside"));
	printf("database   %s, %" JSON_INTEGER_FORMAT " windows and %" JSON_INTEGER_FORMAT
	       " rows applied, %" JSON_INTEGER_FORMAT " duplicates dropped, %" JSON_INTEGER_FORMAT
	       " rows rejected\n",
	       json_string_value(json_object_get(shipping, "state")) ?: "?",
	       number(shipping, "accepted"), number(shipping, "rows"),
	       number(shipping, "duplicate"), number(shipping, "rejected"));
	if (last_error && *last_error)
		printf("           LAST ERROR: %s\n",
		       text_printable(shown, sizeof(shown), last_error, 600));
}

static void print_kernel(const json_t *root)
{
	const json_t *window = json_object_get(root, "window"), *entry;
	char used[32], limit[32];
	size_t i;

	json_array_foreach(json_object_get(root, "sites"), i, entry) printf(
		"%-10s %12" JSON_INTEGER_FORMAT " hits  %s  %s%s\n", i ? "" : "probes",
		number(entry, "hits"), json_string_value(json_object_get(entry, "registry")),
		json_string_value(json_object_get(entry, "symbol")),
		json_is_true(json_object_get(entry, "off")) ? "  OFF: layout not understood" : "");
	if (!json_array_size(json_object_get(root, "sites")))
		puts("probes     none: no registry was found; see pulltap doctor");
	json_array_foreach(json_object_get(root, "programs"), i,
			   entry) if (number(entry, "measured_runs"))
		printf("cost       %12" JSON_INTEGER_FORMAT " ns a hit  %s\n",
		       number(entry, "ns_per_run"),
		       json_string_value(json_object_get(entry, "name")));
	printf("memory     %s of kernel memory, at most %s a window\n",
	       text_bytes(used, (uint64_t)number(window, "memory_bytes")),
	       text_bytes(limit, (uint64_t)number(window, "memory_limit_bytes_per_window")));
	printf("window     %" JSON_INTEGER_FORMAT " in use for %" JSON_INTEGER_FORMAT
	       " s, %" JSON_INTEGER_FORMAT " keys%s\n",
	       number(window, "sequence"), number(window, "age_s"),
	       number(window, "keys") + number(window, "long_keys"),
	       json_is_true(json_object_get(window, "other_waits")) ? ", the one before waits"
								    : "");
}

/* The books: since the agent started, plus the window in use. Returns what was lost. */
static uint64_t print_books(const json_t *root)
{
	const json_t *now = json_object_get(json_object_get(root, "window"), "ledger");
	const json_t *before = json_object_get(json_object_get(root, "agent"), "ledger");
	json_t *sum = json_object();
	uint64_t lost;

	for (int i = 0; i < LEDGER_COUNT; i++)
		json_object_set_new(sum, ledger_fields[i].name,
				    json_integer(number(now, ledger_fields[i].name) +
						 number(before, ledger_fields[i].name)));
	print_kind(sum, LEDGER_KIND_SEEN, "seen");
	print_kind(sum, LEDGER_KIND_COUNTED, "counted");
	print_kind(sum, LEDGER_KIND_FILTERED, "filtered");
	lost = print_kind(sum, LEDGER_KIND_LOST, "LOST");
	print_kind(sum, LEDGER_KIND_NOTE, "notes");
	if (!lost)
		puts("lost                  0");
	json_decref(sum);
	return lost;
}

/* For probes, whose program shows what is printed as the reason. */
static int check(const struct options *options)
{
	char reason[1024], shown[1200];

	if (!health_check(options->state_dir, !strcmp(options->check, "ready"), reason,
			  sizeof(reason)))
		return 0;
	fprintf(stderr, "pulltap: not %s: %s\n", options->check,
		text_printable(shown, sizeof(shown), reason, sizeof(reason)));
	return 1;
}

int command_status(int argc, char **argv)
{
	_cleanup_(options_free) struct options options = {};
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	uint32_t off = 0;
	json_t *root;
	bool running, trouble;
	int rc = options_parse(&options, OPTIONS_STATUS, "Where everything stands.", argc, argv,
			       NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	if (options.check)
		return check(&options);
	if (command_open_kernel(&kernel, &options))
		return 1;
	if (kernel_switch_read(kernel, &off))
		off = 0;
	root = json_pack("{s:o, s:b, s:i, s:o, s:o, s:o}", "agent", agent_json(&options, kernel),
			 "counting", !off, "off_mask", (int)off, "sites", sites_json(kernel),
			 "programs", programs_json(kernel), "window", window_json(kernel));
	if (!root) {
		fprintf(stderr, "pulltap: out of memory\n");
		return 1;
	}
	running = json_is_true(json_object_get(json_object_get(root, "agent"), "running"));
	if (options.json) {
		json_dumpf(root, stdout, JSON_INDENT(1));
		putchar('\n');
		trouble = !running || off;
	} else {
		if (off)
			printf("SWITCH     OFF (mask %u): nothing is counted; `pulltap on`\n", off);
		print_agent(json_object_get(root, "agent"));
		print_kernel(root);
		trouble = print_books(root) || !running || off;
	}
	json_decref(root);
	return trouble ? 1 : 0;
}
