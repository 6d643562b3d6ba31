/* SPDX-License-Identifier: MIT */
/*
 * Where nginx's structs hold what a reply is made of: the builder's choice of modules moves it.
 * nginx keeps offsetof() values as data, in the table of its variables and in that of the headers
 * it sends; they are read there. A build whose tables can't be found is compared with known
 * layouts. Either way the code of nginx itself must use the offsets, or there is no layout. Pure.
 */
#ifndef PULLTAP_DISCOVER_NGINX_LAYOUT_H
#define PULLTAP_DISCOVER_NGINX_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "../../bpf/abi.h"
#include "discover/elf_image.h"

/*
 * free_request holds the code of ngx_http_free_request, of size bytes. 0, or -ENOTSUP with one of a
 * few fixed texts in *ret_refusal, or a reading error.
 */
must_check int nginx_layout_find(const struct elf_image *image, const uint8_t *free_request,
				 uint64_t size, struct pt_nginx_layout *ret,
				 const char **ret_refusal);

/*
 * Does the code of ngx_http_free_request use what it does use by nginx's sources? It sets the
 * status when nothing was sent, and empties the request line.
 */
bool nginx_layout_is_used(const uint8_t *code, uint64_t size, uint64_t status, uint64_t method);

/* A layout of these offsets; -ENOTSUP where they can't be. */
must_check int nginx_layout_fill(uint64_t headers_out, uint64_t status, uint64_t method,
				 uint64_t addr_text, struct pt_nginx_layout *ret,
				 const char **ret_refusal);

#endif
