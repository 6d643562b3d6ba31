/* SPDX-License-Identifier: MIT */
/*
 * Writes one window. Memory does not grow with the window: records go through one buffer and a
 * running hash. The first failure sticks, so that a caller may check only the commit.
 */
#include "window/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "window/spool_folder.h"
#include "window/spool_format.h"

#define BUFFER_BYTES 65536

_Static_assert(BUFFER_BYTES >= SPOOL_HEADER_BYTES + SPOOL_RECORD_MAX, "header and record fit");

struct spool_writer {
	struct spool *spool;
	int fd;
	int error;
	uint8_t agent[16];
	uint64_t sequence;
	uint64_t records;
	uint64_t record_bytes;
	XXH3_state_t *hash;
	size_t used;
	char temporary[SPOOL_NAME_BYTES];
	uint8_t buffer[BUFFER_BYTES];
};

/*
 * Is the window there already? Its file was synced before it was named, the name maybe not. What
 * just has its name must not pass for it, for then its counts would be cleared.
 */
static int confirm_existing(struct spool *spool, const struct spool_span *span)
{
	char name[SPOOL_NAME_BYTES];
	int err;

	spool_name_format(name, span);
	if (faccessat(spool->fd, name, F_OK, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (!spool_is_whole(spool, span)) {
		err = spool_put_aside(spool, name, "stood in the place of a window");
		return err == -ENOENT ? 0 : err; /* or the shipper was faster */
	}
	err = spool_sync_folder(spool->fd);
	return err ? err : -EEXIST;
}

int spool_writer_new(struct spool_writer **ret, struct spool *spool, const uint8_t agent[16],
		     uint64_t sequence)
{
	struct spool_span span = {.first = sequence, .last = sequence};
	int err;

	memcpy(span.agent, agent, sizeof(span.agent));
	err = confirm_existing(spool, &span);
	return err ? err : spool_writer_open(ret, spool, agent, sequence);
}

int spool_writer_open(struct spool_writer **ret, struct spool *spool, const uint8_t agent[16],
		      uint64_t sequence)
{
	_cleanup_(spool_writer_free) struct spool_writer *writer = NULL;

	assert(sequence > 0);
	writer = calloc(1, sizeof(*writer));
	if (!writer)
		return -ENOMEM;
	writer->fd = -1;
	writer->spool = spool;
	writer->sequence = sequence;
	memcpy(writer->agent, agent, sizeof(writer->agent));
	writer->hash = XXH3_createState();
	if (!writer->hash)
		return -ENOMEM;
	XXH3_64bits_reset(writer->hash);
	writer->fd = spool_temporary(spool, writer->temporary);
	if (writer->fd < 0)
		return writer->fd;
	/* The header's place; what it says is known at the end. */
	writer->used = SPOOL_HEADER_BYTES;
	*ret = TAKE_PTR(writer);
	return 0;
}

static int flush(struct spool_writer *writer)
{
	if (!writer->error)
		writer->error = spool_write_all(writer->fd, writer->buffer, writer->used);
	writer->used = 0;
	return writer->error;
}

int spool_writer_add(struct spool_writer *writer, const struct window_record *record)
{
	uint8_t *out;
	size_t bytes;

	if (writer->used + SPOOL_RECORD_MAX > sizeof(writer->buffer))
		(void)flush(writer);
	if (writer->error)
		return writer->error;
	out = writer->buffer + writer->used;
	bytes = spool_format_record(out, record);
	XXH3_64bits_update(writer->hash, out, bytes);
	writer->used += bytes;
	writer->record_bytes += bytes;
	writer->records++;
	return 0;
}

/* Ends the file with its checksum and then fills in the place the header was left. */
static int finish(struct spool_writer *writer, const struct window_header *header)
{
	uint8_t head[SPOOL_HEADER_BYTES], checksum[SPOOL_CHECKSUM_BYTES];
	int err;

	spool_format_header(head, header, writer->records, writer->record_bytes);
	spool_format_checksum(
		checksum, spool_format_seal(XXH3_64bits_digest(writer->hash), head, sizeof(head)));
	err = flush(writer);
	if (err)
		return err;
	err = spool_write_all(writer->fd, checksum, sizeof(checksum));
	if (err)
		return err;
	if (lseek(writer->fd, 0, SEEK_SET) < 0)
		return -errno;
	return spool_write_all(writer->fd, head, sizeof(head));
}

int spool_writer_commit(struct spool_writer *writer, const struct window_header *header)
{
	struct spool_span span = spool_span_of(header);
	char name[SPOOL_NAME_BYTES];
	int err;

	assert(!memcmp(header->agent, writer->agent, sizeof(writer->agent)));
	assert(header->sequence == writer->sequence);
	assert(header->merged && header->merged <= header->sequence);
	if (!writer->error)
		writer->error = finish(writer, header);
	if (writer->error)
		return writer->error;
	spool_name_format(name, &span);
	err = spool_publish(writer->spool, TAKE_FD(writer->fd), writer->temporary, name);
	/* Not surely on disk is not there. If it is being shipped already, the ledger knows. */
	if (err)
		(void)unlinkat(writer->spool->fd, name, 0);
	/* Committed or not, there is no temporary any more and nothing left to add to. */
	writer->error = err ? err : -EBADFD;
	return err;
}

void spool_writer_free(struct spool_writer **writer)
{
	struct spool_writer *w = *writer;

	if (!w)
		return;
	if (w->fd >= 0) {
		close(w->fd);
		(void)unlinkat(w->spool->fd, w->temporary, 0);
	}
	XXH3_freeState(w->hash);
	free(w);
	*writer = NULL;
}
