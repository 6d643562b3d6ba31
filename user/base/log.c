/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_INFO;

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
	max_level = level;
}

const char *log_quote(char *buf, uint64_t size, const char *s)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t n = 0;

	if (size < 8) {
		if (size)
			buf[0] = 0;
		return buf;
	}
	buf[n++] = '"';
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		/* room for the longest escape, the dots, the closing quote and the NUL */
		if (n + 4 + 3 + 2 > size) {
			memcpy(buf + n, "...", 3);
			n += 3;
			break;
		}
		if (c == '"' || c == '\\') {
			buf[n++] = '\\';
			buf[n++] = (char)c;
		} else if (c < 0x20 || c >= 0x7f) {
			buf[n++] = '\\';
			buf[n++] = 'x';
			buf[n++] = hex[c >> 4];
			buf[n++] = hex[c & 15];
		} else {
			buf[n++] = (char)c;
		}
	}
	buf[n++] = '"';
	buf[n] = 0;
	return buf;
}

void log_event(enum log_level level, const char *msg, const char *fmt, ...)
{
	char line[2048];
	struct timespec ts;
	struct tm tm;
	va_list ap;
	size_t n;
	int len;

	if (level > max_level)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(line, sizeof(line), "time=%Y-%m-%dT%H:%M:%S", &tm);
	len = snprintf(line + n, sizeof(line) - n, ".%03ldZ level=%s msg=\"%s\"",
		       ts.tv_nsec / 1000000, level_names[level], msg);
	n += (size_t)len < sizeof(line) - n ? (size_t)len : sizeof(line) - n - 1;
	if (fmt[0] && n + 2 < sizeof(line)) {
		line[n++] = ' ';
		va_start(ap, fmt);
		len = vsnprintf(line + n, sizeof(line) - n, fmt, ap);
		va_end(ap);
		n += (size_t)len < sizeof(line) - n ? (size_t)len : sizeof(line) - n - 1;
	}
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* there is nowhere left to say so */
}

bool log_gate_open(struct log_gate *gate, unsigned int interval_s, uint64_t *ret_suppressed)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	if (now < gate->next_ns) {
		gate->suppressed++;
		return false;
	}
	*ret_suppressed = gate->suppressed;
	gate->suppressed = 0;
	gate->next_ns = now + interval_s * 1000000000ull;
	return true;
}

void log_plain(char *text)
{
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}
