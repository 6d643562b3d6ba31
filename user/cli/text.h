/* SPDX-License-Identifier: MIT */
/* Small things that every table on a terminal needs. Pure. */
#ifndef PULLTAP_CLI_TEXT_H
#define PULLTAP_CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Copies s with every byte outside printable ASCII as \xNN, so that a hostile name can't drive the
 * terminal; cut to columns characters with "..." at the end. Returns buf.
 */
const char *text_printable(char *buf, size_t size, const char *s, size_t columns);

/* "12,345" */
const char *text_count(char buf[32], uint64_t count);

/* "512 B", "3.4 MiB" */
const char *text_bytes(char buf[32], uint64_t bytes);

#endif
