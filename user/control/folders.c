/* SPDX-License-Identifier: MIT */
#include "control/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

/* Deeper than pins, spool and a PostgreSQL cluster go. */
#define DEPTH 12

static int give_one(int fd, const char *path, const struct stat *st, uid_t uid, gid_t gid)
{
	char quoted[512];
	int rc;

	if (st->st_uid == uid && st->st_gid == gid)
		return 0;
	/* a second name may be anywhere: what the new owner could reach through it is not given */
	if (S_ISREG(st->st_mode) && st->st_nlink > 1) {
		log_warn("a file with several names keeps its owner", "path=%s",
			 log_quote(quoted, sizeof(quoted), path));
		return 0;
	}
	if (!fchownat(fd, "", uid, gid, AT_EMPTY_PATH))
		return 0;
	rc = -errno;
	fprintf(stderr, "pulltap: giving %s to uid %u: %s: allow CAP_CHOWN, or chown it yourself\n",
		path, uid, strerror(-rc));
	return rc;
}

static int give(int fd, const char *path, dev_t device, uid_t uid, gid_t gid, int depth)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	struct stat st;
	int rc, list;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_dev != device)
		return 0;
	rc = give_one(fd, path, &st, uid, gid);
	if (rc || !S_ISDIR(st.st_mode))
		return rc;
	list = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* without the right to override permissions root can't look into what is not its own */
	if (list < 0)
		return errno == EACCES && st.st_uid == uid ? 0 : -errno;
	dir = fdopendir(list);
	if (!dir || !depth) {
		if (!dir)
			close(list);
		return dir ? -ELOOP : -ENOMEM;
	}
	while (!rc && (errno = 0, entry = readdir(dir))) {
		_cleanup_close_ int child = -1;
		char below[PATH_MAX];

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		child = openat(fd, entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (child < 0) {
			rc = errno == ENOENT ? 0 : -errno;
			continue;
		}
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		rc = give(child, below, device, uid, gid, depth - 1);
	}
	return rc ?: -errno;
}

int folders_give(int folder, const char *path, uid_t uid, gid_t gid)
{
	struct stat st;

	if (fstat(folder, &st))
		return -errno;
	return give(folder, path, st.st_dev, uid, gid, DEPTH);
}

/* Empty but for what a file system brings along itself. */
static bool is_empty(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool empty = dir;

	while (empty && (entry = readdir(dir)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
			!strcmp(entry->d_name, "lost+found");
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	return empty;
}

int folders_give_state(const char *state_dir, uid_t uid, gid_t gid)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int rc;

	if (mkdir(state_dir, 0755) && errno != EEXIST) {
		rc = -errno;
		fprintf(stderr, "pulltap: --state-dir %s: %s\n", state_dir, strerror(-rc));
		return rc;
	}
	fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		rc = -errno;
		fprintf(stderr, "pulltap: --state-dir %s: %s\n", state_dir, strerror(-rc));
		return rc;
	}
	if (st.st_uid != uid && faccessat(fd, "spool/sequence", F_OK, AT_SYMLINK_NOFOLLOW) &&
	    !is_empty(fd)) {
		fprintf(stderr,
			"pulltap: --state-dir %s holds files that are not pulltap's: name a folder "
			"of its own, or chown it to uid %u\n",
			state_dir, uid);
		return -EEXIST;
	}
	return folders_give(fd, state_dir, uid, gid);
}
