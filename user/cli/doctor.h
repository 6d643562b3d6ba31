/* SPDX-License-Identifier: MIT */
/*
 * The parts of `pulltap doctor`: its report, and what it says about counts that were lost.
 */
#ifndef PULLTAP_CLI_DOCTOR_H
#define PULLTAP_CLI_DOCTOR_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>

#include "cli/options.h"

struct kernel;

enum verdict { VERDICT_OK, VERDICT_NOTE, VERDICT_FAIL };

struct report {
	json_t *checks; /* NULL: print text as we go */
	bool failed;
};

/* advice is what to do about it; "" when there is nothing to do. */
__attribute__((format(printf, 5, 6))) void report_say(struct report *report, enum verdict verdict,
						      const char *check, const char *advice,
						      const char *format, ...);

/*
 * Processes that are watched through OpenSSL, or that a target says should be. Returns how many.
 */
unsigned int doctor_openssl(struct report *report, const struct options *options,
			    struct kernel *kernel);

/* What `pulltap status` calls trouble: the kernel's books and the agent's own words. */
void doctor_status(struct report *report, const struct options *options,
		   const struct kernel *kernel);

/* Who talks to whom, where pulls are counted, and what clients look like there. */
void doctor_topology(struct report *report, const json_t *status);

/* What the database's views say about the last day: imbalance, losses, gaps; by node. */
void doctor_stored_books(struct report *report, PGconn *connection);

#endif
