/* SPDX-License-Identifier: MIT */
#include "discover/nginx_variables.h"

#include <errno.h>
#include <string.h>

/* An entry of the table: name {length, text}, set, get, data, flags, index. */
#define ENTRY_WORDS 7
#define ENTRY_BYTES (ENTRY_WORDS * 8)
#define WORD_LENGTH 0
#define WORD_TEXT 1
#define WORD_GETTER 3
#define WORD_DATA 4
/* nginx 1.30 has 90 of them. */
#define ENTRIES_MAX 256
#define NAME_BYTES 64
/* Relocations are gone through once for each block. */
#define BLOCK_ENTRIES 9
/* Of all that nginx and its modules hold the text in is less than 2 MiB. */
#define SEARCH_BYTES (64ull * 1024 * 1024)

static const char *const names[NGINX_VARIABLES] = {
	[NGINX_VARIABLE_REQUEST_URI] = "request_uri",
	[NGINX_VARIABLE_URI] = "uri",
	[NGINX_VARIABLE_QUERY_STRING] = "query_string",
	[NGINX_VARIABLE_SERVER_PROTOCOL] = "server_protocol",
	[NGINX_VARIABLE_STATUS] = "status",
	[NGINX_VARIABLE_REMOTE_ADDR] = "remote_addr",
	[NGINX_VARIABLE_SENT_HTTP_CACHE_CONTROL] = "sent_http_cache_control",
	[NGINX_VARIABLE_SENT_HTTP_CONTENT_TYPE] = "sent_http_content_type",
	[NGINX_VARIABLE_HTTP_HOST] = "http_host",
	[NGINX_VARIABLE_HTTP_USER_AGENT] = "http_user_agent",
};

static bool is_entry(const struct elf_image *image, const uint64_t *words, char *ret_name)
{
	uint64_t offset = 0;

	if (!words[WORD_LENGTH] || words[WORD_LENGTH] >= NAME_BYTES ||
	    !elf_image_is_code(image, words[WORD_GETTER]) ||
	    elf_image_offset(image, words[WORD_TEXT], &offset))
		return false;
	return byte_source_string(image->source, offset, ret_name, NAME_BYTES) ==
	       (int)words[WORD_LENGTH];
}

static void note(struct nginx_variables *variables, const char *name, const uint64_t *words)
{
	for (unsigned int i = 0; i < NGINX_VARIABLES; i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		variables->list[i].getter = words[WORD_GETTER];
		variables->list[i].data = words[WORD_DATA];
	}
}

/* Takes entries upwards or downwards from the one at address until one is none. */
static int walk(const struct elf_image *image, uint64_t address, bool up,
		struct nginx_variables *variables)
{
	uint64_t words[BLOCK_ENTRIES * ENTRY_WORDS];
	char name[NAME_BYTES];

	for (unsigned int n = 0; n < ENTRIES_MAX; n += BLOCK_ENTRIES) {
		unsigned int count = BLOCK_ENTRIES;
		int err;

		/* the table's ends may lie at those of the segment */
		do {
			uint64_t from = up ? address : address - (count - 1) * ENTRY_BYTES;

			err = elf_image_words(image, from, count * ENTRY_WORDS, words);
		} while ((err == -ENOENT || err == -ENODATA) && --count);
		if (!count)
			return 0;
		if (err)
			return err;
		for (unsigned int i = 0; i < count; i++) {
			const uint64_t *entry = words + (up ? i : count - 1 - i) * ENTRY_WORDS;

			if (!is_entry(image, entry, name))
				return 0;
			note(variables, name, entry);
		}
		address += up ? count * ENTRY_BYTES : -(uint64_t)count * ENTRY_BYTES;
	}
	return 0;
}

struct search {
	const struct elf_image *image;
	struct nginx_variables *variables;
};

/* Where a pointer to the text "request_uri" lies: is that the name of an entry? */
static int visit_pointer(void *context, uint64_t address)
{
	struct search *search = context;
	uint64_t words[ENTRY_WORDS], entry = address - WORD_TEXT * 8;
	char name[NAME_BYTES];
	int err = elf_image_words(search->image, entry, ENTRY_WORDS, words);

	if (err == -ENOENT || err == -ENODATA)
		return 0;
	if (err)
		return err;
	if (!is_entry(search->image, words, name))
		return 0;
	err = walk(search->image, entry, true, search->variables);
	err = err ?: walk(search->image, entry, false, search->variables);
	return err ?: 1;
}

static int visit_text(void *context, uint64_t address)
{
	struct search *search = context;

	return elf_image_each_pointer(search->image, address, visit_pointer, search);
}

int nginx_variables_find(const struct elf_image *image, struct nginx_variables *ret)
{
	struct search search = {image, ret};
	const char *text = names[NGINX_VARIABLE_REQUEST_URI];
	int err;

	memset(ret, 0, sizeof(*ret));
	/* with its end; it may be the tail of a longer text, for linkers share those */
	err = elf_image_each_bytes(image, text, (unsigned int)strlen(text) + 1, SEARCH_BYTES,
				   visit_text, &search);
	if (err < 0)
		return err;
	return err ? 0 : -ENOENT;
}
