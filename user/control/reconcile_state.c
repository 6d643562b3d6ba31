/* SPDX-License-Identifier: MIT */
#include "control/reconcile_state.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <xxhash.h>

static void name_file(char path[PATH_MAX], const char *state_dir,
		      const struct reconcile_report *report)
{
	XXH64_hash_t seed = XXH3_64bits(report->registry, strlen(report->registry));

	snprintf(path, PATH_MAX, "%s/reconcile-%016llx", state_dir,
		 (unsigned long long)XXH3_64bits_withSeed(report->where, strlen(report->where),
							  seed));
}

/* What tells one set of maps from the next. */
static json_int_t maps_of(const struct kernel *kernel)
{
	return (json_int_t)(kernel->control->loaded_boot_ns ^ kernel->control->generation);
}

int reconcile_state_save(const struct reconcile_state *state, const char *state_dir,
			 const struct reconcile_report *report, const struct kernel *kernel)
{
	const struct comparison *c = &state->comparison;
	char path[PATH_MAX], temporary[PATH_MAX + 4];
	json_t *root = json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "registry",
		report->registry, "where", report->where, "maps", maps_of(kernel), "device",
		(json_int_t)state->place.device, "inode", (json_int_t)state->place.inode, "offset",
		(json_int_t)state->place.offset, "lines", (json_int_t)state->lines, "ours",
		(json_int_t)c->last.ours_after, "since", (json_int_t)c->since_s, "truth_sum",
		(json_int_t)c->truth, "ours_sum", (json_int_t)c->ours, "difference",
		(json_int_t)c->difference, "changed", (json_int_t)c->changed_s);
	int rc;

	if (!root)
		return -ENOMEM;
	name_file(path, state_dir, report);
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	errno = EIO;
	rc = json_dump_file(root, temporary, JSON_INDENT(1)) || rename(temporary, path) ? -errno
											: 0;
	json_decref(root);
	return rc;
}

int reconcile_state_load(struct reconcile_state *ret, const char *state_dir,
			 const struct reconcile_report *report, const struct kernel *kernel)
{
	json_int_t maps, device, inode, offset, lines, ours, since, truth_sum, ours_sum, difference,
		changed;
	const char *registry, *where;
	char path[PATH_MAX];
	json_t *root;
	int rc = -ESTALE;

	name_file(path, state_dir, report);
	root = json_load_file(path, 0, NULL);
	if (!root)
		return -ENOENT;
	if (!json_unpack(root, "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "registry", &registry, "where", &where, "maps", &maps, "device", &device,
			 "inode", &inode, "offset", &offset, "lines", &lines, "ours", &ours,
			 "since", &since, "truth_sum", &truth_sum, "ours_sum", &ours_sum,
			 "difference", &difference, "changed", &changed) &&
	    !strcmp(registry, report->registry) && !strcmp(where, report->where) &&
	    maps == maps_of(kernel)) {
		ret->place = (struct access_log_place){(uint64_t)device, (uint64_t)inode,
						       (uint64_t)offset};
		ret->lines = (uint64_t)lines;
		ret->comparison = (struct comparison){
			.since_s = since,
			.truth = (uint64_t)truth_sum,
			.ours = (uint64_t)ours_sum,
			.difference = difference,
			.changed_s = changed,
		};
		comparison_resume(&ret->comparison,
				  &(struct comparison_look){(uint64_t)ours, (uint64_t)lines,
							    (uint64_t)lines, (uint64_t)ours});
		rc = 0;
	}
	json_decref(root);
	return rc;
}
