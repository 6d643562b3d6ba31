/* SPDX-License-Identifier: MIT */
#include "store/pg_array.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* dimensions, has nulls, element type, length, lower bound: 4 bytes each */
#define HEADER 20
/* 2000-01-01, where PostgreSQL's time begins */
#define PG_EPOCH_US 946684800000000ll

static uint8_t *reserve(struct pg_array *array, size_t bytes)
{
	size_t capacity = array->capacity ? array->capacity : 256;
	uint8_t *data;

	if (array->failed)
		return NULL;
	while (capacity < array->size + bytes)
		capacity *= 2;
	if (capacity != array->capacity) {
		data = realloc(array->data, capacity);
		if (!data) {
			array->failed = true;
			return NULL;
		}
		array->data = data;
		array->capacity = capacity;
	}
	data = array->data + array->size;
	array->size += bytes;
	return data;
}

void pg_array_begin(struct pg_array *array, enum pg_type type)
{
	array->type = type;
	array->size = 0;
	array->count = 0;
	array->has_null = false;
	array->failed = false;
	reserve(array, HEADER);
}

void pg_array_free(struct pg_array *array)
{
	free(array->data);
	*array = (struct pg_array){0};
}

void pg_array_bytes(struct pg_array *array, const void *data, size_t length)
{
	uint32_t wire = htobe32((uint32_t)length);
	uint8_t *to = reserve(array, sizeof(wire) + length);

	if (!to)
		return;
	memcpy(to, &wire, sizeof(wire));
	if (length)
		memcpy(to + sizeof(wire), data, length);
	array->count++;
}

void pg_array_int(struct pg_array *array, int64_t value)
{
	uint64_t wire8 = htobe64((uint64_t)value);
	uint32_t wire4 = htobe32((uint32_t)value);
	uint16_t wire2 = htobe16((uint16_t)value);

	if (array->type == PG_INT8)
		pg_array_bytes(array, &wire8, sizeof(wire8));
	else if (array->type == PG_INT4)
		pg_array_bytes(array, &wire4, sizeof(wire4));
	else
		pg_array_bytes(array, &wire2, sizeof(wire2));
}

int64_t pg_time(int64_t unix_us)
{
	return (int64_t)htobe64((uint64_t)(unix_us - PG_EPOCH_US));
}

void pg_array_time(struct pg_array *array, int64_t unix_us)
{
	int64_t wire = pg_time(unix_us);

	pg_array_bytes(array, &wire, sizeof(wire));
}

void pg_array_null(struct pg_array *array)
{
	static const uint32_t null_length = 0xffffffff;
	uint8_t *to = reserve(array, sizeof(null_length));

	if (!to)
		return;
	memcpy(to, &null_length, sizeof(null_length));
	array->count++;
	array->has_null = true;
}

int pg_array_finish(struct pg_array *array)
{
	uint32_t header[] = {htobe32(1), htobe32(array->has_null), htobe32(array->type),
			     htobe32(array->count), htobe32(1)};

	if (array->failed)
		return -ENOMEM;
	if (!array->count) {
		header[0] = 0; /* an empty array has no dimensions */
		array->size = 12;
	}
	memcpy(array->data, header, array->size < HEADER ? array->size : HEADER);
	return 0;
}
