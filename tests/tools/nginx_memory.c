/* SPDX-License-Identifier: MIT */
/*
 * One request as nginx lays it out in memory when it is freed, and every way in which memory can be
 * something else. It attaches the agent's program to a function of its own and calls it with the
 * arguments of ngx_http_free_request, so that no nginx is needed and no chance is in it.
 *
 *   nginx_memory BPFFS REGISTRY SHAPE FAULT RC COUNT
 *
 * SHAPE   http1, http2, absolute (the target is no part of the line), old (elements of 48 bytes)
 * FAULT   none, or what is wrong or rare: see the table below
 * RC      second argument of the function
 * COUNT   how often it is called
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/nginx_layout.h"
#include "tests/tools/probed.h"

#define NOWHERE 0x10 /* nothing is mapped there */
#define HEADERS_IN 104
#define HEADERS_OUT 536
#define STATUS 648
#define METHOD 976
#define PARTS 4
#define PARTS_IN (NGINX_PARTS_IN_MAX + 1)
#define ROOM 20

enum shape { HTTP1, HTTP2, ABSOLUTE, OLD };
static const char *const shape_names[] = {"http1", "http2", "absolute", "old"};

#define FAULTS(X)                                                                                  \
	X(NONE, "none")                                                                            \
	X(OBJECT, "object") /* pointers to nowhere */                                              \
	X(LINE, "line")                                                                            \
	X(URI, "uri")                                                                              \
	X(CONNECTION, "connection")                                                                \
	X(ADDRESS, "address")                                                                      \
	X(ELEMENTS, "elements")                                                                    \
	X(NEXT_PART, "next-part")                                                                  \
	X(VALUE, "value")                                                                          \
	X(SIGNATURE, "signature") /* canaries */                                                   \
	X(SIZE, "size")                                                                            \
	X(ROOM_ZERO, "room-zero")                                                                  \
	X(ROOM_LARGE, "room-large")                                                                \
	X(COUNT_LARGE, "count-large")                                                              \
	X(POOL, "pool")                                                                            \
	X(POOL_ODD, "pool-odd")                                                                    \
	X(METHOD_ZERO, "method-zero")                                                              \
	X(METHOD_BITS, "method-bits")                                                              \
	X(METHOD_HIGH, "method-high")                                                              \
	X(METHOD_OTHER, "method-other")                                                            \
	X(STATUS_LARGE, "status-large")                                                            \
	X(STATUS_NONE, "status-none") /* nginx's own ways */                                       \
	X(UNSENT, "unsent")                                                                        \
	X(NO_LINE, "no-line")                                                                      \
	X(UNKNOWN, "unknown")                                                                      \
	X(REDIRECTED, "redirected")                                                                \
	X(HEADLESS, "headless")                                                                    \
	X(DELETED, "deleted")                                                                      \
	X(CASE, "case")                                                                            \
	X(MALFORMED, "malformed")                                                                  \
	X(LONG_VALUE, "long-value")                                                                \
	X(EMPTY_VALUE, "empty-value")                                                              \
	X(SECOND_PART, "second-part")                                                              \
	X(THIRD_PART, "third-part")                                                                \
	X(FOURTH_PART, "fourth-part")                                                              \
	X(UNLEARNED, "unlearned")                                                                  \
	X(APART, "apart")                                                                          \
	X(BESIDE_OTHER, "beside-other")                                                            \
	X(BESIDE_MALFORMED, "beside-malformed")                                                    \
	X(BESIDE_GONE, "beside-gone")                                                              \
	X(IN_UNKNOWN, "in-unknown") /* the client's headers */                                     \
	X(IN_NONE, "in-none")                                                                      \
	X(IN_UPPER, "in-upper")                                                                    \
	X(IN_DELETED, "in-deleted")                                                                \
	X(IN_LAST_PART, "in-last-part")                                                            \
	X(IN_MANY_PARTS, "in-many-parts")                                                          \
	X(IN_NEXT_PART, "in-next-part")                                                            \
	X(IN_ELEMENTS, "in-elements")                                                              \
	X(IN_COUNT, "in-count")                                                                    \
	X(IN_SIZE, "in-size")                                                                      \
	X(IN_POOL, "in-pool")                                                                      \
	X(IN_AGENT, "in-agent")                                                                    \
	X(IN_LINE, "in-line")

enum fault {
#define X(name, text) name,
	FAULTS(X)
#undef X
};
static const char *const fault_names[] = {
#define X(name, text) text,
	FAULTS(X)
#undef X
};

static struct {
	uint64_t request[NGINX_REQUEST_BYTES / 8];
	uint64_t connection[32];
	uint64_t parts[PARTS][3];
	uint64_t elements[PARTS][ROOM * NGINX_ELEMENT_BYTES_123 / 8];
	uint64_t in_parts[PARTS_IN][3];
	uint64_t in_elements[PARTS_IN][ROOM * NGINX_ELEMENT_BYTES_123 / 8];
	uint64_t goroutine[4];
} memory;

static char line[] = "GET /v2/memory/manifests/v1 HTTP/1.1";
static char line2[] = "GET /v2/memory/manifests/v1 HTTP/2.0";
static char put_line[] = "PUT /v2/memory/manifests/v1 HTTP/1.1";
static char uri[] = "/v2/memory/manifests/v1";
static char get[] = "GET ";
static char address[] = "127.0.0.1";
static const char *const other_keys[] = {"Server", "Docker-Content-Diges", "Content-Type",
					 "Xocker-Content-Digest", "Docker-Content-DigestX"};
static char key[] = "Docker-Content-Digest";
static char beside[256]; /* as nginx lays out what an upstream sent: name, value, one NUL each */
static char beside_other[256];
static char digest[] = "sha256:"
		       "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static char wrong[] = "sha256:"
		      "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

static void put_text(uint64_t *at, const char *text)
{
	at[0] = strlen(text);
	at[1] = (uint64_t)text;
}

static void put_header(uint64_t *element, const char *name, const char *value)
{
	element[0] = 1;
	put_text(element + NGINX_ELEMENT_KEY / 8, name);
	put_text(element + NGINX_ELEMENT_VALUE / 8, value);
}

static void put_beside(uint64_t *element, char *text, const char *name, const char *value)
{
	char *at = text + strlen(name) + 1;

	strcpy(text, name);
	strcpy(at, value);
	put_header(element, text, at);
}

/* Full parts up to the one that holds the digest at its end. */
static void make_headers(enum shape shape, enum fault fault)
{
	unsigned int stride = (shape == OLD ? NGINX_ELEMENT_BYTES : NGINX_ELEMENT_BYTES_123) / 8;
	unsigned int last = fault == SECOND_PART || fault == NEXT_PART ? 1
			    : fault == THIRD_PART		       ? 2
			    : fault == FOURTH_PART		       ? 3
								       : 0;
	uint64_t *element;

	for (unsigned int p = 0; p <= last; p++) {
		unsigned int count = p < last ? ROOM : 7;

		for (unsigned int i = 0; i < count; i++)
			put_header(memory.elements[p] + (size_t)i * stride, other_keys[i % 5],
				   wrong);
		memory.parts[p][0] = (uint64_t)memory.elements[p];
		memory.parts[p][1] = count;
		memory.parts[p][2] = p < last ? (uint64_t)memory.parts[p + 1] : 0;
	}
	element = memory.elements[last] + (size_t)6 * stride;
	put_header(element, key, digest);
	if (fault != APART)
		put_beside(element, beside, key, digest);
	if (fault == BESIDE_OTHER) /* of the same length, before it */
		put_beside(element - stride, beside_other, "Docker-Content-Digesu", wrong);
	if (fault == BESIDE_MALFORMED)
		put_beside(element, beside, key,
			   "no digest at all, but as long as one may well be");
	if (fault == BESIDE_GONE) {
		element[2] = NOWHERE;
		element[4] = NOWHERE + sizeof(key);
	}
	if (fault == DELETED)
		element[0] = 0;
	if (fault == CASE)
		put_text(element + 1, "dOCKER-cONTENT-dIGEST");
	if (fault == HEADLESS)
		put_text(element + 1, "Docker-Content-Digesx");
	if (fault == MALFORMED)
		put_text(element + 3, "no digest at all, but as long as one may well be");
	if (fault == LONG_VALUE)
		element[3] = 4096;
	if (fault == EMPTY_VALUE)
		element[3] = 0;
	if (fault == VALUE)
		element[4] = NOWHERE;
	if (fault == ELEMENTS)
		memory.parts[0][0] = NOWHERE;
	if (fault == NEXT_PART)
		memory.parts[0][2] = NOWHERE;
}

static const struct {
	const char *name, *upper, *value;
} in_headers[] = {
	/* as HTTP/2 has them; the first User-Agent holds, and of the lines the last one first */
	{"x-real-ip", "X-REAL-IP", "198.51.100.1"},
	{"forwarded", "Forwarded", "for=198.51.100.2"},
	{"user-agent", "User-Agent", "docker/27.0"},
	{"x-forwarded-for", "X-Forwarded-For", "203.0.113.9"},
	{"x-forwarded-foR!", "connection", "198.51.100.3"},
	{"x-forwarded-fox", "accept-encoding", "198.51.100.4"},
	{"user-agent", "user-AGENT", "other/1"},
	{"x-forwarded-for", "X-FORWARDED-FOR", "192.0.2.77"},
	{"x-real-ip", "x-real-IP", "198.51.100.5"},
};
#define IN_HEADERS (sizeof(in_headers) / sizeof(*in_headers))

/* Full parts up to the one that holds what is looked for. */
static void make_headers_in(enum shape shape, enum fault fault)
{
	unsigned int stride = (shape == OLD ? NGINX_ELEMENT_BYTES : NGINX_ELEMENT_BYTES_123) / 8;
	unsigned int last = fault == IN_LAST_PART    ? NGINX_PARTS_IN_MAX - 1
			    : fault == IN_MANY_PARTS ? NGINX_PARTS_IN_MAX
			    : fault == IN_NEXT_PART  ? 1
						     : 0;
	uint64_t *list = memory.request + HEADERS_IN / 8;

	for (unsigned int p = 0; p <= last; p++) {
		unsigned int count = p < last ? ROOM : fault == IN_NONE ? 0 : IN_HEADERS;

		for (unsigned int i = 0; i < count; i++)
			put_header(memory.in_elements[p] + (size_t)i * stride, "x-junk", "junk");
		memory.in_parts[p][0] = (uint64_t)memory.in_elements[p];
		memory.in_parts[p][1] = count;
		memory.in_parts[p][2] = p < last ? (uint64_t)memory.in_parts[p + 1] : 0;
	}
	for (unsigned int i = 0; fault != IN_NONE && i < IN_HEADERS; i++) {
		uint64_t *element = memory.in_elements[last] + (size_t)i * stride;

		put_header(element, fault == IN_UPPER ? in_headers[i].upper : in_headers[i].name,
			   in_headers[i].value);
		if (fault == IN_DELETED && i == 2)
			element[0] = 0;
		if ((fault == IN_AGENT && i == 2) || (fault == IN_LINE && i == 7))
			element[4] = NOWHERE;
	}
	if (fault == IN_NEXT_PART)
		memory.in_parts[0][2] = NOWHERE;
	memcpy(list + NGINX_LIST_ELEMENTS / 8, memory.in_parts[0], sizeof(memory.in_parts[0]));
	if (fault == IN_ELEMENTS)
		list[NGINX_LIST_ELEMENTS / 8] = NOWHERE;
	if (fault == IN_COUNT)
		list[NGINX_LIST_COUNT / 8] = NGINX_ELEMENTS_MAX + 1;
	list[NGINX_LIST_SIZE / 8] = stride * 8 + (fault == IN_SIZE ? 8 : 0);
	list[NGINX_LIST_ROOM / 8] = ROOM;
	list[NGINX_LIST_POOL / 8] = fault == IN_POOL ? 0x2000 : 0x1000;
}

static void make_list(enum shape shape, enum fault fault)
{
	uint64_t *list = memory.request + HEADERS_OUT / 8;

	memcpy(list + NGINX_LIST_ELEMENTS / 8, memory.parts[0], sizeof(memory.parts[0]));
	list[NGINX_LIST_SIZE / 8] = fault == SIZE  ? 64
				    : shape == OLD ? NGINX_ELEMENT_BYTES
						   : NGINX_ELEMENT_BYTES_123;
	list[NGINX_LIST_ROOM / 8] = fault == ROOM_ZERO ? 0 : fault == ROOM_LARGE ? 65 : ROOM;
	list[NGINX_LIST_POOL / 8] = fault == POOL ? 0 : fault == POOL_ODD ? 0x1001 : 0x1000;
	if (fault == COUNT_LARGE)
		list[NGINX_LIST_COUNT / 8] = ROOM + 1;
}

static void make_request_line(enum shape shape, enum fault fault)
{
	uint64_t *method = memory.request + METHOD / 8;
	char *text = fault == REDIRECTED ? put_line : shape == HTTP2 ? line2 : line;

	method[0] = fault == METHOD_ZERO    ? 0
		    : fault == METHOD_BITS  ? 6
		    : fault == METHOD_HIGH  ? 1ull << 32
		    : fault == METHOD_OTHER ? NGINX_METHOD_PUT
		    : fault == UNKNOWN	    ? 1
					    : NGINX_METHOD_GET;
	put_text(method + NGINX_METHOD_REQUEST_LINE / 8, text);
	put_text(method + NGINX_METHOD_NAME / 8, get);
	method[NGINX_METHOD_NAME / 8] = 3;
	if (fault != REDIRECTED)
		method[NGINX_METHOD_NAME / 8 + 1] = (uint64_t)text;
	put_text(method + NGINX_METHOD_UNPARSED_URI / 8, uri);
	if (shape != HTTP2 && shape != ABSOLUTE)
		method[NGINX_METHOD_UNPARSED_URI / 8 + 1] = (uint64_t)text + 4;
	if (shape == ABSOLUTE)
		method[NGINX_METHOD_REQUEST_LINE / 8] += 8; /* "http://a" */
	if (fault == NO_LINE)
		memset(method + NGINX_METHOD_REQUEST_LINE / 8, 0, 16);
	if (fault == LINE) {
		method[NGINX_METHOD_REQUEST_LINE / 8 + 1] = NOWHERE;
		method[NGINX_METHOD_NAME / 8 + 1] = NOWHERE;
	}
	if (fault == URI)
		method[NGINX_METHOD_UNPARSED_URI / 8 + 1] = NOWHERE;
}

static void make_request(enum shape shape, enum fault fault)
{
	make_headers(shape, fault);
	make_headers_in(shape, fault);
	make_list(shape, fault);
	make_request_line(shape, fault);
	memory.request[0] = fault == SIGNATURE ? 0x12345678 : NGINX_SIGNATURE;
	memory.request[NGINX_CONNECTION / 8] =
		fault == CONNECTION ? NOWHERE : (uint64_t)memory.connection;
	memory.request[STATUS / 8] = fault == STATUS_LARGE ? 1000 : fault == STATUS_NONE ? 0 : 200;
	memory.connection[NGINX_CONNECTION_SENT / 8] = fault == UNSENT ? 0 : 1234;
	put_text(memory.connection + NGINX_CONNECTION_ADDR_TEXT / 8, address);
	if (fault == ADDRESS)
		memory.connection[NGINX_CONNECTION_ADDR_TEXT / 8 + 1] = NOWHERE;
}

/* probed_reply() keeps off its way when the goroutine's guard lies below the stack. */
static void call_probed(uint64_t r, int64_t rc)
{
	__asm__ volatile("leaq -256(%%rsp), %%rsp\n\tmovq %2, %%r14\n\tcallq *%3\n\t"
			 "leaq 256(%%rsp), %%rsp\n\t"
			 :
			 : "D"(r), "S"(rc), "a"(memory.goroutine), "b"(probed_reply)
			 : "r14", "memory", "cc");
}

static struct binary_site site = {
	.hook = PT_NGINX_HOOK_REQUEST,
	.layout.nginx = {.headers_out = HEADERS_OUT,
			 .status = STATUS,
			 .method = METHOD,
			 .size = METHOD + NGINX_METHOD_BYTES,
			 .sent = NGINX_CONNECTION_SENT,
			 .addr_text = NGINX_CONNECTION_ADDR_TEXT,
			 .headers_in = HEADERS_IN},
};

int main(int argc, char **argv)
{
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	unsigned int count;
	enum fault fault;
	int rc;

	if (argc != 7) {
		fprintf(stderr, "usage: nginx_memory BPFFS REGISTRY SHAPE FAULT RC COUNT\n");
		return 2;
	}
	fault = (enum fault)probed_find(argv[4], fault_names,
					sizeof(fault_names) / sizeof(*fault_names));
	make_request((enum shape)probed_find(argv[3], shape_names,
					     sizeof(shape_names) / sizeof(*shape_names)),
		     fault);
	if (fault == UNLEARNED)
		site.layout.nginx = (struct pt_nginx_layout){};
	if (fault == IN_UNKNOWN)
		site.layout.nginx.headers_in = 0;
	count = (unsigned int)strtoul(argv[6], NULL, 10);
	rc = kernel_open(&kernel, argv[1]);
	rc = rc ?: probed_attach(kernel, argv[2], "nginx_memory", &site);
	if (rc < 0) {
		fprintf(stderr, "nginx_memory: %s\n", strerror(-rc));
		return 1;
	}
	for (unsigned int i = 0; i < count; i++)
		call_probed(fault == OBJECT ? NOWHERE : (uint64_t)memory.request,
			    strtol(argv[5], NULL, 10));
	return 0;
}
