/* SPDX-License-Identifier: MIT */
/*
 * The sources of the kill switch while an agent runs: a thread of its own listens to all of them,
 * so that neither a slow disk nor a slow database stands between a flag and the programs. Off stops
 * the counting and takes the probes off on that thread; the agent's main loop then closes the
 * window, and brings the probes back when the switch is on again. A source that can't be asked
 * keeps its last word.
 */
#ifndef PULLTAP_CONTROL_SWITCH_H
#define PULLTAP_CONTROL_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/off.h"

struct switchboard;

struct switch_options {
	const char *file; /* NULL: none */
	const char *redis; /* a URL; NULL: none */
};

/* Why sources can't be asked, since when (Unix time); "" where all is well. */
struct switch_trouble {
	char text[192];
	int64_t since_s;
};

/* SIGUSR1 and SIGUSR2 must be blocked in every thread: they say off and on. */
must_check int switch_new(struct switchboard **ret, struct kernel *kernel,
			  const struct switch_options *options);
void switch_free(struct switchboard **board);

/* The database's rows are listened to as well, those of this node among them. */
must_check int switch_listen(struct switchboard *board, const char *conninfo, const char *node);

/*
 * Readable when the mask has changed, or a target was switched off or may be attached again;
 * switch_changed() reads it and returns the mask.
 */
int switch_fd(const struct switchboard *board);
uint32_t switch_changed(struct switchboard *board);

/* What a source says, or why it can't be asked. From any thread. */
void switch_say(struct switchboard *board, enum off_source source, bool off, const char *who);
/* Those registries are off by the database's flag and all others on. A name is cut at 63 bytes. */
void switch_say_registries(struct switchboard *board, const char *const *names, unsigned int count);
bool switch_registry_is_off(struct switchboard *board, const char *name);
void switch_fail(struct switchboard *board, enum off_source source, const char *text);

void switch_troubles(struct switchboard *board, struct switch_trouble ret[PT_OFF_SOURCES]);

#endif
