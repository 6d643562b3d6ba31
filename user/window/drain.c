/* SPDX-License-Identifier: MIT */
#include "window/drain.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "attach/off.h"
#include "attach/sites.h"
#include "base/log.h"
#include "window/off_time.h"

/* Elements per system call: half a megabyte of keys and values on a node with 64 CPUs. */
#define BATCH 512

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/*
 * What the clock is ahead of boot time. A window is dated by what it is when the window is written,
 * all of it by one: a clock that is set moves whole windows and never puts a pull into the future.
 * The clock is read first, so that a delay between the two dates into the past.
 */
static int64_t clock_offset_ns(void)
{
	int64_t now = clock_ns(CLOCK_REALTIME);

	return now - clock_ns(CLOCK_BOOTTIME);
}

static int64_t to_unix_us(int64_t offset_ns, uint64_t boot_ns)
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
	record->last_us = to_unix_us(walk->offset_ns, b->start_boot_ns + last_ms * 1000000ull);
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

static int each_key(const struct kernel *kernel, unsigned int window, int64_t offset_ns,
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

int drain_each(const struct kernel *kernel, unsigned int window,
	       int (*each)(const struct window_record *record, void *context), void *context)
{
	return each_key(kernel, window, clock_offset_ns(), each, context);
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

static int clear_window(struct kernel *kernel, unsigned int window)
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

/* From here on the window is on disk: half cleared, it must not be written again. */
static int written(struct kernel *kernel, unsigned int window)
{
	__atomic_store_n(&kernel->control->slot[window].dirty, PT_SLOT_WRITTEN, __ATOMIC_SEQ_CST);
	return clear_window(kernel, window);
}

struct write_context {
	struct spool_writer *writer;
	int64_t start_us, end_us;
	uint64_t keys, counted;
};

static int write_record(const struct window_record *record, void *context)
{
	struct write_context *write = context;
	struct window_record bounded = *record;

	/* a hit that began before the flip may end behind it: no pull is dated outside its window
	 */
	if (bounded.last_us < write->start_us)
		bounded.last_us = write->start_us;
	if (bounded.last_us > write->end_us)
		bounded.last_us = write->end_us;
	if (record->op != PT_OP_OFF) {
		write->keys++;
		write->counted += record->count;
	}
	return spool_writer_add(write->writer, &bounded);
}

static struct spool_end end_of(const struct pt_slot *slot)
{
	return (struct spool_end){.sequence = slot->sequence, .boot_ns = slot->end_boot_ns};
}

static int64_t pause_before(const struct pt_slot *slot)
{
	if (!slot->before_boot_ns || slot->before_boot_ns > slot->start_boot_ns)
		return WINDOW_PAUSE_UNKNOWN;
	return (int64_t)(slot->start_boot_ns - slot->before_boot_ns) / 1000;
}

/* Writes a frozen window, then clears it. What was written before a crash is not written again. */
static int finish_window(struct kernel *kernel, struct spool *spool, unsigned int window,
			 struct drain_result *ret)
{
	const struct pt_slot *slot = &kernel->control->slot[window];
	_cleanup_(spool_writer_free) struct spool_writer *writer = NULL;
	int64_t offset_ns = clock_offset_ns();
	struct window_header header = {
		.sequence = slot->sequence,
		.start_us = to_unix_us(offset_ns, slot->start_boot_ns),
		.end_us = to_unix_us(offset_ns, slot->end_boot_ns),
		.merged = 1,
		.before = slot->before_sequence,
		.pause_us = pause_before(slot),
	};
	struct write_context write = {.start_us = header.start_us, .end_us = header.end_us};
	int rc;

	if (slot->dirty == PT_SLOT_WRITTEN)
		return clear_window(kernel, window);
	memcpy(header.agent, slot->agent, sizeof(header.agent));
	rc = kernel_ledger(kernel, window, header.ledger);
	if (rc)
		return rc;
	rc = spool_writer_new(&writer, spool, header.agent, header.sequence);
	if (rc == -EEXIST)
		return written(kernel, window);
	if (rc)
		return rc;
	write.writer = writer;
	rc = each_key(kernel, window, offset_ns, write_record, &write);
	rc = rc ?: off_time_each(kernel, window, header.end_us, write_record, &write);
	ret->entered += header.ledger[LEDGER_counted];
	/* what the file holds, so that the stored books cover the way from the probe to the file */
	header.ledger[LEDGER_counted] = write.counted;
	rc = rc ?: spool_writer_commit(writer, &header);
	if (rc)
		return rc;
	spool_note_end(spool, slot->agent, end_of(slot));
	ret->swapped = true;
	ret->sequence = header.sequence;
	ret->keys += write.keys;
	for (int i = 0; i < LEDGER_COUNT; i++)
		ret->ledger[i] += header.ledger[i];
	return written(kernel, window);
}

/*
 * Hands a clean slot to the programs' next window. entry_lost: what had been lost when it began;
 * before: the window before it, whose end may be known to be its beginning.
 */
static int own_slot(struct kernel *kernel, struct spool *spool, unsigned int window,
		    uint64_t start_boot_ns, uint64_t entry_lost, struct spool_end before)
{
	struct pt_slot *slot = &kernel->control->slot[window];
	uint64_t sequence = spool_sequence(spool) + 1;
	int rc = spool_reserve(spool, sequence);

	if (rc)
		return rc;
	memcpy(slot->agent, spool_agent(spool), sizeof(slot->agent));
	slot->start_boot_ns = start_boot_ns;
	slot->before_sequence = before.sequence;
	slot->before_boot_ns = before.boot_ns;
	slot->off_mask = *kernel->off;
	slot->entry_lost_start = entry_lost;
	slot->entry_lost_end = KERNEL_OPEN_END;
	__atomic_store_n(&slot->sequence, sequence, __ATOMIC_SEQ_CST); /* last: it is owned */
	return 0;
}

/* The window ends here, for its time and for what the entry programs lose. */
static void end_slot(struct kernel *kernel, unsigned int window, uint64_t end_boot_ns,
		     uint64_t entry_lost)
{
	struct pt_slot *slot = &kernel->control->slot[window];

	slot->end_boot_ns = end_boot_ns;
	slot->entry_lost_end = entry_lost;
	if (!slot->off_mask) /* else it says who had it off from its beginning */
		slot->off_mask = *kernel->off;
}

/* For a window that begins where another one ends, if that is of the same stream. */
static struct spool_end ends_now(const struct spool *spool, const struct kernel *kernel,
				 uint64_t now)
{
	const struct pt_slot *slot = &kernel->control->slot[kernel->control->active & 1];
	struct spool_end end = {.sequence = slot->sequence, .boot_ns = now};

	return memcmp(slot->agent, spool_agent(spool), sizeof(slot->agent)) ? (struct spool_end){}
									    : end;
}

int drain_begin(struct kernel *kernel, struct spool *spool, struct kernel *before)
{
	unsigned int active = kernel->control->active & 1;
	struct pt_slot *slot = &kernel->control->slot[active];
	uint64_t now = (uint64_t)clock_ns(CLOCK_BOOTTIME), lost;
	int rc = entry_lost(&kernel->entry, &lost);

	if (rc)
		return rc;
	if (slot->sequence) { /* it goes on, whatever its end was about to be */
		slot->entry_lost_end = KERNEL_OPEN_END;
		return 0;
	}
	if (before)
		end_slot(before, before->control->active & 1, now, lost);
	return own_slot(kernel, spool, active, now, lost,
			before ? ends_now(spool, before, now) : spool_last_end(spool));
}

static int swap_windows(struct kernel *kernel, struct spool *spool)
{
	unsigned int old = kernel->control->active & 1;
	uint64_t now = (uint64_t)clock_ns(CLOCK_BOOTTIME), lost;
	int rc = entry_lost(&kernel->entry, &lost);

	rc = rc ?: own_slot(kernel, spool, !old, now, lost, ends_now(spool, kernel, now));
	if (rc)
		return rc;
	end_slot(kernel, old, now, lost);
	__atomic_store_n(&kernel->control->slot[old].dirty, PT_SLOT_FROZEN, __ATOMIC_SEQ_CST);
	__atomic_store_n(&kernel->control->active, !old, __ATOMIC_SEQ_CST);
	return 0;
}

int drain_window(struct kernel *kernel, struct spool *spool, bool force, struct drain_result *ret)
{
	int64_t start = clock_ns(CLOCK_MONOTONIC);
	unsigned int active = kernel->control->active & 1;
	uint64_t ledger[LEDGER_COUNT];
	int rc;

	memset(ret, 0, sizeof(*ret));
	/* left by a failure or by an agent that died: it was flipped away, perhaps not waited for
	 */
	if (kernel->control->slot[!active].dirty) {
		rc = kernel_grace(kernel);
		rc = rc ?: finish_window(kernel, spool, !active, ret);
		if (rc)
			return rc;
	}
	if (!force) {
		rc = kernel_ledger(kernel, active, ledger);
		if (rc || !ledger[LEDGER_seen])
			return rc;
	}
	rc = swap_windows(kernel, spool);
	rc = rc ?: kernel_grace(kernel);
	rc = rc ?: finish_window(kernel, spool, active, ret);
	off_settle(kernel);
	ret->took_us = (uint64_t)(clock_ns(CLOCK_MONOTONIC) - start) / 1000;
	return rc;
}

int drain_frozen(struct kernel *kernel, struct spool *spool, struct drain_result *sum)
{
	unsigned int active = kernel->control->active & 1;
	struct pt_slot *slot = &kernel->control->slot[active];
	uint64_t lost;
	int rc = kernel_grace(kernel);

	if (!rc && kernel->control->slot[!active].dirty)
		rc = finish_window(kernel, spool, !active, sum);
	if (rc || !slot->sequence) /* it has been through this */
		return rc;
	if (slot->entry_lost_end == KERNEL_OPEN_END) {
		rc = entry_lost(&kernel->entry, &lost);
		if (rc)
			return rc;
		end_slot(kernel, active, (uint64_t)clock_ns(CLOCK_BOOTTIME), lost);
	}
	if (slot->dirty == PT_SLOT_CLEAN)
		__atomic_store_n(&slot->dirty, PT_SLOT_FROZEN, __ATOMIC_SEQ_CST);
	rc = finish_window(kernel, spool, active, sum);
	if (!rc)
		slot->sequence = 0;
	return rc;
}

int drain_expired_hints(struct kernel *kernel)
{
	uint64_t limit_ns = kernel->control->hint_seconds * 1000000000ull;
	uint64_t now = (uint64_t)clock_ns(CLOCK_BOOTTIME);
	_cleanup_free_ struct pt_hint_key *keys = malloc(BATCH * sizeof(*keys));
	_cleanup_free_ struct pt_hint *hints = malloc(BATCH * sizeof(*hints));
	uint32_t cursor = 0, count;
	bool started = false, ended = false;
	int removed = 0;

	if (!keys || !hints)
		return -ENOMEM;
	while (!ended) {
		count = BATCH;
		if (bpf_map_lookup_batch(kernel->hints_fd, started ? &cursor : NULL, &cursor, keys,
					 hints, &count, NULL)) {
			if (errno != ENOENT)
				return -errno;
			ended = true;
		}
		started = true;
		for (uint32_t i = 0; i < count; i++)
			if (now - hints[i].boot_ns > limit_ns &&
			    !bpf_map_delete_elem(kernel->hints_fd, &keys[i]))
				removed++;
	}
	return removed;
}
