/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/conninfo_mask.h"

static const struct {
	const char *conninfo;
	const char *masked;
} cases[] = {
	{"", ""},
	{"pulltap", "pulltap"},
	{"host=h dbname=d user=u", "host=h dbname=d user=u"},
	{"host=h password=secret user=u", "host=h password=**** user=u"},
	{"password=secret", "password=****"},
	{"password = secret user=u", "password = **** user=u"},
	{"password='se cr\\'et' user=u", "password=**** user=u"},
	{"password=se\\ cret user=u", "password=**** user=u"},
	{"password='never closed user=u", "password=****"},
	{"PASSWORD=secret", "PASSWORD=****"},
	{"sslpassword=secret x=y", "sslpassword=**** x=y"},
	{"passfile=/etc/pgpass", "passfile=/etc/pgpass"},
	{"user='a password=b' password=secret", "user='a password=b' password=****"},
	{"options='-c x=y' password=", "options='-c x=y' password=****"},
	{"=x password=secret", "=x password=****"},
	{"postgresql://", "postgresql://"},
	{"postgresql://h/d", "postgresql://h/d"},
	{"postgresql://h:5432/d?user=u", "postgresql://h:5432/d?user=u"},
	{"postgresql://u@h:5432/d", "postgresql://u@h:5432/d"},
	{"postgresql://u:secret@h:5432/d", "postgresql://u:****@h:5432/d"},
	{"postgres://u:secret@h1,h2/d?x=y", "postgres://u:****@h1,h2/d?x=y"},
	{"postgres://u:@h/d", "postgres://u:****@h/d"},
	{"postgres://u:se?cret@h/d", "postgres://u:****@h/d"},
	{"postgres://u:se@cret@h/d", "postgres://u:****@h/d"},
	{"postgres://u:secret@[::1]:5432/d", "postgres://u:****@[::1]:5432/d"},
	{"postgres://h/d?password=secret&user=u", "postgres://h/d?password=****&user=u"},
	{"postgres://h/d?user=u&sslpassword=secret", "postgres://h/d?user=u&sslpassword=****"},
	{"postgres://u:secret@h/d?password=secret", "postgres://u:****@h/d?password=****"},
	/* What libpq refuses: better nothing than half a password. */
	{"postgres://u:se/cret@h/d", "postgres://u:****"},
	{"postgres://u:se@cr?secret@h/d", "postgres://u:****"},
	{"postgres://h:1/d?password=se@cret", "postgres://h:****"},
	{"postgres://h/d?password=se@cret", "postgres://h/d?****"},
	{"postgres://u@h/d?password=se@cret", "postgres://u@h/d?****"},
	{"postgres://h/d@x", "postgres://h/d@x"},
	{"POSTGRES://u:secret@h/d", "POSTGRES://u:****@h/d"},
};

static void passwords_are_masked_in_every_form(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];

		conninfo_mask(cases[i].conninfo, text, sizeof(text));
		assert_string_equal(text, cases[i].masked);
		assert_null(strstr(text, "secret"));
		assert_null(strstr(text, "cret"));
	}
}

static void what_was_hidden_is_said(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(conninfo_secret(cases[i].conninfo) != CONNINFO_OPEN,
				 strcmp(cases[i].conninfo, cases[i].masked) != 0);
	assert_int_equal(conninfo_secret("postgres://u:secret@h/d"), CONNINFO_SECRET);
	assert_int_equal(conninfo_secret("postgres://u:se@cret@h/d"), CONNINFO_UNCLEAR);
	assert_int_equal(conninfo_secret("postgres://u:se/cret@h/d"), CONNINFO_UNCLEAR);
}

static void small_buffer_truncates_without_a_secret(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t size = 1; size < 64; size++) {
			char *text = malloc(size);
			size_t length = strlen(cases[i].masked);

			assert_non_null(text);
			conninfo_mask(cases[i].conninfo, text, size);
			assert_int_equal(strlen(text), length < size ? length : size - 1);
			assert_memory_equal(text, cases[i].masked, strlen(text));
			free(text);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passwords_are_masked_in_every_form),
		cmocka_unit_test(what_was_hidden_is_said),
		cmocka_unit_test(small_buffer_truncates_without_a_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
