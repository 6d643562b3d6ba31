/* SPDX-License-Identifier: MIT */
/* nginx's layouts: images made by hand, whole and spoiled, and the installed nginx. */
#include "discover/binary.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "nginx_image.h"
#include "test.h"

#include "inspect.h"

#define HOOK "ngx_http_free_request"

static struct nginx_image usual(void)
{
	return (struct nginx_image){
		.headers_in = 104, .headers_out = 520, .status = 632, .method = 944};
}

static struct binary inspect(struct nginx_image image)
{
	static struct nginx_image built; /* 32 KiB */
	struct binary binary;

	built = image;
	nginx_image_build(&built);
	assert_int_equal(inspect_bytes(built.bytes, sizeof(built.bytes), &binary), 0);
	assert_string_equal(binary.registry_kind, "");
	return binary;
}

static void assert_layout(const struct binary *binary, unsigned int headers_out,
			  unsigned int status, unsigned int method)
{
	const struct binary_site *site = &binary->sites[0];

	assert_string_equal(binary->refusal, "");
	assert_int_equal(binary->sites_count, 1);
	assert_string_equal(site->symbol, HOOK);
	assert_int_equal(site->hook, PT_NGINX_HOOK_REQUEST);
	assert_int_equal(site->layout.nginx.headers_out, headers_out);
	assert_int_equal(site->layout.nginx.status, status);
	assert_int_equal(site->layout.nginx.method, method);
	assert_int_equal(site->layout.nginx.size, method + 112);
	assert_int_equal(site->layout.nginx.sent, 72);
}

static void assert_refused(struct nginx_image image, const char *reason)
{
	struct binary binary = inspect(image);
	char expected[256];

	snprintf(expected, sizeof(expected), HOOK ": %s", reason);
	assert_string_equal(binary.refusal, expected);
	assert_int_equal(binary.sites_count, 0);
}

/* Nothing in the file tells the layout: requests have to. */
static void assert_learns(struct nginx_image image, const char *reason)
{
	struct binary binary = inspect(image);
	char expected[256];

	snprintf(expected, sizeof(expected), HOOK ": %s: learned from requests", reason);
	assert_string_equal(binary.refusal, expected);
	assert_int_equal(binary.sites_count, 1);
	assert_int_equal(binary.sites[0].layout.nginx.size, 0);
	assert_int_equal(binary.sites[0].file_offset, NGINX_IMAGE_HOOK + 4);
}

static void tables_give_the_layout(void **state)
{
	struct nginx_image image = usual();
	struct binary binary;

	(void)state;
	for (int relocated = 0; relocated < 2; relocated++) {
		image.relocated = relocated;
		binary = inspect(image);
		assert_layout(&binary, 520, 632, 944);
		assert_int_equal(binary.sites[0].layout.nginx.addr_text, 120);
		assert_int_equal(binary.sites[0].file_offset, NGINX_IMAGE_HOOK + 4);
		assert_string_equal(binary.version, "nginx/1.22.1");
	}
}

static void before_trailers_the_status_is_nearer(void **state)
{
	struct nginx_image image = usual();
	struct binary binary;

	(void)state;
	image.status = image.headers_out + 56;
	binary = inspect(image);
	assert_layout(&binary, 520, 576, 944);
	image.status = image.headers_out + 64;
	assert_learns(image, "its response headers have an unknown order");
}

static void an_unread_address_means_no_peer(void **state)
{
	struct nginx_image image = usual();
	struct binary binary;

	(void)state;
	image.no_peer = true;
	binary = inspect(image);
	assert_layout(&binary, 520, 632, 944);
	assert_int_equal(binary.sites[0].layout.nginx.addr_text, 0);
}

static void two_variables_tell_where_the_clients_headers_lie(void **state)
{
	struct nginx_image image = usual();
	struct binary binary = inspect(image);

	(void)state;
	assert_int_equal(binary.sites[0].layout.nginx.headers_in, 104);
	image.used_host = 104 + 64; /* they don't agree */
	binary = inspect(image);
	assert_layout(&binary, 520, 632, 944);
	assert_int_equal(binary.sites[0].layout.nginx.headers_in, 0);
	image = usual();
	image.headers_in = 472; /* reaches into the reply's */
	binary = inspect(image);
	assert_int_equal(binary.sites[0].layout.nginx.headers_in, 0);
	image.headers_in = 8; /* where the connection is */
	binary = inspect(image);
	assert_int_equal(binary.sites[0].layout.nginx.headers_in, 0);
}

static void the_content_type_lies_beside_cache_control_in_either_order(void **state)
{
	struct nginx_image image = usual();
	struct binary binary = inspect(image);

	(void)state;
	assert_int_equal(binary.sites[0].layout.nginx.content_type, 632 + 160);
	image.etag_before = true;
	binary = inspect(image);
	assert_int_equal(binary.sites[0].layout.nginx.content_type, 632 + 240);
	image.no_type = true;
	binary = inspect(image);
	assert_layout(&binary, 520, 632, 944);
	assert_int_equal(binary.sites[0].layout.nginx.content_type, 0);
}

static void without_tables_a_known_layout_that_the_code_uses_is_taken(void **state)
{
	static const struct {
		uint16_t headers_out, method;
	} known[] = {{536, 976}, {472, 848}, {488, 872}};

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct nginx_image image = {.headers_out = known[i].headers_out,
					    .status = known[i].headers_out + 112,
					    .method = known[i].method,
					    .request_uri = "request_urx"};
		struct binary binary = inspect(image);

		assert_layout(&binary, known[i].headers_out, known[i].headers_out + 112,
			      known[i].method);
	}
}

static void an_unknown_layout_is_to_be_learned(void **state)
{
	struct nginx_image image = usual();

	(void)state;
	image.request_uri = "request_urx";
	assert_learns(image, "its tables were not found, and its code uses no known layout");
}

static void tables_that_the_code_does_not_use_are_not_believed(void **state)
{
	static const char reason[] = "its code does not use what its tables say";
	struct nginx_image image = usual();

	(void)state;
	image.used_status = 640;
	assert_learns(image, reason);
	image = usual();
	image.used_line = 968;
	assert_learns(image, reason);
	image = usual();
	image.used_version = 968;
	assert_learns(image, reason);
}

static void offsets_beyond_any_nginx_are_not_believed(void **state)
{
	struct nginx_image image = usual();

	(void)state;
	image.method = 1440;
	assert_learns(image, "its tables name impossible offsets");
	image = usual();
	image.method = 580; /* before the status */
	assert_learns(image, "its tables name impossible offsets");
	image = usual();
	image.method = 945;
	assert_learns(image, "its tables name impossible offsets");
	image = usual();
	image.method = 2000;
	assert_learns(image, "its table of variables has an unknown order");
}

static void code_that_asks_no_connection_is_refused(void **state)
{
	struct nginx_image image = usual();

	(void)state;
	image.request_uri = "request_urx";
	image.no_sent = true;
	assert_refused(image, "its tables were not found, and its code uses no known layout");
}

static void without_the_exported_function_it_is_named_and_refused(void **state)
{
	struct nginx_image image = usual();

	(void)state;
	image.hook = "ngx_http_free_requesT";
	assert_refused(image, "not exported by this build of nginx");
}

static void what_does_not_call_itself_nginx_is_none(void **state)
{
	static struct nginx_image image;
	struct binary binary;

	(void)state;
	image = usual();
	image.hook = "something_else";
	image.version = "nginx version:";
	nginx_image_build(&image);
	assert_int_equal(inspect_bytes(image.bytes, sizeof(image.bytes), &binary), -ENOENT);
}

static void every_pointer_of_the_tables_that_leads_away_is_refused(void **state)
{
	static struct nginx_image image;
	struct binary binary;

	(void)state;
	image = usual();
	for (uint64_t at = NGINX_IMAGE_VARIABLES; at < NGINX_IMAGE_HEADERS + 3 * 24; at += 8) {
		uint64_t value;

		nginx_image_build(&image);
		memcpy(&value, image.bytes + at, 8);
		if (!value)
			continue;
		nginx_image_put(&image, at, value + 8, 8);
		assert_int_equal(inspect_bytes(image.bytes, sizeof(image.bytes), &binary), 0);
		/* "Date" and the peer are of no consequence; nothing else may give another layout
		 */
		if (binary.sites_count && binary.sites[0].layout.nginx.size)
			assert_layout(&binary, 520, 632, 944);
		else
			assert_true(binary.refusal[0]);
	}
}

static void cut_anywhere_is_refused_or_the_same(void **state)
{
	static struct nginx_image image;
	struct binary binary;

	(void)state;
	image = usual();
	image.relocated = true;
	nginx_image_build(&image);
	for (size_t size = 0; size < sizeof(image.bytes); size += 32) {
		if (!inspect_bytes(image.bytes, size, &binary) && binary.sites_count &&
		    binary.sites[0].layout.nginx.size)
			assert_layout(&binary, 520, 632, 944);
	}
}

/* Debian 12's nginx; compilers were asked for the offsets of its version. */
static void installed_nginx_has_its_layout(void **state)
{
	_cleanup_close_ int fd = open("/usr/sbin/nginx", O_RDONLY | O_CLOEXEC);
	struct binary binary = {0};

	(void)state;
	if (fd < 0)
		test_skip("nginx is not installed");
	assert_int_equal(binary_inspect(fd, &binary), 0);
	if (strncmp(binary.version, "nginx/1.22", 10) != 0)
		test_skip("nginx is not Debian 12's");
	assert_layout(&binary, 536, 648, 976);
	assert_int_equal(binary.sites[0].layout.nginx.addr_text, 120);
	assert_int_equal(binary.sites[0].layout.nginx.headers_in, 104);
	assert_int_equal(binary.sites[0].layout.nginx.content_type, 784);
}

/* The same file with the name of one variable spoiled, and with two. */
static void installed_nginx_spoiled_is_known_or_refused(void **state)
{
	_cleanup_close_ int fd = open("/usr/sbin/nginx", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ uint8_t *bytes = NULL;
	struct binary binary = {0};
	struct stat st = {0};
	uint8_t *at;

	(void)state;
	if (fd < 0 || fstat(fd, &st) || st.st_size <= 0)
		test_skip("nginx is not installed");
	bytes = malloc((size_t)st.st_size);
	assert_non_null(bytes);
	assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
	at = memmem(bytes, (size_t)st.st_size, "query_string", 13);
	assert_non_null(at);
	at[0] = 'Q';
	assert_int_equal(inspect_bytes(bytes, (size_t)st.st_size, &binary), 0);
	assert_string_equal(binary.refusal, HOOK ": its table of variables has an unknown order: "
						 "learned from requests");
	while ((at = memmem(bytes, (size_t)st.st_size, "request_uri", 12)))
		at[0] = 'R';
	assert_int_equal(inspect_bytes(bytes, (size_t)st.st_size, &binary), 0);
	if (!strncmp(binary.version, "nginx/1.22", 10))
		assert_layout(&binary, 536, 648, 976);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_give_the_layout),
		cmocka_unit_test(before_trailers_the_status_is_nearer),
		cmocka_unit_test(an_unread_address_means_no_peer),
		cmocka_unit_test(two_variables_tell_where_the_clients_headers_lie),
		cmocka_unit_test(the_content_type_lies_beside_cache_control_in_either_order),
		cmocka_unit_test(without_tables_a_known_layout_that_the_code_uses_is_taken),
		cmocka_unit_test(an_unknown_layout_is_to_be_learned),
		cmocka_unit_test(tables_that_the_code_does_not_use_are_not_believed),
		cmocka_unit_test(offsets_beyond_any_nginx_are_not_believed),
		cmocka_unit_test(code_that_asks_no_connection_is_refused),
		cmocka_unit_test(without_the_exported_function_it_is_named_and_refused),
		cmocka_unit_test(what_does_not_call_itself_nginx_is_none),
		cmocka_unit_test(every_pointer_of_the_tables_that_leads_away_is_refused),
		cmocka_unit_test(cut_anywhere_is_refused_or_the_same),
		cmocka_unit_test(installed_nginx_has_its_layout),
		cmocka_unit_test(installed_nginx_spoiled_is_known_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
