/* SPDX-License-Identifier: MIT */
/*
 * How the sources of the kill switch say on and off. Pure.
 */
#ifndef PULLTAP_CONTROL_SWITCH_WORD_H
#define PULLTAP_CONTROL_SWITCH_WORD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

/*
 * off, 0, false, no or on, 1, true, yes, in any case, with white space around it. -EINVAL for
 * anything else, nothing at all included.
 */
must_check int switch_word_parse(const char *text, size_t size, bool *ret_off);

/* Where a Redis key is. Texts are "" where the URL has none. */
struct switch_redis {
	char host[256];
	char socket[108]; /* instead of host and port */
	char user[128];
	char password[256];
	char key[128]; /* and its channel */
	unsigned int port;
	unsigned int database;
};

/*
 * redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?key=NAME] or
 * unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE][&key=NAME], %XX for what would be misread.
 * -EINVAL leaves ret in any state.
 */
must_check int switch_redis_parse(const char *url, struct switch_redis *ret);

#endif
