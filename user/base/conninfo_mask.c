/* SPDX-License-Identifier: MIT */
#include "base/conninfo_mask.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct text {
	char *at;
	size_t left; /* without the NUL */
	enum conninfo_secret secret;
};

static void put(struct text *out, const char *data, size_t length)
{
	if (length > out->left)
		length = out->left;
	memcpy(out->at, data, length);
	out->at += length;
	out->left -= length;
	*out->at = 0;
}

static void put_mask(struct text *out)
{
	put(out, CONNINFO_MASK, strlen(CONNINFO_MASK));
	if (!out->secret)
		out->secret = CONNINFO_SECRET;
}

static bool is_secret(const char *key, size_t length)
{
	return (length == 8 && !strncasecmp(key, "password", 8)) ||
	       (length == 11 && !strncasecmp(key, "sslpassword", 11));
}

/* ?key=value&key=value; returns at the NUL. */
static void mask_query(const char *p, struct text *out)
{
	while (*p) {
		size_t key = strcspn(p, "=&"), value;

		put(out, p, key);
		if (p[key] != '=') {
			p += key;
			if (*p)
				put(out, p++, 1);
			continue;
		}
		put(out, "=", 1);
		value = strcspn(p + key + 1, "&");
		if (is_secret(p, key))
			put_mask(out);
		else
			put(out, p + key + 1, value);
		p += key + 1 + value;
		if (*p)
			put(out, p++, 1);
	}
}

/*
 * libpq takes what is before the first @ as credentials if no / comes earlier. Where an @ follows
 * that a correctly escaped URI would not have, nobody can say what is the password's, so all that
 * follows the first : or ? is hidden.
 */
static void mask_uri(const char *uri, const char *authority, struct text *out)
{
	const char *at = authority + strcspn(authority, "@/");
	const char *query = strchr(at, '?');
	const char *last = strrchr(authority, '@');
	const char *colon = authority + strcspn(authority, ":");

	if (last && (*at != '@' || (query && last > query))) {
		size_t head = strcspn(authority, ":?");

		head += authority[head] != 0;
		put(out, uri, (size_t)(authority + head - uri));
		if (authority[head]) {
			put_mask(out);
			out->secret = CONNINFO_UNCLEAR;
		}
		return;
	}
	if (last && colon < last) {
		if (last != at) /* libpq takes the first for the end of the password */
			out->secret = CONNINFO_UNCLEAR;
		put(out, uri, (size_t)(colon - uri) + 1);
		put_mask(out);
		uri = last;
	}
	if (!query) {
		put(out, uri, strlen(uri));
		return;
	}
	put(out, uri, (size_t)(query - uri) + 1);
	mask_query(query + 1, out);
}

/* Length of a value: quoted or up to a space, with backslashes in both. */
static size_t value_length(const char *value)
{
	bool quoted = *value == '\'';
	const char *p = value + quoted;

	for (; *p; p++) {
		if (*p == '\\' && p[1])
			p++;
		else if (quoted ? *p == '\'' : strchr(" \t\n\r\f\v", *p) != NULL)
			return (size_t)(p - value) + quoted;
	}
	return (size_t)(p - value);
}

static void mask_pairs(const char *p, struct text *out)
{
	static const char space[] = " \t\n\r\f\v";

	while (*p) {
		size_t before = strspn(p, space), key = strcspn(p + before, "= \t\n\r\f\v"), value;
		const char *name = p + before, *equals = name + key;

		equals += strspn(equals, space);
		if (*equals != '=') {
			/* No pair; a stray word, or the end. */
			put(out, p, before + key);
			p += before + key;
			continue;
		}
		equals += 1 + strspn(equals + 1, space);
		put(out, p, (size_t)(equals - p));
		value = value_length(equals);
		if (is_secret(name, key))
			put_mask(out);
		else
			put(out, equals, value);
		p = equals + value;
	}
}

enum conninfo_secret conninfo_mask(const char *conninfo, char *ret, size_t size)
{
	struct text out = {.at = ret, .left = size - 1};
	const char *scheme = strstr(conninfo, "://");

	ret[0] = 0;
	if (scheme && scheme < conninfo + strcspn(conninfo, "="))
		mask_uri(conninfo, scheme + 3, &out);
	else
		mask_pairs(conninfo, &out);
	return out.secret;
}

enum conninfo_secret conninfo_secret(const char *conninfo)
{
	char nothing[1];

	return conninfo_mask(conninfo, nothing, sizeof(nothing));
}
