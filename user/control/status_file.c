/* SPDX-License-Identifier: MIT */
#include "control/status_file.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static json_t *integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *windows_json(const struct agent_status *status)
{
	return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:s?}", "length_s",
			 (int)status->window_s, "drained", integer(status->windows), "early",
			 integer(status->early_swaps), "last_sequence",
			 integer(status->last_sequence), "last_keys", integer(status->last_keys),
			 "last_drain_us", integer(status->last_drain_us), "last_drain",
			 integer((uint64_t)status->last_drain_s), "error", status->drain_error);
}

static json_t *shipping_json(const struct shipper_status *shipper, const struct store_stats *store)
{
	return json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:i, s:s, s:b, s:o, s:o, s:o, "
		"s:o, s:o}",
		"state", shipper_state_name(shipper->state), "since",
		integer((uint64_t)shipper->since_us / 1000000), "last_success",
		integer((uint64_t)shipper->last_success_us / 1000000), "waiting",
		integer(shipper->waiting), "waiting_bytes", integer(shipper->waiting_bytes),
		"limit_bytes", integer(shipper->limit), "over_limit", shipper->over_limit, "merged",
		integer(shipper->merged), "put_aside", integer(shipper->put_aside), "failures",
		(int)shipper->failures, "last_error", shipper->last_error, "connected",
		store->connected, "accepted", integer(store->windows_accepted), "duplicate",
		integer(store->windows_duplicate), "rows", integer(store->rows_applied), "rejected",
		integer(store->rows_rejected), "apply_us", integer(store->apply_us_total));
}

static json_t *books_json(const struct books *books)
{
	return json_pack("{s:o, s:o, s:I, s:I, s:I}", "unbalanced_windows",
			 integer(books->unbalanced_windows), "last_unbalanced_sequence",
			 integer(books->unbalanced_sequence), "last_difference",
			 (json_int_t)books->unbalanced_difference, "last_unbalanced",
			 (json_int_t)books->unbalanced_s, "last_loss", (json_int_t)books->lost_s);
}

/* Sources of the switch that can't be asked: what they said last is in the kernel. */
static json_t *troubles_json(const struct switch_trouble troubles[PT_OFF_SOURCES])
{
	json_t *object = json_object();

	for (unsigned int i = 0; i < PT_OFF_SOURCES; i++)
		if (troubles[i].text[0])
			json_object_set_new(object, off_source_name(i),
					    json_pack("{s:s, s:I}", "text", troubles[i].text,
						      "since", (json_int_t)troubles[i].since_s));
	return object;
}

static json_t *truths_json(const struct agent_status *status)
{
	json_t *truths = json_array();

	for (unsigned int i = 0; i < status->truths_count; i++) {
		const struct reconcile_report *report = &status->truths[i];
		const struct comparison *c = &report->comparison;

		json_array_append_new(
			truths, json_pack("{s:s, s:s, s:s, s:b, s:I, s:o, s:o, s:I, s:I, s:o, s:s}",
					  "registry", report->registry, "where", report->where,
					  "source", reconcile_source_name(report->source), "known",
					  report->known, "since", (json_int_t)c->since_s, "truth",
					  integer(c->truth), "counted", integer(c->ours),
					  "difference", (json_int_t)c->difference, "changed",
					  (json_int_t)c->changed_s, "foreign_lines",
					  integer(report->foreign), "error", report->error));
	}
	return truths;
}

int status_file_write(const char *state_dir, const struct agent_status *status)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	json_t *ledger = json_object(), *root;
	int rc;

	for (int i = 0; i < LEDGER_COUNT; i++)
		json_object_set_new(ledger, ledger_fields[i].name,
				    integer(status->books.ledger[i]));
	root = json_pack("{s:s, s:s, s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
			 status->version, "node", status->node, "pid", (int)getpid(), "started",
			 (json_int_t)status->started_s, "windows", windows_json(status), "shipping",
			 shipping_json(&status->shipper, &status->store), "books",
			 books_json(&status->books), "ledger", ledger, "switch",
			 troubles_json(status->troubles), "truths", truths_json(status), "guard",
			 guard_json(status->guard), "topology",
			 topology_watch_json(status->topology));
	if (!root)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/" STATUS_FILE_NAME, state_dir);
	snprintf(temporary, sizeof(temporary), "%s/" STATUS_FILE_NAME ".new", state_dir);
	errno = EIO; /* jansson says only that it failed */
	rc = json_dump_file(root, temporary, JSON_INDENT(1)) || rename(temporary, path) ? -errno
											: 0;
	json_decref(root);
	return rc;
}
