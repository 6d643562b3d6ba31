/* SPDX-License-Identifier: MIT */
#include "base/socket_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char prefix[] = "socket:[";

/* The inode of the socket that a descriptor is; 0: it is none. */
static uint32_t inode_of(int folder, const char *descriptor)
{
	char text[64];
	ssize_t n = readlinkat(folder, descriptor, text, sizeof(text) - 1);

	if (n <= (ssize_t)strlen(prefix) || strncmp(text, prefix, strlen(prefix)))
		return 0;
	text[n] = 0;
	return (uint32_t)strtoul(text + strlen(prefix), NULL, 10);
}

int socket_list_read(pid_t pid, struct socket_list *ret)
{
	_cleanup_closedir_ DIR *folder = NULL;
	const struct dirent *entry;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	folder = opendir(path);
	ret->result = folder ? 0 : -errno;
	ret->count = 0;
	while (folder && ret->count < SOCKET_LIST && (entry = readdir(folder))) {
		uint32_t inode = inode_of(dirfd(folder), entry->d_name);

		if (inode)
			ret->inodes[ret->count++] = inode;
	}
	return ret->result;
}
