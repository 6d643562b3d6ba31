/* SPDX-License-Identifier: MIT */
/*
 * The file of --rules: who does not count, one rule a line (docs/clients.md has the grammar), made
 * into what the programs compare with. Pure.
 */
#ifndef PULLTAP_CONTROL_RULES_H
#define PULLTAP_CONTROL_RULES_H

#include <stddef.h>

#include "../../bpf/abi.h"
#include "base/cleanup.h"

struct rules {
	struct pt_rule items[PT_RULES];
	unsigned int count;
};

#define RULES_ERROR_BYTES 320

/*
 * Adds the rule of a line, if it has one; the line is taken apart. -EINVAL with error set, as in
 * `peer=10.0.0.0/40 is no network: ...`.
 */
must_check int rules_parse_line(struct rules *rules, char *line, char error[RULES_ERROR_BYTES]);

/* Reads a file. On failure error is set: `line 3: ...`, or the reason it can't be read. */
must_check int rules_read(struct rules *ret, const char *path, char error[RULES_ERROR_BYTES]);

/* "text", "text*", "*text" or "*text*". -EINVAL: empty, too long, or another `*` in it. */
must_check int rule_pattern(struct pt_pattern *ret, const char *text);

/* Kinds of client, recognised by their User-Agent; returns how many. The last one is "other". */
unsigned int client_kinds(struct pt_rule ret[PT_CLIENTS]);

/* What the programs have to read for these: PT_POLICY_AGENT, PT_POLICY_PEER. */
unsigned int rules_need(const struct pt_rule *rules, unsigned int count);

#endif
