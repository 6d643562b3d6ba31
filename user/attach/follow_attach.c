/* SPDX-License-Identifier: MIT */
/*
 * How a binary that was found gets its probes: what it has to be off for, who has to make room for
 * it, and since when it may have answered without them.
 */
#include "attach/follow_internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach/sites.h"
#include "base/log.h"
#include "discover/process.h"

#define NS_PER_S 1000000000ull

void follow_scanned(struct follow *follow)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	if (!follow->scanned_ns)
		follow->scanned_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* pid 0: nobody runs it yet */
static void mark_run(struct follow *follow, pid_t pid, const struct binary *binary, uint8_t order)
{
	struct site_place place = sites_binary_place(binary);

	if (pid)
		runners_add(&follow->runners, pid, place.program_device, place.program_inode);
	count_at_seen(&follow->count_at, binary, order, pid);
}

/* What a binary is probed with. */
struct terms {
	uint8_t off; /* enum pt_site_off */
	bool unprobed; /* it may have answered without a probe */
};

/* Others that have to stop for a binary that is about to count have stopped after this. */
static int make_room(struct follow *follow, const struct process *process,
		     const struct binary *binary, const struct owner *owner, struct terms *ret)
{
	bool flagged = follow->is_off(follow->context, owner->registry);
	struct count_newcomer newcomer = {
		.registry = owner->registry,
		.order = owner->order,
		.runs = process->pid,
		.able = !flagged,
	};
	int rc = 0;

	if (binary->sites_count && !*follow->kernel->off)
		rc = count_at_admit(&follow->count_at, binary, &newcomer);
	follow->again |= rc > 0;
	ret->off = newcomer.off | (flagged ? PT_SITE_OFF_FLAG : 0);
	ret->unprobed = newcomer.unprobed;
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
		       const struct binary *binary, int fd, const struct owner *owner,
		       const struct terms *terms)
{
	uint64_t since_ns = terms->unprobed ? unprobed_since(follow, process->pid) : 0;
	char exe[512], refusal[400];
	int rc;

	log_quote(exe, sizeof(exe), process->exe);
	if (!binary->sites_count) {
		if (follow_complain(follow, binary->inode, owner->registry))
			log_warn("target can't be observed", "registry=%s exe=%s pid=%d reason=%s",
				 owner->registry, exe, process->pid,
				 log_quote(refusal, sizeof(refusal), binary->refusal));
		return 0;
	}
	rc = sites_attach(follow->kernel, binary, fd, owner->registry, terms->off, since_ns);
	if (rc < 0) {
		if (follow_complain(follow, binary->inode, owner->registry))
			log_error("attaching failed", "registry=%s exe=%s pid=%d error=\"%s\"",
				  owner->registry, exe, process->pid, strerror(-rc));
		return 0;
	}
	mark_run(follow, process->pid, binary, owner->order);
	if (!rc) {
		say_left_alone(process, binary, owner, terms->off);
		return 0;
	}
	log_info("target attached", "registry=%s exe=%s pid=%d kind=%s version=%s sites=%d",
		 owner->registry, exe, process->pid,
		 binary->registry_kind[0] ? binary->registry_kind : "named",
		 binary->version[0] ? binary->version : "unknown", rc);
	return 1;
}

static int attach_process(struct follow *follow, const struct process *process,
			  const struct binary *binary, const struct owner *owner,
			  const struct terms *terms)
{
	_cleanup_close_ int fd = -1;
	int rc = process_open_binary(follow->proc, process->pid, &fd);

	if (rc)
		return rc == -ENOENT || rc == -ESRCH ? 0 : rc;
	return attach_file(follow, process, binary, fd, owner, terms);
}

int follow_binary(struct follow *follow, const struct process *process, const struct binary *binary,
		  int fd, const struct owner *owner)
{
	struct terms terms;
	int rc = make_room(follow, process, binary, owner, &terms);

	if (rc)
		return rc;
	if (*follow->kernel->off || sites_has(follow->kernel, binary)) {
		mark_run(follow, process->pid, binary, owner->order);
		return 0;
	}
	return fd < 0 ? attach_process(follow, process, binary, owner, &terms)
		      : attach_file(follow, process, binary, fd, owner, &terms);
}
