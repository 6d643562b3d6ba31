/* SPDX-License-Identifier: MIT */
#include "window/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "window/spool_folder.h"

/* uuid and newline; also longer than any sequence. */
#define STATE_TEXT_MAX 37

/*
 * Makes what is missing of path and opens its last part, which must not be a link. A folder is on
 * disk only when its parent is: without the fsync a power cut could take all windows with it.
 */
static int make_folders(const char *path)
{
	_cleanup_free_ char *parts = strdup(path);
	_cleanup_close_ int fd = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *rest = parts, *name;

	if (!parts)
		return -ENOMEM;
	if (fd < 0 || !*path)
		return -ENOENT;
	while ((name = strsep(&rest, "/"))) {
		int next, err;

		if (!*name)
			continue;
		if (!mkdirat(fd, name, 0700)) {
			err = spool_sync_folder(fd);
			if (err)
				return err;
		} else if (errno != EEXIST) {
			return -errno;
		}
		next = openat(fd, name,
			      O_PATH | O_DIRECTORY | O_CLOEXEC | (rest && *rest ? 0 : O_NOFOLLOW));
		if (next < 0)
			return -errno;
		close(fd);
		fd = next;
	}
	return spool_open_folder(fd, ".");
}

/* Reads a small state file as text. 1 and its bytes, 0 when there is none. */
static int read_state(struct spool *spool, const char *name, char text[STATE_TEXT_MAX + 2])
{
	_cleanup_close_ int fd =
		openat(spool->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	ssize_t n;

	text[0] = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	do {
		n = read(fd, text, STATE_TEXT_MAX + 1);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	text[n] = 0;
	return strlen(text) == (size_t)n ? 1 : -EUCLEAN;
}

static int write_state(struct spool *spool, const char *name, const char *text)
{
	char temporary[SPOOL_NAME_BYTES];
	int err, fd = spool_temporary(spool, temporary);

	if (fd < 0)
		return fd;
	err = spool_write_all(fd, text, strlen(text));
	if (err) {
		close(fd);
		(void)unlinkat(spool->fd, temporary, 0);
		return err;
	}
	return spool_publish(spool, fd, temporary, name);
}

static void uuid_format(char text[STATE_TEXT_MAX + 2], const uint8_t uuid[16])
{
	size_t n = 0;

	for (unsigned int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[n++] = '-';
		n += (size_t)sprintf(text + n, "%02x", uuid[i]);
	}
	memcpy(text + n, "\n", 2);
}

/* Strict: what uuid_format() writes and nothing else. */
static bool uuid_parse(const char *text, uint8_t ret[16])
{
	char again[STATE_TEXT_MAX + 2];
	const char *p = text;

	for (unsigned int i = 0; i < 16; i++) {
		if (*p == '-')
			p++;
		if (sscanf(p, "%2hhx", &ret[i]) != 1)
			return false;
		p += strnlen(p, 2);
	}
	uuid_format(again, ret);
	return !strcmp(text, again);
}

static bool sequence_parse(const char *text, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return !errno && !strcmp(end, "\n");
}

static int store_sequence(struct spool *spool, uint64_t sequence)
{
	char text[STATE_TEXT_MAX + 2];

	snprintf(text, sizeof(text), "%" PRIu64 "\n", sequence);
	return write_state(spool, "sequence", text);
}

static int new_stream(struct spool *spool)
{
	char text[STATE_TEXT_MAX + 2];
	int err;

	if (getrandom(spool->agent, sizeof(spool->agent), 0) != sizeof(spool->agent))
		return -EIO;
	spool->agent[6] = (spool->agent[6] & 0x0f) | 0x40; /* version 4, RFC 9562 */
	spool->agent[8] = (spool->agent[8] & 0x3f) | 0x80;
	spool->sequence = 0;
	/* In this order, so that a uuid never stands beside another stream's sequence. */
	if (unlinkat(spool->fd, "agent", 0) && errno != ENOENT)
		return -errno;
	err = store_sequence(spool, 0);
	if (err)
		return err;
	uuid_format(text, spool->agent);
	return write_state(spool, "agent", text);
}

static int load_stream(struct spool *spool)
{
	char agent[STATE_TEXT_MAX + 2], sequence[STATE_TEXT_MAX + 2];
	int has_agent = read_state(spool, "agent", agent);
	int has_sequence = read_state(spool, "sequence", sequence);

	if (has_agent < 0 || has_sequence < 0)
		return has_agent < 0 ? has_agent : has_sequence;
	if ((has_agent && !uuid_parse(agent, spool->agent)) ||
	    (has_sequence && !sequence_parse(sequence, &spool->sequence)))
		return -EUCLEAN;
	return has_agent && has_sequence ? 0 : new_stream(spool);
}

/*
 * Removes temporaries and what was merged, and raises the sequence above this stream's waiting
 * windows. A mere name must not: it could leave no number to go on with.
 */
static int tidy(struct spool *spool)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct spool_span span;
	uint64_t noted = spool->sequence;
	const char *name;
	int err = spool_scan_open(spool->fd, &dir);

	if (err)
		return err;
	while ((name = spool_scan_next(dir, &err))) {
		if (!strncmp(name, SPOOL_TEMPORARY, strlen(SPOOL_TEMPORARY))) {
			if (unlinkat(spool->fd, name, 0) && errno != ENOENT)
				return -errno;
		} else if (spool_name_parse(name, &span) &&
			   !memcmp(span.agent, spool->agent, sizeof(span.agent)) &&
			   span.last > spool->sequence && span.last < INT64_MAX &&
			   spool_is_whole(spool, &span)) {
			spool->sequence = span.last;
		}
	}
	/* Noted now, because those windows may be gone when the folder is opened next. */
	if (!err && spool->sequence != noted)
		err = store_sequence(spool, spool->sequence);
	return err ? err : spool_drop_merged(spool);
}

int spool_new(struct spool **ret, const char *path)
{
	_cleanup_(spool_free) struct spool *spool = calloc(1, sizeof(*spool));
	int err;

	if (!spool)
		return -ENOMEM;
	spool->fd = -1;
	spool->path = strdup(path);
	if (!spool->path)
		return -ENOMEM;
	spool->fd = make_folders(path);
	if (spool->fd < 0)
		return spool->fd;
	err = load_stream(spool);
	if (!err)
		err = tidy(spool);
	if (err)
		return err;
	*ret = TAKE_PTR(spool);
	return 0;
}

void spool_free(struct spool **spool)
{
	struct spool *s = *spool;

	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	spool_spans_free(&s->handed);
	free(s->batch);
	free(s->path);
	free(s);
	*spool = NULL;
}

const char *spool_path(const struct spool *spool)
{
	return spool->path;
}

const uint8_t *spool_agent(const struct spool *spool)
{
	return spool->agent;
}

uint64_t spool_sequence(const struct spool *spool)
{
	return spool->sequence;
}

int spool_reserve(struct spool *spool, uint64_t sequence)
{
	int err;

	if (sequence <= spool->sequence)
		return 0;
	err = store_sequence(spool, sequence);
	if (err)
		return err;
	spool->sequence = sequence;
	return 0;
}
