/* SPDX-License-Identifier: MIT */
/*
 * Places in libssl's code, found by what the code does: no version's offsets are known here. Pure.
 * Each takes the code of one function, size bytes from its entry, and sets *ret_refusal to one of a
 * few fixed texts where it returns -ENOTSUP.
 */
#ifndef PULLTAP_DISCOVER_OPENSSL_SITE_H
#define PULLTAP_DISCOVER_OPENSSL_SITE_H

#include <stdint.h>

#include "base/cleanup.h"

/*
 * SSL_read(), SSL_read_ex() and their like check their arguments and hand them to one function that
 * serves them all: how far from the entry that one lies. What is called before it, if anything, is
 * called on another path.
 */
must_check int openssl_site_callee(const uint8_t *code, uint64_t size, int64_t *ret_distance,
				   const char **ret_refusal);

/*
 * ssl3_read_internal(ssl, buffer, room, peek, amount), through which application data comes: the
 * branch that follows on its call of the record layer,
 *     method->ssl_read_bytes(ssl, SSL3_RT_APPLICATION_DATA, NULL, buffer, room, peek, amount)
 * where eax holds the result. The arguments of that call are followed from the entry, so that
 * nothing else can be taken for it. Sets the branch's offset from the entry.
 */
must_check int openssl_site_read_done(const uint8_t *code, uint64_t size, uint32_t *ret_offset,
				      const char **ret_refusal);

/* SSL_want(): which field of SSL it reads, in bytes. */
must_check int openssl_site_want(const uint8_t *code, uint64_t size, uint16_t *ret_field,
				 const char **ret_refusal);

/* TLS_method(): the table that it returns, as an address where the code is at address. */
must_check int openssl_site_method(const uint8_t *code, uint64_t size, uint64_t address,
				   uint64_t *ret_table, const char **ret_refusal);

/* A function that only hands on to another: how far that one is; -ENOENT when it does not. */
must_check int openssl_site_jump(const uint8_t *code, uint64_t size, int64_t *ret_distance);

#endif
