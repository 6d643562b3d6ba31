/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Rules over who asks for what: which pulls and checks don't count, and what kind of client the
 * others are. The agent writes them (user/control/rules.c); nothing of them is compiled in.
 */
#ifndef PULLTAP_RULES_H
#define PULLTAP_RULES_H

#include "client.h"

/* Offsets from the scratch buffer's start: all texts that patterns look at lie in it. */
#define SCRATCH_AT(member) __builtin_offsetof(struct scratch, member)

/* Does the pattern's text stand at this place? */
static __always_inline bool pattern_at(const struct scratch *s, const struct pt_pattern *pattern,
				       __u64 place)
{
	const char *text = (const char *)s + at_most(place, sizeof(*s) - PT_PATTERN_TEXT);
	const __u64 *words = (const __u64 *)pattern->text, *mask = (const __u64 *)pattern->mask;
	__u64 differ = 0;
	__u32 i;

	for (i = 0; i < PT_PATTERN_TEXT / 8; i++)
		differ |= (PT_LOAD64(text + i * 8) ^ words[i]) & mask[i];
	return !differ;
}

struct part_context {
	struct scratch *s;
	const struct pt_pattern *pattern;
};

/* Returns 1 when it is found or when what is left is too short. */
static long part_step(__u32 i, struct part_context *context)
{
	struct client *client = &context->s->client;

	if (client->at + context->pattern->length > client->text + client->length)
		return 1;
	if (pattern_at(context->s, context->pattern, client->at)) {
		client->match = 1;
		return 1;
	}
	client->at++;
	return 0;
}

/* Of s->client's text; cut: there would be more. With few arguments, for the BPF stack is small. */
static __noinline bool text_matches(struct scratch *s, const struct pt_pattern *pattern, __u32 cut)
{
	struct part_context context = {s, pattern};
	__u64 text = s->client.text, length = s->client.length;

	if (length < pattern->length)
		return false;
	if (pattern->kind == PT_PATTERN_PREFIX)
		return pattern_at(s, pattern, text);
	if (pattern->kind == PT_PATTERN_PART) {
		s->client.at = text;
		s->client.match = 0;
		bpf_loop(PT_AGENT_BYTES, part_step, &context, 0);
		return s->client.match;
	}
	if (cut || (pattern->kind == PT_PATTERN_EXACT && length != pattern->length))
		return false;
	return pattern_at(s, pattern, text + length - pattern->length);
}

static __always_inline bool pattern_matches(struct scratch *s, const struct pt_pattern *pattern,
					    __u64 text, __u64 length, __u32 cut)
{
	if (pattern->kind == PT_PATTERN_ANY)
		return true;
	s->client.text = text;
	s->client.length = length;
	return text_matches(s, pattern, cut);
}

static long rule_step(__u32 i, struct scratch **scratch)
{
	struct scratch *s = *scratch;
	struct client *client = &s->client;
	__u32 slot = client->slot++;
	struct pt_rule *rule = bpf_map_lookup_elem(&rules, &slot);

	client->match = 0;
	if (!rule)
		return 1;
	if (!pt_address_within(&client->address, &rule->network, &rule->mask) ||
	    !pattern_matches(s, &rule->repository, SCRATCH_AT(path) + s->parts.name,
			     s->parts.name_length, 0) ||
	    !pattern_matches(s, &rule->reference, SCRATCH_AT(path) + s->parts.reference,
			     s->parts.reference_length, 0) ||
	    !pattern_matches(s, &rule->agent, SCRATCH_AT(client.agent), client->agent_length,
			     client->agent_cut))
		return 0;
	__builtin_memcpy(client->name, rule->name, sizeof(client->name));
	client->match = 1;
	return 1;
}

/* The first of count rules from this slot on that holds: its name is in s->client.name then. */
__weak __noinline int find_rule(struct scratch *s, __u32 slot, __u32 count)
{
	if (!s)
		return 0;
	s->client.slot = slot;
	s->client.match = 0;
	bpf_loop(count, rule_step, &s, 0);
	return s->client.match;
}

/* A key that has a name where others have a tag, in a window that always counts what it is of. */
static __noinline void count_name(struct scratch *s, struct hit *hit, __u32 op, __u32 now_ms)
{
	__u32 window = hit->window;
	void *map = bpf_map_lookup_elem(&counts, &window);

	if (map) {
		__builtin_memset(&s->key, 0, sizeof(s->key));
		s->key.registry = hit->site->registry;
		s->key.op = op;
		__builtin_memcpy(s->key.tag, s->client.name, sizeof(s->key.tag));
		if (count_key(map, &s->key, now_ms, &hit->control->slot[window & 1].short_keys,
			      hit->control->short_keys_signal, hit) == LEDGER(counted))
			return;
	}
	ledger_add(hit->ledger, LEDGER(note_name_unmade));
}

/* Only pulls and checks: what is pushed and deleted is a tag's history, whoever does it. */
static __always_inline bool is_excluded(struct scratch *s, struct hit *hit, __u32 op, __u32 now_ms)
{
	__u32 bank = hit->policy & PT_POLICY_BANK ? PT_RULES_BANK : 0;
	__u32 count = hit->policy & PT_POLICY_RULES;

	if (!count || (op != PT_OP_GET && op != PT_OP_HEAD) || !find_rule(s, bank, count))
		return false;
	count_name(s, hit, PT_OP_RULE, now_ms);
	return true;
}

/* After a pull or a check was counted. */
static __always_inline void count_client(struct scratch *s, struct hit *hit, __u32 op, __u32 now_ms)
{
	__u32 bank = hit->policy & PT_POLICY_BANK ? PT_RULES_BANK : 0;
	__u32 count = (hit->policy & PT_POLICY_CLIENTS) >> 8;

	if (!count || op == PT_OP_PUT || op == PT_OP_DELETE ||
	    !find_rule(s, bank + PT_RULES, count))
		return;
	if (op == PT_OP_HEAD)
		op = PT_OP_CLIENT_CHECK;
	else
		op = op == PT_OP_GET ? PT_OP_CLIENT_PULL : PT_OP_CLIENT_HINTED_PULL;
	count_name(s, hit, op, now_ms);
}

#endif
