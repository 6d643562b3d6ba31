/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What nginx's sources fix about its structs, in bytes on amd64: the order of neighbours, for every
 * version from 1.12 on. Where the neighbourhoods lie is each build's own: struct pt_nginx_layout.
 */
#ifndef PULLTAP_NGINX_LAYOUT_H
#define PULLTAP_NGINX_LAYOUT_H

/* ngx_http_request_t: begins with "HTTP", then the connection */
#define NGINX_SIGNATURE 0x50545448
#define NGINX_CONNECTION 8

/* from the method on; ngx_str_t is {length, pointer} */
#define NGINX_METHOD_VERSION 8 /* from the method */
#define NGINX_METHOD_REQUEST_LINE 16
#define NGINX_METHOD_URI 32 /* what it became by rewrites and redirects */
#define NGINX_METHOD_ARGS 48
#define NGINX_METHOD_UNPARSED_URI 80 /* what the client sent */
#define NGINX_METHOD_NAME 96
#define NGINX_METHOD_PROTOCOL 112
#define NGINX_METHOD_BYTES 112 /* all that is read of it */

/* method is one bit */
#define NGINX_METHOD_GET 0x2
#define NGINX_METHOD_HEAD 0x4
#define NGINX_METHOD_PUT 0x10
#define NGINX_METHOD_DELETE 0x20
#define NGINX_METHODS (1u << 20)

/* ngx_http_headers_out_t: ngx_list_t headers, from 1.13.2 on another for trailers, status */
#define NGINX_LIST_BYTES 56
#define NGINX_LIST_ELEMENTS 8 /* its first part: elements, their number, the next part */
#define NGINX_LIST_COUNT 16
#define NGINX_LIST_NEXT 24
#define NGINX_LIST_SIZE 32 /* of an element */
#define NGINX_LIST_ROOM 40
#define NGINX_LIST_POOL 48
#define NGINX_PART_BYTES 24
#define NGINX_STATUS_SERVER 24 /* from the status */
#define NGINX_TYPE_CACHE_CONTROL 48 /* from content_type, up to 1.22 */
#define NGINX_CACHE_CONTROL_TYPE 32 /* to content_type, from 1.23 on */

/* ngx_table_elt_t: hash (0: deleted), key, value, lowcase_key, from 1.23 on next */
#define NGINX_ELEMENT_BYTES 48
#define NGINX_ELEMENT_BYTES_123 56
#define NGINX_ELEMENT_KEY 8
#define NGINX_ELEMENT_VALUE 24
#define NGINX_ROOM 20 /* elements in a part of headers */
#define NGINX_PARTS_MAX 3
#define NGINX_PARTS_IN_MAX 8 /* of a request's headers, which are the client's choice */
#define NGINX_ELEMENTS_MAX 24 /* nginx makes parts of 20 */

/* ngx_connection_t */
#define NGINX_CONNECTION_SENT 72
#define NGINX_CONNECTION_ADDR_TEXT 120

/* Most that is read of a request. A build with every module has 1,104 up to its method's name. */
#define NGINX_REQUEST_BYTES 1536

#endif
