/* SPDX-License-Identifier: MIT */
#include "control/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/perf_event.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "attach/uprobe.h"
#include "base/helper.h"
#include "base/log.h"
#include "control/folders.h"
#include "control/helper_process.h"
#include "control/sandbox.h"

#define BIT(capability) (1ull << (capability))

/* Where the helper's socket is; what is above gets closed in it. */
#define HELPER_SOCKET 3

/*
 * The helper's: reaching other users' processes, reading programs that only their owner may read,
 * and opening a uprobe's event, which takes one of two (needs_admin() says which). The agent itself
 * needs none: what it does with maps and pins, the kernel leaves to whoever owns the files.
 */
#define HELPER_CAPABILITIES (BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH))
/*
 * Until the helper is there: programs are loaded, /sys/kernel/rcu_expedited is opened, which is
 * root's (attach/hurry.h), and CAP_SETPCAP lowers the bounding set.
 */
#define START_CAPABILITIES                                                                         \
	(HELPER_CAPABILITIES | BIT(CAP_BPF) | BIT(CAP_PERFMON) | BIT(CAP_SYS_ADMIN) |              \
	 BIT(CAP_DAC_OVERRIDE) | BIT(CAP_SETPCAP))

static uint64_t permitted(void)
{
	uint64_t found = 0;

	capng_get_caps_process();
	for (unsigned int i = 0; i <= CAP_LAST_CAP; i++)
		if (capng_have_capability(CAPNG_PERMITTED, i))
			found |= BIT(i);
	return found;
}

/* Keeps what is in the mask and held. The bounding set follows where that is allowed. */
static int keep(uint64_t mask)
{
	uint64_t held = permitted() & mask;
	bool bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);

	capng_clear(CAPNG_SELECT_ALL);
	for (unsigned int i = 0; i <= CAP_LAST_CAP; i++)
		if (held & BIT(i) &&
		    capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				 i))
			return -EINVAL;
	if (bounds && capng_apply(CAPNG_SELECT_BOUNDS))
		return -EPERM;
	/* without inheritable ones no ambient ones are left: a child gets nothing */
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

/* "cap_bpf,cap_perfmon", for the log. */
static const char *names(uint64_t mask, char ret[256])
{
	size_t n = 0;

	ret[0] = 0;
	for (unsigned int i = 0; i <= CAP_LAST_CAP && n < 256; i++)
		if (mask & BIT(i))
			n += (size_t)snprintf(ret + n, 256 - n, "%scap_%s", n ? "," : "",
					      capng_capability_to_name(i));
	return n ? ret : "none";
}

struct user {
	uid_t uid;
	gid_t gid;
	const char *name; /* NULL: no such entry, a number is enough */
	const char *home;
};

static int find_user(const char *text, struct user *ret)
{
	const struct passwd *entry;
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*end || *text < '0' || *text > '9' || number >= UINT32_MAX) {
		number = 0;
		entry = getpwnam(text);
		if (!entry) {
			fprintf(stderr,
				"pulltap: --user %s: there is no such user; make one with: useradd "
				"--system --no-create-home --shell /usr/sbin/nologin %s\n",
				text, text);
			return -ENOENT;
		}
	} else {
		entry = getpwuid((uid_t)number);
	}
	*ret = (struct user){.uid = (uid_t)number, .gid = (gid_t)number};
	if (entry)
		*ret = (struct user){entry->pw_uid, entry->pw_gid, entry->pw_name, entry->pw_dir};
	if (ret->uid && ret->gid)
		return 0;
	fprintf(stderr,
		"pulltap: --user %s is root or of root's group: name another, or leave the "
		"option out to stay root\n",
		text);
	return -EINVAL;
}

static int become(const struct user *user, const char *state_dir)
{
	int rc = 0;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) ||
	    (user->name ? initgroups(user->name, user->gid) : setgroups(0, NULL)) ||
	    setresgid(user->gid, user->gid, user->gid) ||
	    setresuid(user->uid, user->uid, user->uid))
		rc = -errno;
	rc = rc ?: keep(START_CAPABILITIES);
	/* libpq looks for .pgpass and .postgresql there, and root's is out of reach now */
	if (!rc && setenv("HOME", user->home ?: state_dir, 1))
		rc = -errno;
	if (rc)
		fprintf(stderr,
			"pulltap: becoming uid %u: %s: allow CAP_SETUID, CAP_SETGID and "
			"CAP_SETPCAP "
			"at the start\n",
			user->uid, strerror(-rc));
	return rc;
}

int privileges_become_user(const struct options *options, int lock_fd)
{
	struct user user;
	int rc;

	if (!options->user)
		return 0;
	rc = find_user(options->user, &user);
	if (rc || geteuid() == user.uid)
		return rc;
	if (geteuid()) {
		fprintf(stderr, "pulltap: --user %s: only root can become another user\n",
			options->user);
		return -EPERM;
	}
	rc = folders_give(lock_fd, options->bpffs, user.uid, user.gid);
	rc = rc ?: folders_give_state(options->state_dir, user.uid, user.gid);
	return rc ?: become(&user, options->state_dir);
}

/*
 * Does this kernel open a uprobe's event without CAP_SYS_ADMIN? Some always ask for it, some from a
 * level of kernel.perf_event_paranoid on. The right is looked at before the path, and there is no
 * such path: nothing is attached.
 */
static bool needs_admin(void)
{
	int fd, err;
	uint64_t held = permitted();

	if (!(held & BIT(CAP_SYS_ADMIN)))
		return false;
	capng_update(CAPNG_DROP, CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return true;
	fd = uprobe_event("", 0);
	err = fd;
	if (fd >= 0)
		close(fd);
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return true;
	return err == -EACCES || err == -EPERM;
}

static _Noreturn void run_helper(int socket, uint64_t capabilities)
{
	if (dup2(socket, HELPER_SOCKET) < 0 ||
	    syscall(SYS_close_range, HELPER_SOCKET + 1, ~0u, 0) ||
	    prctl(PR_SET_NAME, "pulltap-helper", 0, 0, 0) || keep(capabilities) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		_exit(1);
	if (sandbox_helper())
		log_warn("the helper runs without a filter of system calls", "pid=%d", getpid());
	helper_serve(HELPER_SOCKET);
}

static int start_helper(uint64_t capabilities, int *ret_fd)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	pid = fork();
	if (!pid)
		run_helper(ends[1], capabilities);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return -errno;
	}
	*ret_fd = ends[0];
	return pid;
}

static void say_missing(uint64_t held)
{
	if (!(held & (BIT(CAP_SYS_ADMIN) | BIT(CAP_PERFMON))))
		log_error(
			"no probe can be attached: CAP_PERFMON is missing, or CAP_SYS_ADMIN where "
			"the kernel asks for it",
			"uid=%u", geteuid());
	if (!(held & BIT(CAP_SYS_PTRACE)))
		log_error("registries of other users can't be found: CAP_SYS_PTRACE is missing",
			  "uid=%u", geteuid());
}

int privileges_drop(int *ret_helper_fd)
{
	uint64_t held = permitted(), helper = HELPER_CAPABILITIES;
	char kept[256];
	int pid, rc;

	*ret_helper_fd = -1;
	if (!geteuid())
		return 0;
	say_missing(held);
	helper |= needs_admin() ? BIT(CAP_SYS_ADMIN) : BIT(CAP_PERFMON) | BIT(CAP_BPF);
	pid = start_helper(helper, ret_helper_fd);
	if (pid < 0)
		return pid;
	rc = keep(0);
	if (!rc && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		rc = -errno;
	if (rc) {
		log_error("capabilities can't be dropped", "error=\"%s\"", strerror(-rc));
		return rc;
	}
	helper_use(*ret_helper_fd);
	log_info("privileges dropped", "uid=%u gid=%u helper=%d helper_keeps=%s", geteuid(),
		 getegid(), pid, names(held & helper, kept));
	return 0;
}

void privileges_seal(bool uses_embedded)
{
	int rc;

	if (!geteuid())
		return;
	if (uses_embedded) {
		log_warn("no filter of system calls: the private database has to be started by the "
			 "agent; --database with a server of your own allows one",
			 "uid=%u", geteuid());
		return;
	}
	rc = sandbox_agent();
	if (rc)
		log_warn("no filter of system calls: this kernel has none", "error=\"%s\"",
			 strerror(-rc));
	else
		log_info("system calls filtered", "uid=%u", geteuid());
}
