/* SPDX-License-Identifier: MIT */
/* nginx_learn() on any memory: what it takes for a layout lies within what is read of a request. */
#include <stdlib.h>

#include "bpf/nginx_layout.h"
#include "discover/nginx_learn.h"
#include "tests/unit/discover/nginx_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct nginx_image image = {
		.headers_in = 104, .headers_out = 536, .status = 648, .method = 976};
	struct pt_nginx_layout layout = {0};
	struct pt_sample sample = {0};

	if (!image.bytes[0])
		nginx_image_build(&image);
	memcpy(&sample, data, size < sizeof(sample) ? size : sizeof(sample));
	if (!nginx_learn(&sample, image.bytes + NGINX_IMAGE_HOOK, 256, &layout) &&
	    (layout.size > NGINX_REQUEST_BYTES ||
	     layout.method + NGINX_METHOD_BYTES > layout.size || layout.status >= layout.method ||
	     layout.headers_out >= layout.status || layout.headers_in >= layout.headers_out))
		abort();
	return 0;
}
