/* SPDX-License-Identifier: MIT */
#include "control/rules.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/network.h"

#define BLANKS " \t\r\n"

int rule_pattern(struct pt_pattern *ret, const char *text)
{
	size_t length = strlen(text);
	bool open_start = length && text[0] == '*';
	bool open_end = length > 1 && text[length - 1] == '*';

	text += open_start;
	length -= (size_t)open_start + open_end;
	if (!length || length > PT_PATTERN_TEXT || memchr(text, '*', length))
		return -EINVAL;
	*ret = (struct pt_pattern){.length = (__u32)length};
	memcpy(ret->text, text, length);
	memset(ret->mask, 0xff, length);
	if (open_start)
		ret->kind = open_end ? PT_PATTERN_PART : PT_PATTERN_SUFFIX;
	else
		ret->kind = open_end ? PT_PATTERN_PREFIX : PT_PATTERN_EXACT;
	return 0;
}

static int fail(char *error, const char *format, const char *what)
{
	snprintf(error, RULES_ERROR_BYTES, format, what);
	return -EINVAL;
}

/*
 * The next word; "..." holds blanks together, behind an equals sign too. NULL at the end, or at a
 * comment.
 */
static char *next_word(char **rest)
{
	char *word = *rest + strspn(*rest, BLANKS), *to = word, *from = word;
	bool quoted = false;

	if (!*word || *word == '#')
		return NULL;
	for (; *from && (quoted || !strchr(BLANKS, *from)); from++) {
		if (*from == '"')
			quoted = !quoted;
		else
			*to++ = *from;
	}
	*rest = from + (*from != 0);
	*to = 0;
	return word;
}

static int set_pattern(struct pt_pattern *pattern, const char *word, const char *text, bool parts,
		       char *error)
{
	if (pattern->kind)
		return fail(error, "%s: this condition stands in the rule already", word);
	if (rule_pattern(pattern, text))
		return fail(error,
			    "%s: must be 1 to 72 bytes with a * at the beginning or the end only; "
			    "a condition that holds for everything is left out",
			    word);
	if (pattern->kind == PT_PATTERN_PART && !parts)
		return fail(error, "%s: a * at both ends is for user-agent only", word);
	return 0;
}

static int set_network(struct pt_rule *rule, const char *word, const char *text, bool *seen,
		       char *error)
{
	struct network network;

	if (*seen)
		return fail(error, "%s: this condition stands in the rule already", word);
	if (network_parse(text, &network))
		return fail(error,
			    "%s: must be an address or a network like 10.0.0.0/8 or 2001:db8::/32, "
			    "without bits set behind its prefix",
			    word);
	*seen = true;
	rule->network = network.address;
	rule->mask = network.mask;
	return 0;
}

static int add_condition(struct pt_rule *rule, const char *word, bool *peer, char *error)
{
	static const char user_agent[] = "user-agent=", repository[] = "repository=",
			  reference[] = "reference=", network[] = "peer=";

	if (!strncmp(word, user_agent, sizeof(user_agent) - 1))
		return set_pattern(&rule->agent, word, word + sizeof(user_agent) - 1, true, error);
	if (!strncmp(word, repository, sizeof(repository) - 1))
		return set_pattern(&rule->repository, word, word + sizeof(repository) - 1, false,
				   error);
	if (!strncmp(word, reference, sizeof(reference) - 1))
		return set_pattern(&rule->reference, word, word + sizeof(reference) - 1, false,
				   error);
	if (!strncmp(word, network, sizeof(network) - 1))
		return set_network(rule, word, word + sizeof(network) - 1, peer, error);
	return fail(error,
		    "%s: no such condition; there are user-agent=, peer=, repository= and "
		    "reference=",
		    word);
}

static bool is_name(const char *name)
{
	const char *p = name;

	while (*p > ' ' && *p <= '~' && *p != '=')
		p++;
	return p > name && !*p && p - name < PT_SHORT_TAG;
}

int rules_parse_line(struct rules *rules, char *line, char error[RULES_ERROR_BYTES])
{
	struct pt_rule rule = {};
	char *word = next_word(&line);
	bool peer = false, some = false;
	int rc;

	if (!word)
		return 0;
	if (strcmp(word, "exclude"))
		return fail(error, "%s: a rule begins with exclude", word);
	word = next_word(&line);
	if (!word || !is_name(word))
		return fail(error,
			    "%s: a rule's name is 1 to 31 printable characters without = or a "
			    "space",
			    word ?: "exclude");
	strcpy(rule.name, word);
	while ((word = next_word(&line))) {
		rc = add_condition(&rule, word, &peer, error);
		if (rc)
			return rc;
		some = true;
	}
	if (!some)
		return fail(error, "%s: a rule needs a condition", rule.name);
	if (rules->count == PT_RULES)
		return fail(error, "%s: there may be 32 rules", rule.name);
	rules->items[rules->count++] = rule;
	return 0;
}

int rules_read(struct rules *ret, const char *path, char error[RULES_ERROR_BYTES])
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	char reason[RULES_ERROR_BYTES];
	unsigned int number = 0;
	size_t size = 0;
	int rc = 0;

	*ret = (struct rules){};
	if (!file) {
		rc = -errno;
		snprintf(error, RULES_ERROR_BYTES, "%s", strerror(-rc));
		return rc;
	}
	while (!rc && getline(&line, &size, file) >= 0) {
		number++;
		rc = rules_parse_line(ret, line, reason);
	}
	if (rc)
		snprintf(error, RULES_ERROR_BYTES, "line %u: %.280s", number, reason);
	if (!rc && ferror(file)) {
		rc = -EIO;
		snprintf(error, RULES_ERROR_BYTES, "%s", strerror(EIO));
	}
	return rc;
}

unsigned int client_kinds(struct pt_rule ret[PT_CLIENTS])
{
	/* as their requests have it; who embeds another's library is named before that library */
	static const struct {
		const char *name, *agent;
	} kinds[] = {
		{"docker", "docker/*"},
		{"containerd", "containerd/*"},
		{"cri-o", "cri-o/*"},
		{"podman", "libpod/*"},
		{"skopeo", "skopeo/*"},
		{"buildah", "Buildah/*"},
		{"podman", "containers/*"},
		{"crane", "crane/*"},
		{"kaniko", "kaniko/*"},
		{"helm", "Helm/*"},
		{"oras", "oras*"},
		{"curl", "curl/*"},
		{"other", NULL},
	};
	const unsigned int count = sizeof(kinds) / sizeof(kinds[0]);

	_Static_assert(sizeof(kinds) / sizeof(kinds[0]) <= PT_CLIENTS, "kinds fit into a bank");
	for (unsigned int i = 0; i < count; i++) {
		ret[i] = (struct pt_rule){};
		strcpy(ret[i].name, kinds[i].name);
		if (kinds[i].agent && rule_pattern(&ret[i].agent, kinds[i].agent))
			return 0; /* the table is wrong: a unit test looks at each */
	}
	return count;
}

unsigned int rules_need(const struct pt_rule *rules, unsigned int count)
{
	unsigned int need = 0;

	for (unsigned int i = 0; i < count; i++) {
		if (rules[i].agent.kind)
			need |= PT_POLICY_AGENT;
		if (rules[i].mask.high | rules[i].mask.low)
			need |= PT_POLICY_PEER;
	}
	return need;
}
