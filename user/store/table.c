/* SPDX-License-Identifier: MIT */
#include "store/table.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "store/names.h"

/* int8, int2, int4 of pg_type.dat */
static bool is_integer(const PGresult *result, int column)
{
	Oid type = PQftype(result, column);

	return type == 20 || type == 21 || type == 23;
}

/* Length of the printable UTF-8 sequence at s, 0: has to be escaped. */
static size_t printable(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;

	if (u[0] < 0x20 || u[0] == 0x7f || u[0] == '\\')
		return 0;
	if (strnlen(s, n) < n || !name_is_utf8(s, n))
		return 0;
	/* C1 controls, and the marks that turn the direction of writing */
	if (u[0] == 0xc2 && u[1] < 0xa0)
		return 0;
	if (u[0] == 0xe2 && ((u[1] == 0x80 && (u[2] >= 0xa8 && u[2] <= 0xae)) ||
			     (u[1] == 0x80 && (u[2] == 0x8e || u[2] == 0x8f)) ||
			     (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9)))
		return 0;
	return n;
}

/* Writes s escaped when out is set; returns how many columns it takes. */
static size_t put_text(FILE *out, const char *s)
{
	size_t width = 0, n;

	while (*s) {
		n = printable(s);
		if (n) {
			if (out)
				fwrite(s, 1, n, out);
			width++;
			s += n;
		} else {
			if (out)
				fprintf(out, "\\x%02x", (unsigned char)*s);
			width += 4;
			s++;
		}
	}
	return width;
}

static const char *cell(const PGresult *result, int row, int column, const char *null_text)
{
	return PQgetisnull(result, row, column) ? null_text : PQgetvalue(result, row, column);
}

static void put_cell(FILE *out, const char *text, size_t width, bool right, bool last)
{
	size_t pad = width - put_text(NULL, text);

	if (right)
		fprintf(out, "%*s", (int)pad, "");
	put_text(out, text);
	if (!right && !last)
		fprintf(out, "%*s", (int)pad, "");
	fputs(last ? "\n" : "  ", out);
}

int table_print(FILE *out, const PGresult *result, const char *null_text)
{
	int columns = PQnfields(result), rows = PQntuples(result), row, column;
	_cleanup_free_ size_t *widths = calloc((size_t)columns + 1, sizeof(*widths));
	char heading[64];
	size_t width, i;

	if (!widths)
		return -ENOMEM;
	for (column = 0; column < columns; column++) {
		widths[column] = strlen(PQfname(result, column));
		for (row = 0; row < rows; row++) {
			width = put_text(NULL, cell(result, row, column, null_text));
			if (width > widths[column])
				widths[column] = width;
		}
	}
	for (column = 0; column < columns; column++) {
		snprintf(heading, sizeof(heading), "%s", PQfname(result, column));
		for (i = 0; heading[i]; i++)
			heading[i] = (char)toupper((unsigned char)heading[i]);
		put_cell(out, heading, widths[column], is_integer(result, column),
			 column == columns - 1);
	}
	for (row = 0; row < rows; row++)
		for (column = 0; column < columns; column++)
			put_cell(out, cell(result, row, column, null_text), widths[column],
				 is_integer(result, column), column == columns - 1);
	return 0;
}

static json_t *json_cell(const PGresult *result, int row, int column)
{
	const char *value = PQgetvalue(result, row, column);

	if (PQgetisnull(result, row, column))
		return json_null();
	if (is_integer(result, column))
		return json_integer(strtoll(value, NULL, 10));
	return json_string(value);
}

json_t *table_json(const PGresult *result)
{
	json_t *rows = json_array(), *object;
	int row, column;

	for (row = 0; row < PQntuples(result) && rows; row++) {
		object = json_object();
		for (column = 0; column < PQnfields(result) && object; column++) {
			if (!json_object_set_new(object, PQfname(result, column),
						 json_cell(result, row, column)))
				continue;
			json_decref(object);
			object = NULL;
		}
		if (!object || json_array_append_new(rows, object)) {
			json_decref(rows);
			rows = NULL;
		}
	}
	return rows;
}
