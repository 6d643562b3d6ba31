/* SPDX-License-Identifier: MIT */
/* docs/reference.md says what the program does. Runs in the repository's folder, as make does. */
#include "test.h"

#include "cli/options.h"

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 1 << 20);
	size_t size;

	assert_non_null(text);
	if (!file)
		fail_msg("%s: run this from the repository's folder", path);
	size = fread(text, 1, (1 << 20) - 1, file);
	assert_true(size > 0);
	assert_int_equal(fclose(file), 0);
	return text;
}

static void option_table_in_the_reference_is_the_programs(void **state)
{
	char *document = read_file("docs/reference.md"), *table = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&table, &size);

	(void)state;
	assert_non_null(out);
	options_print_markdown(out);
	assert_int_equal(fclose(out), 0);
	if (!strstr(document, table)) {
		fputs(table, stderr); /* longer than cmocka's messages */
		fail_msg("docs/reference.md lacks this table");
	}
	free(table);
	free(document);
}

/* Every `{"name", command_name, ...}` of main has its row. */
static void every_command_is_in_the_reference(void **state)
{
	char *document = read_file("docs/reference.md"), *source = read_file("user/main.c");
	unsigned int found = 0;

	(void)state;
	for (char *at = source; (at = strstr(at, ", command_")); at++) {
		char name[32], quoted[64];

		assert_int_equal(sscanf(at, ", command_%31[a-z],", name), 1);
		snprintf(quoted, sizeof(quoted), "`pulltap %s", name);
		if (!strstr(document, quoted))
			fail_msg("docs/reference.md does not describe %s", name);
		found++;
	}
	assert_true(found >= 9);
	free(source);
	free(document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(option_table_in_the_reference_is_the_programs),
		cmocka_unit_test(every_command_is_in_the_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
