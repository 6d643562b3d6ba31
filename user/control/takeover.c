/* SPDX-License-Identifier: MIT */
#include "control/takeover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attach/bpffs.h"
#include "attach/off.h"
#include "attach/sites.h"
#include "base/log.h"
#include "window/drain.h"

static void name_owner(const char *bpffs)
{
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	int rc = kernel_open(&kernel, bpffs);

	fprintf(stderr,
		"pulltap: another agent (pid %u) already counts with %s; stop it first, or give "
		"this "
		"one its own --bpffs and --state-dir\n",
		rc ? 0 : kernel->control->agent_pid, bpffs);
}

int takeover_lock(const char *bpffs, int *ret_fd)
{
	int rc = bpffs_prepare(bpffs);

	if (!rc) {
		*ret_fd = bpffs_lock(bpffs);
		rc = *ret_fd < 0 ? *ret_fd : 0;
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

/* A set made by another build: its last counts go to the spool, then it goes. */
static int replace_set(struct kernel *kernel, struct spool *spool, const char *pins)
{
	int rc = sites_detach_all(kernel);

	rc = rc ?: drain_all(kernel, spool);
	return rc ?: bpffs_empty(pins);
}

static int load_set(const struct options *options, const char *pins)
{
	struct kernel_sizes sizes = {.max_keys = options->max_keys,
				     .hint_seconds = options->hint_s};
	int rc = kernel_load(pins, &sizes);

	if (rc && bpffs_empty(pins))
		log_warn("half a set of pins is left", "pins=%s", options->bpffs);
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

int takeover_kernel(const struct options *options, struct spool *spool, int lock_fd,
		    struct kernel **ret)
{
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	const char *bpffs = options->bpffs;
	char pins[BPFFS_PATH_BYTES];
	struct off_state off = {};
	int rc;

	bpffs_path(lock_fd, pins);
	rc = kernel_open(&kernel, pins);

	if (!rc && kernel->control->abi_hash != kernel_abi_hash()) {
		log_info("replacing the kernel side of another build", "pins=%s", bpffs);
		off_save(kernel, &off);
		rc = replace_set(kernel, spool, pins) ?: -ENOENT;
		kernel_free(&kernel);
	} else if (!rc) {
		log_info("adopted what counts already", "pins=%s", bpffs);
		kernel->control->hint_seconds = options->hint_s;
	} else if (rc == -EPROTO) {
		fprintf(stderr,
			"pulltap: %s holds counts in another version's layout: start that version "
			"once more and stop it with SIGINT, or drop them with `pulltap "
			"uninstall`\n",
			bpffs);
	}
	if (rc == -ENOENT) { /* nothing, or a load cut short: the control map comes last */
		rc = bpffs_empty(pins);
		rc = rc ?: load_set(options, pins);
		rc = rc ?: kernel_open(&kernel, pins);
		if (!rc)
			off_restore(kernel, &off);
	}
	if (rc)
		return rc;
	*ret = TAKE_PTR(kernel);
	return 0;
}
