/* SPDX-License-Identifier: MIT */
/*
 * Names to identifiers, bounded: a table of 24-byte slots in buckets of eight, each bucket kept in
 * order of use, so that a new name takes the place of the one unused for longest. 131,072 entries
 * take 6 MiB, once. A name is known by a keyed 128-bit hash alone (the key is random per process:
 * whoever names images can't aim for a collision). Belongs to one thread. Pure.
 */
#ifndef PULLTAP_STORE_ID_CACHE_H
#define PULLTAP_STORE_ID_CACHE_H

#include <stdint.h>

#include "base/cleanup.h"
#include "window/window.h"

struct id_cache;

struct id_key {
	uint64_t low, high;
};

enum id_kind { ID_TAG = 1, ID_MANIFEST = 2 };

/* entries is rounded up to a power of two of at least 8. -ENOMEM, or -errno of getrandom. */
must_check int id_cache_new(struct id_cache **ret, unsigned int entries);
void id_cache_free(struct id_cache **cache);

/* name: a tag, or a digest as algorithm and bytes. Parts may hold any byte. */
struct id_key id_cache_key(const struct id_cache *cache, enum id_kind kind,
			   const struct window_text *registry, const struct window_text *repository,
			   const void *name, uint16_t name_length);

int64_t id_cache_get(struct id_cache *cache, struct id_key key); /* 0: not known */
void id_cache_put(struct id_cache *cache, struct id_key key, int64_t id);
void id_cache_clear(struct id_cache *cache);

#endif
