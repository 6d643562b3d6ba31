/* SPDX-License-Identifier: MIT */
/* Programs of the private cluster, run as an unprivileged user with a clean environment. */
#ifndef PULLTAP_STORE_EMBEDDED_CHILD_H
#define PULLTAP_STORE_EMBEDDED_CHILD_H

#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct embedded_user {
	uid_t uid;
	gid_t gid;
};

/* Who runs the server: ourselves, or for root "postgres", else "nobody". -ENOENT is logged. */
must_check int embedded_find_user(struct embedded_user *ret);

/*
 * Runs argv[0] to its end with standard output and error appended to log. 0; -EIO when it failed;
 * -EPERM when the user could not be changed; -errno.
 */
must_check int embedded_run(const struct embedded_user *user, const char *const argv[],
			    const char *log);

/* Starts argv[0] the same way and leaves it running in a session of its own: its pid or -errno. */
must_check pid_t embedded_spawn(const struct embedded_user *user, const char *const argv[],
				const char *log);

/* What `pg_config --bindir` prints. */
must_check int embedded_ask_pg_config(char *ret, size_t size);

/* Removes a folder and all in it, following no link. */
void embedded_remove_folder(const char *path);

#endif
