/* SPDX-License-Identifier: MIT */
#include "store/embedded_child.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"

/* Exit code of the child before it became another program. */
#define NOT_PERMITTED 126

int embedded_find_user(struct embedded_user *ret)
{
	const struct passwd *entry;

	*ret = (struct embedded_user){.uid = geteuid(), .gid = getegid()};
	if (ret->uid)
		return 0;
	/* the server refuses to run as root */
	entry = getpwnam("postgres") ?: getpwnam("nobody");
	if (!entry || !entry->pw_uid) {
		log_error("no user to run the private database", "tried=postgres,nobody");
		return -ENOENT;
	}
	*ret = (struct embedded_user){.uid = entry->pw_uid, .gid = entry->pw_gid};
	return 0;
}

static _Noreturn void become(const struct embedded_user *user, const char *const argv[], int log)
{
	/* PGDATA, PGPORT and their like would change what the programs do. */
	static const char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C",
						  "TZ=UTC", NULL};
	sigset_t none;
	int zero;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	zero = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (zero < 0 || dup2(zero, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(NOT_PERMITTED);
	umask(077);
	/* a session of its own: ctrl-c at the agent must not stop the database first */
	if (setsid() < 0 || chdir("/"))
		_exit(NOT_PERMITTED);
	if (!geteuid() && (setgroups(0, NULL) || setresgid(user->gid, user->gid, user->gid) ||
			   setresuid(user->uid, user->uid, user->uid)))
		_exit(NOT_PERMITTED);
	execve(argv[0], (char *const *)argv, (char *const *)environment);
	_exit(NOT_PERMITTED);
}

pid_t embedded_spawn(const struct embedded_user *user, const char *const argv[], const char *log)
{
	_cleanup_close_ int fd = -1;
	pid_t pid;

	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	pid = fork();
	if (!pid)
		become(user, argv, fd);
	return pid < 0 ? -errno : pid;
}

int embedded_run(const struct embedded_user *user, const char *const argv[], const char *log)
{
	pid_t pid = embedded_spawn(user, argv, log);
	int status;

	if (pid < 0)
		return pid;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == NOT_PERMITTED ? -EPERM : -EIO;
}

int embedded_ask_pg_config(char *ret, size_t size)
{
	FILE *pipe = popen("pg_config --bindir 2>/dev/null", "re");
	bool got;

	if (!pipe)
		return -errno;
	got = fgets(ret, (int)size, pipe);
	if (pclose(pipe) || !got)
		return -ENOENT;
	ret[strcspn(ret, "\n")] = 0;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void embedded_remove_folder(const char *path)
{
	/* what stays is met again, with a message, by whoever makes the folder */
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) && errno != ENOENT)
		log_debug("a folder could not be removed", "path=%s", path);
}
