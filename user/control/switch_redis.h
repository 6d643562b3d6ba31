/* SPDX-License-Identifier: MIT */
/*
 * A Redis key and the channel of the same name: a thread of its own reads the key, is told of
 * changes through the channel, and reads again now and then and after each reconnection.
 */
#ifndef PULLTAP_CONTROL_SWITCH_REDIS_H
#define PULLTAP_CONTROL_SWITCH_REDIS_H

#include "control/switch.h"

struct switch_redis_source;

/* url: as switch_redis_parse() takes it, -EINVAL where it does not. */
must_check int switch_redis_new(struct switch_redis_source **ret, struct switchboard *board,
				const char *url);
void switch_redis_free(struct switch_redis_source **source);

#endif
