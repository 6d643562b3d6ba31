/* SPDX-License-Identifier: MIT */
#include "attach/count_at_rule.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const words[] = {
	[COUNT_AT_INNER] = "inner",
	[COUNT_AT_FRONT] = "front",
	[COUNT_AT_BOTH] = "both",
};
#define WORDS (sizeof(words) / sizeof(words[0]))

enum count_place count_at_place(enum pt_hook hook, const char *kind)
{
	switch (hook) {
	case PT_GO_HOOK_HTTP1:
	case PT_GO_HOOK_HTTP2:
	case PT_GO_HOOK_HTTP2_INLINE:
		if (!strcmp(kind, "harbor-core"))
			return COUNT_CORE;
		return kind[0] ? COUNT_REGISTRY : COUNT_SERVER;
	default:
		return COUNT_FRONT;
	}
}

const char *count_at_place_name(enum count_place place)
{
	static const char *const names[] = {
		[COUNT_REGISTRY] = "registry",
		[COUNT_CORE] = "core",
		[COUNT_SERVER] = "server",
		[COUNT_FRONT] = "front end",
	};

	return names[place];
}

/* The place that counts; false when nobody is able to. */
static bool find_place(enum count_where where, const struct count_site *sites, unsigned int count,
		       enum count_place *ret)
{
	bool found = false;

	for (unsigned int i = 0; i < count; i++) {
		const struct count_site *site = &sites[i];
		bool better = where == COUNT_AT_FRONT ? site->place > *ret : site->place < *ret;

		if (!site->used || !site->able || (found && !better))
			continue;
		*ret = site->place;
		found = true;
	}
	return found;
}

/* Which of several front ends counts; COUNT_UNNAMED + 1: those that are named, and no other. */
static unsigned int find_first(const struct count_site *sites, unsigned int count)
{
	unsigned int first = COUNT_UNNAMED;

	for (unsigned int i = 0; i < count; i++) {
		if (!sites[i].used || !sites[i].able || sites[i].place != COUNT_FRONT)
			continue;
		if (sites[i].always)
			return COUNT_UNNAMED + 1;
		if (sites[i].order < first)
			first = sites[i].order;
	}
	return first;
}

void count_at_decide(enum count_where where, struct count_site *sites, unsigned int count)
{
	enum count_place place = COUNT_REGISTRY;
	unsigned int first;

	if (!find_place(where, sites, count, &place))
		return;
	first = find_first(sites, count);
	for (unsigned int i = 0; i < count; i++) {
		struct count_site *site = &sites[i];

		site->elsewhere =
			site->used && !site->always && where != COUNT_AT_BOTH &&
			(site->place != place || (place == COUNT_FRONT && site->order != first));
	}
}

static bool is_one_of(const char *text, const char *const *names, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(text, names[i]))
			return true;
	return false;
}

int count_at_parse(const char *const *items, unsigned int count, const char *const *names,
		   unsigned int names_count, enum count_where *ret, char *message,
		   unsigned int message_size)
{
	const char *said = NULL;

	*ret = COUNT_AT_INNER;
	for (unsigned int i = 0; i < count; i++) {
		unsigned int word = 0;

		while (word < WORDS && strcmp(items[i], words[word]))
			word++;
		if (word == WORDS && is_one_of(items[i], names, names_count))
			continue;
		if (word == WORDS) {
			snprintf(message, message_size,
				 "\"%s\" is neither inner, front or both nor the NAME of a "
				 "--target",
				 items[i]);
			return -EINVAL;
		}
		if (said && strcmp(said, words[word])) {
			snprintf(message, message_size,
				 "%s and %s contradict each other: give one of them", said,
				 words[word]);
			return -EINVAL;
		}
		said = words[word];
		*ret = word;
	}
	return 0;
}
