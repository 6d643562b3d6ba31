/* SPDX-License-Identifier: MIT */
#include "attach/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <xxhash.h>

#include "base/log.h"
#include "pulltap.skel.h"
#include "window/window.h"

/* One long key for eight short ones: see bpf/abi.h for what fits in which. */
#define LONG_KEYS_SHARE 8
/* Share of the keys at which the programs ask for an early swap, in percent. */
#define SWAP_AT_PERCENT 60

static const char *const window_map_names[KERNEL_WINDOW_MAPS] = {
	[KERNEL_COUNTS] = "counts",
	[KERNEL_LONG_COUNTS] = "long_counts",
	[KERNEL_OVERFLOW] = "overflow",
	[KERNEL_LEDGER] = "ledger",
};

static const char *const outer_map_names[KERNEL_WINDOW_MAPS] = {
	[KERNEL_COUNTS] = "all_counts",
	[KERNEL_LONG_COUNTS] = "all_long_counts",
	[KERNEL_OVERFLOW] = "all_overflows",
	[KERNEL_LEDGER] = "all_ledgers",
};

static const char *const program_names[KERNEL_PROGRAMS] = {
	[KERNEL_GO_HTTP1] = "go_http1",
	[KERNEL_GO_HTTP2] = "go_http2",
	[KERNEL_EXEC_WATCH] = "exec_watch",
};

const char *kernel_program_name(enum kernel_program program)
{
	return program_names[program];
}

uint64_t kernel_abi_hash(void)
{
	size_t size;
	const void *elf = pulltap_bpf__elf_bytes(&size);

	return XXH3_64bits(elf, size);
}

static uint64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* libbpf's words go to the log; a verifier's log is long, its end says why. */
static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	char text[4096], quoted[1024];
	const char *tail = text;
	int n;

	if (level != LIBBPF_WARN)
		return 0;
	n = vsnprintf(text, sizeof(text), format, args);
	if (n > 700)
		tail = text + ((size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1) - 700;
	log_warn("libbpf", "text=%s", log_quote(quoted, sizeof(quoted), tail));
	return 0;
}

static int pin(int fd, const char *path, const char *folder, const char *name)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s%s%s", path, folder, *folder ? "/" : "", name);
	return bpf_obj_pin(fd, full) ? -errno : 0;
}

static int make_folders(const char *path)
{
	static const char *const folders[] = {"window_0", "window_1", "program", "link"};
	char full[PATH_MAX];

	for (unsigned int i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		snprintf(full, sizeof(full), "%s/%s", path, folders[i]);
		if (mkdir(full, 0700) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int pin_all(struct pulltap_bpf *skel, const char *path)
{
	const struct {
		struct bpf_map *map;
		const char *folder, *name;
	} maps[] = {
		{skel->maps.off, "", "off"},
		{skel->maps.sites, "", "sites"},
		{skel->maps.registries, "", "registries"},
		{skel->maps.hints, "", "hints"},
		{skel->maps.events, "", "events"},
		{skel->maps.counts, "", "all_counts"},
		{skel->maps.long_counts, "", "all_long_counts"},
		{skel->maps.overflows, "", "all_overflows"},
		{skel->maps.ledgers, "", "all_ledgers"},
		{skel->maps.counts_0, "window_0", "counts"},
		{skel->maps.counts_1, "window_1", "counts"},
		{skel->maps.long_counts_0, "window_0", "long_counts"},
		{skel->maps.long_counts_1, "window_1", "long_counts"},
		{skel->maps.overflow_0, "window_0", "overflow"},
		{skel->maps.overflow_1, "window_1", "overflow"},
		{skel->maps.ledger_0, "window_0", "ledger"},
		{skel->maps.ledger_1, "window_1", "ledger"},
		/* last: what has a control map is complete */
		{skel->maps.control, "", "control"},
	};
	const struct bpf_program *programs[KERNEL_PROGRAMS] = {
		skel->progs.go_http1, skel->progs.go_http2, skel->progs.exec_watch};
	int rc = make_folders(path);

	for (unsigned int i = 0; !rc && i < KERNEL_PROGRAMS; i++)
		rc = pin(bpf_program__fd(programs[i]), path, "program", program_names[i]);
	for (unsigned int i = 0; !rc && i < sizeof(maps) / sizeof(*maps); i++)
		rc = pin(bpf_map__fd(maps[i].map), path, maps[i].folder, maps[i].name);
	return rc;
}

static int set_control(struct pulltap_bpf *skel, const struct kernel_sizes *sizes)
{
	uint32_t zero = 0;
	struct pt_control control = {
		.abi_version = PULLTAP_ABI_VERSION,
		.abi_hash = kernel_abi_hash(),
		.loaded_boot_ns = boot_ns(),
		.short_keys_signal = sizes->max_keys / 100 * SWAP_AT_PERCENT,
		.long_keys_signal = sizes->max_keys / LONG_KEYS_SHARE / 100 * SWAP_AT_PERCENT,
		.hint_seconds = sizes->hint_seconds,
	};

	return bpf_map_update_elem(bpf_map__fd(skel->maps.control), &zero, &control, BPF_ANY)
		       ? -errno
		       : 0;
}

int kernel_load(const char *path, const struct kernel_sizes *sizes)
{
	struct pulltap_bpf *skel;
	uint32_t long_keys = sizes->max_keys / LONG_KEYS_SHARE;
	int rc;

	libbpf_set_print(print_libbpf);
	skel = pulltap_bpf__open();
	if (!skel)
		return -errno;
	rc = bpf_map__set_max_entries(skel->maps.counts_0, sizes->max_keys);
	rc = rc ?: bpf_map__set_max_entries(skel->maps.counts_1, sizes->max_keys);
	rc = rc ?: bpf_map__set_max_entries(skel->maps.long_counts_0, long_keys);
	rc = rc ?: bpf_map__set_max_entries(skel->maps.long_counts_1, long_keys);
	rc = rc ?: pulltap_bpf__load(skel);
	rc = rc ?: set_control(skel, sizes);
	rc = rc ?: pin_all(skel, path);
	pulltap_bpf__destroy(skel);
	return rc;
}

static int open_pin(const char *path, const char *folder, const char *name)
{
	char full[PATH_MAX];
	int fd;

	snprintf(full, sizeof(full), "%s/%s%s%s", path, folder, *folder ? "/" : "", name);
	fd = bpf_obj_get(full);
	return fd < 0 ? -errno : fd;
}

static int open_into(int *ret_fd, const char *path, const char *folder, const char *name)
{
	int fd = open_pin(path, folder, name);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

static int open_windows(struct kernel *kernel)
{
	static const char *const folders[2] = {"window_0", "window_1"};
	int rc = 0;

	for (int i = 0; !rc && i < KERNEL_WINDOW_MAPS; i++) {
		rc = open_into(&kernel->outer_fd[i], kernel->path, "", outer_map_names[i]);
		for (int w = 0; !rc && w < 2; w++)
			rc = open_into(&kernel->window_fd[w][i], kernel->path, folders[w],
				       window_map_names[i]);
	}
	return rc;
}

/* Shares a pinned array with the programs; -EPROTO when its values have another size. */
static int map_array(const struct kernel *kernel, const char *name, size_t value_size,
		     uint32_t entries, void **ret)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);
	_cleanup_close_ int fd = open_pin(kernel->path, "", name);
	void *memory;

	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (info.value_size != value_size || info.max_entries != entries ||
	    !(info.map_flags & BPF_F_MMAPABLE))
		return -EPROTO;
	memory = mmap(NULL, value_size * entries, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*ret = memory;
	return 0;
}

static int map_arrays(struct kernel *kernel)
{
	int rc = map_array(kernel, "control", sizeof(*kernel->control), 1,
			   (void **)&kernel->control);

	if (!rc && kernel->control->abi_version != PULLTAP_ABI_VERSION)
		rc = -EPROTO;
	rc = rc ?: map_array(kernel, "off", sizeof(*kernel->off), 1, (void **)&kernel->off);
	return rc
		       ?: map_array(kernel, "sites", sizeof(*kernel->sites), PT_SITES,
				    (void **)&kernel->sites);
}

int kernel_open(struct kernel **ret, const char *path)
{
	_cleanup_(kernel_free) struct kernel *kernel = calloc(1, sizeof(*kernel));
	int rc;

	if (!kernel)
		return -ENOMEM;
	memset(kernel, 0xff, sizeof(*kernel)); /* every descriptor -1 */
	kernel->control = NULL;
	kernel->off = NULL;
	kernel->sites = NULL;
	kernel->path = strdup(path);
	kernel->cpus = libbpf_num_possible_cpus();
	if (!kernel->path)
		return -ENOMEM;
	rc = map_arrays(kernel);
	rc = rc ?: open_windows(kernel);
	rc = rc ?: open_into(&kernel->sites_fd, path, "", "sites");
	rc = rc ?: open_into(&kernel->registries_fd, path, "", "registries");
	rc = rc ?: open_into(&kernel->hints_fd, path, "", "hints");
	rc = rc ?: open_into(&kernel->events_fd, path, "", "events");
	for (int i = 0; !rc && i < KERNEL_PROGRAMS; i++)
		rc = open_into(&kernel->program_fd[i], path, "program", program_names[i]);
	if (rc)
		return rc;
	*ret = TAKE_PTR(kernel);
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
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
	close_fd(k->sites_fd);
	close_fd(k->registries_fd);
	close_fd(k->hints_fd);
	close_fd(k->events_fd);
	for (int i = 0; i < KERNEL_WINDOW_MAPS; i++) {
		close_fd(k->outer_fd[i]);
		close_fd(k->window_fd[0][i]);
		close_fd(k->window_fd[1][i]);
	}
	for (int i = 0; i < KERNEL_PROGRAMS; i++)
		close_fd(k->program_fd[i]);
	free(k->path);
	free(k);
	*kernel = NULL;
}

int kernel_watch_execs(struct kernel *kernel)
{
	_cleanup_close_ int link = -1;
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/link/exec_watch", kernel->path);
	if (!access(full, F_OK))
		return 0;
	link = bpf_raw_tracepoint_open("sched_process_exec", kernel->program_fd[KERNEL_EXEC_WATCH]);
	if (link < 0)
		return -errno;
	return bpf_obj_pin(link, full) ? -errno : 0;
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

int kernel_ledger(const struct kernel *kernel, unsigned int window, uint64_t *ledger)
{
	_cleanup_free_ struct pt_ledger *values = calloc((size_t)kernel->cpus, sizeof(*values));
	uint32_t zero = 0;

	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(kernel->window_fd[window][KERNEL_LEDGER], &zero, values))
		return -errno;
	memset(ledger, 0, LEDGER_COUNT * sizeof(*ledger));
	for (int cpu = 0; cpu < kernel->cpus; cpu++)
		for (int i = 0; i < LEDGER_COUNT; i++)
			ledger[i] += ((const uint64_t *)&values[cpu])[i];
	return 0;
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
	       (buckets + buckets / LONG_KEYS_SHARE) * 16 + sizeof(struct pt_ledger) * cpus;
}

int kernel_memory(const struct kernel *kernel, uint64_t *ret_used, uint64_t *ret_window_limit)
{
	struct bpf_map_info info[2] = {};

	*ret_used = 0;
	for (int w = 0; w < 2; w++) {
		for (int i = 0; i < KERNEL_WINDOW_MAPS; i++) {
			int64_t bytes = map_memlock(kernel->window_fd[w][i]);

			*ret_used += bytes > 0 ? (uint64_t)bytes : 0;
		}
	}
	for (int i = KERNEL_COUNTS; i <= KERNEL_LONG_COUNTS; i++) {
		uint32_t size = sizeof(info[i]);

		if (bpf_obj_get_info_by_fd(kernel->window_fd[0][i], &info[i], &size))
			return -errno;
	}
	*ret_window_limit = kernel_window_limit(info[KERNEL_COUNTS].max_entries,
						info[KERNEL_LONG_COUNTS].max_entries,
						(unsigned int)kernel->cpus);
	return 0;
}

int kernel_program_stats(const struct kernel *kernel, enum kernel_program program,
			 uint64_t *ret_run_ns, uint64_t *ret_runs)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(kernel->program_fd[program], &info, &size))
		return -errno;
	*ret_run_ns = info.run_time_ns;
	*ret_runs = info.run_cnt;
	return 0;
}
