/* SPDX-License-Identifier: MIT */
#include "control/books.h"

#include <time.h>

#include "base/log.h"

static void add_imbalance(struct books *books, const struct drain_result *result,
			  int64_t difference)
{
	books->unbalanced_windows++;
	books->unbalanced_sequence = result->sequence;
	books->unbalanced_difference = difference;
	books->unbalanced_s = time(NULL);
	log_error("the books do not balance",
		  "sequence=%llu difference=%lld seen=%llu entered=%llu drained=%llu "
		  "filtered=%llu lost=%llu",
		  (unsigned long long)result->sequence, (long long)difference,
		  (unsigned long long)result->ledger[LEDGER_seen],
		  (unsigned long long)result->entered,
		  (unsigned long long)result->ledger[LEDGER_counted],
		  (unsigned long long)ledger_sum(result->ledger, LEDGER_KIND_FILTERED),
		  (unsigned long long)ledger_sum(result->ledger, LEDGER_KIND_LOST));
}

void books_add(struct books *books, const struct drain_result *result)
{
	int64_t difference = ledger_imbalance(result->ledger);

	if (difference)
		add_imbalance(books, result, difference);
	for (unsigned int i = 0; i < LEDGER_COUNT; i++) {
		uint64_t count = result->ledger[i];

		books->ledger[i] += count;
		if (!count || ledger_fields[i].kind != LEDGER_KIND_LOST)
			continue;
		books->lost_s = time(NULL);
		log_error("pulls were lost", "sequence=%llu %s=%llu reason=\"%s\" advice=\"%s\"",
			  (unsigned long long)result->sequence, ledger_fields[i].name,
			  (unsigned long long)count, ledger_fields[i].help, ledger_advice(i));
	}
}
