/* SPDX-License-Identifier: MIT */
/* What nginx and a registry say about themselves. */
#include "test.h"

#include <errno.h>

#include "control/truth_page.h"

static struct truth_page parsed(const char *text)
{
	struct truth_page page;

	assert_int_equal(truth_page_parse(text, &page), 0);
	return page;
}

static void assert_refused(const char *text)
{
	struct truth_page page;

	assert_int_equal(truth_page_parse(text, &page), -EINVAL);
}

static void stub_status_is_read(void **state)
{
	struct truth_page page = parsed("Active connections: 3 \n"
					"server accepts handled requests\n"
					" 16630948 16630947 31070465 \n"
					"Reading: 1 Writing: 2 Waiting: 0 \n");

	(void)state;
	assert_int_equal(page.kind, TRUTH_PAGE_STUB_STATUS);
	assert_int_equal(page.begun, 31070465);
	assert_int_equal(page.busy, 3);
	/* connections that are read have no request yet */
	page = parsed("Active connections: 9 \nserver accepts handled requests\n 9 9 2 \n"
		      "Reading: 8 Writing: 1 Waiting: 0 \n");
	assert_int_equal(page.busy, 2);
}

#define TOTAL "registry_http_requests_total"

static void manifest_replies_that_count_are_added_up(void **state)
{
	struct truth_page page =
		parsed("# HELP go_goroutines Number of goroutines.\n# TYPE go_goroutines gauge\n"
		       "go_goroutines 12\n# TYPE " TOTAL " counter\n" TOTAL
		       "{code=\"200\",handler=\"base\",method=\"get\"} 1000\n" TOTAL
		       "{code=\"200\",handler=\"manifest\",method=\"get\"} 5\n" TOTAL
		       "{code=\"200\",handler=\"manifest\",method=\"head\"} 20\n" TOTAL
		       "{code=\"304\",handler=\"manifest\",method=\"get\"} 300\n" TOTAL
		       "{code=\"404\",handler=\"manifest\",method=\"get\"} 9000\n" TOTAL
		       "{code=\"206\",handler=\"manifest\",method=\"get\"} 9000\n" TOTAL
		       "{handler=\"manifest\",method=\"put\",code=\"201\",} 4000\n" TOTAL
		       "{code=\"202\",handler=\"manifest\",method=\"delete\"} 1.5e+06\n" TOTAL
		       "_other{code=\"200\",handler=\"manifest\",method=\"get\"} 7\n"
		       "registry_storage_action_seconds_sum{action=\"Stat\"} 0.5\n");

	(void)state;
	assert_int_equal(page.kind, TRUTH_PAGE_METRICS);
	assert_int_equal(page.begun, 1504325);
	assert_int_equal(page.busy, 0);
}

static void registry_that_answered_nothing_yet_has_none(void **state)
{
	struct truth_page page = parsed("# HELP go_info x\n# TYPE go_info gauge\ngo_info 1\n");

	(void)state;
	assert_int_equal(page.begun, 0);
}

static void other_pages_are_refused(void **state)
{
	(void)state;
	assert_refused("");
	assert_refused("<html><body>It works!</body></html>");
	assert_refused("Active connections: \n");
	assert_refused("Active connections: 1 \nserver accepts handled requests\n 1 1 x\n");
	assert_refused("{}");
}

static void damaged_samples_are_refused(void **state)
{
	static const char *const samples[] = {
		"{",
		"{}",
		"{} x",
		"{code",
		"{code=}",
		"{code=\"200",
		"{code=\"200\"",
		"{code=\"200\\\"} 1",
		"{code=\"200\"} nan",
		"{code=\"200\"} -1",
		"{code=\"200\"} inf",
		"{code=\"200\"} 1e300",
		"{code=\"200\nx\"} 1",
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
		snprintf(text, sizeof(text), "# TYPE x counter\n" TOTAL "%s", samples[i]);
		assert_refused(text);
	}
}

static void labels_longer_than_any_that_counts_are_other_ones(void **state)
{
	struct truth_page page = parsed("# TYPE x counter\n" TOTAL
					"{code=\"200\",handler=\"manifestmanifestmanifest\","
					"method=\"get\",path=\"a\\\"}b\"} 3\n" TOTAL
					"{code=\"2000\",handler=\"manifest\",method=\"get\"} 3\n");

	(void)state;
	assert_int_equal(page.begun, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stub_status_is_read),
		cmocka_unit_test(manifest_replies_that_count_are_added_up),
		cmocka_unit_test(registry_that_answered_nothing_yet_has_none),
		cmocka_unit_test(other_pages_are_refused),
		cmocka_unit_test(damaged_samples_are_refused),
		cmocka_unit_test(labels_longer_than_any_that_counts_are_other_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
