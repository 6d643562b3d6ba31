/* SPDX-License-Identifier: MIT */
/*
 * An agent with more windows than its spool may hold, whose database is away for a while, dies at
 * every system call, is restarted, and in the worst runs the power goes as well. What the database
 * holds at the end equals what was counted, and no window was ever in two transactions.
 */
#include "window/spool_books.h"
#include "window/spool_fault.h"

#include <sys/mman.h>

#define WINDOWS 18
#define KEYS 3
/* Of about three windows. */
#define LIMIT 2000

/* The kernel's maps and the database: they outlive the agent and the power. */
struct world {
	struct books counted, applied;
	uint64_t kernel_window; /* drained or being drained */
	bool kernel_dirty;
	uint64_t claimed; /* the ledger's last sequence */
	unsigned int overlaps; /* claims that were partly there */
	unsigned int merged; /* windows that went in as parts of others */
	unsigned int steps;
	struct unsynced unsynced;
};
static struct world *world;

static int make_folder(void **state)
{
	*state = test_make_folder();
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	assert_ptr_not_equal(world, MAP_FAILED);
	unsynced = &world->unsynced;
	return 0;
}

static int remove_folder(void **state)
{
	arm(FAULT_NONE, 0, 0);
	unsynced = NULL;
	munmap(world, sizeof(*world));
	test_remove_folder(*state);
	return 0;
}

/* As drain.c does: the window is frozen with its number, written, and only then cleared. */
static int drain(struct spool *spool)
{
	int err;

	if (!world->kernel_dirty) {
		err = spool_reserve(spool, world->kernel_window + 1);
		if (err)
			return err;
		world->kernel_window++;
		world->kernel_dirty = true;
	}
	err = books_write_at(spool, spool_agent(spool), world->kernel_window,
			     (int64_t)world->kernel_window * BOOKS_WINDOW_US, 0, KEYS, NULL);
	if (err && err != -EEXIST)
		return err;
	world->kernel_dirty = false;
	return 0;
}

/* One transaction, as claim_window() and its callers: all or nothing. */
static void apply(struct spool_reader *reader)
{
	const struct window_header *header = spool_reader_header(reader);
	uint64_t first = header->sequence - header->merged + 1;

	if (header->sequence <= world->claimed)
		return;
	if (first <= world->claimed) {
		world->overlaps++;
		return;
	}
	world->claimed = header->sequence;
	if (header->merged > 1)
		world->merged += header->merged;
	books_read(&world->applied, reader);
}

enum database { THERE, ANSWER_LOST, AWAY };

/* 1 when the oldest window was applied and removed. */
static int ship(struct spool *spool, enum database database)
{
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	char name[SPOOL_NAME_BYTES];
	const char *reason = NULL;
	int err = spool_oldest(spool, name);

	if (err <= 0)
		return err;
	err = spool_reader_new(&reader, spool, name, &reason);
	if (err)
		return err;
	if (database != AWAY)
		apply(reader);
	if (database != THERE)
		return 0;
	err = spool_remove(spool, name);
	return err ? err : 1;
}

/* Away for a moment and then for long; answers are lost before it goes and after it came back. */
static enum database database_at(unsigned int step)
{
	if (step == 7 || step == WINDOWS - 2)
		return ANSWER_LOST;
	return step < 4 || (step > 7 && step < WINDOWS - 2) ? AWAY : THERE;
}

/*
 * A failure is met as the agent meets it: the next step tries again. What is to be merged is
 * merged first, for that is when it may go wrong: before this agent tried to send anything.
 */
static void agent_life(const char *path)
{
	struct spool *spool = NULL;
	struct spool_shrunk shrunk;

	if (spool_new(&spool, path))
		return;
	(void)!spool_shrink(spool, LIMIT, NULL, &shrunk);
	while (world->steps < WINDOWS) {
		unsigned int step = world->steps++;
		int shipped = 1;

		for (unsigned int i = 0; shipped == 1 && i < 2; i++)
			shipped = ship(spool, database_at(step));
		if (shipped >= 0)
			(void)!spool_shrink(spool, LIMIT, NULL, &shrunk);
		(void)!drain(spool);
	}
	spool_free(&spool);
}

/* All that is left goes in; then the books must be equal. */
static void settle(const char *path)
{
	struct spool *spool = NULL;
	struct spool_stats stats;

	arm(FAULT_NONE, 0, 0);
	agent_life(path);
	assert_int_equal(spool_new(&spool, path), 0);
	while (world->kernel_dirty || world->kernel_window < WINDOWS)
		assert_int_equal(drain(spool), 0);
	do {
		assert_true(ship(spool, THERE) >= 0);
		assert_int_equal(spool_stats(spool, &stats), 0);
	} while (stats.files);
	assert_int_equal(sample_count_entries(path, "tmp-"), 0);
	spool_free(&spool);
	assert_int_equal(world->overlaps, 0);
	assert_int_equal(world->claimed, world->kernel_window);
	assert_int_equal(world->applied.windows, world->kernel_window);
	for (unsigned int key = 0; key < KEYS; key++) {
		uint64_t counted = 0;

		for (uint64_t n = 1; n <= world->kernel_window; n++)
			counted += n % 7 + key % 5 + 1;
		assert_int_equal(world->applied.count[key], counted);
	}
}

static void begin(const char *state, const char *kind, unsigned int at, char path[200])
{
	memset(world, 0, sizeof(*world));
	snprintf(path, 200, "%s/%s-%u", state, kind, at);
	snprintf(unsynced_copies, sizeof(unsynced_copies), "%.180s-copies", path);
	assert_int_equal(mkdir(unsynced_copies, 0700), 0);
}

static void run_to_death(enum fault kind, unsigned int at, int error, const char *path, bool *ret)
{
	pid_t child = fork();
	int status = 0;

	assert_true(child >= 0);
	if (!child) {
		arm(kind, at, error);
		agent_life(path);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED);
	*ret = WEXITSTATUS(status) == DIED;
}

/* To die after one call is to die before the next. */
static void death_at_any_call_leaves_every_window_counted_once(void **state)
{
	unsigned int at = 0, merged = 0;
	char path[200];
	bool died = true;

	while (died) {
		begin(*state, "death", ++at, path);
		run_to_death(FAULT_DIE_AFTER, at, 0, path, &died);
		settle(path);
		merged += world->merged > 0;
	}
	print_message("%u deaths, %u runs with merged windows\n", at - 1, merged);
	assert_true(at > 200);
	assert_true(merged > at / 2);
}

/* Names that were not synced come back or go, all of them or just some. */
static void power_cut_at_any_call_leaves_every_window_counted_once(void **state)
{
	static const unsigned long masks[] = {~0ul, 0x5555555555555555ul, 0xaaaaaaaaaaaaaaaaul};
	char path[200];
	bool died = true;

	for (unsigned int at = 1; died; at += 2) {
		begin(*state, "power", at, path);
		run_to_death(FAULT_DIE_AFTER, at, 0, path, &died);
		cut_power(path, masks[at / 2 % 3]);
		settle(path);
	}
}

static void failure_of_any_call_leaves_every_window_counted_once(void **state)
{
	static const int errors[] = {ENOSPC, EIO, EROFS, EDQUOT};
	char path[200];
	unsigned int at, merged = 0;

	for (at = 1; at < 1000; at++) {
		begin(*state, "error", at, path);
		arm(FAULT_ERROR, at, errors[at % 4]);
		agent_life(path);
		if (!faults)
			break;
		settle(path);
		merged += world->merged > 0;
	}
	assert_true(at > 150);
	assert_true(merged > at / 2);
}

/* The worst there is: an error that was survived, then death, then the power goes. */
static void failure_then_death_then_power_cut_counts_once(void **state)
{
	char path[200];
	bool died;

	for (unsigned int at = 1; at < 250; at += 2) {
		begin(*state, "worst", at, path);
		die_later = 1 + at * 7 % 11;
		run_to_death(FAULT_ERROR, at, EIO, path, &died);
		die_later = 0;
		cut_power(path, at % 4 == 1 ? ~0ul : 0x9249249249249249ul);
		settle(path);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(death_at_any_call_leaves_every_window_counted_once),
		TEST(power_cut_at_any_call_leaves_every_window_counted_once),
		TEST(failure_of_any_call_leaves_every_window_counted_once),
		TEST(failure_then_death_then_power_cut_counts_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
