/* SPDX-License-Identifier: MIT */
/*
 * nginx's table of built-in variables ($request_uri, $status, ...): for each a function that makes
 * its value, and a number for that function, which is an offset in ngx_http_request_t for many.
 * Pure.
 */
#ifndef PULLTAP_DISCOVER_NGINX_VARIABLES_H
#define PULLTAP_DISCOVER_NGINX_VARIABLES_H

#include <stdint.h>

#include "discover/elf_image.h"

enum nginx_variable {
	NGINX_VARIABLE_REQUEST_URI,
	NGINX_VARIABLE_URI,
	NGINX_VARIABLE_QUERY_STRING,
	NGINX_VARIABLE_SERVER_PROTOCOL,
	NGINX_VARIABLE_STATUS,
	NGINX_VARIABLE_REMOTE_ADDR,
	NGINX_VARIABLE_SENT_HTTP_CACHE_CONTROL,
	NGINX_VARIABLE_SENT_HTTP_CONTENT_TYPE,
	NGINX_VARIABLE_HTTP_HOST,
	NGINX_VARIABLE_HTTP_USER_AGENT,
	NGINX_VARIABLES,
};

struct nginx_variables {
	struct {
		uint64_t getter; /* address of the function; 0: the table has no such variable */
		uint64_t data;
	} list[NGINX_VARIABLES];
};

/* -ENOENT when there is no such table, else a reading error. */
must_check int nginx_variables_find(const struct elf_image *image, struct nginx_variables *ret);

#endif
