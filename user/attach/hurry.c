/* SPDX-License-Identifier: MIT */
#include "attach/hurry.h"

#include <fcntl.h>

#define FILE_NAME "/sys/kernel/rcu_expedited"

static void set(struct kernel *kernel, bool on)
{
	/* noted where the next agent finds it: before it is set, until it is set back */
	if (on)
		kernel->control->expedited = 1;
	if (pwrite(kernel->expedited_fd, on ? "1" : "0", 1, 0) == 1 && !on)
		kernel->control->expedited = 0;
}

void hurry_open(struct kernel *kernel)
{
	kernel->expedited_fd = open(FILE_NAME, O_RDWR | O_CLOEXEC);
	if (kernel->expedited_fd >= 0 && kernel->control->expedited)
		set(kernel, false);
}

void hurry_begin(struct kernel *kernel)
{
	char now = '1';

	/* an operator who has set it for good keeps it */
	if (kernel->expedited_fd >= 0 && pread(kernel->expedited_fd, &now, 1, 0) == 1 && now == '0')
		set(kernel, true);
}

void hurry_end(struct kernel *kernel)
{
	if (kernel->expedited_fd >= 0 && kernel->control->expedited)
		set(kernel, false);
}
