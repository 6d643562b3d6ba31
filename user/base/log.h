/* SPDX-License-Identifier: MIT */
/*
 * One line per event on standard error, as key=value pairs that grep and journald both read:
 *   time=2026-01-02T03:04:05.678Z level=warn msg="spool is full" path=/var/lib/pulltap/spool
 * Any thread may log; a line is written with one write(2) and never torn.
 */
#ifndef PULLTAP_BASE_LOG_H
#define PULLTAP_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above this level are dropped. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

/*
 * msg is a plain sentence. fmt holds the pairs, written by the caller as "key=%s other=%d";
 * pass "" for none. Values that hold spaces, quotes or control characters must go through
 * log_quote() first.
 */
void log_event(enum log_level level, const char *msg, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(msg, ...) log_event(LOG_LEVEL_ERROR, msg, __VA_ARGS__)
#define log_warn(msg, ...) log_event(LOG_LEVEL_WARN, msg, __VA_ARGS__)
#define log_info(msg, ...) log_event(LOG_LEVEL_INFO, msg, __VA_ARGS__)
#define log_debug(msg, ...) log_event(LOG_LEVEL_DEBUG, msg, __VA_ARGS__)

/*
 * Writes s as a double-quoted value with everything outside printable ASCII escaped, truncated
 * with "..." to fit size bytes. Returns buf.
 */
const char *log_quote(char *buf, uint64_t size, const char *s);

/* Makes a '?' of everything in text that a terminal or JSON would take amiss. */
void log_plain(char *text);

/*
 * A gate for failures that repeat: true at most once per interval_s for one gate, and then
 * *ret_suppressed holds how many were swallowed since the last time. Zero-initialise the gate.
 * Not thread safe: a gate belongs to one thread.
 */
struct log_gate {
	uint64_t next_ns;
	uint64_t suppressed;
};
bool log_gate_open(struct log_gate *gate, unsigned int interval_s, uint64_t *ret_suppressed);

#endif
