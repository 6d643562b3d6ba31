/* SPDX-License-Identifier: MIT */
/*
 * The floor of every measurement: an empty program on the very sites that pulltap would probe.
 *   empty_probe EXE    attaches, prints "attached N", and detaches when it gets SIGTERM or SIGINT
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "attach/uprobe.h"
#include "discover/binary.h"

int main(int argc, char **argv)
{
	/* r0 = 0; exit */
	const struct bpf_insn empty[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct binary binary = {0};
	sigset_t signals;
	int file, program, ended, rc;

	if (argc != 2) {
		fprintf(stderr, "usage: empty_probe EXE\n");
		return 2;
	}
	file = open(argv[1], O_RDONLY | O_CLOEXEC);
	rc = file < 0 ? -errno : binary_inspect(file, &binary);
	if (rc || !binary.sites_count) {
		fprintf(stderr, "%s: no site to probe: %s\n", argv[1], strerror(-rc));
		return 1;
	}
	program = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "empty", "GPL", empty, 2, NULL);
	if (program < 0) {
		fprintf(stderr, "loading: %s\n", strerror(errno));
		return 1;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	for (unsigned int i = 0; i < binary.sites_count; i++) {
		rc = uprobe_attach(program, file, binary.sites[i].file_offset, 0);
		if (rc < 0) {
			fprintf(stderr, "attaching: %s\n", strerror(-rc));
			return 1;
		}
	}
	printf("attached %u\n", binary.sites_count);
	fflush(stdout);
	sigwait(&signals, &ended);
	return 0;
}
