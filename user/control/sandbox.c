/* SPDX-License-Identifier: MIT */
#include "control/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* One string each, names with spaces between. */

static const char agent_calls[] =
	/* descriptors: spool, status file, libpq's and the resolver's files */
	"read write readv writev pread64 pwrite64 lseek close dup dup2 dup3 fcntl flock fsync "
	"fdatasync ftruncate fallocate copy_file_range pipe2 open openat stat lstat fstat "
	"newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat "
	"getdents64 getcwd umask mkdir mkdirat unlink unlinkat rmdir rename renameat renameat2 "
	"chmod fchmod fchmodat "
	/* waiting */
	"epoll_create1 epoll_ctl epoll_wait epoll_pwait poll ppoll select pselect6 eventfd2 "
	"timerfd_create timerfd_settime timerfd_gettime signalfd4 inotify_init1 "
	"inotify_add_watch inotify_rm_watch nanosleep clock_nanosleep clock_gettime clock_getres "
	"gettimeofday time "
	/* connections; socket() is checked below */
	"connect bind listen accept accept4 shutdown sendto recvfrom sendmsg recvmsg sendmmsg "
	"recvmmsg getsockname getpeername getsockopt setsockopt "
	/* memory; mmap() and mprotect() are checked below */
	"munmap mremap madvise brk "
	/* threads and signals; clone() is checked below */
	"futex set_robust_list get_robust_list rseq set_tid_address sched_yield "
	"sched_getaffinity membarrier getcpu tgkill rt_sigaction rt_sigprocmask rt_sigreturn "
	"rt_sigpending rt_sigtimedwait sigaltstack restart_syscall wait4 exit exit_group "
	/* about oneself and the machine */
	"getpid gettid getppid getpgrp getuid geteuid getgid getegid getresuid getresgid "
	"getgroups capget getrusage getrlimit times sysinfo uname getrandom";

static const char helper_calls[] =
	"read close fstat newfstatat getdents64 readlinkat sendmsg recvmsg brk munmap mremap futex "
	"perf_event_open "
	"rt_sigreturn rt_sigaction rt_sigprocmask restart_syscall exit exit_group";

/* What an agent that counts does with its maps and pins: nothing here makes a new object. */
static const int agent_bpf[] = {
	BPF_MAP_LOOKUP_ELEM,
	BPF_MAP_UPDATE_ELEM,
	BPF_MAP_DELETE_ELEM,
	BPF_MAP_GET_NEXT_KEY,
	BPF_MAP_LOOKUP_AND_DELETE_ELEM,
	BPF_MAP_LOOKUP_BATCH,
	BPF_MAP_LOOKUP_AND_DELETE_BATCH,
	BPF_MAP_UPDATE_BATCH,
	BPF_MAP_DELETE_BATCH,
	BPF_OBJ_PIN,
	BPF_OBJ_GET,
	BPF_OBJ_GET_INFO_BY_FD,
	BPF_LINK_DETACH,
};

static const int helper_bpf[] = {BPF_LINK_CREATE};

static const int agent_sockets[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
static const int agent_ioctls[] = {FIONBIO, FIONREAD, TCGETS};
static const int agent_prctls[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_CAPBSET_READ};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct filter {
	scmp_filter_ctx context;
	int rc; /* the first failure */
};

static void allow(struct filter *filter, const char *calls)
{
	while (!filter->rc && *calls) {
		size_t length = strcspn(calls, " ");
		char name[32];
		int call;

		snprintf(name, sizeof(name), "%.*s", (int)length, calls);
		call = seccomp_syscall_resolve_name(name);
		filter->rc = call == __NR_SCMP_ERROR
				     ? -EINVAL
				     : seccomp_rule_add(filter->context, SCMP_ACT_ALLOW, call, 0);
		calls += length + strspn(calls + length, " ");
	}
}

/* Allows a call with one of these values as its argument of that number. */
static void allow_values(struct filter *filter, int call, unsigned int argument, const int *values,
			 size_t count)
{
	for (size_t i = 0; !filter->rc && i < count; i++) {
		struct scmp_arg_cmp is =
			SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, 0xffffffff, (unsigned int)values[i]);

		filter->rc = seccomp_rule_add_array(filter->context, SCMP_ACT_ALLOW, call, 1, &is);
	}
}

/* Memory that can be written and run would let an intruder bring a program along. */
static void allow_memory(struct filter *filter, int call)
{
	static const int kinds[] = {0, PROT_WRITE, PROT_EXEC};

	for (size_t i = 0; !filter->rc && i < COUNT(kinds); i++) {
		struct scmp_arg_cmp is = SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC,
						  (unsigned int)kinds[i]);

		filter->rc = seccomp_rule_add_array(filter->context, SCMP_ACT_ALLOW, call, 1, &is);
	}
}

static void allow_masked(struct filter *filter, int call, unsigned int argument, uint64_t mask,
			 uint64_t value)
{
	struct scmp_arg_cmp is = SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, mask, value);

	if (!filter->rc)
		filter->rc = seccomp_rule_add_array(filter->context, SCMP_ACT_ALLOW, call, 1, &is);
}

static int begin(struct filter *filter)
{
	*filter = (struct filter){.context = seccomp_init(SCMP_ACT_ERRNO(EPERM))};
	return filter->context ? 0 : -ENOMEM;
}

static int install(struct filter *filter)
{
	int rc = filter->rc;

	/* the shipper runs already: threads that exist get the filter too */
	rc = rc ?: seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_TSYNC, 1);
	rc = rc ?: seccomp_load(filter->context);
	seccomp_release(filter->context);
	return rc;
}

int sandbox_agent(void)
{
	struct filter filter;
	int rc = begin(&filter);

	if (rc)
		return rc;
	allow(&filter, agent_calls);
	allow_memory(&filter, SCMP_SYS(mmap));
	allow_memory(&filter, SCMP_SYS(mprotect));
	allow_values(&filter, SCMP_SYS(bpf), 0, agent_bpf, COUNT(agent_bpf));
	allow_values(&filter, SCMP_SYS(socket), 0, agent_sockets, COUNT(agent_sockets));
	allow_values(&filter, SCMP_SYS(socketpair), 0, agent_sockets, 1);
	allow_values(&filter, SCMP_SYS(ioctl), 1, agent_ioctls, COUNT(agent_ioctls));
	allow_values(&filter, SCMP_SYS(prctl), 0, agent_prctls, COUNT(agent_prctls));
	/* one's own limits can be read, nobody's be set */
	allow_masked(&filter, SCMP_SYS(prlimit64), 2, UINT64_MAX, 0);
	/* threads, no processes; clone3's flags lie in memory, so libc has to use the older call */
	allow_masked(&filter, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);
	if (!filter.rc)
		filter.rc = seccomp_rule_add(filter.context, SCMP_ACT_ERRNO(ENOSYS),
					     SCMP_SYS(clone3), 0);
	return install(&filter);
}

int sandbox_helper(void)
{
	struct filter filter;
	int rc = begin(&filter);

	if (rc)
		return rc;
	allow(&filter, helper_calls);
	allow_memory(&filter, SCMP_SYS(mmap));
	allow_values(&filter, SCMP_SYS(bpf), 0, helper_bpf, COUNT(helper_bpf));
	/* never for writing: /proc/PID/mem of any process is in reach */
	allow_masked(&filter, SCMP_SYS(openat), 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY);
	return install(&filter);
}
