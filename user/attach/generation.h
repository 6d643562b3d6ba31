/* SPDX-License-Identifier: MIT */
/*
 * The folder of pins. Every load makes a set of maps and programs, numbered, in a folder of its
 * own; the link `live` says which one is in use, and names such as DIR/off lead through it, so that
 * all of them change at one instant. Only bpffs, no BPF.
 *
 *   DIR/generation_7/   control, off, sites, ..., window_0/, window_1/, program/
 *   DIR/live            -> generation_7
 *   DIR/control, ...    -> live/control, ...
 *   DIR/entry/          what the probes are attached to, shared by all sets (attach/entry.h)
 *   DIR/link/           the probes: one link for each site
 */
#ifndef PULLTAP_ATTACH_GENERATION_H
#define PULLTAP_ATTACH_GENERATION_H

#include <limits.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Sets that can lie beside each other: each crash in an upgrade may leave one. */
#define GENERATIONS_MAX 64

/* DIR/generation_N */
void generation_path(char ret[PATH_MAX], const char *path, uint64_t number);

/* Numbers of all sets, ascending; returns how many, -E2BIG beyond GENERATIONS_MAX. */
must_check int generation_list(const char *path, uint64_t numbers[GENERATIONS_MAX]);

/* Number of the set in use; -ENOENT when there is none. */
must_check int generation_live(const char *path, uint64_t *ret);

/*
 * No set is in use any more: before all pins are removed, so that what is left if that is cut short
 * is taken for nothing.
 */
void generation_forget(const char *path);

/* Makes the set the one in use, in one step, and the names that lead through it. */
must_check int generation_go_live(const char *path, uint64_t number);

#endif
