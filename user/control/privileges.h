/* SPDX-License-Identifier: MIT */
/*
 * How the agent gets rid of its rights. As root with --user it prepares its folders and becomes
 * that user; whoever is not root then leaves all capabilities to a helper process (base/helper.h)
 * before the first thread starts and the first byte of a stranger is read. An
 * agent of root without --user stays what it is. docs/security.md says what each capability is for.
 */
#ifndef PULLTAP_CONTROL_PRIVILEGES_H
#define PULLTAP_CONTROL_PRIVILEGES_H

#include "cli/options.h"

/*
 * With --user: gives it the pins (through their lock) and the state folder, then becomes it, with
 * what loading needs. Failures are said on standard error.
 */
must_check int privileges_become_user(const struct options *options, int lock_fd);

/*
 * Starts the helper and drops the rest, for ever: no new privileges, bounding set, capabilities.
 * *ret_helper_fd hangs up when the helper ends; -1 for root, who keeps everything.
 */
must_check int privileges_drop(int *ret_helper_fd);

/*
 * The filter of system calls, once all is open. Not for root, and not beside the private database,
 * whose server has to be started again when it dies; the log says so.
 */
void privileges_seal(bool uses_embedded);

#endif
