/* SPDX-License-Identifier: MIT */
#include "window/window.h"

const struct ledger_field ledger_fields[LEDGER_COUNT] = {
#define X(field, field_kind, text)                                                                 \
	[LEDGER_##field] = {.name = #field, .help = text, .kind = LEDGER_KIND_##field_kind},
	PT_LEDGER(X)
#undef X
};

static const char *const op_names[] = {
	[PT_OP_NONE] = "none",
	[PT_OP_GET] = "get",
	[PT_OP_HEAD] = "head",
	[PT_OP_PUT] = "put",
	[PT_OP_DELETE] = "delete",
	[PT_OP_HINTED_GET] = "hinted_get",
	[PT_OP_OFF] = "off",
	[PT_OP_CHILD] = "child",
	[PT_OP_EXCLUDED] = "excluded",
	[PT_OP_RULE] = "rule",
	[PT_OP_CLIENT_PULL] = "client_pull",
	[PT_OP_CLIENT_CHECK] = "client_check",
	[PT_OP_CLIENT_HINTED_PULL] = "client_hinted_pull",
};

unsigned int op_counter(enum pt_op op)
{
	switch (op) {
	case PT_OP_GET:
	case PT_OP_HEAD:
	case PT_OP_PUT:
	case PT_OP_DELETE:
	case PT_OP_HINTED_GET:
		return LEDGER_counted;
	case PT_OP_EXCLUDED:
		return LEDGER_filtered_excluded;
	default:
		return LEDGER_COUNT;
	}
}

_Static_assert(sizeof(op_names) / sizeof(op_names[0]) == PT_OP_COUNT, "an operation has no name");
_Static_assert(sizeof(struct pt_ledger) == LEDGER_COUNT * sizeof(uint64_t),
	       "the ledger is read as an array");

uint64_t ledger_sum(const uint64_t ledger[LEDGER_COUNT], enum ledger_kind kind)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < LEDGER_COUNT; i++) {
		if (ledger_fields[i].kind == kind)
			sum += ledger[i];
	}
	return sum;
}

int64_t ledger_imbalance(const uint64_t ledger[LEDGER_COUNT])
{
	/* Unsigned on purpose: a damaged ledger wraps instead of being undefined. */
	return (int64_t)(ledger_sum(ledger, LEDGER_KIND_SEEN) -
			 ledger_sum(ledger, LEDGER_KIND_COUNTED) -
			 ledger_sum(ledger, LEDGER_KIND_FILTERED) -
			 ledger_sum(ledger, LEDGER_KIND_LOST));
}

static const char *const advice[LEDGER_COUNT] = {
	[LEDGER_lost_map_full] = "raise --max-keys",
	[LEDGER_lost_no_memory] = "give the node memory",
	[LEDGER_lost_busy] = "nothing; report it if it grows",
	[LEDGER_lost_scratch] = "report it",
	[LEDGER_lost_fault] = "keep the registry off swap",
	[LEDGER_lost_layout] = "report the binary that `pulltap doctor` names",
	[LEDGER_lost_internal] = "`pulltap uninstall`, then `pulltap run`",
	[LEDGER_lost_entry] = "start `pulltap run`: it puts its programs behind the probes again",
	[LEDGER_lost_h2_unparsed] =
		("name the server's own way in (nginx:, apache:, go:) in its --target, watch the "
		 "registry behind it, or switch its HTTP/2 off: docs/openssl.md"),
	[LEDGER_lost_head_refused] = "nothing; report the server if it grows",
	[LEDGER_lost_pipelined] = "probe the server by another way in",
	[LEDGER_lost_out_of_step] = "report the server that `pulltap doctor` names",
	[LEDGER_lost_learning] = "nothing; it ends with the second request that tells the layout",
	[LEDGER_lost_connection_full] = "report it: more connections than a server should have",
};

const char *ledger_advice(unsigned int index)
{
	return index < LEDGER_COUNT && advice[index] ? advice[index] : "";
}

const char *op_name(enum pt_op op)
{
	return (unsigned int)op < PT_OP_COUNT ? op_names[op] : "unknown";
}
