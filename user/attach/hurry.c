/* SPDX-License-Identifier: MIT */
#include "attach/hurry.h"

#include <fcntl.h>

static int file = -1; /* for as long as the process lives */

void hurry_prepare(void)
{
	file = open("/sys/kernel/rcu_expedited", O_RDWR | O_CLOEXEC);
}

static void set(struct kernel *kernel, bool on)
{
	/* noted where the next agent finds it: before it is set, until it is set back */
	if (on)
		kernel->control->expedited = 1;
	if (pwrite(file, on ? "1" : "0", 1, 0) == 1 && !on)
		kernel->control->expedited = 0;
}

void hurry_begin(struct kernel *kernel)
{
	char now = '1';

	/* an operator who has set it for good keeps it */
	if (file >= 0 && pread(file, &now, 1, 0) == 1 && now == '0')
		set(kernel, true);
}

void hurry_end(struct kernel *kernel)
{
	if (file >= 0 && kernel->control->expedited)
		set(kernel, false);
}

void hurry_recover(struct kernel *kernel)
{
	hurry_end(kernel);
}
