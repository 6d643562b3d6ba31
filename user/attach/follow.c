/* SPDX-License-Identifier: MIT */
#include "attach/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach/replaced.h"
#include "attach/sites.h"
#include "base/log.h"
#include "discover/catalog.h"
#include "discover/process.h"
#include "discover/target.h"

/* How long a probed file may be run by nobody before its probes (and the inode they hold) go. */
#define UNUSED_S 600
/* Processes of probed files that are remembered; more share nothing but a less exact guard. */
#define RUNNERS 512
/* Unusable binaries that are remembered, so that each is named once and not at every scan. */
#define COMPLAINTS 32
#define NS_PER_S 1000000000ull

struct follow {
	struct kernel *kernel;
	struct catalog *catalog;
	struct replaced *replaced;
	int proc;
	bool discover;
	const char *registry;
	bool (*is_off)(void *context, const char *registry);
	void *context;
	struct target *targets;
	unsigned int targets_count;
	uint64_t complained[COMPLAINTS]; /* inodes of binaries that were said to be unusable */
	unsigned int complaints;
	bool *matched; /* by target: a process was seen */
	uint64_t scanned_ns; /* when all processes had been looked at for the first time */
	struct runner {
		uint64_t device, inode;
		pid_t pid;
	} runners[RUNNERS];
	unsigned int runners_next; /* the oldest makes room */
	time_t last_run[PT_SITES]; /* when a process of that site's file was last seen */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static time_t now_s(void)
{
	return (time_t)(now_ns() / NS_PER_S);
}

void follow_free(struct follow **follow)
{
	struct follow *f = *follow;

	if (!f)
		return;
	catalog_free(&f->catalog);
	replaced_free(&f->replaced);
	if (f->proc >= 0)
		close(f->proc);
	free(f->targets);
	free(f->matched);
	free(f);
	*follow = NULL;
}

int follow_new(struct follow **ret, struct kernel *kernel, const struct follow_options *options)
{
	_cleanup_(follow_free) struct follow *follow = calloc(1, sizeof(*follow));
	int rc;

	if (!follow)
		return -ENOMEM;
	*follow = (struct follow){
		.kernel = kernel,
		.proc = -1,
		.discover = options->discover,
		.registry = options->registry,
		.is_off = options->is_off,
		.context = options->context,
		.targets_count = options->targets_count,
	};
	follow->targets = calloc(options->targets_count + 1, sizeof(*follow->targets));
	follow->matched = calloc(options->targets_count + 1, sizeof(*follow->matched));
	if (!follow->targets || !follow->matched)
		return -ENOMEM;
	for (unsigned int i = 0; i < options->targets_count; i++) {
		char message[256];

		if (!target_parse(options->targets[i], &follow->targets[i], message,
				  sizeof(message)))
			continue;
		fprintf(stderr, "pulltap: --target %s: %s\n", options->targets[i], message);
		return -EINVAL;
	}
	rc = catalog_new(&follow->catalog);
	rc = rc ?: replaced_new(&follow->replaced);
	rc = rc ?: process_open_proc("/proc", &follow->proc);
	if (rc)
		return rc;
	for (int i = 0; i < PT_SITES; i++)
		follow->last_run[i] = now_s();
	*ret = TAKE_PTR(follow);
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The name that the operator gave this process, or NULL. */
static const char *named(struct follow *follow, const struct process *process)
{
	for (unsigned int i = 0; i < follow->targets_count; i++) {
		if (!target_matches(&follow->targets[i], process))
			continue;
		follow->matched[i] = true;
		return follow->targets[i].name;
	}
	return NULL;
}

/* The registry's name that a process counts for; NULL when it is none of ours. */
static const char *registry_of(struct follow *follow, const struct process *process,
			       const struct binary *binary)
{
	const char *name = named(follow, process);

	if (name)
		return name;
	if (!follow->discover || !binary->registry_kind[0])
		return NULL;
	return follow->registry ? follow->registry : base_name(process->exe);
}

/* True the first time for an inode. */
static bool complain(struct follow *follow, uint64_t inode)
{
	for (unsigned int i = 0; i < COMPLAINTS; i++)
		if (follow->complained[i] == inode)
			return false;
	follow->complained[follow->complaints++ % COMPLAINTS] = inode;
	return true;
}

static void remember(struct follow *follow, pid_t pid, const struct binary *binary)
{
	struct runner *runner = NULL;

	for (unsigned int i = 0; !runner && i < RUNNERS; i++)
		if (follow->runners[i].pid == pid)
			runner = &follow->runners[i];
	if (!runner)
		runner = &follow->runners[follow->runners_next++ % RUNNERS];
	*runner = (struct runner){.device = binary->device, .inode = binary->inode, .pid = pid};
}

unsigned int follow_runners(const struct follow *follow, uint64_t device, uint64_t inode,
			    pid_t *pids, unsigned int max)
{
	unsigned int count = 0;

	for (unsigned int i = 0; count < max && i < RUNNERS; i++)
		if (follow->runners[i].pid && follow->runners[i].device == device &&
		    follow->runners[i].inode == inode)
			pids[count++] = follow->runners[i].pid;
	return count;
}

static void mark_run(struct follow *follow, pid_t pid, const struct binary *binary)
{
	struct pt_site site;

	if (pid) /* else nobody runs it yet */
		remember(follow, pid, binary);
	for (uint32_t i = 0; i < PT_SITES; i++)
		if (sites_read(follow->kernel, i, &site) && site.device == binary->device &&
		    site.inode == binary->inode)
			follow->last_run[i] = now_s();
}

/*
 * Since when a process may have answered without a probe, for one that came while the agent was
 * here already: what ran before is not missed by anybody, its registry is observed from now on. Time
 * switched off is recorded as such.
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
		       const struct binary *binary, int fd, const char *registry)
{
	uint64_t since_ns = unprobed_since(follow, process->pid);
	char exe[512], refusal[400];
	int rc;

	log_quote(exe, sizeof(exe), process->exe);
	if (!binary->sites_count) {
		if (complain(follow, binary->inode))
			log_warn("target can't be observed", "registry=%s exe=%s pid=%d reason=%s",
				 registry, exe, process->pid,
				 log_quote(refusal, sizeof(refusal), binary->refusal));
		return 0;
	}
	rc = sites_attach(follow->kernel, binary, fd, registry,
			  follow->is_off(follow->context, registry) ? PT_SITE_OFF_FLAG : 0,
			  since_ns);
	if (rc < 0) {
		if (complain(follow, binary->inode))
			log_error("attaching failed", "registry=%s exe=%s pid=%d error=\"%s\"",
				  registry, exe, process->pid, strerror(-rc));
		return 0;
	}
	if (!rc) {
		log_info("target is left alone, its registry is switched off",
			 "registry=%s exe=%s pid=%d", registry, exe, process->pid);
		return 0;
	}
	mark_run(follow, process->pid, binary);
	log_info("target attached", "registry=%s exe=%s pid=%d kind=%s version=%s sites=%d",
		 registry, exe, process->pid,
		 binary->registry_kind[0] ? binary->registry_kind : "named",
		 binary->version[0] ? binary->version : "unknown", rc);
	return 1;
}

static int attach_process(struct follow *follow, const struct process *process,
			  const struct binary *binary, const char *registry)
{
	_cleanup_close_ int fd = -1;
	int rc = process_open_binary(follow->proc, process->pid, &fd);

	if (rc)
		return rc == -ENOENT || rc == -ESRCH ? 0 : rc;
	return attach_file(follow, process, binary, fd, registry);
}

/* A file that lies where a registry was started from, and may be started any moment. */
static int attach_replaced(struct follow *follow, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct process process = {};
	struct binary binary;
	const char *registry;

	if (fd < 0 || file_identity_read(fd, &process.file) || binary_inspect(fd, &binary))
		return 0; /* what it is will be seen at its start */
	snprintf(process.exe, sizeof(process.exe), "%s", path);
	registry = registry_of(follow, &process, &binary);
	if (!registry || *follow->kernel->off || sites_has(follow->kernel, &binary))
		return 0;
	return attach_file(follow, &process, &binary, fd, registry);
}

int follow_fd(const struct follow *follow)
{
	return replaced_fd(follow->replaced);
}

int follow_replaced(struct follow *follow)
{
	const char *path;
	int attached = 0;

	while ((path = replaced_next(follow->replaced)))
		attached += attach_replaced(follow, path);
	return attached;
}

int follow_process(struct follow *follow, pid_t pid)
{
	struct process process;
	struct file_identity file;
	struct binary binary;
	const char *registry;
	int rc = catalog_inspect(follow->catalog, follow->proc, pid, &binary, &file);

	if (rc == -ENOEXEC || rc == -ENOENT) {
		/* of no interest, unless the operator says that this is a registry */
		if (follow->targets_count && !process_read(follow->proc, pid, &process) &&
		    named(follow, &process) && complain(follow, process.file.inode))
			log_warn("target can't be observed",
				 "pid=%d reason=\"no Go HTTP server, nginx or apache, see "
				 "pulltap "
				 "doctor\"",
				 pid);
		return 0;
	}
	if (rc)
		return 0; /* gone, or not ours to read */
	if (process_read(follow->proc, pid, &process))
		return 0;
	registry = registry_of(follow, &process, &binary);
	if (!registry)
		return 0;
	if (*follow->kernel->off || sites_has(follow->kernel, &binary)) {
		mark_run(follow, pid, &binary);
		rc = 0;
	} else {
		rc = attach_process(follow, &process, &binary, registry);
	}
	replaced_watch(follow->replaced, &process);
	return rc;
}

struct scan {
	struct follow *follow;
	int attached;
};

static int scan_one(void *context, pid_t pid)
{
	struct scan *scan = context;
	int rc = follow_process(scan->follow, pid);

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

int follow_scan(struct follow *follow)
{
	struct scan scan = {.follow = follow};
	int rc;

	for (unsigned int i = 0; i < follow->targets_count; i++)
		target_resolve(&follow->targets[i], "");
	rc = process_each(follow->proc, scan_one, &scan);
	if (!follow->scanned_ns)
		follow->scanned_ns = now_ns();
	return rc ?: scan.attached;
}

int follow_retire(struct follow *follow)
{
	struct pt_site site;
	int retired = 0;

	for (uint32_t i = 0; i < PT_SITES; i++) {
		int rc;

		if (!sites_read(follow->kernel, i, &site) ||
		    now_s() - follow->last_run[i] < UNUSED_S)
			continue;
		rc = sites_detach(follow->kernel, site.device, site.inode);
		if (rc)
			return rc;
		log_info("target detached", "inode=%llu reason=\"no process has run it for %d s\"",
			 (unsigned long long)site.inode, UNUSED_S);
		retired++;
	}
	return retired;
}
