/* SPDX-License-Identifier: MIT */
/* A query's result as an aligned table or as JSON. */
#ifndef PULLTAP_STORE_TABLE_H
#define PULLTAP_STORE_TABLE_H

#include <stdio.h>

#include <jansson.h>
#include <libpq-fe.h>

#include "base/cleanup.h"

/*
 * Columns as wide as their content, numbers to the right, headings from the column names in upper
 * case. Text from outside can't move the cursor: control characters and what is not UTF-8 appear
 * as \xNN. null_text stands for NULL. 0 or -ENOMEM.
 */
must_check int table_print(FILE *out, const PGresult *result, const char *null_text);

/* A new array with one object per row: integers as numbers, NULL as null. NULL without memory. */
json_t *table_json(const PGresult *result);

#endif
