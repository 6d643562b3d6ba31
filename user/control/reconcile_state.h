/* SPDX-License-Identifier: MIT */
/*
 * Where the comparison with an access log stood when the agent last looked, in a small file of the
 * state folder: the next agent goes on there, so that what happened between the two is compared as
 * well. Only for the same maps: new ones count from zero.
 */
#ifndef PULLTAP_CONTROL_RECONCILE_STATE_H
#define PULLTAP_CONTROL_RECONCILE_STATE_H

#include "control/access_log.h"
#include "control/reconcile.h"

struct reconcile_state {
	struct access_log_place place;
	uint64_t lines;
	struct comparison comparison;
};

must_check int reconcile_state_save(const struct reconcile_state *state, const char *state_dir,
				    const struct reconcile_report *report,
				    const struct kernel *kernel);

/* -ENOENT: none; -ESTALE: of other maps or damaged. */
must_check int reconcile_state_load(struct reconcile_state *ret, const char *state_dir,
				    const struct reconcile_report *report,
				    const struct kernel *kernel);

#endif
