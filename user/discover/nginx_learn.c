/* SPDX-License-Identifier: MIT */
#include "discover/nginx_learn.h"

#include <errno.h>

#include "../../bpf/nginx_layout.h"
#include "discover/entry_site.h"
#include "discover/nginx_layout.h"

#define WORD(bytes) ((bytes) / 8)
#define METHOD_WORDS (WORD(NGINX_METHOD_PROTOCOL) + 2)
#define LIST_WORDS WORD(NGINX_LIST_BYTES)
#define VERSION_10 1000
#define VERSION_11 1001
#define VERSION_2 2000
#define VERSION_3 3000
#define PROTOCOL_BYTES 8 /* "HTTP/1.1" */
#define STATUS_MIN 100
#define STATUS_MAX 599

/* Does a request's method lie here, and what follows it? */
static bool is_method(const uint64_t *words)
{
	const uint64_t *line = words + WORD(NGINX_METHOD_REQUEST_LINE);
	const uint64_t *target = words + WORD(NGINX_METHOD_UNPARSED_URI);
	const uint64_t *name = words + WORD(NGINX_METHOD_NAME);
	const uint64_t *protocol = words + WORD(NGINX_METHOD_PROTOCOL);
	uint64_t version = words[WORD(NGINX_METHOD_VERSION)];

	if (!(words[0] == NGINX_METHOD_GET && name[0] == 3) &&
	    !(words[0] == NGINX_METHOD_HEAD && name[0] == 4))
		return false;
	if (!line[1] || !name[1] || !target[0] || !target[1] || !protocol[1] ||
	    protocol[0] != PROTOCOL_BYTES ||
	    line[0] != name[0] + 1 + target[0] + 1 + PROTOCOL_BYTES)
		return false;
	if (version == VERSION_2 || version == VERSION_3)
		return true; /* nginx has made the line of parts that lie elsewhere */
	return (version == VERSION_10 || version == VERSION_11) && name[1] == line[1] &&
	       target[1] == line[1] + name[0] + 1 &&
	       protocol[1] == line[1] + line[0] - PROTOCOL_BYTES;
}

/* A list that begins at this address; one of a single part has that in itself. */
static bool is_list(const uint64_t *words, uint64_t address)
{
	uint64_t size = words[WORD(NGINX_LIST_SIZE)], room = words[WORD(NGINX_LIST_ROOM)];
	uint64_t pool = words[WORD(NGINX_LIST_POOL)];
	bool single = !words[WORD(NGINX_LIST_NEXT)];

	return (size == NGINX_ELEMENT_BYTES || size == NGINX_ELEMENT_BYTES_123) &&
	       room == NGINX_ROOM && words[WORD(NGINX_LIST_COUNT)] <= room && pool && !(pool & 7) &&
	       words[0] && words[WORD(NGINX_LIST_ELEMENTS)] &&
	       single == (words[0] == address + NGINX_LIST_ELEMENTS);
}

static bool is_status(const struct pt_sample *sample, uint64_t at, const uint8_t *code,
		      uint64_t size, uint64_t method)
{
	return at < method && sample->words[WORD(at)] >= STATUS_MIN &&
	       sample->words[WORD(at)] <= STATUS_MAX &&
	       nginx_layout_is_used(code, size, at, method);
}

/* Where the method lies, if there is one such place; else 0. */
static uint64_t find_method(const struct pt_sample *sample)
{
	uint64_t found = 0;

	for (uint64_t i = WORD(NGINX_CONNECTION) + 1; i + METHOD_WORDS <= PT_SAMPLE_WORDS; i++) {
		if (!is_method((const uint64_t *)sample->words + i))
			continue;
		if (found)
			return 0;
		found = i * 8;
	}
	return found;
}

struct found {
	uint64_t headers_out, status, headers_in;
};

/*
 * The reply's list of headers is the one behind which a status lies: next to it, or behind the list
 * of trailers. The client's is the first.
 */
static bool find_lists(const struct pt_sample *sample, const uint8_t *code, uint64_t size,
		       uint64_t method, struct found *ret)
{
	unsigned int fits = 0;

	for (uint64_t at = NGINX_CONNECTION + 8; at + NGINX_LIST_BYTES <= method; at += 8) {
		const uint64_t *list = (const uint64_t *)sample->words + WORD(at);

		if (!is_list(list, sample->address + at))
			continue;
		for (uint64_t lists = 1; lists <= 2; lists++) {
			uint64_t status = at + lists * NGINX_LIST_BYTES;

			if (!is_status(sample, status, code, size, method))
				continue;
			ret->headers_out = at;
			ret->status = status;
			fits++;
		}
		if (!fits && !ret->headers_in)
			ret->headers_in = at;
	}
	if (fits != 1)
		return false;
	/* both are of the request's pool */
	if (ret->headers_in && sample->words[WORD(ret->headers_in + NGINX_LIST_POOL)] !=
				       sample->words[WORD(ret->headers_out + NGINX_LIST_POOL)])
		ret->headers_in = 0;
	return true;
}

bool nginx_can_learn(const uint8_t *free_request, uint64_t size)
{
	return entry_site_touches(free_request, size, NGINX_CONNECTION) &&
	       entry_site_touches(free_request, size, NGINX_CONNECTION_SENT);
}

int nginx_learn(const struct pt_sample *sample, const uint8_t *free_request, uint64_t size,
		struct pt_nginx_layout *ret)
{
	uint64_t method = find_method(sample);
	struct found found = {0};
	const char *refusal;

	if ((uint32_t)sample->words[0] != NGINX_SIGNATURE || !method ||
	    !find_lists(sample, free_request, size, method, &found))
		return -EAGAIN;
	if (nginx_layout_fill(found.headers_out, found.status, method, NGINX_CONNECTION_ADDR_TEXT,
			      ret, &refusal))
		return -EAGAIN;
	ret->headers_in = (uint16_t)found.headers_in;
	return 0;
}
