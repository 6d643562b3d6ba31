/* SPDX-License-Identifier: MIT */
/*
 * One-dimensional PostgreSQL arrays in the binary format, built element by element. A failed
 * allocation is remembered and told by pg_array_finish, so that loops need no check of their own.
 * Pure.
 */
#ifndef PULLTAP_STORE_PG_ARRAY_H
#define PULLTAP_STORE_PG_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Type numbers of pg_type.dat; they never change. */
enum pg_type {
	PG_BYTEA = 17,
	PG_INT8 = 20,
	PG_INT2 = 21,
	PG_INT4 = 23,
	PG_TEXT = 25,
	PG_TIMESTAMPTZ = 1184,
};

struct pg_array {
	enum pg_type type;
	uint8_t *data;
	size_t size;
	size_t capacity;
	uint32_t count;
	bool has_null;
	bool failed;
};

void pg_array_begin(struct pg_array *array, enum pg_type type); /* forgets what was there */
void pg_array_free(struct pg_array *array);

void pg_array_int(struct pg_array *array, int64_t value); /* PG_INT2, PG_INT4, PG_INT8 */
void pg_array_time(struct pg_array *array, int64_t unix_us);
void pg_array_bytes(struct pg_array *array, const void *data, size_t length);
void pg_array_null(struct pg_array *array);

/* Completes the header; the bytes are array->data, array->size. 0 or -ENOMEM. */
must_check int pg_array_finish(struct pg_array *array);

/* Microseconds of the Unix epoch as a binary timestamptz, in network order. */
int64_t pg_time(int64_t unix_us);

#endif
