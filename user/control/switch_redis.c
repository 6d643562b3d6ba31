/* SPDX-License-Identifier: MIT */
#include "control/switch_redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "control/switch_word.h"

/* The key is read again after this time: whoever sets it need not tell the channel. */
#define READ_AGAIN_MS 1000
#define TIMEOUT_S 2
#define RETRY_MS 1000

struct switch_redis_source {
	struct switchboard *board;
	struct switch_redis place;
	redisContext *asking;
	redisContext *listening; /* a connection that listens may ask nothing else */
	int stop_fd;
	bool started;
	pthread_t thread;
	char trouble[160];
	char who[64];
};

static void set_trouble(struct switch_redis_source *source, const char *action, const char *said)
{
	snprintf(source->trouble, sizeof(source->trouble), "%s: %s", action,
		 said && *said ? said : "no answer");
	source->trouble[strcspn(source->trouble, "\r\n")] = 0;
}

/* An answer that is no error, the caller's; NULL with the reason kept. */
static redisReply *command(struct switch_redis_source *source, redisContext *context, int count,
			   const char **words)
{
	redisReply *reply = redisCommandArgv(context, count, words, NULL);

	if (reply && reply->type != REDIS_REPLY_ERROR)
		return reply;
	set_trouble(source, words[0], reply ? reply->str : context->errstr);
	freeReplyObject(reply);
	return NULL;
}

static bool done(struct switch_redis_source *source, redisContext *context, int count,
		 const char **words)
{
	redisReply *reply = command(source, context, count, words);

	freeReplyObject(reply);
	return reply;
}

static bool log_in(struct switch_redis_source *source, redisContext *context)
{
	const struct switch_redis *place = &source->place;
	char number[16];

	if (place->password[0]) {
		const char *with_user[] = {"AUTH", place->user, place->password};
		const char *without[] = {"AUTH", place->password};

		if (!(place->user[0] ? done(source, context, 3, with_user)
				     : done(source, context, 2, without)))
			return false;
	}
	snprintf(number, sizeof(number), "%u", place->database);
	return !place->database || done(source, context, 2, (const char *[]){"SELECT", number});
}

static redisContext *open_connection(struct switch_redis_source *source)
{
	const struct switch_redis *place = &source->place;
	const struct timeval timeout = {.tv_sec = TIMEOUT_S};
	redisContext *context =
		place->socket[0] ? redisConnectUnixWithTimeout(place->socket, timeout)
				 : redisConnectWithTimeout(place->host, (int)place->port, timeout);

	if (!context || context->err) {
		set_trouble(source, "connect", context ? context->errstr : "out of memory");
	} else {
		redisSetTimeout(context, timeout);
		if (log_in(source, context))
			return context;
	}
	if (context)
		redisFree(context);
	return NULL;
}

static void close_connections(struct switch_redis_source *source)
{
	if (source->asking)
		redisFree(source->asking);
	if (source->listening)
		redisFree(source->listening);
	source->asking = source->listening = NULL;
}

static bool open_connections(struct switch_redis_source *source)
{
	if (source->asking)
		return true;
	source->asking = open_connection(source);
	if (source->asking)
		source->listening = open_connection(source);
	if (source->listening &&
	    done(source, source->listening, 2, (const char *[]){"SUBSCRIBE", source->place.key}))
		return true;
	close_connections(source);
	return false;
}

/* False when the connection is of no use any more. */
static bool read_key(struct switch_redis_source *source)
{
	redisReply *reply =
		command(source, source->asking, 2, (const char *[]){"GET", source->place.key});
	bool off = false;

	if (!reply)
		return false;
	/* no key says on, as no file does */
	if (reply->type == REDIS_REPLY_NIL ||
	    (reply->type == REDIS_REPLY_STRING &&
	     !switch_word_parse(reply->str, (size_t)reply->len, &off)))
		switch_say(source->board, OFF_REDIS, off, source->who);
	else
		switch_fail(source->board, OFF_REDIS, "the key says neither on nor off");
	freeReplyObject(reply);
	return true;
}

/* Until something is told or the time is over. False when the connection ended. */
static bool wait_told(struct switch_redis_source *source)
{
	struct pollfd fds[] = {{.fd = source->listening->fd, .events = POLLIN},
			       {.fd = source->stop_fd, .events = POLLIN}};
	void *reply = NULL;

	if (poll(fds, 2, READ_AGAIN_MS) < 0 || fds[1].revents || !fds[0].revents)
		return true;
	if (redisBufferRead(source->listening)) {
		set_trouble(source, "listen", source->listening->errstr);
		return false;
	}
	/* what is told does not matter: the key is read */
	do {
		freeReplyObject(reply);
		if (redisGetReplyFromReader(source->listening, &reply)) {
			set_trouble(source, "listen", source->listening->errstr);
			return false;
		}
	} while (reply);
	return true;
}

static bool is_stopped(const struct switch_redis_source *source, int wait_ms)
{
	struct pollfd stop = {.fd = source->stop_fd, .events = POLLIN};

	return poll(&stop, 1, wait_ms) > 0;
}

static void *run_redis(void *context)
{
	struct switch_redis_source *source = context;

	while (!is_stopped(source, 0)) {
		if (open_connections(source) && read_key(source) && wait_told(source))
			continue;
		close_connections(source);
		switch_fail(source->board, OFF_REDIS, source->trouble);
		if (is_stopped(source, RETRY_MS))
			break;
	}
	close_connections(source);
	return NULL;
}

int switch_redis_new(struct switch_redis_source **ret, struct switchboard *board, const char *url)
{
	_cleanup_(switch_redis_free) struct switch_redis_source *source =
		calloc(1, sizeof(*source));
	int rc;

	if (!source)
		return -ENOMEM;
	source->board = board;
	source->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (source->stop_fd < 0)
		return -errno;
	rc = switch_redis_parse(url, &source->place);
	if (rc)
		return rc;
	snprintf(source->who, sizeof(source->who), "key %.59s", source->place.key);
	rc = -pthread_create(&source->thread, NULL, run_redis, source);
	if (rc)
		return rc;
	source->started = true;
	*ret = TAKE_PTR(source);
	return 0;
}

void switch_redis_free(struct switch_redis_source **ptr)
{
	struct switch_redis_source *source = *ptr;

	if (!source)
		return;
	if (source->started) {
		uint64_t one = 1;

		if (write(source->stop_fd, &one, sizeof(one)) == sizeof(one))
			pthread_join(source->thread, NULL);
	}
	cleanup_close(&source->stop_fd);
	explicit_bzero(source->place.password, sizeof(source->place.password));
	free(source);
	*ptr = NULL;
}
