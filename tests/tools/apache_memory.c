/* SPDX-License-Identifier: MIT */
/*
 * One request as apache lays it out in memory when it is logged, and every way in which memory can
 * be something else. It attaches the agent's program to a function of its own and calls it with the
 * argument of ap_run_log_transaction, so that no apache is needed and no chance is in it.
 *
 *   apache_memory BPFFS REGISTRY SHAPE FAULT STATUS COUNT
 *
 * SHAPE   plain, redirected (the last of three requests has what was sent), inner (the same, called
 *         with the last one)
 * FAULT   none, or what is wrong or rare: see the table below
 * STATUS  of the reply
 * COUNT   how often it is called
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/apache_layout.h"
#include "tests/tools/probed.h"

#define NOWHERE 0x10 /* nothing is mapped there */
#define ENTRY_WORDS (APACHE_ENTRY_BYTES / 8)
#define ROOM (APACHE_ENTRIES_MAX + 16)
#define LONG_TEXT 8000
#define ENDLESS_TEXT 20000

enum shape { PLAIN, REDIRECTED, INNER };
static const char *const shape_names[] = {"plain", "redirected", "inner"};

#define FAULTS(X)                                                                                  \
	X(NONE, "none")                                                                            \
	X(OBJECT, "object") /* pointers to nowhere */                                              \
	X(LINE, "line")                                                                            \
	X(URI, "uri")                                                                              \
	X(ADDRESS, "address")                                                                      \
	X(TABLE, "table")                                                                          \
	X(ERR_TABLE, "err-table")                                                                  \
	X(ELEMENTS, "elements")                                                                    \
	X(KEY, "key")                                                                              \
	X(VALUE, "value")                                                                          \
	X(NEXT, "next")                                                                            \
	X(LOOP, "loop")                                                                            \
	X(POOL_ZERO, "pool-zero") /* canaries */                                                   \
	X(POOL_ODD, "pool-odd")                                                                    \
	X(CONNECTION_ZERO, "connection-zero")                                                      \
	X(CONNECTION_ODD, "connection-odd")                                                        \
	X(IN_ZERO, "in-zero")                                                                      \
	X(OUT_ZERO, "out-zero")                                                                    \
	X(OUT_ODD, "out-odd")                                                                      \
	X(ERR_ZERO, "err-zero")                                                                    \
	X(METHOD_HIGH, "method-high")                                                              \
	X(METHOD_OTHER, "method-other")                                                            \
	X(SIZE, "size")                                                                            \
	X(ERR_SIZE, "err-size")                                                                    \
	X(COUNT_LARGE, "count-large")                                                              \
	X(ROOM_LARGE, "room-large")                                                                \
	X(TABLE_POOL, "table-pool")                                                                \
	X(ELEMENTS_ODD, "elements-odd")                                                            \
	X(LAST_CONNECTION, "last-connection")                                                      \
	X(LAST_PREV, "last-prev")                                                                  \
	X(NO_LINE, "no-line") /* apache's own ways */                                              \
	X(NO_URI, "no-uri")                                                                        \
	X(SHORT_LINE, "short-line")                                                                \
	X(UNKNOWN, "unknown")                                                                      \
	X(PUT, "put")                                                                              \
	X(HEAD, "head")                                                                            \
	X(NO_ADDRESS, "no-address")                                                                \
	X(EMPTY, "empty")                                                                          \
	X(HEADLESS, "headless")                                                                    \
	X(CASE, "case")                                                                            \
	X(MALFORMED, "malformed")                                                                  \
	X(LONG_VALUE, "long-value")                                                                \
	X(EMPTY_VALUE, "empty-value")                                                              \
	X(IN_ERR, "in-err")                                                                        \
	X(SECOND_STEP, "second-step")                                                              \
	X(LAST_ENTRY, "last-entry")                                                                \
	X(BEYOND, "beyond")                                                                        \
	X(CLIENT_UPPER, "client-upper") /* the client's headers */                                 \
	X(CLIENT_NONE, "client-none")                                                              \
	X(CLIENT_FORWARDED, "client-forwarded")                                                    \
	X(CLIENT_REAL_IP, "client-real-ip")                                                        \
	X(CLIENT_LONG, "client-long")                                                              \
	X(CLIENT_TABLE, "client-table")                                                            \
	X(CLIENT_SIZE, "client-size")                                                              \
	X(CLIENT_ELEMENTS, "client-elements")                                                      \
	X(CLIENT_MANY, "client-many")                                                              \
	X(CLIENT_KEY, "client-key")                                                                \
	X(CLIENT_AGENT, "client-agent")                                                            \
	X(CLIENT_LINE, "client-line")                                                              \
	X(CLIENT_ENDLESS, "client-endless")

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

struct table {
	uint64_t head[APACHE_TABLE_BYTES / 8];
	uint64_t entries[ROOM * ENTRY_WORDS];
};

static struct {
	uint64_t request[3][APACHE_REQUEST_BYTES / 8]; /* the client's, then what redirects made */
	struct table in, out, err, unused;
	uint64_t connection[2];
	uint64_t goroutine[4];
} memory;

static char line[] = "GET /v2/memory/manifests/v1 HTTP/1.1";
static char uri[] = "/v2/memory/manifests/v1";
static char other_uri[] = "/v2/wrong/manifests/wrong";
static char address[] = "127.0.0.1";
static char digest[] = "sha256:"
		       "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static char wrong[] = "sha256:"
		      "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
static const char *const other_keys[] = {"Docker-Content-Digesu", "Docker-Content-Diges", "Dock",
					 "Content-Type", "Docker-Content-DigestX"};
static char long_text[LONG_TEXT], endless_text[ENDLESS_TEXT];

static uint32_t checksum_of(const char *key)
{
	uint32_t sum = 0;

	for (int i = 0; i < 4; i++) {
		sum = sum << 8 | (uint8_t)*key;
		if (*key)
			key++;
	}
	return sum & 0xdfdfdfdfu;
}

static void add(struct table *table, const char *key, const char *value)
{
	uint64_t count = table->head[APACHE_TABLE_SIZE / 8] >> 32;
	uint64_t *entry = table->entries + count * ENTRY_WORDS;

	entry[0] = (uint64_t)key;
	entry[1] = (uint64_t)value;
	entry[2] = checksum_of(key);
	table->head[APACHE_TABLE_SIZE / 8] += 1ull << 32;
}

static void make_table(struct table *table)
{
	table->head[0] = (uint64_t)memory.goroutine; /* the pool */
	table->head[APACHE_TABLE_SIZE / 8] = APACHE_ENTRY_BYTES;
	table->head[APACHE_TABLE_ROOM / 8] = ROOM;
	table->head[APACHE_TABLE_ELEMENTS / 8] = (uint64_t)table->entries;
}

static void make_reply_headers(enum fault fault)
{
	struct table *table = fault == IN_ERR || fault == ERR_SIZE ? &memory.err : &memory.out;
	unsigned int before = fault == SECOND_STEP  ? APACHE_ENTRIES_STEP
			      : fault == LAST_ENTRY ? APACHE_ENTRIES_MAX - 1
			      : fault == BEYOND	    ? APACHE_ENTRIES_MAX
						    : 7;
	const char *key = fault == HEADLESS ? "Docker-Content-Digesx"
			  : fault == CASE   ? "dOCKER-cONTENT-dIGEST"
					    : "Docker-Content-Digest";
	const char *value = fault == MALFORMED ? "no digest at all, but as long as one may well be"
			    : fault == LONG_VALUE  ? long_text
			    : fault == EMPTY_VALUE ? ""
						   : digest;
	uint64_t *entry;

	if (fault == EMPTY || fault == ERR_TABLE)
		return;
	for (unsigned int i = 0; i < before; i++)
		add(table, other_keys[i % 5], wrong);
	add(table, key, value);
	entry = table->entries + (uint64_t)before * ENTRY_WORDS;
	if (fault == KEY)
		entry[0] = NOWHERE;
	if (fault == VALUE)
		entry[1] = NOWHERE;
}

static void make_client_headers(enum fault fault)
{
	struct table *table = &memory.in;

	if (fault == CLIENT_NONE)
		return;
	if (fault == CLIENT_MANY)
		for (unsigned int i = 0; i < APACHE_ENTRIES_MAX; i++)
			add(table, "X-Junk", "x");
	/* the first User-Agent holds, and of the forwarding headers the one that is believed first
	 */
	add(table, "X-Real-IP", fault == CLIENT_REAL_IP ? "203.0.113.9" : "198.51.100.1");
	if (fault != CLIENT_REAL_IP)
		add(table, "Forwarded",
		    fault == CLIENT_FORWARDED ? "for=203.0.113.9, for=192.0.2.77"
					      : "for=198.51.100.2");
	add(table, "User-Agents", "false/1");
	add(table, fault == CLIENT_UPPER ? "USER-AGENT" : "User-Agent",
	    fault == CLIENT_AGENT ? (const char *)NOWHERE : "docker/27.0");
	add(table, "x-forwarded-fox", "198.51.100.3");
	if (fault != CLIENT_FORWARDED && fault != CLIENT_REAL_IP)
		add(table, fault == CLIENT_UPPER ? "X-FORWARDED-FOR" : "x-forwarded-for",
		    fault == CLIENT_LONG      ? long_text
		    : fault == CLIENT_ENDLESS ? endless_text
		    : fault == CLIENT_LINE    ? (const char *)NOWHERE
					      : "203.0.113.9, 192.0.2.77");
	add(table, "user-agent", "other/1");
	if (fault == CLIENT_KEY)
		table->entries[0] = NOWHERE;
}

/* pt_forwarded's texts: addresses at the end of a long line */
static void make_texts(void)
{
	static const char end[] = ", 203.0.113.9, 192.0.2.77";

	memset(long_text, 'x', sizeof(long_text) - 1);
	memcpy(long_text + sizeof(long_text) - sizeof(end), end, sizeof(end));
	memset(endless_text, 'x', sizeof(endless_text) - 1);
	memcpy(endless_text + sizeof(endless_text) - sizeof(end), end, sizeof(end));
}

static void make_tables(enum fault fault)
{
	make_table(&memory.in);
	make_table(&memory.out);
	make_table(&memory.err);
	make_table(&memory.unused);
	add(&memory.unused, "Docker-Content-Digest", wrong);
	make_reply_headers(fault);
	make_client_headers(fault);
	if (fault == SIZE)
		memory.out.head[APACHE_TABLE_SIZE / 8] += 8;
	if (fault == ERR_SIZE)
		memory.err.head[APACHE_TABLE_SIZE / 8] -= 8;
	if (fault == CLIENT_SIZE)
		memory.in.head[APACHE_TABLE_SIZE / 8] += 8;
	if (fault == COUNT_LARGE)
		memory.out.head[APACHE_TABLE_ROOM / 8] = 7;
	if (fault == ROOM_LARGE)
		memory.out.head[APACHE_TABLE_ROOM / 8] = 1u << 31;
	if (fault == TABLE_POOL)
		memory.out.head[0] = 0;
	if (fault == ELEMENTS)
		memory.out.head[APACHE_TABLE_ELEMENTS / 8] = NOWHERE;
	if (fault == ELEMENTS_ODD)
		memory.out.head[APACHE_TABLE_ELEMENTS / 8]++;
	if (fault == CLIENT_ELEMENTS)
		memory.in.head[APACHE_TABLE_ELEMENTS / 8] = NOWHERE;
}

static uint64_t *field(unsigned int which, unsigned int offset)
{
	return memory.request[which] + offset / 8;
}

static void make_request(unsigned int which, uint32_t status, uint32_t method)
{
	*field(which, APACHE_POOL) = (uint64_t)memory.goroutine;
	*field(which, APACHE_CONNECTION) = (uint64_t)memory.connection;
	*field(which, APACHE_THE_REQUEST) = (uint64_t)line;
	*field(which, APACHE_STATUS) = status | (uint64_t)method << 32;
	*field(which, APACHE_HEADERS_IN) = (uint64_t)memory.in.head;
	*field(which, APACHE_HEADERS_OUT) = (uint64_t)memory.out.head;
	*field(which, APACHE_ERR_HEADERS_OUT) = (uint64_t)memory.err.head;
	*field(which, APACHE_UNPARSED_URI) = (uint64_t)uri;
	*field(which, APACHE_USERAGENT_IP) = (uint64_t)address;
}

/* The client's own request got another status and other headers; what was sent is the last one's.
 */
static void make_redirects(enum fault fault)
{
	memcpy(memory.request[1], memory.request[0], sizeof(memory.request[0]));
	memcpy(memory.request[2], memory.request[0], sizeof(memory.request[0]));
	for (unsigned int i = 1; i < 3; i++) {
		*field(i, APACHE_UNPARSED_URI) = (uint64_t)other_uri;
		*field(i, APACHE_USERAGENT_IP) = NOWHERE;
		*field(i, APACHE_PREV) = (uint64_t)memory.request[i - 1];
		*field(i - 1, APACHE_NEXT) = (uint64_t)memory.request[i];
		*field(i - 1, APACHE_STATUS) = 404;
		*field(i - 1, APACHE_HEADERS_OUT) = (uint64_t)memory.unused.head;
	}
	if (fault == PUT) /* an ErrorDocument makes a GET of it */
		*field(2, APACHE_STATUS) = (uint32_t)*field(2, APACHE_STATUS);
	if (fault == LAST_CONNECTION)
		*field(2, APACHE_CONNECTION) = (uint64_t)(memory.connection + 1);
	if (fault == LAST_PREV)
		*field(2, APACHE_PREV) = 0;
	if (fault == NEXT)
		*field(1, APACHE_NEXT) = NOWHERE;
	if (fault == LOOP)
		*field(2, APACHE_NEXT) = (uint64_t)memory.request[1];
}

static void spoil(enum fault fault)
{
	static const struct {
		enum fault fault;
		unsigned int offset;
		uint64_t value;
	} spoiled[] = {
		{LINE, APACHE_THE_REQUEST, NOWHERE},
		{URI, APACHE_UNPARSED_URI, NOWHERE},
		{ADDRESS, APACHE_USERAGENT_IP, NOWHERE},
		{TABLE, APACHE_HEADERS_OUT, NOWHERE},
		{ERR_TABLE, APACHE_ERR_HEADERS_OUT, NOWHERE},
		{CLIENT_TABLE, APACHE_HEADERS_IN, NOWHERE},
		{POOL_ZERO, APACHE_POOL, 0},
		{POOL_ODD, APACHE_POOL, 0x1001},
		{CONNECTION_ZERO, APACHE_CONNECTION, 0},
		{CONNECTION_ODD, APACHE_CONNECTION, 0x1004},
		{IN_ZERO, APACHE_HEADERS_IN, 0},
		{OUT_ZERO, APACHE_HEADERS_OUT, 0},
		{OUT_ODD, APACHE_HEADERS_OUT, 0x1002},
		{ERR_ZERO, APACHE_ERR_HEADERS_OUT, 0},
		{METHOD_HIGH, APACHE_STATUS, 200 | (uint64_t)APACHE_METHODS << 32},
		{METHOD_OTHER, APACHE_STATUS, 200 | (uint64_t)APACHE_METHOD_PUT << 32},
		{NO_LINE, APACHE_THE_REQUEST, 0},
		{NO_URI, APACHE_UNPARSED_URI, 0},
		{NO_ADDRESS, APACHE_USERAGENT_IP, 0},
	};

	for (unsigned int i = 0; i < sizeof(spoiled) / sizeof(*spoiled); i++)
		if (spoiled[i].fault == fault)
			*field(0, spoiled[i].offset) = spoiled[i].value;
}

static void make(enum shape shape, enum fault fault, uint32_t status)
{
	static const char *const lines[] = {
		[SHORT_LINE] = "GET",
		[UNKNOWN] = "OPTIONS /v2/memory/manifests/v1 HTTP/1.1",
		[PUT] = "PUT /v2/memory/manifests/v1 HTTP/1.1",
		[HEAD] = "HEAD /v2/memory/manifests/v1 HTTP/2.0",
	};

	make_texts();
	make_tables(fault);
	make_request(0, status, fault == PUT ? APACHE_METHOD_PUT : APACHE_METHOD_GET);
	if (fault < sizeof(lines) / sizeof(*lines) && lines[fault])
		*field(0, APACHE_THE_REQUEST) = (uint64_t)lines[fault];
	spoil(fault);
	if (shape != PLAIN)
		make_redirects(fault);
}

/* probed_reply() keeps off its way when the goroutine's guard lies below the stack. */
static void call_probed(uint64_t r)
{
	__asm__ volatile("leaq -256(%%rsp), %%rsp\n\tmovq %1, %%r14\n\tcallq *%2\n\t"
			 "leaq 256(%%rsp), %%rsp\n\t"
			 :
			 : "D"(r), "a"(memory.goroutine), "b"(probed_reply)
			 : "r14", "memory", "cc");
}

int main(int argc, char **argv)
{
	static const struct binary_site site = {.hook = PT_APACHE_HOOK_LOG};
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	unsigned int count;
	enum shape shape;
	enum fault fault;
	int rc;

	if (argc != 7) {
		fprintf(stderr, "usage: apache_memory BPFFS REGISTRY SHAPE FAULT STATUS COUNT\n");
		return 2;
	}
	shape = (enum shape)probed_find(argv[3], shape_names,
					sizeof(shape_names) / sizeof(*shape_names));
	fault = (enum fault)probed_find(argv[4], fault_names,
					sizeof(fault_names) / sizeof(*fault_names));
	make(shape, fault, (uint32_t)strtoul(argv[5], NULL, 10));
	count = (unsigned int)strtoul(argv[6], NULL, 10);
	rc = kernel_open(&kernel, argv[1]);
	rc = rc ?: probed_attach(kernel, argv[2], "apache_memory", &site);
	if (rc < 0) {
		fprintf(stderr, "apache_memory: %s\n", strerror(-rc));
		return 1;
	}
	for (unsigned int i = 0; i < count; i++)
		call_probed(fault == OBJECT ? NOWHERE
					    : (uint64_t)memory.request[shape == INNER ? 2 : 0]);
	return 0;
}
