/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Method and request target of a request, from the registry's memory to the scratch buffer.
 */
#ifndef PULLTAP_REQUEST_H
#define PULLTAP_REQUEST_H

#include "hit.h"

enum pt_method { PT_METHOD_OTHER, PT_METHOD_GET, PT_METHOD_HEAD, PT_METHOD_PUT, PT_METHOD_DELETE };

/* Servers read heads of 1 MiB at most (Go) or less, unless they are told otherwise. */
#define METHOD_LENGTH_MAX (16u << 20)

/* A method's text as a little-endian word, zeroes behind it. */
static __always_inline __u32 method_of_word(__u64 word)
{
	if (word == 0x544547) /* "GET" */
		return PT_METHOD_GET;
	if (word == 0x44414548) /* "HEAD" */
		return PT_METHOD_HEAD;
	if (word == 0x545550) /* "PUT" */
		return PT_METHOD_PUT;
	if (word == 0x4554454c4544) /* "DELETE" */
		return PT_METHOD_DELETE;
	return PT_METHOD_OTHER;
}

/*
 * Reads method and request target, each {address, length}, into s. In HTTP/1 both are pieces of the
 * request line, one space apart, and come with one read; a read of user memory is what costs most
 * here. Returns 0 or the counter that the hit belongs to.
 */
static __always_inline __u32 read_request_line(struct scratch *s, const __u64 method[2],
					       const __u64 uri[2], __u32 *ret_method)
{
	__u64 method_length = method[1], uri_length = at_most(uri[1], PT_PATH_BYTES);
	__u64 start;

	/* the canary of a request; a client may send a method as long as the server reads heads */
	if (!method_length || method_length > METHOD_LENGTH_MAX)
		return LEDGER(lost_layout);
	*ret_method = PT_METHOD_OTHER;
	if (method_length > 6)
		return 0;
	method_length = at_most(method_length, 6);
	start = at_most(7 - method_length, 6); /* the byte before the path is the space */
	if (uri[0] == method[0] + method_length + 1) {
		__u64 bytes = at_most(method_length + 1 + uri_length, PT_PATH_BYTES + 7);

		if (bpf_probe_read_user(s->method + start, bytes, (void *)method[0]))
			return LEDGER(lost_fault);
	} else if (bpf_probe_read_user(s->method + start, method_length, (void *)method[0]) ||
		   bpf_probe_read_user(s->path, uri_length, (void *)uri[0])) {
		return LEDGER(lost_fault);
	}
	s->path_length = (__u32)uri_length;
	*ret_method = method_of_word(*(__u64 *)s->method << 8 >> (64 - method_length * 8));
	return 0;
}

#endif
