/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the kernel side and the agent agree on: the only header both include. Every struct here
 * is a map key or value; bpftool prints them by these names. Fixed widths, zeroed padding.
 *
 * Maps outlive the build that made them: an agent takes over and drains what an older one left. So
 * fields and numbers are only ever appended, and what is missing in an older map reads as 0. A
 * change that is more than that raises PULLTAP_ABI_VERSION, and then nothing older is taken over.
 * Keys, pt_count, pt_slot and pt_word can't grow: they are elements of something else.
 */
#ifndef PULLTAP_ABI_H
#define PULLTAP_ABI_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define PULLTAP_ABI_VERSION 2

/*
 * Longest names that are counted. A repository is 255 bytes in the OCI grammar, 512 leaves room
 * for looser registries; a tag is 128; a digest is sha512: and 128 hex digits. Longer ones are
 * counted as filtered_name_too_long.
 */
#define PT_REPOSITORY_MAX 512
#define PT_TAG_MAX 128
#define PT_DIGEST_MAX 135

/*
 * Two sizes of key, because a hash element of a kernel map is as large as its key: the short one
 * makes an element of 256 bytes (the kernel's next allocation class) and holds what registries
 * really serve, the long one holds the limits above. Text is NUL-terminated and NUL-padded.
 */
#define PT_SHORT_REPOSITORY 64
#define PT_SHORT_TAG 32
#define PT_SHORT_DIGEST 72
#define PT_LONG_REPOSITORY 516
#define PT_LONG_TAG 132
#define PT_LONG_DIGEST 136

/* An enum in one byte of a key or value: bpftool prints its name. */
#define PT_BYTE __attribute__((packed))

/* What was done to a manifest. Stored in spool files: append only. */
enum pt_op {
	PT_OP_NONE = 0, /* no such op: keys never hold it */
	PT_OP_GET = 1, /* GET, 200: a pull */
	PT_OP_HEAD = 2, /* HEAD 200 or GET 304: a check */
	PT_OP_PUT = 3, /* PUT, 201 */
	PT_OP_DELETE = 4, /* DELETE, 202 */
	PT_OP_HINTED_GET =
		5, /* GET by digest that follows this peer's HEAD of tag: a pull of tag */
	/*
	 * Never in a key: a window's record of the time that counting was switched off. Registry:
	 * "" is all of them; tag: the source; repository: who; count: milliseconds.
	 */
	PT_OP_OFF = 6,
	/*
	 * No count of its own: a peer pulled an index and then, in the same repository, the
	 * manifest of this digest. Tag: the index's digest.
	 */
	PT_OP_CHILD = 7,
	PT_OP_EXCLUDED = 8, /* a pull or a check that a rule excluded */
	/* The same ones by rule, and all others by client. No repository; tag: the rule's or the
	 * client's name. */
	PT_OP_RULE = 9,
	PT_OP_CLIENT_PULL = 10,
	PT_OP_CLIENT_CHECK = 11,
	PT_OP_CLIENT_HINTED_PULL = 12, /* its HEAD was counted as a check before */
	PT_OP_COUNT,
} PT_BYTE;

struct pt_key {
	__u32 registry; /* index into the registries map */
	enum pt_op op;
	__u8 zero[3];
	char repository[PT_SHORT_REPOSITORY];
	char tag[PT_SHORT_TAG]; /* empty: the request named a digest */
	char digest[PT_SHORT_DIGEST]; /* empty: the reply named none */
};

/*
 * Keys for which the kernel has no memory at that moment are counted in a small map of their own
 * that is allocated beforehand and shared by all CPUs.
 */
#define PT_OVERFLOW_KEYS 4096

struct pt_long_key {
	__u32 registry;
	enum pt_op op;
	__u8 zero[3];
	char repository[PT_LONG_REPOSITORY];
	char tag[PT_LONG_TAG];
	char digest[PT_LONG_DIGEST];
};

/* Eight bytes, because there is one per key and CPU. */
struct pt_count {
	__u32 count;
	__u32 last_ms; /* when the last one was, since the window's start; stops at 49 days */
};

_Static_assert(sizeof(struct pt_key) == 176, "the element must stay within 256 bytes");
_Static_assert(sizeof(struct pt_long_key) == 792, "the element must stay within 1024 bytes");
_Static_assert(sizeof(struct pt_count) == 8, "one word per key and CPU");

/*
 * The conservation ledger: one struct per CPU and window. At every moment
 *   seen = counted + sum(filtered_*) + sum(lost_*)
 * and the *notes* say more about hits that one of those already holds.
 * X(name, kind, help); append only, the order is stored in spool files.
 */
#define PT_LEDGER(X)                                                                               \
	X(seen, SEEN, "probe hits")                                                                \
	X(counted, COUNTED, "replies that made or raised a count")                                 \
	X(filtered_stack_growth, FILTERED, "function starts over on a larger stack")               \
	X(filtered_not_manifest, FILTERED, "path is not a manifest's")                             \
	X(filtered_method, FILTERED, "method is neither GET, HEAD, PUT nor DELETE")                \
	X(filtered_status_1xx, FILTERED, "manifest reply with an informational status")            \
	X(filtered_status_2xx, FILTERED,                                                           \
	  "manifest reply with a 2xx that moves or changes nothing")                               \
	X(filtered_status_206, FILTERED, "part of a manifest")                                     \
	X(filtered_status_3xx, FILTERED, "manifest request redirected")                            \
	X(filtered_status_401, FILTERED, "manifest request without accepted credentials")          \
	X(filtered_status_404, FILTERED, "no such manifest")                                       \
	X(filtered_status_429, FILTERED, "client told to slow down")                               \
	X(filtered_status_4xx, FILTERED, "any other refusal")                                      \
	X(filtered_status_5xx, FILTERED, "registry failed")                                        \
	X(filtered_name_too_long, FILTERED, "repository, tag or path longer than any valid one")   \
	X(filtered_name_nul, FILTERED, "name holds a NUL byte, no registry has such names")        \
	X(filtered_target_off, FILTERED, "target was switched off a moment before")                \
	X(lost_map_full, LOST, "no room for a new key")                                            \
	X(lost_no_memory, LOST, "kernel had no memory for a new key")                              \
	X(lost_busy, LOST, "map bucket was locked by this CPU")                                    \
	X(lost_scratch, LOST, "every scratch buffer of the CPU was taken")                         \
	X(lost_fault, LOST, "registry's memory was not resident")                                  \
	X(lost_layout, LOST, "a canary failed: layout is not the expected one")                    \
	X(lost_internal, LOST, "a map of the agent was missing")                                   \
	X(note_digest_missing, NOTE, "counted, reply named no digest")                             \
	X(note_digest_unread, NOTE, "counted, digest could not be read")                           \
	X(note_digest_malformed, NOTE, "counted, digest header is not a digest")                   \
	X(note_hint_full, NOTE, "HEAD counted, its hint found no room")                            \
	X(note_long_key, NOTE, "counted under a long key")                                         \
	X(note_overflow, NOTE, "counted in the overflow map: no room or no memory for a key")      \
	X(lost_entry, LOST, "no program stood behind the probe: only by a hand at its pins")       \
	X(note_child_unlearned, NOTE, "counted, its relation to an index found no room")           \
	X(filtered_excluded, FILTERED, "pull or check that a rule of --rules excludes")            \
	X(note_name_unmade, NOTE, "its rule's or its client's own count found no room")            \
	X(note_client_unread, NOTE, "User-Agent or forwarded address could not be read")           \
	X(filtered_unanswered, FILTERED, "connection ended before any status was decided")         \
	X(filtered_client_role, FILTERED, "TLS connection in which the target is the client")      \
	X(filtered_not_http, FILTERED, "TLS connection that does not begin with HTTP")             \
	X(lost_h2_unparsed, LOST, "TLS connection in HTTP/2, none of its requests is seen")        \
	X(lost_head_refused, LOST, "reply to a request whose head servers may read differently")   \
	X(lost_pipelined, LOST, "more requests at once on a TLS connection than are followed")     \
	X(lost_out_of_step, LOST, "request and reply of a TLS connection could not be told apart") \
	X(lost_connection_full, LOST, "no room for a TLS connection or for its request")           \
	X(lost_learning, LOST, "layout was still being learned from requests such as this one")

struct pt_ledger {
#define X(name, kind, help) __u64 name;
	PT_LEDGER(X)
#undef X
};

/*
 * Which window is in use and whose it is. One entry, memory mapped by the agent. The slot that is
 * not active is either clean (dirty == 0) or frozen and waiting to be drained.
 */
enum pt_slot_state {
	PT_SLOT_CLEAN = 0, /* or in use */
	PT_SLOT_FROZEN = 1, /* waits to be written */
	PT_SLOT_WRITTEN = 2, /* is on disk, waits to be cleared */
};
struct pt_slot {
	__u8 agent[16]; /* uuid of the stream the sequence belongs to */
	__u64 sequence;
	__u64 start_boot_ns; /* CLOCK_BOOTTIME */
	__u64 end_boot_ns;
	enum pt_slot_state dirty;
	__u32 short_keys; /* keys made so far, raised by the programs */
	__u32 long_keys;
	__u32 overflow_keys;
	__u32 signalled; /* an early swap was asked for */
	__u32 off_mask; /* enum pt_off: who had counting switched off during this window */
	__u64 entry_lost_start; /* what the entry programs had lost when the window began */
	__u64 entry_lost_end; /* and when it ended; all ones while it is in use */
	__u64 before_sequence; /* the stream's window before; 0: nobody knows */
	__u64 before_boot_ns; /* and when it ended */
	__u64 spare[2];
};

/* A time in CLOCK_BOOTTIME nanoseconds; since_ns == 0: none. */
struct pt_span {
	__u64 since_ns;
	__u64 until_ns; /* 0: not over yet, or nobody knows */
};

/* What a source of the kill switch said last, for `pulltap status` and bpftool. */
#define PT_OFF_SOURCES 7
struct pt_word {
	char who[2][64]; /* who said on, and who said off: a user, a file, a row */
	__u64 at_us; /* since when it says so, Unix time */
	__u32 off;
	__u32 zero;
};

struct pt_control {
	__u32 abi_version;
	__u32 active; /* 0 or 1: read once per hit */
	__u64 abi_hash; /* of the BPF object that made these maps */
	__u64 generation; /* number of this set: each load raises it */
	__u64 loaded_boot_ns;
	struct pt_slot slot[2];
	__u32 agent_pid; /* who drains these maps; 0 = nobody */
	__u32 short_keys_signal; /* number of keys at which the programs ask for a swap */
	__u32 long_keys_signal;
	__u32 hint_seconds; /* how long a HEAD is remembered; 0 = not at all */
	struct pt_span off; /* the last time counting was switched off, until it is recorded */
	struct pt_word words[PT_OFF_SOURCES]; /* by the number of the source's bit */
	__u32 attaches; /* how many so far, over all sites */
	__u32 expedited; /* the agent has asked the kernel for expedited grace periods */
	__u32 policy; /* enum pt_policy: read once per hit */
	__u32 zero;
};

/*
 * Which rules hold for a hit and what has to be read for them. One word, so that a changed file
 * holds from one hit to the next: the rules of the other bank are written first.
 */
enum pt_policy {
	PT_POLICY_RULES = 0xff, /* how many rules */
	PT_POLICY_CLIENTS = 0xff00, /* and behind them how many kinds of client */
	PT_POLICY_BANK = 0x10000, /* which half of the map they stand in */
	PT_POLICY_AGENT = 0x20000, /* one of them looks at the User-Agent */
	PT_POLICY_PEER = 0x40000, /* at the client's address */
	PT_POLICY_PROXIES = 0x80000, /* there are trusted proxies */
};

/* A text, or its beginning, its end, or any part of it. */
#define PT_PATTERN_TEXT 72
enum pt_pattern_kind {
	PT_PATTERN_ANY = 0,
	PT_PATTERN_EXACT = 1,
	PT_PATTERN_PREFIX = 2,
	PT_PATTERN_SUFFIX = 3,
	PT_PATTERN_PART = 4,
};
struct pt_pattern {
	char text[PT_PATTERN_TEXT];
	__u8 mask[PT_PATTERN_TEXT]; /* all ones where text is: a comparison without a branch */
	__u32 kind; /* enum pt_pattern_kind */
	__u32 length;
};

/* An IPv6 address as two numbers; IPv4 is ::ffff:a.b.c.d. */
struct pt_address {
	__u64 high, low;
};

/* All conditions have to hold; the first rule that does is taken. */
#define PT_RULES 32
#define PT_CLIENTS 16
#define PT_RULES_BANK (PT_RULES + PT_CLIENTS)
struct pt_rule {
	char name[PT_SHORT_TAG];
	struct pt_pattern agent;
	struct pt_pattern repository;
	struct pt_pattern reference; /* tag or digest, as the request names it */
	struct pt_address network, mask; /* of the client; mask 0: any */
};

/* A trusted proxy's network: the key of a trie, in network order. */
struct pt_proxy {
	__u32 bits;
	__u8 address[16];
};

/* The kill switch: any bit set means off. Its own map, so that bpftool can write it by hand. */
enum pt_off {
	PT_OFF_OPERATOR = 1,
	PT_OFF_FILE = 2,
	PT_OFF_DATABASE = 4,
	PT_OFF_REDIS = 8,
	PT_OFF_SIGNAL = 16,
	PT_OFF_GUARD = 32, /* kept free: the guard switches single targets off, pt_site.off */
	PT_OFF_HAND = 64, /* for people with bpftool; every other bit works as well */
};

/* A registry as the database knows it; several binaries and processes may be one registry. */
#define PT_REGISTRIES 64
struct pt_registry {
	char name[64];
	/* sites come and go with their binaries, these only grow */
	__u64 replies; /* finished ones: hits but those of a function that starts over */
	__u64 counted; /* of these, the ones that made or raised a count, excluded ones too */
};

/* How a probed site's arguments and structs lie. */
enum pt_go_abi { PT_GO_ABI_REGISTER = 1, PT_GO_ABI_STACK = 2 } PT_BYTE;
enum pt_go_map { PT_GO_MAP_BUCKETS = 1, PT_GO_MAP_SWISS = 2, PT_GO_MAP_SWISS_SPLIT = 3 } PT_BYTE;
enum pt_hook {
	PT_GO_HOOK_HTTP1 = 1, /* net/http.(*response).finishRequest */
	PT_GO_HOOK_HTTP2 = 2, /* (*responseWriter).handlerDone, request behind a pointer */
	PT_GO_HOOK_HTTP2_INLINE = 3, /* the same from Go 1.27 on, request inside the struct */
	PT_NGINX_HOOK_REQUEST = 4, /* ngx_http_free_request */
	/*
	 * OpenSSL, see struct pt_tls_layout. Attached in the order of FREE, WRITE, READ_DONE, READ,
	 * so that no request is seen whose reply is not.
	 */
	PT_HOOK_TLS_READ = 5, /* a call begins: SSL *, buffer, room, size_t *amount */
	PT_HOOK_TLS_READ_DONE = 6, /* the call of that thread ends, with its result in eax */
	PT_HOOK_TLS_WRITE = 7, /* a call begins: SSL *, buffer, length */
	PT_HOOK_TLS_FREE = 8, /* SSL_free(SSL *) */
	PT_APACHE_HOOK_LOG = 9, /* ap_run_log_transaction */
} PT_BYTE;

/*
 * Where things lie in nginx's structs, in bytes, all multiples of 8; what lies beside them is
 * fixed, see nginx_layout.h. They count from ngx_http_request_t, sent and addr_text from
 * ngx_connection_t.
 */
struct pt_nginx_layout {
	__u16 headers_out;
	__u16 status;
	__u16 method;
	__u16 size; /* of what is read of a request, from its start; 0: to be learned */
	__u16 sent;
	__u16 addr_text; /* 0: not known, then there are no hints */
	__u16 headers_in; /* 0: not known, then nothing that the client says of itself is */
	__u16 content_type; /* of the reply; 0: not known, then no index is known */
};

/* How READ_DONE knows how much was read. */
enum pt_tls_amount {
	PT_TLS_AMOUNT_RESULT = 1, /* eax is the amount, or 0 or less: SSL_read's own end */
	PT_TLS_AMOUNT_POINTER = 2, /* eax > 0, and rcx of the call's beginning points to it */
} PT_BYTE;

/*
 * Of all hooks in OpenSSL. A library is many programs' file: hits in one that runs another
 * executable than this are nobody's.
 */
struct pt_tls_layout {
	__u64 exe_inode; /* i_ino of what the process runs */
	__u64 exe_device; /* its s_dev, PT_KERNEL_DEVICE(); 0: any, for overlays */
	__u16 rwstate; /* where SSL_want() looks, in bytes from SSL * */
	enum pt_tls_amount amount;
	__u8 narrow; /* a length is an int: the upper half of its register says nothing */
	__u8 zero[4];
};

/* A device's number as the kernel keeps it; stat()'s is another. */
#define PT_KERNEL_DEVICE(major, minor) ((__u64)(major) << 20 | (minor))

/* Of a site, by its hook; Go's and apache's need none. */
union pt_layout {
	struct pt_nginx_layout nginx;
	struct pt_tls_layout tls;
	__u64 words[4];
};

/* Why a single target is off: bits of pt_site.off. */
enum pt_site_off {
	PT_SITE_OFF_LAYOUT = 1, /* canaries failed; set by the programs */
	PT_SITE_OFF_GUARD = 2, /* its probes cost more than their budget */
	PT_SITE_OFF_FLAG = 4, /* the database's flag of this registry */
	PT_SITE_OFF_LATE = 8, /* in off_was only: a process ran before its first probe */
	PT_SITE_OFF_ELSEWHERE = 16, /* its pulls are counted at another place: no gap */
};

/* One probed instruction. The probe's cookie is its index and, from bit 32 on, its attach. */
#define PT_SITES 256
struct pt_site {
	__u32 registry;
	enum pt_go_abi go_abi;
	enum pt_go_map go_map;
	enum pt_hook hook;
	__u8 off; /* enum pt_site_off */
	__u64 hits; /* every one that is in the books */
	__u64 layout_failures;
	char symbol[104];
	__u64 device;
	__u64 inode;
	__u64 file_offset;
	__u64 build; /* hash of the build id: an inode may get other bytes */
	struct pt_span off_span; /* the last time it was off */
	__u32 off_was; /* and why: what off held then */
	__u32 attach; /* which attach counts: one that is being removed may fire on */
	__u64 timed_hits; /* some measure what they take, bpf/record.h */
	__u64 timed_ns;
	union pt_layout layout;
	__u64 calls; /* by the target, of a function of OpenSSL's: few are hits in the books */
};

/*
 * What the probes are attached to, and the slots behind it: bpf/entry.bpf.c. Numbers are stored in
 * pinned links, so they never change their meaning.
 */
enum pt_entry {
	PT_ENTRY_HTTP1 = 0,
	PT_ENTRY_HTTP2 = 1,
	PT_ENTRY_NGINX = 2,
	PT_ENTRY_TLS_READ = 3,
	PT_ENTRY_TLS_READ_DONE = 4,
	PT_ENTRY_TLS_WRITE = 5,
	PT_ENTRY_TLS_FREE = 6,
	PT_ENTRY_APACHE = 7,
	PT_ENTRY_COUNT,
};
#define PT_ENTRIES 16 /* room for those to come: the map outlives this build */

/* Rare wake-ups of the agent, through a ring buffer. */
enum pt_event_type {
	PT_EVENT_EXEC = 1, /* value = pid */
	PT_EVENT_SWAP = 2, /* value = window slot that fills up */
	PT_EVENT_SAMPLE = 3, /* value = site; a struct pt_sample begins with it */
};
struct pt_event {
	__u32 type;
	__u32 value;
};

/* A request as it lay in memory, of a site whose layout is to be learned. */
#define PT_SAMPLE_WORDS 192
struct pt_sample {
	struct pt_event event;
	__u64 address;
	__u64 words[PT_SAMPLE_WORDS];
};

/* A HEAD that a GET may follow. */
struct pt_hint_key {
	__u32 registry;
	__u32 zero;
	char peer[48]; /* the address as text, no port */
	__u64 repository_hash;
	char digest[PT_SHORT_DIGEST];
};
struct pt_hint {
	__u64 boot_ns;
	char tag[PT_LONG_TAG];
	__u32 zero;
};

/* A TLS connection; with a number from 1 on, one of its requests that has no reply yet. */
struct pt_tls_key {
	__u64 ssl;
	__u32 tgid;
	__u32 number;
};

#endif
