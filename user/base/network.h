/* SPDX-License-Identifier: MIT */
/* Networks as people write them: 10.0.0.0/8, 2001:db8::/32, or one address alone. Pure. */
#ifndef PULLTAP_BASE_NETWORK_H
#define PULLTAP_BASE_NETWORK_H

#include "../../bpf/abi.h"
#include "base/cleanup.h"

struct network {
	struct pt_address address, mask; /* IPv4 as ::ffff:a.b.c.d */
	unsigned int bits; /* of the 128 */
};

/* -EINVAL: not a network, or bits are set behind its prefix. */
must_check int network_parse(const char *text, struct network *ret);

#endif
