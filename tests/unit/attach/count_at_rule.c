/* SPDX-License-Identifier: MIT */
/* Which of several places counts, whatever there is and in whatever state. */
#include <errno.h>

#include "test.h"

#include "attach/count_at_rule.h"

static struct count_site at(enum count_place place, uint8_t order)
{
	return (struct count_site){.used = true, .able = true, .place = place, .order = order};
}

/* "1" for each site that counts, "0" for one that does not, "." for an empty slot. */
static const char *counting(enum count_where where, struct count_site *sites, unsigned int count)
{
	static char text[16];

	count_at_decide(where, sites, count);
	for (unsigned int i = 0; i < count; i++)
		text[i] = sites[i].used ? sites[i].elsewhere ? '0' : '1' : '.';
	text[count] = 0;
	return text;
}

static void registry_behind_a_front_end_counts_alone(void **state)
{
	struct count_site sites[] = {at(COUNT_FRONT, 0), {}, at(COUNT_REGISTRY, 1)};

	(void)state;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 3), "0.1");
	assert_string_equal(counting(COUNT_AT_FRONT, sites, 3), "1.0");
	assert_string_equal(counting(COUNT_AT_BOTH, sites, 3), "1.1");
}

static void front_end_without_a_registry_counts(void **state)
{
	struct count_site sites[] = {at(COUNT_FRONT, 0)};

	(void)state;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 1), "1");
	assert_string_equal(counting(COUNT_AT_FRONT, sites, 1), "1");
}

static void registries_beside_each_other_all_count(void **state)
{
	struct count_site sites[] = {at(COUNT_REGISTRY, COUNT_UNNAMED), at(COUNT_FRONT, 3),
				     at(COUNT_REGISTRY, 0)};

	(void)state;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 3), "101");
}

static void every_chain_counts_at_one_place(void **state)
{
	struct count_site sites[] = {at(COUNT_FRONT, 0), at(COUNT_SERVER, 1), at(COUNT_CORE, 2),
				     at(COUNT_REGISTRY, 3)};

	(void)state;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 4), "0001");
	assert_string_equal(counting(COUNT_AT_INNER, sites, 3), "001");
	assert_string_equal(counting(COUNT_AT_INNER, sites, 2), "01");
	assert_string_equal(counting(COUNT_AT_FRONT, sites + 1, 3), "100");
}

static void of_several_front_ends_the_first_named_counts(void **state)
{
	struct count_site sites[] = {at(COUNT_FRONT, 4), at(COUNT_FRONT, 2), at(COUNT_FRONT, 3),
				     at(COUNT_FRONT, 2)};

	(void)state;
	/* two files of one target: an upgrade */
	assert_string_equal(counting(COUNT_AT_INNER, sites, 4), "0101");
	assert_string_equal(counting(COUNT_AT_FRONT, sites, 4), "0101");
	sites[0].always = true;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 4), "1000");
	sites[2].always = true;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 4), "1010");
	assert_string_equal(counting(COUNT_AT_BOTH, sites, 4), "1111");
}

static void a_name_counts_beside_the_place_that_does(void **state)
{
	struct count_site sites[] = {at(COUNT_FRONT, 0), at(COUNT_REGISTRY, 1), at(COUNT_FRONT, 2)};

	(void)state;
	sites[0].always = true;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 3), "110");
}

static void a_registry_that_ended_or_is_off_gives_way(void **state)
{
	struct count_site sites[] = {at(COUNT_FRONT, 0), at(COUNT_REGISTRY, 1)};

	(void)state;
	sites[1].able = false;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 2), "10");
	sites[1].able = true;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 2), "01");
}

static void nothing_changes_while_nobody_runs(void **state)
{
	struct count_site sites[] = {at(COUNT_FRONT, 0), at(COUNT_REGISTRY, 1)};

	(void)state;
	counting(COUNT_AT_INNER, sites, 2);
	sites[0].able = sites[1].able = false;
	assert_string_equal(counting(COUNT_AT_INNER, sites, 2), "01");
	assert_string_equal(counting(COUNT_AT_FRONT, sites, 2), "01");
}

/* Every state of four places: of a chain never two count, and one does if any can. */
static void by_default_no_chain_ever_counts_twice(void **state)
{
	for (unsigned int mask = 0; mask < 256; mask++) {
		struct count_site sites[4];
		unsigned int counted = 0, able = 0;

		(void)state;
		for (unsigned int i = 0; i < 4; i++) {
			sites[i] = at(i, (uint8_t)i);
			sites[i].used = mask >> i & 1;
			sites[i].able = mask >> i & 16;
			able += sites[i].used && sites[i].able;
		}
		counting(COUNT_AT_INNER, sites, 4);
		for (unsigned int i = 0; i < 4; i++)
			counted += sites[i].used && sites[i].able && !sites[i].elsewhere;
		assert_int_equal(counted, able ? 1 : 0);
	}
}

static void a_hook_and_a_kind_tell_the_place(void **state)
{
	(void)state;
	assert_int_equal(count_at_place(PT_GO_HOOK_HTTP1, "distribution"), COUNT_REGISTRY);
	assert_int_equal(count_at_place(PT_GO_HOOK_HTTP2, "zot"), COUNT_REGISTRY);
	assert_int_equal(count_at_place(PT_GO_HOOK_HTTP2_INLINE, "harbor-core"), COUNT_CORE);
	assert_int_equal(count_at_place(PT_GO_HOOK_HTTP1, ""), COUNT_SERVER);
	assert_int_equal(count_at_place(PT_NGINX_HOOK_REQUEST, ""), COUNT_FRONT);
}

static void words_and_names_are_understood(void **state)
{
	const char *const names[] = {"hub", "edge"};
	const char *const front[] = {"edge", "front", "front"};
	enum count_where where;
	char message[200];

	(void)state;
	assert_int_equal(count_at_parse(NULL, 0, names, 2, &where, message, 200), 0);
	assert_int_equal(where, COUNT_AT_INNER);
	assert_int_equal(count_at_parse(front, 3, names, 2, &where, message, 200), 0);
	assert_int_equal(where, COUNT_AT_FRONT);
}

static void a_typing_error_and_a_contradiction_are_named(void **state)
{
	const char *const names[] = {"hub"};
	const char *const typo[] = {"iner"};
	const char *const two[] = {"inner", "both"};
	enum count_where where;
	char message[200];

	(void)state;
	assert_int_equal(count_at_parse(typo, 1, names, 1, &where, message, 200), -EINVAL);
	assert_non_null(strstr(message, "\"iner\" is neither inner, front or both nor the NAME"));
	assert_int_equal(count_at_parse(two, 2, names, 1, &where, message, 200), -EINVAL);
	assert_non_null(strstr(message, "inner and both contradict each other"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registry_behind_a_front_end_counts_alone),
		cmocka_unit_test(front_end_without_a_registry_counts),
		cmocka_unit_test(registries_beside_each_other_all_count),
		cmocka_unit_test(every_chain_counts_at_one_place),
		cmocka_unit_test(of_several_front_ends_the_first_named_counts),
		cmocka_unit_test(a_name_counts_beside_the_place_that_does),
		cmocka_unit_test(a_registry_that_ended_or_is_off_gives_way),
		cmocka_unit_test(nothing_changes_while_nobody_runs),
		cmocka_unit_test(by_default_no_chain_ever_counts_twice),
		cmocka_unit_test(a_hook_and_a_kind_tell_the_place),
		cmocka_unit_test(words_and_names_are_understood),
		cmocka_unit_test(a_typing_error_and_a_contradiction_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
