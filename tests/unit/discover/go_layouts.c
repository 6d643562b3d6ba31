/* SPDX-License-Identifier: MIT */
/* Function tables of every Go version, registries' names, hostile numbers: images made by hand. */
#include "discover/binary.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "go_image.h"
#include "inspect.h"

#define HTTP1 "net/http.(*response).finishRequest"
#define HTTP2 "net/http.(*http2responseWriter).handlerDone"
#define SWISS "internal/runtime/maps.(*Map).growToTable"

static const char *const plain[] = {"go.buildid", "main.main", HTTP1, NULL};

static int inspect(const struct go_image *image, struct binary *ret)
{
	return inspect_bytes(image->bytes, sizeof(image->bytes), ret);
}

static struct binary inspect_names(const char *const *names, const char *version)
{
	static struct go_image image;
	struct binary binary;

	image = (struct go_image){.magic = GO_IMAGE_1_20,
				  .prologue = GO_IMAGE_PROLOGUE,
				  .names = names,
				  .version = version};
	go_image_build(&image);
	assert_int_equal(inspect(&image, &binary), 0);
	return binary;
}

static void assert_one_site(struct go_image *image, uint8_t abi, uint64_t branch)
{
	struct binary binary;

	go_image_build(image);
	assert_int_equal(inspect(image, &binary), 0);
	assert_string_equal(binary.refusal, "");
	assert_int_equal(binary.sites_count, 1);
	assert_int_equal(binary.sites[0].hook, PT_GO_HOOK_HTTP1);
	assert_int_equal(binary.sites[0].go_abi, abi);
	assert_int_equal(binary.sites[0].file_offset,
			 GO_IMAGE_CODE + 2 * GO_IMAGE_FUNCTION + branch);
	assert_string_equal(binary.sites[0].symbol, HTTP1);
}

static void each_layout_gives_the_site(void **state)
{
	static struct go_image image;

	(void)state;
	image = (struct go_image){.names = plain, .prologue = GO_IMAGE_OLD_PROLOGUE};
	image.magic = GO_IMAGE_1_2;
	assert_one_site(&image, PT_GO_ABI_STACK, 13);
	image.magic = GO_IMAGE_1_16;
	assert_one_site(&image, PT_GO_ABI_STACK, 13);
	image.prologue = GO_IMAGE_PROLOGUE;
	assert_one_site(&image, PT_GO_ABI_REGISTER, 4); /* Go 1.17 */
	image.magic = GO_IMAGE_1_18;
	assert_one_site(&image, PT_GO_ABI_REGISTER, 4);
	image.magic = GO_IMAGE_1_20;
	assert_one_site(&image, PT_GO_ABI_REGISTER, 4);
}

static void header_without_text_is_solved_by_moduledata(void **state)
{
	static struct go_image image;

	(void)state;
	image = (struct go_image){
		.magic = GO_IMAGE_1_20,
		.names = plain,
		.prologue = GO_IMAGE_PROLOGUE,
		.zero_text = true,
		.module = true,
	};
	assert_one_site(&image, PT_GO_ABI_REGISTER, 4);
	image.relocated = true;
	assert_one_site(&image, PT_GO_ABI_REGISTER, 4);
}

static void unproven_text_is_refused(void **state)
{
	static struct go_image image;
	struct binary binary;

	(void)state;
	image = (struct go_image){
		.magic = GO_IMAGE_1_20,
		.names = plain,
		.prologue = GO_IMAGE_PROLOGUE,
		.zero_text = true,
	};
	go_image_build(&image);
	assert_int_equal(inspect(&image, &binary), 0);
	assert_int_equal(binary.sites_count, 0);
	assert_non_null(strstr(binary.refusal, "start of its code"));

	/* moduledata whose pcs do not agree with the table, and one with other names */
	image.module = true;
	go_image_build(&image);
	image.bytes[GO_IMAGE_MODULE + 168] ^= 1;
	assert_int_equal(inspect(&image, &binary), 0);
	assert_int_equal(binary.sites_count, 0);
	go_image_build(&image);
	image.bytes[GO_IMAGE_MODULE + 8] ^= 1;
	assert_int_equal(inspect(&image, &binary), 0);
	assert_int_equal(binary.sites_count, 0);
	/* text shifted: the first pc tells */
	go_image_build(&image);
	image.bytes[GO_IMAGE_MODULE + 176] ^= 64;
	assert_int_equal(inspect(&image, &binary), 0);
	assert_int_equal(binary.sites_count, 0);
}

static void every_hook_is_found_with_its_kind(void **state)
{
	static const char *const names[] = {
		HTTP1,
		HTTP2,
		"net/http/internal/http2.(*responseWriter).handlerDone",
		"golang.org/x/net/http2.(*responseWriter).handlerDone",
		"example.org/a/vendor/golang.org/x/net/http2.(*responseWriter).handlerDone",
		/* none of these */
		"net/http.(*response).finishRequest.func1",
		"xnet/http.(*response).finishRequest",
		"example.org/net/http.(*response).finishRequest",
		"notgolang.org/x/net/http2.(*responseWriter).handlerDone",
		"golang.org/x/net/http2.(*responseWriter).handlerDone-fm",
		NULL,
	};
	struct binary b = inspect_names(names, NULL);

	(void)state;
	assert_string_equal(b.refusal, "");
	assert_int_equal(b.sites_count, 5);
	assert_int_equal(b.sites[0].hook, PT_GO_HOOK_HTTP1);
	assert_int_equal(b.sites[1].hook, PT_GO_HOOK_HTTP2);
	assert_int_equal(b.sites[2].hook, PT_GO_HOOK_HTTP2_INLINE);
	assert_int_equal(b.sites[3].hook, PT_GO_HOOK_HTTP2);
	assert_int_equal(b.sites[4].hook, PT_GO_HOOK_HTTP2);
	assert_string_equal(b.sites[4].symbol, names[4]);
}

static void long_symbol_is_shortened_at_the_front(void **state)
{
	static const char *const names[] = {
		"example.org/a-very-long-path/that-goes/on-and-on/and-on/vendor/"
		"golang.org/x/net/http2.(*responseWriter).handlerDone",
		NULL,
	};
	struct binary b = inspect_names(names, NULL);

	(void)state;
	assert_int_equal(b.sites_count, 1);
	assert_int_equal(strlen(b.sites[0].symbol), sizeof(b.sites[0].symbol) - 1);
	assert_memory_equal(b.sites[0].symbol, "...", 3);
	assert_non_null(
		strstr(b.sites[0].symbol, "golang.org/x/net/http2.(*responseWriter).handlerDone"));
}

static void package_names_tell_the_registry(void **state)
{
	static const struct {
		const char *first, *second, *kind;
	} cases[] = {
		{"github.com/docker/distribution/registry/handlers.NewApp", "main.main",
		 "distribution"},
		{"github.com/distribution/distribution/v3/registry/handlers.NewApp", "main.main",
		 "distribution"},
		{"github.com/goharbor/harbor/src/server/registry.(*handler).ServeHTTP",
		 "github.com/docker/distribution/registry/handlers.NewApp", "harbor-core"},
		{"github.com/goharbor/harbor/src/core/api.Init", "main.main", "harbor-core"},
		{"zotregistry.dev/zot/v2/pkg/api.(*Controller).Run", "main.main", "zot"},
		{"zotregistry.io/zot/pkg/api.(*Controller).Run", "main.main", "zot"},
		/* whichever comes first in the file */
		{"github.com/docker/distribution/registry/datastore.NewDB",
		 "github.com/docker/distribution/registry/handlers.NewApp", "gitlab-registry"},
		{"github.com/docker/distribution/registry/handlers.NewApp",
		 "github.com/docker/distribution/registry/datastore/models.F", "gitlab-registry"},
		/* a client library, other projects of the same owners */
		{"github.com/docker/distribution/registry/client.NewRegistry", "main.main", ""},
		{"github.com/docker/distribution/registry/handlersutil.F", "main.main", ""},
		{"github.com/goharbor/harbor/src/jobservice.F", "main.main", ""},
		{"zotregistry.dev/zothero.F", "main.main", ""},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const names[] = {cases[i].first, cases[i].second, HTTP1, NULL};

		assert_string_equal(inspect_names(names, NULL).registry_kind, cases[i].kind);
	}
}

static void map_kind_follows_functions_and_version(void **state)
{
	static const char *const swiss[] = {SWISS, HTTP1, NULL};

	(void)state;
	assert_int_equal(inspect_names(plain, NULL).sites[0].go_map, PT_GO_MAP_BUCKETS);
	assert_int_equal(inspect_names(swiss, NULL).sites[0].go_map, PT_GO_MAP_SWISS);
	assert_int_equal(inspect_names(swiss, "go1.27").sites[0].go_map, PT_GO_MAP_SWISS);
	assert_int_equal(inspect_names(swiss, "go1.27 X:mapsplitgroup").sites[0].go_map,
			 PT_GO_MAP_SWISS_SPLIT);
	assert_int_equal(inspect_names(plain, "go1.23 X:mapsplitgroup").sites[0].go_map,
			 PT_GO_MAP_BUCKETS);
}

static void version_is_cut_and_printable(void **state)
{
	(void)state;
	assert_string_equal(inspect_names(plain, "go1.21.3").version, "go1.21.3");
	assert_string_equal(inspect_names(plain, "").version, "");
	assert_string_equal(inspect_names(plain, "go1\n2").version, "go1");
	assert_int_equal(
		strlen(inspect_names(plain, "devel go1.99-0123456789 Mon Jan  1 00:00:00 2026 +00")
			       .version),
		47);
}

static void hook_without_stack_check_is_named_in_refusal(void **state)
{
	static const char *const both[] = {HTTP2, HTTP1, NULL};
	static struct go_image image;
	struct binary binary;

	(void)state;
	image = (struct go_image){
		.magic = GO_IMAGE_1_20, .names = both, .prologue = GO_IMAGE_PROLOGUE};
	go_image_build(&image);
	memcpy(image.bytes + GO_IMAGE_CODE, "\x55\x48\x89\xe5\x90\x90", 6);
	assert_int_equal(inspect(&image, &binary), 0);
	assert_int_equal(binary.sites_count, 1);
	assert_string_equal(binary.sites[0].symbol, HTTP1);
	assert_string_equal(binary.refusal, HTTP2 ": no stack check at its start");
	/* the second one too: both reasons in one line */
	memcpy(image.bytes + GO_IMAGE_CODE + GO_IMAGE_FUNCTION, "\x49\x3b\x66\x10\x77\x28", 6);
	assert_int_equal(inspect(&image, &binary), 0);
	assert_int_equal(binary.sites_count, 0);
	assert_string_equal(binary.refusal, HTTP2 ": no stack check at its start; " HTTP1
						  ": its stack check has an unknown form");
}

static void function_defined_twice_is_probed_once(void **state)
{
	static const char *const names[] = {HTTP1, HTTP1, NULL};
	struct binary b = inspect_names(names, NULL);

	(void)state;
	assert_int_equal(b.sites_count, 1);
	assert_non_null(strstr(b.refusal, "defined twice"));
}

static void many_vendored_copies_fill_the_list_and_say_so(void **state)
{
	char text[20][80];
	const char *names[21] = {NULL};
	struct binary b;

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(text[i], sizeof(text[i]),
			 "v%d/golang.org/x/net/http2.(*responseWriter).handlerDone", i);
		names[i] = text[i];
	}
	b = inspect_names(names, NULL);
	assert_int_equal(b.sites_count, BINARY_SITES);
	assert_non_null(strstr(b.refusal, "more hooks than 16"));
	assert_true(strlen(b.refusal) < sizeof(b.refusal));
}

static void binary_without_hooks_is_not_of_interest(void **state)
{
	static const char *const names[] = {"main.main", "runtime.main", NULL};
	static struct go_image image;
	struct binary binary;

	(void)state;
	image = (struct go_image){
		.magic = GO_IMAGE_1_20, .names = names, .prologue = GO_IMAGE_PROLOGUE};
	go_image_build(&image);
	assert_int_equal(inspect(&image, &binary), -ENOENT);
	go_image_build(&image);
	image.bytes[GO_IMAGE_TABLE] = 0xee; /* no table */
	assert_int_equal(inspect(&image, &binary), -ENOENT);
}

static void other_file_types_are_enoexec(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t value;
	} cases[] = {{0, 'x'},
		     {EI_CLASS, ELFCLASS32},
		     {EI_DATA, ELFDATA2MSB},
		     {16, ET_REL},
		     {18, EM_386}};
	static struct go_image image;
	struct binary binary;

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		image = (struct go_image){
			.magic = GO_IMAGE_1_20, .names = plain, .prologue = GO_IMAGE_PROLOGUE};
		go_image_build(&image);
		image.bytes[cases[i].at] = cases[i].value;
		assert_int_equal(inspect(&image, &binary), -ENOEXEC);
	}
}

/* Every 8-byte field of headers, tables and moduledata, set to numbers that break sums. */
static void hostile_numbers_never_crash(void **state)
{
	static const uint64_t numbers[] = {0,
					   1,
					   7,
					   0x7fffffff,
					   0xffffffff,
					   0x7fffffffffffffff,
					   UINT64_MAX,
					   UINT64_MAX - 7,
					   GO_IMAGE_BYTES,
					   GO_IMAGE_BASE,
					   1ull << 40};
	static struct go_image image, broken;
	struct binary binary;

	(void)state;
	for (int variant = 0; variant < 4; variant++) {
		image = (struct go_image){
			.magic = variant ? GO_IMAGE_1_20 : GO_IMAGE_1_2,
			.names = plain,
			.prologue = GO_IMAGE_PROLOGUE,
			.zero_text = variant > 1,
			.module = true,
			.relocated = variant == 3,
			.version = "go1.26",
		};
		go_image_build(&image);
		for (uint64_t at = 0; at + 8 <= GO_IMAGE_BYTES; at += 4) {
			uint64_t old = 0;

			memcpy(&old, image.bytes + at, 8);
			if (!old)
				continue;
			for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
				broken = image;
				memcpy(broken.bytes + at, &numbers[i], 8);
				(void)!inspect(&broken, &binary);
				assert_true(binary.sites_count <= BINARY_SITES);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_layout_gives_the_site),
		cmocka_unit_test(header_without_text_is_solved_by_moduledata),
		cmocka_unit_test(unproven_text_is_refused),
		cmocka_unit_test(every_hook_is_found_with_its_kind),
		cmocka_unit_test(long_symbol_is_shortened_at_the_front),
		cmocka_unit_test(package_names_tell_the_registry),
		cmocka_unit_test(map_kind_follows_functions_and_version),
		cmocka_unit_test(version_is_cut_and_printable),
		cmocka_unit_test(hook_without_stack_check_is_named_in_refusal),
		cmocka_unit_test(function_defined_twice_is_probed_once),
		cmocka_unit_test(many_vendored_copies_fill_the_list_and_say_so),
		cmocka_unit_test(binary_without_hooks_is_not_of_interest),
		cmocka_unit_test(other_file_types_are_enoexec),
		cmocka_unit_test(hostile_numbers_never_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
