/* SPDX-License-Identifier: MIT */
/* What `pulltap status` reads of the kill switch and of targets that are off. */
#ifndef PULLTAP_CLI_STATUS_SWITCH_H
#define PULLTAP_CLI_STATUS_SWITCH_H

#include <jansson.h>

#include "attach/kernel.h"

/* An array of every source that ever spoke: its name, off, since when, who. */
json_t *status_switch_json(const struct kernel *kernel);

/* The bits of a site's off, as an array of names. */
json_t *status_site_reasons(uint8_t off);

#endif
