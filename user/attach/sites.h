/* SPDX-License-Identifier: MIT */
/*
 * Which instructions of which binaries are probed, kept in the kernel's own `sites` map so that
 * the next agent finds them. A site is a slot of that map and a pinned link of the same number.
 */
#ifndef PULLTAP_ATTACH_SITES_H
#define PULLTAP_ATTACH_SITES_H

#include <stdbool.h>

#include "attach/kernel.h"
#include "discover/binary.h"

/*
 * Which file a probe stands in, and whose hits count there: of processes that run the program. Both
 * are the same but for libraries, where two targets that use one file have each their own sites.
 */
struct site_place {
	uint64_t device, inode;
	uint64_t program_device, program_inode;
};

struct site_place sites_place(const struct pt_site *site);
struct site_place sites_binary_place(const struct binary *binary);
bool sites_same_place(const struct site_place *a, const struct site_place *b);

/*
 * Probes every site of a binary that is not probed yet, counting for the registry of that name; a
 * site that was probed before gets its slot back. off: for that reason (enum pt_site_off) its sites
 * get slots and no probes, 0: they are on. While counting is off they get none either. since_ns:
 * the time since boot from which somebody may have run it without probes, 0: nobody has; until they
 * are there it is recorded like time switched off. Returns the number of sites newly attached, or
 * -errno: -ENOSPC when PT_SITES or PT_REGISTRIES are used up; partly attached binaries are detached
 * again.
 */
must_check int sites_attach(struct kernel *kernel, const struct binary *binary, int binary_fd,
			    const char *registry, uint8_t off, uint64_t since_ns);

/* Is this very binary (device, inode, build) probed already, or to be left alone? */
bool sites_has(const struct kernel *kernel, const struct binary *binary);

/* Takes probes off and keeps their slots, for sites_attach() to come back to. Any thread. */
void sites_unlink(const struct kernel *kernel);
void sites_unlink_one(const struct kernel *kernel, uint32_t index);

/* What is pinned as the probe of a site. */
enum site_probe {
	SITE_PROBE_OURS,
	SITE_PROBE_GONE,
	SITE_PROBE_FOREIGN, /* a link to something else, or to another place */
};
enum site_probe sites_probe(const struct kernel *kernel, uint32_t index);

/*
 * For an agent that takes over: pins survive, but is a probe behind each? What is not ours is taken
 * off, and the log names each site that should be probed and is not; follow_scan() attaches them
 * anew. Returns how many.
 */
must_check int sites_prove(const struct kernel *kernel);

/* Detaches the sites that are there; 0 also when there are none. */
must_check int sites_detach(struct kernel *kernel, const struct site_place *place);

/* Detaches everything. */
must_check int sites_detach_all(struct kernel *kernel);

/* Reads slot index; false when it is empty. */
bool sites_read(const struct kernel *kernel, uint32_t index, struct pt_site *ret);

/* Name of a registry by its index; "" when unknown. */
void sites_registry(const struct kernel *kernel, uint32_t index, struct pt_registry *ret);

#endif
