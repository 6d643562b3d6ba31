/* SPDX-License-Identifier: MIT */
/*
 * What `pulltap status` and `pulltap doctor` know about this machine, as JSON. Probes, windows and
 * the books come from the kernel itself and are true without an agent; the rest comes from the file
 * that the agent writes each second.
 */
#ifndef PULLTAP_CLI_STATUS_H
#define PULLTAP_CLI_STATUS_H

#include <jansson.h>

#include "cli/options.h"

struct kernel;

/* A new object; NULL: out of memory. "trouble" in it is trouble_find()'s. */
json_t *status_gather(const struct options *options, const struct kernel *kernel);

/* As text on standard output, the trouble first. */
void status_print(const json_t *status);

#endif
