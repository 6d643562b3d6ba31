/* SPDX-License-Identifier: MIT */
/*
 * A function that begins like one of Go 1.17 and later, in the program that includes this, and what
 * it takes to probe and to call it. Included once per program.
 */
#ifndef TESTS_TOOLS_PROBED_H
#define TESTS_TOOLS_PROBED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* cmp rsp, [r14+0x10]; jbe: taken when the guard lies above the stack */
__asm__(".text\n"
	".globl probed_reply\n"
	".type probed_reply, @function\n"
	"probed_reply:\n"
	"	.byte 0x49, 0x3b, 0x66, 0x10\n"
	"	.byte 0x76, 0x01\n"
	"	ret\n"
	"	ret\n");
extern const char probed_reply[];
#define PROBED_JBE 4 /* offset of the jbe */

/* goroutine[2] is stackguard0. Each ABI takes its argument from its own place. */
static inline void probed_call(const uint64_t goroutine[3], uint64_t in_register, uint64_t on_stack)
{
	/* below the red zone, with the argument where the callee's caller keeps it */
	__asm__ volatile("leaq -256(%%rsp), %%rsp\n\tpushq %2\n\tmovq %1, %%r14\n\tcallq *%3\n\t"
			 "leaq 264(%%rsp), %%rsp\n\t"
			 :
			 : "a"(in_register), "c"(goroutine), "d"(on_stack), "b"(probed_reply)
			 : "r14", "memory", "cc");
}

/* Where the jbe lies in this program's file. */
static inline uint64_t probed_file_offset(void)
{
	uint64_t address = (uint64_t)probed_reply, start, end, offset;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 &&
		    address >= start && address < end) {
			fclose(maps);
			return address - start + offset + PROBED_JBE;
		}
	}
	abort();
}

#endif
