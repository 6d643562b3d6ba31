/* SPDX-License-Identifier: MIT */
/* Loading: what makes a new set, from the skeleton to its pins. The rest of kernel.h is kernel.c.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "attach/generation.h"
#include "attach/kernel_pins.h"
#include "base/log.h"
#include "pulltap.skel.h"

/* Share of the keys at which the programs ask for an early swap, in percent. */
#define SWAP_AT_PERCENT 60

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

/* The windows' maps go into the outer ones: an initializer can't say so for what is linked. */
static int fill_outer(const struct pulltap_bpf *skel)
{
	const struct {
		const struct bpf_map *outer, *inner[2];
	} maps[KERNEL_WINDOW_MAPS] = {
		{skel->maps.counts, {skel->maps.counts_0, skel->maps.counts_1}},
		{skel->maps.long_counts, {skel->maps.long_counts_0, skel->maps.long_counts_1}},
		{skel->maps.overflows, {skel->maps.overflow_0, skel->maps.overflow_1}},
		{skel->maps.ledgers, {skel->maps.ledger_0, skel->maps.ledger_1}},
	};

	for (int i = 0; i < KERNEL_WINDOW_MAPS; i++) {
		for (uint32_t w = 0; w < 2; w++) {
			int fd = bpf_map__fd(maps[i].inner[w]);

			if (bpf_map_update_elem(bpf_map__fd(maps[i].outer), &w, &fd, BPF_ANY))
				return -errno;
		}
	}
	return 0;
}

static int set_control(struct pulltap_bpf *skel, uint64_t generation,
		       const struct kernel_sizes *sizes)
{
	uint32_t zero = 0;
	struct pt_control control = {
		.abi_version = PULLTAP_ABI_VERSION,
		.abi_hash = kernel_abi_hash(),
		.generation = generation,
		.loaded_boot_ns = boot_ns(),
		.short_keys_signal = sizes->max_keys / 100 * SWAP_AT_PERCENT,
		.long_keys_signal =
			sizes->max_keys / KERNEL_LONG_KEYS_SHARE / 100 * SWAP_AT_PERCENT,
		.hint_seconds = sizes->hint_seconds,
	};

	return bpf_map_update_elem(bpf_map__fd(skel->maps.control), &zero, &control, BPF_ANY)
		       ? -errno
		       : 0;
}

/* What two sets have in common: as long as its layout stays, it is one map that both use. */
struct common {
	struct bpf_map *map;
	int before_fd;
	bool only_shared; /* worthless once hits have gone on in the other: begins empty then */
	bool shared;
};

static int share(struct common *common)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (common->only_shared && common->before_fd < 0) /* of a build that had none */
		return 0;
	if (bpf_obj_get_info_by_fd(common->before_fd, &info, &size))
		return -errno;
	common->shared = info.type == bpf_map__type(common->map) &&
			 info.key_size == bpf_map__key_size(common->map) &&
			 info.value_size == bpf_map__value_size(common->map) &&
			 info.max_entries == bpf_map__max_entries(common->map);
	return common->shared ? bpf_map__reuse_fd(common->map, common->before_fd) : 0;
}

/*
 * An older map's values are shorter, the rest is 0. What is written to the older one from here on
 * stays behind: hits of a site in its own count, which is no pull, and a HEAD's hint, whose GET is
 * then a pull of the manifest alone.
 */
static int copy(const struct common *common)
{
	char key[256], value[1024] = {};
	const void *last = NULL;

	if (bpf_map__key_size(common->map) > sizeof(key) ||
	    bpf_map__value_size(common->map) > sizeof(value))
		return -E2BIG;
	while (!bpf_map_get_next_key(common->before_fd, last, key)) {
		last = key;
		if (!bpf_map_lookup_elem(common->before_fd, key, value) &&
		    bpf_map_update_elem(bpf_map__fd(common->map), key, value, BPF_ANY))
			return -errno;
	}
	return 0;
}

static int load(struct pulltap_bpf *skel, const struct kernel_sizes *sizes,
		const struct kernel *before)
{
	uint32_t long_keys = sizes->max_keys / KERNEL_LONG_KEYS_SHARE;
	struct common commons[] = {
		{.map = skel->maps.off, .before_fd = before ? before->off_fd : -1},
		{.map = skel->maps.sites, .before_fd = before ? before->sites_fd : -1},
		{.map = skel->maps.registries, .before_fd = before ? before->registries_fd : -1},
		{.map = skel->maps.hints, .before_fd = before ? before->hints_fd : -1},
		{.map = skel->maps.tls_connections,
		 .before_fd = before ? before->tls_connections_fd : -1,
		 .only_shared = true},
		{.map = skel->maps.tls_requests,
		 .before_fd = before ? before->tls_requests_fd : -1,
		 .only_shared = true},
		{.map = skel->maps.tls_calls,
		 .before_fd = before ? before->tls_calls_fd : -1,
		 .only_shared = true},
	};
	unsigned int count = before ? sizeof(commons) / sizeof(*commons) : 0;
	int rc = bpf_map__set_max_entries(skel->maps.counts_0, sizes->max_keys);

	rc = rc ?: bpf_map__set_max_entries(skel->maps.counts_1, sizes->max_keys);
	rc = rc ?: bpf_map__set_max_entries(skel->maps.long_counts_0, long_keys);
	rc = rc ?: bpf_map__set_max_entries(skel->maps.long_counts_1, long_keys);
	for (unsigned int i = 0; !rc && i < count; i++)
		rc = share(&commons[i]);
	rc = rc ?: pulltap_bpf__load(skel);
	for (unsigned int i = 0; !rc && i < count; i++)
		rc = commons[i].shared || commons[i].only_shared ? 0 : copy(&commons[i]);
	return rc;
}

int kernel_load(const char *path, uint64_t generation, const struct kernel_sizes *sizes,
		const struct kernel *before)
{
	struct pulltap_bpf *skel;
	char folder[PATH_MAX];
	int rc;

	libbpf_set_print(print_libbpf);
	skel = pulltap_bpf__open();
	if (!skel)
		return -errno;
	generation_path(folder, path, generation);
	rc = load(skel, sizes, before);
	rc = rc ?: fill_outer(skel);
	rc = rc ?: set_control(skel, generation, sizes);
	rc = rc ?: kernel_pins_make(skel, folder);
	pulltap_bpf__destroy(skel);
	return rc;
}
