/* SPDX-License-Identifier: MIT */
#include "attach/follow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "attach/sites.h"
#include "attach/tls_sweep.h"
#include "base/log.h"
#include "discover/process.h"

/* How long a probed file may be run by nobody before its probes (and the inode they hold) go. */
#define UNUSED_S 600

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool follow_complain(struct follow *follow, uint64_t inode, const char *registry)
{
	uint64_t key = XXH3_64bits_withSeed(registry, strlen(registry), inode);

	for (unsigned int i = 0; i < COMPLAINTS; i++)
		if (follow->complained[i] == key)
			return false;
	follow->complained[follow->complaints++ % COMPLAINTS] = key;
	return true;
}

/* The operator's word on this process, or NULL; which --target it was. */
static const struct target *named(struct follow *follow, const struct process *process,
				  struct owner *ret)
{
	for (unsigned int i = 0; i < follow->targets_count; i++) {
		if (!target_matches(&follow->targets[i], process))
			continue;
		follow->matched[i] = true;
		*ret = (struct owner){follow->targets[i].name, (uint8_t)i};
		return &follow->targets[i];
	}
	return NULL;
}

/* Is the binary what the target says that it is? */
static bool fits(struct follow *follow, const struct target *target, const struct binary *binary)
{
	if (!target->way || target->way == binary->way)
		return true;
	if (follow_complain(follow, binary->inode, target->name))
		log_error("target is not what it was said to be",
			  "registry=%s way=%s is=\"%s\" action=\"leave the way out, or name %s:\"",
			  target->name, way_names[target->way], way_titles[binary->way],
			  way_names[binary->way]);
	return false;
}

/* False when it is none of ours. */
static bool owner_of(struct follow *follow, const struct process *process,
		     const struct binary *binary, struct owner *ret)
{
	const struct target *target = named(follow, process, ret);

	if (target)
		return fits(follow, target, binary);
	ret->order = COUNT_UNNAMED;
	ret->registry = follow->registry ?: base_name(process->exe);
	return follow->discover && binary->registry_kind[0];
}

unsigned int follow_runners(const struct follow *follow, uint64_t device, uint64_t inode,
			    pid_t *pids, unsigned int max)
{
	return runners_of(&follow->runners, device, inode, pids, max);
}

/* A file that lies where a registry was started from, and may be started any moment. */
static int attach_replaced(struct follow *follow, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct process process = {};
	struct binary binary;
	struct owner owner;

	if (fd < 0 || file_identity_read(fd, &process.file) || binary_inspect(fd, &binary))
		return 0; /* what it is will be seen at its start */
	snprintf(process.exe, sizeof(process.exe), "%s", path);
	if (!owner_of(follow, &process, &binary, &owner) || *follow->kernel->off ||
	    sites_has(follow->kernel, &binary))
		return 0;
	return follow_binary(follow, &process, &binary, fd, &owner);
}

int follow_fd(const struct follow *follow)
{
	return follow->ready_fd;
}

int follow_ready(struct follow *follow)
{
	const char *path;
	int attached = 0;
	pid_t pid;

	while ((path = replaced_next(follow->replaced)))
		attached += attach_replaced(follow, path);
	while ((pid = linger_next(follow->linger))) {
		int rc = follow_process(follow, pid);

		attached += rc > 0 ? rc : 0;
	}
	return attached;
}

struct scan {
	struct follow *follow;
	int attached;
	struct later {
		pid_t pid;
		enum count_place place;
		uint8_t order;
	} * later; /* not registries: they count only if none of those does */
	unsigned int later_count;
};

static int put_off(struct scan *scan, pid_t pid, enum count_place place, uint8_t order)
{
	struct later *grown =
		reallocarray(scan->later, scan->later_count + 1, sizeof(*scan->later));

	if (!grown)
		return -ENOMEM;
	scan->later = grown;
	scan->later[scan->later_count++] = (struct later){pid, place, order};
	return 0;
}

/*
 * What the operator says that it uses OpenSSL is looked at for that alone, whatever else it is.
 * Returns 1 when it is such a one.
 */
static int look_for_openssl(struct follow *follow, pid_t pid, struct scan *scan, int *ret_rc)
{
	const struct target *target;
	struct process process;
	struct owner owner;

	if (!follow->has_openssl || process_read(follow->proc, pid, &process))
		return 0;
	target = named(follow, &process, &owner);
	if (!target || target->way != WAY_OPENSSL)
		return 0;
	*ret_rc = scan ? put_off(scan, pid, COUNT_FRONT, owner.order)
		       : follow_openssl(follow, &process, &owner);
	return 1;
}

/* It is none that is known by itself. */
static void say_unknown(struct follow *follow, pid_t pid)
{
	struct process process;
	struct owner owner;

	/* of no interest, unless the operator says that this is a registry */
	if (follow->targets_count && !process_read(follow->proc, pid, &process) &&
	    named(follow, &process, &owner) &&
	    follow_complain(follow, process.file.inode, owner.registry))
		log_warn("target can't be observed",
			 "pid=%d reason=\"no Go HTTP server, nginx or apache; by its OpenSSL if "
			 "named openssl:, see pulltap doctor\"",
			 pid);
}

/* scan: puts off what should be looked at after others; NULL: nothing is. */
static int look_at(struct follow *follow, pid_t pid, struct scan *scan)
{
	struct process process;
	struct file_identity file;
	enum count_place place;
	struct binary binary;
	struct owner owner;
	int rc;

	if (look_for_openssl(follow, pid, scan, &rc))
		return rc;
	rc = catalog_inspect(follow->catalog, follow->proc, pid, &binary, &file);
	if (rc == -ENOEXEC || rc == -ENOENT)
		say_unknown(follow, pid);
	if (rc)
		return 0; /* of no interest, gone, or not ours to read */
	if (process_read(follow->proc, pid, &process))
		return 0;
	if (!owner_of(follow, &process, &binary, &owner))
		return 0;
	place = count_at_place(binary.sites[0].hook, binary.registry_kind);
	/* the first scan goes inside out over what is probed as well: nothing is known of that yet
	 */
	if (scan && place != COUNT_REGISTRY &&
	    (!follow->scanned_ns || !sites_has(follow->kernel, &binary)))
		return put_off(scan, pid, place, owner.order);
	rc = follow_binary(follow, &process, &binary, -1, &owner);
	replaced_watch(follow->replaced, &process);
	return rc;
}

int follow_process(struct follow *follow, pid_t pid)
{
	return look_at(follow, pid, NULL);
}

static int scan_one(void *context, pid_t pid)
{
	struct scan *scan = context;
	int rc = look_at(scan->follow, pid, scan);

	if (rc > 0)
		scan->attached += rc;
	return 0;
}

void follow_report_missing(const struct follow *follow)
{
	for (unsigned int i = 0; i < follow->targets_count; i++) {
		const struct target *target = &follow->targets[i];
		char value[512];

		if (follow->matched[i])
			continue;
		if (target->kind == TARGET_PID)
			snprintf(value, sizeof(value), "%d", target->pid);
		else
			log_quote(value, sizeof(value), target->value);
		log_warn("target is not running yet", "registry=%s target=%s", target->name, value);
	}
}

static int inside_out(const void *left, const void *right)
{
	const struct later *a = left, *b = right;

	return a->place == b->place ? a->order - b->order : (int)a->place - (int)b->place;
}

int follow_scan(struct follow *follow)
{
	struct scan scan = {.follow = follow};
	int rc;

	follow->again = false;
	rc = count_at_update(&follow->count_at);
	for (unsigned int i = 0; i < follow->targets_count; i++)
		target_resolve(&follow->targets[i], "");
	if (rc >= 0)
		rc = process_each(follow->proc, scan_one, &scan);
	if (scan.later)
		qsort(scan.later, scan.later_count, sizeof(*scan.later), inside_out);
	for (unsigned int i = 0; !rc && scan.later && i < scan.later_count; i++) {
		int attached = look_at(follow, scan.later[i].pid, NULL);

		scan.attached += attached > 0 ? attached : 0;
	}
	free(scan.later);
	follow_scanned(follow);
	return rc ?: scan.attached;
}

bool follow_tick(struct follow *follow)
{
	int rc = count_at_update(&follow->count_at);

	if (rc < 0)
		log_warn("where pulls are counted can't be brought in line", "error=\"%s\"",
			 strerror(-rc));
	follow->again |= rc > 0;
	return follow->again;
}

enum count_place follow_place(const struct follow *follow, uint32_t site)
{
	return follow->count_at.seats[site].place;
}

int follow_retire(struct follow *follow)
{
	struct pt_site site;
	int retired = 0;

	for (uint32_t i = 0; i < PT_SITES; i++) {
		struct site_place place;
		int rc;

		if (!sites_read(follow->kernel, i, &site) ||
		    count_at_idle_s(&follow->count_at, i) < UNUSED_S)
			continue;
		place = sites_place(&site);
		rc = sites_detach(follow->kernel, &place);
		if (rc)
			return rc;
		log_info("target detached", "inode=%llu reason=\"no process has run it for %d s\"",
			 (unsigned long long)site.inode, UNUSED_S);
		retired++;
	}
	tls_sweep(follow->kernel, follow->proc);
	return retired;
}
