/* SPDX-License-Identifier: MIT */
#include "discover/binary_kinds.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "discover/build_info.h"
#include "discover/go_pclntab.h"
#include "discover/go_site.h"

/* Where a reply is finished: above TLS and framing, after the handler returned. */
struct hook {
	const char *name;
	uint8_t hook; /* enum pt_hook */
	bool suffix; /* vendored copies carry their owner's path in front */
};

static const struct hook hooks[] = {
	{"net/http.(*response).finishRequest", PT_GO_HOOK_HTTP1, false},
	{"net/http.(*http2responseWriter).handlerDone", PT_GO_HOOK_HTTP2, false},
	{"net/http/internal/http2.(*responseWriter).handlerDone", PT_GO_HOOK_HTTP2_INLINE, false},
	{"golang.org/x/net/http2.(*responseWriter).handlerDone", PT_GO_HOOK_HTTP2, true},
};

/*
 * Packages that make a registry, the most telling first: GitLab's fork kept the module path of
 * docker/distribution and is known by its metadata database, and any registry may link parts of
 * distribution. A package ends at the first '.' or goes on below with '/'.
 */
static const struct {
	const char *package;
	const char *kind;
} kinds[] = {
	{"github.com/docker/distribution/registry/datastore", "gitlab-registry"},
	{"github.com/docker/distribution/registry/internal/migrations", "gitlab-registry"},
	{"github.com/goharbor/harbor/src/server/registry", "harbor-core"},
	{"github.com/goharbor/harbor/src/core", "harbor-core"},
	{"zotregistry.dev/zot", "zot"},
	{"zotregistry.io/zot", "zot"},
	{"github.com/distribution/distribution/v3/registry/handlers", "distribution"},
	{"github.com/docker/distribution/registry/handlers", "distribution"},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const char swiss_map[] = "internal/runtime/maps.(*Map).growToTable";

struct inspection {
	struct go_pclntab table;
	struct binary *binary;
	unsigned int hooks_found;
	unsigned int kind; /* index of the most telling one so far; KINDS: none */
	bool swiss;
};

static const struct hook *find_hook(const struct go_function *function)
{
	for (unsigned int i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
		unsigned int length = (unsigned int)strlen(hooks[i].name);
		unsigned int front = function->length - length;

		if (function->length < length || (front && !hooks[i].suffix))
			continue;
		/* the suffix must be a whole path: not "notgolang.org/x/net/..." */
		if (front && function->name[front - 1] != '/')
			continue;
		if (!memcmp(function->name + front, hooks[i].name, length))
			return &hooks[i];
	}
	return NULL;
}

/* The name as it is printed and stored: the end tells more than the start. */
static void shorten(const struct go_function *function, char *ret, unsigned int size)
{
	unsigned int n = 0;

	if (function->length < size)
		memcpy(ret, function->name, function->length + 1);
	else
		snprintf(ret, size, "...%s", function->name + function->length - (size - 4));
	for (; ret[n]; n++) {
		if (ret[n] < 0x20 || ret[n] > 0x7e)
			ret[n] = '?'; /* a vendored path is the file's own word */
	}
}

static void add_site(struct inspection *in, const struct hook *hook,
		     const struct go_function *function)
{
	struct binary *binary = in->binary;
	struct binary_site site = {.hook = hook->hook};
	uint8_t code[GO_SITE_CODE];
	uint64_t size = function->end - function->entry;
	const char *refusal = NULL;
	struct go_site found = {0};
	uint64_t offset = 0;

	in->hooks_found++;
	shorten(function, site.symbol, sizeof(site.symbol));
	for (unsigned int i = 0; i < binary->sites_count; i++) {
		/* two functions of one name call each other: a reply would count twice */
		if (!strcmp(binary->sites[i].symbol, site.symbol)) {
			binary_refuse(binary, "%s: defined twice", site.symbol);
			return;
		}
	}
	if (binary->sites_count == BINARY_SITES) {
		binary_refuse(binary, "%s: more hooks than %d", site.symbol, BINARY_SITES);
		return;
	}
	if (in->table.text_unknown) {
		binary_refuse(binary,
			      "%s: no known Go version keeps the start of its code like this",
			      site.symbol);
		return;
	}
	if (size > sizeof(code))
		size = sizeof(code);
	if (!elf_image_is_code(in->table.image, function->entry) ||
	    elf_image_offset(in->table.image, function->entry, &offset) ||
	    byte_source_read(in->table.image->source, offset, code, size)) {
		binary_refuse(binary, "%s: its code is not in the file", site.symbol);
		return;
	}
	if (go_site_find(code, size, function->end - function->entry, &found, &refusal)) {
		binary_refuse(binary, "%s: %s", site.symbol, refusal);
		return;
	}
	site.go_abi = found.go_abi;
	site.file_offset = offset + found.offset;
	binary->sites[binary->sites_count++] = site;
}

static void note_kind(struct inspection *in, const struct go_function *function)
{
	/* most functions are neither; the first byte says so */
	if (function->name[0] != 'g' && function->name[0] != 'z')
		return;
	for (unsigned int i = 0; i < in->kind; i++) {
		unsigned int length = (unsigned int)strlen(kinds[i].package);

		if (function->length > length &&
		    !memcmp(function->name, kinds[i].package, length) &&
		    (function->name[length] == '.' || function->name[length] == '/')) {
			in->kind = i;
			return;
		}
	}
}

static int visit_function(void *context, const struct go_function *function)
{
	struct inspection *in = context;
	const struct hook *hook;

	note_kind(in, function);
	if (function->length == sizeof(swiss_map) - 1 &&
	    !memcmp(function->name, swiss_map, sizeof(swiss_map) - 1))
		in->swiss = true;
	/* a name that was cut can't be compared at its end */
	if (function->length == GO_FUNCTION_NAME - 1)
		return 0;
	hook = find_hook(function);
	if (hook)
		add_site(in, hook, function);
	return 0;
}

int go_binary_inspect(const struct elf_image *image, struct binary *ret)
{
	struct inspection in = {.binary = ret, .kind = KINDS};
	char version[256];
	uint8_t map;
	int err;

	err = go_pclntab_find(image, &in.table);
	if (!err)
		err = go_pclntab_each(&in.table, visit_function, &in);
	if (err)
		return err;
	if (!in.hooks_found)
		return -ENOENT;
	build_info_go_version(image, version, sizeof(version));
	snprintf(ret->version, sizeof(ret->version), "%.*s", (int)sizeof(ret->version) - 1,
		 version);
	map = PT_GO_MAP_BUCKETS;
	if (in.swiss)
		map = strstr(version, "X:mapsplitgroup") ? PT_GO_MAP_SWISS_SPLIT : PT_GO_MAP_SWISS;
	for (unsigned int i = 0; i < ret->sites_count; i++)
		ret->sites[i].go_map = map;
	if (in.kind < KINDS)
		snprintf(ret->registry_kind, sizeof(ret->registry_kind), "%s", kinds[in.kind].kind);
	return 0;
}
