/* SPDX-License-Identifier: MIT */
#include "store/embedded_place.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/embedded.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The socket's name and the address's final NUL must fit beside the folder. */
#define SOCKET_NAME "/.s.PGSQL." EMBEDDED_PORT

void embedded_absolute(const char *path, char ret[PATH_MAX])
{
	char cwd[PATH_MAX];

	if (realpath(path, ret))
		return;
	if (path[0] == '/' || !getcwd(cwd, sizeof(cwd)))
		snprintf(ret, PATH_MAX, "%s", path);
	else if (snprintf(ret, PATH_MAX, "%s/%s", cwd, path) >= PATH_MAX)
		ret[0] = 0;
}

/*
 * <state>/socket, or where that is too long for a socket's address a short folder named by the
 * hash of the long one.
 */
void embedded_socket_folder(const char *state_dir, char ret[PATH_MAX])
{
	const char *base = geteuid() ? getenv("XDG_RUNTIME_DIR") : "/run";
	char state[PATH_MAX];
	int n;

	embedded_absolute(state_dir, state);
	n = snprintf(ret, PATH_MAX, "%s/socket", state);
	if (n + strlen(SOCKET_NAME) < sizeof(((struct sockaddr_un *)0)->sun_path))
		return;
	if (!base || strlen(base) > 50)
		base = "/tmp";
	snprintf(ret, PATH_MAX, "%s/pulltap-%016llx", base,
		 (unsigned long long)XXH3_64bits(state, strlen(state)));
}

/* Inside single quotes of a connection string. */
static void quote_conninfo(const char *value, char *ret, size_t size)
{
	size_t n = 0;

	for (; *value && n + 3 < size; value++) {
		if (*value == '\'' || *value == '\\')
			ret[n++] = '\\';
		ret[n++] = *value;
	}
	ret[n] = 0;
}

void embedded_conninfo_for(const char *state_dir, const char *database, char *ret, size_t size)
{
	char folder[PATH_MAX], quoted[2 * PATH_MAX];

	embedded_socket_folder(state_dir, folder);
	quote_conninfo(folder, quoted, sizeof(quoted));
	snprintf(ret, size, "host='%s' port=" EMBEDDED_PORT " dbname=%s user=pulltap", quoted,
		 database);
}

void embedded_conninfo(const char *state_dir, char *ret, size_t size)
{
	embedded_conninfo_for(state_dir, EMBEDDED_DATABASE, ret, size);
}

int embedded_read_line(const char *path, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file)
		return -errno;
	if (!fgets(ret, (int)size, file))
		return -EIO;
	ret[strcspn(ret, "\n")] = 0;
	return 0;
}

/*
 * The pid file outlives a crash: then its number may be a zombie's (nobody collects in many
 * containers) or anybody's. A server works in its data folder.
 */
static bool is_server_of(long pid, const char *data)
{
	char path[64], line[256], cwd[PATH_MAX];
	const char *end;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (embedded_read_line(path, line, sizeof(line)))
		return false;
	end = strrchr(line, ')');
	if (!end || !end[1] || end[2] == 'Z' || end[2] == 'X')
		return false;
	snprintf(path, sizeof(path), "/proc/%ld/cwd", pid);
	n = readlink(path, cwd, sizeof(cwd) - 1);
	if (n < 0)
		return strstr(line, "(post"); /* not ours to see */
	cwd[n] = 0;
	return !strcmp(cwd, data);
}

pid_t embedded_server(const char *state_dir)
{
	char state[PATH_MAX], data[PATH_MAX + 16], path[PATH_MAX + 32], line[32];
	long pid;

	embedded_absolute(state_dir, state);
	snprintf(data, sizeof(data), "%s/postgres", state);
	snprintf(path, sizeof(path), "%s/postmaster.pid", data);
	if (embedded_read_line(path, line, sizeof(line)))
		return 0;
	pid = strtol(line, NULL, 10);
	return pid > 0 && is_server_of(pid, data) ? (pid_t)pid : 0;
}

bool embedded_running(const char *state_dir)
{
	return embedded_server(state_dir) != 0;
}

bool embedded_orphan(pid_t server)
{
	char path[64], line[256], parent[32], own[32];
	const char *end;
	int ppid;

	snprintf(path, sizeof(path), "/proc/%d/stat", server);
	if (embedded_read_line(path, line, sizeof(line)))
		return false;
	end = strrchr(line, ')'); /* "pid (name) state ppid" */
	if (!end || sscanf(end + 1, " %*c %d", &ppid) != 1)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/comm", ppid);
	return embedded_read_line(path, parent, sizeof(parent)) ||
	       embedded_read_line("/proc/self/comm", own, sizeof(own)) || strcmp(parent, own);
}

const char *embedded_or(const char *database, const char *state_dir, char *buffer, size_t size,
			bool *ret_embedded)
{
	static const char *const variables[] = {"PGHOST",     "PGHOSTADDR", "PGSERVICE",
						"PGDATABASE", "PGPORT",	    "PGUSER"};

	*ret_embedded = false;
	if (database)
		return database;
	for (unsigned int i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		if (getenv(variables[i]))
			return "";
	*ret_embedded = true;
	embedded_conninfo(state_dir, buffer, size);
	return buffer;
}
