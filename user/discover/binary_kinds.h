/* SPDX-License-Identifier: MIT */
/*
 * The kinds of binaries that can be observed, for binary.c. Each fills version, sites and refusal,
 * and registry_kind where it knows. Returns as binary_inspect(); -ENOENT: it is not of this kind.
 */
#ifndef PULLTAP_DISCOVER_BINARY_KINDS_H
#define PULLTAP_DISCOVER_BINARY_KINDS_H

#include "discover/binary.h"
#include "discover/elf_image.h"

must_check int go_binary_inspect(const struct elf_image *image, struct binary *ret);
must_check int apache_binary_inspect(const struct elf_image *image, struct binary *ret);
must_check int nginx_binary_inspect(const struct elf_image *image, struct binary *ret);

/* Not a kind of its own: any program may use it, and the operator has to say so. */
must_check int openssl_binary_inspect(const struct elf_image *image, struct binary *ret);

/* The version that it says, or -ENOENT and "". */
must_check int openssl_binary_version(const struct elf_image *image, char *ret, unsigned int size);

/* Adds one reason why something of it can't be probed. */
__attribute__((format(printf, 2, 3))) void binary_refuse(struct binary *binary, const char *fmt,
							 ...);

#endif
