/* SPDX-License-Identifier: MIT */
#include "cli/doctor.h"

#include <stdio.h>
#include <string.h>

#include "attach/kernel.h"
#include "attach/sites.h"
#include "discover/catalog.h"
#include "discover/openssl_process.h"
#include "discover/target.h"

#define CHECK "openssl"
#define INSTEAD "take another way in: docs/openssl.md says which"

struct search {
	struct report *report;
	struct kernel *kernel; /* NULL when no agent ran */
	struct catalog *catalog;
	struct target targets[OPTIONS_LIST];
	unsigned int targets_count;
	int proc;
	unsigned int found;
	bool shared; /* a library is probed */
};

struct look {
	struct search *search;
	struct openssl_process openssl;
	unsigned int files; /* with OpenSSL in them */
};

/* By a target, or because a probe is there for what it runs. */
static bool is_wanted(const struct search *search, const struct process *process)
{
	for (unsigned int i = 0; i < search->targets_count; i++)
		if (target_matches(&search->targets[i], process))
			return search->targets[i].way == WAY_OPENSSL;
	for (uint32_t i = 0; search->kernel && i < PT_SITES; i++) {
		struct site_place place;
		struct pt_site site;

		if (!sites_read(search->kernel, i, &site))
			continue;
		place = sites_place(&site);
		if (place.program_inode == process->file.inode &&
		    (place.program_inode != place.inode || site.hook == PT_HOOK_TLS_READ))
			return true;
	}
	return false;
}

/* "3.0.19", or the library's own name where nothing says that. */
static void tell_version(const struct look *look, const struct binary *binary, const char *path,
			 char ret[64])
{
	_cleanup_close_ int fd = -1;

	snprintf(ret, 64, "%s", binary->version[0] ? binary->version : strrchr(path, '/') + 1);
	if (!binary->version[0] && look->openssl.has_crypto &&
	    !process_open_map(look->search->proc, look->openssl.process->pid, &look->openssl.crypto,
			      &fd) &&
	    binary_openssl_version(fd, ret, 64))
		snprintf(ret, 64, "%s", strrchr(path, '/') + 1);
}

static void look_at_file(struct look *look, int fd, const char *path)
{
	struct search *search = look->search;
	const struct process *process = look->openssl.process;
	struct binary binary;
	char version[64];
	bool probed;

	if (catalog_inspect_file(search->catalog, fd, &binary))
		return;
	look->files++;
	openssl_process_own(&look->openssl, &binary);
	probed = search->kernel && sites_has(search->kernel, &binary);
	tell_version(look, &binary, path, version);
	if (!binary.sites_count)
		report_say(search->report, VERDICT_FAIL, CHECK, INSTEAD, "pid %d %s: %s (%s): %s",
			   process->pid, process->exe, path, version, binary.refusal);
	else
		report_say(search->report, VERDICT_OK, CHECK, "",
			   "pid %d %s: %s (OpenSSL %s): %u sites%s", process->pid, process->exe,
			   path, version, binary.sites_count,
			   probed ? ", probed" : ", not probed: no agent follows it");
	search->shared |= probed && strcmp(path, process->exe) != 0;
}

static void look_at_library(struct look *look, const struct process_map *map)
{
	_cleanup_close_ int fd = -1;
	const struct process *process = look->openssl.process;
	int rc = process_open_map(look->search->proc, process->pid, map, &fd);

	if (!rc) {
		look_at_file(look, fd, map->path);
		return;
	}
	look->files++;
	report_say(look->search->report, VERDICT_FAIL, CHECK,
		   map->deleted ? "restart the process: its library was replaced" : "run as root",
		   "pid %d %s: %s can't be opened: %s", process->pid, process->exe, map->path,
		   strerror(-rc));
}

static int look_at(void *context, pid_t pid)
{
	struct search *search = context;
	struct process process;
	struct look look = {.search = search, .openssl.process = &process};
	_cleanup_close_ int exe = -1;

	if (process_read(search->proc, pid, &process) || !is_wanted(search, &process) ||
	    openssl_process_read(search->proc, &look.openssl) ||
	    process_open_binary(search->proc, pid, &exe))
		return 0;
	search->found++;
	look_at_file(&look, exe, process.exe);
	for (unsigned int i = 0; i < look.openssl.libraries_count; i++)
		look_at_library(&look, &look.openssl.libraries[i]);
	if (!look.files)
		report_say(search->report, look.openssl.other ? VERDICT_FAIL : VERDICT_NOTE, CHECK,
			   INSTEAD, "pid %d %s has loaded no OpenSSL%s%s", pid, process.exe,
			   look.openssl.other ? ", but " : "", look.openssl.other ?: "");
	return 0;
}

unsigned int doctor_openssl(struct report *report, const struct options *options,
			    struct kernel *kernel)
{
	_cleanup_(catalog_free) struct catalog *catalog = NULL;
	struct search *search = calloc(1, sizeof(*search));
	unsigned int found;
	char message[256];

	if (!search)
		return 0;
	*search = (struct search){.report = report, .kernel = kernel, .proc = -1};
	for (unsigned int i = 0; i < options->targets.count; i++) {
		struct target *target = &search->targets[search->targets_count];

		if (target_parse(options->targets.items[i], target, message, sizeof(message))) {
			report_say(report, VERDICT_FAIL, "target", "correct --target", "%s: %s",
				   options->targets.items[i], message);
			continue;
		}
		target_resolve(target, "");
		search->targets_count++;
	}
	if (!catalog_new(&catalog, binary_inspect_openssl) &&
	    !process_open_proc("/proc", &search->proc)) {
		search->catalog = catalog;
		if (process_each(search->proc, look_at, search))
			report_say(report, VERDICT_NOTE, CHECK, "run as root",
				   "not all processes could be looked at");
		close(search->proc);
	}
	if (search->shared)
		report_say(report, VERDICT_NOTE, CHECK, "",
			   "other programs of this node that use a probed library pay about half a "
			   "microsecond for each of its calls");
	found = search->found;
	free(search);
	return found;
}
