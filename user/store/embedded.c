/* SPDX-License-Identifier: MIT */
#include "store/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <libpq-fe.h>

#include "base/log.h"
#include "store/embedded_child.h"
#include "store/embedded_place.h"

#define START_TIMEOUT_MS 60000
#define STOP_TIMEOUT_MS 60000
struct embedded {
	struct embedded_user user;
	char bin[PATH_MAX];
	char data[PATH_MAX];
	pid_t server; /* when this process started it, else 0 */
};

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
	if (!embedded_read_line(path, version, sizeof(version))) {
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

/* The folders above belong to others: nothing is changed there, but the reason is named. */
static int check_reachable(const struct embedded *embedded, const char *state)
{
	char path[PATH_MAX], text[512], *slash;
	struct stat st;

	if (geteuid())
		return 0;
	snprintf(path, sizeof(path), "%s", state);
	while ((slash = strrchr(path, '/')) && slash != path) {
		*slash = 0;
		if (stat(path, &st) || (st.st_mode & S_IXOTH) || st.st_uid == embedded->user.uid)
			continue;
		log_error("the private database's user can't reach the state folder: allow others "
			  "to enter this one (chmod o+x) or choose another --state-dir",
			  "path=%s uid=%u", log_quote(text, sizeof(text), path),
			  embedded->user.uid);
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
		      "port = " EMBEDDED_PORT "\nunix_socket_permissions = 0770\n"
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

/* The server itself, without pg_ctl, which hands paths to a shell. Does not wait. */
static int start_cluster(struct embedded *embedded, const char *state, const char *socket_dir)
{
	char path[PATH_MAX + 32], log[PATH_MAX + 32];
	const char *argv[] = {path, "-D", embedded->data, NULL};
	pid_t running = embedded_server(state);
	int err;

	if (running) {
		/* left behind by an agent that was killed: ours from now on, and ours to stop */
		embedded->server = embedded_orphan(running) ? running : 0;
		return 0;
	}
	/*
	 * Lock files of a dead server would be believed while its number lives on as a zombie or as
	 * another process. Its memory's key comes from the folder, so that sessions which outlived
	 * it are still found.
	 */
	snprintf(path, sizeof(path), "%s/postmaster.pid", embedded->data);
	unlink(path);
	snprintf(path, sizeof(path), "%s/.s.PGSQL." EMBEDDED_PORT ".lock", socket_dir);
	unlink(path);
	err = write_config(embedded, socket_dir);
	snprintf(path, sizeof(path), "%s/postgres", embedded->bin);
	snprintf(log, sizeof(log), "%s/postgres.log", state);
	if (!err) {
		embedded->server = embedded_spawn(&embedded->user, argv, log);
		err = embedded->server < 0 ? embedded->server : 0;
	}
	if (err)
		log_error("the private database can't be started", "path=%s error=%s",
			  embedded->data, strerror(-err));
	return err ? -EIO : 0;
}

static void cleanup_pqfinish(PGconn **conn)
{
	PQfinish(*conn);
}

/* Makes the database the first time; false while the server does not answer. */
static bool make_database(const char *state, char *ret_error, size_t size)
{
	char conninfo[3 * PATH_MAX];
	_cleanup_(cleanup_pqfinish) PGconn *conn = NULL;
	PGresult *result;
	const char *code;
	bool made;

	embedded_conninfo_for(state, "postgres", conninfo, sizeof(conninfo));
	conn = PQconnectdb(conninfo);
	if (PQstatus(conn) != CONNECTION_OK) {
		log_quote(ret_error, size, PQerrorMessage(conn));
		return false;
	}
	result = PQexec(conn, "create database " EMBEDDED_DATABASE);
	code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	made = PQresultStatus(result) == PGRES_COMMAND_OK || (code && !strcmp(code, "42P04"));
	if (!made)
		log_quote(ret_error, size, PQerrorMessage(conn));
	PQclear(result);
	return made;
}

static int wait_until_ready(struct embedded *embedded, const char *state)
{
	char log[PATH_MAX + 32], error[512] = "";
	int tries;

	for (tries = 0; tries < START_TIMEOUT_MS / 50; tries++) {
		if (make_database(state, error, sizeof(error)))
			return 0;
		if (embedded->server > 0 && waitpid(embedded->server, NULL, WNOHANG) > 0) {
			embedded->server = 0;
			break;
		}
		usleep(50000);
	}
	log_error("the private database does not answer", "path=%s error=%s", embedded->data,
		  error);
	snprintf(log, sizeof(log), "%s/postgres.log", state);
	log_tail(log);
	return -EIO;
}

/* One start at a time for a folder: two would make the cluster twice. Freed with the process. */
static int lock_state(const char *state)
{
	char path[PATH_MAX + 32];
	int fd;

	snprintf(path, sizeof(path), "%s/postgres.lock", state);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX)) {
		log_error("the state folder can't be used", "path=%s error=%s", path,
			  strerror(errno));
		cleanup_close(&fd);
		return -EIO;
	}
	return fd;
}

int embedded_start(struct embedded **ret, const char *state_dir)
{
	_cleanup_free_ struct embedded *embedded = calloc(1, sizeof(*embedded));
	char state[PATH_MAX], socket_dir[PATH_MAX];
	_cleanup_close_ int lock = -1;
	int err;

	if (!embedded)
		return -ENOMEM;
	err = open_state(state_dir);
	if (err)
		return err;
	embedded_absolute(state_dir, state);
	if (snprintf(embedded->data, PATH_MAX, "%s/postgres", state) >= PATH_MAX - 32)
		return -ENAMETOOLONG;
	lock = lock_state(state);
	if (lock < 0)
		return lock;
	embedded_socket_folder(state, socket_dir);
	err = find_server(embedded);
	if (!err)
		err = embedded_find_user(&embedded->user);
	if (!err)
		err = check_reachable(embedded, state);
	if (!err)
		/* setgid: the socket gets the agent's group, which may then connect */
		err = make_folder(embedded, socket_dir, 02710);
	if (!err)
		err = init_cluster(embedded, state);
	if (!err)
		err = start_cluster(embedded, state, socket_dir);
	if (!err)
		err = wait_until_ready(embedded, state);
	if (err)
		return err;
	*ret = TAKE_PTR(embedded);
	return 0;
}

void embedded_stop(struct embedded **ptr)
{
	struct embedded *embedded = *ptr;
	int tries;

	if (!embedded)
		return;
	if (embedded->server > 0) {
		kill(embedded->server, SIGINT); /* fast: ends sessions, writes a checkpoint */
		for (tries = 0; tries < STOP_TIMEOUT_MS / 50; tries++) {
			if (waitpid(embedded->server, NULL, WNOHANG) > 0 ||
			    (kill(embedded->server, 0) && errno == ESRCH))
				break;
			usleep(50000);
		}
		if (tries == STOP_TIMEOUT_MS / 50)
			log_warn("the private database did not stop", "path=%s", embedded->data);
	}
	free(embedded);
	*ptr = NULL;
}
