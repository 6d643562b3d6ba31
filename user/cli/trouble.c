/* SPDX-License-Identifier: MIT */
#include "cli/trouble.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "window/window.h"

/* Failures in a row that are no news: a database that restarts, about twenty seconds. */
#define PATIENCE 10
/* The agent writes its status once a second. */
#define STALE_S 10

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

void trouble_add(json_t *found, const char *advice, const char *format, ...)
{
	char what[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	/* jansson refuses what is no UTF-8, and a server's words may be anything */
	for (char *p = what; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	json_array_append_new(found, json_pack("{s:s, s:s}", "what", what, "advice", advice));
}

const char *trouble_time(char buf[32], json_int_t unix_s)
{
	time_t when = unix_s;
	struct tm tm;

	gmtime_r(&when, &tm);
	strftime(buf, 32, "%Y-%m-%d %H:%M:%S UTC", &tm);
	return buf;
}

static void find_imbalance(const json_t *agent, json_t *found)
{
	const json_t *books = json_object_get(agent, "books");
	json_int_t windows = number(books, "unbalanced_windows");
	char when[32];

	if (windows)
		trouble_add(found, "please report it; pulltap.unbalanced has every such window",
			    "the books do not balance in %" JSON_INTEGER_FORMAT
			    " windows, last in window %" JSON_INTEGER_FORMAT
			    " at %s, by %" JSON_INTEGER_FORMAT " hits",
			    windows, number(books, "last_unbalanced_sequence"),
			    trouble_time(when, number(books, "last_unbalanced")),
			    number(books, "last_difference"));
}

/* Since the agent started, and in the window that is in use now. */
static void find_losses(const json_t *status, json_t *found)
{
	const json_t *agent = json_object_get(status, "agent");
	const json_t *before = json_object_get(agent, "ledger");
	const json_t *now = json_object_get(json_object_get(status, "window"), "ledger");
	json_int_t last = number(json_object_get(agent, "books"), "last_loss");
	char when[32];

	for (unsigned int i = 0; i < LEDGER_COUNT; i++) {
		const char *name = ledger_fields[i].name;
		json_int_t current = number(now, name), count = current + number(before, name);

		if (ledger_fields[i].kind == LEDGER_KIND_LOST && count)
			trouble_add(found, ledger_advice(i),
				    "%" JSON_INTEGER_FORMAT " hits lost, %s: %s; %s", count, name,
				    ledger_fields[i].help,
				    current || !last ? "now" : trouble_time(when, last));
	}
}

/* A status file that is old says nothing about it any more. */
static void find_writing(const json_t *agent, json_t *found)
{
	const char *error =
		json_string_value(json_object_get(json_object_get(agent, "windows"), "error"));

	if (!json_is_true(json_object_get(agent, "running")))
		return;
	if (error)
		trouble_add(found, "make room in --state-dir, or make it writable",
			    "windows can't be written: %s; counts stay in the kernel", error);
	else if (number(agent, "written_s_ago") > STALE_S)
		trouble_add(found, "make room in --state-dir, or make it writable; see the log",
			    "nothing can be written to the state folder for %" JSON_INTEGER_FORMAT
			    " s, or the agent hangs; counts stay in the kernel",
			    number(agent, "written_s_ago"));
}

static void find_shipping(const json_t *agent, json_t *found)
{
	const json_t *shipping = json_object_get(agent, "shipping");
	const char *state = json_string_value(json_object_get(shipping, "state")) ?: "";
	const char *said = json_string_value(json_object_get(shipping, "last_error"));
	bool refused =
		!strcmp(state, "schema") || !strcmp(state, "denied") || !strcmp(state, "spool");
	json_int_t aside = number(shipping, "put_aside");

	if (aside)
		trouble_add(found, "look at the reasons beside the files in spool/bad",
			    "%" JSON_INTEGER_FORMAT " damaged window files were put aside", aside);
	if (json_is_true(json_object_get(shipping, "over_limit")))
		trouble_add(found,
			    "raise --spool-limit if the disk has room, or bring the database back",
			    "the spool is beyond its limit and can't be merged further: "
			    "%" JSON_INTEGER_FORMAT " bytes of %" JSON_INTEGER_FORMAT
			    "; nothing is dropped",
			    number(shipping, "waiting_bytes"), number(shipping, "limit_bytes"));
	if (refused || number(shipping, "failures") > PATIENCE)
		trouble_add(found,
			    "windows wait in the spool, nothing is lost; see `pulltap doctor`",
			    "the database takes no windows (%s): %s", state, said ?: "");
}

/* What is pinned looks alive, whether or not a probe is behind it. */
static void find_probes(const json_t *status, json_t *found)
{
	const json_t *site;
	size_t i;

	if (!json_is_true(json_object_get(status, "counting")))
		return;
	if (json_is_false(json_object_get(status, "entered")))
		trouble_add(found,
			    "start `pulltap run`: it puts its programs behind the probes again",
			    "hits do not run the programs of this set: another's, or none");
	json_array_foreach(json_object_get(status, "sites"), i, site)
	{
		const char *probe = json_string_value(json_object_get(site, "probe")) ?: "";

		/* one that is gone is attached again as soon as its file runs */
		if (!strcmp(probe, "foreign"))
			trouble_add(
				found,
				"a running agent attaches it anew within half a minute; else start "
				"`pulltap run`",
				"what is pinned as a probe of %s is none: %s",
				json_string_value(json_object_get(site, "registry")) ?: "",
				json_string_value(json_object_get(site, "symbol")) ?: "");
	}
}

json_t *trouble_find(const json_t *status)
{
	const json_t *agent = json_object_get(status, "agent");
	json_t *found = json_array();

	if (!found)
		return NULL;
	find_imbalance(agent, found);
	find_losses(status, found);
	find_writing(agent, found);
	find_probes(status, found);
	trouble_truths(status, found);
	trouble_switch(status, found);
	trouble_topology(status, found);
	if (json_object_get(json_object_get(status, "window"), "error"))
		trouble_add(found, "see `pulltap doctor`", "the kernel's maps can't be read");
	if (json_is_true(json_object_get(agent, "running")))
		find_shipping(agent, found);
	else
		trouble_add(found, "start `pulltap run`",
			    "no agent runs: probes go on counting, nothing is shipped");
	return found;
}
