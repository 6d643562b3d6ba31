/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The agent's wake-ups: execs, requests for an early swap, and a few requests of an nginx whose
 * layout is being learned; nothing per pull. Weak, because more than one object writes to it and
 * the linker makes one map of them.
 */
#ifndef PULLTAP_EVENTS_H
#define PULLTAP_EVENTS_H

#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps") __weak;

#endif
