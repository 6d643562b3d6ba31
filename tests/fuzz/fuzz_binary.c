/* SPDX-License-Identifier: MIT */
/*
 * binary_inspect() on hostile files. The first byte says what the rest is: a file as it is, or
 * edits (offset, length, bytes) of a well-formed small Go binary, which reach far deeper than a
 * fuzzer gets by itself.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "discover/binary_image.h"
#include "tests/unit/discover/go_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {
	"go.buildid",
	"internal/runtime/maps.(*Map).growToTable",
	"github.com/docker/distribution/registry/handlers.NewApp",
	"net/http.(*response).finishRequest",
	"net/http.(*http2responseWriter).handlerDone",
	"x/vendor/golang.org/x/net/http2.(*responseWriter).handlerDone",
	NULL,
};

static void edit(struct go_image *image, const uint8_t *data, size_t size)
{
	while (size >= 4) {
		size_t at = (size_t)(data[0] | data[1] << 8) % GO_IMAGE_BYTES;
		size_t n = 1 + data[2] % 8;

		data += 3;
		size -= 3;
		if (n > size)
			n = size;
		if (n > GO_IMAGE_BYTES - at)
			n = GO_IMAGE_BYTES - at;
		memcpy(image->bytes + at, data, n);
		data += n;
		size -= n;
	}
}

static void inspect(const uint8_t *bytes, size_t size)
{
	struct byte_source *source = NULL;
	struct binary binary = {0};

	if (byte_source_new_memory(bytes, size, &source))
		return;
	if (!binary_inspect_source(source, &binary)) {
		assert(binary.sites_count <= BINARY_SITES);
		assert(binary.sites_count || binary.refusal[0]);
		assert(memchr(binary.refusal, 0, sizeof(binary.refusal)));
		for (unsigned int i = 0; i < binary.sites_count; i++) {
			/* the kernel would put a breakpoint there */
			assert(binary.sites[i].file_offset < size);
			assert(memchr(binary.sites[i].symbol, 0, sizeof(binary.sites[i].symbol)));
		}
	}
	byte_source_free(&source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t magics[] = {GO_IMAGE_1_2, GO_IMAGE_1_16, GO_IMAGE_1_18,
					  GO_IMAGE_1_20};
	static struct go_image image;

	if (!size)
		return 0;
	if (data[0] & 128) {
		inspect(data + 1, size - 1);
		return 0;
	}
	image.magic = magics[data[0] & 3];
	image.prologue = data[0] & 4 ? GO_IMAGE_OLD_PROLOGUE : GO_IMAGE_PROLOGUE;
	image.names = names;
	image.zero_text = data[0] & 8;
	image.module = data[0] & 16;
	image.relocated = data[0] & 32;
	image.version = data[0] & 64 ? "go1.27 X:mapsplitgroup" : NULL;
	go_image_build(&image);
	edit(&image, data + 1, size - 1);
	inspect(image.bytes, sizeof(image.bytes));
	return 0;
}
