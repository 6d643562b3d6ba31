/* SPDX-License-Identifier: MIT */
/*
 * One table of what a set consists of, for the loader that pins it and for everybody who opens it.
 * Inside attach/ only.
 */
#ifndef PULLTAP_ATTACH_KERNEL_PINS_H
#define PULLTAP_ATTACH_KERNEL_PINS_H

#include "attach/kernel.h"

struct pulltap_bpf;

/* Pins everything of a loaded skeleton under folder; the control map last: what has one is whole.
 */
must_check int kernel_pins_make(const struct pulltap_bpf *skel, const char *folder);

/*
 * Opens all of them but control; descriptors of *kernel are -1 before. Those of an older build may
 * lack what came later: where whole is false such stay -1.
 */
must_check int kernel_pins_open(struct kernel *kernel, const char *folder, bool whole);
void kernel_pins_close(struct kernel *kernel);

#endif
