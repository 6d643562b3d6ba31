/* SPDX-License-Identifier: MIT */
#include "store/shipper.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/log.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 5000
/* Without a kick the spool is looked at this often: a file may have been put back by hand. */
#define IDLE_MS 10000
#define LOG_INTERVAL_S 60
/* How often the spool's size is looked at, and how often where it could not be made smaller. */
#define MERGE_LOOK_MS 500
#define MERGE_AGAIN_MS 10000
/* A file that can't be read is put aside after so many tries. */
#define READ_TRIES 5

struct shipper {
	struct spool *spool;
	struct store *store;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake; /* to the thread: kicked or stopping */
	pthread_cond_t changed; /* from the thread: status changed */
	bool kicked;
	bool stopping;
	int64_t round_ms; /* when the thread last came round, monotonic */
	uint64_t looks; /* how often the thread began to look at the spool */
	uint64_t empty_look; /* the latest of them that found nothing */
	struct shipper_status status;
	/* the thread's own */
	struct log_gate gate, merge_gate, limit_gate;
	int64_t next_merge_ms;
	char unreadable[SPOOL_NAME_BYTES]; /* the file that could not be read */
	unsigned int unreadable_tries;
};

const char *shipper_state_name(enum shipper_state state)
{
	static const char *const names[] = {
		[SHIPPER_IDLE] = "idle",	 [SHIPPER_APPLYING] = "applying",
		[SHIPPER_RETRYING] = "retrying", [SHIPPER_SCHEMA] = "schema",
		[SHIPPER_DENIED] = "denied",	 [SHIPPER_SPOOL] = "spool",
	};
	_Static_assert(sizeof(names) / sizeof(names[0]) == SHIPPER_STATES, "a name per state");

	return state < SHIPPER_STATES ? names[state] : "unknown";
}

static int64_t wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct timespec deadline_in(unsigned int ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	return ts;
}

static void set_state(struct shipper *shipper, enum shipper_state state, const char *error)
{
	struct shipper_status *status = &shipper->status;

	pthread_mutex_lock(&shipper->lock);
	if (status->state != state) {
		status->state = state;
		status->since_us = wall_us();
	}
	if (error) {
		snprintf(status->last_error, sizeof(status->last_error), "%s", error);
		if (error[0])
			status->failures++;
		else
			status->failures = 0;
	}
	if (state == SHIPPER_IDLE)
		shipper->empty_look = shipper->looks;
	pthread_cond_broadcast(&shipper->changed);
	pthread_mutex_unlock(&shipper->lock);
}

/* Sleeps until kicked, stopping or the time is over; false: stopping. Kicks come once per window,
 * so that ending a pause between tries by them makes no storm. */
static bool pause_thread(struct shipper *shipper, unsigned int ms)
{
	struct timespec deadline = deadline_in(ms);
	bool stopping;

	pthread_mutex_lock(&shipper->lock);
	while (!shipper->kicked && !shipper->stopping)
		if (pthread_cond_clockwait(&shipper->wake, &shipper->lock, CLOCK_MONOTONIC,
					   &deadline))
			break;
	shipper->kicked = false;
	shipper->looks++;
	shipper->round_ms = now_ms();
	stopping = shipper->stopping;
	pthread_mutex_unlock(&shipper->lock);
	return !stopping;
}

/* Half to all of the doubling delay, so that a fleet does not come back in step. */
static unsigned int backoff_ms(unsigned int failures)
{
	unsigned int delay = BACKOFF_MIN_MS, i, random = 0;

	for (i = 1; i < failures && delay < BACKOFF_MAX_MS; i++)
		delay *= 2;
	if (delay > BACKOFF_MAX_MS)
		delay = BACKOFF_MAX_MS;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	return delay / 2 + random % (delay / 2 + 1);
}

static void report(struct shipper *shipper, const char *what, const char *error)
{
	char text[512];
	uint64_t suppressed;

	if (log_gate_open(&shipper->gate, LOG_INTERVAL_S, &suppressed))
		log_warn(what, "error=%s not_logged=%llu", log_quote(text, sizeof(text), error),
			 (unsigned long long)suppressed);
}

static bool spool_failed(struct shipper *shipper, const char *action, const char *name, int err)
{
	char error[256];

	snprintf(error, sizeof(error), "%s %s: %s", action, name, strerror(-err));
	report(shipper, "the spool does not work", error);
	set_state(shipper, SHIPPER_SPOOL, error);
	return false;
}

/* What can't even be put aside is passed over: it must not hold up those behind it. */
static bool put_aside(struct shipper *shipper, const char *name, const char *reason)
{
	char text[256];
	int err = spool_put_aside(shipper->spool, name, reason);

	if (err)
		spool_skip(shipper->spool, name);
	else
		log_error("a spooled window was put aside", "file=%s reason=%s", name,
			  log_quote(text, sizeof(text), reason));
	return err ? spool_failed(shipper, "put aside", name, err) : true;
}

/* A disk may fail for a moment, and a window that is passed over too early is lost. */
static bool unreadable(struct shipper *shipper, const char *name, int err)
{
	char reason[128];

	if (err == -ENOENT)
		return true; /* somebody took it */
	if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return spool_failed(shipper, "read", name, err);
	if (strcmp(shipper->unreadable, name)) {
		snprintf(shipper->unreadable, sizeof(shipper->unreadable), "%s", name);
		shipper->unreadable_tries = 0;
	}
	if (err != -EACCES && err != -EPERM && ++shipper->unreadable_tries < READ_TRIES)
		return spool_failed(shipper, "read", name, err);
	snprintf(reason, sizeof(reason), "can't be read: %s", strerror(-err));
	return put_aside(shipper, name, reason);
}

static void settled(struct shipper *shipper)
{
	pthread_mutex_lock(&shipper->lock);
	shipper->status.last_success_us = wall_us();
	pthread_mutex_unlock(&shipper->lock);
	set_state(shipper, SHIPPER_APPLYING, "");
}

/* One file; false: pause before the next try. */
static bool ship(struct shipper *shipper, const char *name)
{
	_cleanup_(spool_reader_free) struct spool_reader *reader = NULL;
	const char *reason = "";
	uint64_t sequence;
	int err;

	err = spool_reader_new(&reader, shipper->spool, name, &reason);
	if (err == -EBADMSG)
		return put_aside(shipper, name, reason);
	if (err)
		return unreadable(shipper, name, err);
	sequence = spool_reader_header(reader)->sequence;
	if (!sequence || sequence > INT64_MAX)
		return put_aside(shipper, name, "sequence out of range");
	switch (store_apply(shipper->store, reader)) {
	case STORE_ACCEPTED:
	case STORE_DUPLICATE:
		err = spool_remove(shipper->spool, name);
		if (err && err != -ENOENT)
			return spool_failed(shipper, "remove", name, err);
		settled(shipper);
		return true;
	case STORE_OVERLAP:
		return put_aside(shipper, name, store_error(shipper->store));
	case STORE_SCHEMA:
		report(shipper, "the database's schema does not fit", store_error(shipper->store));
		set_state(shipper, SHIPPER_SCHEMA, store_error(shipper->store));
		return false;
	case STORE_DENIED:
		report(shipper, "the database denies access", store_error(shipper->store));
		set_state(shipper, SHIPPER_DENIED, store_error(shipper->store));
		return false;
	case STORE_RETRY:
		break;
	}
	report(shipper, "a window could not be applied, it is tried again",
	       store_error(shipper->store));
	set_state(shipper, SHIPPER_RETRYING, store_error(shipper->store));
	return false;
}

static void report_merging(struct shipper *shipper, const struct spool_shrunk *shrunk)
{
	uint64_t suppressed;

	if (shrunk->files)
		log_info("waiting windows were merged", "files=%llu freed_bytes=%llu bytes=%llu",
			 (unsigned long long)shrunk->files, (unsigned long long)shrunk->bytes,
			 (unsigned long long)shrunk->left);
	if (shrunk->over && log_gate_open(&shipper->limit_gate, LOG_INTERVAL_S, &suppressed))
		log_warn("the spool is beyond its limit and can't be merged further, "
			 "nothing is dropped",
			 "bytes=%llu limit=%llu not_logged=%llu", (unsigned long long)shrunk->left,
			 (unsigned long long)shipper->status.limit, (unsigned long long)suppressed);
	pthread_mutex_lock(&shipper->lock);
	shipper->status.merged += shrunk->files;
	shipper->status.over_limit = shrunk->over;
	pthread_mutex_unlock(&shipper->lock);
}

/* Merging needs room itself: where it fails the windows wait as they are. */
static void keep_within_limit(struct shipper *shipper)
{
	int64_t now = now_ms();
	struct spool_shrunk shrunk;
	uint64_t suppressed;
	int err;

	if (!shipper->status.limit || now < shipper->next_merge_ms)
		return;
	err = spool_shrink(shipper->spool, shipper->status.limit, &shipper->stopping, &shrunk);
	if (err && err != -ECANCELED &&
	    log_gate_open(&shipper->merge_gate, LOG_INTERVAL_S, &suppressed))
		log_warn("waiting windows can't be merged, they stay as they are",
			 "spool=%s error=\"%s\" not_logged=%llu", spool_path(shipper->spool),
			 strerror(-err), (unsigned long long)suppressed);
	report_merging(shipper, &shrunk);
	shipper->next_merge_ms = now_ms() + (err || shrunk.over ? MERGE_AGAIN_MS : MERGE_LOOK_MS);
}

static void *run_shipper(void *arg)
{
	struct shipper *shipper = arg;
	unsigned int wait_ms = 0;
	char name[SPOOL_NAME_BYTES];
	int err;

	while (pause_thread(shipper, wait_ms)) {
		keep_within_limit(shipper);
		err = spool_oldest(shipper->spool, name);
		if (err == 0) {
			set_state(shipper, SHIPPER_IDLE, "");
			wait_ms = IDLE_MS;
			continue;
		}
		if (err < 0) {
			spool_failed(shipper, "list", spool_path(shipper->spool), err);
		} else {
			if (shipper->status.state == SHIPPER_IDLE)
				set_state(shipper, SHIPPER_APPLYING, NULL);
			if (ship(shipper, name)) {
				wait_ms = 0;
				continue;
			}
		}
		wait_ms = backoff_ms(shipper->status.failures);
	}
	return NULL;
}

int shipper_new(struct shipper **ret, struct spool *spool, struct store *store, uint64_t limit)
{
	_cleanup_free_ struct shipper *shipper = calloc(1, sizeof(*shipper));
	int err;

	if (!shipper)
		return -ENOMEM;
	shipper->spool = spool;
	shipper->store = store;
	shipper->status.since_us = wall_us();
	shipper->round_ms = now_ms();
	shipper->status.limit = limit;
	pthread_mutex_init(&shipper->lock, NULL);
	pthread_cond_init(&shipper->wake, NULL);
	pthread_cond_init(&shipper->changed, NULL);
	err = pthread_create(&shipper->thread, NULL, run_shipper, shipper);
	if (err)
		return -err;
	*ret = TAKE_PTR(shipper);
	return 0;
}

void shipper_kick(struct shipper *shipper)
{
	pthread_mutex_lock(&shipper->lock);
	shipper->kicked = true;
	pthread_cond_signal(&shipper->wake);
	pthread_mutex_unlock(&shipper->lock);
}

bool shipper_flush(struct shipper *shipper, unsigned int timeout_ms)
{
	struct timespec deadline = deadline_in(timeout_ms);
	uint64_t look;
	bool empty;

	pthread_mutex_lock(&shipper->lock);
	/* a look that began before this call may have missed the newest file */
	look = shipper->looks;
	shipper->kicked = true;
	pthread_cond_signal(&shipper->wake);
	while (shipper->empty_look <= look)
		if (pthread_cond_clockwait(&shipper->changed, &shipper->lock, CLOCK_MONOTONIC,
					   &deadline))
			break;
	empty = shipper->empty_look > look;
	pthread_mutex_unlock(&shipper->lock);
	return empty;
}

void shipper_status(struct shipper *shipper, struct shipper_status *ret)
{
	struct spool_stats stats = {0};

	if (spool_stats(shipper->spool, &stats))
		stats = (struct spool_stats){0};
	pthread_mutex_lock(&shipper->lock);
	*ret = shipper->status;
	pthread_mutex_unlock(&shipper->lock);
	ret->waiting = stats.files;
	ret->waiting_bytes = stats.bytes;
	ret->put_aside = stats.bad_files;
}

unsigned int shipper_silent_s(struct shipper *shipper)
{
	int64_t since;

	pthread_mutex_lock(&shipper->lock);
	since = now_ms() - shipper->round_ms;
	pthread_mutex_unlock(&shipper->lock);
	return (unsigned int)(since / 1000);
}

void shipper_free(struct shipper **ptr)
{
	struct shipper *shipper = *ptr;

	if (!shipper)
		return;
	pthread_mutex_lock(&shipper->lock);
	__atomic_store_n(&shipper->stopping, true, __ATOMIC_RELAXED); /* a merge looks unlocked */
	pthread_cond_signal(&shipper->wake);
	pthread_mutex_unlock(&shipper->lock);
	store_stop(shipper->store);
	pthread_join(shipper->thread, NULL);
	pthread_cond_destroy(&shipper->changed);
	pthread_cond_destroy(&shipper->wake);
	pthread_mutex_destroy(&shipper->lock);
	free(shipper);
	*ptr = NULL;
}
