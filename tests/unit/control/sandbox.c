/* SPDX-License-Identifier: MIT */
/* What the filters of system calls forbid, each tried in a child that has put one on. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/sandbox.h"

/* Exit codes of the child. */
enum { RIGHT, WRONG };

/* Runs tries() behind a filter; what it returns is the number of the first that went wrong. */
static int behind(int (*filter)(void), int (*tries)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		syscall(SYS_exit_group, filter() ? 255 : tries());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 255)
		test_skip("this kernel has no seccomp filters");
	return WEXITSTATUS(status);
}

/* Was it forbidden by the filter and not by something else? */
static int refused(long result)
{
	return result == -1 && errno == EPERM;
}

static long bpf(int command)
{
	union bpf_attr attr = {0};

	return syscall(SYS_bpf, command, &attr, sizeof(attr));
}

static int forbidden_to_the_agent(void)
{
	static char *const argv[] = {"/bin/true", NULL};
	struct perf_event_attr event = {.size = sizeof(event)};
	struct rlimit limit = {0, 0};
	struct iovec part = {0};
	int number = 1;

#define FORBIDDEN(call)                                                                            \
	if (!refused(call))                                                                        \
		return number;                                                                     \
	number++
	FORBIDDEN(syscall(SYS_execve, argv[0], argv, argv + 1));
	FORBIDDEN(syscall(SYS_execveat, AT_FDCWD, argv[0], argv, argv + 1, 0));
	FORBIDDEN(syscall(SYS_fork));
	FORBIDDEN(syscall(SYS_vfork));
	FORBIDDEN(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	FORBIDDEN(ptrace(PTRACE_TRACEME, 0, 0, 0));
	FORBIDDEN(syscall(SYS_process_vm_readv, getppid(), &part, 1, &part, 1, 0));
	FORBIDDEN(syscall(SYS_process_vm_writev, getppid(), &part, 1, &part, 1, 0));
	FORBIDDEN(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
	FORBIDDEN(bpf(BPF_PROG_LOAD));
	FORBIDDEN(bpf(BPF_MAP_CREATE));
	FORBIDDEN(bpf(BPF_LINK_CREATE));
	FORBIDDEN(bpf(BPF_RAW_TRACEPOINT_OPEN));
	FORBIDDEN(mount("none", "/", NULL, MS_REMOUNT, NULL));
	FORBIDDEN(syscall(SYS_unshare, 0));
	FORBIDDEN(syscall(SYS_setns, 0, 0));
	FORBIDDEN(syscall(SYS_setresuid, 0, 0, 0));
	FORBIDDEN(syscall(SYS_capset, NULL, NULL));
	FORBIDDEN(syscall(SYS_chown, "/", 0, 0));
	FORBIDDEN(syscall(SYS_init_module, NULL, 0, ""));
	FORBIDDEN(kill(getppid(), 0));
	FORBIDDEN(socket(AF_PACKET, SOCK_RAW, 0));
	FORBIDDEN(setrlimit(RLIMIT_CORE, &limit));
	FORBIDDEN(
		(long)mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
#undef FORBIDDEN
	return RIGHT;
}

static void an_agent_behind_its_filter_can_start_or_change_nothing(void **state)
{
	(void)state;
	assert_int_equal(behind(sandbox_agent, forbidden_to_the_agent), RIGHT);
}

static void *end_thread(void *arg)
{
	return arg;
}

static int allowed_to_the_agent(void)
{
	struct rlimit limit;
	pthread_t thread;
	char name[] = "/tmp/pulltap-unit-XXXXXX";
	int fd = mkstemp(name), number = 1;

#define ALLOWED(call)                                                                              \
	if (call)                                                                                  \
		return number;                                                                     \
	number++
	ALLOWED(fd < 0);
	ALLOWED(fsync(fd));
	ALLOWED(unlink(name));
	ALLOWED(socket(AF_INET, SOCK_STREAM, 0) < 0);
	ALLOWED(socket(AF_UNIX, SOCK_DGRAM, 0) < 0);
	ALLOWED(getrlimit(RLIMIT_NOFILE, &limit));
	ALLOWED(pthread_create(&thread, NULL, end_thread, NULL));
	ALLOWED(pthread_join(thread, NULL));
	/* the kernel's own answer to a lookup of nothing, not the filter's */
	ALLOWED(bpf(BPF_MAP_LOOKUP_ELEM) != -1 || errno == EPERM);
#undef ALLOWED
	return RIGHT;
}

static void an_agent_behind_its_filter_can_still_spool_and_connect(void **state)
{
	(void)state;
	assert_int_equal(behind(sandbox_agent, allowed_to_the_agent), RIGHT);
}

static int forbidden_to_the_helper(void)
{
	static char *const argv[] = {"/bin/true", NULL};
	int fd = open("/proc/self/status", O_RDONLY);

	if (fd < 0)
		return 1;
	if (!refused(open("/proc/self/mem", O_RDWR)) || !refused(open("/proc/self/mem", O_WRONLY)))
		return 2;
	if (!refused(open("/tmp/pulltap-unit-never", O_RDONLY | O_CREAT, 0600)))
		return 3;
	if (!refused(syscall(SYS_execve, argv[0], argv, argv + 1)) || !refused(syscall(SYS_fork)))
		return 4;
	if (!refused(socket(AF_INET, SOCK_STREAM, 0)) || !refused(write(fd, "", 1)))
		return 5;
	if (!refused(bpf(BPF_PROG_LOAD)) || !refused(bpf(BPF_MAP_UPDATE_ELEM)))
		return 6;
	return refused(ptrace(PTRACE_TRACEME, 0, 0, 0)) ? RIGHT : 7;
}

static void a_helper_behind_its_filter_opens_for_reading_only(void **state)
{
	(void)state;
	assert_int_equal(behind(sandbox_helper, forbidden_to_the_helper), RIGHT);
}

static volatile int started, result = -1;

static void *wait_and_try(void *arg)
{
	static char *const argv[] = {"/bin/true", NULL};

	(void)arg;
	__atomic_store_n(&started, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) == 1)
		sched_yield();
	result = refused(syscall(SYS_execve, argv[0], argv, argv + 1));
	return NULL;
}

static int with_a_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, wait_and_try, NULL))
		return 255;
	while (!__atomic_load_n(&started, __ATOMIC_SEQ_CST))
		sched_yield();
	if (sandbox_agent())
		return 255;
	__atomic_store_n(&started, 2, __ATOMIC_SEQ_CST);
	if (pthread_join(thread, NULL))
		return WRONG;
	return result == 1 ? RIGHT : WRONG;
}

static int no_filter(void)
{
	return 0;
}

static void a_thread_that_runs_already_is_filtered_too(void **state)
{
	(void)state;
	assert_int_equal(behind(no_filter, with_a_thread), RIGHT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_agent_behind_its_filter_can_start_or_change_nothing),
		cmocka_unit_test(an_agent_behind_its_filter_can_still_spool_and_connect),
		cmocka_unit_test(a_helper_behind_its_filter_opens_for_reading_only),
		cmocka_unit_test(a_thread_that_runs_already_is_filtered_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
