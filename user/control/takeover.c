/* SPDX-License-Identifier: MIT */
#include "control/takeover.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "attach/bpffs.h"
#include "attach/generation.h"
#include "attach/hurry.h"
#include "attach/off.h"
#include "attach/sites.h"
#include "attach/text.h"
#include "base/log.h"

static void name_owner(const char *bpffs)
{
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	char pid[32] = "pid unknown";

	if (!kernel_open(&kernel, bpffs) && kernel->control->agent_pid)
		snprintf(pid, sizeof(pid), "pid %u", kernel->control->agent_pid);
	fprintf(stderr,
		"pulltap: another agent (%s) already counts with %s; stop it first, or give this "
		"one its own --bpffs and --state-dir\n",
		pid, bpffs);
}

int takeover_lock(const char *bpffs, int *ret_fd)
{
	int rc = bpffs_prepare(bpffs);

	/* once more if the one who had it has just removed the folder */
	for (int tries = 0; !rc && tries < 3; tries++) {
		*ret_fd = bpffs_lock(bpffs);
		rc = *ret_fd < 0 ? *ret_fd : 0;
		if (rc != -ENOENT)
			break;
		rc = bpffs_prepare(bpffs);
	}
	if (rc == -EWOULDBLOCK)
		name_owner(bpffs);
	else if (rc == -EMEDIUMTYPE)
		fprintf(stderr,
			"pulltap: %s is not on a BPF file system: mount one (mount -t bpf bpf "
			"/sys/fs/bpf, on the node itself and not in a container) or choose another "
			"--bpffs\n",
			bpffs);
	else if (rc == -EPERM || rc == -EACCES)
		fprintf(stderr,
			"pulltap: %s: permission denied: run as root (see pulltap doctor)\n",
			bpffs);
	else if (rc)
		fprintf(stderr, "pulltap: %s: %s\n", bpffs, strerror(-rc));
	return rc;
}

static int load_error(int rc)
{
	if (rc == -EPERM)
		fprintf(stderr, "pulltap: loading programs: permission denied: run as root\n");
	else if (rc == -EACCES)
		fprintf(stderr, "pulltap: this kernel's verifier refused a program: please report "
				"the log's last lines and `uname -r`\n");
	else if (rc)
		fprintf(stderr,
			"pulltap: loading programs: %s; `pulltap doctor` says what is "
			"missing\n",
			strerror(-rc));
	return rc;
}

static int open_error(int rc, const char *bpffs)
{
	if (rc == -EPROTO)
		fprintf(stderr,
			"pulltap: %s holds counts in an older version's layout: start that version "
			"once more and stop it with SIGINT, or drop them with `pulltap "
			"uninstall`\n",
			bpffs);
	else if (rc == -EPROTONOSUPPORT)
		fprintf(stderr,
			"pulltap: %s is in use by a newer version, whose counts this one can't "
			"read: to go back, first stop that version with SIGINT or run its `pulltap "
			"uninstall`; either saves the last counts\n",
			bpffs);
	else if (rc == -EUCLEAN)
		fprintf(stderr,
			"pulltap: somebody removed some of the pins in %s: `pulltap uninstall` "
			"removes the rest\n",
			bpffs);
	else if (rc)
		return load_error(rc);
	return rc;
}

static int remove_set(const char *pins, uint64_t number)
{
	char folder[PATH_MAX], control[PATH_MAX + 16];
	int rc;

	generation_path(folder, pins, number);
	/* first, so that what an agent leaves that dies here is no set any more */
	snprintf(control, sizeof(control), "%s/control", folder);
	if (unlink(control) && errno != ENOENT)
		return -errno;
	rc = bpffs_empty(folder);
	return rc || !rmdir(folder) || errno == ENOENT ? rc : -errno;
}

/* Sets above the one in use were being loaded when their agent died: no hit ever ran them. */
static int remove_unborn(const char *pins, uint64_t live)
{
	uint64_t numbers[GENERATIONS_MAX];
	int count = generation_list(pins, numbers), rc = count < 0 ? count : 0;

	for (int i = 0; !rc && i < count; i++)
		if (numbers[i] > live)
			rc = remove_set(pins, numbers[i]);
	return rc;
}

/* Our own set beside the others: loaded and its window owned, but no hit runs it yet. */
static int load_set(const struct options *options, const char *pins, struct spool *spool,
		    struct kernel *live, struct kernel **ret)
{
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	const struct kernel_sizes sizes = {.max_keys = options->max_keys,
					   .hint_seconds = options->hint_s};
	uint64_t number = live ? live->generation + 1 : 1;
	int rc = load_error(kernel_load(pins, number, &sizes, live));

	rc = rc ?: open_error(kernel_open_generation(&kernel, pins, number), options->bpffs);
	if (rc)
		return rc;
	rc = drain_begin(kernel, spool, live);
	if (rc) {
		fprintf(stderr, "pulltap: spool %s: %s; what counted before goes on counting\n",
			spool_path(spool), strerror(-rc));
		return rc;
	}
	if (live)
		log_info("replacing the kernel side of another build",
			 "pins=%s generation=%llu by=%llu", options->bpffs,
			 (unsigned long long)live->generation, (unsigned long long)number);
	*ret = TAKE_PTR(kernel);
	return 0;
}

/*
 * What every set needs, and the one in use. Without one in use no hit was ever counted:
 * then whatever lies there is a first load that was cut short.
 */
static int open_live(const char *pins, struct kernel **live)
{
	char folder[PATH_MAX];
	uint64_t number;
	int rc = generation_live(pins, &number);
	bool fresh = rc == -ENOENT;

	if (fresh) /* unless a version that knew no generations has left its maps */
		rc = kernel_open(live, pins) == -EPROTO ? -EPROTO : bpffs_empty(pins);
	snprintf(folder, sizeof(folder), "%s/link", pins);
	if (!rc && mkdir(folder, 0700) && errno != EEXIST)
		rc = -errno;
	rc = rc ?: entry_make(pins);
	if (rc || fresh)
		return rc;
	rc = kernel_open(live, pins);
	if (rc == -ENOENT)
		rc = -EUCLEAN;
	return rc ?: remove_unborn(pins, number);
}

/* Is it the very set that this agent would load? */
static bool adoptable(const struct kernel *live, const struct options *options)
{
	return live->control->abi_hash == kernel_abi_hash() && live->max_keys == options->max_keys;
}

/* What is known beside the counts goes along; what both sets share needs no copy. */
static void hand_over(const struct kernel *from, struct kernel *to)
{
	off_hand_over(from, to);
	to->control->attaches = from->control->attaches;
	to->control->expedited = from->control->expedited; /* by an agent that died just then */
}

/*
 * Brings the set into use: it is live before the first hit runs it. Each step is harmless when it
 * was done before: an agent that died in between left something that the next one takes through all
 * of them again.
 */
static int put_to_use(struct kernel *kernel)
{
	int rc = generation_go_live(kernel->path, kernel->generation);

	rc = rc ?: kernel_count_here(kernel);
	rc = rc ?: sites_prove(kernel);
	if (rc < 0)
		return rc;
	rc = text_prove(kernel, "/proc");
	return rc < 0 ? rc : 0;
}

int takeover_kernel(const struct options *options, const struct policy *policy, struct spool *spool,
		    int lock_fd, struct kernel **ret)
{
	_cleanup_(kernel_free) struct kernel *live = NULL, *kernel = NULL;
	const char *bpffs = options->bpffs;
	char pins[BPFFS_PATH_BYTES];
	int rc;

	bpffs_path(lock_fd, pins);
	rc = open_error(open_live(pins, &live), bpffs);
	if (rc)
		return rc;
	if (live)
		live->control->agent_pid = (uint32_t)getpid(); /* whom a second agent will name */
	if (live && adoptable(live, options)) {
		log_info("adopted what counts already", "pins=%s generation=%llu", bpffs,
			 (unsigned long long)live->generation);
		kernel = TAKE_PTR(live);
		kernel->control->hint_seconds = options->hint_s;
		rc = drain_begin(kernel, spool, NULL);
	} else {
		rc = load_set(options, pins, spool, live, &kernel);
		if (!rc && live)
			hand_over(live, kernel);
	}
	if (rc)
		return rc;
	kernel->control->agent_pid = (uint32_t)getpid();
	hurry_recover(kernel);
	rc = policy_write(policy, kernel);
	rc = open_error(rc ?: put_to_use(kernel), bpffs);
	if (rc)
		return rc;
	*ret = TAKE_PTR(kernel);
	return 0;
}

int takeover_finish(const char *pins, const struct kernel *in_use, struct spool *spool,
		    struct drain_result *sum)
{
	uint64_t numbers[GENERATIONS_MAX];
	int count = generation_list(pins, numbers), rc = count < 0 ? count : 0;

	for (int i = 0; !rc && i < count; i++) {
		_cleanup_(kernel_free) struct kernel *kernel = NULL;

		if (in_use && numbers[i] == in_use->generation)
			continue;
		rc = kernel_open_generation(&kernel, pins, numbers[i]);
		if (!rc)
			rc = drain_frozen(kernel, spool, sum);
		else if (rc == -ENOENT) /* never whole */
			rc = 0;
		rc = rc ?: remove_set(pins, numbers[i]);
	}
	return rc;
}
