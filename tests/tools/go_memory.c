/* SPDX-License-Identifier: MIT */
/*
 * One finished reply as Go lays it out in memory, in every layout that the programs know and with
 * every way in which memory can be something else. It attaches the agent's program to a function of
 * its own and calls it, so that no Go of that version is needed and no chance is in it.
 *
 *   go_memory BPFFS REGISTRY LAYOUT MAP GROUPS AT FAULT COUNT
 *
 * LAYOUT  http1, http1-stack, http1-127, http2-119, http2-120, http2-127
 * MAP     buckets, overflow, growing, small, swiss, split: how the header's map is built
 * GROUPS  how many groups of eight slots it has, all full
 * AT      the group that holds Docker-Content-Digest; -1: none does
 * FAULT   none, or what is wrong: see the table below
 * COUNT   how often the function is called
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/go_layout.h"
#include "tests/tools/probed.h"

#define NOWHERE 0x10 /* nothing is mapped there */
#define GROUPS_MAX 1024
#define TABLE_GROUPS 8 /* of one table of a directory */

struct go_string {
	const char *data;
	uint64_t length;
};

struct layout {
	const char *name;
	uint8_t hook, abi;
	unsigned int back; /* HTTP/1: cw; HTTP/2: bw; byte offset in the object */
};

static const struct layout layouts[] = {
	{"http1", PT_GO_HOOK_HTTP1, PT_GO_ABI_REGISTER, GO_RESPONSE_CW},
	{"http1-stack", PT_GO_HOOK_HTTP1, PT_GO_ABI_STACK, GO_RESPONSE_CW},
	{"http1-127", PT_GO_HOOK_HTTP1, PT_GO_ABI_REGISTER, GO_RESPONSE_CW_127},
	{"http2-119", PT_GO_HOOK_HTTP2, PT_GO_ABI_REGISTER, GO_RWS_BW_119},
	{"http2-120", PT_GO_HOOK_HTTP2, PT_GO_ABI_REGISTER, GO_RWS_BW},
	{"http2-127", PT_GO_HOOK_HTTP2_INLINE, PT_GO_ABI_REGISTER, GO_RWS_BW_127},
};

enum map_kind { BUCKETS, OVERFLOW, GROWING, SMALL, SWISS, SPLIT };
static const char *const map_names[] = {"buckets", "overflow", "growing",
					"small",   "swiss",    "split"};

enum fault {
	NONE,
	OBJECT, /* pointers to nowhere */
	REQUEST,
	METHOD,
	URI,
	PEER,
	MAP,
	GROUP,
	SLICE,
	TEXT,
	LAYOUT, /* the pointer that must lead back does not */
	METHOD_EMPTY,
	METHOD_7,
	METHOD_33,
	METHOD_ENDLESS,
	STATUS_0,
	STATUS_99,
	STATUS_1000,
	NO_HEADER,
	NO_VALUES,
	CLEARED, /* RequestURI is empty, URL.Path is not */
	STARTS_OVER, /* the stack check fails */
	INDEX, /* no fault: the reply's Content-Type is an index's */
	CHILD, /* no fault: the request names another manifest by digest */
	HEAD, /* no fault: the method */
};
static const char *const fault_names[] = {
	"none",	    "object",	    "request",	   "method",	"uri",
	"peer",	    "map",	    "group",	   "slice",	"text",
	"layout",   "method-empty", "method-7",	   "method-33", "method-endless",
	"status-0", "status-99",    "status-1000", "no-header", "no-values",
	"cleared",  "starts-over",  "index",	   "child",	"head",
};

static struct {
	uint64_t object[2]; /* HTTP/2: a *responseWriter, first word = state */
	uint64_t state[32]; /* response, or responseWriterState */
	uint64_t request[GO_REQUEST_BYTES / 8];
	uint64_t url[16];
	uint64_t writer[16]; /* bufio.Writer */
	uint64_t map[8];
	uint64_t directory[GROUPS_MAX];
	uint64_t tables[GROUPS_MAX / TABLE_GROUPS + 1][4];
	uint8_t groups[GROUPS_MAX][GO_BUCKET_BYTES];
	uint8_t old_groups[GROUPS_MAX][GO_BUCKET_BYTES];
	struct go_string values[1];
	struct go_string agent, forwarded; /* of the request, whose header is the same map */
	uint64_t goroutine[4];
} memory;

/* Of the same length, and equal but for the end or the case. */
static const char *const other_keys[] = {"Docker-Content-Digesu",
					 "docker-content-digest",
					 "Docker-Content-Diges",
					 "Content-Type",
					 "Xocker-Content-Digest",
					 "Etag",
					 "",
					 "Docker-Content-DigestX"};
/* behind two proxies: the peer, and 198.51.100.7 */
static const char agent_text[] = "docker/27.0 go/1.22";
static const char forwarded_text[] = "203.0.113.9, 198.51.100.7";
static const char key_name[] = "Docker-Content-Digest";
static const char digest[] = "sha256:"
			     "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char wrong[] = "sha256:"
			    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
static struct go_string wrong_value = {wrong, sizeof(wrong) - 1};
static const char index_type[] = "application/vnd.oci.image.index.v1+json";
static struct go_string index_value = {index_type, sizeof(index_type) - 1};

static void put(void *at, unsigned int offset, uint64_t value)
{
	memcpy((char *)at + offset, &value, sizeof(value));
}

static void put_string(void *at, unsigned int offset, const char *text)
{
	put(at, offset, (uint64_t)text);
	put(at, offset + 8, strlen(text));
}

static void fill_slot(uint8_t *group, enum map_kind kind, unsigned int slot, const char *name,
		      const struct go_string *value)
{
	unsigned int key, values;

	if (kind == SMALL || kind == SWISS) {
		key = GO_GROUP_SLOTS + slot * GO_GROUP_SLOT_BYTES;
		values = key + GO_GROUP_SLOT_VALUE;
	} else { /* keys together, then values together */
		key = 8 + slot * GO_STRING_BYTES;
		values = GO_BUCKET_VALUES + slot * GO_SLICE_BYTES;
	}
	put_string(group, key, name);
	put(group, values, (uint64_t)value);
	put(group, values + 8, 1);
	put(group, values + 16, 1);
}

static void fill_group(uint8_t *group, enum map_kind kind, int slot, bool live, enum fault fault)
{
	bool swiss = kind >= SMALL;

	for (unsigned int i = 0; i < 8; i++) {
		/* a slot that was emptied still has its key: only the control byte tells */
		bool dead = i == 2;

		group[i] = dead ? (swiss ? 0xfe : 1) : (swiss ? 0x31 : 0x77);
		fill_slot(group, kind, i, dead ? key_name : other_keys[i],
			  fault == INDEX && !strcmp(other_keys[i], "Content-Type") ? &index_value
										   : &wrong_value);
		if (live && (int)i == slot)
			fill_slot(group, kind, i, key_name, memory.values);
	}
	if (live) {
		/* beside it, and not where the slot is empty */
		fill_slot(group, kind, slot == 6 ? 7 : (unsigned int)slot ^ 4, "User-Agent",
			  &memory.agent);
		fill_slot(group, kind, slot == 1 || slot == 5 ? 3 : 1, "X-Forwarded-For",
			  &memory.forwarded);
	}
}

/* at: in which group the digest is, in the order in which Go keeps them. */
static void make_map(enum map_kind kind, unsigned int groups, int at, enum fault fault)
{
	uint64_t group = fault == GROUP ? NOWHERE : (uint64_t)memory.groups;
	unsigned int b = 0;

	for (unsigned int i = 0; i < groups; i++) {
		uint8_t *place = kind == SWISS || kind == SPLIT
					 ?
					 /* one after the other, 328 bytes each */
					 memory.groups[0] + (size_t)i * GO_GROUP_BYTES
					 : memory.groups[i];

		fill_group(place, kind, (int)i % 8 == 2 ? 3 : (int)i % 8,
			   (int)i == at && kind != GROWING, fault);
		if (kind == OVERFLOW && i + 1 < groups)
			put(place, GO_BUCKET_OVERFLOW, (uint64_t)memory.groups[i + 1]);
	}
	memory.map[0] = fault == NO_HEADER ? 0 : (uint64_t)groups * 7;
	switch (kind) {
	case BUCKETS:
	case OVERFLOW:
	case GROWING:
		while (kind != OVERFLOW && 1u << b < groups)
			b++;
		((uint8_t *)memory.map)[GO_HMAP_B] = (uint8_t)b;
		memory.map[GO_HMAP_BUCKETS / 8] = group;
		if (kind != GROWING)
			break;
		/* an array of half the size from which nothing was moved yet */
		for (unsigned int i = 0; i < groups / 2; i++)
			fill_group(memory.old_groups[i], kind, 5, (int)i == at, fault);
		memory.map[GO_HMAP_OLD_BUCKETS / 8] = (uint64_t)memory.old_groups;
		break;
	case SMALL:
		memory.map[GO_SWISS_DIR_PTR / 8] = group;
		break;
	case SWISS:
	case SPLIT:
		memory.map[GO_SWISS_DIR_PTR / 8] =
			fault == GROUP ? NOWHERE : (uint64_t)memory.directory;
		memory.map[GO_SWISS_DIR_LEN / 8] = (groups + TABLE_GROUPS - 1) / TABLE_GROUPS;
		for (unsigned int i = 0; i * TABLE_GROUPS < groups; i++) {
			unsigned int left = groups - i * TABLE_GROUPS;

			memory.directory[i] = (uint64_t)memory.tables[i];
			put(memory.tables[i], GO_TABLE_GROUPS,
			    (uint64_t)(memory.groups[0] +
				       (size_t)i * TABLE_GROUPS * GO_GROUP_BYTES));
			put(memory.tables[i], GO_TABLE_MASK,
			    (left < TABLE_GROUPS ? left : TABLE_GROUPS) - 1);
		}
		break;
	}
	memory.agent = (struct go_string){agent_text, sizeof(agent_text) - 1};
	memory.forwarded = (struct go_string){forwarded_text, sizeof(forwarded_text) - 1};
	memory.values[0] = (struct go_string){fault == TEXT ? (const char *)NOWHERE : digest,
					      sizeof(digest) - 1};
}

/* Every pointer to the digest's slice goes wrong, after the slots were filled. */
static void spoil_slice(uint8_t *groups, size_t bytes, enum fault fault)
{
	for (size_t at = 0; at + 16 <= bytes; at += 8) {
		uint64_t pointer;

		memcpy(&pointer, groups + at, sizeof(pointer));
		if (pointer != (uint64_t)memory.values)
			continue;
		if (fault == SLICE)
			put(groups, (unsigned int)at, NOWHERE);
		else
			put(groups, (unsigned int)at + 8, 0);
	}
}

static void make_reply(const struct layout *layout, enum fault fault)
{
	/* apart, as in HTTP/2; tests/tools/load.c has them in one line */
	static const char *const paths[] = {"/v2/memory/manifests/v1",
					    "/v2/memory/manifests/v%31?a"};
	const char *path = paths[fault == URI ? 0 : 1], *method = "GET";
	static char child[sizeof("/v2/memory/manifests/") + sizeof(wrong)];
	bool http1 = layout->hook == PT_GO_HOOK_HTTP1,
	     inlined = layout->hook == PT_GO_HOOK_HTTP2_INLINE;
	uint64_t status = 200, uri, method_place, peer;
	void *holder = inlined ? (void *)memory.state : (void *)memory.request;
	unsigned int at = layout->back;

	snprintf(child, sizeof(child), "/v2/memory/manifests/%s", wrong);
	if (fault == CHILD)
		path = child;
	if (fault == STATUS_0 || fault == STATUS_99 || fault == STATUS_1000)
		status = fault == STATUS_0 ? 0 : fault == STATUS_99 ? 99 : 1000;
	memory.object[0] = (uint64_t)memory.state;
	put(memory.state, at, http1 ? (uint64_t)memory.state : (uint64_t)memory.writer);
	if (fault == LAYOUT)
		put(http1 ? memory.state : memory.writer, http1 ? at : GO_BUFIO_WRITER, NOWHERE);
	else
		put(memory.writer, GO_BUFIO_WRITER, (uint64_t)memory.state);
	put(memory.state, at + (http1 ? GO_CW_HANDLER_HEADER : GO_BW_HANDLER_HEADER),
	    fault == MAP ? NOWHERE : (uint64_t)memory.map);
	put(memory.state, at + (http1 ? GO_CW_STATUS : GO_BW_STATUS), status);
	if (!inlined)
		put(memory.state, GO_RWS_REQUEST,
		    fault == REQUEST ? NOWHERE : (uint64_t)memory.request);
	method_place = inlined ? GO_RWS_INLINE_METHOD : GO_REQUEST_METHOD;
	put(holder, inlined ? GO_RWS_INLINE_HEADER : GO_REQUEST_HEADER,
	    fault == MAP ? NOWHERE : (uint64_t)memory.map);
	uri = inlined ? GO_RWS_INLINE_URI : GO_REQUEST_URI;
	peer = inlined ? GO_RWS_INLINE_REMOTE_ADDR : GO_REQUEST_REMOTE_ADDR;
	put_string(holder, (unsigned int)method_place,
		   fault == METHOD_EMPTY ? ""
		   : fault == METHOD_7	 ? "OPTIONS"
		   : fault == METHOD_33	 ? "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG"
		   : fault == HEAD	 ? "HEAD"
					 : method);
	if (fault == METHOD_ENDLESS)
		put(holder, (unsigned int)method_place + 8, 1ull << 32);
	if (fault == METHOD)
		put(holder, (unsigned int)method_place, NOWHERE);
	put_string(holder, (unsigned int)uri, fault == CLEARED ? "" : path);
	if (fault == URI)
		put(holder, (unsigned int)uri, NOWHERE);
	put_string(holder, (unsigned int)peer, "192.0.2.1:4242");
	if (fault == PEER)
		put(holder, (unsigned int)peer, NOWHERE);
	if (fault == CLEARED && !inlined) {
		put(memory.request, GO_REQUEST_URL, (uint64_t)memory.url);
		put_string(memory.url, GO_URL_PATH, "/v2/memory/manifests/v1");
	}
}

static void call_probed(const struct layout *layout, enum fault fault)
{
	uint64_t argument = fault == OBJECT		       ? NOWHERE
			    : layout->hook == PT_GO_HOOK_HTTP1 ? (uint64_t)memory.state
							       : (uint64_t)memory.object;
	uint64_t in_register = layout->abi == PT_GO_ABI_REGISTER ? argument : NOWHERE;
	uint64_t on_stack = layout->abi == PT_GO_ABI_STACK ? argument : NOWHERE;

	memory.goroutine[2] = fault == STARTS_OVER ? ~0ull : 0; /* stackguard0 */
	probed_call(memory.goroutine, in_register, on_stack);
}

static int attach_self(struct kernel *kernel, const char *registry, const struct layout *layout,
		       enum map_kind kind)
{
	const struct binary_site site = {
		.hook = layout->hook,
		.go_abi = layout->abi,
		.go_map = kind <= GROWING ? PT_GO_MAP_BUCKETS
			  : kind == SPLIT ? PT_GO_MAP_SWISS_SPLIT
					  : PT_GO_MAP_SWISS,
	};
	char build_id[64];

	snprintf(build_id, sizeof(build_id), "%s-%d", layout->name, site.go_map);
	return probed_attach(kernel, registry, build_id, &site);
}

static const struct layout *find_layout(const char *name)
{
	for (unsigned int i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		if (!strcmp(name, layouts[i].name))
			return &layouts[i];
	fprintf(stderr, "go_memory: %s?\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	const struct layout *layout;
	enum map_kind kind;
	enum fault fault;
	unsigned int groups, count;
	int rc;

	if (argc != 9) {
		fprintf(stderr,
			"usage: go_memory BPFFS REGISTRY LAYOUT MAP GROUPS AT FAULT COUNT\n");
		return 2;
	}
	layout = find_layout(argv[3]);
	kind = (enum map_kind)probed_find(argv[4], map_names,
					  sizeof(map_names) / sizeof(map_names[0]));
	groups = (unsigned int)strtoul(argv[5], NULL, 10);
	fault = (enum fault)probed_find(argv[7], fault_names,
					sizeof(fault_names) / sizeof(fault_names[0]));
	count = (unsigned int)strtoul(argv[8], NULL, 10);
	if (!groups || groups > GROUPS_MAX)
		return 2;
	make_map(kind, groups, (int)strtol(argv[6], NULL, 10), fault);
	if (fault == SLICE || fault == NO_VALUES) {
		spoil_slice(memory.groups[0], sizeof(memory.groups), fault);
		spoil_slice(memory.old_groups[0], sizeof(memory.old_groups), fault);
	}
	make_reply(layout, fault);
	rc = kernel_open(&kernel, argv[1]);
	rc = rc ?: attach_self(kernel, argv[2], layout, kind);
	if (rc < 0) {
		fprintf(stderr, "go_memory: %s\n", strerror(-rc));
		return 1;
	}
	for (unsigned int i = 0; i < count; i++)
		call_probed(layout, fault);
	return 0;
}
