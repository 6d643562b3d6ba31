/* SPDX-License-Identifier: MIT */
#include "control/truth_page.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_stub_status(const char *text, struct truth_page *ret)
{
	unsigned long long requests, reading, writing;

	if (sscanf(text,
		   "Active connections: %*u server accepts handled requests %*u %*u %llu "
		   "Reading: %llu Writing: %llu",
		   &requests, &reading, &writing) != 3)
		return -EINVAL;
	ret->kind = TRUTH_PAGE_STUB_STATUS;
	ret->begun = requests;
	ret->busy = reading + writing < requests ? reading + writing : requests;
	return 0;
}

/* The labels of one sample that say what it counts. */
struct labels {
	char code[4], method[8], handler[12];
};

static void set_label(struct labels *labels, const char *name, size_t name_length,
		      const char *value, size_t length)
{
	const struct {
		const char *name;
		char *value;
		size_t size;
	} known[] = {
		{"code", labels->code, sizeof(labels->code)},
		{"method", labels->method, sizeof(labels->method)},
		{"handler", labels->handler, sizeof(labels->handler)},
	};

	for (unsigned int i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strlen(known[i].name) == name_length &&
		    !memcmp(known[i].name, name, name_length) && length < known[i].size)
			memcpy(known[i].value, value, length);
}

/* NAME="VALUE",...} with backslashes before quotes. Returns what is behind, NULL if it is wrong. */
static const char *parse_labels(const char *p, struct labels *ret)
{
	while (*p && *p != '}') {
		const char *name = p, *value;
		size_t name_length = strcspn(p, "=\n");

		p += name_length;
		if (p[0] != '=' || p[1] != '"')
			return NULL;
		value = p += 2;
		while (*p && *p != '"' && *p != '\n')
			p += *p == '\\' && p[1] ? 2 : 1;
		if (*p != '"')
			return NULL;
		set_label(ret, name, name_length, value, (size_t)(p - value));
		p++;
		p += *p == ',';
	}
	return *p ? p + 1 : NULL;
}

static bool counts(const struct labels *labels)
{
	static const struct labels all[] = {
		{"200", "get", ""},  {"200", "head", ""}, {"304", "get", ""},
		{"304", "head", ""}, {"201", "put", ""},  {"202", "delete", ""},
	};

	if (strcmp(labels->handler, "manifest"))
		return false;
	for (unsigned int i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (!strcmp(all[i].code, labels->code) && !strcmp(all[i].method, labels->method))
			return true;
	return false;
}

static int parse_metrics(const char *text, struct truth_page *ret)
{
	static const char name[] = "registry_http_requests_total{";
	const char *line = text;

	if (strncmp(text, "# HELP ", 7) && strncmp(text, "# TYPE ", 7))
		return -EINVAL;
	ret->kind = TRUTH_PAGE_METRICS;
	for (; line; line = strchr(line, '\n')) {
		struct labels labels = {};
		double value;
		char *end;

		line += *line == '\n';
		if (strncmp(line, name, sizeof(name) - 1))
			continue;
		line = parse_labels(line + sizeof(name) - 1, &labels);
		value = line ? strtod(line, &end) : -1;
		if (!line || end == line || !isfinite(value) || value < 0 || value > 1e18)
			return -EINVAL;
		if (counts(&labels))
			ret->begun += (uint64_t)value;
	}
	return 0;
}

int truth_page_parse(const char *text, struct truth_page *ret)
{
	*ret = (struct truth_page){};
	return !strncmp(text, "Active connections:", 19) ? parse_stub_status(text, ret)
							 : parse_metrics(text, ret);
}
