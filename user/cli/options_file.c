/* SPDX-License-Identifier: MIT */
#include "cli/options_file.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts blanks off both ends of [start, end), which becomes a string. */
static char *trim(char *start, char *end)
{
	while (start < end && is_blank(*start))
		start++;
	while (end > start && is_blank(end[-1]))
		end--;
	*end = 0;
	return start;
}

static int parse_line(char *start, char *end, unsigned int number,
		      const struct options_file_sink *sink, const char **ret_reason)
{
	char *key, *equals, *value;

	if (memchr(start, 0, (size_t)(end - start))) {
		*ret_reason = "a NUL byte";
		return -EINVAL;
	}
	key = trim(start, end);
	if (!*key || *key == '#')
		return 0;
	equals = strchr(key, '=');
	if (!equals || equals == key) {
		*ret_reason = "no \"name = value\"";
		return -EINVAL;
	}
	value = trim(equals + 1, equals + 1 + strlen(equals + 1));
	key = trim(key, equals);
	return sink->line(sink->context, key, value, number);
}

int options_file_parse(char *text, size_t size, const struct options_file_sink *sink,
		       unsigned int *ret_line, const char **ret_reason)
{
	char *end = text + size, *line = text;
	unsigned int number = 0;

	while (line < end) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		char *line_end = newline ? newline : end;
		int err = parse_line(line, line_end, ++number, sink, ret_reason);

		if (err) {
			*ret_line = number;
			return err;
		}
		line = line_end + 1;
	}
	return 0;
}
