/* SPDX-License-Identifier: MIT */
/*
 * Targets of the OpenSSL way: the operator names a program, and the probes stand in the library
 * that its processes have loaded, or in the program itself where it has OpenSSL inside. A library's
 * file is that of many programs, so each target has sites of its own there, which know its program.
 */
#include "attach/follow_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attach/sites.h"
#include "base/log.h"
#include "discover/openssl_process.h"

struct look {
	struct follow *follow;
	struct openssl_process openssl;
	const struct owner *owner;
	unsigned int found; /* files with OpenSSL in them */
	int attached; /* or the first failure */
};

/* name: of a library, NULL for the program itself. */
static void look_at_file(struct look *look, int fd, const char *name)
{
	struct follow *follow = look->follow;
	struct binary binary;
	int rc;

	if (catalog_inspect_file(follow->libraries, fd, &binary))
		return;
	look->found++;
	openssl_process_own(&look->openssl, &binary);
	if (name)
		snprintf(binary.version, sizeof(binary.version), "%s", name);
	rc = follow_binary(follow, look->openssl.process, &binary, fd, look->owner);
	if (look->attached >= 0)
		look->attached = rc < 0 ? rc : look->attached + rc;
}

static void look_at_library(struct look *look, const struct process_map *map)
{
	_cleanup_close_ int fd = -1;
	pid_t pid = look->openssl.process->pid;
	int rc = process_open_map(look->follow->proc, pid, map, &fd);
	char path[512];

	if (!rc)
		look_at_file(look, fd, strrchr(map->path, '/') + 1);
	else if (follow_complain(look->follow, map->inode, look->owner->registry))
		log_error("library can't be opened",
			  "registry=%s pid=%d path=%s error=\"%s\" action=\"%s\"",
			  look->owner->registry, pid, log_quote(path, sizeof(path), map->path),
			  strerror(-rc),
			  map->deleted ? "restart the process: its library was replaced"
				       : "see pulltap doctor, as root");
}

/* Other processes of one program may use it: Python's scripts for example. */
static bool others_use_it(const struct look *look)
{
	for (uint32_t i = 0; i < PT_SITES; i++) {
		struct site_place place = sites_place(&look->follow->kernel->sites[i]);

		if (look->follow->kernel->sites[i].hook == PT_HOOK_TLS_READ &&
		    place.program_inode == look->openssl.process->file.inode)
			return true;
	}
	return false;
}

/* Right after its start a process has loaded nothing yet, and a module may come much later. */
static void wait_for_library(struct look *look)
{
	const struct process *process = look->openssl.process;
	char exe[512];

	if (linger_add(look->follow->linger, process->pid) || others_use_it(look) ||
	    !follow_complain(look->follow, process->file.inode, look->owner->registry))
		return;
	log_warn("target can't be observed",
		 "registry=%s exe=%s pid=%d reason=\"it has loaded no OpenSSL%s%s, see "
		 "docs/openssl.md\"",
		 look->owner->registry, log_quote(exe, sizeof(exe), process->exe), process->pid,
		 look->openssl.other ? " but " : "", look->openssl.other ?: "");
}

int follow_openssl(struct follow *follow, const struct process *process, const struct owner *owner)
{
	struct look look = {.follow = follow, .openssl.process = process, .owner = owner};
	_cleanup_close_ int exe = -1;
	int rc = openssl_process_read(follow->proc, &look.openssl);

	rc = rc ?: process_open_binary(follow->proc, process->pid, &exe);
	if (rc == -ENOENT || rc == -ESRCH)
		return 0; /* gone */
	if (rc) {
		if (follow_complain(follow, process->file.inode, owner->registry))
			log_error("target can't be read",
				  "registry=%s pid=%d error=\"%s\" action=\"see pulltap doctor, "
				  "as root\"",
				  owner->registry, process->pid, strerror(-rc));
		return 0;
	}
	look_at_file(&look, exe, NULL);
	for (unsigned int i = 0; i < look.openssl.libraries_count; i++)
		look_at_library(&look, &look.openssl.libraries[i]);
	if (!look.found)
		wait_for_library(&look);
	return look.attached;
}
