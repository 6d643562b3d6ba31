/* SPDX-License-Identifier: MIT */
#include "attach/sites.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "attach/hurry.h"
#include "attach/off.h"
#include "attach/uprobe.h"
#include "base/log.h"

bool sites_read(const struct kernel *kernel, uint32_t index, struct pt_site *ret)
{
	return !bpf_map_lookup_elem(kernel->sites_fd, &index, ret) && ret->hook;
}

void sites_registry(const struct kernel *kernel, uint32_t index, struct pt_registry *ret)
{
	if (bpf_map_lookup_elem(kernel->registries_fd, &index, ret))
		ret->name[0] = 0;
}

/* The index of a registry's name, given out on first use and never taken back. */
static int registry_index(struct kernel *kernel, const char *name)
{
	for (uint32_t i = 0; i < PT_REGISTRIES; i++) {
		struct pt_registry registry = {};

		sites_registry(kernel, i, &registry);
		if (!strcmp(registry.name, name))
			return (int)i;
		if (registry.name[0])
			continue;
		snprintf(registry.name, sizeof(registry.name), "%s", name);
		if (bpf_map_update_elem(kernel->registries_fd, &i, &registry, BPF_ANY))
			return -errno;
		return (int)i;
	}
	return -ENOSPC;
}

static uint64_t build_hash(const struct binary *binary)
{
	return XXH3_64bits(binary->build_id, strlen(binary->build_id));
}

static void link_path(const struct kernel *kernel, uint32_t index, char ret[PATH_MAX])
{
	snprintf(ret, PATH_MAX, "%s/link/site_%03u", kernel->path, index);
}

static bool same_file(const struct pt_site *site, uint64_t device, uint64_t inode)
{
	return site->device == device && site->inode == inode;
}

static enum pt_entry entry_of(const struct pt_site *site)
{
	switch (site->hook) {
	case PT_GO_HOOK_HTTP1:
		return PT_ENTRY_HTTP1;
	case PT_NGINX_HOOK_REQUEST:
		return PT_ENTRY_NGINX;
	case PT_HOOK_TLS_READ:
		return PT_ENTRY_TLS_READ;
	case PT_HOOK_TLS_READ_DONE:
		return PT_ENTRY_TLS_READ_DONE;
	case PT_HOOK_TLS_WRITE:
		return PT_ENTRY_TLS_WRITE;
	case PT_HOOK_TLS_FREE:
		return PT_ENTRY_TLS_FREE;
	case PT_APACHE_HOOK_LOG:
		return PT_ENTRY_APACHE;
	default:
		return PT_ENTRY_HTTP2;
	}
}

/*
 * The kernel's struct bpf_link_info for a probe. Where its end is younger than the kernel (the
 * place from 6.6 on, the cookie from 6.9 on) it stays 0; the headers may be older than either.
 */
struct probe_info {
	uint32_t link_type, link_id, program_id, zero;
	uint32_t event_type, zero_too;
	uint64_t name;
	uint32_t name_length, file_offset;
	uint64_t cookie;
};
#define EVENT_UPROBE 1 /* BPF_PERF_EVENT_UPROBE */

static uint64_t cookie_of(const struct kernel *kernel, uint32_t index)
{
	return (uint64_t)kernel->sites[index].attach << 32 | index;
}

enum site_probe sites_probe(const struct kernel *kernel, uint32_t index)
{
	const struct pt_site *site = &kernel->sites[index];
	struct probe_info info = {};
	uint32_t size = sizeof(info);
	_cleanup_close_ int link = -1;
	char path[PATH_MAX];

	link_path(kernel, index, path);
	link = bpf_obj_get(path);
	if (link < 0)
		return errno == ENOENT ? SITE_PROBE_GONE : SITE_PROBE_FOREIGN;
	if (bpf_obj_get_info_by_fd(link, (struct bpf_link_info *)&info, &size) ||
	    info.link_type != BPF_LINK_TYPE_PERF_EVENT ||
	    info.program_id != kernel->entry.program_id[entry_of(site)])
		return SITE_PROBE_FOREIGN;
	if (info.event_type &&
	    (info.event_type != EVENT_UPROBE || info.file_offset != (uint32_t)site->file_offset))
		return SITE_PROBE_FOREIGN;
	return info.cookie && info.cookie != cookie_of(kernel, index) ? SITE_PROBE_FOREIGN
								      : SITE_PROBE_OURS;
}

static bool is_linked(const struct kernel *kernel, uint32_t index)
{
	return sites_probe(kernel, index) == SITE_PROBE_OURS;
}

static bool is_tls(enum pt_hook hook)
{
	return hook >= PT_HOOK_TLS_READ && hook <= PT_HOOK_TLS_FREE;
}

static struct site_place place(uint64_t device, uint64_t inode, enum pt_hook hook,
			       const union pt_layout *layout)
{
	if (is_tls(hook))
		return (struct site_place){device, inode, layout->tls.exe_device,
					   layout->tls.exe_inode};
	return (struct site_place){device, inode, device, inode};
}

struct site_place sites_place(const struct pt_site *site)
{
	return place(site->device, site->inode, site->hook, &site->layout);
}

struct site_place sites_binary_place(const struct binary *binary)
{
	return place(binary->device, binary->inode, binary->sites[0].hook,
		     &binary->sites[0].layout);
}

bool sites_same_place(const struct site_place *a, const struct site_place *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool is_at(const struct pt_site *site, const struct site_place *wanted)
{
	struct site_place found = sites_place(site);

	return site->hook && sites_same_place(&found, wanted);
}

/* Has this instruction of this very binary a slot? */
static bool is_site(const struct pt_site *site, const struct binary *binary,
		    const struct binary_site *found)
{
	struct site_place wanted = sites_binary_place(binary);

	return site->hook == found->hook && is_at(site, &wanted) &&
	       site->build == build_hash(binary) && site->file_offset == found->file_offset;
}

static int slot_of(const struct kernel *kernel, const struct binary *binary,
		   const struct binary_site *found)
{
	for (int i = 0; i < PT_SITES; i++)
		if (is_site(&kernel->sites[i], binary, found))
			return i;
	return -ENOENT;
}

bool sites_has(const struct kernel *kernel, const struct binary *binary)
{
	for (unsigned int i = 0; i < binary->sites_count; i++) {
		int slot = slot_of(kernel, binary, &binary->sites[i]);

		if (slot < 0 || !(kernel->sites[slot].off || is_linked(kernel, (uint32_t)slot)))
			return false;
	}
	return binary->sites_count > 0;
}

void sites_unlink_one(const struct kernel *kernel, uint32_t index)
{
	char path[PATH_MAX];

	link_path(kernel, index, path);
	unlink(path); /* absent: somebody was faster */
}

void sites_unlink(const struct kernel *kernel)
{
	for (uint32_t i = 0; i < PT_SITES; i++)
		if (kernel->sites[i].hook)
			sites_unlink_one(kernel, i);
}

int sites_prove(const struct kernel *kernel)
{
	int missing = 0;

	for (uint32_t i = 0; i < PT_SITES; i++) {
		const struct pt_site *site = &kernel->sites[i];
		enum site_probe probe = sites_probe(kernel, i);
		bool wanted = site->hook && !site->off && !*kernel->off;

		if (probe == SITE_PROBE_OURS && site->hook && !*kernel->off)
			continue;
		if (probe != SITE_PROBE_GONE)
			sites_unlink_one(kernel, i);
		if (!wanted)
			continue;
		log_warn(probe == SITE_PROBE_GONE ? "a probe is gone" : "a probe is not ours",
			 "site=%u inode=%llu symbol=\"%s\" action=\"attached anew when its file "
			 "runs\"",
			 i, (unsigned long long)site->inode, site->symbol);
		missing++;
	}
	return missing;
}

/* Detaches the slots that are marked. */
static int detach_slots(struct kernel *kernel, const bool marked[PT_SITES])
{
	bool any = false;
	int rc = 0;

	for (uint32_t i = 0; i < PT_SITES; i++) {
		if (!marked[i])
			continue;
		any = true;
		sites_unlink_one(kernel, i);
	}
	/* hits that run now still need their slots: wait before these are emptied */
	if (any)
		rc = kernel_grace(kernel);
	for (uint32_t i = 0; !rc && i < PT_SITES; i++) {
		struct pt_site gone = off_site_gone(kernel, i);

		if (marked[i] && bpf_map_update_elem(kernel->sites_fd, &i, &gone, BPF_ANY))
			rc = -errno;
	}
	return rc;
}

int sites_detach(struct kernel *kernel, const struct site_place *wanted)
{
	bool marked[PT_SITES];

	for (int i = 0; i < PT_SITES; i++)
		marked[i] = is_at(&kernel->sites[i], wanted);
	return detach_slots(kernel, marked);
}

int sites_detach_all(struct kernel *kernel)
{
	bool marked[PT_SITES];

	for (int i = 0; i < PT_SITES; i++)
		marked[i] = kernel->sites[i].hook;
	return detach_slots(kernel, marked);
}

/* An inode that holds other bytes now: what was probed in the old ones goes. */
static int detach_other_builds(struct kernel *kernel, const struct binary *binary)
{
	bool marked[PT_SITES];

	for (int i = 0; i < PT_SITES; i++)
		marked[i] = kernel->sites[i].hook &&
			    same_file(&kernel->sites[i], binary->device, binary->inode) &&
			    kernel->sites[i].build != build_hash(binary);
	return detach_slots(kernel, marked);
}

/* Probes the instruction of a slot and pins the link. */
static int attach(struct kernel *kernel, uint32_t index, int binary_fd)
{
	struct pt_site *site = &kernel->sites[index];
	uint64_t number = ++kernel->control->attaches;
	_cleanup_close_ int link = -1;
	char path[PATH_MAX];

	/* whatever lies there: a link that is not ours, or to an entry that is no more */
	sites_unlink_one(kernel, index);
	/* from here on a former probe of this slot, whose removal may take a while, counts nothing
	 */
	__atomic_store_n(&site->attach, (uint32_t)number, __ATOMIC_SEQ_CST);
	link = uprobe_attach(kernel->entry.program_fd[entry_of(site)], binary_fd, site->file_offset,
			     cookie_of(kernel, index));
	if (link < 0)
		return link;
	link_path(kernel, index, path);
	if (bpf_obj_pin(link, path))
		return -errno;
	/* switched off meanwhile, by somebody who could not see this link yet */
	if (__atomic_load_n(kernel->off, __ATOMIC_SEQ_CST) ||
	    __atomic_load_n(&site->off, __ATOMIC_SEQ_CST))
		unlink(path);
	else if (site->off_span.since_ns)
		off_site_back(kernel, index);
	return 0;
}

static int free_slot(const struct kernel *kernel)
{
	for (int i = 0; i < PT_SITES; i++)
		if (!kernel->sites[i].hook)
			return i;
	return -ENOSPC;
}

/* A slot for an instruction that has none; the program reads it from its first hit on. */
static int fill_slot(struct kernel *kernel, const struct binary *binary,
		     const struct binary_site *found, uint32_t registry, uint64_t since_ns)
{
	struct pt_site site = {
		.registry = registry,
		.go_abi = found->go_abi,
		.go_map = found->go_map,
		.hook = found->hook,
		.device = binary->device,
		.inode = binary->inode,
		.file_offset = found->file_offset,
		.build = build_hash(binary),
		.layout = found->layout,
		.off_span.since_ns = since_ns,
		.off_was = since_ns ? PT_SITE_OFF_LATE : 0,
	};
	int slot = free_slot(kernel);

	if (slot < 0)
		return slot;
	snprintf(site.symbol, sizeof(site.symbol), "%s", found->symbol);
	return bpf_map_update_elem(kernel->sites_fd, &slot, &site, BPF_ANY) ? -errno : slot;
}

int sites_attach(struct kernel *kernel, const struct binary *binary, int binary_fd,
		 const char *registry, uint8_t off, uint64_t since_ns)
{
	int owner = registry_index(kernel, registry), attached = 0, rc;
	struct site_place wanted = sites_binary_place(binary);

	if (owner < 0)
		return owner;
	rc = detach_other_builds(kernel, binary);
	hurry_begin(kernel);
	for (unsigned int i = 0; !rc && i < binary->sites_count; i++) {
		int slot = slot_of(kernel, binary, &binary->sites[i]);

		if (slot < 0)
			slot = fill_slot(kernel, binary, &binary->sites[i], (uint32_t)owner,
					 since_ns);
		else if (since_ns)
			off_site_late(kernel, (uint32_t)slot, since_ns);
		rc = slot < 0 ? slot : 0;
		if (!rc && off)
			off_site(kernel, (uint32_t)slot, off, true);
		if (rc || *kernel->off || kernel->sites[slot].off ||
		    is_linked(kernel, (uint32_t)slot))
			continue;
		rc = attach(kernel, (uint32_t)slot, binary_fd);
		attached++;
	}
	hurry_end(kernel);
	if (!rc)
		return attached;
	if (sites_detach(kernel, &wanted))
		return -EUCLEAN;
	return rc;
}
