/* SPDX-License-Identifier: MIT */
/*
 * The rows of pulltap.feature_flag: a thread with a connection of its own reads them, listens for
 * changes, and reads them again now and then and after each reconnection.
 */
#ifndef PULLTAP_CONTROL_SWITCH_DATABASE_H
#define PULLTAP_CONTROL_SWITCH_DATABASE_H

#include "control/switch.h"

struct switch_database;

/* node: this node's name, for rows of its own. Texts are copied. */
must_check int switch_database_new(struct switch_database **ret, struct switchboard *board,
				   const char *conninfo, const char *node);
void switch_database_free(struct switch_database **database);

#endif
