/* SPDX-License-Identifier: MIT */
/*
 * What a binary is and where it can be probed: reads an ELF file, stripped or not, recognises what
 * made it (Go's net/http, nginx, apache), finds where it finishes a reply and picks there the
 * instruction that the kernel emulates. Pure: reads the file through a descriptor, includes no
 * libbpf, runs in unit tests without root. A new way in is a file beside go_binary.c,
 * nginx_binary.c, apache_binary.c.
 */
#ifndef PULLTAP_DISCOVER_BINARY_H
#define PULLTAP_DISCOVER_BINARY_H

#include <stdbool.h>
#include <stdint.h>

#include "../../bpf/abi.h"
#include "base/cleanup.h"
#include "discover/way.h"

#define BINARY_SITES 16

struct binary_site {
	uint8_t hook; /* enum pt_hook */
	uint8_t go_abi; /* enum pt_go_abi */
	uint8_t go_map; /* enum pt_go_map */
	union pt_layout layout; /* where the hook's arguments hold what, by the hook */
	uint64_t file_offset; /* of the instruction to probe, what the kernel's uprobe wants */
	char symbol[104]; /* function name, shortened at the front with "..." if longer */
};

struct binary {
	enum way way; /* what it was recognised as */
	/* what the probe will stand in, see file_identity.h: one value for all overlay mounts */
	uint64_t device;
	uint64_t inode;
	char build_id[65]; /* hex of the GNU build id, else of Go's; empty if neither */
	char version[48]; /* "go1.19.8", "nginx/1.22.1": what it says itself, "" for nothing */
	/*
	 * The registry's kind by its package names in the pclntab: "distribution", "harbor-core",
	 * "zot", "gitlab-registry"; empty when it has none of them.
	 */
	char registry_kind[24];
	unsigned int sites_count;
	struct binary_site sites[BINARY_SITES];
	/* Why a hook that exists can't be used, one line for doctor; empty when all can. */
	char refusal[256];
};

/*
 * Inspects the file behind fd (any regular file, any size, hostile content included). The file is
 * read in pieces, never mapped: one that is truncated meanwhile is an error, not a SIGBUS. Takes
 * about 1 MiB of memory and 5 ms for a registry, below a second for a crafted file.
 * Returns 0 when it is of a known kind with at least one hook found; sites_count may then be 0 with
 * a refusal. -ENOEXEC: not an x86-64 ELF; -ENOENT: of no known kind; -errno otherwise.
 * No site is taken that must be single-stepped: every known Go version has the branch of the stack
 * check, and where a hook has none (the refusal says so) the flags tell nothing about a function
 * that starts over, so a count there would be wrong, not just slow.
 */
must_check int binary_inspect(int fd, struct binary *ret);

/*
 * The same for OpenSSL, in libssl or in a program that has it inside. Whose hits its sites count,
 * struct pt_tls_layout's exe_inode and exe_device, is the caller's to fill in. -ENOENT: there is no
 * SSL_read in it.
 */
must_check int binary_inspect_openssl(int fd, struct binary *ret);

/* The version that a libcrypto says, "3.0.19"; -ENOENT when it says none. */
must_check int binary_openssl_version(int fd, char *ret, unsigned int size);

#endif
