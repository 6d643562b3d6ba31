/* SPDX-License-Identifier: MIT */
/*
 * Hides the passwords of a libpq connection string, for everything that prints one. Pure.
 */
#ifndef PULLTAP_BASE_CONNINFO_MASK_H
#define PULLTAP_BASE_CONNINFO_MASK_H

#include <stddef.h>

#define CONNINFO_MASK "****"

/* Where an @ could belong to the password or stand before the host, it is not clear which. */
enum conninfo_secret { CONNINFO_OPEN, CONNINFO_SECRET, CONNINFO_UNCLEAR };

/*
 * Copies conninfo with password and sslpassword replaced, in both of libpq's forms: "password=x",
 * "password = 'it\'s'" and postgresql://user:x@host/db?password=x. Strings that libpq would refuse
 * are masked too, rather too much than too little. Truncates to size, never in favour of a secret.
 * Returns whether there was anything to hide.
 */
enum conninfo_secret conninfo_mask(const char *conninfo, char *ret, size_t size);

/* The same without the copy. */
enum conninfo_secret conninfo_secret(const char *conninfo);

#endif
