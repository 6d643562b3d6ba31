/* SPDX-License-Identifier: MIT */
/* What is read from /proc, from a tree of our own and from the real one. */
#include "discover/process.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fake_proc.h"

#define ID "4f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e"
#define OTHER "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define POD "12345678-9abc-def0-1234-56789abcdef0"

struct seen {
	pid_t pids[8];
	unsigned int count;
};

static int see(void *context, pid_t pid)
{
	struct seen *seen = context;

	assert_true(seen->count < 8);
	seen->pids[seen->count++] = pid;
	return pid == 77 ? 5 : 0;
}

static void tree_with_other_entries_lists_pids_only(void **state)
{
	struct seen seen = {0};
	struct fake_proc proc;

	(void)state;
	fake_proc_new(&proc);
	fake_proc_folder(&proc, "1");
	fake_proc_folder(&proc, "4194304");
	fake_proc_folder(&proc, "self");
	fake_proc_folder(&proc, "12a");
	fake_proc_folder(&proc, "99999999999999999999");
	fake_proc_file(&proc, "uptime", "1 2\n");
	assert_int_equal(process_each(proc.fd, see, &seen), 0);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.pids[0] + seen.pids[1], 4194305);
	/* a second walk starts at the beginning again */
	seen.count = 0;
	assert_int_equal(process_each(proc.fd, see, &seen), 0);
	assert_int_equal(seen.count, 2);
	/* and the visitor can end it */
	fake_proc_folder(&proc, "77");
	seen.count = 0;
	assert_int_equal(process_each(proc.fd, see, &seen), 5);
	fake_proc_free(&proc);
}

static void assert_container(const char *cgroup, const char *id)
{
	char found[PROCESS_CONTAINER_ID] = "";
	struct fake_proc proc;
	int err;

	fake_proc_new(&proc);
	fake_proc_folder(&proc, "7");
	fake_proc_file(&proc, "7/cgroup", cgroup);
	err = process_container_id(proc.fd, 7, found);
	fake_proc_free(&proc);
	if (err != (id ? 0 : -ENOENT))
		fail_msg("%d for %s", err, cgroup);
	if (id)
		assert_string_equal(found, id);
}

static void docker_cgroup_gives_id(void **state)
{
	(void)state;
	assert_container("0::/system.slice/docker-" ID ".scope\n", ID);
	assert_container("0::/docker/" ID "\n", ID);
	assert_container("12:memory:/docker/" ID "\n11:cpu,cpuacct:/docker/" ID "\n0::/\n", ID);
	assert_container("2:rdma:/\n1:name=systemd:/docker/" ID "\n0::/system.slice\n", ID);
}

static void kubernetes_cgroup_gives_container_not_pod(void **state)
{
	(void)state;
	assert_container("0::/kubepods/burstable/pod" POD "/" ID "\n", ID);
	assert_container("0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
			 "12345678_9abc_def0_1234_56789abcdef0.slice/cri-containerd-" ID ".scope\n",
			 ID);
	assert_container("0::/kubepods.slice/kubepods-pod1.slice/crio-" ID ".scope\n", ID);
	assert_container("0::/kubepods.slice/kubepods-pod1.slice/crio-" ID ".scope/container\n",
			 ID);
	assert_container("11:pids:/system.slice/containerd.service/"
			 "kubepods-besteffort-pod1.slice:cri-containerd:" ID "\n",
			 ID);
	/* a static pod's uid is 32 hex digits and no container */
	assert_container("0::/kubepods/pod4f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e/" ID "\n", ID);
	assert_container("0::/kubepods/pod4f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e\n", NULL);
}

static void podman_cgroup_gives_id(void **state)
{
	(void)state;
	assert_container("0::/machine.slice/libpod-" ID ".scope/container\n", ID);
	assert_container("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID
			 ".scope\n",
			 ID);
	assert_container("0::/libpod_parent/libpod-" ID "\n", ID);
}

static void nested_container_gives_innermost(void **state)
{
	(void)state;
	assert_container("0::/docker/" OTHER "/kubelet/kubepods/pod" POD "/" ID "\n", ID);
}

static void watcher_of_container_is_outside(void **state)
{
	(void)state;
	assert_container("0::/machine.slice/libpod-conmon-" ID ".scope\n", NULL);
	assert_container("0::/kubepods.slice/crio-conmon-" ID ".scope\n", NULL);
}

static void ordinary_cgroup_gives_none(void **state)
{
	(void)state;
	assert_container("", NULL);
	assert_container("0::/\n", NULL);
	assert_container("0::/user.slice/user-0.slice/session-1.scope\n", NULL);
	assert_container("nonsense\n", NULL);
	assert_container(ID "\n", NULL); /* no path before it */
	assert_container("0::/docker/" ID "0\n", NULL); /* 65 digits */
	assert_container("0::/docker/x" ID "\n", NULL);
	assert_container("0::/docker/" ID "x\n", NULL);
	assert_container("0::/docker/4f1c2d3e4f5a\n", NULL);
}

static void missing_process_gives_enoent(void **state)
{
	char id[PROCESS_CONTAINER_ID];
	struct file_identity file;
	struct fake_proc proc;
	uint64_t ticks;
	int fd = -1;

	(void)state;
	fake_proc_new(&proc);
	assert_int_equal(process_binary(proc.fd, 7, &file), -ENOENT);
	assert_int_equal(process_open_binary(proc.fd, 7, &fd), -ENOENT);
	assert_int_equal(process_container_id(proc.fd, 7, id), -ENOENT);
	assert_int_equal(process_start_time(proc.fd, 7, &ticks), -ENOENT);
	fake_proc_free(&proc);
}

static void name_with_parentheses_gives_start_time(void **state)
{
	struct fake_proc proc;
	uint64_t ticks = 0;

	(void)state;
	fake_proc_new(&proc);
	fake_proc_folder(&proc, "7");
	fake_proc_file(&proc, "7/stat",
		       "7 (a) R 1 (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 11 0 987654 5 6\n");
	assert_int_equal(process_start_time(proc.fd, 7, &ticks), 0);
	assert_int_equal(ticks, 987654);
	fake_proc_file(&proc, "7/stat", "7 (a) S 1 7 7\n");
	assert_int_equal(process_start_time(proc.fd, 7, &ticks), -EBADMSG);
	fake_proc_file(&proc, "7/stat", "");
	assert_int_equal(process_start_time(proc.fd, 7, &ticks), -EBADMSG);
	fake_proc_free(&proc);
}

/* Fields 14 and 15, user and kernel mode, however the process calls itself. */
static void cpu_time_is_read_with_the_start_time(void **state)
{
	uint64_t start = 0, cpu = 0;
	struct fake_proc proc;

	(void)state;
	fake_proc_new(&proc);
	fake_proc_folder(&proc, "8");
	fake_proc_file(&proc, "8/stat",
		       "8 (a) b) S 1 8 8 0 -1 4194560 1 2 3 4 1000 234 7 8 20 0 9 0 5678 1 2\n");
	assert_int_equal(process_times(proc.fd, 8, &start, &cpu), 0);
	assert_int_equal(start, 5678);
	assert_int_equal(cpu, 1234);
	fake_proc_file(&proc, "8/stat", "8 (a) S 1 8 8 0 -1 4194560 1 2 3 4 1000\n");
	assert_int_equal(process_times(proc.fd, 8, &start, &cpu), -EBADMSG);
	fake_proc_free(&proc);
}

static void deleted_executable_keeps_its_path(void **state)
{
	struct fake_proc proc;
	char exe[64] = "";

	(void)state;
	fake_proc_new(&proc);
	fake_proc_folder(&proc, "7");
	fake_proc_link(&proc, "7/exe", "/bin/registry (deleted)");
	assert_int_equal(process_exe(proc.fd, 7, exe, sizeof(exe)), 0);
	assert_string_equal(exe, "/bin/registry");
	assert_int_equal(process_exe(proc.fd, 7, exe, 23), -ENAMETOOLONG);
	fake_proc_free(&proc);
}

static int find_self(void *context, pid_t pid)
{
	(void)context;
	return pid == getpid();
}

static void own_process_agrees_with_stat(void **state)
{
	static struct process self;
	_cleanup_close_ int proc = -1;
	_cleanup_close_ int exe = -1;
	struct stat st, opened;
	uint64_t ticks = 0;

	(void)state;
	assert_int_equal(process_open_proc("/proc", &proc), 0);
	assert_int_equal(process_each(proc, find_self, NULL), 1);
	assert_int_equal(process_read(proc, getpid(), &self), 0);
	assert_int_equal(stat("/proc/self/exe", &st), 0);
	assert_int_equal(self.file.inode, st.st_ino);
	assert_int_equal(self.file.size, st.st_size);
	assert_true(self.file.device == st.st_dev || self.file.device == FILE_IDENTITY_OVERLAY);
	assert_int_equal(process_open_binary(proc, getpid(), &exe), 0);
	assert_int_equal(fstat(exe, &opened), 0);
	assert_int_equal(opened.st_ino, st.st_ino);
	assert_int_equal(process_start_time(proc, getpid(), &ticks), 0);
	assert_true(ticks > 0);
}

static void copied_up_file_is_another_inode(void **state)
{
	struct file_identity a = {.inode = 5, .device = FILE_IDENTITY_OVERLAY, .ctime_ns = 1};
	struct file_identity b = a;

	(void)state;
	assert_true(file_identity_same_inode(&a, &b));
	b.ctime_ns = 2;
	assert_false(file_identity_same_inode(&a, &b));
	a.device = b.device = 3; /* elsewhere a changed file still is the same inode */
	assert_true(file_identity_same_inode(&a, &b));
	assert_false(file_identity_equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree_with_other_entries_lists_pids_only),
		cmocka_unit_test(docker_cgroup_gives_id),
		cmocka_unit_test(kubernetes_cgroup_gives_container_not_pod),
		cmocka_unit_test(podman_cgroup_gives_id),
		cmocka_unit_test(nested_container_gives_innermost),
		cmocka_unit_test(watcher_of_container_is_outside),
		cmocka_unit_test(ordinary_cgroup_gives_none),
		cmocka_unit_test(missing_process_gives_enoent),
		cmocka_unit_test(name_with_parentheses_gives_start_time),
		cmocka_unit_test(cpu_time_is_read_with_the_start_time),
		cmocka_unit_test(deleted_executable_keeps_its_path),
		cmocka_unit_test(own_process_agrees_with_stat),
		cmocka_unit_test(copied_up_file_is_another_inode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
