/* SPDX-License-Identifier: MIT */
/*
 * Hides the passwords of a libpq connection string, for everything that prints one. Pure.
 */
#ifndef PULLTAP_CLI_CONNINFO_MASK_H
#define PULLTAP_CLI_CONNINFO_MASK_H

#include <stddef.h>

#define CONNINFO_MASK "****"

/*
 * Copies conninfo with password and sslpassword replaced, in both of libpq's forms: "password=x",
 * "password = 'it\'s'" and postgresql://user:x@host/db?password=x. Strings that libpq would refuse
 * are masked too, rather too much than too little. Truncates to size, never in favour of a secret.
 */
void conninfo_mask(const char *conninfo, char *ret, size_t size);

#endif
