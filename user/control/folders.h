/* SPDX-License-Identifier: MIT */
/*
 * Gives folders that root has made, or an agent that ran as root, to the user that an agent runs
 * as from now on. Nothing else is touched: links are not followed, other file systems not entered.
 */
#ifndef PULLTAP_CONTROL_FOLDERS_H
#define PULLTAP_CONTROL_FOLDERS_H

#include <sys/types.h>

#include "base/cleanup.h"

/* The folder and all below it. -errno after a message that names what could not be given. */
must_check int folders_give(int folder, const char *path, uid_t uid, gid_t gid);

/*
 * The state folder, made if it is missing. One that holds files but no spool of pulltap's, and is
 * another user's, is refused: somebody else's files must not change hands for a mistyped path.
 */
must_check int folders_give_state(const char *state_dir, uid_t uid, gid_t gid);

#endif
