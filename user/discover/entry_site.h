/* SPDX-License-Identifier: MIT */
/*
 * Picks the instruction of a C function on which a probe sees the function's arguments: the first
 * that the kernel emulates, on the straight way from the entry, with the registers of the arguments
 * still unwritten. Pure. Go's functions have rules of their own: go_site.h.
 */
#ifndef PULLTAP_DISCOVER_ENTRY_SITE_H
#define PULLTAP_DISCOVER_ENTRY_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Bytes of a function that are looked at. nginx's ngx_http_free_request has 640 to 700. */
#define ENTRY_SITE_CODE 4096

/*
 * code holds a whole function of size bytes. arguments is how many of rdi, rsi, rdx, rcx must be as
 * they were at the entry. Sets the offset of the instruction from the entry. -ENOTSUP with one of a
 * few fixed texts in *ret_refusal.
 */
must_check int entry_site_find(const uint8_t *code, uint64_t size, unsigned int arguments,
			       uint32_t *ret_offset, const char **ret_refusal);

/* Does any instruction of the function read or write [register + displacement]? */
bool entry_site_touches(const uint8_t *code, uint64_t size, int64_t displacement);

#endif
