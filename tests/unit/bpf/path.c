/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "path_reference.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SHA256 "sha256:" HEX64
#define SHA384 "sha384:" HEX64 "0123456789abcdef0123456789abcdef"
#define SHA512 "sha512:" HEX64 HEX64

static void compare(char *buffer, const char *target, size_t length)
{
	struct path_answer want;
	const char *differs = path_compare(buffer, target, length, &want);

	if (differs)
		fail_msg("%s differs for \"%.*s\" (%zu bytes)", differs, (int)length, target,
			 length);
}

/* The reference parser itself is held against answers written by hand. */
struct sample {
	const char *target, *name, *reference; /* name NULL: no manifest's path */
	bool is_digest;
};

static const struct sample samples[] = {
	{"/v2/a/manifests/t", "a", "t", false},
	{"/v2/library/nginx/manifests/latest", "library/nginx", "latest", false},
	{"/v2/a/b/c/d/e/f/g/h/i/j/k/manifests/t", "a/b/c/d/e/f/g/h/i/j/k", "t", false},
	/* digests */
	{"/v2/a/manifests/" SHA256, "a", SHA256, true},
	{"/v2/a/manifests/" SHA384, "a", SHA384, true},
	{"/v2/a/manifests/" SHA512, "a", SHA512, true},
	{"/v2/a/manifests/sha256%3A" HEX64, "a", SHA256, true},
	{"/v2/a/manifests/sha256%3a" HEX64, "a", SHA256, true},
	{"/v2/a/manifests/tarsum.v1+sha256:abc", "a", "tarsum.v1+sha256:abc", true},
	{"/v2/a/manifests/:", "a", ":", true},
	{"/v2/a/manifests/abcdefghijklmnopqrstuvw:", "a", "abcdefghijklmnopqrstuvw:", true},
	{"/v2/a/manifests/abcdefghijklmnopqrstuvwx:", "a", "abcdefghijklmnopqrstuvwx:", false},
	{"/v2/a/manifests/t?x=sha256:" HEX64, "a", "t", false},
	/* "manifests" and "v2" as parts of a name or as the reference */
	{"/v2/manifests/manifests/t", "manifests", "t", false},
	{"/v2/a/manifests/b/manifests/t", "a/manifests/b", "t", false},
	{"/v2/manifests/manifests/manifests", "manifests", "manifests", false},
	{"/v2/a/manifests/manifests", "a", "manifests", false},
	{"/v2/v2/manifests/v2", "v2", "v2", false},
	{"/v2/a/v2/b/manifests/t", "a/v2/b", "t", false},
	{"/v2/xmanifests/manifests/t", "xmanifests", "t", false},
	{"/v2/a/blobs/manifests/t", "a/blobs", "t", false},
	/* a prefix, and absolute-form targets */
	{"/registry/v2/a/manifests/t", "a", "t", false},
	{"/x/v2/v2/a/manifests/t", "v2/a", "t", false},
	{"/artifactory/api/docker/local/v2/a/b/manifests/t", "a/b", "t", false},
	{"http://reg.example:5000/v2/a/manifests/t", "a", "t", false},
	{"https://reg.example/p/v2/a/manifests/" SHA256 "?ns=docker.io", "a", SHA256, true},
	{"v2/v2/a/manifests/t", "a", "t", false},
	/* the query */
	{"/v2/a/manifests/t?", "a", "t", false},
	{"/v2/a/manifests/t?ns=docker.io", "a", "t", false},
	{"/v2/a/manifests/t?p=/v2/b/manifests/u", "a", "t", false},
	{"/v2/a/manifests/t?a?b%2F", "a", "t", false},
	{"?/v2/a/manifests/t", NULL, NULL, false},
	{"/v2/a/manifests?/t", NULL, NULL, false},
	{"/v2/a/manifests/?t", NULL, NULL, false},
	/* escapes */
	{"/v2/a%2Fb/manifests/t", "a/b", "t", false},
	{"/v2/a%2fb%2fmanifests%2ft", "a/b", "t", false},
	{"%2Fv2%2Fa%2Fmanifests%2Ft", "a", "t", false},
	{"/v2/a/manifests/t%3Fu", "a", "t?u", false},
	{"/v2/a/manifests/%2F", NULL, NULL, false},
	{"/v2/a/manifests/t%252Fu", "a", "t%2Fu", false},
	{"/v2/a/%6d%61nifests/t", "a", "t", false},
	{"/v2/a/manifests/t%", "a", "t%", false},
	{"/v2/a/manifests/t%4", "a", "t%4", false},
	{"/v2/a/manifests/t%41", "a", "tA", false},
	{"/v2/a/manifests/t%4?1", "a", "t%4", false},
	{"/v2/a/manifests/t%?41", "a", "t%", false},
	{"/v2/a/manifests/%zz", "a", "%zz", false},
	{"/v2/a/manifests/%4g%g4%%41", "a", "%4g%g4%A", false},
	{"/v2/a/manifests/%fF%Ff", "a", "\xff\xff", false},
	{"/v2/a/manifests/%@A%`a", "a", "%@A%`a", false},
	/* empty parts */
	{"/v2//manifests/t", NULL, NULL, false},
	{"/v2/manifests/t", NULL, NULL, false},
	{"/v2/a/manifests/", NULL, NULL, false},
	{"/v2/a/manifests", NULL, NULL, false},
	{"/v2/a//manifests/t", "a/", "t", false},
	{"/v2//a/manifests/t", "/a", "t", false},
	{"/v2/a/manifests//t", NULL, NULL, false},
	{"/v2///manifests/t", "/", "t", false},
	/* what a registry serves besides */
	{"", NULL, NULL, false},
	{"/", NULL, NULL, false},
	{"*", NULL, NULL, false},
	{"/v2/", NULL, NULL, false},
	{"/v2/_catalog", NULL, NULL, false},
	{"/v2/a/tags/list", NULL, NULL, false},
	{"/v2/a/blobs/" SHA256, NULL, NULL, false},
	{"/v2/a/referrers/" SHA256, NULL, NULL, false},
	{"/v2/a/blobs/uploads/2f1b?digest=" SHA256, NULL, NULL, false},
	{"/v2/a/manifests/t/", NULL, NULL, false},
	{"/v2/a/manifests/t/x", NULL, NULL, false},
	{"/v1/a/manifests/t", NULL, NULL, false},
	{"/V2/a/manifests/t", NULL, NULL, false},
	{"/v2/a/Manifests/t", NULL, NULL, false},
	{"/manifests/t", NULL, NULL, false},
	{"manifests/t", NULL, NULL, false},
	{"/v2a/manifests/t", NULL, NULL, false},
	/* bytes that are no ASCII */
	{"/v2/\xc3\xa9/manifests/\xff\x80", "\xc3\xa9", "\xff\x80", false},
	{"/v2/\xaf/manifests/t", "\xaf", "t", false}, /* '/' with the high bit */
	{"/v2/a/manifests\xaft", NULL, NULL, false},
	{"/v2/a/manifests/t\xbfu", "a", "t\xbfu", false}, /* '?' with the high bit */
	{"/v2/a/manifests/t\xa5"
	 "41",
	 "a",
	 "t\xa5"
	 "41",
	 false}, /* '%' with the high bit */
	{"/v2/a/manifests/t\xbau", "a", "t\xbau", false}, /* ':' with the high bit */
};

static void targets_are_taken_apart_as_written_by_hand(void **state)
{
	char *buffer = path_buffer_new();

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *s = &samples[i];
		struct path_answer want;

		path_reference_parse(s->target, strlen(s->target), &want);
		assert_int_equal(want.kind, s->name ? PT_PATH_MANIFEST : PT_PATH_OTHER);
		if (s->name) {
			assert_int_equal(want.name_length, strlen(s->name));
			assert_memory_equal(want.text + want.name, s->name, want.name_length);
			assert_int_equal(want.reference_length, strlen(s->reference));
			assert_memory_equal(want.text + want.reference, s->reference,
					    want.reference_length);
			assert_int_equal(want.is_digest, s->is_digest);
		}
		compare(buffer, s->target, strlen(s->target));
	}
	free(buffer);
}

/* Text ends at a NUL in a key: the rest would be another name. In the query it is nobody's. */
static void escaped_nul_in_a_path_is_told(void **state)
{
	static const char *const with[] = {"/v2/a%00b/manifests/t", "/v2/a/manifests/t%00",
					   "%00/v2/a/manifests/t", "/v2/a/blobs/%00"};
	static const char *const without[] = {"/v2/a/manifests/t?x=%00", "/v2/a/manifests/t%0",
					      "/v2/a%2500b/manifests/t"};
	char *buffer = path_buffer_new();
	struct path_answer want;

	(void)state;
	for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++) {
		path_reference_parse(with[i], strlen(with[i]), &want);
		assert_int_equal(want.kind, PT_PATH_NUL);
		compare(buffer, with[i], strlen(with[i]));
	}
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
		path_reference_parse(without[i], strlen(without[i]), &want);
		assert_int_equal(want.kind, PT_PATH_MANIFEST);
		compare(buffer, without[i], strlen(without[i]));
	}
	free(buffer);
}

/* Every place in a word, and every place for a part to end: one character more each time. */
static void every_alignment_gives_the_same_parts(void **state)
{
	char *buffer = path_buffer_new(), target[256];

	(void)state;
	for (int name = 1; name <= 20; name++)
		for (int reference = 0; reference <= 40; reference++)
			for (int prefix = 0; prefix <= 9; prefix++) {
				int length = snprintf(target, sizeof(target),
						      "%.*s/v2/%.*s/manifests/%.*s", prefix,
						      "/prefixed", name, "nginx/nginx/nginx/ng",
						      reference, "sha256:" HEX64);

				compare(buffer, target, (size_t)length);
				/* no byte of the longer one before may be seen */
				for (int less = 1; less <= 12; less++)
					compare(buffer, target, (size_t)(length - less));
			}
	free(buffer);
}

static void every_cut_of_a_target_is_read_to_its_own_end(void **state)
{
	char *buffer = path_buffer_new();

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		for (size_t length = strlen(samples[i].target) + 1; length-- > 0;)
			compare(buffer, samples[i].target, length);
	free(buffer);
}

/* What the hit before left must not turn another path into a manifest's. */
static void stale_bytes_behind_the_text_are_never_seen(void **state)
{
	static const char *const left[] = {"/v2/a/manifests/t", "s/t", "/t", ":", "%41", "?",
					   "/manifests/t"};
	static const char *const targets[] = {
		"/v2/a/manifest",
		"/v2/a/manifests",
		"/v2/a/manifests/",
		"/v2/a/manifests/t",
		"/v2",
		"/v2/a",
		"/v2/a/manifests/%4",
		"/v2/a/manifests/%",
		"",
	};
	char *buffer = path_buffer_new();

	(void)state;
	for (size_t t = 0; t < sizeof(targets) / sizeof(targets[0]); t++)
		for (size_t l = 0; l < sizeof(left) / sizeof(left[0]); l++) {
			size_t length = strlen(targets[t]), old = strlen(left[l]);

			for (size_t i = 0; i < PT_PATH_BYTES + PT_PATH_SLOP; i++)
				buffer[i] = left[l][i % old];
			compare(buffer, targets[t], length);
			memset(buffer, '/', PT_PATH_BYTES);
			memcpy(buffer + length, left[l], old);
			compare(buffer, targets[t], length);
		}
	free(buffer);
}

static size_t put(char *to, size_t at, const char *text)
{
	while (*text)
		to[at++] = *text++;
	return at;
}

enum filling { FILL_NAME, FILL_REFERENCE, FILL_PREFIX, FILL_QUERY, FILL_ESCAPES, FILL_SLASHES };

/* A target of exactly that many bytes in which one part takes all the room there is. */
static void fill_target(char *to, size_t length, enum filling filling)
{
	static const char *const parts[][2] = {
		[FILL_NAME] = {"/v2/", "/manifests/t"},
		[FILL_REFERENCE] = {"/v2/a/manifests/", ""},
		[FILL_PREFIX] = {"/", "/v2/a/manifests/t"},
		[FILL_QUERY] = {"/v2/a/manifests/t?", ""},
		[FILL_ESCAPES] = {"/v2/", "/manifests/t"},
		[FILL_SLASHES] = {"/v2/", "/manifests/t"},
	};
	size_t front = strlen(parts[filling][0]), back = strlen(parts[filling][1]);
	char whole[64];

	if (length < front + back) { /* its beginning */
		put(whole, put(whole, 0, parts[filling][0]), parts[filling][1]);
		memcpy(to, whole, length);
		return;
	}
	put(to, 0, parts[filling][0]);
	for (size_t i = front; i < length - back; i++)
		to[i] = filling == FILL_ESCAPES	  ? "%2F"[(i - front) % 3]
			: filling == FILL_SLASHES ? '/'
						  : 'x';
	put(to, length - back, parts[filling][1]);
}

static void every_length_to_1100_is_answered_by_every_part(void **state)
{
	char *buffer = path_buffer_new(), target[1100];

	(void)state;
	for (size_t length = 0; length <= sizeof(target); length++)
		for (int filling = FILL_NAME; filling <= FILL_SLASHES; filling++) {
			fill_target(target, length, (enum filling)filling);
			compare(buffer, target, length);
		}
	free(buffer);
}

/* 1,024 bytes of path are looked at, and the query does not count. */
static void the_limit_is_1024_bytes_without_the_query(void **state)
{
	char *buffer = path_buffer_new(), target[2048];
	struct path_answer want;

	(void)state;
	for (size_t length = PT_PATH_BYTES - 2; length <= PT_PATH_BYTES + 2; length++) {
		fill_target(target, length, FILL_NAME);
		path_reference_parse(target, length, &want);
		assert_int_equal(want.kind,
				 length <= PT_PATH_BYTES ? PT_PATH_MANIFEST : PT_PATH_TOO_LONG);
		compare(buffer, target, length);
		memset(target + length, 'q', sizeof(target) - length);
		target[length] = '?';
		path_reference_parse(target, sizeof(target), &want);
		assert_int_equal(want.kind,
				 length < PT_PATH_BYTES ? PT_PATH_MANIFEST : PT_PATH_TOO_LONG);
		compare(buffer, target, sizeof(target));
	}
	free(buffer);
}

static void an_escape_at_the_limit_is_whole_or_left_as_it_is(void **state)
{
	char *buffer = path_buffer_new(), target[1100];

	(void)state;
	for (size_t at = PT_PATH_BYTES - 6; at < PT_PATH_BYTES; at++)
		for (size_t length = at + 1; length <= PT_PATH_BYTES + 4; length++) {
			fill_target(target, sizeof(target), FILL_REFERENCE);
			put(target, at, "%3A");
			compare(buffer, target, length);
			target[PT_PATH_BYTES - 1] = '?';
			compare(buffer, target, length);
		}
	free(buffer);
}

/* Targets out of the pieces that matter, in any order: 64 bits of state, so a failure repeats. */
static size_t random_target(uint64_t *state, char *to, size_t size)
{
	static const char *const pieces[] = {
		"/v2/",
		"/manifests/",
		"/",
		"manifests",
		"v2",
		"a",
		"library/nginx",
		"%2F",
		"%3A",
		"%",
		"%4",
		"?",
		":",
		"sha256:",
		HEX64,
		"%25",
		"\x80",
		"\xff",
		"%00",
		"latest",
		"//",
		"/manifest",
		"s",
		"tag-1.2_3",
		"%3F",
		"/v2",
		"%2f%2F",
	};
	size_t length = 0, count;

	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	count = (*state >> 33) % 12;
	if (*state >> 60 & 1)
		length = put(to, 0, "/v2/");
	for (size_t i = 0; i < count; i++) {
		const char *piece;

		*state = *state * 6364136223846793005ull + 1442695040888963407ull;
		piece = pieces[(*state >> 33) % (sizeof(pieces) / sizeof(pieces[0]))];
		if (length + strlen(piece) <= size)
			length = put(to, length, piece);
		if (*state >> 56 == 1) { /* now and then a very long one */
			size_t more = (*state >> 20) % (size - length + 1);

			memset(to + length, 'x', more);
			length += more;
		}
	}
	return length;
}

static void a_million_random_targets_are_read_alike(void **state)
{
	char *buffer = path_buffer_new(), target[1200];
	uint64_t random = 1;
	unsigned int manifests = 0;

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		size_t length = random_target(&random, target, sizeof(target));
		struct path_answer want;

		if (i % 8 == 0) {
			path_reference_parse(target, length, &want);
			manifests += want.kind == PT_PATH_MANIFEST;
		}
		compare(buffer, target, length);
	}
	/* a test that meets no manifest proves nothing */
	assert_in_range(manifests, 1000, 125000);
	free(buffer);
}

static void masks_mark_equal_bytes_and_no_neighbours(void **state)
{
	(void)state;
	for (unsigned int c = 0; c < 256; c++)
		for (unsigned int other = 0; other < 256; other++)
			for (unsigned int mask = 0; mask < 256; mask += c == other ? 255 : 1) {
				uint64_t v = 0, want = 0;

				for (unsigned int i = 0; i < 8; i++) {
					bool equal = mask >> i & 1;

					v |= (uint64_t)(equal ? c : other) << i * 8;
					if (equal || c == other)
						want |= 0x80ull << i * 8;
				}
				if (pt_bytes_equal(v, (__u8)c) != want)
					fail_msg("%#llx, %#x", (unsigned long long)v, c);
			}
}

static void bytes_of_a_mask_are_found(void **state)
{
	(void)state;
	for (unsigned int bits = 1; bits < 256; bits++) {
		unsigned int lowest = (unsigned int)__builtin_ctz(bits);
		unsigned int highest = 31 - (unsigned int)__builtin_clz(bits);
		uint64_t mask = 0;

		for (unsigned int i = 0; i < 8; i++)
			mask |= bits >> i & 1 ? 0x80ull << i * 8 : 0;
		assert_int_equal(pt_lowest_byte(mask), lowest);
		assert_int_equal(pt_highest_byte(mask), highest);
		assert_int_equal(pt_below_lowest(mask), lowest ? ~0ull >> (64 - lowest * 8) : 0);
	}
	for (int n = -1100; n <= 1100; n++)
		assert_int_equal(pt_first_bytes(n), n <= 0   ? 0
						    : n >= 8 ? ~0ull
							     : ~0ull >> (64 - n * 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_are_taken_apart_as_written_by_hand),
		cmocka_unit_test(escaped_nul_in_a_path_is_told),
		cmocka_unit_test(every_alignment_gives_the_same_parts),
		cmocka_unit_test(every_cut_of_a_target_is_read_to_its_own_end),
		cmocka_unit_test(stale_bytes_behind_the_text_are_never_seen),
		cmocka_unit_test(every_length_to_1100_is_answered_by_every_part),
		cmocka_unit_test(the_limit_is_1024_bytes_without_the_query),
		cmocka_unit_test(an_escape_at_the_limit_is_whole_or_left_as_it_is),
		cmocka_unit_test(a_million_random_targets_are_read_alike),
		cmocka_unit_test(masks_mark_equal_bytes_and_no_neighbours),
		cmocka_unit_test(bytes_of_a_mask_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
