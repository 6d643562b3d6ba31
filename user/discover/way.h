/* SPDX-License-Identifier: MIT */
/*
 * The ways in: what of a server is probed. A binary is known to be of one of them, but for OpenSSL,
 * which any program may use and which the operator has to name (--target NAME=openssl:PATH).
 */
#ifndef PULLTAP_DISCOVER_WAY_H
#define PULLTAP_DISCOVER_WAY_H

#include <stddef.h>

enum way {
	WAY_ANY = 0, /* not named: what the binary is by itself */
	WAY_GO,
	WAY_NGINX,
	WAY_APACHE,
	WAY_OPENSSL,
	WAY_COUNT,
};

/* As --target spells them. */
extern const char *const way_names[WAY_COUNT];
#define WAY_NAMES "go, nginx, apache or openssl"

/* "Go's net/http": for messages. */
extern const char *const way_titles[WAY_COUNT];

/* The way of that name (length bytes), or WAY_ANY. */
enum way way_find(const char *name, size_t length);

#endif
