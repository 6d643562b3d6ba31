/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "bpf/address_text.h"

static void check_as_library(const char *text)
{
	char buffer[128] = "";
	struct pt_address want = {}, got = {};
	struct pt_address_parse p;
	bool is = address_of(text, &want);
	int rc;

	snprintf(buffer, sizeof(buffer), "%s", text);
	rc = address_parse(buffer, 0, &got, &p);
	if ((rc == 0) != is || (is && memcmp(&got, &want, sizeof(got))))
		fail_msg("%s: %d, library %d", text, rc, is);
}

static void addresses_are_read_as_the_library_does(void **state)
{
	static const char *const texts[] = {
		"0.0.0.0",
		"127.0.0.1",
		"255.255.255.255",
		"256.1.1.1",
		"1.2.3",
		"1.2.3.4.5",
		"1..2.3",
		"1.2.3.",
		".1.2.3",
		"a.b.c.d",
		"1.2.3.a",
		"::",
		"::1",
		"1::",
		"1::2",
		"1:2:3:4:5:6:7:8",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		"1:2:3:4:5:6:7::",
		"::2:3:4:5:6:7:8",
		"1::2::3",
		":1",
		"1:",
		":::",
		":",
		"1:2:3:4:5:6:7:",
		"fe80::1:2",
		"2001:db8::ff00:42:8329",
		"FE80::ABCD",
		"12345::",
		"::ffff:1.2.3.4",
		"1:2:3:4:5:6:1.2.3.4",
		"1:2:3:4:5:6:7:1.2.3.4",
		"::1.2.3.4",
		"::1.2.3",
		"::1.2.3.4.5",
		"::1.2.3.256",
		"x",
		"1.2.3.4x",
		"g::",
		"::g",
		"1::2:",
		"::1:",
		":01::f",
		"1.2.03.4",
		"1.2.3.00",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		check_as_library(texts[i]);
}

/* text, the address in it, and how the text that was taken for it reads. */
static void check_address(const char *text, const char *address, const char *taken)
{
	char buffer[128] = "";
	struct pt_address want = {}, got = {};
	struct pt_address_parse p;

	snprintf(buffer, sizeof(buffer), "%s", text);
	assert_int_equal(address_parse(buffer, 0, &got, &p), 0);
	assert_true(address_of(address, &want));
	assert_memory_equal(&got, &want, sizeof(got));
	assert_int_equal(p.at - p.start, strlen(taken));
	assert_memory_equal(buffer + p.start, taken, strlen(taken));
}

static void brackets_zone_and_port_are_no_part_of_an_address(void **state)
{
	(void)state;
	check_address("1.2.3.4:5678", "1.2.3.4", "1.2.3.4");
	check_address("[::1]:80", "::1", "::1");
	check_address("[fe80::1%eth0]:80", "fe80::1", "fe80::1");
	check_address("[2001:db8::1]", "2001:db8::1", "2001:db8::1");
	check_address("1.2.3.4, 5.6.7.8", "1.2.3.4", "1.2.3.4");
	check_address("1.2.3.4\";by=x", "1.2.3.4", "1.2.3.4");
}

static void networks_hold_their_addresses_and_no_others(void **state)
{
	struct pt_address address = {}, network = {}, mask = {~0ull, ~0ull << 8};

	(void)state;
	assert_true(address_of("10.1.2.0", &network));
	assert_true(address_of("10.1.2.255", &address));
	assert_true(pt_address_within(&address, &network, &mask));
	assert_true(address_of("10.1.3.0", &address));
	assert_false(pt_address_within(&address, &network, &mask));
	assert_true(address_of("::a01:200", &address)); /* not the same in IPv6 */
	assert_false(pt_address_within(&address, &network, &mask));
	mask = (struct pt_address){};
	assert_true(pt_address_within(&address, &network, &mask));
}

/* Right to left; "?" stands for what is no address. */
static void check_line(__u32 kind, const char *text, const char *expected)
{
	char line[LINE_BYTES], seen[512] = "";
	struct pt_address_parse p;
	struct pt_address address;
	struct pt_forwarded f;
	int rc;

	line_begin(&f, line, kind, text, strlen(text));
	while ((rc = line_next(&f, line, &address, &p)) != 2) {
		size_t n = strlen(seen);

		if (rc == 1)
			continue;
		snprintf(seen + n, sizeof(seen) - n, "%s%.*s", n ? " " : "",
			 rc < 0 ? 1 : (int)(p.at - p.start), rc < 0 ? "?" : line + 8 + p.start);
	}
	assert_string_equal(seen, expected);
}

static void lists_give_their_addresses_from_the_right(void **state)
{
	(void)state;
	check_line(PT_FORWARDED_LIST, "1.2.3.4", "1.2.3.4");
	check_line(PT_FORWARDED_LIST, " 1.2.3.4 ", "1.2.3.4");
	check_line(PT_FORWARDED_LIST, "1.2.3.4, 10.0.0.1,10.0.0.2", "10.0.0.2 10.0.0.1 1.2.3.4");
	check_line(PT_FORWARDED_LIST, "1.2.3.4:99, [::1]:80", "::1 1.2.3.4");
	check_line(PT_FORWARDED_LIST, "\"1.2.3.4\"", "1.2.3.4");
	check_line(PT_FORWARDED_LIST, "unknown, 1.2.3.4", "1.2.3.4 ?");
	check_line(PT_FORWARDED_LIST, "1.2.3.4, , 5.6.7.8,", "5.6.7.8 1.2.3.4");
	check_line(PT_FORWARDED_LIST, "", "");
	check_line(PT_FORWARDED_LIST, ",,", "");
}

static void pairs_give_what_stands_behind_for(void **state)
{
	(void)state;
	check_line(PT_FORWARDED_PAIRS, "for=1.2.3.4", "1.2.3.4");
	check_line(PT_FORWARDED_PAIRS, "For=\"[2001:db8::1]:4711\"", "2001:db8::1");
	check_line(PT_FORWARDED_PAIRS, "for=1.2.3.4;proto=http;by=5.6.7.8", "1.2.3.4");
	check_line(PT_FORWARDED_PAIRS, "by=5.6.7.8; FOR=1.2.3.4", "1.2.3.4");
	check_line(PT_FORWARDED_PAIRS, "for=1.1.1.1, for=\"2.2.2.2:1\";proto=https",
		   "2.2.2.2 1.1.1.1");
	check_line(PT_FORWARDED_PAIRS, "for=_hidden, for=unknown", "? ?");
	check_line(PT_FORWARDED_PAIRS, "proto=https", "?");
	check_line(PT_FORWARDED_PAIRS, "xfor=1.2.3.4", "?");
}

static void text_that_begins_before_the_buffer_is_not_believed(void **state)
{
	char text[600], expected[] = "10.0.0.1 ?";

	(void)state;
	/* cut in the middle of 111.1.1.1: 11.1.1.1 must not come out */
	memset(text, 0, sizeof(text));
	memset(text, 'x', 300);
	snprintf(text + 300, 300, ",111.1.1.1%*s,10.0.0.1", PT_FORWARDED_BYTES - 17, "");
	check_line(PT_FORWARDED_LIST, text, expected);
	/* cut at the comma: what follows it is whole */
	snprintf(text + 300, 300, ",111.1.1.1%*s,10.0.0.1", PT_FORWARDED_BYTES - 19, "");
	check_line(PT_FORWARDED_LIST, text, "10.0.0.1 111.1.1.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_as_the_library_does),
		cmocka_unit_test(brackets_zone_and_port_are_no_part_of_an_address),
		cmocka_unit_test(networks_hold_their_addresses_and_no_others),
		cmocka_unit_test(lists_give_their_addresses_from_the_right),
		cmocka_unit_test(pairs_give_what_stands_behind_for),
		cmocka_unit_test(text_that_begins_before_the_buffer_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
