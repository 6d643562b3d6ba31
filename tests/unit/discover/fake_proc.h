/* SPDX-License-Identifier: MIT */
/* A proc tree of one's own in a temporary folder. */
#ifndef TESTS_UNIT_DISCOVER_FAKE_PROC_H
#define TESTS_UNIT_DISCOVER_FAKE_PROC_H

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "discover/process.h"

struct fake_proc {
	char folder[64];
	int fd;
};

static inline void fake_proc_new(struct fake_proc *proc)
{
	snprintf(proc->folder, sizeof(proc->folder), "/tmp/pulltap-proc-XXXXXX");
	assert_non_null(mkdtemp(proc->folder));
	assert_int_equal(process_open_proc(proc->folder, &proc->fd), 0);
}

static inline void fake_proc_folder(struct fake_proc *proc, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", proc->folder, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

static inline void fake_proc_file(struct fake_proc *proc, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", proc->folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static inline void fake_proc_link(struct fake_proc *proc, const char *name, const char *to)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", proc->folder, name);
	unlink(path);
	assert_int_equal(symlink(to, path), 0);
}

static inline int fake_proc_remove(const char *path, const struct stat *st, int type,
				   struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void fake_proc_free(struct fake_proc *proc)
{
	close(proc->fd);
	nftw(proc->folder, fake_proc_remove, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
