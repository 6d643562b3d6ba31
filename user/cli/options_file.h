/* SPDX-License-Identifier: MIT */
/*
 * The config file's grammar: lines of `key = value`, the value reaching to the end of the line
 * without surrounding blanks; empty lines and lines that start with # say nothing. No sections,
 * no quotes, no comments behind a value, no limit of length: a connection string may hold any
 * character and be long, which is what rules out the usual ini readers. Pure.
 */
#ifndef PULLTAP_CLI_OPTIONS_FILE_H
#define PULLTAP_CLI_OPTIONS_FILE_H

#include <stddef.h>

#include "base/cleanup.h"

/* What the caller does with a line; anything but 0 ends the parsing with that value. */
struct options_file_sink {
	int (*line)(void *context, const char *key, const char *value, unsigned int line);
	void *context;
};

/*
 * Parses size bytes at text, which must have room for one more, and cuts them into strings in
 * place: keys and values live as long as text. 0; -EINVAL with the line and a static reason for
 * what is no `key = value`; else what the sink returned.
 */
must_check int options_file_parse(char *text, size_t size, const struct options_file_sink *sink,
				  unsigned int *ret_line, const char **ret_reason);

#endif
