/* SPDX-License-Identifier: MIT */
#include "discover/openssl_process.h"

#include <string.h>

static const struct {
	const char *start, *name;
} others[] =
	{
		{"libgnutls.so", "GnuTLS"},    {"libboringssl", "BoringSSL"},
		{"libmbedtls.so", "Mbed TLS"}, {"libwolfssl.so", "wolfSSL"},
		{"libssl3.so", "NSS"}, /* a library of the same name and another kind */
};

static bool starts(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

bool openssl_process_is_library(const char *path, const char **ret_other)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	/* bundled ones have a hash in their name: libssl-81ffa89e.so.1.1 */
	if (starts(name, "libssl.so") || (starts(name, "libssl-") && strstr(name, ".so")))
		return true;
	for (unsigned int i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (starts(name, others[i].start))
			*ret_other = others[i].name;
	return false;
}

static int add_map(void *context, const struct process_map *map)
{
	struct openssl_process *found = context;

	if (map->inode == found->process->file.inode &&
	    found->process->file.device != FILE_IDENTITY_OVERLAY &&
	    !strcmp(map->path, found->process->exe))
		found->device = PT_KERNEL_DEVICE(map->major, map->minor);
	if (!found->has_crypto && starts(strrchr(map->path, '/') + 1, "libcrypto.so")) {
		found->has_crypto = true;
		found->crypto = *map;
	}
	if (!map->executable || !openssl_process_is_library(map->path, &found->other) ||
	    found->libraries_count == OPENSSL_LIBRARIES)
		return 0;
	for (unsigned int i = 0; i < found->libraries_count; i++)
		if (found->libraries[i].inode == map->inode &&
		    found->libraries[i].minor == map->minor &&
		    found->libraries[i].major == map->major)
			return 0;
	found->libraries[found->libraries_count++] = *map;
	return 0;
}

int openssl_process_read(int proc, struct openssl_process *ret)
{
	ret->device = 0;
	ret->libraries_count = 0;
	ret->has_crypto = false;
	ret->other = NULL;
	return process_maps_each(proc, ret->process->pid, add_map, ret);
}

void openssl_process_own(const struct openssl_process *process, struct binary *binary)
{
	for (unsigned int i = 0; i < binary->sites_count; i++) {
		struct pt_tls_layout *layout = &binary->sites[i].layout.tls;

		layout->exe_inode = process->process->file.inode;
		layout->exe_device = process->device;
	}
}
