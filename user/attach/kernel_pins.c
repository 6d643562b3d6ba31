/* SPDX-License-Identifier: MIT */
#include "attach/kernel_pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include "pulltap.skel.h"

struct pin {
	const char *name; /* below the set's folder */
	size_t skel; /* offset of the skeleton's pointer to it */
	size_t kernel; /* offset of its descriptor in struct kernel */
};

#define MAP(name, map, fd)                                                                         \
	{                                                                                          \
		name, offsetof(struct pulltap_bpf, maps.map), offsetof(struct kernel, fd)          \
	}
#define WINDOW(map, kind)                                                                          \
	MAP("window_0/" #map, map##_0, window_fd[0][kind]),                                        \
		MAP("window_1/" #map, map##_1, window_fd[1][kind])

static const struct pin maps[] = {
	MAP("off", off, off_fd),
	MAP("sites", sites, sites_fd),
	MAP("registries", registries, registries_fd),
	MAP("hints", hints, hints_fd),
	MAP("tls_connections", tls_connections, tls_connections_fd),
	MAP("tls_requests", tls_requests, tls_requests_fd),
	MAP("tls_calls", tls_calls, tls_calls_fd),
	MAP("rules", rules, rules_fd),
	MAP("proxies", proxies, proxies_fd),
	MAP("events", events, events_fd),
	MAP("all_counts", counts, outer_fd[KERNEL_COUNTS]),
	MAP("all_long_counts", long_counts, outer_fd[KERNEL_LONG_COUNTS]),
	MAP("all_overflows", overflows, outer_fd[KERNEL_OVERFLOW]),
	MAP("all_ledgers", ledgers, outer_fd[KERNEL_LEDGER]),
	WINDOW(counts, KERNEL_COUNTS),
	WINDOW(long_counts, KERNEL_LONG_COUNTS),
	WINDOW(overflow, KERNEL_OVERFLOW),
	WINDOW(ledger, KERNEL_LEDGER),
};

#define PROGRAM(name, index)                                                                       \
	{                                                                                          \
		"program/" #name, offsetof(struct pulltap_bpf, progs.name),                        \
			offsetof(struct kernel, program_fd[index])                                 \
	}

static const struct pin programs[] = {
	PROGRAM(go_http1, KERNEL_GO_HTTP1),	PROGRAM(go_http2, KERNEL_GO_HTTP2),
	PROGRAM(nginx_request, KERNEL_NGINX),	PROGRAM(apache_request, KERNEL_APACHE),
	PROGRAM(tls_read, KERNEL_TLS_READ),	PROGRAM(tls_read_done, KERNEL_TLS_READ_DONE),
	PROGRAM(tls_write, KERNEL_TLS_WRITE),	PROGRAM(tls_free, KERNEL_TLS_FREE),
	PROGRAM(exec_watch, KERNEL_EXEC_WATCH),
};
_Static_assert(sizeof(programs) / sizeof(*programs) == KERNEL_PROGRAMS, "each program is pinned");

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

static const void *of_skel(const struct pulltap_bpf *skel, const struct pin *pin)
{
	return *(const void *const *)((const char *)skel + pin->skel);
}

static int *of_kernel(struct kernel *kernel, const struct pin *pin)
{
	return (int *)((char *)kernel + pin->kernel);
}

static int make(int fd, const char *folder, const char *name)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", folder, name);
	return bpf_obj_pin(fd, full) ? -errno : 0;
}

static int make_folders(const char *folder)
{
	static const char *const names[] = {"", "window_0", "window_1", "program"};
	char full[PATH_MAX];

	for (unsigned int i = 0; i < COUNT_OF(names); i++) {
		snprintf(full, sizeof(full), "%s/%s", folder, names[i]);
		if (mkdir(full, 0700))
			return -errno;
	}
	return 0;
}

int kernel_pins_make(const struct pulltap_bpf *skel, const char *folder)
{
	int rc = make_folders(folder);

	for (unsigned int i = 0; !rc && i < COUNT_OF(programs); i++)
		rc = make(bpf_program__fd(of_skel(skel, &programs[i])), folder, programs[i].name);
	for (unsigned int i = 0; !rc && i < COUNT_OF(maps); i++)
		rc = make(bpf_map__fd(of_skel(skel, &maps[i])), folder, maps[i].name);
	return rc ?: make(bpf_map__fd(skel->maps.control), folder, "control");
}

static int open_all(struct kernel *kernel, const char *folder, bool whole, const struct pin *pins,
		    size_t count)
{
	char full[PATH_MAX];

	for (size_t i = 0; i < count; i++) {
		int fd;

		snprintf(full, sizeof(full), "%s/%s", folder, pins[i].name);
		fd = bpf_obj_get(full);
		if (fd < 0 && (whole || errno != ENOENT))
			return -errno;
		*of_kernel(kernel, &pins[i]) = fd;
	}
	return 0;
}

int kernel_pins_open(struct kernel *kernel, const char *folder, bool whole)
{
	int rc = open_all(kernel, folder, whole, maps, COUNT_OF(maps));

	return rc ?: open_all(kernel, folder, whole, programs, COUNT_OF(programs));
}

static void close_all(struct kernel *kernel, const struct pin *pins, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int *fd = of_kernel(kernel, &pins[i]);

		if (*fd >= 0)
			close(*fd);
		*fd = -1;
	}
}

void kernel_pins_close(struct kernel *kernel)
{
	close_all(kernel, maps, COUNT_OF(maps));
	close_all(kernel, programs, COUNT_OF(programs));
}
