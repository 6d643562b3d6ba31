/* SPDX-License-Identifier: MIT */
/*
 * A window: everything one agent counted between two swaps. It is drained from the kernel's maps,
 * kept as one spool file, and applied to the database in one transaction. Pure data: no libbpf,
 * no libpq.
 */
#ifndef PULLTAP_WINDOW_WINDOW_H
#define PULLTAP_WINDOW_WINDOW_H

#include <stdint.h>

#include "../../bpf/abi.h"

/* A list made by a macro looks like one endless statement to clang-format. */
/* clang-format off */
/* Indexes of the ledger's counters, in the order of struct pt_ledger. */
enum ledger_index {
#define X(name, kind, help) LEDGER_##name,
	PT_LEDGER(X)
#undef X
	LEDGER_COUNT,
};
/* clang-format on */

enum ledger_kind {
	LEDGER_KIND_SEEN,
	LEDGER_KIND_COUNTED,
	LEDGER_KIND_FILTERED,
	LEDGER_KIND_LOST,
	LEDGER_KIND_NOTE,
};

struct ledger_field {
	const char *name;
	const char *help;
	enum ledger_kind kind;
};
extern const struct ledger_field ledger_fields[LEDGER_COUNT];

/* The sum of one kind of counter. */
uint64_t ledger_sum(const uint64_t ledger[LEDGER_COUNT], enum ledger_kind kind);

/* seen - (counted + filtered + lost); 0 when the books balance. */
int64_t ledger_imbalance(const uint64_t ledger[LEDGER_COUNT]);

/* What to do about a loss, as a sentence without its full stop; "" for other counters. */
const char *ledger_advice(unsigned int index);

/*
 * Which counter of the ledger a record of this op stands for: counted, filtered_excluded, or none
 * (LEDGER_COUNT) for what says more about replies that others hold, or about something else.
 */
unsigned int op_counter(enum pt_op op);

/* "get", "head", ...; "unknown" outside the enum. */
const char *op_name(enum pt_op op);

struct window_header {
	uint8_t agent[16]; /* uuid of the stream */
	uint64_t sequence; /* from 1, one higher per window of that stream */
	int64_t start_us; /* microseconds since the Unix epoch, UTC */
	int64_t end_us;
	uint64_t ledger[LEDGER_COUNT];
	uint32_t merged; /* how many drained windows this one holds, 1 normally */
	uint64_t before; /* the sequence that the stream's window before has, 0 unknown */
	int64_t pause_us; /* since that one's end, by a clock that is never set */
};

/* As pause_us: that end is not known, or was before the machine started. */
#define WINDOW_PAUSE_UNKNOWN (-1)

/* Strings are not NUL-terminated and may hold any byte; lengths in bytes. */
struct window_text {
	const char *data;
	uint16_t length;
};

struct window_record {
	enum pt_op op;
	struct window_text registry;
	struct window_text repository;
	struct window_text tag; /* length 0: the request named a digest */
	struct window_text digest; /* "sha256:<hex>" as seen; length 0: unknown */
	uint64_t count;
	int64_t last_us; /* when the last of them happened */
};

#endif
