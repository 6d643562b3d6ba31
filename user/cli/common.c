/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attach/kernel.h"
#include "cli/commands.h"
#include "store/embedded.h"
#include "store/store.h"

int command_open_kernel(struct kernel **ret, const struct options *options)
{
	int rc = kernel_open(ret, options->bpffs);

	if (rc == -ENOENT)
		fprintf(stderr,
			"pulltap: nothing is pinned under %s: no agent has run here since boot; "
			"start one with `pulltap run`\n",
			options->bpffs);
	else if (rc == -EPROTO || rc == -EPROTONOSUPPORT)
		fprintf(stderr, "pulltap: %s was made by %s version; use that one's commands\n",
			options->bpffs, rc == -EPROTO ? "an older" : "a newer");
	else if (rc == -EUCLEAN)
		fprintf(stderr,
			"pulltap: some of the pins in %s are missing; `pulltap uninstall` removes "
			"the rest\n",
			options->bpffs);
	else if (rc == -EPERM || rc == -EACCES)
		fprintf(stderr, "pulltap: reading %s needs root (CAP_BPF and access to the pins)\n",
			options->bpffs);
	else if (rc)
		fprintf(stderr, "pulltap: opening %s: %s\n", options->bpffs, strerror(-rc));
	return rc;
}

const char *command_conninfo(const struct options *options, char *buffer, size_t size,
			     bool *ret_embedded)
{
	const char *conninfo =
		embedded_or(options->database, options->state_dir, buffer, size, ret_embedded);
	char message[256];

	if (!store_check_conninfo(conninfo, message, sizeof(message)))
		return conninfo;
	fprintf(stderr, "pulltap: --database: %s\n", message);
	return NULL;
}
