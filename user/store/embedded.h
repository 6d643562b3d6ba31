/* SPDX-License-Identifier: MIT */
/*
 * The private PostgreSQL cluster of a machine without configuration: made under the state folder
 * by an unprivileged user from the installed server package, reachable through a unix socket
 * only. Starting it twice, or beside a running one of the same folder, is harmless.
 */
#ifndef PULLTAP_STORE_EMBEDDED_H
#define PULLTAP_STORE_EMBEDDED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct embedded;

/*
 * Finds the newest installed server (pg_config --bindir, /usr/lib/postgresql/N/bin), runs initdb
 * in <state>/postgres the first time, starts it and waits until it answers (at most 60 s). A
 * cluster that another agent's process runs is used and not stopped later; one whose agent was
 * killed is taken over. Errors: -ENOENT no server installed
 * (logged with the package to install), -EIO it would not start (its log's last lines are logged).
 */
must_check int embedded_start(struct embedded **ret, const char *state_dir);

/* libpq connection string of a cluster under state_dir; valid whether or not it runs. */
void embedded_conninfo(const char *state_dir, char *ret, size_t size);

/*
 * Which database a command works with, as a libpq connection string: database if the operator named
 * one, "" when the PG* variables do, else the cluster under state_dir, written to buffer.
 * *ret_embedded says whether it is the last.
 */
const char *embedded_or(const char *database, const char *state_dir, char *buffer, size_t size,
			bool *ret_embedded);

/* Is a cluster of that folder running now? */
bool embedded_running(const char *state_dir);

/* Stops it (fast shutdown) if this handle started it or took it over. */
void embedded_stop(struct embedded **embedded);

#endif
