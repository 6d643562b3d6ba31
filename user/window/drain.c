/* SPDX-License-Identifier: MIT */
#include "window/drain.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "attach/off.h"
#include "window/off_time.h"
#include "window/window_maps.h"

/* Hints per system call. */
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

int drain_each(const struct kernel *kernel, unsigned int window,
	       int (*each)(const struct window_record *record, void *context), void *context)
{
	return window_maps_each(kernel, window, clock_offset_ns(), each, context);
}

/* From here on the window is on disk: half cleared, it must not be written again. */
static int written(struct kernel *kernel, unsigned int window)
{
	__atomic_store_n(&kernel->control->slot[window].dirty, PT_SLOT_WRITTEN, __ATOMIC_SEQ_CST);
	return window_maps_clear(kernel, window);
}

struct write_context {
	struct spool_writer *writer;
	int64_t start_us, end_us;
	uint64_t keys;
	uint64_t sums[LEDGER_COUNT + 1]; /* of what the records stand for, by op_counter() */
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
	write->keys += op_counter(record->op) != LEDGER_COUNT;
	write->sums[op_counter(record->op)] += record->count;
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
		.start_us = window_unix_us(offset_ns, slot->start_boot_ns),
		.end_us = window_unix_us(offset_ns, slot->end_boot_ns),
		.merged = 1,
		.before = slot->before_sequence,
		.pause_us = pause_before(slot),
	};
	struct write_context write = {.start_us = header.start_us, .end_us = header.end_us};
	int rc;

	if (slot->dirty == PT_SLOT_WRITTEN)
		return window_maps_clear(kernel, window);
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
	rc = window_maps_each(kernel, window, offset_ns, write_record, &write);
	rc = rc ?: off_time_each(kernel, window, header.end_us, write_record, &write);
	ret->entered += header.ledger[LEDGER_counted];
	/* what the file holds, so that the stored books cover the way from the probe to the file */
	header.ledger[LEDGER_counted] = write.sums[LEDGER_counted];
	header.ledger[LEDGER_filtered_excluded] = write.sums[LEDGER_filtered_excluded];
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

	if (memcmp(slot->agent, spool_agent(spool), sizeof(slot->agent)))
		memset(&end, 0, sizeof(end));
	return end;
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
			/* one that was left since then is younger than now */
			if ((int64_t)(now - hints[i].boot_ns) > (int64_t)limit_ns &&
			    !bpf_map_delete_elem(kernel->hints_fd, &keys[i]))
				removed++;
	}
	return removed;
}
