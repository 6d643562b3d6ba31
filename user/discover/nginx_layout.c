/* SPDX-License-Identifier: MIT */
#include "discover/nginx_layout.h"

#include <errno.h>
#include <string.h>

#include "../../bpf/nginx_layout.h"
#include "discover/elf_symbol.h"
#include "discover/entry_site.h"
#include "discover/nginx_variables.h"

/* A getter has 50 to 150 bytes; what follows it is other getters, which does no harm. */
#define GETTER_BYTES 256
#define GETTER_BYTES_MIN 16

/*
 * Layouts of the distributions' builds, as compilers gave them: headers_out and method. Tried where
 * the tables can't be found.
 */
static const struct {
	uint16_t headers_out, method;
} known[] = {
	{536, 976}, /* 1.14 to 1.22 */
	{472, 848}, /* 1.23 to 1.28 */
	{488, 872}, /* 1.29 to 1.31 */
};

/*
 * nginx's tables of headers. An entry: name {length, text}, offset in ngx_http_headers_out_t or
 * _in_t, and in the latter a function.
 */
static const struct header_table {
	const char *symbol;
	unsigned int entry_words;
} headers_in_table = {"ngx_http_headers_in", 4}, headers_out_table = {"ngx_http_headers_out", 3};
#define HEADER_WORDS_MAX 4
#define HEADERS_BLOCK 21
#define HEADER_NAME 32

static int header_offset(const struct elf_image *image, const struct header_table *table,
			 const char *wanted, uint64_t *ret)
{
	uint64_t words[HEADERS_BLOCK * HEADER_WORDS_MAX];
	unsigned int count = HEADERS_BLOCK;
	struct elf_symbol symbol;
	char name[HEADER_NAME];
	int err = elf_symbol_find(image, table->symbol, &symbol);

	if (err)
		return err;
	while ((err = elf_image_words(image, symbol.address, count * table->entry_words, words)) &&
	       --count)
		;
	for (unsigned int i = 0; !err && i < count; i++) {
		const uint64_t *entry = words + (size_t)i * table->entry_words;
		uint64_t offset = 0;

		if (entry[0] != strlen(wanted) || elf_image_offset(image, entry[1], &offset))
			continue;
		if (byte_source_string(image->source, offset, name, sizeof(name)) ==
			    (int)entry[0] &&
		    !strcmp(name, wanted)) {
			*ret = entry[2];
			return 0;
		}
	}
	return err ?: -ENOENT;
}

/* Does the function at address use [register + displacement]? */
static bool function_touches(const struct elf_image *image, uint64_t address, uint64_t displacement)
{
	uint8_t code[GETTER_BYTES];
	uint64_t offset = 0, size = sizeof(code);

	if (elf_image_offset(image, address, &offset))
		return false;
	while (size > GETTER_BYTES_MIN && byte_source_read(image->source, offset, code, size))
		size /= 2;
	return entry_site_touches(code, size, (int64_t)displacement);
}

bool nginx_layout_is_used(const uint8_t *code, uint64_t size, uint64_t status, uint64_t method)
{
	return entry_site_touches(code, size, NGINX_CONNECTION) &&
	       entry_site_touches(code, size, NGINX_CONNECTION_SENT) &&
	       entry_site_touches(code, size, (int64_t)status) &&
	       entry_site_touches(code, size, (int64_t)(method + NGINX_METHOD_REQUEST_LINE));
}

int nginx_layout_fill(uint64_t headers_out, uint64_t status, uint64_t method, uint64_t addr_text,
		      struct pt_nginx_layout *ret, const char **ret_refusal)
{
	uint64_t size = method + NGINX_METHOD_BYTES;

	if (headers_out % 8 || status % 8 || method % 8 || headers_out < NGINX_CONNECTION + 8 ||
	    status < headers_out || method <= status || size > NGINX_REQUEST_BYTES) {
		*ret_refusal = "its tables name impossible offsets";
		return -ENOTSUP;
	}
	*ret = (struct pt_nginx_layout){
		.headers_out = (uint16_t)headers_out,
		.status = (uint16_t)status,
		.method = (uint16_t)method,
		.size = (uint16_t)size,
		.sent = NGINX_CONNECTION_SENT,
		.addr_text = (uint16_t)addr_text,
	};
	return 0;
}

#define GETTER(name) variables->list[NGINX_VARIABLE_##name].getter
#define DATA(name) variables->list[NGINX_VARIABLE_##name].data

/* Where the list of the client's headers begins; 0 where two variables don't agree on it. */
static uint64_t find_headers_in(const struct elf_image *image,
				const struct nginx_variables *variables, uint64_t headers_out)
{
	uint64_t agent = 0, host = 0, found = DATA(HTTP_USER_AGENT);

	if (header_offset(image, &headers_in_table, "User-Agent", &agent) ||
	    header_offset(image, &headers_in_table, "Host", &host) || found < agent ||
	    found - agent != DATA(HTTP_HOST) - host)
		return 0;
	found -= agent;
	return found % 8 || found < NGINX_CONNECTION + 8 || found + NGINX_LIST_BYTES > headers_out
		       ? 0
		       : found;
}

/* Where the reply's Content-Type lies; 0 where the code of its variable does not use it. */
static uint64_t find_content_type(const struct elf_image *image,
				  const struct nginx_variables *variables, uint64_t headers_out,
				  uint64_t cache_control)
{
	uint64_t getter = GETTER(SENT_HTTP_CONTENT_TYPE), etag = 0, found = headers_out;

	if (!getter || header_offset(image, &headers_out_table, "ETag", &etag))
		return 0;
	if (cache_control == etag + 8)
		found += cache_control + NGINX_CACHE_CONTROL_TYPE;
	else
		found += cache_control - NGINX_TYPE_CACHE_CONTROL;
	return function_touches(image, getter, found) && function_touches(image, getter, found + 8)
		       ? found
		       : 0;
}

/* Where the client's address lies in its connection; 0 where the variable does not use it. */
static uint64_t find_addr_text(const struct elf_image *image,
			       const struct nginx_variables *variables)
{
	uint64_t getter = GETTER(REMOTE_ADDR);

	return function_touches(image, getter, NGINX_CONNECTION) &&
			       function_touches(image, getter, NGINX_CONNECTION_ADDR_TEXT) &&
			       function_touches(image, getter, NGINX_CONNECTION_ADDR_TEXT + 8)
		       ? NGINX_CONNECTION_ADDR_TEXT
		       : 0;
}

/* The tables are there: each offset must be confirmed by another fact. */
static int from_tables(const struct elf_image *image, const struct nginx_variables *variables,
		       const uint8_t *code, uint64_t size, struct pt_nginx_layout *ret,
		       const char **ret_refusal)
{
	uint64_t uri = DATA(URI), method = uri - NGINX_METHOD_URI, getter = GETTER(REQUEST_URI);
	uint64_t cache_control = 0, server = 0, headers_out, status, content_type;
	int err;

	if (GETTER(URI) != getter || GETTER(QUERY_STRING) != getter ||
	    GETTER(SERVER_PROTOCOL) != getter || uri < NGINX_METHOD_URI ||
	    uri > NGINX_REQUEST_BYTES ||
	    DATA(QUERY_STRING) != uri + (NGINX_METHOD_ARGS - NGINX_METHOD_URI) ||
	    DATA(REQUEST_URI) != uri + (NGINX_METHOD_UNPARSED_URI - NGINX_METHOD_URI) ||
	    DATA(SERVER_PROTOCOL) != uri + (NGINX_METHOD_PROTOCOL - NGINX_METHOD_URI)) {
		*ret_refusal = "its table of variables has an unknown order";
		return -ENOTSUP;
	}
	err = header_offset(image, &headers_out_table, "Cache-Control", &cache_control);
	err = err ?: header_offset(image, &headers_out_table, "Server", &server);
	if (err || !GETTER(SENT_HTTP_CACHE_CONTROL)) {
		*ret_refusal = "its table of response headers was not found";
		return -ENOTSUP;
	}
	headers_out = DATA(SENT_HTTP_CACHE_CONTROL) - cache_control;
	status = headers_out + server - NGINX_STATUS_SERVER;
	if (headers_out > NGINX_REQUEST_BYTES || (status != headers_out + NGINX_LIST_BYTES &&
						  status != headers_out + 2 * NGINX_LIST_BYTES)) {
		*ret_refusal = "its response headers have an unknown order";
		return -ENOTSUP;
	}
	if (!function_touches(image, GETTER(STATUS), status) ||
	    !function_touches(image, GETTER(STATUS), method + NGINX_METHOD_VERSION) ||
	    !nginx_layout_is_used(code, size, status, method)) {
		*ret_refusal = "its code does not use what its tables say";
		return -ENOTSUP;
	}
	err = nginx_layout_fill(headers_out, status, method, find_addr_text(image, variables), ret,
				ret_refusal);
	if (err)
		return err;
	ret->headers_in = (uint16_t)find_headers_in(image, variables, headers_out);
	content_type = find_content_type(image, variables, headers_out, cache_control);
	if (content_type < ret->size)
		ret->content_type = (uint16_t)content_type;
	return 0;
}

#undef GETTER
#undef DATA

/* The one known layout whose offsets the code uses. */
static int from_known(const uint8_t *code, uint64_t size, struct pt_nginx_layout *ret,
		      const char **ret_refusal)
{
	int found = -1;

	for (unsigned int i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!nginx_layout_is_used(code, size, known[i].headers_out + 2 * NGINX_LIST_BYTES,
					  known[i].method))
			continue;
		if (found >= 0)
			found = (int)(sizeof(known) / sizeof(*known));
		else
			found = (int)i;
	}
	if (found < 0 || found == (int)(sizeof(known) / sizeof(*known))) {
		*ret_refusal = "its tables were not found, and its code uses no known layout";
		return -ENOTSUP;
	}
	return nginx_layout_fill(known[found].headers_out,
				 known[found].headers_out + 2 * NGINX_LIST_BYTES,
				 known[found].method, NGINX_CONNECTION_ADDR_TEXT, ret, ret_refusal);
}

int nginx_layout_find(const struct elf_image *image, const uint8_t *free_request, uint64_t size,
		      struct pt_nginx_layout *ret, const char **ret_refusal)
{
	struct nginx_variables variables = {0};
	int err = nginx_variables_find(image, &variables);

	if (err == -ENOENT)
		return from_known(free_request, size, ret, ret_refusal);
	return err ?: from_tables(image, &variables, free_request, size, ret, ret_refusal);
}
