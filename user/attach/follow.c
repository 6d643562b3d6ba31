/* SPDX-License-Identifier: MIT */
#include "attach/follow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach/sites.h"
#include "base/log.h"
#include "discover/process.h"

/* How long a probed file may be run by nobody before its probes (and the inode they hold) go. */
#define UNUSED_S 600
#define NS_PER_S 1000000000ull

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool follow_complain(struct follow *follow, uint64_t inode)
{
	for (unsigned int i = 0; i < COMPLAINTS; i++)
		if (follow->complained[i] == inode)
			return false;
	follow->complained[follow->complaints++ % COMPLAINTS] = inode;
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
	if (follow_complain(follow, binary->inode))
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

/* pid 0: nobody runs it yet */
static void mark_run(struct follow *follow, pid_t pid, const struct binary *binary, uint8_t order)
{
	struct site_place place = sites_binary_place(binary);

	if (pid)
		runners_add(&follow->runners, pid, place.program_device, place.program_inode);
	count_at_seen(&follow->count_at, binary, order);
}

/*
 * What a binary that is about to count has to be off for (enum pt_site_off); others that have to
 * stop for it have stopped.
 */
static int make_room(struct follow *follow, const struct binary *binary, const struct owner *owner,
		     uint8_t *ret_off)
{
	bool flagged = follow->is_off(follow->context, owner->registry);
	uint8_t elsewhere = 0;
	int rc = 0;

	if (binary->sites_count && !*follow->kernel->off)
		rc = count_at_admit(&follow->count_at, binary, owner->registry, owner->order,
				    !flagged, &elsewhere);
	follow->again |= rc > 0;
	*ret_off = elsewhere | (flagged ? PT_SITE_OFF_FLAG : 0);
	return rc < 0 ? rc : 0;
}

static void say_left_alone(const struct process *process, const struct binary *binary,
			   const struct owner *owner, uint8_t off)
{
	char exe[512];

	log_quote(exe, sizeof(exe), process->exe);
	if (off & PT_SITE_OFF_FLAG)
		log_info("target is left alone, its registry is switched off",
			 "registry=%s exe=%s pid=%d", owner->registry, exe, process->pid);
	else if (off)
		log_info("target does not count: its pulls are counted elsewhere on this node",
			 "registry=%s exe=%s pid=%d place=\"%s\" choose=--count-at",
			 owner->registry, exe, process->pid,
			 count_at_place_name(
				 count_at_place(binary->sites[0].hook, binary->registry_kind)));
}

/*
 * Since when a process may have answered without a probe, for one that came while the agent was
 * here already: what ran before is not missed by anybody, its registry is observed from now on.
 * Time switched off is recorded as such.
 */
static uint64_t unprobed_since(const struct follow *follow, pid_t pid)
{
	uint64_t ticks, start_ns;

	if (!pid || !follow->scanned_ns || follow->kernel->control->off.since_ns ||
	    process_start_time(follow->proc, pid, &ticks))
		return 0;
	start_ns = ticks * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
	return start_ns > follow->scanned_ns ? start_ns : follow->scanned_ns;
}

/* fd: of the binary. process->pid is 0 for a file that nobody runs yet. */
static int attach_file(struct follow *follow, const struct process *process,
		       const struct binary *binary, int fd, const struct owner *owner, uint8_t off)
{
	/* what counts elsewhere is missed by nobody */
	uint64_t since_ns = off & PT_SITE_OFF_ELSEWHERE ? 0 : unprobed_since(follow, process->pid);
	char exe[512], refusal[400];
	int rc;

	log_quote(exe, sizeof(exe), process->exe);
	if (!binary->sites_count) {
		if (follow_complain(follow, binary->inode))
			log_warn("target can't be observed", "registry=%s exe=%s pid=%d reason=%s",
				 owner->registry, exe, process->pid,
				 log_quote(refusal, sizeof(refusal), binary->refusal));
		return 0;
	}
	rc = sites_attach(follow->kernel, binary, fd, owner->registry, off, since_ns);
	if (rc < 0) {
		if (follow_complain(follow, binary->inode))
			log_error("attaching failed", "registry=%s exe=%s pid=%d error=\"%s\"",
				  owner->registry, exe, process->pid, strerror(-rc));
		return 0;
	}
	mark_run(follow, process->pid, binary, owner->order);
	if (!rc) {
		say_left_alone(process, binary, owner, off);
		return 0;
	}
	log_info("target attached", "registry=%s exe=%s pid=%d kind=%s version=%s sites=%d",
		 owner->registry, exe, process->pid,
		 binary->registry_kind[0] ? binary->registry_kind : "named",
		 binary->version[0] ? binary->version : "unknown", rc);
	return 1;
}

static int attach_process(struct follow *follow, const struct process *process,
			  const struct binary *binary, const struct owner *owner, uint8_t off)
{
	_cleanup_close_ int fd = -1;
	int rc = process_open_binary(follow->proc, process->pid, &fd);

	if (rc)
		return rc == -ENOENT || rc == -ESRCH ? 0 : rc;
	return attach_file(follow, process, binary, fd, owner, off);
}

/* A file that lies where a registry was started from, and may be started any moment. */
static int attach_replaced(struct follow *follow, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct process process = {};
	struct binary binary;
	struct owner owner;
	uint8_t off;

	if (fd < 0 || file_identity_read(fd, &process.file) || binary_inspect(fd, &binary))
		return 0; /* what it is will be seen at its start */
	snprintf(process.exe, sizeof(process.exe), "%s", path);
	if (!owner_of(follow, &process, &binary, &owner) || *follow->kernel->off ||
	    sites_has(follow->kernel, &binary) || make_room(follow, &binary, &owner, &off))
		return 0;
	return attach_file(follow, &process, &binary, fd, &owner, off);
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

int follow_binary(struct follow *follow, const struct process *process, const struct binary *binary,
		  int fd, const struct owner *owner)
{
	uint8_t off;
	int rc = make_room(follow, binary, owner, &off);

	if (rc)
		return rc;
	if (*follow->kernel->off || sites_has(follow->kernel, binary)) {
		mark_run(follow, process->pid, binary, owner->order);
		return 0;
	}
	return fd < 0 ? attach_process(follow, process, binary, owner, off)
		      : attach_file(follow, process, binary, fd, owner, off);
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
	    named(follow, &process, &owner) && follow_complain(follow, process.file.inode))
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
	if (scan && place != COUNT_REGISTRY && !sites_has(follow->kernel, &binary))
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
	for (unsigned int i = 0; !rc && i < scan.later_count; i++) {
		int attached = look_at(follow, scan.later[i].pid, NULL);

		scan.attached += attached > 0 ? attached : 0;
	}
	free(scan.later);
	if (!follow->scanned_ns)
		follow->scanned_ns = now_ns();
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
	return retired;
}
