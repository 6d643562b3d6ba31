/* SPDX-License-Identifier: MIT */
#include "store/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <libpq-fe.h>

#include "base/log.h"
#include "store/embedded_child.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define PORT "5432"
#define DATABASE "pulltap"
/* The socket's name and the address's final NUL must fit beside the folder. */
#define SOCKET_NAME "/.s.PGSQL." PORT

struct embedded {
	struct embedded_user user;
	char bin[PATH_MAX];
	char data[PATH_MAX];
	bool started;
};

/* An absolute path without links where it exists, else made absolute. */
static void absolute(const char *path, char ret[PATH_MAX])
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
static void socket_folder(const char *state_dir, char ret[PATH_MAX])
{
	const char *base = geteuid() ? getenv("XDG_RUNTIME_DIR") : "/run";
	char state[PATH_MAX];
	int n;

	absolute(state_dir, state);
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

static void conninfo_for(const char *state_dir, const char *database, char *ret, size_t size)
{
	char folder[PATH_MAX], quoted[2 * PATH_MAX];

	socket_folder(state_dir, folder);
	quote_conninfo(folder, quoted, sizeof(quoted));
	snprintf(ret, size, "host='%s' port=" PORT " dbname=%s user=pulltap", quoted, database);
}

void embedded_conninfo(const char *state_dir, char *ret, size_t size)
{
	conninfo_for(state_dir, DATABASE, ret, size);
}

/* The first line of a small file. */
static int read_line(const char *path, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file)
		return -errno;
	if (!fgets(ret, (int)size, file))
		return -EIO;
	ret[strcspn(ret, "\n")] = 0;
	return 0;
}

bool embedded_running(const char *state_dir)
{
	char state[PATH_MAX], path[PATH_MAX + 32], line[32], proc[64], name[64];
	long pid;

	absolute(state_dir, state);
	snprintf(path, sizeof(path), "%s/postgres/postmaster.pid", state);
	if (read_line(path, line, sizeof(line)))
		return false;
	pid = strtol(line, NULL, 10);
	if (pid <= 0 || (kill((pid_t)pid, 0) && errno != EPERM))
		return false;
	/* the file outlives a crash, and then the number may be anybody's */
	snprintf(proc, sizeof(proc), "/proc/%ld/comm", pid);
	return read_line(proc, name, sizeof(name)) || !strncmp(name, "postgres", 8) ||
	       !strncmp(name, "postmaster", 10);
}

static bool has_server(const char *bin)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/postgres", bin);
	return !access(path, X_OK);
}

/* The server programs: of the cluster's major version when it exists, else the newest. */
static int find_server(struct embedded *embedded)
{
	char path[PATH_MAX + 32], version[32] = "";
	int major;

	snprintf(path, sizeof(path), "%s/PG_VERSION", embedded->data);
	if (!read_line(path, version, sizeof(version))) {
		snprintf(embedded->bin, PATH_MAX, "/usr/lib/postgresql/%s/bin", version);
		if (has_server(embedded->bin))
			return 0;
	} else {
		for (major = 40; major >= 13; major--) {
			snprintf(embedded->bin, PATH_MAX, "/usr/lib/postgresql/%d/bin", major);
			if (has_server(embedded->bin))
				return 0;
		}
	}
	if (!embedded_ask_pg_config(embedded->bin, PATH_MAX) && has_server(embedded->bin))
		return 0;
	log_error("no PostgreSQL server is installed for the private database: install it or name "
		  "one with --database",
		  "package=postgresql%s%s", version[0] ? "-" : "", version);
	return -ENOENT;
}

/*
 * Folders of the server's user that the agent's group may enter: an agent that runs as root
 * without the right to override permissions reaches the socket, others don't.
 */
static int make_folder(const struct embedded *embedded, const char *path, mode_t mode)
{
	char text[512];
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		goto failed;
	if (lstat(path, &st))
		goto failed;
	if (!S_ISDIR(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != embedded->user.uid)) {
		errno = EEXIST; /* somebody else's, or a link to anywhere */
		goto failed;
	}
	if (!geteuid() && lchown(path, embedded->user.uid, getegid()))
		goto failed;
	if (chmod(path, mode))
		goto failed;
	return 0;
failed:
	log_error("the private database has no folder", "path=%s error=%s",
		  log_quote(text, sizeof(text), path), strerror(errno));
	return -EIO;
}

/* The server's user has to walk through the state folder; it can't list it. */
static int open_state(const char *state)
{
	char text[512];
	struct stat st;

	if ((mkdir(state, 0711) && errno != EEXIST) || stat(state, &st) ||
	    (!geteuid() && !(st.st_mode & S_IXOTH) &&
	     chmod(state, (st.st_mode & 07777) | S_IXOTH))) {
		log_error("the state folder can't be used", "path=%s error=%s",
			  log_quote(text, sizeof(text), state), strerror(errno));
		return -EIO;
	}
	return 0;
}

static void log_tail(const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char line[400], text[512];

	if (!file)
		return;
	if (!fseek(file, -2000, SEEK_END) && !fgets(line, sizeof(line), file))
		return; /* the rest of a line that was cut */
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		log_error("the database server said", "line=%s",
			  log_quote(text, sizeof(text), line));
	}
}

/* Small: this cluster serves one node. Written before each start, so that a moved folder works. */
static int write_config(const struct embedded *embedded, const char *socket_dir)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[PATH_MAX + 32];
	const char *p;

	snprintf(path, sizeof(path), "%s/pulltap.conf", embedded->data);
	unlink(path); /* never write through what the server's user may have put there */
	file = fopen(path, "wxe");
	if (!file)
		return -errno;
	fprintf(file, "# written by pulltap before each start\nlisten_addresses = ''\n"
		      "port = " PORT "\nunix_socket_permissions = 0770\n"
		      "unix_socket_directories = '\"");
	for (p = socket_dir; *p; p++)
		fprintf(file, "%s%c",
			*p == '\''   ? "'"
			: *p == '"'  ? "\""
			: *p == '\\' ? "\\"
				     : "",
			*p);
	fprintf(file, "\"'\nshared_buffers = 32MB\nmax_connections = 20\n"
		      "max_wal_size = 256MB\nmin_wal_size = 32MB\nwal_compression = on\n"
		      "checkpoint_timeout = 15min\nmax_parallel_workers = 0\njit = off\n"
		      "autovacuum_max_workers = 1\nautovacuum_naptime = 5min\n"
		      "max_wal_senders = 0\nwal_level = minimal\n"
		      "timezone = 'UTC'\nlog_timezone = 'UTC'\n");
	if (fflush(file) || fchmod(fileno(file), 0600) ||
	    (!geteuid() && fchown(fileno(file), embedded->user.uid, embedded->user.gid)))
		return -errno;
	return 0;
}

/* A folder of its own until it is whole, so that a power cut leaves no half cluster. */
static int init_cluster(struct embedded *embedded, const char *state)
{
	char path[PATH_MAX + 32], made[PATH_MAX + 16], log[PATH_MAX + 32];
	const char *argv[] = {path,    "-D", made,   "-U",	   "pulltap",		"-A",
			      "trust", "-E", "UTF8", "--locale=C", "--no-instructions", NULL};
	_cleanup_fclose_ FILE *file = NULL;
	int err;

	snprintf(path, sizeof(path), "%s/PG_VERSION", embedded->data);
	if (!access(path, F_OK))
		return 0;
	snprintf(made, sizeof(made), "%s.new", embedded->data);
	snprintf(log, sizeof(log), "%s/postgres.log", state);
	snprintf(path, sizeof(path), "%s/initdb", embedded->bin);
	embedded_remove_folder(made);
	err = make_folder(embedded, made, 0700);
	if (err)
		return err;
	err = embedded_run(&embedded->user, argv, log);
	if (!err) {
		snprintf(path, sizeof(path), "%s/postgresql.conf", made);
		file = fopen(path, "ae");
		if (!file || fprintf(file, "\ninclude_if_exists = 'pulltap.conf'\n") < 0 ||
		    fflush(file) || fsync(fileno(file)) || rename(made, embedded->data))
			err = -errno;
	}
	if (err) {
		log_error("the private database could not be made", "path=%s error=%s", made,
			  strerror(-err));
		log_tail(log);
		return -EIO;
	}
	log_info("made a private database", "path=%s", embedded->data);
	return 0;
}

static int start_cluster(struct embedded *embedded, const char *state, const char *socket_dir)
{
	char path[PATH_MAX + 32], log[PATH_MAX + 32], server_log[PATH_MAX + 32];
	const char *argv[] = {path, "-D", embedded->data, "-l",	   server_log, "-w",
			      "-s", "-t", "60",		  "start", NULL};
	int err;

	if (embedded_running(state))
		return 0;
	err = write_config(embedded, socket_dir);
	snprintf(path, sizeof(path), "%s/pg_ctl", embedded->bin);
	snprintf(log, sizeof(log), "%s/postgres.log", state);
	snprintf(server_log, sizeof(server_log), "%s/server.log", embedded->data);
	if (!err)
		err = embedded_run(&embedded->user, argv, log);
	if (!err) {
		embedded->started = true;
		return 0;
	}
	/* another process may have been faster */
	if (embedded_running(state))
		return 0;
	log_error("the private database does not start", "path=%s error=%s", embedded->data,
		  strerror(-err));
	log_tail(log);
	log_tail(server_log);
	return -EIO;
}

static void cleanup_pqfinish(PGconn **conn)
{
	PQfinish(*conn);
}

/* Waits for one that is starting elsewhere, and makes the database the first time. */
static int make_database(const char *state)
{
	char conninfo[3 * PATH_MAX], text[512];
	int tries;

	for (tries = 0;; tries++) {
		_cleanup_(cleanup_pqfinish) PGconn *conn = NULL;
		PGresult *result;
		const char *code;
		bool made;

		conninfo_for(state, "postgres", conninfo, sizeof(conninfo));
		conn = PQconnectdb(conninfo);
		if (PQstatus(conn) == CONNECTION_OK) {
			result = PQexec(conn, "create database " DATABASE);
			code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			/* exists, or another process makes it just now */
			made = PQresultStatus(result) == PGRES_COMMAND_OK ||
			       (code && (!strcmp(code, "42P04") || !strcmp(code, "23505")));
			PQclear(result);
			if (made)
				return 0;
		}
		if (tries == 600) {
			log_error("the private database does not answer", "error=%s",
				  log_quote(text, sizeof(text), PQerrorMessage(conn)));
			return -EIO;
		}
		usleep(100000);
	}
}

int embedded_start(struct embedded **ret, const char *state_dir)
{
	_cleanup_free_ struct embedded *embedded = calloc(1, sizeof(*embedded));
	char state[PATH_MAX], socket_dir[PATH_MAX];
	int err;

	if (!embedded)
		return -ENOMEM;
	err = open_state(state_dir);
	if (err)
		return err;
	absolute(state_dir, state);
	if (snprintf(embedded->data, PATH_MAX, "%s/postgres", state) >= PATH_MAX - 32)
		return -ENAMETOOLONG;
	socket_folder(state, socket_dir);
	err = find_server(embedded);
	if (!err)
		err = embedded_find_user(&embedded->user);
	if (!err)
		/* setgid: the socket gets the agent's group, which may then connect */
		err = make_folder(embedded, socket_dir, 02710);
	if (!err)
		err = init_cluster(embedded, state);
	if (!err)
		err = start_cluster(embedded, state, socket_dir);
	if (!err)
		err = make_database(state);
	if (err)
		return err;
	*ret = TAKE_PTR(embedded);
	return 0;
}

void embedded_stop(struct embedded **ptr)
{
	struct embedded *embedded = *ptr;
	char path[PATH_MAX + 32];

	if (!embedded)
		return;
	if (embedded->started) {
		const char *argv[] = {path, "-D", embedded->data, "-m",	  "fast", "-w",
				      "-s", "-t", "60",		  "stop", NULL};

		snprintf(path, sizeof(path), "%s/pg_ctl", embedded->bin);
		if (embedded_run(&embedded->user, argv, "/dev/null"))
			log_warn("the private database did not stop", "path=%s", embedded->data);
	}
	free(embedded);
	*ptr = NULL;
}
