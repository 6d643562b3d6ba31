/* SPDX-License-Identifier: MIT */
/*
 * send: standard input to the emulator's debug port, byte by byte. Needs no driver and no
 * interrupt, so that it works alike in every kernel; a serial line stops in the middle on
 * PREEMPT_RT.
 */
#include <stdio.h>
#include <sys/io.h>
#include <unistd.h>

#define DEBUG_PORT 0xe9

int main(void)
{
	unsigned char bytes[4096];
	ssize_t n;

	if (ioperm(DEBUG_PORT, 1, 1)) {
		perror("send");
		return 1;
	}
	while ((n = read(STDIN_FILENO, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < n; i++)
			outb(bytes[i], DEBUG_PORT);
	return n < 0;
}
