/* SPDX-License-Identifier: MIT */
/*
 * `pulltap doctor`: can this kernel, these privileges and these binaries be observed, and if not,
 * what to do. Changes nothing. Exit status 1 when something stands in the way.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "attach/kernel.h"
#include "attach/sites.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "discover/catalog.h"
#include "discover/process.h"
#include "store/embedded.h"
#include "store/schema.h"
#include "store/store.h"

static void check_machine(struct report *report)
{
	struct utsname name;
	int major = 0, minor = 0;

	uname(&name);
	if (strcmp(name.machine, "x86_64"))
		report_say(report, VERDICT_FAIL, "machine", "only x86-64 is supported", "%s",
			   name.machine);
	if (sscanf(name.release, "%d.%d", &major, &minor) != 2)
		major = 0;
	if (major < 6 || (major == 6 && minor < 1))
		report_say(report, VERDICT_NOTE, "kernel",
			   "6.1 is the oldest kernel pulltap is meant for; see docs/kernels.md",
			   "%s", name.release);
	else
		report_say(report, VERDICT_OK, "kernel", "", "%s", name.release);
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		report_say(
			report, VERDICT_FAIL, "BTF",
			"use a kernel built with CONFIG_DEBUG_INFO_BTF=y (every distribution's is)",
			"/sys/kernel/btf/vmlinux can't be read: %s", strerror(errno));
	else
		report_say(report, VERDICT_OK, "BTF", "", "/sys/kernel/btf/vmlinux");
	if (access("/sys/bus/event_source/devices/uprobe/type", R_OK))
		report_say(report, VERDICT_FAIL, "uprobes",
			   "use a kernel built with CONFIG_UPROBES=y, and mount sysfs in the "
			   "container",
			   "the kernel offers no uprobes");
	else
		report_say(report, VERDICT_OK, "uprobes", "", "offered");
}

static void check_features(struct report *report)
{
	static const struct {
		enum bpf_func_id helper;
		const char *name, *since;
	} helpers[] = {
		{BPF_FUNC_get_attach_cookie, "bpf_get_attach_cookie", "5.15"},
		{BPF_FUNC_loop, "bpf_loop", "5.17"},
		{BPF_FUNC_ktime_get_boot_ns, "bpf_ktime_get_boot_ns", "5.8"},
		{BPF_FUNC_ringbuf_output, "bpf_ringbuf_output", "5.8"},
	};
	char advice[64];

	for (unsigned int i = 0; i < sizeof(helpers) / sizeof(*helpers); i++) {
		int rc = libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, helpers[i].helper, NULL);

		if (rc == 1)
			continue;
		snprintf(advice, sizeof(advice), "use Linux %s or later", helpers[i].since);
		report_say(report, VERDICT_FAIL, "feature", advice, "%s %s", helpers[i].name,
			   rc < 0 ? "could not be probed for" : "is missing");
		return;
	}
	report_say(report, VERDICT_OK, "features", "", "every helper and map type that is needed");
}

static bool check_privileges(struct report *report)
{
	unsigned long long effective = 0;
	_cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	/* CAP_SYS_ADMIN is 21, CAP_PERFMON 38, CAP_BPF 39 (linux/capability.h) */
	if (effective >> 21 & 1 || ((effective >> 38 & 1) && (effective >> 39 & 1))) {
		report_say(report, VERDICT_OK, "privileges", "",
			   "may load programs and attach probes");
		return true;
	}
	report_say(report, VERDICT_FAIL, "privileges",
		   "run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN",
		   "uid %d without the capabilities for BPF", (int)geteuid());
	return false;
}

/* Is there an agent, and is it root although it need not be? */
static void check_agent(struct report *report, const struct kernel *kernel)
{
	_cleanup_fclose_ FILE *f = NULL;
	unsigned int pid = kernel->control->agent_pid, uid = 1;
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	f = pid ? fopen(path, "re") : NULL;
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Uid: %u", &uid) == 1)
			break;
	if (f && !uid)
		report_say(report, VERDICT_NOTE, "agent",
			   "start it with --user=NAME, or by the systemd unit: it then keeps no "
			   "capability (docs/security.md)",
			   "pid %u runs as root", pid);
	else if (f)
		report_say(report, VERDICT_OK, "agent", "", "pid %u runs as uid %u", pid, uid);
}

static void check_bpffs(struct report *report, const struct options *options)
{
	struct statfs fs;

	if (!statfs(options->bpffs, &fs) && fs.f_type == BPF_FS_MAGIC)
		report_say(report, VERDICT_OK, "pins", "", "%s", options->bpffs);
	else if (!statfs("/sys/fs/bpf", &fs) && fs.f_type == BPF_FS_MAGIC)
		report_say(report, VERDICT_OK, "pins", "", "/sys/fs/bpf is there for %s",
			   options->bpffs);
	else
		report_say(report, VERDICT_NOTE, "pins",
			   "`pulltap run` mounts it; in a container mount the host's /sys/fs/bpf",
			   "no BPF file system at /sys/fs/bpf");
}

struct search {
	struct report *report;
	struct catalog *catalog;
	struct kernel *kernel; /* NULL when no agent ran */
	int proc;
	unsigned int registries, others;
};

static int look_at(void *context, pid_t pid)
{
	struct search *search = context;
	struct process process;
	struct file_identity file;
	struct binary binary;
	bool probed;

	if (catalog_inspect(search->catalog, search->proc, pid, &binary, &file) ||
	    process_read(search->proc, pid, &process))
		return 0;
	probed = search->kernel && sites_has(search->kernel, &binary);
	if (!binary.registry_kind[0] && !probed) {
		search->others++;
		return 0;
	}
	search->registries++;
	if (!binary.sites_count)
		report_say(search->report, VERDICT_FAIL, "registry",
			   "this build can't be observed; watch the nginx in front of it, or "
			   "report the "
			   "build",
			   "pid %d %s (%s): %s", pid, process.exe, binary.registry_kind,
			   binary.refusal);
	else
		report_say(search->report, VERDICT_OK, "registry", "",
			   "pid %d %s (%s, %s): %u site%s%s", pid, process.exe,
			   binary.registry_kind[0] ? binary.registry_kind : "named",
			   binary.version[0] ? binary.version : "version unknown",
			   binary.sites_count, binary.sites_count == 1 ? "" : "s",
			   probed ? ", probed" : ", not probed: no agent follows it");
	return 0;
}

static void check_registries(struct report *report, const struct options *options,
			     struct kernel *kernel)
{
	_cleanup_(catalog_free) struct catalog *catalog = NULL;
	struct search search = {.report = report, .kernel = kernel, .proc = -1};

	if (catalog_new(&catalog, binary_inspect) || process_open_proc("/proc", &search.proc))
		return;
	search.catalog = catalog;
	search.registries = doctor_openssl(report, options, kernel);
	if (process_each(search.proc, look_at, &search) || !search.registries)
		report_say(report, VERDICT_NOTE, "registry",
			   "start it, or name it: pulltap run --target NAME=PID|EXE|CONTAINER",
			   "no process looks like a registry (%u other HTTP servers)",
			   search.others);
	close(search.proc);
}

static void check_database(struct report *report, const struct options *options)
{
	char buffer[1024], message[256];
	bool embedded;
	const char *conninfo = embedded_or(options->database, options->state_dir, buffer,
					   sizeof(buffer), &embedded);
	PGconn *connection;

	if (embedded && !embedded_running(options->state_dir)) {
		report_say(report, VERDICT_NOTE, "database",
			   "`pulltap run` starts it; --database takes one of your own",
			   "the embedded PostgreSQL under %s is not running", options->state_dir);
		return;
	}
	if (store_check_conninfo(conninfo, message, sizeof(message))) {
		report_say(report, VERDICT_FAIL, "database", "correct --database", "%s", message);
		return;
	}
	connection = PQconnectdb(conninfo);
	if (PQstatus(connection) != CONNECTION_OK) {
		report_say(report, VERDICT_FAIL, "database",
			   "check --database, the server and its pg_hba.conf", "%s",
			   PQerrorMessage(connection));
	} else {
		PGresult *result = PQexec(connection, "select pulltap.schema_number()");
		int version = PQresultStatus(result) == PGRES_TUPLES_OK
				      ? atoi(PQgetvalue(result, 0, 0))
				      : 0;

		if (version == schema_version())
			report_say(report, VERDICT_OK, "database", "", "schema %d", version);
		else
			report_say(report, VERDICT_FAIL, "database",
				   version > schema_version() ? "install a newer pulltap"
							      : "run: pulltap migrate",
				   "schema is at %d, this pulltap speaks %d", version,
				   schema_version());
		PQclear(result);
		if (version == schema_version())
			doctor_stored_books(report, connection);
	}
	PQfinish(connection);
}

int command_doctor(int argc, char **argv)
{
	_cleanup_(options_free) struct options options = {};
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	struct report report = {};
	int rc = options_parse(&options, OPTIONS_DOCTOR,
			       "Can this machine be observed, and if not what to do.", argc, argv,
			       NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	if (options.json)
		report.checks = json_array();
	check_machine(&report);
	if (check_privileges(&report)) {
		check_features(&report);
		check_bpffs(&report, &options);
		if (kernel_open(&kernel, options.bpffs))
			kernel = NULL;
	}
	check_registries(&report, &options, kernel);
	check_database(&report, &options);
	if (kernel)
		check_agent(&report, kernel);
	if (kernel)
		doctor_status(&report, &options, kernel);
	if (report.checks) {
		json_dumpf(report.checks, stdout, JSON_INDENT(1));
		putchar('\n');
		json_decref(report.checks);
	}
	return report.failed ? 1 : 0;
}
