/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/status.h"
#include "cli/status_truth.h"
#include "cli/text.h"
#include "cli/topology_words.h"
#include "window/window.h"

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
	char shown[700], limit[32];

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
	printf("spool      %" JSON_INTEGER_FORMAT " waiting, %s of %s, %" JSON_INTEGER_FORMAT
	       " merged, %" JSON_INTEGER_FORMAT " put aside\n",
	       number(shipping, "waiting"),
	       text_bytes(shown, (uint64_t)number(shipping, "waiting_bytes")),
	       text_bytes(limit, (uint64_t)number(shipping, "limit_bytes")),
	       number(shipping, "merged"), number(shipping, "put_aside"));
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

	json_array_foreach(json_object_get(root, "sites"), i, entry)
	{
		const char *probe = json_string_value(json_object_get(entry, "probe")) ?: "";
		const char *state = strcmp(probe, "ours") ? "  NOT PROBED NOW" : "";
		const char *off =
			json_string_value(json_array_get(json_object_get(entry, "off_reasons"), 0));

		printf("%-10s %12" JSON_INTEGER_FORMAT " hits  %s  %s%s\n", i ? "" : "probes",
		       number(entry, "hits"), json_string_value(json_object_get(entry, "registry")),
		       json_string_value(json_object_get(entry, "symbol")),
		       !off			  ? state
		       : strcmp(off, "elsewhere") ? "  OFF"
						  : "  counted elsewhere");
	}
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

/* The books: since the agent started, plus the window in use. */
static void print_books(const json_t *root)
{
	const json_t *now = json_object_get(json_object_get(root, "window"), "ledger");
	const json_t *before = json_object_get(json_object_get(root, "agent"), "ledger");
	json_t *sum = json_object();

	for (int i = 0; i < LEDGER_COUNT; i++)
		json_object_set_new(sum, ledger_fields[i].name,
				    json_integer(number(now, ledger_fields[i].name) +
						 number(before, ledger_fields[i].name)));
	print_kind(sum, LEDGER_KIND_SEEN, "seen");
	print_kind(sum, LEDGER_KIND_COUNTED, "counted");
	print_kind(sum, LEDGER_KIND_FILTERED, "filtered");
	if (!print_kind(sum, LEDGER_KIND_LOST, "LOST"))
		puts("lost                  0");
	print_kind(sum, LEDGER_KIND_NOTE, "notes");
	json_decref(sum);
}

static void print_trouble(const json_t *status)
{
	const json_t *trouble;
	char shown[1200];
	size_t i;

	json_array_foreach(json_object_get(status, "trouble"), i, trouble)
	{
		const char *what = json_string_value(json_object_get(trouble, "what"));

		printf("TROUBLE    %s\n           -> %s\n",
		       text_printable(shown, sizeof(shown), what, sizeof(shown) - 1),
		       json_string_value(json_object_get(trouble, "advice")));
	}
}

void status_print(const json_t *status)
{
	print_trouble(status);
	print_agent(json_object_get(status, "agent"));
	print_kernel(status);
	print_books(status);
	status_print_truths(status);
	status_print_topology(status);
}
