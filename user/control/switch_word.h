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

#endif
