/* SPDX-License-Identifier: MIT */
/*
 * The kill switch where it acts: the mask that the programs read at each hit, what each source of
 * it said last, and the probes. Works on the shared maps alone, so that `pulltap off` needs no
 * agent. A source has one writer; bits are raised and cleared atomically, from any thread.
 */
#ifndef PULLTAP_ATTACH_OFF_H
#define PULLTAP_ATTACH_OFF_H

#include <stdbool.h>

#include "attach/kernel.h"

/* The number of a source is that of its bit in enum pt_off. */
enum off_source {
	OFF_OPERATOR,
	OFF_FILE,
	OFF_DATABASE,
	OFF_REDIS,
	OFF_SIGNAL,
	OFF_GUARD,
	OFF_HAND, /* bits that no source answers for: written by bpftool */
};

/* "operator", "file", ...; of a bit that is nobody's: "hand". */
const char *off_source_name(unsigned int source);
/* "layout", "guard", "flag", "late" or "elsewhere": of a bit of enum pt_site_off. */
const char *off_site_name(uint8_t bit);

/*
 * source says off or on; who is its name for people. True when that is news: then the bit is as the
 * source says and off_enforce() is due. Saying on again changes nothing, so that a bit that
 * somebody else raised stays until he clears it.
 */
bool off_say(struct kernel *kernel, enum off_source source, bool off, const char *who);

/*
 * Brings everything in line with the mask: off begins the time that is recorded and takes the
 * probes off; bits that no source answers for become the hand's word. Returns the mask.
 */
uint32_t off_enforce(struct kernel *kernel);

/*
 * Switches a target off, or takes that back, for one of the reasons in enum pt_site_off. off takes
 * its probe away at once; whoever takes the last reason back attaches it again.
 */
void off_site(struct kernel *kernel, uint32_t index, uint8_t reason, bool off);

/* From since_ns on its target may have answered without the probe that it is about to get back. */
void off_site_late(struct kernel *kernel, uint32_t index, uint64_t since_ns);

/* What stays of a slot that is emptied: the time that its target was off, until it is recorded. */
struct pt_site off_site_gone(const struct kernel *kernel, uint32_t index);

/* Its probe is back: the time that is recorded ends only now. */
void off_site_back(struct kernel *kernel, uint32_t index);

/* Counting is on and the probes are back: the time that is recorded ends. */
void off_end(struct kernel *kernel);

/*
 * Takes back what was said by hand, with bpftool or by a signal, and starts the targets that the
 * guard switched off. What a file, a row or a key says stays. Returns the mask.
 */
uint32_t off_take_back(struct kernel *kernel, const char *who);

/* Who said what, for a set of maps that replaces another; the mask itself is one for both. */
void off_hand_over(const struct kernel *from, struct kernel *to);

/*
 * The time that is recorded can be forgotten when every window that it touched is written.
 */
void off_settle(struct kernel *kernel);

#endif
