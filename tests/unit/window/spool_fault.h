/* SPDX-License-Identifier: MIT */
/*
 * System calls that fail on demand. Those below stand in front of libc's: the Nth one fails, or is
 * the last the process ever made. For one test program each: they define what they replace.
 */
#ifndef PULLTAP_TESTS_UNIT_WINDOW_SPOOL_FAULT_H
#define PULLTAP_TESTS_UNIT_WINDOW_SPOOL_FAULT_H

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "window/spool.h"

enum fault { FAULT_NONE, FAULT_ERROR, FAULT_DIE_BEFORE, FAULT_DIE_AFTER };

static enum fault fault;
static unsigned int fault_at; /* 1 is the next call */
static int fault_errno;
static unsigned int faults;

static void arm(enum fault kind, unsigned int at, int error)
{
	fault = kind;
	fault_at = at;
	fault_errno = error;
	faults = 0;
}

#define DIED 77

/* Is this the call? Dies here when it is to die before. */
static bool hit(void)
{
	if (fault == FAULT_NONE || !fault_at || --fault_at)
		return false;
	faults++;
	if (fault == FAULT_DIE_BEFORE)
		_exit(DIED);
	return true;
}

/* An error may be followed by death at a later call. */
static unsigned int die_later;

static void after_error(void)
{
	if (!die_later)
		return;
	fault = FAULT_DIE_AFTER;
	fault_at = die_later;
	die_later = 0;
}

static long done(bool was_hit, long result)
{
	if (was_hit && fault == FAULT_DIE_AFTER)
		_exit(DIED);
	return result;
}

/*
 * The folder as a power cut would leave it: names that came and went since the last fsync of the
 * folder, to be undone. Kept in memory that survives the child; off unless a test makes it.
 */
struct unsynced {
	unsigned int count, kept;
	struct {
		bool removed;
		char name[SPOOL_NAME_BYTES];
		unsigned int copy; /* where a removed file's other name is */
	} change[512];
};
static struct unsynced *unsynced;
static char unsynced_copies[256]; /* a folder beside the spool's */

static void copy_path(char path[300], unsigned int copy)
{
	snprintf(path, 300, "%s/%u", unsynced_copies, copy);
}

static void note_change(bool removed, const char *name, unsigned int copy)
{
	unsigned int i = unsynced->count++;

	assert_true(i < sizeof(unsynced->change) / sizeof(unsynced->change[0]));
	unsynced->change[i].removed = removed;
	unsynced->change[i].copy = copy;
	snprintf(unsynced->change[i].name, SPOOL_NAME_BYTES, "%s", name);
}

/* Undoes, newest first, what was not synced and is in the mask. */
static inline void cut_power(const char *spool, unsigned long mask)
{
	char path[400], copy[300];

	while (unsynced->count) {
		unsigned int i = --unsynced->count;

		if (!(mask >> (i % 64) & 1))
			continue;
		snprintf(path, sizeof(path), "%s/%s", spool, unsynced->change[i].name);
		copy_path(copy, unsynced->change[i].copy);
		if (!unsynced->change[i].removed)
			(void)unlink(path);
		else if (link(copy, path))
			assert_int_equal(errno, EEXIST);
	}
}

static bool is_window(const char *name)
{
	return unsynced && strlen(name) > 4 && !strcmp(name + strlen(name) - 4, ".win");
}

#define FAULTY(call)                                                                               \
	do {                                                                                       \
		bool is_hit = hit();                                                               \
		if (is_hit && fault == FAULT_ERROR) {                                              \
			errno = fault_errno;                                                       \
			after_error();                                                             \
			return -1;                                                                 \
		}                                                                                  \
		return done(is_hit, call);                                                         \
	} while (0)

ssize_t write(int fd, const void *data, size_t size)
{
	FAULTY(syscall(SYS_write, fd, data, size));
}

static long sync_now(int fd)
{
	struct stat st;

	if (!unsynced)
		return syscall(SYS_fsync, fd);
	/* a simulated disk: real ones would make this slow */
	if (!fstat(fd, &st) && S_ISDIR(st.st_mode))
		unsynced->count = 0;
	return 0;
}

int fsync(int fd)
{
	FAULTY((int)sync_now(fd));
}

static long rename_now(int from_fd, const char *from, int to_fd, const char *to)
{
	long result = syscall(SYS_renameat, from_fd, from, to_fd, to);

	if (!result && is_window(to) && from_fd == to_fd)
		note_change(false, to, 0);
	return result;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	FAULTY((int)rename_now(from_fd, from, to_fd, to));
}

static long unlink_now(int fd, const char *name, int flags)
{
	char copy[300];

	if (is_window(name)) {
		copy_path(copy, ++unsynced->kept);
		if (!linkat(fd, name, AT_FDCWD, copy, 0))
			note_change(true, name, unsynced->kept);
	}
	return syscall(SYS_unlinkat, fd, name, flags);
}

int unlinkat(int fd, const char *name, int flags)
{
	FAULTY((int)unlink_now(fd, name, flags));
}

int mkdirat(int fd, const char *path, mode_t mode)
{
	FAULTY((int)syscall(SYS_mkdirat, fd, path, mode));
}

off_t lseek(int fd, off_t offset, int whence)
{
	FAULTY(syscall(SYS_lseek, fd, offset, whence));
}

/* Runs in a child that dies at one call; returns whether it did. */
static inline bool dies(enum fault kind, unsigned int at, void (*body)(const char *path),
			const char *path)
{
	pid_t child = fork();
	int status = 0;

	assert_true(child >= 0);
	if (!child) {
		arm(kind, at, 0);
		body(path);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED);
	return WEXITSTATUS(status) == DIED;
}

#endif
