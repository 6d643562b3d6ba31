/* SPDX-License-Identifier: MIT */
/*
 * binary_inspect() on hostile files. The first byte says what the rest is: a file as it is, or
 * edits (offset, length, bytes) of a well-formed small Go binary, which reach far deeper than a
 * fuzzer gets by itself.
 */
#include <stddef.h>
#include <stdint.h>

#include "tests/fuzz/binary.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t magics[] = {GO_IMAGE_1_2, GO_IMAGE_1_16, GO_IMAGE_1_18,
					  GO_IMAGE_1_20};
	static struct go_image image;

	if (!size)
		return 0;
	if (data[0] & 128) {
		fuzz_inspect(data + 1, size - 1);
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
	fuzz_edit(image.bytes, GO_IMAGE_BYTES, data + 1, size - 1);
	fuzz_inspect(image.bytes, sizeof(image.bytes));
	return 0;
}
