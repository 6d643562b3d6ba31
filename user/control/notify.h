/* SPDX-License-Identifier: MIT */
/*
 * What a service manager is told (sd_notify), when one listens: that the agent counts, how it
 * stands, and at every tick that it lives. Main thread. A message that can't be sent is not worth
 * one of ours: the watchdog will say so.
 */
#ifndef PULLTAP_CONTROL_NOTIFY_H
#define PULLTAP_CONTROL_NOTIFY_H

#include "store/shipper.h"

struct notify {
	bool silent; /* the shipper's silence was reported */
	char text[160]; /* the last STATUS= */
};

/* Probes are attached and windows are swapped. */
void notify_ready(void);
void notify_stopping(void);

/*
 * Once a tick: the state, if it changed, and a sign of life, unless the shipper has not come round
 * for much longer than its slowest try takes. Then the manager's watchdog restarts the agent.
 * shipper_silent_s is shipper_silent_s().
 */
void notify_tick(struct notify *notify, const struct shipper_status *shipper,
		 unsigned int shipper_silent_s);

#endif
