/* SPDX-License-Identifier: MIT */
/*
 * A small nginx as a linker would write it, in memory: exported symbols, code that uses the
 * offsets, the tables that name them. One segment with code and text, a second with data. For
 * layouts that no build at hand has, and for what must be refused.
 */
#ifndef TESTS_UNIT_DISCOVER_NGINX_IMAGE_H
#define TESTS_UNIT_DISCOVER_NGINX_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "elf_exports.h"

#define NGINX_IMAGE_BYTES 32768
#define NGINX_IMAGE_BASE ELF_BYTES_BASE
#define NGINX_IMAGE_HOOK 0x1000 /* ngx_http_free_request */
#define NGINX_IMAGE_GETTERS 0x1400 /* 64 bytes each */
#define NGINX_IMAGE_TEXTS 0x2000
#define NGINX_IMAGE_SYMBOLS 0x2800
#define NGINX_IMAGE_NAMES 0x2a00
#define NGINX_IMAGE_HASH 0x2c00
#define NGINX_IMAGE_DATA 0x4000
#define NGINX_IMAGE_VARIABLES 0x4100
#define NGINX_IMAGE_HEADERS 0x4800
#define NGINX_IMAGE_HEADERS_IN 0x4900
#define NGINX_IMAGE_RELOCATIONS 0x5000
#define NGINX_IMAGE_DYNAMIC 0x7000

struct nginx_image {
	uint8_t bytes[NGINX_IMAGE_BYTES];
	uint16_t headers_out, status, method;
	uint16_t headers_in;
	bool etag_before; /* nginx 1.23 and later: ETag, Cache-Control, Content-Type */
	bool relocated; /* pointers by RELATIVE relocations, zero in the file */
	/* what is wrong with it, 0: nothing */
	uint16_t used_status; /* the code uses this one instead */
	uint16_t used_line;
	uint16_t used_version;
	bool no_peer; /* nothing reads the address where it is looked for */
	bool no_sent; /* nor whether anything was sent */
	bool no_type; /* nor the content's type */
	uint16_t used_host; /* what the variable says of it */
	const char *hook; /* name of the exported function */
	const char *request_uri; /* text of that variable */
	const char *version;
	/* internal */
	unsigned int text, relocations;
};

static inline void nginx_image_put(struct nginx_image *image, uint64_t at, uint64_t value,
				   unsigned int bytes)
{
	memcpy(image->bytes + at, &value, bytes);
}

static inline void nginx_image_headers(struct nginx_image *image)
{
	const struct elf_bytes elf = {
		.size = NGINX_IMAGE_BYTES,
		.data = NGINX_IMAGE_DATA,
		.dynamic = NGINX_IMAGE_DYNAMIC,
		.dynamic_count = 6,
		.relocated = image->relocated,
	};

	elf_bytes_head(image->bytes, &elf);
}

/* Address of a text that is put behind the ones before. */
static inline uint64_t nginx_image_text(struct nginx_image *image, const char *text)
{
	uint64_t at = NGINX_IMAGE_TEXTS + image->text;

	strcpy((char *)image->bytes + at, text);
	image->text += (unsigned int)strlen(text) + 1;
	return NGINX_IMAGE_BASE + at;
}

static inline void nginx_image_pointer(struct nginx_image *image, uint64_t at, uint64_t value)
{
	Elf64_Rela rela = elf_bytes_relative(at, value);

	if (!image->relocated) {
		nginx_image_put(image, at, value, 8);
		return;
	}
	memcpy(image->bytes + NGINX_IMAGE_RELOCATIONS + image->relocations++ * sizeof(rela), &rela,
	       sizeof(rela));
}

/* Returns behind the instruction; its last four bytes are the displacement. */
static inline uint64_t nginx_image_code(struct nginx_image *image, uint64_t at, const char *bytes,
					unsigned int size, uint32_t displacement)
{
	memcpy(image->bytes + at, bytes, size);
	nginx_image_put(image, at + size, displacement, 4);
	return at + size + 4;
}

static inline uint16_t nginx_image_type(const struct nginx_image *image)
{
	return (uint16_t)(image->status + (image->etag_before ? 208 + 32 : 208 - 48));
}

static inline void nginx_image_functions(struct nginx_image *image)
{
	uint32_t status = image->used_status ? image->used_status : image->status;
	uint32_t line = image->used_line ? image->used_line : image->method + 16u;
	uint32_t version = image->used_version ? image->used_version : image->method + 8u;
	uint64_t at = NGINX_IMAGE_HOOK;

	/* endbr64; push %r13; mov 8(%rdi), %rax; mov 72(%rax), %rcx */
	memcpy(image->bytes + at, "\xf3\x0f\x1e\xfa\x41\x55\x48\x8b\x47\x08\x48\x8b\x48\x48", 14);
	if (image->no_sent)
		image->bytes[at + 13] = 80;
	at = nginx_image_code(image, at + 14, "\x48\x8b\x8f", 3, status); /* mov x(%rdi), %rcx */
	at = nginx_image_code(image, at, "\x48\x89\xb7", 3, line); /* mov %rsi, x(%rdi) */
	image->bytes[at] = 0xc3;
	image->bytes[NGINX_IMAGE_GETTERS] = 0xc3;
	at = nginx_image_code(image, NGINX_IMAGE_GETTERS + 64, "\x48\x8b\x8f", 3, status);
	at = nginx_image_code(image, at, "\x48\x8b\x8f", 3, version);
	image->bytes[at] = 0xc3;
	/* mov 8(%rdi), %rax; mov 120(%rax), %rdx; mov 128(%rax), %rdx */
	memcpy(image->bytes + NGINX_IMAGE_GETTERS + 128, "\x48\x8b\x47\x08\x48\x8b\x50", 7);
	image->bytes[NGINX_IMAGE_GETTERS + 135] = image->no_peer ? 112 : 120;
	at = nginx_image_code(image, NGINX_IMAGE_GETTERS + 136, "\x48\x8b\x90", 3, 128);
	image->bytes[at] = 0xc3;
	at = nginx_image_code(image, NGINX_IMAGE_GETTERS + 192, "\x48\x8b\x87", 3,
			      nginx_image_type(image) + (image->no_type ? 16u : 0));
	at = nginx_image_code(image, at, "\x48\x8b\x8f", 3, nginx_image_type(image) + 8u);
	image->bytes[at] = 0xc3;
}

static inline void nginx_image_tables(struct nginx_image *image)
{
	uint16_t uri = image->method + 32u;
	const struct {
		const char *name;
		unsigned int getter, data;
	} variables[] = {
		{"server_protocol", 0, uri + 80u},
		{image->request_uri ? image->request_uri : "request_uri", 0, uri + 48u},
		{"uri", 0, uri},
		{"query_string", 0, uri + 16u},
		{"status", 1, 0},
		{"remote_addr", 2, 0},
		{"sent_http_cache_control", 0, image->status + 208u},
		{"sent_http_content_type", 3, 0},
		{"http_host", 0, image->used_host ? image->used_host : image->headers_in + 56u},
		{"http_user_agent", 0, image->headers_in + 96u},
	};
	const struct {
		const char *name;
		unsigned int from_status;
	} headers[] = {{"Server", 24},
		       {"Date", 32},
		       {"Cache-Control", 208},
		       {"ETag", image->etag_before ? 200 : 112}};
	static const struct {
		const char *name;
		unsigned int offset;
	} headers_in[] = {{"Host", 56}, {"Connection", 64}, {"User-Agent", 96}};

	for (unsigned int i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		uint64_t at = NGINX_IMAGE_VARIABLES + i * 56ull;

		nginx_image_put(image, at, strlen(variables[i].name), 8);
		nginx_image_pointer(image, at + 8, nginx_image_text(image, variables[i].name));
		nginx_image_pointer(image, at + 24,
				    NGINX_IMAGE_BASE + NGINX_IMAGE_GETTERS +
					    variables[i].getter * 64ull);
		nginx_image_put(image, at + 32, variables[i].data, 8);
	}
	for (unsigned int i = 0; i < sizeof(headers) / sizeof(*headers); i++) {
		uint64_t at = NGINX_IMAGE_HEADERS + i * 24ull;

		nginx_image_put(image, at, strlen(headers[i].name), 8);
		nginx_image_pointer(image, at + 8, nginx_image_text(image, headers[i].name));
		nginx_image_put(image, at + 16,
				image->status - image->headers_out + headers[i].from_status, 8);
	}
	for (unsigned int i = 0; i < sizeof(headers_in) / sizeof(*headers_in); i++) {
		uint64_t at = NGINX_IMAGE_HEADERS_IN + i * 32ull;

		nginx_image_put(image, at, strlen(headers_in[i].name), 8);
		nginx_image_pointer(image, at + 8, nginx_image_text(image, headers_in[i].name));
		nginx_image_put(image, at + 16, headers_in[i].offset, 8);
		nginx_image_pointer(image, at + 24, NGINX_IMAGE_BASE + NGINX_IMAGE_GETTERS);
	}
}

static inline void nginx_image_dynamic(struct nginx_image *image)
{
	const Elf64_Dyn dynamic[2] = {
		{DT_RELA, {elf_bytes_data(NGINX_IMAGE_RELOCATIONS)}},
		{DT_RELASZ, {image->relocations * sizeof(Elf64_Rela)}},
	};

	memcpy(image->bytes + NGINX_IMAGE_DYNAMIC + 3 * sizeof(*dynamic), dynamic, sizeof(dynamic));
}

static inline void nginx_image_build(struct nginx_image *image)
{
	struct elf_exports exports = {
		.bytes = image->bytes,
		.dynamic = NGINX_IMAGE_DYNAMIC,
		.symbols = NGINX_IMAGE_SYMBOLS,
		.names = NGINX_IMAGE_NAMES,
		.hash = NGINX_IMAGE_HASH,
	};

	memset(image->bytes, 0, sizeof(image->bytes));
	image->text = image->relocations = 0;
	nginx_image_headers(image);
	nginx_image_functions(image);
	nginx_image_tables(image);
	nginx_image_text(image, image->version ? image->version : "nginx version: nginx/1.22.1");
	elf_exports_add(&exports, "ngx_http_log_request", NGINX_IMAGE_BASE + 0x1800, 64);
	elf_exports_add(&exports, image->hook ? image->hook : "ngx_http_free_request",
			NGINX_IMAGE_BASE + NGINX_IMAGE_HOOK, 256);
	elf_exports_add(&exports, "ngx_http_headers_in", elf_bytes_data(NGINX_IMAGE_HEADERS_IN),
			96);
	elf_exports_add(&exports, "ngx_http_headers_out", elf_bytes_data(NGINX_IMAGE_HEADERS), 72);
	nginx_image_dynamic(image);
}

#endif
