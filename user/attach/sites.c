/* SPDX-License-Identifier: MIT */
#include "attach/sites.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "attach/uprobe.h"

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

bool sites_has(const struct kernel *kernel, const struct binary *binary)
{
	struct pt_site site;
	char path[PATH_MAX];

	for (uint32_t i = 0; i < PT_SITES; i++) {
		if (!sites_read(kernel, i, &site) ||
		    !same_file(&site, binary->device, binary->inode) ||
		    site.build != build_hash(binary))
			continue;
		link_path(kernel, i, path);
		return !access(path, F_OK);
	}
	return false;
}

static int detach(struct kernel *kernel, uint32_t index)
{
	static const struct pt_site empty;
	char path[PATH_MAX];

	link_path(kernel, index, path);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	/* a hit that runs now still needs the slot: wait before it is emptied */
	if (kernel_grace(kernel))
		return -errno;
	return bpf_map_update_elem(kernel->sites_fd, &index, &empty, BPF_ANY) ? -errno : 0;
}

static int detach_if(struct kernel *kernel, bool all, uint64_t device, uint64_t inode)
{
	struct pt_site site;
	int rc = 0;

	for (uint32_t i = 0; i < PT_SITES; i++) {
		if (!sites_read(kernel, i, &site) || !(all || same_file(&site, device, inode)))
			continue;
		rc = detach(kernel, i) ?: rc;
	}
	return rc;
}

int sites_detach(struct kernel *kernel, uint64_t device, uint64_t inode)
{
	return detach_if(kernel, false, device, inode);
}

int sites_detach_all(struct kernel *kernel)
{
	return detach_if(kernel, true, 0, 0);
}

static int attach(struct kernel *kernel, uint32_t index, const struct pt_site *site, int binary_fd)
{
	enum kernel_program program =
		site->hook == PT_GO_HOOK_HTTP1 ? KERNEL_GO_HTTP1 : KERNEL_GO_HTTP2;
	_cleanup_close_ int link = -1;
	char path[PATH_MAX];

	/* the slot comes first: the program reads it from its first hit on */
	if (bpf_map_update_elem(kernel->sites_fd, &index, site, BPF_ANY))
		return -errno;
	link = uprobe_attach(kernel->program_fd[program], binary_fd, site->file_offset, index);
	if (link < 0)
		return link;
	link_path(kernel, index, path);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(link, path) ? -errno : 0;
}

static int free_slot(const struct kernel *kernel)
{
	struct pt_site site;

	for (uint32_t i = 0; i < PT_SITES; i++)
		if (!sites_read(kernel, i, &site))
			return (int)i;
	return -ENOSPC;
}

int sites_attach(struct kernel *kernel, const struct binary *binary, int binary_fd,
		 const char *registry)
{
	int owner = registry_index(kernel, registry), rc;

	if (owner < 0)
		return owner;
	/* an inode that holds other bytes now, or a set that was left half attached */
	rc = sites_detach(kernel, binary->device, binary->inode);
	for (unsigned int i = 0; !rc && i < binary->sites_count; i++) {
		const struct binary_site *found = &binary->sites[i];
		struct pt_site site = {
			.registry = (uint32_t)owner,
			.go_abi = found->go_abi,
			.go_map = binary->go_map,
			.hook = found->hook,
			.device = binary->device,
			.inode = binary->inode,
			.file_offset = found->file_offset,
			.build = build_hash(binary),
		};
		int slot = free_slot(kernel);

		snprintf(site.symbol, sizeof(site.symbol), "%s", found->symbol);
		rc = slot < 0 ? slot : attach(kernel, (uint32_t)slot, &site, binary_fd);
	}
	if (!rc)
		return (int)binary->sites_count;
	if (sites_detach(kernel, binary->device, binary->inode))
		return -EUCLEAN;
	return rc;
}
