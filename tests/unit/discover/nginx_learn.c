/* SPDX-License-Identifier: MIT */
/* nginx's layout out of a request's memory: of each age and protocol, and of what only looks so. */
#include "discover/nginx_learn.h"

#include <errno.h>
#include <string.h>

#include "../../../bpf/nginx_layout.h"
#include "nginx_image.h"
#include "test.h"

#define ADDRESS 0x5500aa1000
#define POOL 0x5500aa0000
#define LINE 0x5500bb0010
#define TARGET_BYTES 23

struct shape {
	uint16_t headers_in, headers_out, status, method;
	uint32_t element, version;
	bool many_headers; /* the list has more than one part */
};

static const struct shape shapes[] = {
	{104, 536, 648, 976, 48, 1001, false}, {104, 472, 584, 848, 56, 1000, false},
	{104, 528, 584, 872, 48, 1001, false}, /* before there were trailers */
	{104, 536, 648, 976, 48, 2000, false}, {112, 600, 712, 1104, 56, 3000, true},
};

static void put_list(struct pt_sample *sample, unsigned int at, const struct shape *shape,
		     unsigned int room)
{
	uint64_t *list = (uint64_t *)sample->words + at / 8;

	list[0] = shape->many_headers ? 0x5500cc0000 : ADDRESS + at + 8;
	list[NGINX_LIST_ELEMENTS / 8] = 0x5500cc1000;
	list[NGINX_LIST_COUNT / 8] = 3;
	list[NGINX_LIST_NEXT / 8] = shape->many_headers ? 0x5500cc0000 : 0;
	list[NGINX_LIST_SIZE / 8] = shape->element;
	list[NGINX_LIST_ROOM / 8] = room;
	list[NGINX_LIST_POOL / 8] = POOL;
}

static struct pt_sample make(const struct shape *shape)
{
	struct pt_sample sample = {.address = ADDRESS};
	uint64_t *words = (uint64_t *)sample.words, *method = words + shape->method / 8;
	bool made = shape->version >= 2000;

	words[0] = NGINX_SIGNATURE;
	words[1] = 0x5500dd0000;
	put_list(&sample, shape->headers_in, shape, 20);
	put_list(&sample, shape->headers_out, shape, 20);
	if (shape->status == shape->headers_out + 2 * NGINX_LIST_BYTES)
		put_list(&sample, shape->headers_out + NGINX_LIST_BYTES, shape, 4);
	words[shape->status / 8] = 200;
	method[0] = NGINX_METHOD_GET;
	method[1] = shape->version;
	method[2] = 4 + TARGET_BYTES + 9; /* the line */
	method[3] = LINE;
	method[4] = method[10] = TARGET_BYTES; /* what became of the target, and the target */
	method[5] = method[11] = made ? 0x5500ee0000 : LINE + 4;
	method[12] = 3;
	method[13] = made ? 0x400100 : LINE;
	method[14] = 8;
	method[15] = made ? 0x400000 : LINE + 4 + TARGET_BYTES + 1;
	return sample;
}

static int learn(const struct shape *shape, const struct pt_sample *sample,
		 struct pt_nginx_layout *ret)
{
	static struct nginx_image image;

	image = (struct nginx_image){.headers_in = shape->headers_in,
				     .headers_out = shape->headers_out,
				     .status = shape->status,
				     .method = shape->method};
	nginx_image_build(&image);
	return nginx_learn(sample, image.bytes + NGINX_IMAGE_HOOK, 256, ret);
}

static void assert_is(const struct pt_nginx_layout *layout, const struct shape *shape)
{
	assert_int_equal(layout->headers_out, shape->headers_out);
	assert_int_equal(layout->status, shape->status);
	assert_int_equal(layout->method, shape->method);
	assert_int_equal(layout->size, shape->method + NGINX_METHOD_BYTES);
	assert_int_equal(layout->headers_in, shape->headers_in);
	assert_int_equal(layout->sent, 72);
	assert_int_equal(layout->addr_text, 120);
	assert_int_equal(layout->content_type, 0);
}

#define EACH(shape)                                                                                \
	for (const struct shape *shape = shapes;                                                   \
	     shape < shapes + sizeof(shapes) / sizeof(*shapes); shape++)

static void request_of_each_age_and_protocol_tells_the_layout(void **state)
{
	(void)state;
	EACH(shape)
	{
		struct pt_sample sample = make(shape);
		struct pt_nginx_layout layout = {0};

		assert_int_equal(learn(shape, &sample, &layout), 0);
		assert_is(&layout, shape);
		sample.words[shape->method / 8] = NGINX_METHOD_HEAD;
		sample.words[shape->method / 8 + 2]++;
		sample.words[shape->method / 8 + 12]++;
		if (shape->version < 2000) {
			sample.words[shape->method / 8 + 11]++;
			sample.words[shape->method / 8 + 15]++;
		}
		assert_int_equal(learn(shape, &sample, &layout), 0);
		assert_is(&layout, shape);
	}
}

static void request_that_is_not_whole_tells_nothing(void **state)
{
	static const struct {
		unsigned int from_method;
		uint64_t value;
	} spoils[] = {{0, NGINX_METHOD_PUT},
		      {0, 6},
		      {0, 0},
		      {1, 9},
		      {1, 1002},
		      {2, 5},
		      {3, 0},
		      {10, 0},
		      {11, 0},
		      {12, 4},
		      {13, 0},
		      {14, 3},
		      {15, 0}};

	(void)state;
	EACH(shape)
	{
		struct pt_nginx_layout layout = {0};
		struct pt_sample sample;

		for (unsigned int i = 0; i < sizeof(spoils) / sizeof(*spoils); i++) {
			sample = make(shape);
			sample.words[shape->method / 8 + spoils[i].from_method] = spoils[i].value;
			assert_int_equal(learn(shape, &sample, &layout), -EAGAIN);
		}
		sample = make(shape);
		sample.words[shape->status / 8] = 0; /* nothing was decided */
		assert_int_equal(learn(shape, &sample, &layout), -EAGAIN);
		sample.words[shape->status / 8] = 600;
		assert_int_equal(learn(shape, &sample, &layout), -EAGAIN);
		sample = make(shape);
		sample.words[0]++;
		assert_int_equal(learn(shape, &sample, &layout), -EAGAIN);
		memset(&sample, 0, sizeof(sample));
		assert_int_equal(learn(shape, &sample, &layout), -EAGAIN);
	}
}

static void code_that_uses_other_offsets_confirms_nothing(void **state)
{
	struct pt_sample sample = make(&shapes[0]);
	struct pt_nginx_layout layout = {0};
	struct shape other = shapes[0];

	(void)state;
	other.status += 8;
	assert_int_equal(learn(&other, &sample, &layout), -EAGAIN);
	other = shapes[0];
	other.method += 8;
	assert_int_equal(learn(&other, &sample, &layout), -EAGAIN);
}

static void two_places_for_one_thing_are_none(void **state)
{
	struct pt_nginx_layout layout = {0};
	struct pt_sample sample;

	(void)state;
	sample = make(&shapes[0]);
	memcpy(sample.words + 1200 / 8, sample.words + 976 / 8, 128);
	assert_int_equal(learn(&shapes[0], &sample, &layout), -EAGAIN);
}

static void clients_headers_that_are_not_there_stay_unknown(void **state)
{
	struct pt_sample sample = make(&shapes[0]);
	struct pt_nginx_layout layout = {0};

	(void)state;
	sample.words[(104 + NGINX_LIST_POOL) / 8] += 8;
	assert_int_equal(learn(&shapes[0], &sample, &layout), 0);
	assert_int_equal(layout.headers_in, 0);
	sample.words[(104 + NGINX_LIST_SIZE) / 8] = 0;
	assert_int_equal(learn(&shapes[0], &sample, &layout), 0);
	assert_int_equal(layout.headers_in, 0);
}

static void any_word_that_is_another_gives_the_same_or_nothing(void **state)
{
	(void)state;
	EACH(shape)
	{
		for (unsigned int i = 0; i < PT_SAMPLE_WORDS; i++) {
			struct pt_sample sample = make(shape);
			struct pt_nginx_layout layout = {0};

			sample.words[i] += 1ull << (i % 50);
			if (learn(shape, &sample, &layout))
				continue;
			layout.headers_in = shape->headers_in; /* or unknown */
			assert_is(&layout, shape);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_of_each_age_and_protocol_tells_the_layout),
		cmocka_unit_test(request_that_is_not_whole_tells_nothing),
		cmocka_unit_test(code_that_uses_other_offsets_confirms_nothing),
		cmocka_unit_test(two_places_for_one_thing_are_none),
		cmocka_unit_test(clients_headers_that_are_not_there_stay_unknown),
		cmocka_unit_test(any_word_that_is_another_gives_the_same_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
