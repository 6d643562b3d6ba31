/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What apache httpd's public headers fix about its structs, in bytes on amd64, for the one module
 * magic number that every 2.4 has: within it nothing moves, for modules are built against it.
 * tests/kernel/test_apache_layout.py holds these against the headers themselves.
 */
#ifndef PULLTAP_APACHE_LAYOUT_H
#define PULLTAP_APACHE_LAYOUT_H

#define APACHE_MAGIC_MAJOR 20120211
#define APACHE_MODULE_COOKIE 0x41503234 /* "AP24" */

/* request_rec */
#define APACHE_POOL 0
#define APACHE_CONNECTION 8
#define APACHE_NEXT 24 /* what an internal redirect, as to an ErrorDocument, made of it */
#define APACHE_PREV 32
#define APACHE_THE_REQUEST 48 /* the line as the client sent it, or as HTTP/2 would have it */
#define APACHE_STATUS 104 /* an int, beside it the method's number */
#define APACHE_METHOD_NUMBER 108
#define APACHE_HEADERS_IN 232
#define APACHE_HEADERS_OUT 240
#define APACHE_ERR_HEADERS_OUT 248 /* sent with errors too, and kept by redirects */
#define APACHE_CONTENT_TYPE 272
#define APACHE_UNPARSED_URI 328
#define APACHE_USERAGENT_IP 688 /* the peer's, or what mod_remoteip makes of it */
#define APACHE_REQUEST_BYTES 696 /* all that is read of it */

/* HEAD has GET's */
#define APACHE_METHOD_GET 0
#define APACHE_METHOD_PUT 1
#define APACHE_METHOD_DELETE 3
#define APACHE_METHODS 64

/* apr_table_t: begins with an array {pool, int element's size, int count, int room, elements} */
#define APACHE_TABLE_SIZE 8
#define APACHE_TABLE_COUNT 12
#define APACHE_TABLE_ROOM 16
#define APACHE_TABLE_ELEMENTS 24
#define APACHE_TABLE_BYTES 32

/*
 * apr_table_entry_t: key, value, checksum. That is the key's first four bytes, the first one on
 * top, without the bit that tells a letter's case.
 */
#define APACHE_ENTRY_BYTES 24
#define APACHE_CHECKSUM(a, b, c, d) (((a) << 24 | (b) << 16 | (c) << 8 | (d)) & 0xdfdfdfdfu)

/* Headers are looked through in steps of 64; apache reads 100 of a request (LimitRequestFields). */
#define APACHE_ENTRIES_STEP 64
#define APACHE_ENTRIES_MAX 128
#define APACHE_WORDS (APACHE_ENTRIES_STEP * APACHE_ENTRY_BYTES / 8)

/* Ten, unless LimitInternalRecursion says otherwise. */
#define APACHE_REDIRECTS_MAX 32

#endif
