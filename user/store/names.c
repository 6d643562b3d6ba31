/* SPDX-License-Identifier: MIT */
#include "store/names.h"

#include <errno.h>
#include <string.h>

/* Length of the sequence that starts at s (left bytes remain), 0 when there is no valid one. */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t value;
	size_t n, i;

	if (s[0] < 0x80)
		return s[0] ? 1 : 0;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2, value = s[0] & 0x1f;
	else if ((s[0] & 0xf0) == 0xe0)
		n = 3, value = s[0] & 0x0f;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4, value = s[0] & 0x07;
	else
		return 0;
	if (n > left)
		return 0;
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (s[i] & 0x3f);
	}
	if (value < lowest[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	return n;
}

bool name_is_utf8(const char *data, size_t length)
{
	size_t i = 0, n;

	while (i < length) {
		n = utf8_sequence((const unsigned char *)data + i, length - i);
		if (!n)
			return false;
		i += n;
	}
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The OCI grammar: words of [a-z0-9] joined by one of +._- */
static int parse_algorithm(struct digest *ret, const char *data, size_t length)
{
	bool in_word = false;
	size_t i;

	if (!length || length > DIGEST_ALGORITHM_MAX)
		return -EBADMSG;
	for (i = 0; i < length; i++) {
		char c = data[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
			in_word = true;
		else if (in_word && (c == '+' || c == '.' || c == '_' || c == '-'))
			in_word = false;
		else
			return -EBADMSG;
		ret->algorithm[i] = c;
	}
	if (!in_word)
		return -EBADMSG;
	ret->algorithm[length] = 0;
	ret->algorithm_length = (uint8_t)length;
	return 0;
}

int digest_parse(struct digest *ret, const char *data, size_t length)
{
	static const struct {
		const char *algorithm;
		size_t bytes;
	} known[] = {{"sha256", 32}, {"sha384", 48}, {"sha512", 64}};
	const char *colon = memchr(data, ':', length);
	size_t hex, i;

	if (!colon || parse_algorithm(ret, data, (size_t)(colon - data)))
		return -EBADMSG;
	hex = length - (size_t)(colon - data) - 1;
	if (hex % 2 || hex / 2 < 16 || hex / 2 > DIGEST_BYTES_MAX)
		return -EBADMSG;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(ret->algorithm, known[i].algorithm) && hex / 2 != known[i].bytes)
			return -EBADMSG;
	for (i = 0; i < hex / 2; i++) {
		int high = hex_value(colon[1 + 2 * i]), low = hex_value(colon[2 + 2 * i]);

		if (high < 0 || low < 0)
			return -EBADMSG;
		ret->bytes[i] = (uint8_t)(high << 4 | low);
	}
	ret->bytes_length = (uint8_t)(hex / 2);
	return 0;
}
