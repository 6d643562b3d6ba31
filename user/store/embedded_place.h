/* SPDX-License-Identifier: MIT */
/* Where the private cluster of a state folder lies and how it is reached. Changes nothing. */
#ifndef PULLTAP_STORE_EMBEDDED_PLACE_H
#define PULLTAP_STORE_EMBEDDED_PLACE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"

#define EMBEDDED_PORT "5432" /* names the socket; nothing listens on the network */
#define EMBEDDED_DATABASE "pulltap"

/* An absolute path, without links where it exists. */
void embedded_absolute(const char *path, char ret[PATH_MAX]);

void embedded_socket_folder(const char *state_dir, char ret[PATH_MAX]);

/* libpq connection string for one of the cluster's databases. */
void embedded_conninfo_for(const char *state_dir, const char *database, char *ret, size_t size);

/* The running server's process, 0 when there is none. */
must_check pid_t embedded_server(const char *state_dir);

/*
 * Did the agent that started this server end without stopping it? Its parent is then not a program
 * of our own name.
 */
must_check bool embedded_orphan(pid_t server);

/* The first line of a small file, without its end. 0 or -errno. */
must_check int embedded_read_line(const char *path, char *ret, size_t size);

#endif
