/* SPDX-License-Identifier: MIT */
#include "control/notify.h"

#include <inttypes.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"

/* A big window takes a few dozen statements of at most ten seconds each. */
#define SHIPPER_SILENT_S 600

void notify_ready(void)
{
	sd_notify(0, "READY=1");
}

void notify_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

void notify_tick(struct notify *notify, const struct shipper_status *shipper,
		 unsigned int shipper_silent_s)
{
	bool silent = shipper_silent_s > SHIPPER_SILENT_S;
	char text[sizeof(notify->text)];

	snprintf(text, sizeof(text), "STATUS=counting, database %s, %" PRIu64 " windows wait",
		 shipper_state_name(shipper->state), shipper->waiting);
	if (strcmp(text, notify->text)) {
		memcpy(notify->text, text, sizeof(text));
		sd_notify(0, text);
	}
	if (silent && !notify->silent)
		log_error("the shipper hangs, no sign of life for the service manager",
			  "silent_s=%u", shipper_silent_s);
	notify->silent = silent;
	if (!silent)
		sd_notify(0, "WATCHDOG=1");
}
