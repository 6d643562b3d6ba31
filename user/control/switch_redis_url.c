/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/switch_word.h"

#define DEFAULT_KEY "pulltap:switch"
#define DEFAULT_PORT 6379

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copies a part without its escapes; a NUL in it would hide the rest. */
static int copy(char *to, size_t size, const char *from, size_t length)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		char c = from[i];

		if (c == '%') {
			int high = length - i < 3 ? -1 : hex(from[i + 1]);
			int low = length - i < 3 ? -1 : hex(from[i + 2]);

			if (high < 0 || low < 0)
				return -EINVAL;
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (!c || n + 1 >= size)
			return -EINVAL;
		to[n++] = c;
	}
	to[n] = 0;
	return 0;
}

static int number(const char *text, size_t length, unsigned int max, unsigned int *ret)
{
	*ret = 0;
	if (!length)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		if (!isdigit((unsigned char)text[i]))
			return -EINVAL;
		*ret = *ret * 10 + (unsigned int)(text[i] - '0');
		if (*ret > max)
			return -EINVAL;
	}
	return 0;
}

/* USER:PASSWORD, :PASSWORD or USER alone, which only a password makes sense of. */
static int parse_account(const char *text, size_t length, struct switch_redis *ret)
{
	const char *colon = memchr(text, ':', length);

	if (!colon)
		return -EINVAL;
	return copy(ret->user, sizeof(ret->user), text, (size_t)(colon - text))
		       ?: copy(ret->password, sizeof(ret->password), colon + 1,
			       length - (size_t)(colon - text) - 1);
}

static int parse_query(const char *query, struct switch_redis *ret)
{
	int rc = 0;

	while (!rc && *query) {
		size_t length = strcspn(query, "&");

		if (length > 4 && !strncmp(query, "key=", 4))
			rc = copy(ret->key, sizeof(ret->key), query + 4, length - 4);
		else if (length > 3 && !strncmp(query, "db=", 3))
			rc = number(query + 3, length - 3, 65535, &ret->database);
		else
			rc = -EINVAL;
		query += length + (query[length] == '&');
	}
	return rc;
}

static int parse_address(const char *text, size_t length, struct switch_redis *ret)
{
	const char *slash = memchr(text, '/', length), *colon;
	size_t host = slash ? (size_t)(slash - text) : length;
	int rc = 0;

	/* an IPv6 address stands in brackets */
	if (host && *text == '[') {
		const char *end = memchr(text, ']', host);

		if (!end)
			return -EINVAL;
		rc = copy(ret->host, sizeof(ret->host), text + 1, (size_t)(end - text) - 1);
		colon = end + 1 < text + host ? end + 1 : NULL;
		if (colon && *colon != ':')
			return -EINVAL;
	} else {
		colon = memchr(text, ':', host);
		rc = copy(ret->host, sizeof(ret->host), text,
			  colon ? (size_t)(colon - text) : host);
	}
	if (!rc && colon)
		rc = number(colon + 1, (size_t)(text + host - colon) - 1, 65535, &ret->port);
	if (!rc && slash && slash + 1 < text + length)
		rc = number(slash + 1, length - host - 1, 65535, &ret->database);
	return rc ?: ret->host[0] && ret->port ? rc : -EINVAL;
}

int switch_redis_parse(const char *url, struct switch_redis *ret)
{
	bool is_socket = !strncmp(url, "unix://", 7);
	const char *rest, *at;
	size_t length;
	int rc = 0;

	*ret = (struct switch_redis){.port = DEFAULT_PORT, .key = DEFAULT_KEY};
	if (!is_socket && strncmp(url, "redis://", 8))
		return -EINVAL;
	rest = url + (is_socket ? 7 : 8);
	length = strcspn(rest, "?");
	at = memrchr(rest, '@', length);
	if (at) {
		rc = parse_account(rest, (size_t)(at - rest), ret);
		length -= (size_t)(at - rest) + 1;
		rest = at + 1;
	}
	if (!rc && is_socket)
		rc = *rest == '/' ? copy(ret->socket, sizeof(ret->socket), rest, length) : -EINVAL;
	else if (!rc)
		rc = parse_address(rest, length, ret);
	if (!rc && rest[length] == '?')
		rc = parse_query(rest + length + 1, ret);
	return rc;
}
