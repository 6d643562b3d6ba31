/* SPDX-License-Identifier: MIT */
/* Where what sockets show contradicts what counts, and where it does not. */
#include "test.h"

#include "cli/topology_words.h"
#include "cli/trouble.h"

#define FRONT(state)                                                                               \
	"{'registry': 'edge', 'program': 'nginx', 'pid': 7, 'place': 'front end', " state "}"
#define REGISTRY(state)                                                                            \
	"{'registry': 'hub', 'program': 'docker-registry', 'pid': 8, 'place': 'registry', " state  \
	"}"
#define COUNTS "'counts': true, 'elsewhere': false, 'behind': false"
#define COUNTS_BEHIND "'counts': true, 'elsewhere': false, 'behind': true"
#define ELSEWHERE "'counts': false, 'elsewhere': true, 'behind': false"
#define ELSEWHERE_BEHIND "'counts': false, 'elsewhere': true, 'behind': true"
#define LINK(from, to)                                                                             \
	"{'from': " from ", 'to': " to ", 'address': '10.0.0.5:443', 'unclear': false}"
#define UNCLEAR "{'from': 0, 'to': null, 'address': '127.0.0.1:8000', 'unclear': true}"

static json_t *find(const char *programs, const char *links)
{
	json_t *found = json_array(), *status;
	char text[2048];

	snprintf(text, sizeof(text),
		 "{'agent': {'running': true, 'topology': {'programs': [%s], 'links': [%s]}}}",
		 programs, links);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	status = json_loads(text, 0, NULL);
	assert_non_null(status);
	trouble_topology(status, found);
	json_decref(status);
	return found;
}

static void assert_none(const char *programs, const char *links)
{
	json_t *found = find(programs, links);

	assert_int_equal(json_array_size(found), 0);
	json_decref(found);
}

static void assert_one(const char *programs, const char *links, const char *what,
		       const char *advice)
{
	json_t *found = find(programs, links), *one = json_array_get(found, 0);

	assert_int_equal(json_array_size(found), 1);
	assert_non_null(strstr(topology_text(one, "what"), what));
	assert_non_null(strstr(topology_text(one, "advice"), advice));
	json_decref(found);
}

static void a_front_end_whose_registry_counts_is_as_it_should_be(void **state)
{
	(void)state;
	assert_none(FRONT(ELSEWHERE_BEHIND) "," REGISTRY(COUNTS), LINK("0", "1"));
	/* what else it talks to is its own affair */
	assert_none(FRONT(ELSEWHERE_BEHIND) "," REGISTRY(COUNTS),
		    LINK("0", "1") "," LINK("0", "null"));
	assert_none(FRONT(COUNTS), LINK("0", "null"));
	assert_none("", "");
}

static void two_that_count_and_talk_are_named(void **state)
{
	(void)state;
	assert_one(FRONT(COUNTS_BEHIND) "," REGISTRY(COUNTS), LINK("0", "1"),
		   "front end edge (nginx, pid 7) was seen to talk to registry hub "
		   "(docker-registry, pid 8) at 10.0.0.5:443 and both count",
		   "--count-at");
	/* over one that does not count itself */
	assert_one(FRONT(COUNTS_BEHIND) "," FRONT(ELSEWHERE_BEHIND) "," REGISTRY(COUNTS),
		   LINK("0", "1") "," LINK("1", "2"), "both count", "--count-at");
}

static void one_that_talks_to_itself_is_named(void **state)
{
	(void)state;
	assert_one(FRONT(COUNTS_BEHIND), LINK("0", "0"), "talk to itself", "a file of its own");
}

static void a_mirror_of_another_registry_counts_for_itself(void **state)
{
	(void)state;
	assert_none(REGISTRY(COUNTS_BEHIND) "," REGISTRY(COUNTS), LINK("0", "1"));
}

static void a_front_end_of_somebody_else_that_does_not_count_is_named(void **state)
{
	(void)state;
	assert_one(FRONT(ELSEWHERE) "," REGISTRY(COUNTS), LINK("0", "null"),
		   "does not count, for others of this node do, but was seen to talk to "
		   "10.0.0.5:443",
		   "--count-at=edge");
}

static void what_sockets_do_not_show_is_no_trouble(void **state)
{
	(void)state;
	assert_none(FRONT(ELSEWHERE) "," REGISTRY(COUNTS), "");
	assert_none(FRONT(ELSEWHERE) "," REGISTRY(COUNTS), UNCLEAR);
	assert_none(FRONT(ELSEWHERE) "," REGISTRY(COUNTS), LINK("0", "null") "," UNCLEAR);
}

static void an_agent_that_has_ended_says_nothing(void **state)
{
	json_t *found = json_array(), *status = json_pack("{s:{s:b}}", "agent", "running", 0);

	(void)state;
	trouble_topology(status, found);
	assert_int_equal(json_array_size(found), 0);
	json_decref(found);
	json_decref(status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_front_end_whose_registry_counts_is_as_it_should_be),
		cmocka_unit_test(two_that_count_and_talk_are_named),
		cmocka_unit_test(one_that_talks_to_itself_is_named),
		cmocka_unit_test(a_mirror_of_another_registry_counts_for_itself),
		cmocka_unit_test(a_front_end_of_somebody_else_that_does_not_count_is_named),
		cmocka_unit_test(what_sockets_do_not_show_is_no_trouble),
		cmocka_unit_test(an_agent_that_has_ended_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
