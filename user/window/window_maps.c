/* SPDX-License-Identifier: MIT */
#include "window/window_maps.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "attach/sites.h"
#include "base/cleanup.h"

/* Elements per system call: half a megabyte of keys and values on a node with 64 CPUs. */
#define BATCH 512

int64_t window_unix_us(int64_t offset_ns, uint64_t boot_ns)
{
	return (offset_ns + (int64_t)boot_ns) / 1000;
}

/* A walk over one map of counts, batch by batch. */
struct batches {
	int fd;
	size_t key_size;
	int cpus;
	uint64_t start_boot_ns; /* of the window */
	char *keys;
	struct pt_count *values;
	uint32_t cursor;
	bool started, ended;
};

static void batches_close(struct batches *b)
{
	free(b->keys);
	free(b->values);
}

static int batches_open(struct batches *b, const struct kernel *kernel, unsigned int window,
			enum kernel_window_map map)
{
	*b = (struct batches){
		.fd = kernel->window_fd[window][map],
		.key_size = map == KERNEL_LONG_COUNTS ? sizeof(struct pt_long_key)
						      : sizeof(struct pt_key),
		.cpus = map == KERNEL_OVERFLOW ? 1 : kernel->cpus,
		.start_boot_ns = kernel->control->slot[window].start_boot_ns,
	};
	b->keys = malloc(BATCH * b->key_size);
	b->values = malloc(BATCH * sizeof(*b->values) * (size_t)b->cpus);
	return b->keys && b->values ? 0 : -ENOMEM;
}

/* Fills the next batch; returns its size, 0 at the end. */
static int batches_next(struct batches *b)
{
	uint32_t count = BATCH, next = 0;
	int rc;

	if (b->ended)
		return 0;
	rc = bpf_map_lookup_batch(b->fd, b->started ? &b->cursor : NULL, &next, b->keys, b->values,
				  &count, NULL);
	if (rc && errno != ENOENT)
		return -errno; /* ENOSPC would be 512 keys in one bucket of a hash */
	b->ended = rc != 0;
	b->started = true;
	b->cursor = next;
	return (int)count;
}

static void sum_cpus(const struct batches *b, int index, uint64_t *ret_count, uint32_t *ret_last_ms)
{
	const struct pt_count *values = b->values + (size_t)index * (size_t)b->cpus;

	*ret_count = 0;
	*ret_last_ms = 0;
	for (int cpu = 0; cpu < b->cpus; cpu++) {
		*ret_count += values[cpu].count;
		if (values[cpu].count && values[cpu].last_ms > *ret_last_ms)
			*ret_last_ms = values[cpu].last_ms;
	}
}

static struct window_text text_of(const char *field, size_t size)
{
	return (struct window_text){.data = field, .length = (uint16_t)strnlen(field, size)};
}

/* What a walk needs beside the maps, read once. */
struct walk {
	int64_t offset_ns;
	struct pt_registry registry[PT_REGISTRIES];
};

static void fill_record(const struct batches *b, int index, const struct walk *walk,
			struct window_record *record)
{
	const char *raw = b->keys + (size_t)index * b->key_size;
	uint32_t last_ms, registry;

	sum_cpus(b, index, &record->count, &last_ms);
	record->last_us = window_unix_us(walk->offset_ns, b->start_boot_ns + last_ms * 1000000ull);
	if (b->key_size == sizeof(struct pt_key)) {
		const struct pt_key *key = (const struct pt_key *)raw;

		registry = key->registry;
		record->op = key->op;
		record->repository = text_of(key->repository, sizeof(key->repository));
		record->tag = text_of(key->tag, sizeof(key->tag));
		record->digest = text_of(key->digest, sizeof(key->digest));
	} else {
		const struct pt_long_key *key = (const struct pt_long_key *)raw;

		registry = key->registry;
		record->op = key->op;
		record->repository = text_of(key->repository, sizeof(key->repository));
		record->tag = text_of(key->tag, sizeof(key->tag));
		record->digest = text_of(key->digest, sizeof(key->digest));
	}
	record->registry = text_of(walk->registry[registry % PT_REGISTRIES].name,
				   sizeof(walk->registry[0].name));
}

static int each_of_map(const struct kernel *kernel, unsigned int window, enum kernel_window_map map,
		       const struct walk *walk, int (*each)(const struct window_record *, void *),
		       void *context)
{
	_cleanup_(batches_close) struct batches b;
	int rc = batches_open(&b, kernel, window, map), count;

	while (!rc && (count = batches_next(&b)) != 0) {
		if (count < 0)
			return count;
		for (int i = 0; !rc && i < count; i++) {
			struct window_record record;

			fill_record(&b, i, walk, &record);
			rc = record.count ? each(&record, context) : 0;
		}
	}
	return rc;
}

int window_maps_each(const struct kernel *kernel, unsigned int window, int64_t offset_ns,
		     int (*each)(const struct window_record *record, void *context), void *context)
{
	_cleanup_free_ struct walk *walk = calloc(1, sizeof(*walk));
	int rc;

	if (!walk)
		return -ENOMEM;
	walk->offset_ns = offset_ns;
	for (uint32_t i = 0; i < PT_REGISTRIES; i++)
		sites_registry(kernel, i, &walk->registry[i]);
	rc = each_of_map(kernel, window, KERNEL_COUNTS, walk, each, context);
	rc = rc ?: each_of_map(kernel, window, KERNEL_OVERFLOW, walk, each, context);
	return rc ?: each_of_map(kernel, window, KERNEL_LONG_COUNTS, walk, each, context);
}

/*
 * Clears one batch. A key that was hit is kept with a count of 0, for it will be hit again, and
 * making a key costs the registry ten times what raising one does: the kernel allocates memory on
 * every CPU for it. A key that was not hit since the last time goes. Returns how many were kept.
 */
static int clear_batch(struct batches *b, int count, const struct pt_count *zeros, bool keep)
{
	_cleanup_free_ char *unused = malloc((size_t)count * b->key_size);
	uint32_t kept = 0, dropped = 0;

	if (!unused)
		return -ENOMEM;
	for (int i = 0; i < count; i++) {
		const char *key = b->keys + (size_t)i * b->key_size;
		uint64_t hits;
		uint32_t last_ms;

		sum_cpus(b, i, &hits, &last_ms);
		if (hits && keep)
			memmove(b->keys + kept++ * b->key_size, key, b->key_size);
		else
			memcpy(unused + dropped++ * b->key_size, key, b->key_size);
	}
	if (dropped && bpf_map_delete_batch(b->fd, unused, &dropped, NULL))
		return -errno;
	if (kept && bpf_map_update_batch(b->fd, b->keys, zeros, &kept, NULL))
		return -errno;
	return (int)kept;
}

/* Clears one map of a frozen window; *ret_kept keys stay in it. */
static int clear_map(const struct kernel *kernel, unsigned int window, enum kernel_window_map map,
		     bool keep, uint32_t *ret_kept)
{
	_cleanup_(batches_close) struct batches b;
	_cleanup_free_ struct pt_count *zeros =
		calloc(BATCH * (size_t)kernel->cpus, sizeof(*zeros));
	int rc = batches_open(&b, kernel, window, map), count;

	*ret_kept = 0;
	if (!zeros)
		return -ENOMEM;
	while (!rc && (count = batches_next(&b)) != 0) {
		if (count < 0)
			return count;
		rc = clear_batch(&b, count, zeros, keep);
		if (rc < 0)
			return rc;
		*ret_kept += (uint32_t)rc;
		rc = 0;
	}
	return rc;
}

int window_maps_clear(struct kernel *kernel, unsigned int window)
{
	_cleanup_free_ struct pt_ledger *zeros = calloc((size_t)kernel->cpus, sizeof(*zeros));
	const struct pt_control *control = kernel->control;
	struct pt_slot *slot = &kernel->control->slot[window];
	uint32_t zero = 0, short_kept, long_kept, none;
	int rc;

	if (!zeros)
		return -ENOMEM;
	/* kept keys must leave room for new ones: half of what asks for an early swap */
	rc = clear_map(kernel, window, KERNEL_COUNTS,
		       slot->short_keys < control->short_keys_signal / 2, &short_kept);
	rc = rc
		     ?: clear_map(kernel, window, KERNEL_LONG_COUNTS,
				  slot->long_keys < control->long_keys_signal / 2, &long_kept);
	rc = rc ?: clear_map(kernel, window, KERNEL_OVERFLOW, false, &none);
	if (rc)
		return rc;
	if (bpf_map_update_elem(kernel->window_fd[window][KERNEL_LEDGER], &zero, zeros, BPF_ANY))
		return -errno;
	slot->short_keys = short_kept;
	slot->long_keys = long_kept;
	slot->overflow_keys = 0;
	slot->signalled = 0;
	__atomic_store_n(&slot->dirty, PT_SLOT_CLEAN, __ATOMIC_SEQ_CST);
	return 0;
}
