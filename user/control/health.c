/* SPDX-License-Identifier: MIT */
#include "control/health.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "control/status_file.h"

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

static const char *text(const json_t *status, const char *section, const char *key)
{
	return json_string_value(json_object_get(json_object_get(status, section), key));
}

/* Without the right to signal it (EPERM) it runs all the same. */
static bool runs(const json_t *status)
{
	json_int_t pid = json_integer_value(json_object_get(status, "pid"));

	return pid > 0 && pid <= INT_MAX && (!kill((pid_t)pid, 0) || errno == EPERM);
}

static int check_work(const char *path, char *ret_reason, size_t size)
{
	_cleanup_(cleanup_json) json_t *status = json_load_file(path, 0, NULL);
	const char *state = text(status, "shipping", "state");
	const char *error = text(status, "windows", "error");

	if (!state) {
		snprintf(ret_reason, size, "%s is not an agent's status", path);
	} else if (!runs(status)) {
		snprintf(ret_reason, size, "the agent that wrote %s has ended, no other is ready",
			 path);
	} else if (error) {
		snprintf(ret_reason, size, "windows can't be written: %s", error);
	} else if (strcmp(state, "idle") && strcmp(state, "applying")) {
		error = text(status, "shipping", "last_error");
		snprintf(ret_reason, size, "windows wait in the spool (%s): %s", state,
			 error && *error ? error : "no reason given");
	} else {
		return 0;
	}
	return -EAGAIN;
}

int health_check(const char *state_dir, bool ready, char *ret_reason, size_t size)
{
	char path[PATH_MAX];
	struct stat st;
	time_t age;

	snprintf(path, sizeof(path), "%s/" STATUS_FILE_NAME, state_dir);
	if (stat(path, &st)) {
		snprintf(ret_reason, size, "%s: %s: no agent has become ready here", path,
			 strerror(errno));
		return -EAGAIN;
	}
	/* a file from the future was written before the clock was set back */
	age = time(NULL) - st.st_mtime;
	if (age > HEALTH_FRESH_S) {
		snprintf(ret_reason, size, "the agent has not written %s for %lld s", path,
			 (long long)age);
		return -EAGAIN;
	}
	return ready ? check_work(path, ret_reason, size) : 0;
}
