/* SPDX-License-Identifier: MIT */
/*
 * Picks the instruction of a Go function on which a probe stands: the branch of the stack check
 * in the prologue. The kernel emulates it instead of single-stepping a copy, the arguments are
 * still where the caller put them, and the flags it tests tell a run that will start over on a
 * larger stack (CF or ZF set) from one that goes on. Pure.
 */
#ifndef PULLTAP_DISCOVER_GO_SITE_H
#define PULLTAP_DISCOVER_GO_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

/* The longest known prologue up to and with its branch is 27 bytes. */
#define GO_SITE_CODE 48

struct go_site {
	uint8_t go_abi; /* enum pt_go_abi */
	uint8_t offset; /* of the branch from the function's entry */
};

/*
 * code holds the first size bytes of a function that is function_bytes long (size is smaller only
 * when the function is). 0, or -ENOTSUP with one of a few fixed texts in *ret_refusal.
 */
must_check int go_site_find(const uint8_t *code, uint64_t size, uint64_t function_bytes,
			    struct go_site *ret, const char **ret_refusal);

#endif
