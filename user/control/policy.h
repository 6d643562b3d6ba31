/* SPDX-License-Identifier: MIT */
/*
 * What the settings say about clients (--rules, --clients, --trusted-proxy), put into the maps that
 * the programs look at: nothing has to be loaded anew for it. Main thread.
 */
#ifndef PULLTAP_CONTROL_POLICY_H
#define PULLTAP_CONTROL_POLICY_H

#include "attach/kernel.h"
#include "cli/options.h"
#include "control/rules.h"

struct policy {
	struct rules rules;
	struct pt_rule clients[PT_CLIENTS];
	unsigned int clients_count;
	struct pt_proxy proxies[OPTIONS_LIST];
	unsigned int proxies_count;
};

/* Says on standard error what is wrong with a file. */
must_check int policy_read(struct policy *ret, const struct options *options);

/*
 * From here on the policy holds for every hit, as a whole: the rules of a hit are the former ones
 * or the new ones. Returns when no program looks at the former ones any more.
 */
must_check int policy_write(const struct policy *policy, struct kernel *kernel);

/* SIGHUP: reads the file again. A file that is wrong is logged, and what held goes on holding. */
void policy_reload(const struct options *options, struct kernel *kernel);

#endif
