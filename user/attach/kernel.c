/* SPDX-License-Identifier: MIT */
#include "attach/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "attach/generation.h"
#include "attach/kernel_pins.h"
#include "window/window.h"

static const struct {
	const char *name;
	enum pt_entry entry; /* PT_ENTRY_COUNT: attached by itself */
} programs[KERNEL_PROGRAMS] = {
	[KERNEL_GO_HTTP1] = {"go_http1", PT_ENTRY_HTTP1},
	[KERNEL_GO_HTTP2] = {"go_http2", PT_ENTRY_HTTP2},
	[KERNEL_NGINX] = {"nginx_request", PT_ENTRY_NGINX},
	[KERNEL_TLS_READ] = {"tls_read", PT_ENTRY_TLS_READ},
	[KERNEL_TLS_READ_DONE] = {"tls_read_done", PT_ENTRY_TLS_READ_DONE},
	[KERNEL_TLS_WRITE] = {"tls_write", PT_ENTRY_TLS_WRITE},
	[KERNEL_TLS_FREE] = {"tls_free", PT_ENTRY_TLS_FREE},
	[KERNEL_APACHE] = {"apache_request", PT_ENTRY_APACHE},
	[KERNEL_EXEC_WATCH] = {"exec_watch", PT_ENTRY_COUNT},
};

const char *kernel_program_name(enum kernel_program program)
{
	return programs[program].name;
}

static int map_info(int fd, struct bpf_map_info *info)
{
	uint32_t size = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &size) ? -errno : 0;
}

/* Shares an array of at most size bytes a value with the programs. */
static int map_array(int fd, size_t size, uint32_t entries, void **ret)
{
	struct bpf_map_info info;
	void *memory;
	int rc = map_info(fd, &info);

	if (rc)
		return rc;
	if (info.value_size > size || info.max_entries > entries)
		return -EPROTONOSUPPORT;
	memory = mmap(NULL, size * entries, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*ret = memory;
	return 0;
}

/* An older build's may be shorter: what it lacks reads as 0, for a page is mapped whole. */
_Static_assert(sizeof(struct pt_control) <= 4096, "the control map is one page");

static int map_control(struct kernel *kernel, const char *folder)
{
	_cleanup_close_ int fd = -1;
	char full[PATH_MAX + 16];
	int rc;

	snprintf(full, sizeof(full), "%s/control", folder);
	fd = bpf_obj_get(full);
	if (fd < 0)
		return -errno;
	rc = map_array(fd, sizeof(*kernel->control), 1, (void **)&kernel->control);
	if (rc)
		return rc;
	if (kernel->control->abi_version > PULLTAP_ABI_VERSION)
		return -EPROTONOSUPPORT;
	return kernel->control->abi_version == PULLTAP_ABI_VERSION ? 0 : -EPROTO;
}

/* Values of an older build may be shorter, and then so is the distance between them. */
static int map_sites(struct kernel *kernel)
{
	struct bpf_map_info info;
	void *copy;
	int rc = map_info(kernel->sites_fd, &info);

	if (rc || info.value_size >= sizeof(struct pt_site))
		return rc
			       ?: map_array(kernel->sites_fd, sizeof(struct pt_site), PT_SITES,
					    (void **)&kernel->sites);
	copy = mmap(NULL, PT_SITES * sizeof(struct pt_site), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED)
		return -errno;
	kernel->sites = copy;
	for (uint32_t i = 0; i < PT_SITES && i < info.max_entries; i++)
		if (bpf_map_lookup_elem(kernel->sites_fd, &i, &kernel->sites[i]))
			return -errno;
	return 0;
}

/* Larger than ours is a newer build's, whose counts can't be told apart here. */
static int read_sizes(struct kernel *kernel)
{
	static const uint32_t keys[KERNEL_WINDOW_MAPS] = {
		[KERNEL_COUNTS] = sizeof(struct pt_key),
		[KERNEL_LONG_COUNTS] = sizeof(struct pt_long_key),
		[KERNEL_OVERFLOW] = sizeof(struct pt_key),
		[KERNEL_LEDGER] = sizeof(uint32_t),
	};
	struct bpf_map_info info;
	int rc = map_info(kernel->registries_fd, &info);

	if (!rc && info.value_size > sizeof(struct pt_registry))
		rc = -EPROTONOSUPPORT;
	for (int i = 0; !rc && i < KERNEL_WINDOW_MAPS; i++) {
		rc = map_info(kernel->window_fd[0][i], &info);
		if (!rc && info.key_size != keys[i])
			rc = -EPROTONOSUPPORT;
		if (!rc && i == KERNEL_COUNTS)
			kernel->max_keys = info.max_entries;
		if (!rc && i == KERNEL_LEDGER)
			kernel->ledger_counters = info.value_size / sizeof(uint64_t);
	}
	if (!rc && kernel->ledger_counters > LEDGER_COUNT)
		rc = -EPROTONOSUPPORT;
	return rc;
}

int kernel_open_generation(struct kernel **ret, const char *path, uint64_t generation)
{
	_cleanup_(kernel_free) struct kernel *kernel = calloc(1, sizeof(*kernel));
	char folder[PATH_MAX];
	int rc;

	if (!kernel)
		return -ENOMEM;
	memset(kernel, 0xff, sizeof(*kernel)); /* every descriptor -1 */
	kernel->control = NULL;
	kernel->off = NULL;
	kernel->sites = NULL;
	kernel->path = strdup(path);
	kernel->cpus = libbpf_num_possible_cpus();
	kernel->generation = generation;
	kernel->entry = ENTRY_NONE;
	if (!kernel->path)
		return -ENOMEM;
	generation_path(folder, path, generation);
	rc = map_control(kernel, folder);
	if (rc)
		return rc;
	rc = kernel_pins_open(kernel, folder, kernel->control->abi_hash == kernel_abi_hash());
	rc = rc ?: map_array(kernel->off_fd, sizeof(*kernel->off), 1, (void **)&kernel->off);
	rc = rc ?: map_sites(kernel);
	rc = rc ?: read_sizes(kernel);
	rc = rc ?: entry_open(&kernel->entry, path);
	if (rc)
		return rc == -ENOENT ? -EUCLEAN : rc;
	*ret = TAKE_PTR(kernel);
	return 0;
}

int kernel_open(struct kernel **ret, const char *path)
{
	char control[PATH_MAX];
	uint64_t generation;
	int rc = generation_live(path, &generation);

	if (!rc)
		return kernel_open_generation(ret, path, generation);
	/* before there were generations the maps lay here themselves */
	snprintf(control, sizeof(control), "%s/control", path);
	return rc == -ENOENT && !access(control, F_OK) ? -EPROTO : rc;
}

void kernel_free(struct kernel **kernel)
{
	struct kernel *k = *kernel;

	if (!k)
		return;
	if (k->control)
		munmap(k->control, sizeof(*k->control));
	if (k->off)
		munmap(k->off, sizeof(*k->off));
	if (k->sites)
		munmap(k->sites, PT_SITES * sizeof(*k->sites));
	kernel_pins_close(k);
	entry_close(&k->entry);
	free(k->path);
	free(k);
	*kernel = NULL;
}

int kernel_count_here(struct kernel *kernel)
{
	int rc = 0;

	for (int i = 0; !rc && i < KERNEL_PROGRAMS; i++)
		if (programs[i].entry != PT_ENTRY_COUNT)
			rc = entry_set(&kernel->entry, programs[i].entry, kernel->program_fd[i]);
	return rc;
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

bool kernel_counts_here(const struct kernel *kernel)
{
	for (int i = 0; i < KERNEL_PROGRAMS; i++)
		if (programs[i].entry != PT_ENTRY_COUNT &&
		    entry_get(&kernel->entry, programs[i].entry) !=
			    program_id(kernel->program_fd[i]))
			return false;
	return true;
}

/* Does the link that is pinned there run our program? */
static bool link_runs(const char *pin, uint32_t program)
{
	struct bpf_link_info info = {};
	uint32_t size = sizeof(info);
	_cleanup_close_ int link = bpf_obj_get(pin);

	return link >= 0 && !bpf_obj_get_info_by_fd(link, &info, &size) && info.prog_id == program;
}

int kernel_watch_execs(struct kernel *kernel)
{
	int program = kernel->program_fd[KERNEL_EXEC_WATCH];
	_cleanup_close_ int link = -1;
	char full[PATH_MAX], next[PATH_MAX];

	snprintf(full, sizeof(full), "%s/link/exec_watch", kernel->path);
	snprintf(next, sizeof(next), "%s/link/exec_watch_next", kernel->path);
	if (link_runs(full, program_id(program)))
		return 0;
	if (unlink(next) && errno != ENOENT)
		return -errno;
	link = bpf_raw_tracepoint_open("sched_process_exec", program);
	if (link < 0)
		return -errno;
	/* another set's watch goes when ours is there */
	return bpf_obj_pin(link, next) || rename(next, full) ? -errno : 0;
}

int kernel_grace(struct kernel *kernel)
{
	uint32_t slot = !kernel->control->active;

	/*
	 * Updating a slot of a map of maps waits for synchronize_rcu() (kernel/bpf/syscall.c,
	 * maybe_wait_bpf_programs), and programs that are not sleepable run under the RCU read
	 * lock. The slot gets the map that it has.
	 */
	return bpf_map_update_elem(kernel->outer_fd[KERNEL_LEDGER], &slot,
				   &kernel->window_fd[slot][KERNEL_LEDGER], BPF_ANY)
		       ? -errno
		       : 0;
}

/* Hits that the entry programs lost while the window was in use. */
static int lost_at_entry(const struct kernel *kernel, unsigned int window, uint64_t *ret)
{
	const struct pt_slot *slot = &kernel->control->slot[window];
	uint64_t end = slot->entry_lost_end;
	int rc = slot->sequence && end == KERNEL_OPEN_END ? entry_lost(&kernel->entry, &end) : 0;

	*ret = slot->sequence && end > slot->entry_lost_start ? end - slot->entry_lost_start : 0;
	return rc;
}

int kernel_ledger(const struct kernel *kernel, unsigned int window, uint64_t *ledger)
{
	size_t counters = kernel->ledger_counters;
	_cleanup_free_ uint64_t *values = calloc((size_t)kernel->cpus * counters, sizeof(*values));
	uint32_t zero = 0;
	uint64_t lost;
	int rc;

	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(kernel->window_fd[window][KERNEL_LEDGER], &zero, values))
		return -errno;
	memset(ledger, 0, LEDGER_COUNT * sizeof(*ledger));
	for (size_t i = 0; i < (size_t)kernel->cpus * counters; i++)
		ledger[i % counters] += values[i];
	rc = lost_at_entry(kernel, window, &lost);
	ledger[LEDGER_seen] += lost;
	ledger[LEDGER_lost_entry] += lost;
	return rc;
}

/* What the kernel says a map takes; -1 where it does not say. */
static int64_t map_memlock(int fd)
{
	char path[64], line[256];
	_cleanup_fclose_ FILE *f = NULL;
	long long bytes = -1;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %lld", &bytes) == 1)
			break;
	return bytes;
}

uint64_t kernel_window_limit(uint32_t max_keys, uint32_t max_long_keys, unsigned int cpus)
{
	/* per key: its element's allocation class, the pointer block of its per-CPU value, and the
	 * value itself on each CPU; per bucket (a power of two): two words */
	uint64_t per_key = 256 + 16 + 8ull * cpus, per_long_key = 1024 + 16 + 8ull * cpus;
	uint64_t buckets = 1;

	while (buckets < max_keys)
		buckets <<= 1;
	return max_keys * per_key + max_long_keys * per_long_key + PT_OVERFLOW_KEYS * (232 + 16) +
	       (buckets + buckets / KERNEL_LONG_KEYS_SHARE) * 16 + sizeof(struct pt_ledger) * cpus;
}

int kernel_memory(const struct kernel *kernel, uint64_t *ret_used, uint64_t *ret_window_limit)
{
	struct bpf_map_info info;
	int rc = map_info(kernel->window_fd[0][KERNEL_LONG_COUNTS], &info);

	*ret_used = 0;
	for (int w = 0; w < 2; w++) {
		for (int i = 0; i < KERNEL_WINDOW_MAPS; i++) {
			int64_t bytes = map_memlock(kernel->window_fd[w][i]);

			*ret_used += bytes > 0 ? (uint64_t)bytes : 0;
		}
	}
	*ret_window_limit =
		kernel_window_limit(kernel->max_keys, info.max_entries, (unsigned int)kernel->cpus);
	return rc;
}

int kernel_program_stats(const struct kernel *kernel, enum kernel_program program,
			 uint64_t *ret_run_ns, uint64_t *ret_runs)
{
	enum pt_entry index = programs[program].entry;
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);
	/* the kernel measures what it starts itself: a jump is part of the entry's run */
	int fd = index == PT_ENTRY_COUNT ? kernel->program_fd[program]
					 : kernel->entry.program_fd[index];

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	*ret_run_ns = info.run_time_ns;
	*ret_runs = info.run_cnt;
	return 0;
}
