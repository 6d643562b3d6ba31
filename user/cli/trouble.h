/* SPDX-License-Identifier: MIT */
/*
 * What a stranger at three in the morning has to see first: everything in a status that needs a
 * person, the worst first. Pure: reads the JSON that status_gather() made.
 */
#ifndef PULLTAP_CLI_TROUBLE_H
#define PULLTAP_CLI_TROUBLE_H

#include <jansson.h>

/*
 * A new array of {"what": sentence, "advice": what to do about it}; empty when all is well. Texts
 * may hold what a server said: print them escaped. NULL: out of memory.
 */
json_t *trouble_find(const json_t *status);

/* For the parts of it that have files of their own. */
void trouble_add(json_t *found, const char *advice, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
const char *trouble_time(char buf[32], json_int_t unix_s);
/* What an outside truth says otherwise: status_truth.c. */
void trouble_truths(const json_t *status, json_t *found);
/* Pulls that count twice or nowhere, as far as sockets show: trouble_topology.c. */
void trouble_topology(const json_t *status, json_t *found);
/* The kill switch, its sources, and targets that are off: trouble_switch.c. */
void trouble_switch(const json_t *status, json_t *found);

#endif
