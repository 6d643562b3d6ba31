/* SPDX-License-Identifier: MIT */
#include "attach/entry.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "entry.skel.h"

static const char *const program_names[PT_ENTRY_COUNT] = {
	[PT_ENTRY_HTTP1] = "http1",
	[PT_ENTRY_HTTP2] = "http2",
	[PT_ENTRY_NGINX] = "nginx",
	[PT_ENTRY_TLS_READ] = "tls_read",
	[PT_ENTRY_TLS_READ_DONE] = "tls_read_done",
	[PT_ENTRY_TLS_WRITE] = "tls_write",
	[PT_ENTRY_TLS_FREE] = "tls_free",
	[PT_ENTRY_APACHE] = "apache",
};

static void pin_path(char ret[PATH_MAX], const char *path, const char *name)
{
	snprintf(ret, PATH_MAX, "%s/entry/%s", path, name);
}

static int open_pin(int *ret_fd, const char *path, const char *name)
{
	char full[PATH_MAX];
	int fd;

	pin_path(full, path, name);
	fd = bpf_obj_get(full);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* A map that an earlier load has pinned is used again: programs and links refer to it. */
static int reuse(struct bpf_map *map, const char *path, const char *name, bool *made_anew)
{
	_cleanup_close_ int fd = -1;
	int rc = open_pin(&fd, path, name);

	if (rc == -ENOENT) {
		*made_anew = true;
		return 0;
	}
	return rc ?: bpf_map__reuse_fd(map, fd);
}

static int pin(int fd, const char *path, const char *name, bool replace)
{
	char full[PATH_MAX];

	pin_path(full, path, name);
	if (replace && unlink(full) && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, full) && errno != EEXIST ? -errno : 0;
}

int entry_make(const char *path)
{
	struct entry_bpf *skel;
	char folder[PATH_MAX];
	bool anew = false;
	int rc;

	pin_path(folder, path, "");
	if (mkdir(folder, 0700) && errno != EEXIST)
		return -errno;
	skel = entry_bpf__open();
	if (!skel)
		return -errno;
	const struct bpf_program *programs[PT_ENTRY_COUNT] = {
		[PT_ENTRY_HTTP1] = skel->progs.entry_http1,
		[PT_ENTRY_HTTP2] = skel->progs.entry_http2,
		[PT_ENTRY_NGINX] = skel->progs.entry_nginx,
		[PT_ENTRY_TLS_READ] = skel->progs.entry_tls_read,
		[PT_ENTRY_TLS_READ_DONE] = skel->progs.entry_tls_read_done,
		[PT_ENTRY_TLS_WRITE] = skel->progs.entry_tls_write,
		[PT_ENTRY_TLS_FREE] = skel->progs.entry_tls_free,
		[PT_ENTRY_APACHE] = skel->progs.entry_apache,
	};

	rc = reuse(skel->maps.entry, path, "programs", &anew);
	rc = rc ?: reuse(skel->maps.entry_lost, path, "lost", &anew);
	rc = rc ?: entry_bpf__load(skel);
	/* programs that refer to a map whose pin is gone lead nowhere: they are replaced, and so
	 * are the links to them (sites_prove()) */
	for (int i = 0; !rc && i < PT_ENTRY_COUNT; i++)
		rc = pin(bpf_program__fd(programs[i]), path, program_names[i], anew);
	rc = rc ?: pin(bpf_map__fd(skel->maps.entry_lost), path, "lost", false);
	rc = rc ?: pin(bpf_map__fd(skel->maps.entry), path, "programs", false);
	entry_bpf__destroy(skel);
	return rc;
}

int entry_open(struct entry *entry, const char *path)
{
	int rc = open_pin(&entry->slots_fd, path, "programs");

	rc = rc ?: open_pin(&entry->lost_fd, path, "lost");
	for (int i = 0; !rc && i < PT_ENTRY_COUNT; i++) {
		struct bpf_prog_info info = {};
		uint32_t size = sizeof(info);

		rc = open_pin(&entry->program_fd[i], path, program_names[i]);
		if (!rc && bpf_obj_get_info_by_fd(entry->program_fd[i], &info, &size))
			rc = -errno;
		entry->program_id[i] = info.id;
	}
	return rc;
}

void entry_close(struct entry *entry)
{
	if (entry->slots_fd >= 0)
		close(entry->slots_fd);
	if (entry->lost_fd >= 0)
		close(entry->lost_fd);
	for (int i = 0; i < PT_ENTRY_COUNT; i++)
		if (entry->program_fd[i] >= 0)
			close(entry->program_fd[i]);
	*entry = ENTRY_NONE;
}

int entry_set(const struct entry *entry, enum pt_entry index, int program_fd)
{
	return bpf_map_update_elem(entry->slots_fd, &index, &program_fd, BPF_ANY) ? -errno : 0;
}

uint32_t entry_get(const struct entry *entry, enum pt_entry index)
{
	uint32_t id = 0;

	return bpf_map_lookup_elem(entry->slots_fd, &index, &id) ? 0 : id;
}

int entry_lost(const struct entry *entry, uint64_t *ret)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *values = calloc((size_t)cpus, sizeof(*values));

	if (!values)
		return -ENOMEM;
	*ret = 0;
	for (uint32_t i = 0; i < PT_ENTRIES; i++) {
		if (bpf_map_lookup_elem(entry->lost_fd, &i, values))
			return -errno;
		for (int cpu = 0; cpu < cpus; cpu++)
			*ret += values[cpu];
	}
	return 0;
}
