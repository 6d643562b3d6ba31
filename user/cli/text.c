/* SPDX-License-Identifier: MIT */
#include "cli/text.h"

#include <stdio.h>
#include <string.h>

const char *text_printable(char *buf, size_t size, const char *s, size_t columns)
{
	size_t limit = columns < size - 1 ? columns : size - 1, n = 0;

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		size_t need = c < 0x20 || c >= 0x7f ? 4 : 1;

		if (n + need > limit || (n + need + 3 > limit && strlen(s) > limit - n)) {
			while (n + 3 > limit && n > 0)
				n--;
			n += (size_t)snprintf(buf + n, size - n, "...");
			break;
		}
		if (need == 4)
			snprintf(buf + n, size - n, "\\x%02x", c);
		else
			buf[n] = (char)c;
		n += need;
	}
	buf[n < size ? n : size - 1] = 0;
	return buf;
}

const char *text_count(char buf[32], uint64_t count)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count), n = 0;

	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			buf[n++] = ',';
		buf[n++] = digits[i];
	}
	buf[n] = 0;
	return buf;
}

const char *text_bytes(char buf[32], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	unsigned int unit = 0;

	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return buf;
}
