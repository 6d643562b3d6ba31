/* SPDX-License-Identifier: MIT */
/*
 * Finished replies by the million: threads call a function of the same shape as Go's finishRequest
 * on structs of the same layout, with the agent's own program attached to it. What is real: the
 * uprobe, the program, the maps, the windows. What is not: the HTTP server. It keeps its own count
 * of what it did, which is the truth that the database is compared with.
 *
 *   load BPFFS REGISTRY THREADS HITS KEYS [RATE]
 *
 * HITS replies in total over KEYS distinct tags, at RATE per second (0: as fast as it goes). Each
 * key is hit at least once if HITS >= KEYS. Prints "repository tag digest count" per key.
 * For measurements BPFFS may be "none" (no probe) or "empty" (an empty program on the same site).
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "attach/kernel.h"
#include "attach/sites.h"
#include "attach/uprobe.h"
#include "bpf/go_layout.h"
#include "tests/tools/probed.h"

struct go_string {
	const char *data;
	uint64_t length;
};

/* The Go objects of one thread. */
struct reply {
	uint64_t response[GO_RESPONSE_BYTES / 8];
	uint64_t request[GO_REQUEST_BYTES / 8];
	uint64_t map[GO_HMAP_BYTES / 8];
	uint64_t bucket[GO_BUCKET_BYTES / 8];
	struct go_string value;
	char line[168]; /* the request line: method and URI are pieces of it */
	char digest[80];
};

struct load {
	uint64_t *counts;
	uint64_t keys, hits, rate;
	unsigned int threads;
};

struct worker {
	pthread_t thread;
	struct load *load;
	unsigned int index;
};

static void key_names(uint64_t key, char repository[64], char tag[32], char digest[80])
{
	snprintf(repository, 64, "load/team-%llu/app-%llu", (unsigned long long)(key % 97),
		 (unsigned long long)(key / 50));
	snprintf(tag, 32, "v%llu", (unsigned long long)key);
	snprintf(digest, 80, "sha256:%016llx%016llx%016llx%016llx",
		 (unsigned long long)key * 0x9e3779b97f4a7c15ull, (unsigned long long)key,
		 ~(unsigned long long)key, (unsigned long long)key * 31);
}

static void reply_init(struct reply *reply)
{
	static const char peer[] = "192.0.2.1:4242";
	static const char name[] = "Docker-Content-Digest";

	memset(reply, 0, sizeof(*reply));
	reply->response[GO_RESPONSE_REQUEST / 8] = (uint64_t)reply->request;
	reply->response[GO_RESPONSE_CW / 8] = (uint64_t)reply->response;
	reply->response[(GO_RESPONSE_CW + GO_CW_HANDLER_HEADER) / 8] = (uint64_t)reply->map;
	reply->response[(GO_RESPONSE_CW + GO_CW_STATUS) / 8] = 200;
	reply->request[GO_REQUEST_METHOD / 8] = (uint64_t)reply->line;
	reply->request[GO_REQUEST_METHOD / 8 + 1] = strlen("GET");
	reply->request[GO_REQUEST_REMOTE_ADDR / 8] = (uint64_t)peer;
	reply->request[GO_REQUEST_REMOTE_ADDR / 8 + 1] = strlen(peer);
	reply->request[GO_REQUEST_URI / 8] = (uint64_t)reply->line + 4;
	reply->map[0] = 1; /* one header, B = 0: one bucket */
	reply->map[GO_HMAP_BUCKETS / 8] = (uint64_t)reply->bucket;
	((uint8_t *)reply->bucket)[0] = 0x80;
	reply->bucket[GO_BUCKET_KEYS / 8] = (uint64_t)name;
	reply->bucket[GO_BUCKET_KEYS / 8 + 1] = strlen(name);
	reply->bucket[GO_BUCKET_VALUES / 8] = (uint64_t)&reply->value;
	reply->bucket[GO_BUCKET_VALUES / 8 + 1] = 1;
	reply->bucket[GO_BUCKET_VALUES / 8 + 2] = 1;
	reply->value.data = reply->digest;
	reply->value.length = 71;
}

static void hit(struct load *load, struct reply *reply, uint64_t key)
{
	static const uint64_t goroutine[3]; /* guard 0: the stack never has to grow */
	char repository[64], tag[32];

	key_names(key, repository, tag, reply->digest);
	reply->request[GO_REQUEST_URI / 8 + 1] =
		(uint64_t)snprintf(reply->line, sizeof(reply->line), "GET /v2/%s/manifests/%s",
				   repository, tag) -
		4;
	probed_call(goroutine, (uint64_t)reply->response, 0);
	__atomic_fetch_add(&load->counts[key], 1, __ATOMIC_RELAXED);
}

static void *work(void *context)
{
	struct worker *worker = context;
	struct load *load = worker->load;
	uint64_t mine = load->hits / load->threads, state = worker->index * 7919 + 1;
	struct reply *reply = calloc(1, sizeof(*reply));
	struct timespec start, now;

	if (!reply)
		abort();
	reply_init(reply);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint64_t i = 0; i < mine; i++) {
		/* each key once, spread over the threads, then at random */
		uint64_t key = i * load->threads + worker->index;

		if (key >= load->keys) {
			state = state * 6364136223846793005ull + 1442695040888963407ull;
			key = (state >> 33) % load->keys;
		}
		hit(load, reply, key);
		if (!load->rate)
			continue;
		for (;;) {
			double due = (double)(i + 1) * load->threads / (double)load->rate, passed;

			clock_gettime(CLOCK_MONOTONIC, &now);
			passed = (double)(now.tv_sec - start.tv_sec) +
				 (double)(now.tv_nsec - start.tv_nsec) / 1e9;
			if (passed >= due)
				break;
			usleep((useconds_t)((due - passed) * 1e6) + 1);
		}
	}
	free(reply);
	return NULL;
}

struct kept {
	struct kernel *kernel;
	const char *registry;
	bool ended;
};

static const struct binary_site site = {
	.hook = PT_GO_HOOK_HTTP1, .go_abi = PT_GO_ABI_REGISTER, .go_map = PT_GO_MAP_BUCKETS};

/* What an agent does for a registry: the probe comes back when counting is switched on again. */
static void *keep_attached(void *context)
{
	struct kept *kept = context;

	while (!__atomic_load_n(&kept->ended, __ATOMIC_RELAXED)) {
		if (!*kept->kernel->off &&
		    probed_attach(kept->kernel, kept->registry, "load", &site) < 0)
			fputs("load: the probe does not come back\n", stderr);
		usleep(10000);
	}
	return NULL;
}

/* The link lives as long as this process. */
static int attach_empty(void)
{
	/* r0 = 0; exit */
	const struct bpf_insn empty[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int program = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "empty", "GPL", empty, 2, NULL);
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (program < 0 || fd < 0)
		return -errno;
	return uprobe_attach(program, fd, probed_file_offset(), 0);
}

int main(int argc, char **argv)
{
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	struct load load = {.rate = argc > 6 ? strtoull(argv[6], NULL, 10) : 0};
	struct kept kept = {.registry = argc > 2 ? argv[2] : ""};
	struct worker *workers;
	pthread_t keeper;
	int rc = 0;

	if (argc < 6) {
		fprintf(stderr, "usage: load BPFFS REGISTRY THREADS HITS KEYS [RATE]\n");
		return 2;
	}
	load.threads = (unsigned int)strtoul(argv[3], NULL, 10);
	load.hits = strtoull(argv[4], NULL, 10);
	load.keys = strtoull(argv[5], NULL, 10);
	load.counts = calloc(load.keys, sizeof(*load.counts));
	workers = calloc(load.threads, sizeof(*workers));
	if (!strcmp(argv[1], "empty")) {
		rc = attach_empty();
	} else if (strcmp(argv[1], "none")) {
		rc = kernel_open(&kernel, argv[1]);
		rc = rc ?: probed_attach(kernel, argv[2], "load", &site);
	}
	if (rc < 0 || !load.counts || !workers) {
		fprintf(stderr, "load: %s\n", strerror(-rc));
		return 1;
	}
	for (unsigned int i = 0; i < load.threads; i++) {
		workers[i] = (struct worker){.load = &load, .index = i};
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	}
	kept.kernel = kernel;
	if (kernel && pthread_create(&keeper, NULL, keep_attached, &kept))
		return 1;
	for (unsigned int i = 0; i < load.threads; i++)
		pthread_join(workers[i].thread, NULL);
	__atomic_store_n(&kept.ended, true, __ATOMIC_RELAXED);
	if (kernel)
		pthread_join(keeper, NULL);
	for (uint64_t key = 0; key < load.keys; key++) {
		char repository[64], tag[32], digest[80];

		key_names(key, repository, tag, digest);
		if (load.counts[key])
			printf("%s %s %s %llu\n", repository, tag, digest,
			       (unsigned long long)load.counts[key]);
	}
	free(load.counts);
	free(workers);
	return 0;
}
