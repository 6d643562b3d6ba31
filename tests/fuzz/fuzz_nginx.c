/* SPDX-License-Identifier: MIT */
/*
 * binary_inspect() on edits (offset, length, bytes) of a well-formed small nginx. The first byte
 * says which.
 */
#include "tests/fuzz/binary.h"
#include "tests/unit/discover/nginx_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct nginx_image image;

	if (!size)
		return 0;
	image.headers_out = data[0] & 1 ? 536 : 520;
	image.status = image.headers_out + (data[0] & 2 ? 56 : 112);
	image.method = data[0] & 1 ? 976 : 944;
	image.relocated = data[0] & 4;
	image.request_uri = data[0] & 8 ? "request_urx" : NULL;
	image.hook = data[0] & 16 ? "ngx_http_close_request" : NULL;
	nginx_image_build(&image);
	fuzz_edit(image.bytes, sizeof(image.bytes), data + 1, size - 1);
	fuzz_inspect(image.bytes, sizeof(image.bytes));
	return 0;
}
