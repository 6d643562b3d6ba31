/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>

#include "base/network.h"
#include "control/rules.h"

static int parse(struct rules *rules, const char *text, char error[RULES_ERROR_BYTES])
{
	char line[512];

	snprintf(line, sizeof(line), "%s", text);
	error[0] = 0;
	return rules_parse_line(rules, line, error);
}

static void check_pattern(const struct pt_pattern *pattern, unsigned int kind, const char *text)
{
	size_t length = strlen(text);

	assert_int_equal(pattern->kind, kind);
	assert_int_equal(pattern->length, length);
	for (size_t i = 0; i < PT_PATTERN_TEXT; i++) {
		assert_int_equal(pattern->text[i], i < length ? text[i] : 0);
		assert_int_equal(pattern->mask[i], i < length ? 0xff : 0);
	}
}

static void every_condition_is_kept_as_the_programs_compare_it(void **state)
{
	char error[RULES_ERROR_BYTES];
	struct rules rules = {};

	(void)state;
	assert_int_equal(parse(&rules,
			       "exclude all\tuser-agent=\"*a b*\" peer=10.0.0.0/8 "
			       "repository=x/* reference=*.sig # why\n",
			       error),
			 0);
	assert_int_equal(rules.count, 1);
	assert_string_equal(rules.items[0].name, "all");
	check_pattern(&rules.items[0].agent, PT_PATTERN_PART, "a b");
	check_pattern(&rules.items[0].repository, PT_PATTERN_PREFIX, "x/");
	check_pattern(&rules.items[0].reference, PT_PATTERN_SUFFIX, ".sig");
	assert_int_equal(rules.items[0].network.high, 0);
	assert_int_equal(rules.items[0].network.low, 0xffff0a000000);
	assert_int_equal(rules.items[0].mask.high, ~0ull);
	assert_int_equal(rules.items[0].mask.low, 0xffffffffff000000);
	assert_int_equal(rules_need(rules.items, 1), PT_POLICY_AGENT | PT_POLICY_PEER);

	assert_int_equal(parse(&rules, "exclude exact reference=latest", error), 0);
	check_pattern(&rules.items[1].reference, PT_PATTERN_EXACT, "latest");
	check_pattern(&rules.items[1].agent, PT_PATTERN_ANY, "");
	assert_int_equal(rules_need(&rules.items[1], 1), 0);
}

static void blank_lines_and_comments_are_no_rules(void **state)
{
	static const char *const lines[] = {"", "\n", "  \t\r\n", "# exclude x peer=::1", "  #"};
	char error[RULES_ERROR_BYTES];
	struct rules rules = {};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		assert_int_equal(parse(&rules, lines[i], error), 0);
	assert_int_equal(rules.count, 0);
}

static void wrong_lines_say_what_is_wrong_and_add_nothing(void **state)
{
	static const char *const lines[][2] = {
		{"count x peer=::1", "count: a rule begins with exclude"},
		{"exclude", "exclude: a rule's name"},
		{"exclude a=b peer=::1", "a=b: a rule's name"},
		{"exclude \"\" peer=::1", ": a rule's name"},
		{"exclude \"a b\" peer=::1", "a b: a rule's name"},
		{"exclude x", "x: a rule needs a condition"},
		{"exclude x Peer=::1", "Peer=::1: no such condition"},
		{"exclude x peer=", "peer=: must be an address"},
		{"exclude x peer=1.2.3.4/33", "must be an address"},
		{"exclude x peer=::1/0", "without bits set behind its prefix"},
		{"exclude x user-agent=", "must be 1 to 72 bytes"},
		{"exclude x user-agent=**", "must be 1 to 72 bytes"},
		{"exclude x reference=a*b", "must be 1 to 72 bytes"},
		{"exclude x reference=*a*", "for user-agent only"},
		{"exclude x reference=a reference=b", "stands in the rule already"},
		{"exclude x peer=::1 peer=::1", "stands in the rule already"},
	};
	char error[RULES_ERROR_BYTES];
	struct rules rules = {};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		assert_int_equal(parse(&rules, lines[i][0], error), -EINVAL);
		if (!strstr(error, lines[i][1]))
			fail_msg("%s: %s", lines[i][0], error);
		assert_int_equal(rules.count, 0);
	}
}

static void thirty_two_rules_fit(void **state)
{
	char error[RULES_ERROR_BYTES];
	struct rules rules = {};

	(void)state;
	for (int i = 0; i < PT_RULES; i++)
		assert_int_equal(parse(&rules, "exclude same peer=::1", error), 0);
	assert_int_equal(parse(&rules, "exclude same peer=::1", error), -EINVAL);
	assert_string_equal(error, "same: there may be 32 rules");
	assert_int_equal(rules.count, PT_RULES);
}

static void check_network(const char *text, uint64_t high, uint64_t low, unsigned int bits)
{
	struct network network;

	assert_int_equal(network_parse(text, &network), 0);
	assert_int_equal(network.address.high, high);
	assert_int_equal(network.address.low, low);
	assert_int_equal(network.bits, bits);
	assert_int_equal(network.mask.high, bits >= 64 ? ~0ull : bits ? ~0ull << (64 - bits) : 0);
	assert_int_equal(network.mask.low, bits <= 64 ? 0 : ~0ull << (128 - bits));
}

static void networks_are_numbers_of_128_bits(void **state)
{
	static const char *const wrong[] = {"",	      "10.0.0.0/",  "10.0.0.0/33", "/8",
					    "10/8",   "::/129",	    "10.0.0.0/-1", "10.0.0.0/8 ",
					    "::1/64", "10.0.0.1/31"};
	struct network network;

	(void)state;
	check_network("0.0.0.0/0", 0, 0xffff00000000, 96);
	check_network("192.0.2.1", 0, 0xffffc0000201, 128);
	check_network("::/0", 0, 0, 0);
	check_network("2001:db8::/32", 0x20010db800000000, 0, 32);
	check_network("2001:db8::/64", 0x20010db800000000, 0, 64);
	check_network("2001:db8:0:0:8000::/65", 0x20010db800000000, 1ull << 63, 65);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(network_parse(wrong[i], &network), -EINVAL);
}

static void kinds_of_client_end_with_whatever_is_left(void **state)
{
	struct pt_rule kinds[PT_CLIENTS];
	unsigned int count = client_kinds(kinds);

	(void)state;
	assert_true(count > 10);
	assert_string_equal(kinds[0].name, "docker");
	check_pattern(&kinds[0].agent, PT_PATTERN_PREFIX, "docker/");
	assert_string_equal(kinds[count - 1].name, "other");
	for (unsigned int i = 0; i < count; i++)
		assert_int_equal(kinds[i].agent.kind == PT_PATTERN_ANY, i == count - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_condition_is_kept_as_the_programs_compare_it),
		cmocka_unit_test(blank_lines_and_comments_are_no_rules),
		cmocka_unit_test(wrong_lines_say_what_is_wrong_and_add_nothing),
		cmocka_unit_test(thirty_two_rules_fit),
		cmocka_unit_test(networks_are_numbers_of_128_bits),
		cmocka_unit_test(kinds_of_client_end_with_whatever_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
