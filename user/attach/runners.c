/* SPDX-License-Identifier: MIT */
#include "attach/runners.h"

#include <stddef.h>

void runners_add(struct runners *runners, pid_t pid, uint64_t device, uint64_t inode)
{
	struct runner *runner = NULL;

	for (unsigned int i = 0; !runner && i < RUNNERS; i++)
		if (runners->all[i].pid == pid)
			runner = &runners->all[i];
	if (!runner)
		runner = &runners->all[runners->next++ % RUNNERS];
	*runner = (struct runner){.device = device, .inode = inode, .pid = pid};
}

unsigned int runners_of(const struct runners *runners, uint64_t device, uint64_t inode, pid_t *pids,
			unsigned int max)
{
	unsigned int count = 0;

	for (unsigned int i = 0; count < max && i < RUNNERS; i++)
		if (runners->all[i].pid && runners->all[i].device == device &&
		    runners->all[i].inode == inode)
			pids[count++] = runners->all[i].pid;
	return count;
}
