/* SPDX-License-Identifier: MIT */
#include "control/policy.h"

#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/network.h"

static int read_policy(struct policy *ret, const struct options *options,
		       char error[RULES_ERROR_BYTES])
{
	int rc = 0;

	*ret = (struct policy){};
	if (options->rules)
		rc = rules_read(&ret->rules, options->rules, error);
	if (options->clients)
		ret->clients_count = client_kinds(ret->clients);
	for (unsigned int i = 0; !rc && i < options->proxies.count; i++) {
		struct pt_proxy *proxy = &ret->proxies[ret->proxies_count++];
		struct network network;
		uint64_t words[2];

		rc = network_parse(options->proxies.items[i], &network);
		words[0] = htobe64(network.address.high);
		words[1] = htobe64(network.address.low);
		memcpy(proxy->address, words, sizeof(words));
		proxy->bits = network.bits;
	}
	return rc;
}

int policy_read(struct policy *ret, const struct options *options)
{
	char error[RULES_ERROR_BYTES];
	int rc = read_policy(ret, options, error);

	if (rc)
		fprintf(stderr, "pulltap: --rules %s: %s\n", options->rules, error);
	return rc;
}

static int write_rules(int fd, uint32_t slot, const struct pt_rule *rules, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++, slot++) {
		if (bpf_map_update_elem(fd, &slot, &rules[i], BPF_ANY))
			return -errno;
	}
	return 0;
}

static bool is_wanted(const struct policy *policy, const struct pt_proxy *proxy)
{
	for (unsigned int i = 0; i < policy->proxies_count; i++) {
		if (!memcmp(&policy->proxies[i], proxy, sizeof(*proxy)))
			return true;
	}
	return false;
}

/* New networks first: one that is in both lists is never missing. */
static int write_proxies(const struct policy *policy, int fd)
{
	struct pt_proxy proxy, wanted;
	const void *last = NULL;
	uint32_t one = 1;

	for (unsigned int i = 0; i < policy->proxies_count; i++) {
		if (bpf_map_update_elem(fd, &policy->proxies[i], &one, BPF_ANY))
			return -errno;
	}
	while (!bpf_map_get_next_key(fd, last, &proxy)) {
		if (is_wanted(policy, &proxy)) {
			wanted = proxy;
			last = &wanted;
			continue;
		}
		if (bpf_map_delete_elem(fd, &proxy))
			return -errno;
		last = NULL; /* from the start: what came before it is gone */
	}
	return errno == ENOENT ? 0 : -errno;
}

int policy_write(const struct policy *policy, struct kernel *kernel)
{
	uint32_t before = kernel->control->policy, bank = ~before & PT_POLICY_BANK;
	uint32_t slot = bank ? PT_RULES_BANK : 0, after;
	const struct rules *rules = &policy->rules;
	int rc = write_rules(kernel->rules_fd, slot, rules->items, rules->count);

	rc = rc
		     ?: write_rules(kernel->rules_fd, slot + PT_RULES, policy->clients,
				    policy->clients_count);
	rc = rc ?: write_proxies(policy, kernel->proxies_fd);
	if (rc)
		return rc;
	after = bank | rules->count | policy->clients_count << 8 |
		rules_need(rules->items, rules->count) |
		rules_need(policy->clients, policy->clients_count) |
		(policy->proxies_count ? PT_POLICY_PROXIES : 0);
	__atomic_store_n(&kernel->control->policy, after, __ATOMIC_SEQ_CST);
	return kernel_grace(kernel);
}

void policy_reload(const struct options *options, struct kernel *kernel)
{
	char error[RULES_ERROR_BYTES] = "";
	struct policy policy;
	int rc = read_policy(&policy, options, error);

	if (!rc) {
		rc = policy_write(&policy, kernel);
		snprintf(error, sizeof(error), "%s", strerror(-rc));
	}
	if (rc)
		log_error("the rules can't be read again, the former ones hold",
			  "rules=%s error=\"%s\"", options->rules, error);
	else
		log_info("rules read", "rules=%s count=%u", options->rules ?: "none",
			 policy.rules.count);
}
