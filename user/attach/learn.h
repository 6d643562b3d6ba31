/* SPDX-License-Identifier: MIT */
/*
 * Sites whose layout the binary does not tell: their programs send requests instead of counting
 * them, and two that tell the same make the layout. A site that a thousand requests don't explain
 * is switched off like one whose canaries fail. Runs on the agent's main thread.
 */
#ifndef PULLTAP_ATTACH_LEARN_H
#define PULLTAP_ATTACH_LEARN_H

#include <stddef.h>

#include "attach/follow.h"
#include "attach/kernel.h"

/* data: a struct pt_sample of size bytes, out of the ring buffer. */
void learn_request(struct kernel *kernel, const struct follow *follow, const void *data,
		   size_t size);

#endif
