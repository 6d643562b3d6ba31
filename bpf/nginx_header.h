/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Finds Docker-Content-Digest in the headers that nginx sent: a list of parts of 20 elements. Three
 * parts are looked at, then the pull counts with an unknown digest.
 */
#ifndef PULLTAP_NGINX_HEADER_H
#define PULLTAP_NGINX_HEADER_H

#include "digest.h"

static __always_inline bool names_digest(__u64 key, __u64 length)
{
	__u64 text[3] = {};

	return length == 21 && !bpf_probe_read_user(text, 21, (void *)key) && is_digest_name(text);
}

/*
 * Looks through count elements in s->nginx, each of stride words. Returns a digest_result;
 * DIGEST_ABSENT means go on. Global: verified once and by itself.
 */
__noinline int search_elements(struct scratch *s, __u32 count, __u32 stride)
{
	__u32 i;

	if (!s)
		return DIGEST_UNREAD;
	for (i = 0; i < NGINX_ELEMENTS_MAX && i < count; i++) {
		__u64 at = at_most(i * stride, NGINX_REQUEST_BYTES / 8 - 8);
		const __u64 *element = s->nginx.words + at;

		if (!element[0] || !names_digest(element[NGINX_ELEMENT_KEY / 8 + 1],
						 element[NGINX_ELEMENT_KEY / 8]))
			continue;
		return read_digest(s, element[NGINX_ELEMENT_VALUE / 8 + 1],
				   element[NGINX_ELEMENT_VALUE / 8]);
	}
	return DIGEST_ABSENT;
}

/* part: elements, their number, the next part. size is that of an element, 48 or 56. */
static __always_inline long read_elements(struct scratch *s, const __u64 part[3], __u64 size)
{
	__u64 bytes = at_most(part[1], NGINX_ELEMENTS_MAX) * size;

	bytes = at_most(bytes, NGINX_ELEMENTS_MAX * NGINX_ELEMENT_BYTES_123);
	return bytes ? bpf_probe_read_user(s->nginx.words, bytes, (void *)part[0]) : 0;
}

static __always_inline int find_nginx_digest(struct scratch *s, __u64 part[3], __u64 size)
{
	int i, rc;

	for (i = 0; i < NGINX_PARTS_MAX; i++) {
		if (read_elements(s, part, size))
			return DIGEST_UNREAD;
		rc = search_elements(s, (__u32)part[1], (__u32)size / 8);
		if (rc != DIGEST_ABSENT)
			return rc;
		if (!part[2])
			return DIGEST_ABSENT;
		if (bpf_probe_read_user(part, NGINX_PART_BYTES, (void *)part[2]))
			return DIGEST_UNREAD;
	}
	return DIGEST_UNREAD;
}

#endif
