/* SPDX-License-Identifier: MIT */
/*
 * `pulltap status`: where everything stands, and first what needs a person. Exit status 1 when
 * something does.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "attach/bpffs.h"
#include "attach/kernel.h"
#include "attach/sites.h"
#include "cli/commands.h"
#include "cli/status.h"
#include "cli/status_switch.h"
#include "cli/text.h"
#include "cli/trouble.h"
#include "control/health.h"
#include "control/status_file.h"
#include "window/window.h"

static json_t *agent_json(const struct options *options, const struct kernel *kernel)
{
	char path[PATH_MAX];
	struct stat st;
	json_t *agent;
	int lock = bpffs_lock(options->bpffs);

	snprintf(path, sizeof(path), "%s/" STATUS_FILE_NAME, options->state_dir);
	agent = json_load_file(path, 0, NULL);
	if (!agent)
		agent = json_object();
	if (!stat(path, &st))
		json_object_set_new(agent, "written_s_ago",
				    json_integer((json_int_t)(time(NULL) - st.st_mtime)));
	json_object_set_new(agent, "running", json_boolean(lock == -EWOULDBLOCK));
	json_object_set_new(agent, "pid", json_integer(kernel->control->agent_pid));
	if (lock >= 0)
		close(lock);
	return agent;
}

static const char *probe_name(enum site_probe probe)
{
	if (probe == SITE_PROBE_OURS)
		return "ours";
	return probe == SITE_PROBE_GONE ? "gone" : "foreign";
}

static json_t *sites_json(const struct kernel *kernel)
{
	json_t *sites = json_array();

	for (uint32_t i = 0; i < PT_SITES; i++) {
		struct pt_site site;
		struct pt_registry registry = {};

		if (!sites_read(kernel, i, &site))
			continue;
		sites_registry(kernel, site.registry, &registry);
		json_array_append_new(
			sites, json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:o, s:I, s:s}",
					 "registry", registry.name, "symbol", site.symbol, "inode",
					 (json_int_t)site.inode, "hits", (json_int_t)site.hits,
					 "layout_failures", (json_int_t)site.layout_failures, "off",
					 site.off, "off_reasons", status_site_reasons(site.off),
					 "file_offset", (json_int_t)site.file_offset, "probe",
					 probe_name(sites_probe(kernel, i))));
	}
	return sites;
}

static json_t *programs_json(const struct kernel *kernel)
{
	json_t *programs = json_array();

	for (enum kernel_program i = 0; i < KERNEL_PROGRAMS; i++) {
		uint64_t ns, runs;

		if (kernel_program_stats(kernel, i, &ns, &runs))
			continue;
		json_array_append_new(programs,
				      json_pack("{s:s, s:I, s:I}", "name", kernel_program_name(i),
						"measured_runs", (json_int_t)runs, "ns_per_run",
						(json_int_t)(runs ? ns / runs : 0)));
	}
	return programs;
}

static json_t *window_json(const struct kernel *kernel)
{
	unsigned int active = kernel->control->active & 1;
	const struct pt_slot *slot = &kernel->control->slot[active];
	uint64_t ledger[LEDGER_COUNT] = {}, used = 0, limit = 0;
	json_t *books = json_object();
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	if (kernel_ledger(kernel, active, ledger) || kernel_memory(kernel, &used, &limit))
		json_object_set_new(books, "error", json_string("the maps can't be read"));
	for (int i = 0; i < LEDGER_COUNT; i++)
		json_object_set_new(books, ledger_fields[i].name,
				    json_integer((json_int_t)ledger[i]));
	return json_pack(
		"{s:I, s:I, s:i, s:i, s:b, s:I, s:I, s:o}", "sequence", (json_int_t)slot->sequence,
		"age_s", (json_int_t)(now.tv_sec - (time_t)(slot->start_boot_ns / 1000000000ull)),
		"keys", (int)slot->short_keys, "long_keys", (int)slot->long_keys, "other_waits",
		kernel->control->slot[!active].dirty != 0, "memory_bytes", (json_int_t)used,
		"memory_limit_bytes_per_window", (json_int_t)limit, "ledger", books);
}

json_t *status_gather(const struct options *options, const struct kernel *kernel)
{
	uint32_t off = *kernel->off;
	json_t *root;

	root = json_pack("{s:o, s:b, s:b, s:I, s:o, s:o, s:o, s:o}", "agent",
			 agent_json(options, kernel), "counting", !off, "entered",
			 kernel_counts_here(kernel), "off_mask", (json_int_t)off, "switch",
			 status_switch_json(kernel), "sites", sites_json(kernel), "programs",
			 programs_json(kernel), "window", window_json(kernel));
	if (root && json_object_set_new(root, "trouble", trouble_find(root))) {
		json_decref(root);
		return NULL;
	}
	return root;
}

/* For probes, whose program shows what is printed as the reason. */
static int check(const struct options *options)
{
	char reason[1024], shown[1200];

	if (!health_check(options->state_dir, !strcmp(options->check, "ready"), reason,
			  sizeof(reason)))
		return 0;
	fprintf(stderr, "pulltap: not %s: %s\n", options->check,
		text_printable(shown, sizeof(shown), reason, sizeof(reason)));
	return 1;
}

int command_status(int argc, char **argv)
{
	_cleanup_(options_free) struct options options = {};
	_cleanup_(kernel_free) struct kernel *kernel = NULL;
	json_t *root;
	bool trouble;
	int rc = options_parse(&options, OPTIONS_STATUS, "Where everything stands.", argc, argv,
			       NULL, 0);

	if (rc)
		return rc < 0 ? 2 : 0;
	if (options.check)
		return check(&options);
	if (command_open_kernel(&kernel, &options))
		return 1;
	root = status_gather(&options, kernel);
	if (!root) {
		fprintf(stderr, "pulltap: out of memory\n");
		return 1;
	}
	if (options.json) {
		json_dumpf(root, stdout, JSON_INDENT(1));
		putchar('\n');
	} else {
		status_print(root);
	}
	trouble = json_array_size(json_object_get(root, "trouble"));
	json_decref(root);
	return trouble ? 1 : 0;
}
