/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as lines of an access log, and as a page that says what a server has counted. Each is
 * in memory of its own, so that a look beyond its end is seen.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/access_log.h"
#include "control/truth_page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size), *text = malloc(size + 1);
	struct truth_page page;
	int rc;

	if (!line || !text)
		abort();
	memcpy(line, data, size);
	memcpy(text, data, size);
	text[size] = 0;
	rc = access_log_line(line, size);
	if (rc < -1 || rc > 1)
		abort();
	if (!truth_page_parse(text, &page) && page.busy > page.begun)
		abort();
	free(line);
	free(text);
	return 0;
}
