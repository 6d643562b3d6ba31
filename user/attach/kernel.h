/* SPDX-License-Identifier: MIT */
/*
 * A set of programs and maps in the kernel, always reached through its pins: loading makes the
 * pins and then opens them, so that a fresh set and an adopted one are handled by the same code.
 * Where the pins lie: attach/generation.h. One thread owns it; reading counters through the
 * descriptors is safe from others.
 */
#ifndef PULLTAP_ATTACH_KERNEL_H
#define PULLTAP_ATTACH_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "../../bpf/abi.h"
#include "attach/entry.h"
#include "base/cleanup.h"

enum kernel_window_map {
	KERNEL_COUNTS,
	KERNEL_LONG_COUNTS,
	KERNEL_OVERFLOW,
	KERNEL_LEDGER,
	KERNEL_WINDOW_MAPS,
};
enum kernel_program {
	KERNEL_GO_HTTP1,
	KERNEL_GO_HTTP2,
	KERNEL_NGINX,
	KERNEL_TLS_READ,
	KERNEL_TLS_READ_DONE,
	KERNEL_TLS_WRITE,
	KERNEL_TLS_FREE,
	KERNEL_APACHE,
	KERNEL_EXEC_WATCH,
	KERNEL_PROGRAMS
};

struct kernel {
	char *path; /* of the folder that all sets share */
	uint64_t generation; /* number of this set */
	struct pt_control *control; /* shared with the programs, as the next two */
	uint32_t *off; /* the kill switch, enum pt_off; raise and clear bits by attach/off.h */
	struct pt_site *sites; /* PT_SITES of them; an older set's are a copy */
	int cpus; /* possible CPUs: values of per-CPU maps have one part for each */
	uint32_t max_keys; /* short keys of one window */
	uint32_t ledger_counters; /* an older set has fewer than LEDGER_COUNT */
	int off_fd;
	int sites_fd;
	int registries_fd;
	int hints_fd;
	int tls_connections_fd;
	int tls_requests_fd;
	int tls_calls_fd;
	int rules_fd;
	int proxies_fd;
	int events_fd;
	int outer_fd[KERNEL_WINDOW_MAPS];
	int window_fd[2][KERNEL_WINDOW_MAPS];
	int program_fd[KERNEL_PROGRAMS];
	struct entry entry; /* the same for all sets */
};

/* pt_slot.entry_lost_end of a window in use. */
#define KERNEL_OPEN_END UINT64_MAX

/* One long key for eight short ones: see bpf/abi.h for what fits in which. */
#define KERNEL_LONG_KEYS_SHARE 8

struct kernel_sizes {
	uint32_t max_keys; /* short keys of one window */
	uint32_t hint_seconds;
};

/*
 * Loads programs and maps and pins them as generation of path. Nothing is attached and nothing runs
 * them yet. What both sets have in common (switch, sites, registries, hints) is taken from before,
 * unless that is NULL: the very maps where their layout is the same, else a copy.
 * Errors: -EPERM privileges, -ENOTSUP a kernel without BTF or a needed feature, -errno else; the
 * verifier's or libbpf's last words are logged.
 */
must_check int kernel_load(const char *path, uint64_t generation, const struct kernel_sizes *sizes,
			   const struct kernel *before);

/*
 * Opens the set in use. -ENOENT: none is there, or its load was cut short. -EUCLEAN: pins of it are
 * missing. -EPROTO: made by a pulltap whose maps can't be taken over; -EPROTONOSUPPORT: by a newer
 * one, whose maps have more in them than is known here.
 */
must_check int kernel_open(struct kernel **ret, const char *path);
must_check int kernel_open_generation(struct kernel **ret, const char *path, uint64_t generation);
void kernel_free(struct kernel **kernel);

/* Of this binary's BPF object: a set with the same hash can be adopted. */
uint64_t kernel_abi_hash(void);

/*
 * From here on every hit runs this set's programs: each entry at one instant, and each hit as a
 * whole. kernel_grace() then waits for those that still run another set's.
 */
must_check int kernel_count_here(struct kernel *kernel);
bool kernel_counts_here(const struct kernel *kernel);

/* Attaches this set's exec watch in place of another's; harmless when it is there already. */
must_check int kernel_watch_execs(struct kernel *kernel);

/* Waits until every program that runs now has ended: an RCU grace period of the kernel. */
must_check int kernel_grace(struct kernel *kernel);

/*
 * Adds the per-CPU ledgers of a window (0 or 1), and what was lost before a hit reached any set.
 * ledger has LEDGER_COUNT entries.
 */
must_check int kernel_ledger(const struct kernel *kernel, unsigned int window, uint64_t *ledger);

/* Kernel memory that the maps of both windows take now, in bytes, as the kernel accounts it, and
 * the most that one window can take at its limits. */
must_check int kernel_memory(const struct kernel *kernel, uint64_t *ret_used,
			     uint64_t *ret_window_limit);

/*
 * Run time and hits of a program; 0 where statistics are switched off. For a program behind an
 * entry: since the entry was loaded, of all generations.
 */
must_check int kernel_program_stats(const struct kernel *kernel, enum kernel_program program,
				    uint64_t *ret_run_ns, uint64_t *ret_runs);
const char *kernel_program_name(enum kernel_program program);

/* The same formula for status, docs and the loader: most memory of one window, in bytes. */
uint64_t kernel_window_limit(uint32_t max_keys, uint32_t max_long_keys, unsigned int cpus);

#endif
