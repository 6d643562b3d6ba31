/* SPDX-License-Identifier: MIT */
/*
 * Which probed program talks to which, gathered by looking at their sockets every few seconds while
 * there is a front end among them. It is evidence for people: a connection may last a millisecond
 * and never be seen, so that what counts is decided by attach/count_at_rule.h, which asks none of
 * this. Agent's main thread; a look that fails is logged and changes nothing.
 */
#ifndef PULLTAP_CONTROL_TOPOLOGY_WATCH_H
#define PULLTAP_CONTROL_TOPOLOGY_WATCH_H

#include <jansson.h>

#include "attach/follow.h"
#include "attach/kernel.h"

struct topology_watch;

/* proxies: the networks of --trusted-proxy, kept. */
must_check int topology_watch_new(struct topology_watch **ret, struct kernel *kernel,
				  const struct follow *follow, const char *const *proxies,
				  unsigned int proxies_count);
void topology_watch_free(struct topology_watch **watch);

/* At any rate; looks when it is time. */
void topology_watch_tick(struct topology_watch *watch);

/*
 * {"programs": [{"registry", "program", "pid", "place", "counts", "elsewhere", "behind": does it
 * pass pulls on to one that counts}], "links": [{"from", "to": numbers of programs, to null: away,
 * "address", "client": the address that to sees, "trusted", "unclear": away, but maybe to a
 * program of this node, "seen": Unix time}]}
 */
json_t *topology_watch_json(struct topology_watch *watch);

#endif
