/* SPDX-License-Identifier: MIT */
/* The --target grammar, and which processes a target takes. */
#include "discover/target.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct target parse(const char *text)
{
	struct target target = {0};
	char message[128] = "";

	if (target_parse(text, &target, message, sizeof(message)))
		fail_msg("%s: %s", text, message);
	return target;
}

static void assert_invalid(const char *text, const char *part)
{
	struct target target = {.name = "untouched"};
	char message[128] = "";

	assert_int_equal(target_parse(text, &target, message, sizeof(message)), -EINVAL);
	if (!strstr(message, part))
		fail_msg("'%s' does not say '%s' about %s", message, part, text);
	assert_string_equal(target.name, "untouched");
}

static struct process process(pid_t pid, const char *exe, const char *id)
{
	struct process p = {.pid = pid};

	snprintf(p.exe, sizeof(p.exe), "%s", exe);
	snprintf(p.container_id, sizeof(p.container_id), "%s", id);
	return p;
}

static bool matches(const char *text, const struct process *p)
{
	struct target target = parse(text);

	return target_matches(&target, p);
}

static void digits_are_a_pid(void **state)
{
	struct target t = parse("hub.example.com:5000/eu=4194304");

	(void)state;
	assert_string_equal(t.name, "hub.example.com:5000/eu");
	assert_int_equal(t.kind, TARGET_PID);
	assert_int_equal(t.pid, 4194304);
	assert_int_equal(parse("a=007").pid, 7);
}

static void slash_makes_a_path(void **state)
{
	struct target t = parse("a=/opt/my registry=2");

	(void)state;
	assert_int_equal(t.kind, TARGET_PATH);
	assert_string_equal(t.value, "/opt/my registry=2");
}

static void word_is_a_name_or_container(void **state)
{
	(void)state;
	assert_int_equal(parse("a=registry").kind, TARGET_WORD);
	assert_false(parse("a=registry").container);
	assert_false(parse("a=abcde").container); /* too short */
	assert_true(parse("a=abcdef").container);
	assert_false(parse("a=ABCDEF").container); /* ids are lower case */
	assert_true(parse("a=" ID).container);
	assert_false(parse("a=" ID "0").container);
}

static void way_is_what_stands_before_the_first_colon(void **state)
{
	static const struct {
		const char *text;
		enum way way;
		enum target_kind kind;
		const char *value;
	} cases[] = {
		{"a=openssl:/usr/sbin/haproxy", WAY_OPENSSL, TARGET_PATH, "/usr/sbin/haproxy"},
		{"a=nginx:/opt/a:b/nginx", WAY_NGINX, TARGET_PATH, "/opt/a:b/nginx"},
		{"a=go:registry", WAY_GO, TARGET_WORD, "registry"},
		{"a=apache:0123abcdef", WAY_APACHE, TARGET_WORD, "0123abcdef"},
		{"a=openssl:42", WAY_OPENSSL, TARGET_PID, "42"},
		/* a registry's name may look like one */
		{"openssl:go=registry", WAY_ANY, TARGET_WORD, "registry"},
		/* without a way, colons are the path's own */
		{"a=/opt/openssl:/x", WAY_ANY, TARGET_PATH, "/opt/openssl:/x"},
		{"a=/openssl:", WAY_ANY, TARGET_PATH, "/openssl:"},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct target t = parse(cases[i].text);

		assert_int_equal(t.way, cases[i].way);
		assert_int_equal(t.kind, cases[i].kind);
		assert_string_equal(t.value, cases[i].value);
	}
	assert_true(parse("a=apache:0123abcdef").container);
}

static void way_that_is_none_names_those_there_are(void **state)
{
	(void)state;
	assert_invalid("a=opensl:/usr/sbin/haproxy", "'opensl' is no way in: that is go, nginx");
	assert_invalid("a=OpenSSL:/usr/sbin/haproxy", "'OpenSSL' is no way in");
	assert_invalid("a=opensslx:haproxy", "'opensslx'");
	assert_invalid("a=:haproxy", "'' is no way in");
	assert_invalid("a=any:haproxy", "'any' is no way in");
	assert_invalid("a=foo:bar", "is given by its path");
	assert_invalid("a=openssl:", "nothing after ':'");
	assert_invalid("a=openssl:bin/haproxy", "start with '/'");
	assert_invalid("a=openssl:/opt/", "folder");
	assert_invalid("a=openssl:go:/opt/x", "start with '/'");
}

static void name_at_limit_is_taken(void **state)
{
	char text[80];

	(void)state;
	memset(text, 'n', sizeof(text));
	memcpy(text + 63, "=1", 3);
	assert_int_equal(strlen(parse(text).name), 63);
	memset(text, 'n', sizeof(text));
	memcpy(text + 64, "=1", 3);
	assert_invalid(text, "at most 63");
}

static void malformed_target_says_what_is_wrong(void **state)
{
	_cleanup_free_ char *path = malloc(5000);

	(void)state;
	assert_invalid("registry", "no '='");
	assert_invalid("", "no '='");
	assert_invalid("=1", "empty");
	assert_invalid("a b=1", "letters");
	assert_invalid("caf\xc3\xa9=1", "letters");
	assert_invalid("a=", "nothing after '='");
	assert_invalid("a=0", "process id");
	assert_invalid("a=4194305", "process id");
	assert_invalid("a=99999999999999999999999999", "process id");
	assert_invalid("a=bin/registry", "start with '/'");
	assert_invalid("a=/", "folder");
	assert_invalid("a=/opt/", "folder");
	assert_non_null(path);
	memset(path, '/', 5000);
	memcpy(path, "a=", 2);
	memset(path + 4096, 'x', 900);
	path[4999] = 0;
	assert_invalid(path, "at most 4095");
	memset(path, 'x', 300);
	memcpy(path, "a=", 2);
	path[300] = 0;
	assert_invalid(path, "too long");
}

static void message_without_room_is_cut(void **state)
{
	struct target target;
	char message[8] = "";

	(void)state;
	assert_int_equal(target_parse("registry", &target, message, sizeof(message)), -EINVAL);
	assert_int_equal(strlen(message), 7);
}

static void pid_matches_that_process_alone(void **state)
{
	struct process p = process(42, "/bin/registry", "");

	(void)state;
	assert_true(matches("a=42", &p));
	assert_false(matches("a=43", &p));
	assert_false(matches("a=4", &p));
}

static void path_matches_processes_own_view(void **state)
{
	struct process p = process(42, "/bin/registry", ID);

	(void)state;
	assert_true(matches("a=/bin/registry", &p));
	assert_false(matches("a=/bin/registr", &p));
	assert_false(matches("a=/usr/bin/registry", &p));
}

static void base_name_matches_whole_name_only(void **state)
{
	struct process p = process(42, "/usr/bin/docker-registry", "");
	struct process facade = process(42, "/usr/bin/facade", "");

	(void)state;
	assert_true(matches("a=docker-registry", &p));
	assert_false(matches("a=registry", &p));
	assert_false(matches("a=docker", &p));
	assert_true(matches("a=facade", &facade)); /* though it could be a container */
}

static void container_prefix_matches_from_the_start(void **state)
{
	struct process p = process(42, "/bin/registry", ID);
	struct process outside = process(42, "/bin/registry", "");

	(void)state;
	assert_true(matches("a=0123456789ab", &p));
	assert_true(matches("a=" ID, &p));
	assert_false(matches("a=123456789ab", &p));
	assert_false(matches("a=0123456789ac", &p));
	assert_false(matches("a=0123456789ab", &outside));
}

static void path_through_link_matches_by_inode(void **state)
{
	char folder[] = "/tmp/pulltap-target-XXXXXX";
	char file[64], text[80], copy[64];
	struct process p = {.pid = 42};
	struct target target;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(mkdir(strcat(strcpy(file, folder), "/real"), 0700), 0);
	snprintf(file, sizeof(file), "%s/real/registry", folder);
	fd = creat(file, 0700);
	assert_true(fd >= 0);
	assert_int_equal(file_identity_read(fd, &p.file), 0);
	close(fd);
	strcpy(p.exe, file);
	snprintf(text, sizeof(text), "%s/link", folder);
	assert_int_equal(symlink("real/registry", text), 0);

	snprintf(text, sizeof(text), "a=%s/link", folder);
	target = parse(text);
	assert_false(target_matches(&target, &p));
	target_resolve(&target, "");
	assert_true(target_matches(&target, &p));

	/* the same under a root that is mounted somewhere */
	target = parse("a=/link");
	target_resolve(&target, folder);
	assert_true(target_matches(&target, &p));

	/* replaced by another file: the old process is no longer meant by the link */
	snprintf(copy, sizeof(copy), "%s/real/new", folder);
	fd = creat(copy, 0700);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(rename(copy, file), 0);
	target_resolve(&target, folder);
	assert_false(target_matches(&target, &p));
	assert_int_equal(unlink(file), 0);
	target_resolve(&target, folder);
	assert_false(target.file_known);

	snprintf(file, sizeof(file), "%s/link", folder);
	unlink(file);
	snprintf(file, sizeof(file), "%s/real", folder);
	rmdir(file);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits_are_a_pid),
		cmocka_unit_test(slash_makes_a_path),
		cmocka_unit_test(word_is_a_name_or_container),
		cmocka_unit_test(way_is_what_stands_before_the_first_colon),
		cmocka_unit_test(way_that_is_none_names_those_there_are),
		cmocka_unit_test(name_at_limit_is_taken),
		cmocka_unit_test(malformed_target_says_what_is_wrong),
		cmocka_unit_test(message_without_room_is_cut),
		cmocka_unit_test(pid_matches_that_process_alone),
		cmocka_unit_test(path_matches_processes_own_view),
		cmocka_unit_test(base_name_matches_whole_name_only),
		cmocka_unit_test(container_prefix_matches_from_the_start),
		cmocka_unit_test(path_through_link_matches_by_inode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
