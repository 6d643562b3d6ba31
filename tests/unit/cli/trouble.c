/* SPDX-License-Identifier: MIT */
/* What status and doctor call trouble, and in which order. */
#include "test.h"

#include "cli/trouble.h"

#define HEALTHY                                                                                    \
	"{'agent': {'running': true, 'ledger': {'seen': 10, 'counted': 10},"                       \
	" 'books': {'unbalanced_windows': 0}, 'windows': {'error': null},"                         \
	" 'shipping': {'state': 'idle', 'failures': 0, 'put_aside': 0}},"                          \
	" 'counting': true, 'off_mask': 0, 'sites': [{'registry': 'hub', 'off': false}],"          \
	" 'window': {'ledger': {'seen': 1, 'counted': 1}}}"

/* The healthy one, to be spoiled. */
static json_t *status_of(void)
{
	char text[] = HEALTHY;
	json_t *status;

	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	status = json_loads(text, 0, NULL);
	assert_non_null(status);
	return status;
}

static json_t *at(json_t *status, const char *path)
{
	char copy[64], *rest = copy, *name;

	snprintf(copy, sizeof(copy), "%s", path);
	while ((name = strsep(&rest, ".")))
		status = json_object_get(status, name);
	assert_non_null(status);
	return status;
}

static const char *what(const json_t *found, size_t i)
{
	return json_string_value(json_object_get(json_array_get(found, i), "what")) ?: "";
}

static void assert_one(json_t *status, const char *expected)
{
	json_t *found = trouble_find(status);

	assert_int_equal(json_array_size(found), 1);
	assert_non_null(strstr(what(found, 0), expected));
	assert_true(json_string_length(json_object_get(json_array_get(found, 0), "advice")) > 0);
	json_decref(found);
	json_decref(status);
}

static void probe_that_is_none_is_trouble_and_one_that_waits_is_not(void **state)
{
	json_t *status = status_of(), *site = json_array_get(at(status, "sites"), 0), *found;

	(void)state;
	json_object_set_new(site, "probe", json_string("gone"));
	found = trouble_find(status);
	assert_int_equal(json_array_size(found), 0);
	json_decref(found);
	json_object_set_new(site, "probe", json_string("foreign"));
	assert_one(status, "what is pinned as a probe of hub is none");
}

static void entry_that_leads_nowhere_is_trouble(void **state)
{
	json_t *status = status_of();

	(void)state;
	json_object_set_new(status, "entered", json_false());
	assert_one(status, "do not run the programs of this set");
}

static void healthy_status_has_none(void **state)
{
	json_t *status = status_of(), *found = trouble_find(status);

	(void)state;
	assert_int_equal(json_array_size(found), 0);
	json_decref(found);
	json_decref(status);
}

static void each_fault_alone_is_found(void **state)
{
	json_t *status = status_of();

	(void)state;
	json_object_set_new(at(status, "agent.books"), "unbalanced_windows", json_integer(2));
	assert_one(status, "do not balance in 2 windows");
	status = status_of();
	json_object_set_new(at(status, "agent"), "written_s_ago", json_integer(11));
	assert_one(status, "nothing can be written to the state folder for 11 s");
	status = status_of();
	json_object_set_new(at(status, "agent.shipping"), "over_limit", json_true());
	assert_one(status, "beyond its limit");
	status = status_of();
	json_object_set_new(at(status, "agent.ledger"), "lost_fault", json_integer(3));
	assert_one(status, "3 hits lost, lost_fault");
	status = status_of();
	json_object_set_new(at(status, "window.ledger"), "lost_busy", json_integer(1));
	assert_one(status, "1 hits lost, lost_busy");
	status = status_of();
	json_object_set_new(json_array_get(at(status, "sites"), 0), "off", json_true());
	assert_one(status, "registry hub is off");
	status = status_of();
	json_object_set_new(at(status, "window"), "error", json_string("x"));
	assert_one(status, "can't be read");
	status = status_of();
	json_object_set_new(status, "counting", json_false());
	assert_one(status, "switched off");
	status = status_of();
	json_object_set_new(at(status, "agent"), "running", json_false());
	assert_one(status, "no agent runs");
	status = status_of();
	json_object_set_new(at(status, "agent.windows"), "error", json_string("No space left"));
	assert_one(status, "can't be written: No space left");
	status = status_of();
	json_object_set_new(at(status, "agent.shipping"), "put_aside", json_integer(1));
	assert_one(status, "1 damaged window files");
	status = status_of();
	json_object_set_new(at(status, "agent.shipping"), "state", json_string("denied"));
	assert_one(status, "takes no windows (denied)");
}

static void database_that_restarts_is_no_news_and_one_that_stays_away_is(void **state)
{
	json_t *status = status_of(), *found;

	(void)state;
	json_object_set_new(at(status, "agent.shipping"), "state", json_string("retrying"));
	json_object_set_new(at(status, "agent.shipping"), "failures", json_integer(3));
	found = trouble_find(status);
	assert_int_equal(json_array_size(found), 0);
	json_decref(found);
	json_object_set_new(at(status, "agent.shipping"), "failures", json_integer(30));
	assert_one(status, "takes no windows (retrying)");
}

static void worst_comes_first(void **state)
{
	json_t *status = status_of(), *found;

	(void)state;
	json_object_set_new(status, "counting", json_false());
	json_object_set_new(at(status, "agent"), "running", json_false());
	json_object_set_new(at(status, "agent.ledger"), "lost_fault", json_integer(3));
	json_object_set_new(at(status, "agent.books"), "unbalanced_windows", json_integer(1));
	found = trouble_find(status);
	assert_int_equal(json_array_size(found), 4);
	assert_non_null(strstr(what(found, 0), "do not balance"));
	assert_non_null(strstr(what(found, 1), "hits lost"));
	assert_non_null(strstr(what(found, 2), "switched off"));
	assert_non_null(strstr(what(found, 3), "no agent runs"));
	json_decref(found);
	json_decref(status);
}

/* A server's words may be in any encoding. */
static void words_that_json_refuses_do_not_hide_the_trouble(void **state)
{
	json_t *status = status_of();

	(void)state;
	json_object_set_new(at(status, "agent.windows"), "error",
			    json_stringn_nocheck("\xff\xfe!", 3));
	assert_one(status, "can't be written: ?\?!");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(healthy_status_has_none),
		cmocka_unit_test(probe_that_is_none_is_trouble_and_one_that_waits_is_not),
		cmocka_unit_test(entry_that_leads_nowhere_is_trouble),
		cmocka_unit_test(each_fault_alone_is_found),
		cmocka_unit_test(database_that_restarts_is_no_news_and_one_that_stays_away_is),
		cmocka_unit_test(worst_comes_first),
		cmocka_unit_test(words_that_json_refuses_do_not_hide_the_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
