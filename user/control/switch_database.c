/* SPDX-License-Identifier: MIT */
#include "control/switch_database.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control/switch_word.h"
#include "store/pg.h"

/* The rows are read again after this time, in case a notification was lost with its session. */
#define READ_AGAIN_MS 10000
#define TIMEOUT_MS 5000
#define RETRY_S 1

#define SCOPE_NODE "node:"
#define SCOPE_REGISTRY "registry:"

struct switch_database {
	struct switchboard *board;
	struct pg *pg;
	char *node_scope;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards stopping */
	pthread_cond_t wake;
	bool stopping;
};

static int connect_database(struct switch_database *database)
{
	int rc;

	if (pg_connected(database->pg))
		return 0;
	rc = pg_connect(database->pg);
	/* listening comes first, so that no change falls between the two */
	rc = rc ?: pg_command(database->pg, "listen pulltap_feature_flag");
	return rc
		       ?: pg_prepare(database->pg, "flags",
				     "select scope, value, set_by from pulltap.feature_flag where "
				     "scope = 'fleet' or scope = $1::text or starts_with(scope, "
				     "'" SCOPE_REGISTRY "') order by scope");
}

/* What the rows say. Of a row that says nothing nobody knows what it means: then none is taken. */
static int take_rows(struct switch_database *database, const PGresult *result)
{
	const char *registries[PT_REGISTRIES];
	char who[64] = "", trouble[160];
	unsigned int count = 0;

	for (int i = 0; i < PQntuples(result); i++) {
		const char *scope = PQgetvalue(result, i, 0), *value = PQgetvalue(result, i, 1);
		bool off;

		if (switch_word_parse(value, strlen(value), &off)) {
			snprintf(trouble, sizeof(trouble), "the row %s says neither on nor off",
				 scope);
			switch_fail(database->board, OFF_DATABASE, trouble);
			return 0;
		}
		if (!off)
			continue;
		if (!strncmp(scope, SCOPE_REGISTRY, strlen(SCOPE_REGISTRY))) {
			if (count < PT_REGISTRIES)
				registries[count++] = scope + strlen(SCOPE_REGISTRY);
		} else if (!*who) {
			snprintf(who, sizeof(who), "%s, set by %s", scope,
				 PQgetvalue(result, i, 2));
		}
	}
	switch_say_registries(database->board, registries, count);
	switch_say(database->board, OFF_DATABASE, *who, *who ? who : "no row says off");
	return 0;
}

static int read_rows(struct switch_database *database)
{
	_cleanup_pgresult_ PGresult *result = NULL;
	struct pg_params params = {};
	int rc;

	pg_param_bytes(&params, database->node_scope, (int)strlen(database->node_scope));
	rc = pg_call(database->pg, "flags", &params, &result);
	pg_params_free(&params);
	return rc ?: take_rows(database, result);
}

/* Sleeps before the next try; false: stopping. */
static bool pause_thread(struct switch_database *database)
{
	struct timespec deadline;
	bool stopping;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += RETRY_S;
	pthread_mutex_lock(&database->lock);
	while (!database->stopping)
		if (pthread_cond_clockwait(&database->wake, &database->lock, CLOCK_MONOTONIC,
					   &deadline))
			break;
	stopping = database->stopping;
	pthread_mutex_unlock(&database->lock);
	return !stopping;
}

static void *run_database(void *context)
{
	struct switch_database *database = context;
	int rc;

	do {
		do {
			rc = connect_database(database);
			rc = rc ?: read_rows(database);
			if (!rc)
				rc = pg_wait_notification(database->pg, READ_AGAIN_MS);
		} while (rc >= 0);
		/* what failed may have left the session half prepared */
		pg_disconnect(database->pg);
		if (rc != -ECANCELED)
			switch_fail(database->board, OFF_DATABASE, pg_error(database->pg));
	} while (pause_thread(database));
	return NULL;
}

int switch_database_new(struct switch_database **ret, struct switchboard *board,
			const char *conninfo, const char *node)
{
	_cleanup_(switch_database_free) struct switch_database *database =
		calloc(1, sizeof(*database));
	int rc;

	if (!database)
		return -ENOMEM;
	database->board = board;
	pthread_mutex_init(&database->lock, NULL);
	pthread_cond_init(&database->wake, NULL);
	if (asprintf(&database->node_scope, SCOPE_NODE "%s", node) < 0) {
		database->node_scope = NULL;
		return -ENOMEM;
	}
	rc = pg_new(&database->pg, conninfo, TIMEOUT_MS);
	rc = rc ?: -pthread_create(&database->thread, NULL, run_database, database);
	if (rc)
		return rc;
	database->started = true;
	*ret = TAKE_PTR(database);
	return 0;
}

void switch_database_free(struct switch_database **ptr)
{
	struct switch_database *database = *ptr;

	if (!database)
		return;
	if (database->started) {
		pthread_mutex_lock(&database->lock);
		database->stopping = true;
		pthread_cond_signal(&database->wake);
		pthread_mutex_unlock(&database->lock);
		pg_stop(database->pg);
		pthread_join(database->thread, NULL);
	}
	pg_free(&database->pg);
	free(database->node_scope);
	pthread_cond_destroy(&database->wake);
	pthread_mutex_destroy(&database->lock);
	free(database);
	*ptr = NULL;
}
