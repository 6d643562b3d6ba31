/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The maps, all of them. Two windows exist; pt_control.active selects which one a hit writes to.
 * The outer maps carry the two windows' inner maps, so that replacing a slot makes the kernel wait
 * for every running program: that is what freezes a window (ARCHITECTURE, rule 4). The loader puts
 * them there. All are weak: every way in is an object of its own, and the linker makes one map of
 * those with one name.
 */
#ifndef PULLTAP_MAPS_H
#define PULLTAP_MAPS_H

#include "address.h"
#include "apache_layout.h"
#include "events.h"
#include "forwarded.h"
#include "http1.h"
#include "nginx_layout.h"
#include "path.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pt_control);
} control SEC(".maps") __weak;

/*
 * The kill switch: a bit mask of enum pt_off. Memory mapped by the agent, which so sets a bit
 * without losing another's, and sees what bpftool wrote without a system call.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32);
} off SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PT_SITES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pt_site);
} sites SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PT_REGISTRIES);
	__type(key, __u32);
	__type(value, struct pt_registry);
} registries SEC(".maps") __weak;

/*
 * Counts grow with the keys in use (no preallocation): one element per key and eight bytes per
 * key and CPU. The loader sets max_entries; what it means at 64 CPUs is in docs/how-it-works.md.
 */
struct counts_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pt_key);
	__type(value, struct pt_count);
} counts_0 SEC(".maps") __weak, counts_1 SEC(".maps") __weak;

struct long_counts_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pt_long_key);
	__type(value, struct pt_count);
} long_counts_0 SEC(".maps") __weak, long_counts_1 SEC(".maps") __weak;

struct overflow_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PT_OVERFLOW_KEYS);
	__type(key, struct pt_key);
	__type(value, struct pt_count);
} overflow_0 SEC(".maps") __weak, overflow_1 SEC(".maps") __weak;

struct ledger_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pt_ledger);
} ledger_0 SEC(".maps") __weak, ledger_1 SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct counts_map);
} counts SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct long_counts_map);
} long_counts SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct overflow_map);
} overflows SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct ledger_map);
} ledgers SEC(".maps") __weak;

/*
 * HEADs that a GET may follow. Expired ones are swept by the agent; when the map is full the HEAD
 * is still counted and note_hint_full says so.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pt_hint_key);
	__type(value, struct pt_hint);
} hints SEC(".maps") __weak;

/*
 * The last index that a peer pulled from a repository; keys are those of hints, without a digest.
 * Its children follow at once, so the oldest may make room: a relation is then learned another
 * time.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct pt_hint_key);
	__type(value, struct pt_hint);
} indexes SEC(".maps") __weak;

/* Two banks; control.policy says which one holds. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * PT_RULES_BANK);
	__type(key, __u32);
	__type(value, struct pt_rule);
} rules SEC(".maps") __weak;

/* Networks of trusted proxies. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pt_proxy);
	__type(value, __u32);
} proxies SEC(".maps") __weak;

/*
 * Working memory, too large for the BPF stack. A program may be preempted on its CPU by another
 * thread's, so each CPU has a few and a hit claims one; when all are taken it counts lost_scratch.
 */
#define PT_SCRATCHES 4

/* A walk through the groups of a Go map: bpf/go_header.h. */
struct header_walk {
	__u64 groups; /* address of the current array of groups */
	__u64 next; /* buckets: overflow bucket, or 0 */
	__u64 other; /* buckets: the old array of a map that grows; swiss: the directory */
	__u64 last; /* index of the current array's last group */
	__u64 other_last; /* buckets: the same for the old array; swiss: tables left */
	__u64 index;
	__u32 kind; /* enum pt_go_map */
	__u32 wanted; /* HEADER_DIGEST, HEADER_TYPE */
	__s32 result;
};

/* Who asked, as far as rules need it: bpf/client.h, bpf/rules.h. */
#define PT_AGENT_BYTES 256
struct client {
	char agent[PT_AGENT_BYTES + PT_PATTERN_TEXT]; /* User-Agent */
	__u32 agent_length;
	__u32 agent_cut; /* it is longer than that */
	struct pt_address address; /* all zeroes: not known */
	struct pt_address_parse parse;
	struct pt_forwarded forwarded;
	char line[8 + PT_FORWARDED_BYTES + PT_ADDRESS_STEPS]; /* eight zero bytes before it */
	__u32 found; /* enum forwarded_result */
	/* what the rules at hand are looked through for */
	__u32 slot;
	__u32 match; /* 0, or which: name is set then */
	__u64 text, length; /* of the pattern that is looked for, from scratch's start */
	__u64 at;
	char name[PT_SHORT_TAG];
	__u64 headers[4][2]; /* Go: slices of the request's headers, by enum client_header */
	/* where headers come one by one: the last lines of the one that is believed */
	__u64 lines[PT_FORWARDED_LINES][2];
	__u32 lines_of; /* enum client_header; 0: none yet */
	__u32 lines_count;
	__u32 lines_unread;
};

/* What is taken of an nginx request, here because the BPF stack is small. Two words are {address,
 * length}. */
struct nginx_reply {
	__u64 method[2];
	__u64 uri[2];
	__u64 connection;
	__u64 part[3]; /* of the headers' list */
	__u64 element_bytes;
	__u64 pool;
	__u64 status;
	__u64 type_length; /* of the Content-Type */
	__u32 method_bit;
	__u32 method_as_sent; /* no redirect made a GET of it */
};

struct scratch {
	__u32 busy;
	__u32 path_length;
	char method[8]; /* ends where path begins: both may come with one read */
	char path[PT_PATH_BYTES + PT_PATH_SLOP];
	struct pt_path parts;
	__u32 digest_length;
	union { /* what is being read of the registry's memory */
		union {
			__u64 words[48];
			__u8 bytes[384];
		} go;
		struct {
			__u64 words[NGINX_REQUEST_BYTES / 8];
			struct nginx_reply reply;
		} nginx;
		struct {
			__u64 words[APACHE_WORDS];
		} apache;
		struct {
			struct http1_input in;
			__u64 buffer; /* where the bytes come from */
			struct pt_tls_key key; /* of a request */
			__u32 event; /* enum http1_event */
			char piece[HTTP1_PIECE];
		} tls;
	};
	struct pt_scan scan;
	struct pt_decode decode;
	struct pt_prefix prefix;
	struct header_walk walk;
	char header[24]; /* ends where digest begins: name and value may come with one read */
	char digest[PT_LONG_DIGEST + 8];
	char peer[64];
	struct pt_key key;
	struct pt_long_key long_key;
	struct pt_hint_key hint_key;
	struct pt_hint hint;
	__u64 is_index; /* the reply is an index, as its Content-Type says */
	struct client client;
	struct pt_sample sample;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PT_SCRATCHES);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps") __weak;

/*
 * A TLS connection as its server reads and writes it: bpf/tls_connection.h. No LRU, which would
 * forget one silently: a connection that finds no room is lost_connection_full. Goes with
 * SSL_free(); of processes that died the agent sweeps them.
 */
#define TLS_PIPELINE 32 /* requests without a reply that are remembered */

enum tls_kind {
	TLS_FOLLOWED = 0,
	TLS_LEFT_ALONE, /* HTTP/2, no HTTP, a tunnel, or the target is the client */
	TLS_GIVEN_UP, /* what is a reply and to what is no longer known */
};

struct tls_connection {
	__u64 process_ns; /* when its process was started: process ids are used again */
	__u64 born_ns;
	struct http1 request, reply;
	__u64 write_start, write_length; /* the last write that was looked at */
	__u32 read_attach, write_attach; /* of the probes by which it is followed; 0: none yet */
	__u32 asked, answered; /* numbers of the last request and of the last that has its reply */
	__u16 asks[TLS_PIPELINE]; /* enum pt_method, and from bit 8 on its outcome if known */
	__u8 kind; /* enum tls_kind */
	__u8 refused; /* the last write has to be made again */
	__u8 lost; /* requests are no longer told apart: the counter of their replies */
	char digest[HTTP1_DIGEST_BYTES]; /* of the reply that is being written */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pt_tls_key);
	__type(value, struct tls_connection);
} tls_connections SEC(".maps") __weak;

/* What a new one begins as; the BPF stack has no room for it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tls_connection);
} tls_blank SEC(".maps") __weak;

/*
 * Requests for manifests that have no reply yet, and the beginning of a target whose end was not
 * read yet: what a scratch buffer holds of it, from path_length to parts.
 */
struct tls_request {
	__u32 path_length;
	char method[8];
	char path[PT_PATH_BYTES + PT_PATH_SLOP];
	struct pt_path parts;
};
_Static_assert(sizeof(struct tls_request) ==
		       __builtin_offsetof(struct scratch, parts) + sizeof(struct pt_path) -
			       __builtin_offsetof(struct scratch, path_length),
	       "a request is a part of the scratch buffer");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pt_tls_key);
	__type(value, struct tls_request);
} tls_requests SEC(".maps") __weak;

/* The read that a thread is in. */
struct tls_call {
	__u64 ssl; /* 0: none */
	__u64 buffer;
	__u64 amount; /* where it will be said, see enum pt_tls_amount */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tls_call);
} tls_calls SEC(".maps") __weak;

#endif
