/* SPDX-License-Identifier: MIT */
/* `pulltap uninstall`: leaves no trace in the kernel; spool and database stay. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attach/bpffs.h"
#include "attach/generation.h"
#include "attach/kernel.h"
#include "attach/sites.h"
#include "cli/commands.h"
#include "control/takeover.h"
#include "window/drain.h"

/* Counts that no agent has taken yet go to the spool, so that the next agent ships them. */
static int save_counts(struct kernel *kernel, const struct options *options)
{
	_cleanup_(spool_free) struct spool *spool = NULL;
	struct drain_result sum = {};
	char path[4096];
	int rc = sites_detach_all(kernel);

	if (rc)
		return rc;
	snprintf(path, sizeof(path), "%s/spool", options->state_dir);
	rc = spool_new(&spool, path);
	return rc ?: takeover_finish(kernel->path, NULL, spool, &sum);
}

/* Another version's, or not whole: nobody here can read them. */
static int drop_counts(const struct options *options)
{
	fprintf(stderr,
		"pulltap: what %s counted since its agent's last window is dropped: another "
		"version made it, or some of its pins are missing\n",
		options->bpffs);
	return 0;
}

int command_uninstall(int argc, char **argv)
{
	_cleanup_(options_free) struct options options = {};
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	_cleanup_close_ int lock = -1;
	int rc = options_parse(&options, OPTIONS_UNINSTALL,
			       "Remove probes, programs and maps from the kernel. Counts that no "
			       "agent has taken yet are saved in the spool first.",
			       argc, argv, NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	lock = bpffs_lock(options.bpffs);
	if (lock == -EWOULDBLOCK) {
		fprintf(stderr, "pulltap: an agent is running on %s; stop it first\n",
			options.bpffs);
		return 1;
	}
	if (lock == -ENOENT) {
		puts("nothing to remove");
		return 0;
	}
	if (lock < 0) {
		fprintf(stderr, "pulltap: %s: %s: run as root\n", options.bpffs, strerror(-lock));
		return 1;
	}
	rc = kernel_open(&kernel, options.bpffs);
	if (!rc)
		rc = save_counts(kernel, &options);
	else if (rc == -EPROTO || rc == -EPROTONOSUPPORT || rc == -EUCLEAN)
		rc = drop_counts(&options);
	if (rc && rc != -ENOENT) {
		fprintf(stderr, "pulltap: saving the last counts: %s\n", strerror(-rc));
		return 1;
	}
	generation_forget(options.bpffs);
	rc = bpffs_remove(options.bpffs, lock);
	if (rc) {
		fprintf(stderr, "pulltap: removing %s: %s\n", options.bpffs, strerror(-rc));
		return 1;
	}
	puts("removed");
	return 0;
}
