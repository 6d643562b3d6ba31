/* SPDX-License-Identifier: MIT */
/* The lines of `pulltap status` about outside truths (--reconcile). */
#ifndef PULLTAP_CLI_STATUS_TRUTH_H
#define PULLTAP_CLI_STATUS_TRUTH_H

#include <jansson.h>

void status_print_truths(const json_t *status);

#endif
