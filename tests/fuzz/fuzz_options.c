/* SPDX-License-Identifier: MIT */
/* Any bytes as a config file, each value as its setting, and all of it as a connection string. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/conninfo_mask.h"
#include "cli/options_file.h"
#include "cli/options_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_line(void *context, const char *key, const char *value, unsigned int line)
{
	const struct option_row *row = option_find(key);
	struct options *options = context;
	char masked[64];

	if (!line || strchr(key, '\n') || strchr(value, '\n'))
		abort();
	conninfo_mask(value, masked, sizeof(masked));
	if (!row)
		return 1;
	if (option_store(row, value, options))
		return 2;
	if (options->window_s > 3600 || options->targets.count > OPTIONS_LIST)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options options = {0};
	const struct options_file_sink sink = {.line = on_line, .context = &options};
	const char *reason = NULL;
	unsigned int line = 0;
	char *text = malloc(size + 1), *masked = malloc(size + 16);
	int err;

	if (!text || !masked)
		abort();
	memcpy(text, data, size);
	text[size] = 0;
	conninfo_mask(text, masked, size + 16);
	err = options_file_parse(text, size, &sink, &line, &reason);
	if (err && !line)
		abort();
	if (err < 0 && !reason)
		abort();
	free(text);
	free(masked);
	return 0;
}
