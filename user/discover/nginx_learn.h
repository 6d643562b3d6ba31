/* SPDX-License-Identifier: MIT */
/*
 * Learns where nginx's structs hold what a reply is made of from a request as it lay in memory, for
 * builds whose tables don't tell. A request proves itself: its line, method and target are pointers
 * into one text, lists of headers point back at themselves, and the code of nginx must use what was
 * found. The text is not looked at, so nothing that a client sends can make another layout fit.
 */
#ifndef PULLTAP_DISCOVER_NGINX_LEARN_H
#define PULLTAP_DISCOVER_NGINX_LEARN_H

#include <stdbool.h>
#include <stdint.h>

#include "../../bpf/abi.h"
#include "base/cleanup.h"

/* Can it be worth a try? Code that looks at nothing of a connection is no known nginx's. */
bool nginx_can_learn(const uint8_t *free_request, uint64_t size);

/*
 * free_request holds the code of ngx_http_free_request, of size bytes. 0, or -EAGAIN when this
 * request does not tell: another may. Pure.
 */
must_check int nginx_learn(const struct pt_sample *sample, const uint8_t *free_request,
			   uint64_t size, struct pt_nginx_layout *ret);

/* The same with the binary behind fd. Else -errno: it is no such file, or unreadable. */
must_check int nginx_learn_file(int fd, const struct pt_sample *sample,
				struct pt_nginx_layout *ret);

#endif
