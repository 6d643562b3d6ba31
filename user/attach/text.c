/* SPDX-License-Identifier: MIT */
#include "attach/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "attach/sites.h"
#include "base/log.h"
#include "discover/process.h"

/* Longer than the kernel takes between mapping a file and putting the breakpoints into it. */
#define MAPPING_US 2000

struct proof {
	struct kernel *kernel;
	int proc;
	int taken_off;
};

/* Where a process has a place of its program's file in memory, to be run; 0 where it has not. */
static uint64_t address_of(int proc, pid_t pid, uint64_t inode, uint64_t file_offset)
{
	_cleanup_fclose_ FILE *maps = NULL;
	char path[32], line[4400];
	int fd;

	snprintf(path, sizeof(path), "%d/maps", (int)pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	maps = fd < 0 ? NULL : fdopen(fd, "r");
	if (!maps && fd >= 0)
		close(fd);
	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long start, end, offset, number;
		char executable;

		if (sscanf(line, "%lx-%lx %*c%*c%c%*c %lx %*s %lu", &start, &end, &executable,
			   &offset, &number) == 5 &&
		    executable == 'x' && number == inode && file_offset >= offset &&
		    file_offset - offset < end - start)
			return start + (file_offset - offset);
	}
	return 0;
}

/* 1: the breakpoint is there; 0: it is not; negative: nobody knows. */
static int is_probed(int proc, pid_t pid, const struct pt_site *site)
{
	uint64_t address = address_of(proc, pid, site->inode, site->file_offset);
	_cleanup_close_ int memory = -1, file = -1;
	uint8_t in_memory, in_file;
	char path[32];
	int rc;

	if (!address)
		return -ESRCH;
	snprintf(path, sizeof(path), "%d/mem", (int)pid);
	memory = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (memory < 0)
		return -errno;
	rc = process_open_binary(proc, pid, &file);
	if (rc)
		return rc;
	if (pread(memory, &in_memory, 1, (off_t)address) != 1 ||
	    pread(file, &in_file, 1, (off_t)site->file_offset) != 1)
		return -EIO;
	return in_memory != in_file;
}

static int prove_process(void *context, pid_t pid)
{
	struct proof *proof = context;
	struct kernel *kernel = proof->kernel;
	struct file_identity file;

	if (process_binary(proof->proc, pid, &file))
		return 0;
	for (uint32_t i = 0; i < PT_SITES; i++) {
		const struct pt_site *site = &kernel->sites[i];

		if (!site->hook || site->device != file.device || site->inode != file.inode ||
		    sites_probe(kernel, i) != SITE_PROBE_OURS || is_probed(proof->proc, pid, site))
			continue;
		usleep(MAPPING_US); /* or was the file being mapped just then? */
		if (is_probed(proof->proc, pid, site))
			continue;
		log_warn("a probe does not fire", "site=%u pid=%d symbol=\"%s\" action=\"%s\"", i,
			 pid, site->symbol, "attached anew");
		proof->taken_off++;
		sites_unlink_one(kernel, i);
	}
	return 0;
}

int text_prove(struct kernel *kernel, const char *proc)
{
	struct proof proof = {.kernel = kernel};
	int rc;

	if (*kernel->off)
		return 0;
	rc = process_open_proc(proc, &proof.proc);
	if (rc)
		return rc;
	rc = process_each(proof.proc, prove_process, &proof);
	close(proof.proc);
	return rc ?: proof.taken_off;
}
