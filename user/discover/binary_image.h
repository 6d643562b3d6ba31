/* SPDX-License-Identifier: MIT */
/*
 * binary_inspect() below the descriptor: what a file's bytes say, wherever they come from. For
 * binary.c, unit tests and fuzzers.
 */
#ifndef PULLTAP_DISCOVER_BINARY_IMAGE_H
#define PULLTAP_DISCOVER_BINARY_IMAGE_H

#include "discover/binary.h"
#include "discover/byte_source.h"

/* As binary_inspect(); device and inode stay as they are in *ret. */
must_check int binary_inspect_source(struct byte_source *source, struct binary *ret);
must_check int binary_inspect_openssl_source(struct byte_source *source, struct binary *ret);

#endif
