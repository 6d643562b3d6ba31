/* SPDX-License-Identifier: MIT */
#include "control/reconcile.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attach/sites.h"
#include "base/log.h"
#include "control/access_log.h"
#include "control/reconcile_state.h"
#include "control/truth_page.h"
#include "control/truth_url.h"

/* A look at a log costs two system calls, one at a page costs its server some work. */
#define LOOK_S 1
#define PAGE_S 5

struct truth {
	struct reconcile_report report; /* the thread's own */
	struct access_log *log; /* NULL: a page */
	struct truth_url *url; /* NULL: a log */
	uint64_t lines; /* manifest replies in the log since it was opened */
	bool opened; /* the log */
	uint64_t asked; /* requests for the page that its server has seen */
	uint64_t last; /* a page's number, to see that it began anew */
};

struct reconcile {
	const struct kernel *kernel;
	const char *state_dir;
	struct truth truths[RECONCILE_MAX];
	unsigned int count;
	pthread_t thread;
	bool started;
	atomic_bool stopping;
	pthread_mutex_t lock; /* guards the reports and the waiting */
	pthread_cond_t wake;
	struct reconcile_report reports[RECONCILE_MAX];
};

const char *reconcile_source_name(enum reconcile_source source)
{
	static const char *const names[] = {
		[RECONCILE_LOG] = "access log",
		[RECONCILE_STUB_STATUS] = "stub_status",
		[RECONCILE_METRICS] = "metrics",
	};

	return names[source];
}

static int truth_new(struct truth *truth, const char *spec, const atomic_bool *stopping)
{
	const char *where = strchr(spec, '=') + 1;

	snprintf(truth->report.registry, sizeof(truth->report.registry), "%.*s",
		 (int)(where - 1 - spec), spec);
	truth->report.where = where;
	if (*where == '/')
		return access_log_new(&truth->log, where);
	truth->report.source = RECONCILE_METRICS;
	return truth_url_new(&truth->url, where, stopping);
}

int reconcile_new(struct reconcile **ret, const char *const *specs, unsigned int count,
		  const char *state_dir)
{
	_cleanup_(reconcile_free) struct reconcile *reconcile = NULL;
	int rc;

	if (!count)
		return 0;
	reconcile = calloc(1, sizeof(*reconcile));
	if (!reconcile)
		return -ENOMEM;
	reconcile->state_dir = state_dir;
	pthread_mutex_init(&reconcile->lock, NULL);
	pthread_cond_init(&reconcile->wake, NULL);
	rc = truth_url_begin();
	for (; !rc && reconcile->count < count; reconcile->count++)
		rc = truth_new(&reconcile->truths[reconcile->count], specs[reconcile->count],
			       &reconcile->stopping);
	if (rc)
		return rc;
	*ret = TAKE_PTR(reconcile);
	return 0;
}

/* What the programs have counted for the registry, in the truth's unit. */
static uint64_t ours(const struct reconcile *reconcile, struct truth *truth)
{
	struct pt_registry registry;

	for (uint32_t i = 0; i < PT_REGISTRIES; i++) {
		sites_registry(reconcile->kernel, i, &registry);
		if (strcmp(registry.name, truth->report.registry))
			continue;
		truth->report.known = true;
		return truth->report.source == RECONCILE_STUB_STATUS ? registry.replies
								     : registry.counted;
	}
	return 0;
}

static void fail(struct truth *truth, const char *message)
{
	struct reconcile_report *report = &truth->report;

	if (strcmp(report->error, message))
		log_warn("an outside truth can't be read", "registry=%s where=%s error=\"%s\"",
			 report->registry, report->where, message);
	snprintf(report->error, sizeof(report->error), "%s", message);
}

static void say_difference(const struct reconcile_report *report)
{
	const struct comparison *c = &report->comparison;

	log_warn("an outside truth differs",
		 "registry=%s where=%s truth=%llu counted=%llu difference=%lld advice=\"was "
		 "counting "
		 "switched off, or the registry up before its probe?\"",
		 report->registry, report->where, (unsigned long long)c->truth,
		 (unsigned long long)c->ours, (long long)c->difference);
}

static void compare(struct truth *truth, const struct comparison_look *look)
{
	struct reconcile_report *report = &truth->report;
	bool fresh = !report->comparison.since_s;

	report->error[0] = 0;
	if (comparison_add(&report->comparison, look, time(NULL)))
		say_difference(report);
	if (fresh && report->comparison.since_s)
		log_info("comparing with an outside truth", "registry=%s where=%s",
			 report->registry, report->where);
}

static int open_log(const struct reconcile *reconcile, struct truth *truth)
{
	struct reconcile_state state;
	struct reconcile_report *report = &truth->report;
	int rc = reconcile_state_load(&state, reconcile->state_dir, report, reconcile->kernel);

	rc = rc ?: access_log_seek(truth->log, &state.place);
	if (!rc) {
		truth->lines = state.lines;
		report->comparison = state.comparison;
		log_info("going on in an access log", "registry=%s where=%s offset=%llu",
			 report->registry, report->where, (unsigned long long)state.place.offset);
	} else {
		rc = access_log_seek_end(truth->log);
	}
	truth->opened = !rc;
	return rc;
}

static void look_at_log(const struct reconcile *reconcile, struct truth *truth)
{
	struct comparison_look look = {};
	bool more = true;
	int rc = truth->opened ? 0 : open_log(reconcile, truth);

	while (!rc && more && !atomic_load(&reconcile->stopping)) {
		look.ours_before = ours(reconcile, truth);
		rc = access_log_read(truth->log, &truth->lines, &more);
		look.ours_after = ours(reconcile, truth);
	}
	truth->report.foreign = access_log_foreign(truth->log);
	look.truth_done = look.truth_begun = truth->lines;
	if (rc)
		fail(truth, strerror(-rc));
	else if (!more)
		compare(truth, &look);
}

/* The page's numbers without those that our own asking made. */
static void read_page(struct truth *truth, const struct truth_page *page,
		      struct comparison_look *look)
{
	uint64_t mine = 0, busy = page->busy;

	if (page->kind == TRUTH_PAGE_STUB_STATUS) {
		mine = ++truth->asked;
		busy -= busy > 0; /* this very request */
	}
	look->truth_begun = page->begun - mine;
	look->truth_done = look->truth_begun - busy;
}

/* True when it is another one than was thought. */
static bool learn_source(struct truth *truth, enum truth_page_kind kind)
{
	enum reconcile_source source =
		kind == TRUTH_PAGE_STUB_STATUS ? RECONCILE_STUB_STATUS : RECONCILE_METRICS;
	bool other = truth->report.source != source;

	truth->report.source = source;
	return other;
}

static void look_at_page(const struct reconcile *reconcile, struct truth *truth)
{
	struct comparison_look look = {.ours_before = ours(reconcile, truth)};
	struct truth_page page;
	char message[160];
	const char *text;
	int rc = truth_url_get(truth->url, &text, message, sizeof(message));

	look.ours_after = ours(reconcile, truth);
	if (!rc && truth_page_parse(text, &page)) {
		snprintf(message, sizeof(message),
			 "the page is neither nginx's stub_status nor a registry's metrics");
		rc = -EINVAL;
	}
	if (rc) {
		/* whether the server has counted this request is unknown */
		comparison_pause(&truth->report.comparison);
		fail(truth, message);
		return;
	}
	/* of a server that was started again */
	if (page.begun < truth->last) {
		comparison_pause(&truth->report.comparison);
		truth->asked = 0;
	}
	truth->last = page.begun;
	read_page(truth, &page, &look);
	if (learn_source(truth, page.kind))
		comparison_pause(&truth->report.comparison); /* our numbers are in another unit */
	else
		compare(truth, &look);
}

/*
 * Where each log was read to, after every look and before it is reported: a place from before a
 * file was truncated would lead nowhere.
 */
static void save(const struct reconcile *reconcile)
{
	for (unsigned int i = 0; i < reconcile->count; i++) {
		const struct truth *truth = &reconcile->truths[i];
		struct reconcile_state state = {.lines = truth->lines};

		if (!truth->opened || !truth->report.comparison.since_s)
			continue;
		state.comparison = truth->report.comparison;
		state.place = access_log_place(truth->log);
		if (reconcile_state_save(&state, reconcile->state_dir, &truth->report,
					 reconcile->kernel))
			log_debug("the place in an access log can't be kept", "where=%s",
				  truth->report.where);
	}
}

/* False when it is time to end. */
static bool pause_thread(struct reconcile *reconcile)
{
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += LOOK_S;
	pthread_mutex_lock(&reconcile->lock);
	for (unsigned int i = 0; i < reconcile->count; i++)
		reconcile->reports[i] = reconcile->truths[i].report;
	while (!atomic_load(&reconcile->stopping))
		if (pthread_cond_clockwait(&reconcile->wake, &reconcile->lock, CLOCK_MONOTONIC,
					   &deadline))
			break;
	pthread_mutex_unlock(&reconcile->lock);
	return !atomic_load(&reconcile->stopping);
}

static void *work(void *context)
{
	struct reconcile *reconcile = context;

	for (unsigned int second = 0;; second++) {
		for (unsigned int i = 0; i < reconcile->count; i++) {
			struct truth *truth = &reconcile->truths[i];

			if (truth->log)
				look_at_log(reconcile, truth);
			else if (second % PAGE_S == 0)
				look_at_page(reconcile, truth);
		}
		save(reconcile);
		if (!pause_thread(reconcile))
			break;
	}
	return NULL;
}

int reconcile_start(struct reconcile *reconcile, const struct kernel *kernel)
{
	int rc;

	if (!reconcile)
		return 0;
	reconcile->kernel = kernel;
	rc = -pthread_create(&reconcile->thread, NULL, work, reconcile);
	reconcile->started = !rc;
	return rc;
}

void reconcile_free(struct reconcile **reconcile)
{
	struct reconcile *r = *reconcile;

	if (!r)
		return;
	if (r->started) {
		pthread_mutex_lock(&r->lock);
		atomic_store(&r->stopping, true);
		pthread_cond_broadcast(&r->wake);
		pthread_mutex_unlock(&r->lock);
		pthread_join(r->thread, NULL);
	}
	for (unsigned int i = 0; i < RECONCILE_MAX; i++) {
		access_log_free(&r->truths[i].log);
		truth_url_free(&r->truths[i].url);
	}
	free(r);
	*reconcile = NULL;
}

unsigned int reconcile_reports(struct reconcile *reconcile,
			       struct reconcile_report ret[RECONCILE_MAX])
{
	if (!reconcile)
		return 0;
	pthread_mutex_lock(&reconcile->lock);
	memcpy(ret, reconcile->reports, reconcile->count * sizeof(*ret));
	pthread_mutex_unlock(&reconcile->lock);
	return reconcile->count;
}
