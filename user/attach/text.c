/* SPDX-License-Identifier: MIT */
#include "attach/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "attach/sites.h"
#include "base/log.h"
#include "discover/process.h"
#include "discover/process_maps.h"

/* Longer than the kernel takes between mapping a file and putting the breakpoints into it. */
#define MAPPING_US 2000

struct proof {
	struct kernel *kernel;
	int proc;
	int taken_off;
};

struct wanted {
	const struct pt_site *site;
	struct process_map map; /* the part of the file that holds the site, to be run */
};

static int take_map(void *context, const struct process_map *map)
{
	struct wanted *wanted = context;
	const struct pt_site *site = wanted->site;

	if (!map->executable || map->inode != site->inode || site->file_offset < map->offset ||
	    site->file_offset - map->offset >= map->end - map->start)
		return 0;
	wanted->map = *map;
	return 1;
}

/* 1: the breakpoint is there; 0: it is not; negative: nobody knows. */
static int is_probed(int proc, pid_t pid, const struct pt_site *site)
{
	_cleanup_close_ int memory = -1, file = -1;
	struct wanted wanted = {.site = site};
	uint8_t in_memory, in_file;
	char path[32];
	int rc = process_maps_each(proc, pid, take_map, &wanted);

	if (rc != 1)
		return rc ?: -ESRCH;
	snprintf(path, sizeof(path), "%d/mem", (int)pid);
	memory = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (memory < 0)
		return -errno;
	rc = process_open_map(proc, pid, &wanted.map, &file);
	if (rc)
		return rc;
	if (pread(memory, &in_memory, 1,
		  (off_t)(wanted.map.start + (site->file_offset - wanted.map.offset))) != 1 ||
	    pread(file, &in_file, 1, (off_t)site->file_offset) != 1)
		return -EIO;
	return in_memory != in_file;
}

/* Is the process one whose hits the site counts? A library's site knows another device number. */
static bool is_program(const struct pt_site *site, const struct file_identity *file)
{
	struct site_place place = sites_place(site);

	return place.program_inode == file->inode &&
	       (place.program_inode != place.inode || place.device == file->device);
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

		if (!site->hook || !is_program(site, &file) ||
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
