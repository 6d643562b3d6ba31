/* SPDX-License-Identifier: MIT */
/*
 * A function that begins like one of Go 1.17 and later, in the program that includes this, and what
 * it takes to probe and to call it. Included once per program.
 */
#ifndef TESTS_TOOLS_PROBED_H
#define TESTS_TOOLS_PROBED_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "attach/kernel.h"
#include "attach/sites.h"

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

/*
 * Probes the function for the agent whose pins kernel has opened; site says as what. A build id of
 * another site takes its place. Returns 1 when it is probed, or -errno.
 */
static inline int probed_attach(struct kernel *kernel, const char *registry, const char *build_id,
				const struct binary_site *site)
{
	struct binary binary = {.sites_count = 1, .sites = {*site}};
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	binary.device = st.st_dev;
	binary.inode = st.st_ino;
	snprintf(binary.build_id, sizeof(binary.build_id), "%s", build_id);
	binary.sites[0].file_offset = probed_file_offset();
	strcpy(binary.sites[0].symbol, "probed_reply");
	return sites_has(kernel, &binary) ? 1 : sites_attach(kernel, &binary, fd, registry, 0, 0);
}

/* Index of a word of the command line; ends the program when there is no such word. */
static inline unsigned int probed_find(const char *name, const char *const *names,
				       unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(name, names[i]))
			return i;
	fprintf(stderr, "%s?\n", name);
	exit(2);
}

#endif
