/* SPDX-License-Identifier: MIT */
/* Settings from flags, environment and file: who wins, what is refused, what is shown. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/options.h"
#include "cli/options_table.h"

static char *folder;
static char config[300];
static char output[16384]; /* of the last parse, standard output */
static char message[16384]; /* the same, standard error */

static int make_folder(void **state)
{
	(void)state;
	folder = test_make_folder();
	snprintf(config, sizeof(config), "%s/pulltap.conf", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	test_remove_folder(folder);
	for (unsigned int i = 0; i < OPTION_ROWS; i++) {
		char variable[OPTION_ENVIRONMENT_MAX];

		option_environment(&option_table[i], variable);
		unsetenv(variable);
	}
	return 0;
}

static void write_config(const char *text)
{
	FILE *file = fopen(config, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(config, 0600), 0);
	setenv("PULLTAP_CONFIG", config, 1);
}

static void redirect(int fd, const char *name, int *ret_saved)
{
	char path[300];
	int file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(file >= 0);
	*ret_saved = dup(fd);
	dup2(file, fd);
	close(file);
}

static void restore(int fd, int saved, char *text, size_t size)
{
	ssize_t n;

	n = pread(fd, text, size - 1, 0);
	dup2(saved, fd);
	close(saved);
	assert_true(n >= 0);
	text[n] = 0;
}

/* Parses "run --x --y"; words are cut at spaces. A file of the machine is never read. */
static int parse(struct options *ret, enum options_command command, const char *line,
		 const char **positional, unsigned int positional_max)
{
	static char words[1024];
	char *argv[64], *save = NULL;
	int argc = 0, saved_out, saved_err, err;

	setenv("PULLTAP_CONFIG", "/dev/null", 0);
	snprintf(words, sizeof(words), "%s", line);
	for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	argv[argc] = NULL;
	fflush(stdout);
	redirect(STDOUT_FILENO, "stdout", &saved_out);
	redirect(STDERR_FILENO, "stderr", &saved_err);
	err = options_parse(ret, command, "[THING]\nDoes things.", argc, argv, positional,
			    positional_max);
	fflush(stdout);
	restore(STDOUT_FILENO, saved_out, output, sizeof(output));
	restore(STDERR_FILENO, saved_err, message, sizeof(message));
	return err;
}

static int parse_run(struct options *ret, const char *line)
{
	return parse(ret, OPTIONS_RUN, line, NULL, 0);
}

static void assert_message(const char *part)
{
	if (!strstr(message, part))
		fail_msg("\"%s\" is not in: %s", part, message);
}

static void nothing_given_gives_the_defaults(void **state)
{
	struct options options = {0};

	(void)state;
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_null(options.database);
	assert_string_equal(options.state_dir, "/var/lib/pulltap");
	assert_string_equal(options.bpffs, "/sys/fs/bpf/pulltap");
	assert_string_equal(options.log_level, "info");
	assert_null(options.registry);
	assert_null(options.node);
	assert_int_equal(options.targets.count, 0);
	assert_int_equal(options.window_s, 10);
	assert_int_equal(options.max_keys, 65536);
	assert_int_equal(options.hint_s, 300);
	assert_true(options.discover);
	assert_false(options.json);
	assert_string_equal(message, "");
	options_free(&options);
}

static void flag_wins_over_environment_over_file_over_default(void **state)
{
	struct options options = {0};

	(void)state;
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_int_equal(options.window_s, 10);
	options_free(&options);
	write_config("window = 20\n");
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_int_equal(options.window_s, 20);
	assert_string_equal(options.config, config);
	options_free(&options);
	setenv("PULLTAP_WINDOW", "30", 1);
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_int_equal(options.window_s, 30);
	options_free(&options);
	assert_int_equal(parse_run(&options, "run --window=40 --window=50"), 0);
	assert_int_equal(options.window_s, 50);
	options_free(&options);
	setenv("PULLTAP_WINDOW", "", 1);
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_int_equal(options.window_s, 20);
	options_free(&options);
}

static void targets_are_taken_from_one_place_as_a_whole(void **state)
{
	struct options options = {0};

	(void)state;
	write_config("target = a=1\n target=b=/usr/bin/reg istry \n");
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_int_equal(options.targets.count, 2);
	assert_string_equal(options.targets.items[0], "a=1");
	assert_string_equal(options.targets.items[1], "b=/usr/bin/reg istry");
	options_free(&options);
	setenv("PULLTAP_TARGET", "c=3,d=4,e=5", 1);
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_int_equal(options.targets.count, 3);
	assert_string_equal(options.targets.items[2], "e=5");
	options_free(&options);
	assert_int_equal(parse_run(&options, "run --target=f=6 --target g=x=y"), 0);
	assert_int_equal(options.targets.count, 2);
	assert_string_equal(options.targets.items[1], "g=x=y");
	options_free(&options);
}

static void flags_can_be_taken_back(void **state)
{
	struct options options = {0};

	(void)state;
	write_config("no-discover = yes\n");
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_false(options.discover);
	options_free(&options);
	assert_int_equal(parse_run(&options, "run --no-discover=no"), 0);
	assert_true(options.discover);
	options_free(&options);
	assert_int_equal(parse_run(&options, "run --no-discover"), 0);
	assert_false(options.discover);
	options_free(&options);
}

static void limits_are_accepted_and_what_lies_beyond_is_refused(void **state)
{
	static const struct {
		const char *good[4];
		const char *bad[8];
	} cases[] = {
		{{"--window=1", "--window=3600"},
		 {"--window=0", "--window=3601", "--window=-1", "--window=1s", "--window=0x10",
		  "--window=", "--window=99999999999999999999", "--window=+5"}},
		{{"--max-keys=1024", "--max-keys=1048576"},
		 {"--max-keys=1023", "--max-keys=1048577"}},
		{{"--hint-time=0", "--hint-time=86400"}, {"--hint-time=86401"}},
		{{"--log-level=error", "--log-level=debug"}, {"--log-level=trace", "--log-level="}},
		{{"--no-discover=true"}, {"--no-discover=maybe", "--no-discover="}},
		{{"--registry=r.example:5000"},
		 {"--registry=", "--registry=\x01", "--registry=\xc3"}},
		{{"--target=a=b"}, {"--target=a", "--target==b", "--target=a=", "--target="}},
		{{"--reconcile=a=/var/log/x", "--reconcile=a=http://h:5001/metrics?x=a@b",
		  "--reconcile=a=https://h"},
		 {"--reconcile=a", "--reconcile==/x", "--reconcile=a=", "--reconcile=a=log",
		  "--reconcile=a=http://", "--reconcile=a=http:///x",
		  "--reconcile=a=http://user:pw@h/", "--reconcile=a=ftp://h/"}},
		{{"--state-dir=x"}, {"--state-dir="}},
		{{"--database=dbname=x"}, {"--database="}},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct options options = {0};
		char line[256];

		for (unsigned int n = 0; n < 4 && cases[i].good[n]; n++) {
			snprintf(line, sizeof(line), "run %s", cases[i].good[n]);
			assert_int_equal(parse_run(&options, line), 0);
			options_free(&options);
		}
		for (unsigned int n = 0; n < 8 && cases[i].bad[n]; n++) {
			snprintf(line, sizeof(line), "run %s", cases[i].bad[n]);
			assert_int_equal(parse_run(&options, line), -EINVAL);
			assert_message("pulltap run: ");
			assert_message(" must be ");
			assert_null(options.text);
		}
	}
}

static void name_of_64_bytes_is_refused_and_of_63_accepted(void **state)
{
	struct options options = {0};
	char line[128] = "run --node=";

	(void)state;
	memset(line + 11, 'n', 63);
	assert_int_equal(parse_run(&options, line), 0);
	assert_int_equal(strlen(options.node), 63);
	options_free(&options);
	line[11 + 63] = 'n';
	assert_int_equal(parse_run(&options, line), -EINVAL);
}

static void messages_name_the_setting_its_source_and_the_range(void **state)
{
	struct options options = {0};

	(void)state;
	assert_int_equal(parse_run(&options, "run --window=0"), -EINVAL);
	assert_string_equal(message, "pulltap run: window = \"0\" (flag --window) must be a number "
				     "of seconds from 1 to 3600\n");
	setenv("PULLTAP_MAX_KEYS", "few", 1);
	assert_int_equal(parse_run(&options, "run"), -EINVAL);
	assert_message("max-keys = \"few\" (environment PULLTAP_MAX_KEYS) must be a number from "
		       "1024 to 1048576");
	unsetenv("PULLTAP_MAX_KEYS");
	write_config("# a comment\n\nlog-level = loud\n");
	assert_int_equal(parse_run(&options, "run"), -EINVAL);
	assert_message("pulltap.conf:3) must be error, warn, info or debug");
}

static void unusable_file_is_refused_with_the_line(void **state)
{
	static const struct {
		const char *text;
		const char *expected;
	} cases[] = {
		{"window = 5\nwindwo = 5\n", "pulltap.conf:2: unknown setting \"windwo\""},
		{"config = /x\n", "pulltap.conf:1: unknown setting \"config\""},
		{"window = 5\n\nwindow = 6\n", "pulltap.conf:3: window is set more than 1 time"},
		{"[agent]\n", "pulltap.conf:1: no \"name = value\""},
		{"window\n", "pulltap.conf:1: no \"name = value\""},
		{" = 5", "pulltap.conf:1: no \"name = value\""},
		{"window =\n", "pulltap.conf:1) must be"},
		{"x\x1b[2J = 1\n", "unknown setting \"x\\x1b[2J\""},
	};
	struct options options = {0};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_config(cases[i].text);
		assert_int_equal(parse_run(&options, "run"), -EINVAL);
		assert_message(cases[i].expected);
	}
	setenv("PULLTAP_CONFIG", "/nonexistent/x", 1);
	assert_int_equal(parse_run(&options, "run"), -EINVAL);
	assert_message("cannot read config file /nonexistent/x: No such file or directory");
}

static void long_connection_string_with_any_character_is_read_whole(void **state)
{
	struct options options = {0};
	char value[2000], text[2100];

	(void)state;
	memset(value, 'x', sizeof(value));
	snprintf(value, sizeof(value), "host=h password='a ;b # c = d' sslrootcert=");
	value[strlen(value)] = '/';
	value[sizeof(value) - 1] = 0;
	snprintf(text, sizeof(text), "\t database\t=  %s \r\nwindow=7", value);
	write_config(text);
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_string_equal(options.database, value);
	assert_int_equal(options.window_s, 7);
	options_free(&options);
}

/* A bad window must not keep the kill switch from working. */
static void setting_of_other_commands_is_ignored_outside_of_the_flags(void **state)
{
	struct options options = {0};

	(void)state;
	setenv("PULLTAP_WINDOW", "broken", 1);
	write_config("max-keys = broken\n");
	assert_int_equal(parse(&options, OPTIONS_SWITCH, "off", NULL, 0), 0);
	options_free(&options);
	assert_int_equal(parse(&options, OPTIONS_SWITCH, "off --window=5", NULL, 0), -EINVAL);
	assert_message("pulltap off: unrecognized option '--window=5'");
}

static void percent_takes_two_decimals(void **state)
{
	static const struct {
		const char *line;
		unsigned int hundredths;
	} good[] = {{"run", 100},
		    {"run --guard-budget=0", 0},
		    {"run --guard-budget=0.05", 5},
		    {"run --guard-budget=12.5", 1250},
		    {"run --guard-budget=100.00", 10000}};
	static const char *const bad[] = {"run --guard-budget=",      "run --guard-budget=100.01",
					  "run --guard-budget=1.234", "run --guard-budget=1.",
					  "run --guard-budget=.5",    "run --guard-budget=-1",
					  "run --guard-budget=1000",  "run --guard-budget=1%",
					  "run --guard-budget=1,5",   "run --guard-budget=0x1"};
	struct options options = {0};

	(void)state;
	for (unsigned int i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(parse_run(&options, good[i].line), 0);
		assert_int_equal(options.guard_budget, good[i].hundredths);
		options_free(&options);
	}
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse_run(&options, bad[i]), -EINVAL);
		assert_message("from 0 to 100 with at most two decimals");
	}
}

static void output_json_is_asked_for_by_name(void **state)
{
	struct options options = {0};

	(void)state;
	assert_int_equal(parse(&options, OPTIONS_STATUS, "status --output json", NULL, 0), 0);
	assert_true(options.json);
	options_free(&options);
	assert_int_equal(parse(&options, OPTIONS_STATUS, "status --output=xml", NULL, 0), -EINVAL);
	assert_message("must be text or json");
}

static void arguments_are_handed_over_up_to_their_number(void **state)
{
	const char *positional[3] = {"x", "x", "x"};
	struct options options = {0};

	(void)state;
	assert_int_equal(parse(&options, OPTIONS_LS, "ls a --output=json b", positional, 2), 0);
	assert_string_equal(positional[0], "a");
	assert_string_equal(positional[1], "b");
	assert_null(positional[2]);
	options_free(&options);
	assert_int_equal(parse(&options, OPTIONS_LS, "ls a", positional, 2), 0);
	assert_null(positional[1]);
	options_free(&options);
	assert_int_equal(parse(&options, OPTIONS_LS, "ls a b c", positional, 2), -EINVAL);
	assert_message("unexpected argument: c");
	assert_int_equal(parse(&options, OPTIONS_LS, "ls a", NULL, 0), -EINVAL);
}

static void help_lists_what_applies_and_nothing_else(void **state)
{
	struct options options = {0};

	(void)state;
	assert_int_equal(parse(&options, OPTIONS_LS, "ls --help", NULL, 0), 1);
	assert_non_null(strstr(output, "Usage: pulltap ls [OPTION...] [THING]"));
	assert_non_null(strstr(output, "Does things."));
	assert_non_null(strstr(output, "--output=FORMAT"));
	assert_non_null(strstr(output, "--print-config"));
	assert_null(strstr(output, "--window"));
	assert_string_equal(message, "");
	assert_int_equal(parse_run(&options, "run --help"), 1);
	assert_non_null(strstr(output, "--window"));
	assert_null(strstr(output, "--output"));
	assert_int_equal(parse_run(&options, "run --version"), 1);
	assert_string_equal(output, "pulltap " PULLTAP_VERSION "\n");
}

static void printed_config_names_sources_and_hides_passwords(void **state)
{
	struct options options = {0};

	(void)state;
	write_config("database = host=h password=secret\nnode = n1\n");
	setenv("PULLTAP_HINT_TIME", "0", 1);
	assert_int_equal(parse_run(&options, "run --window=5 --print-config"), 1);
	assert_null(strstr(output, "secret"));
	assert_non_null(strstr(output, ":1\ndatabase = host=h password=****\n"));
	assert_non_null(strstr(output, ":2\nnode = n1\n"));
	assert_non_null(strstr(output, "# environment PULLTAP_HINT_TIME\nhint-time = 0\n"));
	assert_non_null(strstr(output, "# flag --window\nwindow = 5\n"));
	assert_non_null(strstr(output, "# default\nmax-keys = 65536\n"));
	assert_non_null(strstr(output, "# registry is not set"));
	assert_int_equal(parse_run(&options, "run --window=0 --print-config"), -EINVAL);
}

static void password_is_taken_from_where_only_its_owner_reads(void **state)
{
	struct options options = {0};

	(void)state;
	assert_int_equal(parse_run(&options, "run --database=password=secret"), -EINVAL);
	assert_message(
		"pulltap run: database (flag --database) holds a password that every process "
		"list shows");
	assert_int_equal(parse_run(&options, "run --database=postgresql://u:secret@h/d"), -EINVAL);
	assert_null(strstr(message, "secret"));
	assert_int_equal(parse_run(&options, "run --database=postgresql://u@h/d"), 0);
	options_free(&options);
	setenv("PULLTAP_DATABASE", "password=secret", 1);
	assert_int_equal(parse_run(&options, "run"), 0);
	options_free(&options);
	unsetenv("PULLTAP_DATABASE");
	write_config("database = password=secret\n");
	assert_int_equal(chmod(config, 0640), 0);
	assert_int_equal(parse_run(&options, "run"), 0);
	options_free(&options);
	assert_int_equal(chmod(config, 0604), 0);
	assert_int_equal(parse_run(&options, "run"), -EINVAL);
	assert_non_null(strstr(message, ":1) holds a password in a file that others may read"));
	assert_null(strstr(message, "secret"));
	/* an open file without one is as good as any */
	write_config("database = passfile=/etc/pulltap/pgpass\n");
	assert_int_equal(chmod(config, 0644), 0);
	assert_int_equal(parse_run(&options, "run"), 0);
	options_free(&options);
}

static void at_sign_that_may_be_the_passwords_is_refused(void **state)
{
	static const char *const unclear[] = {"postgresql://u:se@cret@h/d",
					      "postgresql://u:se/cret@h/d",
					      "postgresql://h/d?password=se@cret"};
	struct options options = {0};

	(void)state;
	for (unsigned int i = 0; i < sizeof(unclear) / sizeof(unclear[0]); i++) {
		setenv("PULLTAP_DATABASE", unclear[i], 1);
		assert_int_equal(parse_run(&options, "run"), -EINVAL);
		assert_non_null(strstr(message, "write @ as %40"));
		assert_null(strstr(message, "cret"));
	}
	setenv("PULLTAP_DATABASE", "postgresql://u:se%40cret@h/d", 1);
	assert_int_equal(parse_run(&options, "run"), 0);
	options_free(&options);
}

static void printed_config_reads_back_as_the_same_settings(void **state)
{
	struct options options = {0};
	char text[sizeof(output)];

	(void)state;
	assert_int_equal(parse_run(&options, "run --window=5 --no-discover --target=a=1 "
					     "--target=b=2 --print-config"),
			 1);
	memcpy(text, output, sizeof(text));
	write_config(text);
	assert_int_equal(parse_run(&options, "run"), 0);
	assert_int_equal(options.window_s, 5);
	assert_false(options.discover);
	assert_int_equal(options.targets.count, 2);
	assert_string_equal(options.targets.items[1], "b=2");
	options_free(&options);
}

static void too_many_targets_are_refused_from_each_source(void **state)
{
	struct options options = {0};
	char line[1024] = "", file[1024] = "", flags[1024] = "run";

	(void)state;
	for (unsigned int i = 0; i <= OPTIONS_LIST; i++) {
		strcat(line, "a=1,");
		strcat(file, "target = a=1\n");
		strcat(flags, " --target=a=1");
	}
	assert_int_equal(parse_run(&options, flags), -EINVAL);
	assert_message("--target is given more than 32 times");
	write_config(file);
	assert_int_equal(parse_run(&options, "run"), -EINVAL);
	assert_message(":33: target is set more than 32 time");
	setenv("PULLTAP_CONFIG", "/dev/null", 1);
	setenv("PULLTAP_TARGET", line, 1);
	assert_int_equal(parse_run(&options, "run"), -EINVAL);
	assert_message("environment PULLTAP_TARGET");
}

static void table_is_sorted_and_complete(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < OPTION_ROWS; i++) {
		const struct option_row *row = &option_table[i];

		assert_true(i == 0 || strcmp(row[-1].name, row->name) < 0);
		assert_ptr_equal(option_find(row->name), row);
		assert_true(row->commands && row->help && (row->value || row->unset));
		assert_true((row->kind == OPTION_FLAG) == !row->argument);
	}
	assert_null(option_find("nothing"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_given_gives_the_defaults),
		TEST(flag_wins_over_environment_over_file_over_default),
		TEST(targets_are_taken_from_one_place_as_a_whole),
		TEST(flags_can_be_taken_back),
		TEST(limits_are_accepted_and_what_lies_beyond_is_refused),
		TEST(name_of_64_bytes_is_refused_and_of_63_accepted),
		TEST(messages_name_the_setting_its_source_and_the_range),
		TEST(unusable_file_is_refused_with_the_line),
		TEST(long_connection_string_with_any_character_is_read_whole),
		TEST(setting_of_other_commands_is_ignored_outside_of_the_flags),
		TEST(percent_takes_two_decimals),
		TEST(output_json_is_asked_for_by_name),
		TEST(arguments_are_handed_over_up_to_their_number),
		TEST(help_lists_what_applies_and_nothing_else),
		TEST(printed_config_names_sources_and_hides_passwords),
		TEST(password_is_taken_from_where_only_its_owner_reads),
		TEST(at_sign_that_may_be_the_passwords_is_refused),
		TEST(printed_config_reads_back_as_the_same_settings),
		TEST(too_many_targets_are_refused_from_each_source),
		TEST(table_is_sorted_and_complete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
