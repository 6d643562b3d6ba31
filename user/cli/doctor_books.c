/* SPDX-License-Identifier: MIT */
#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/status.h"
#include "cli/text.h"
#include "window/window.h"

static const char *const verdict_names[] = {
	[VERDICT_OK] = "ok", [VERDICT_NOTE] = "note", [VERDICT_FAIL] = "FAIL"};

void report_say(struct report *report, enum verdict verdict, const char *check, const char *advice,
		const char *format, ...)
{
	char found[1024], shown[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(found, sizeof(found), format, args);
	va_end(args);
	text_printable(shown, sizeof(shown), found, sizeof(shown) - 1);
	report->failed |= verdict == VERDICT_FAIL;
	if (report->checks) {
		json_array_append_new(report->checks,
				      json_pack("{s:s, s:s, s:s, s:s}", "verdict",
						verdict_names[verdict], "check", check, "found",
						shown, "advice", advice));
		return;
	}
	printf("%-4s  %-12s %s\n", verdict_names[verdict], check, shown);
	if (*advice)
		printf("      %-12s -> %s\n", "", advice);
}

void doctor_status(struct report *report, const struct options *options,
		   const struct kernel *kernel)
{
	json_t *status = status_gather(options, kernel);
	const json_t *trouble;
	size_t i;

	json_array_foreach(json_object_get(status, "trouble"), i, trouble)
		report_say(report, VERDICT_FAIL, "status",
			   json_string_value(json_object_get(trouble, "advice")), "%s",
			   json_string_value(json_object_get(trouble, "what")));
	if (status && !i)
		report_say(report, VERDICT_OK, "status", "", "nothing lost, the books balance");
	doctor_topology(report, status);
	json_decref(status);
}

/* Each row is a sentence, and the name of a counter where there is one. */
#define SINCE(time) " where " time " > now() - interval '24 hours' "
#define NODE "coalesce(node, '?')"
#define UTC(time) "to_char(" time " at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')"

static const struct question {
	const char *check, *sql, *advice;
	enum verdict verdict;
} questions[] = {
	{
		.check = "balance",
		.sql = "select format('%s: %s windows do not balance, by %s hits, last at %s "
		       "UTC', " NODE ", count(*), sum(abs(difference)), " UTC(
			       "max(window_end)") "), '' "
						  "from pulltap.unbalanced" SINCE(
							  "window_end") "group by node order by "
									"node",
		.advice = "please report it; pulltap.unbalanced has every such window",
		.verdict = VERDICT_FAIL,
	},
	{
		.check = "losses",
		.sql = "select format('%s: %s hits lost, %s, last at %s UTC', " NODE
		       ", sum(count), "
		       "reason, " UTC("max(window_end)") "), reason "
							 "from pulltap.losses" SINCE(
								 "window_end") "group by node, "
									       "reason order by 1",
		.verdict = VERDICT_FAIL,
	},
	{
		.check = "gaps",
		.sql = "select format('%s: %s for %s in %s gaps, last until %s UTC', " NODE
		       ", reason, date_trunc('second', sum(duration)), count(*), " UTC(
			       "max(gap_end)") "), '' "
					       "from pulltap.gaps" SINCE(
						       "gap_end") "group by node, reason order by "
								  "1",
		.advice = "pulltap.gaps has each: switched off, probes removed, or a window that "
			  "never arrived",
		.verdict = VERDICT_NOTE,
	},
};

static const char *advice_for(const struct question *question, const char *counter)
{
	for (unsigned int i = 0; i < LEDGER_COUNT; i++)
		if (!strcmp(ledger_fields[i].name, counter))
			return ledger_advice(i);
	return question->advice;
}

/* Returns how many rows there were, or -1 after it was said why they can't be had. */
static int ask(struct report *report, PGconn *connection, const struct question *question)
{
	PGresult *result = PQexec(connection, question->sql);
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	int rows = -1;

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		rows = PQntuples(result);
		for (int i = 0; i < rows; i++)
			report_say(report, question->verdict, question->check,
				   advice_for(question, PQgetvalue(result, i, 1)), "%s",
				   PQgetvalue(result, i, 0));
	} else {
		report_say(report, VERDICT_NOTE, "books",
			   code && !strcmp(code, "42501")
				   ? "ask as a member of pulltap_reader"
				   : "ask the view yourself, it may take longer than ten seconds",
			   "the last day's can't be read: %s", PQerrorMessage(connection));
	}
	PQclear(result);
	return rows;
}

void doctor_stored_books(struct report *report, PGconn *connection)
{
	int rows = 0, found;

	PQclear(PQexec(connection, "set statement_timeout = '10s'"));
	for (unsigned int i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
		found = ask(report, connection, &questions[i]);
		if (found < 0)
			return;
		rows += questions[i].verdict == VERDICT_FAIL ? found : 0;
	}
	if (!rows)
		report_say(report, VERDICT_OK, "books", "",
			   "of the last day: every window balances, nothing was lost");
}
