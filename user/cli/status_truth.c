/* SPDX-License-Identifier: MIT */
#include "cli/status_truth.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/text.h"
#include "cli/trouble.h"

/* How long a difference that grows no more is still news. */
#define NEWS_S 86400

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* What is counted differs by source: see docs/reconcile.md. */
static const char *unit(const json_t *truth)
{
	return !strcmp(text(truth, "source"), "stub_status") ? "replies" : "manifest replies";
}

static const json_t *truths_of(const json_t *status)
{
	return json_object_get(json_object_get(status, "agent"), "truths");
}

/* Never rounded up to all of them. */
static double percent(json_int_t part, json_int_t whole)
{
	if (part == whole)
		return 100;
	return whole ? floor(1e4 * (double)part / (double)whole) / 100 : INFINITY;
}

static void print_truth(const json_t *truth, const char *title)
{
	json_int_t counted = number(truth, "counted"), all = number(truth, "truth");
	char ours[32], theirs[32], since[32], where[600];

	printf("%-10s ", title);
	if (number(truth, "since"))
		printf("%12s of %s %s (%.2f %%)", text_count(ours, (uint64_t)counted),
		       text_count(theirs, (uint64_t)all), unit(truth), percent(counted, all));
	else
		printf("%12s", "not yet");
	printf("  %s: %s %s", text(truth, "registry"), text(truth, "source"),
	       text_printable(where, sizeof(where), text(truth, "where"), 500));
	if (number(truth, "since"))
		printf(", since %s", trouble_time(since, number(truth, "since")));
	putchar('\n');
}

void status_print_truths(const json_t *status)
{
	const json_t *truth;
	size_t i;

	json_array_foreach(truths_of(status), i, truth) print_truth(truth, i ? "" : "truth");
}

static void find_difference(const json_t *truth, json_t *found)
{
	json_int_t difference = number(truth, "difference");
	char when[32], count[32];

	if (difference && time(NULL) - number(truth, "changed") < NEWS_S)
		trouble_add(
			found,
			difference > 0 ? "see pulltap.gaps: was counting switched off, or the "
					 "registry up before its probe?"
				       : "is that truth complete, and this registry's alone?",
			"registry %s: %s %s %s than its %s says, last at %s; %s",
			text(truth, "registry"),
			text_count(count, (uint64_t)(difference < 0 ? -difference : difference)),
			unit(truth), difference > 0 ? "fewer" : "more", text(truth, "source"),
			trouble_time(when, number(truth, "changed")), text(truth, "where"));
}

void trouble_truths(const json_t *status, json_t *found)
{
	const json_t *truth;
	size_t i;

	json_array_foreach(truths_of(status), i, truth)
	{
		find_difference(truth, found);
		if (*text(truth, "error"))
			trouble_add(found, "see --reconcile; counting goes on without it",
				    "registry %s: %s can't be asked: %s", text(truth, "registry"),
				    text(truth, "where"), text(truth, "error"));
		else if (!json_is_true(json_object_get(truth, "known")))
			trouble_add(found, "name it as `pulltap status` does, or start it",
				    "registry %s of --reconcile was never probed here",
				    text(truth, "registry"));
	}
}
