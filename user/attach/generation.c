/* SPDX-License-Identifier: MIT */
#include "attach/generation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "generation_"

/* What a set's folder holds, and people and tools reach under DIR itself. */
static const char *const names[] = {
	"control",	"off",	     "sites",	 "registries", "hints",		  "tls_connections",
	"tls_requests", "tls_calls", "events",	 "all_counts", "all_long_counts", "all_overflows",
	"all_ledgers",	"window_0",  "window_1", "program",
};

void generation_path(char ret[PATH_MAX], const char *path, uint64_t number)
{
	snprintf(ret, PATH_MAX, "%s/" PREFIX "%llu", path, (unsigned long long)number);
}

static int parse(const char *name, uint64_t *ret)
{
	unsigned long long number;
	char end;

	if (sscanf(name, PREFIX "%llu%c", &number, &end) != 1)
		return -ENOENT;
	*ret = number;
	return 0;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int generation_list(const char *path, uint64_t numbers[GENERATIONS_MAX])
{
	_cleanup_closedir_ DIR *folder = opendir(path);
	struct dirent *entry;
	uint64_t number;
	int count = 0;

	if (!folder)
		return -errno;
	while ((entry = readdir(folder))) {
		if (parse(entry->d_name, &number))
			continue;
		if (count == GENERATIONS_MAX)
			return -E2BIG;
		numbers[count++] = number;
	}
	qsort(numbers, (size_t)count, sizeof(*numbers), ascending);
	return count;
}

int generation_live(const char *path, uint64_t *ret)
{
	char link[PATH_MAX], target[64];
	ssize_t length;

	snprintf(link, sizeof(link), "%s/live", path);
	length = readlink(link, target, sizeof(target) - 1);
	if (length < 0)
		return -errno;
	target[length] = 0;
	return parse(target, ret);
}

static int make_names(const char *path)
{
	char link[PATH_MAX], target[64];

	for (unsigned int i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(link, sizeof(link), "%s/%s", path, names[i]);
		snprintf(target, sizeof(target), "live/%s", names[i]);
		if (symlink(target, link) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

void generation_forget(const char *path)
{
	char live[PATH_MAX];

	snprintf(live, sizeof(live), "%s/live", path);
	unlink(live);
}

int generation_go_live(const char *path, uint64_t number)
{
	char target[64], next[PATH_MAX], live[PATH_MAX];

	snprintf(target, sizeof(target), PREFIX "%llu", (unsigned long long)number);
	snprintf(next, sizeof(next), "%s/live_next", path);
	snprintf(live, sizeof(live), "%s/live", path);
	if (unlink(next) && errno != ENOENT)
		return -errno;
	if (symlink(target, next) || rename(next, live))
		return -errno;
	return make_names(path);
}
