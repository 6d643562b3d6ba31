/* SPDX-License-Identifier: MIT */
/*
 * What the programs know of TLS connections goes when SSL_free() runs. A process that dies runs
 * nothing: what is left of it is swept here, so that its maps never fill up. On the agent's thread.
 */
#ifndef PULLTAP_ATTACH_TLS_SWEEP_H
#define PULLTAP_ATTACH_TLS_SWEEP_H

#include "attach/kernel.h"

/* proc: a descriptor of /proc. Returns how many connections and requests were removed. */
unsigned int tls_sweep(const struct kernel *kernel, int proc);

#endif
