/* SPDX-License-Identifier: MIT */
#include "discover/byte_source.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define CHUNK_BYTES (64u * 1024)
#define CHUNKS 16

/*
 * Bytes that one inspection may fetch from the file. A registry of 100 MB needs 20 to 40 MB; this
 * bounds a crafted file, whose tables lead back and forth, to a fraction of a second.
 */
#define BUDGET_BYTES (512ull * 1024 * 1024)

struct chunk {
	uint64_t index; /* offset / CHUNK_BYTES */
	uint64_t last_use;
	uint32_t size; /* shorter than CHUNK_BYTES at the end of the file; 0: empty slot */
};

struct byte_source {
	int fd;
	const uint8_t *memory; /* instead of fd */
	uint64_t memory_size;
	uint64_t budget;
	uint64_t uses;
	struct chunk chunks[CHUNKS];
	uint8_t *bytes; /* CHUNKS * CHUNK_BYTES */
};

int byte_source_new_file(int fd, struct byte_source **ret)
{
	struct byte_source *source = calloc(1, sizeof(*source));

	if (!source)
		return -ENOMEM;
	source->bytes = malloc((size_t)CHUNKS * CHUNK_BYTES);
	if (!source->bytes) {
		free(source);
		return -ENOMEM;
	}
	source->fd = fd;
	source->budget = BUDGET_BYTES;
	*ret = source;
	return 0;
}

int byte_source_new_memory(const void *bytes, uint64_t size, struct byte_source **ret)
{
	struct byte_source *source = calloc(1, sizeof(*source));

	if (!source)
		return -ENOMEM;
	source->fd = -1;
	source->memory = bytes;
	source->memory_size = size;
	source->budget = BUDGET_BYTES;
	*ret = source;
	return 0;
}

void byte_source_free(struct byte_source **source)
{
	if (!*source)
		return;
	free((*source)->bytes);
	free(*source);
	*source = NULL;
}

static int chunk_fill(struct byte_source *source, unsigned int slot, uint64_t index)
{
	struct chunk *chunk = &source->chunks[slot];
	uint8_t *bytes = source->bytes + (size_t)slot * CHUNK_BYTES;
	uint32_t size = 0;

	chunk->size = 0;
	while (size < CHUNK_BYTES) {
		ssize_t n = pread(source->fd, bytes + size, CHUNK_BYTES - size,
				  (off_t)(index * CHUNK_BYTES + size));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (uint32_t)n;
	}
	if (!size)
		return -ENODATA;
	chunk->index = index;
	chunk->size = size;
	return 0;
}

/* The slot that holds the chunk, filled from the file over the least recently used if need be. */
static int chunk_slot(struct byte_source *source, uint64_t index)
{
	unsigned int oldest = 0;
	int err;

	for (unsigned int i = 0; i < CHUNKS; i++) {
		if (source->chunks[i].size && source->chunks[i].index == index)
			return (int)i;
		if (source->chunks[i].last_use < source->chunks[oldest].last_use)
			oldest = i;
	}
	if (source->budget < CHUNK_BYTES)
		return -E2BIG;
	source->budget -= CHUNK_BYTES;
	err = chunk_fill(source, oldest, index);
	return err ? err : (int)oldest;
}

/* Points at the byte at offset and says how many follow it in one piece, until the next call. */
static int piece_at(struct byte_source *source, uint64_t offset, const uint8_t **ret,
		    uint64_t *ret_size)
{
	uint32_t within = (uint32_t)(offset % CHUNK_BYTES);
	int slot;

	if (source->memory) {
		if (offset >= source->memory_size)
			return -ENODATA;
		*ret = source->memory + offset;
		*ret_size = source->memory_size - offset;
		return 0;
	}
	if (offset > INT64_MAX - CHUNK_BYTES)
		return -ENODATA;
	slot = chunk_slot(source, offset / CHUNK_BYTES);
	if (slot < 0)
		return slot;
	source->chunks[slot].last_use = ++source->uses;
	if (within >= source->chunks[slot].size)
		return -ENODATA;
	*ret = source->bytes + (size_t)slot * CHUNK_BYTES + within;
	*ret_size = source->chunks[slot].size - within;
	return 0;
}

int byte_source_read(struct byte_source *source, uint64_t offset, void *ret, uint64_t size)
{
	uint8_t *out = ret;

	/* memory costs no pread, but a fuzzer's image may be read in circles just the same */
	if (source->memory) {
		if (source->budget < size)
			return -E2BIG;
		source->budget -= size;
	}
	while (size) {
		const uint8_t *piece = NULL;
		uint64_t n = 0;
		int err = piece_at(source, offset, &piece, &n);

		if (err)
			return err;
		if (n > size)
			n = size;
		memcpy(out, piece, n);
		out += n;
		offset += n;
		size -= n;
	}
	return 0;
}

int byte_source_string(struct byte_source *source, uint64_t offset, char *ret, unsigned int size)
{
	unsigned int length = 0;

	ret[0] = 0;
	while (length < size - 1) {
		const uint8_t *piece = NULL;
		const uint8_t *end;
		uint64_t n = 0;
		int err = piece_at(source, offset + length, &piece, &n);

		if (err)
			return err;
		if (n > size - 1 - length)
			n = size - 1 - length;
		end = memchr(piece, 0, n);
		if (end)
			n = (uint64_t)(end - piece);
		memcpy(ret + length, piece, n);
		length += (unsigned int)n;
		ret[length] = 0;
		if (end)
			break;
	}
	return (int)length;
}
