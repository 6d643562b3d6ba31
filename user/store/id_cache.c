/* SPDX-License-Identifier: MIT */
#include "store/id_cache.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKET 8

struct slot {
	struct id_key key;
	int64_t id; /* 0: free, and so are those behind it */
};

struct id_cache {
	struct slot *slots;
	uint64_t bucket_mask;
	uint8_t secret[XXH3_SECRET_SIZE_MIN + 56]; /* 192, the library's own default size */
};

int id_cache_new(struct id_cache **ret, unsigned int entries)
{
	_cleanup_free_ struct id_cache *cache = calloc(1, sizeof(*cache));
	uint64_t buckets = 1;

	if (!cache)
		return -ENOMEM;
	if (getrandom(cache->secret, sizeof(cache->secret), 0) != (ssize_t)sizeof(cache->secret))
		return errno ? -errno : -EIO;
	/* twice the room: buckets fill unevenly, and a full one forgets names still in use */
	while (buckets * BUCKET < 2ull * entries)
		buckets *= 2;
	cache->slots = calloc(buckets * BUCKET, sizeof(*cache->slots));
	if (!cache->slots)
		return -ENOMEM;
	cache->bucket_mask = buckets - 1;
	*ret = TAKE_PTR(cache);
	return 0;
}

void id_cache_free(struct id_cache **cache)
{
	if (!*cache)
		return;
	free((*cache)->slots);
	free(*cache);
	*cache = NULL;
}

struct id_key id_cache_key(const struct id_cache *cache, enum id_kind kind,
			   const struct window_text *registry, const struct window_text *repository,
			   const void *name, uint16_t name_length)
{
	/* Lengths first: no two lists of parts make the same bytes. */
	uint16_t head[4] = {(uint16_t)kind, registry->length, repository->length, name_length};
	XXH3_state_t state;
	XXH128_hash_t hash;

	XXH3_128bits_reset_withSecret(&state, cache->secret, sizeof(cache->secret));
	XXH3_128bits_update(&state, head, sizeof(head));
	XXH3_128bits_update(&state, registry->data, registry->length);
	XXH3_128bits_update(&state, repository->data, repository->length);
	XXH3_128bits_update(&state, name, name_length);
	hash = XXH3_128bits_digest(&state);
	return (struct id_key){.low = hash.low64, .high = hash.high64};
}

static struct slot *bucket_of(struct id_cache *cache, struct id_key key)
{
	return cache->slots + (key.high & cache->bucket_mask) * BUCKET;
}

static void move_to_front(struct slot *bucket, unsigned int at, struct slot slot)
{
	memmove(bucket + 1, bucket, at * sizeof(*bucket));
	bucket[0] = slot;
}

int64_t id_cache_get(struct id_cache *cache, struct id_key key)
{
	struct slot *bucket = bucket_of(cache, key);
	unsigned int i;

	for (i = 0; i < BUCKET && bucket[i].id; i++) {
		if (bucket[i].key.low != key.low || bucket[i].key.high != key.high)
			continue;
		move_to_front(bucket, i, bucket[i]);
		return bucket[0].id;
	}
	return 0;
}

void id_cache_put(struct id_cache *cache, struct id_key key, int64_t id)
{
	struct slot *bucket = bucket_of(cache, key);
	struct slot slot = {.key = key, .id = id};
	unsigned int i;

	for (i = 0; i < BUCKET - 1 && bucket[i].id; i++)
		if (bucket[i].key.low == key.low && bucket[i].key.high == key.high)
			break;
	move_to_front(bucket, i, slot);
}

void id_cache_clear(struct id_cache *cache)
{
	memset(cache->slots, 0, (cache->bucket_mask + 1) * BUCKET * sizeof(*cache->slots));
}
