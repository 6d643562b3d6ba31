/* SPDX-License-Identifier: MIT */
/*
 * The file "ended": this boot of the machine, the stream, its last window and when that ended.
 * Drainer's thread. It is overwritten without an fsync: after a power cut it is another boot's
 * anyway. A failure leaves no file, and then the pause before the next window is judged by the
 * clock.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "window/spool_folder.h"

#define BOOT_ID_LENGTH 36
#define STREAM_LENGTH (BOOT_ID_LENGTH + 1 + 32)
#define TEXT_MAX 128

static int read_text(int folder, const char *path, char text[TEXT_MAX])
{
	_cleanup_close_ int fd =
		openat(folder, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_MAX - 1);

	if (n < 0)
		return -errno;
	text[n] = 0;
	return 0;
}

/* "<boot id> <agent>"; the agent as in a window's name. */
static bool stream_of_boot(char ret[STREAM_LENGTH + 1], const uint8_t agent[16])
{
	struct spool_span span = {.first = 1, .last = 1};
	char id[TEXT_MAX], name[SPOOL_NAME_BYTES];

	if (read_text(AT_FDCWD, "/proc/sys/kernel/random/boot_id", id) ||
	    strcspn(id, "\n") != BOOT_ID_LENGTH)
		return false;
	memcpy(span.agent, agent, sizeof(span.agent));
	spool_name_format(name, &span);
	snprintf(ret, STREAM_LENGTH + 1, "%.36s %.32s", id, strchr(name, '-') + 1);
	return true;
}

void spool_note_end(struct spool *spool, const uint8_t agent[16], struct spool_end end)
{
	_cleanup_close_ int fd = -1;
	char stream[STREAM_LENGTH + 1], text[TEXT_MAX];
	ssize_t length;

	if (!stream_of_boot(stream, agent))
		return;
	/* always of one length: what was there is overwritten as a whole */
	length = snprintf(text, sizeof(text), "%s %020" PRIu64 " %020" PRIu64 "\n", stream,
			  end.sequence, end.boot_ns);
	fd = openat(spool->fd, "ended", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		    0600);
	if (fd < 0 || pwrite(fd, text, (size_t)length, 0) != length)
		(void)unlinkat(spool->fd, "ended", 0);
}

struct spool_end spool_last_end(const struct spool *spool)
{
	char stream[STREAM_LENGTH + 1], text[TEXT_MAX], again[TEXT_MAX];
	struct spool_end end = {0};

	if (!stream_of_boot(stream, spool->agent) || read_text(spool->fd, "ended", text) ||
	    strncmp(text, stream, STREAM_LENGTH) ||
	    sscanf(text + STREAM_LENGTH, " %20" SCNu64 " %20" SCNu64, &end.sequence,
		   &end.boot_ns) != 2)
		return (struct spool_end){0};
	snprintf(again, sizeof(again), "%s %020" PRIu64 " %020" PRIu64 "\n", stream, end.sequence,
		 end.boot_ns);
	if (strcmp(text, again))
		memset(&end, 0, sizeof(end));
	return end;
}
