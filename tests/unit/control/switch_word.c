/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>

#include "control/switch_word.h"

static int parse(const char *text, bool *ret_off)
{
	return switch_word_parse(text, strlen(text), ret_off);
}

static void every_word_for_off_and_on_is_understood(void **state)
{
	static const char *const offs[] = {"off", "OFF",    "0",	 "false",
					   "no",  " off\n", "\tOff \r\n"};
	static const char *const ons[] = {"on", "On", "1", "true", "YES", "on\n"};
	bool off;

	(void)state;
	for (unsigned int i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
		off = false;
		assert_int_equal(parse(offs[i], &off), 0);
		assert_true(off);
	}
	for (unsigned int i = 0; i < sizeof(ons) / sizeof(ons[0]); i++) {
		off = true;
		assert_int_equal(parse(ons[i], &off), 0);
		assert_false(off);
	}
}

static void anything_else_is_refused_and_says_nothing(void **state)
{
	static const char *const texts[] = {"",	  " \n", "of",	 "offf",	 "off on", "2",
					    "00", "-1",	 "null", "pulltap: off", "\xff"};
	bool off = true;

	(void)state;
	for (unsigned int i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(parse(texts[i], &off), -EINVAL);
	assert_int_equal(switch_word_parse("on\0", 3, &off), -EINVAL);
	assert_true(off);
}

static void text_without_an_end_is_read_to_its_size(void **state)
{
	const char text[] = {'o', 'f', 'f', 'x'};
	bool off = false;

	(void)state;
	assert_int_equal(switch_word_parse(text, 3, &off), 0);
	assert_true(off);
}

static void assert_place(const char *url, const char *host, unsigned int port,
			 unsigned int database, const char *key, const char *password)
{
	struct switch_redis redis;

	assert_int_equal(switch_redis_parse(url, &redis), 0);
	assert_string_equal(redis.host, host);
	assert_string_equal(redis.socket, "");
	assert_int_equal(redis.port, port);
	assert_int_equal(redis.database, database);
	assert_string_equal(redis.key, key);
	assert_string_equal(redis.password, password);
}

static void redis_url_names_server_database_key_and_password(void **state)
{
	(void)state;
	assert_place("redis://db.example", "db.example", 6379, 0, "pulltap:switch", "");
	assert_place("redis://db.example/", "db.example", 6379, 0, "pulltap:switch", "");
	assert_place("redis://10.0.0.1:7000/12?key=ours", "10.0.0.1", 7000, 12, "ours", "");
	assert_place("redis://[::1]:7000/3", "::1", 7000, 3, "pulltap:switch", "");
	assert_place("redis://[::1]", "::1", 6379, 0, "pulltap:switch", "");
	assert_place("redis://:s%3ac%40t@db:1?key=a%26b", "db", 1, 0, "a&b", "s:c@t");
	assert_place("redis://:a@b@db", "db", 6379, 0, "pulltap:switch", "a@b");
}

static void redis_socket_is_a_path(void **state)
{
	struct switch_redis redis;

	(void)state;
	assert_int_equal(switch_redis_parse("unix:///run/redis/redis.sock?db=4&key=k", &redis), 0);
	assert_string_equal(redis.socket, "/run/redis/redis.sock");
	assert_string_equal(redis.host, "");
	assert_int_equal(redis.database, 4);
	assert_string_equal(redis.key, "k");
	assert_int_equal(switch_redis_parse("unix://me:secret@/r.sock", &redis), 0);
	assert_string_equal(redis.socket, "/r.sock");
	assert_string_equal(redis.user, "me");
	assert_string_equal(redis.password, "secret");
}

static void redis_url_that_is_none_is_refused(void **state)
{
	static const char *const urls[] = {"",
					   "db.example",
					   "http://db",
					   "redis://",
					   "redis:///1",
					   "redis://db:0",
					   "redis://db:65536",
					   "redis://db:x",
					   "redis://db:",
					   "redis://db/x",
					   "redis://db/65536",
					   "redis://db/1/2",
					   "redis://db?key=",
					   "redis://db?keys=a",
					   "redis://db?db=",
					   "redis://me@db",
					   "redis://:p%4@db",
					   "redis://:p%00x@db",
					   "redis://:p%zz@db",
					   "redis://[::1",
					   "redis://[::1]x",
					   "unix://run/r.sock",
					   "unix://",
					   "rediss://db",
					   "redis://db?key=a%00b"};
	char longer[600] = "redis://";
	struct switch_redis redis;

	(void)state;
	for (unsigned int i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
		if (!switch_redis_parse(urls[i], &redis))
			fail_msg("%s was taken", urls[i]);
	memset(longer + strlen(longer), 'h', 400);
	assert_int_equal(switch_redis_parse(longer, &redis), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_for_off_and_on_is_understood),
		cmocka_unit_test(anything_else_is_refused_and_says_nothing),
		cmocka_unit_test(text_without_an_end_is_read_to_its_size),
		cmocka_unit_test(redis_url_names_server_database_key_and_password),
		cmocka_unit_test(redis_socket_is_a_path),
		cmocka_unit_test(redis_url_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
