/* SPDX-License-Identifier: MIT */
/*
 * verify OBJECT: what this kernel makes of the programs and of the map operations that a drain
 * needs, as one JSON object. Exits with 1 when something is refused.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bpf/abi.h"

#define LOG_STATISTICS 4 /* BPF_LOG_STATS: not in the headers */
#define LOG_BYTES (1u << 16)
#define LONG_LOG_BYTES (1u << 26)
#define LONG_LOG_TAIL 30000
#define BATCH 512
#define KEYS 3000

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* The number that stands before or behind words in a verifier's log; -1 when they are not there. */
static long number_behind(const char *log, const char *words)
{
	const char *found = strstr(log, words);

	return found ? strtol(found + strlen(words), NULL, 10) : -1;
}

static int load_programs(const char *path)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;
	const char *separator = "";
	int64_t start;
	int rc;

	if (!object) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	bpf_object__for_each_program(program, object)
	{
		char *log = calloc(1, LOG_BYTES); /* until the end: the programs refer to it */

		if (!log || bpf_program__set_log_level(program, LOG_STATISTICS) ||
		    bpf_program__set_log_buf(program, log, LOG_BYTES))
			return -1;
	}
	start = now_us();
	rc = bpf_object__load(object);
	printf("\"load_us\": %lld, \"load_error\": \"%s\",\n\"programs\": [",
	       (long long)(now_us() - start), rc ? strerror(-rc) : "");
	bpf_object__for_each_program(program, object)
	{
		size_t size;
		const char *log = bpf_program__log_buf(program, &size);

		printf("%s\n {\"name\": \"%s\", \"instructions\": %zu, \"processed\": %ld, "
		       "\"verify_us\": %ld}",
		       separator, bpf_program__name(program), bpf_program__insn_cnt(program),
		       number_behind(log, "processed "), number_behind(log, "verification time "));
		separator = ",";
		if (rc)
			fprintf(stderr, "%s: %s\n", bpf_program__name(program), log);
	}
	printf("],\n");
	bpf_object__close(object);
	return rc;
}

/* Once more, for the way to what was refused: its end goes to standard error. */
static void explain(const char *path)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;
	char *log = calloc(1, LONG_LOG_BYTES);
	size_t length;

	if (!object || !log)
		return;
	/* one buffer for all: the program that fails is the last that writes to it */
	bpf_object__for_each_program(program, object)
	{
		bpf_program__set_log_level(program, 1);
		bpf_program__set_log_buf(program, log, LONG_LOG_BYTES);
	}
	bpf_object__load(object);
	length = strnlen(log, LONG_LOG_BYTES);
	fprintf(stderr, "%s\n", length > LONG_LOG_TAIL ? log + length - LONG_LOG_TAIL : log);
	bpf_object__close(object);
	free(log);
}

struct batch {
	struct pt_key keys[BATCH];
	struct pt_count *values; /* one for each CPU that may exist, key after key */
	uint32_t count;
};

/* Reads all of the map; odd keys go, even ones stay with a count of 0. */
static int sweep(int fd, struct batch *batch, int cpus, uint64_t *ret_sum, uint32_t *ret_keys)
{
	struct pt_key odd[BATCH], even[BATCH];
	struct pt_count *zeros = calloc((size_t)BATCH * (size_t)cpus, sizeof(*zeros));
	uint32_t cursor = 0;
	bool started = false, ended = false;

	*ret_sum = 0;
	*ret_keys = 0;
	while (zeros && !ended) {
		uint32_t odds = 0, evens = 0;

		batch->count = BATCH;
		if (bpf_map_lookup_batch(fd, started ? &cursor : NULL, &cursor, batch->keys,
					 batch->values, &batch->count, NULL)) {
			if (errno != ENOENT)
				return -errno;
			ended = true;
		}
		started = true;
		*ret_keys += batch->count;
		for (uint32_t i = 0; i < batch->count * (uint32_t)cpus; i++)
			*ret_sum += batch->values[i].count;
		for (uint32_t i = 0; i < batch->count; i++) {
			if (batch->keys[i].registry & 1)
				odd[odds++] = batch->keys[i];
			else
				even[evens++] = batch->keys[i];
		}
		if (odds && bpf_map_delete_batch(fd, odd, &odds, NULL))
			return -errno;
		if (evens && bpf_map_update_batch(fd, even, zeros, &evens, NULL))
			return -errno;
	}
	free(zeros);
	return 0;
}

/* The operations of user/window/drain.c on a map of the kind that it reads. */
static int try_batches(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_HASH, "verify", sizeof(struct pt_key),
				sizeof(struct pt_count), KEYS * 2, &options);
	int cpus = libbpf_num_possible_cpus(), rc = 0;
	struct batch batch = {.values =
				      calloc((size_t)BATCH * (size_t)cpus, sizeof(*batch.values))};
	uint64_t sum[2];
	uint32_t keys[2];

	if (fd < 0 || !batch.values)
		return -errno;
	for (uint32_t key = 0; key < KEYS; key += batch.count) {
		memset(batch.keys, 0, sizeof(batch.keys));
		batch.count = KEYS - key < BATCH ? KEYS - key : BATCH;
		for (uint32_t i = 0; i < batch.count; i++) {
			batch.keys[i].registry = key + i;
			for (int cpu = 0; cpu < cpus; cpu++)
				batch.values[i * (uint32_t)cpus + (uint32_t)cpu].count = 1;
		}
		if (bpf_map_update_batch(fd, batch.keys, batch.values, &batch.count, NULL))
			return -errno;
	}
	for (int i = 0; !rc && i < 2; i++)
		rc = sweep(fd, &batch, cpus, &sum[i], &keys[i]);
	free(batch.values);
	if (rc)
		return rc;
	if (sum[0] != (uint64_t)KEYS * (uint64_t)cpus || keys[0] != KEYS || sum[1] ||
	    keys[1] != KEYS / 2)
		return -EBADE;
	return 0;
}

int main(int argc, char **argv)
{
	int loaded, batches;

	if (argc != 2) {
		fprintf(stderr, "usage: verify OBJECT\n");
		return 2;
	}
	printf("{");
	loaded = load_programs(argv[1]);
	if (loaded)
		explain(argv[1]);
	batches = try_batches();
	printf("\"batches\": \"%s\"}\n", batches ? strerror(-batches) : "ok");
	return loaded || batches;
}
