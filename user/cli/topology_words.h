/* SPDX-License-Identifier: MIT */
/*
 * What `status` and `doctor` say about which probed program talks to which. Pure: reads the JSON of
 * control/topology_watch.h, an agent's "topology".
 */
#ifndef PULLTAP_CLI_TOPOLOGY_WORDS_H
#define PULLTAP_CLI_TOPOLOGY_WORDS_H

#include <jansson.h>
#include <stdbool.h>

#define TOPOLOGY_NAME 160

static inline const char *topology_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

static inline bool topology_is(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* "front end hub (nginx, pid 12)" */
const char *topology_name(char ret[TOPOLOGY_NAME], const json_t *program);

/* Of a link: the program of "from" or "to"; NULL: it leads away. */
const json_t *topology_end(const json_t *topology, const json_t *link, const char *key);

/* A link of a program that leads away, an unclear one if there is one; NULL: none was seen. */
const json_t *topology_away(const json_t *topology, const json_t *program);

/* The lines of `status`. */
void status_print_topology(const json_t *status);

#endif
