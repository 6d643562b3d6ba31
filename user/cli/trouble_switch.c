/* SPDX-License-Identifier: MIT */
/*
 * Everything that keeps a registry from being counted on purpose: who switched it off and where
 * that is taken back, and sources of the switch that can't be asked.
 */
#include <stdbool.h>
#include <string.h>

#include "cli/trouble.h"

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

/* Where a word is taken back. */
static const char *way_back(const char *source)
{
	if (!strcmp(source, "file"))
		return "write \"on\" into the file of --switch-file, or remove it";
	if (!strcmp(source, "database"))
		return "set the row of pulltap.feature_flag to 'on', or delete it";
	if (!strcmp(source, "redis"))
		return "set the key of --switch-redis to \"on\", or delete it";
	return "`pulltap on`";
}

static void find_sources(const json_t *status, json_t *found)
{
	const json_t *source;
	bool said = false;
	char when[32];
	size_t i;

	json_array_foreach(json_object_get(status, "switch"), i, source)
	{
		json_int_t since = json_integer_value(json_object_get(source, "since"));

		if (!json_is_true(json_object_get(source, "off")))
			continue;
		trouble_add(
			found, way_back(text(source, "source")),
			"counting is switched off: %s said so at %s (%s)", text(source, "source"),
			since ? trouble_time(when, since) : "an unknown time", text(source, "who"));
		said = true;
	}
	if (!said && !json_is_true(json_object_get(status, "counting")))
		trouble_add(found, "`pulltap on`",
			    "counting is switched off (mask %" JSON_INTEGER_FORMAT ")",
			    json_integer_value(json_object_get(status, "off_mask")));
}

static void find_silent(const json_t *agent, json_t *found)
{
	json_t *silent = json_object_get(agent, "switch"), *trouble;
	const char *source;
	char when[32];

	json_object_foreach(silent, source, trouble) trouble_add(
		found, "its last word holds; see docs/switch.md",
		"the switch's source %s can't be asked since %s: %s", source,
		trouble_time(when, json_integer_value(json_object_get(trouble, "since"))),
		text(trouble, "text"));
}

static void find_targets(const json_t *status, json_t *found)
{
	static const struct {
		const char *reason, *what, *advice;
	} known[] = {
		{"guard", "its probes cost more than --guard-budget",
		 "`pulltap on` tries again; docs/switch.md"},
		{"flag", "the database's flag of this registry says so",
		 "set the row of pulltap.feature_flag to 'on', or delete it"},
		{"layout", "the binary's layout was not understood",
		 "please report the binary; `pulltap doctor` names it"},
	};
	const unsigned int layout = sizeof(known) / sizeof(known[0]) - 1;
	const json_t *site;
	size_t i;

	json_array_foreach(json_object_get(status, "sites"), i, site)
	{
		const char *reason =
			json_string_value(json_array_get(json_object_get(site, "off_reasons"), 0));
		unsigned int k = 0;

		if (!json_is_true(json_object_get(site, "off")) ||
		    (reason && !strcmp(reason, "elsewhere")))
			continue;
		while (k < layout && (!reason || strcmp(known[k].reason, reason)))
			k++;
		trouble_add(found, known[k].advice, "a probe of registry %s is off: %s",
			    text(site, "registry"), known[k].what);
	}
}

void trouble_switch(const json_t *status, json_t *found)
{
	const json_t *agent = json_object_get(status, "agent");

	find_sources(status, found);
	find_targets(status, found);
	if (json_is_true(json_object_get(agent, "running")))
		find_silent(agent, found);
}
