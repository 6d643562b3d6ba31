/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "control/access_log.h"

/* Longer request targets than any that counts. */
#define TARGET_MAX 2048

/* What is left of a line; every step moves its start. */
struct rest {
	const char *at, *end;
};

/* Moves behind the next mark; returns what was before it, or NULL when there is none. */
static const char *take(struct rest *rest, char mark, size_t *ret_length)
{
	const char *start = rest->at, *found = memchr(start, mark, (size_t)(rest->end - start));

	if (!found)
		return NULL;
	*ret_length = (size_t)(found - start);
	rest->at = found + 1;
	return start;
}

/* The request field's end: quotes within it are escaped. */
static const char *closing_quote(const struct rest *rest)
{
	for (const char *p = rest->at; p < rest->end; p++) {
		if (*p == '\\')
			p++;
		else if (*p == '"')
			return p;
	}
	return NULL;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path without its query and its escapes; 0 when it is too long. */
static size_t decode(const char *target, size_t length, char path[TARGET_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < length && target[i] != '?'; i++) {
		int high = -1, low = -1;

		if (n == TARGET_MAX)
			return 0;
		if (target[i] == '%' && i + 2 < length) {
			high = hex(target[i + 1]);
			low = hex(target[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			path[n++] = (char)(high << 4 | low);
			i += 2;
		} else {
			path[n++] = target[i];
		}
	}
	return n;
}

/* .../v2/NAME/manifests/REFERENCE */
static bool is_manifest(const char *target, size_t length)
{
	static const char middle[] = "/manifests/";
	char path[TARGET_MAX];
	size_t n = decode(target, length, path), reference = n;
	const char *v2 = memmem(path, n, "/v2/", 4), *name = v2 ? v2 + 4 : NULL;

	while (reference && path[reference - 1] != '/')
		reference--;
	/* behind the last slash, which must close the word, which a name must precede */
	return name && reference < n && reference >= sizeof(middle) - 1 &&
	       !memcmp(path + reference - (sizeof(middle) - 1), middle, sizeof(middle) - 1) &&
	       path + reference - (sizeof(middle) - 1) > name;
}

static bool is(const char *word, size_t length, const char *text)
{
	return length == strlen(text) && !memcmp(word, text, length);
}

static bool status_counts(const char *method, size_t length, int status)
{
	if (is(method, length, "GET") || is(method, length, "HEAD"))
		return status == 200 || status == 304;
	if (is(method, length, "PUT"))
		return status == 201;
	return is(method, length, "DELETE") && status == 202;
}

int access_log_line(const char *line, size_t length)
{
	struct rest rest = {line, line + length}, request;
	const char *method, *target, *quote, *version;
	size_t method_length, target_length, skipped;
	int status = 0;

	/* remote - user [time] "method target version" status bytes ... */
	if (!take(&rest, '[', &skipped) || !take(&rest, ']', &skipped) ||
	    !take(&rest, '"', &skipped) || skipped != 1)
		return -1;
	quote = closing_quote(&rest);
	if (!quote || rest.end - quote < 5 || quote[1] != ' ')
		return -1;
	for (int i = 2; i < 5; i++) {
		if (quote[i] < '0' || quote[i] > '9')
			return -1;
		status = status * 10 + quote[i] - '0';
	}
	request = (struct rest){rest.at, quote};
	method = take(&request, ' ', &method_length);
	version = memrchr(request.at, ' ', (size_t)(request.end - request.at));
	if (!method || !version) /* what nginx writes for a request that was none */
		return 0;
	target = request.at;
	target_length = (size_t)(version - target);
	return status_counts(method, method_length, status) && is_manifest(target, target_length);
}
