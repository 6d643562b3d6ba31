/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Finds Docker-Content-Digest in the headers that nginx sent: a list of parts of 20 elements. Three
 * parts are looked at, then the pull counts with an unknown digest.
 */
#ifndef PULLTAP_NGINX_HEADER_H
#define PULLTAP_NGINX_HEADER_H

#include "digest.h"

#define DIGEST_NAME 21 /* bytes of "Docker-Content-Digest" */

/* Is s->header that name, in whatever case the upstream wrote it? */
static __always_inline bool names_digest(const struct scratch *s)
{
	const char *name = s->header + sizeof(s->header) - DIGEST_NAME - 1;
	const __u64 text[3] = {PT_LOAD64(name), PT_LOAD64(name + 8),
			       PT_LOAD32(name + 16) | (__u64)(__u8)name[20] << 32};

	return is_digest_name(text);
}

/*
 * Takes the value of a header if its name is the digest's. nginx writes what an upstream sent as
 * "name\0value\0" and both come with one read. Returns a digest_result; DIGEST_ABSENT: another
 * name.
 */
static __always_inline int take_header(struct scratch *s, const __u64 *element)
{
	__u64 name = element[NGINX_ELEMENT_KEY / 8 + 1];
	__u64 value = element[NGINX_ELEMENT_VALUE / 8 + 1];
	__u64 length = element[NGINX_ELEMENT_VALUE / 8];
	bool beside = value == name + DIGEST_NAME + 1 && length && length <= PT_DIGEST_MAX;
	__u64 bytes = DIGEST_NAME + (beside ? 1 + length : 0);

	bytes = at_most(bytes, DIGEST_NAME + 1 + PT_DIGEST_MAX);
	if (bpf_probe_read_user(s->header + sizeof(s->header) - DIGEST_NAME - 1, bytes,
				(void *)name))
		return DIGEST_UNREAD;
	if (names_digest(s))
		return beside ? take_digest(s, length) : read_digest(s, value, length);
	if (beside)
		clear_digest(s);
	return DIGEST_ABSENT;
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

		int rc;

		if (!element[0] || element[NGINX_ELEMENT_KEY / 8] != DIGEST_NAME)
			continue;
		rc = take_header(s, element);
		if (rc != DIGEST_ABSENT)
			return rc;
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
