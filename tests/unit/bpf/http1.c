/* SPDX-License-Identifier: MIT */
/* bpf/http1.h: what a stream says, wherever it is cut, and what is never guessed. */
#include "test.h"

#include "http1_run.h"

#define SHA "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define END "\r\n\r\n"

struct sample {
	const char *stream, *want;
};

/* Of the requests that replies answer: 'H' is HEAD. */
static const char *methods = "";

static void compare(const struct sample *sample, const struct http1_run *run)
{
	if (strcmp(run->words, sample->want) != 0)
		fail_msg("of \"%s\" it says\n%sinstead of\n%s", sample->stream, run->words,
			 sample->want);
}

/* In one call, in two cut at every byte, byte by byte, and in pieces of nine. */
static void check(const struct sample *sample, bool is_reply)
{
	size_t size = strlen(sample->stream);
	struct http1_run *whole = http1_run_new(is_reply, methods);

	http1_run_feed(whole, sample->stream, size, HTTP1_PIECE);
	compare(sample, whole);
	for (size_t cut = 0; cut <= size; cut++) {
		struct http1_run *run = http1_run_new(is_reply, methods);

		http1_run_feed(run, sample->stream, cut, HTTP1_PIECE);
		http1_run_feed(run, sample->stream + cut, size - cut, 9);
		compare(sample, run);
		assert_true(http1_run_same(run, whole));
		http1_run_free(run);
	}
	http1_run_free(whole);
}

static void check_all(const struct sample *samples, size_t count, bool is_reply)
{
	for (size_t i = 0; i < count; i++)
		check(&samples[i], is_reply);
}
#define CHECK_ALL(samples, is_reply)                                                               \
	check_all(samples, sizeof(samples) / sizeof(*(samples)), is_reply)

static void requests_are_told_apart_wherever_they_are_cut(void **state)
{
	static const struct sample samples[] = {
		{"GET /v2/ HTTP/1.1\r\nHost: a" END, "GET /v2/\n"},
		{"GET /v2/ HTTP/1.0" END "HEAD /b HTTP/1.1" END, "GET /v2/\nHEAD /b\n"},
		{"\r\n\r\nGET / HTTP/1.1" END, "GET /\n"},
		{"GET http://a/v2/b/manifests/c HTTP/1.1" END, "GET http://a/v2/b/manifests/c\n"},
		{"get /a HTTP/1.1" END, "get /a\n"},
		{"PROPFIND-LONG_16 / HTTP/1.1" END, "PROPFIND-LONG_16 /\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: 5" END "GET /GET /b HTTP/1.1" END,
		 "PUT /a\nGET /b\n"},
		{"PUT /a HTTP/1.1\r\ncOnTeNt-lEnGtH:\t 0 \t" END "GET /b HTTP/1.1" END,
		 "PUT /a\nGET /b\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: Chunked" END
		 "5;x=y\r\nGET /\r\n00A\r\n0123456789\r\n0\r\nTrailer: GET" END
		 "GET /b HTTP/1.1" END,
		 "PUT /a\nGET /b\n"},
		{"PUT /a HTTP/1.1\r\nX-Content-Length: 5\r\nContent-Lengthy: 7\r\nE:" END
		 "GET /b HTTP/1.1" END,
		 "PUT /a\nGET /b\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: 999999999999999999" END "GET /b HTTP/1.1" END,
		 "PUT /a\n"},
		{"GET /a", ""},
		{"", ""},
	};

	(void)state;
	CHECK_ALL(samples, false);
}

/* What is said of a request before its head turns out to be broken stays true. */
static void what_servers_read_differently_is_never_guessed(void **state)
{
	static const struct sample samples[] = {
		/* how long the body is */
		{"PUT /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5" END,
		 "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: 5\r\ncontent-length:" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: 5, 5" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: +5" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: -5" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: 0x5" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: 5 5" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length:" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: 9999999999999999999" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked" END,
		 "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5" END,
		 "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: identity" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: \vchunked" END, "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked" END,
		 "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked" END, "PUT /a\nbroken\n"},
		/* where a line ends, and its name */
		{"GET /a HTTP/1.1\nHost: a\n\n", "broken\n"},
		{"GET /a HTTP/1.1\r\nHost: a\n" END, "GET /a\nbroken\n"},
		{"GET /a HTTP/1.1\r\nHost: a\rB: c" END, "GET /a\nbroken\n"},
		{"GET /a HTTP/1.1\r\nHost: a\r\n b" END, "GET /a\nbroken\n"},
		{"GET /a HTTP/1.1\r\nContent-Length : 5" END, "GET /a\nbroken\n"},
		{"GET /a HTTP/1.1\r\n: 5" END, "GET /a\nbroken\n"},
		{"GET /a HTTP/1.1\r\nno colon" END, "GET /a\nbroken\n"},
		/* the request line */
		{"GET /a\r\n", "broken\n"},
		{"GET  /a HTTP/1.1" END, "broken\n"},
		{"GET /a  HTTP/1.1" END, "broken\n"},
		{"GET /a b HTTP/1.1" END, "broken\n"},
		{"GET /a HTTP/1.1 " END, "broken\n"},
		{"GET /a HTTP/1.2" END, "broken\n"},
		{"GET /a HTTP/2.0" END, "broken\n"},
		{"GET /a http/1.1" END, "broken\n"},
		{"GET /a\x7f HTTP/1.1" END, "broken\n"},
		{"SEVENTEEN-LETTERS / HTTP/1.1" END, "broken\n"},
		{" GET /a HTTP/1.1" END, "broken\n"},
		{"\nGET /a HTTP/1.1" END, "broken\n"},
		/* chunks */
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked" END "\r\n", "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked" END "1\nx", "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked" END "1;\nx", "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked" END "1\r\nxx", "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked" END "0123456789abcdef\r\n",
		 "PUT /a\nbroken\n"},
		{"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked" END "-1\r\nx", "PUT /a\nbroken\n"},
		/* not HTTP/1 */
		{"PRI * HTTP/2.0" END "SM" END, "h2\n"},
		{"\x16\x03\x01", "broken\n"},
		{"HTTP/1.1 200 OK" END, "broken\n"},
	};

	(void)state;
	CHECK_ALL(samples, false);
}

static void replies_are_told_apart_from_their_bodies(void **state)
{
	static const struct sample samples[] = {
		{"HTTP/1.1 200 OK\r\nDocker-Content-Digest: " SHA "\r\nContent-Length: 12" END
		 "HTTP/1.1 404HTTP/1.1 404" END,
		 "200 " SHA "\n404 \n"},
		{"HTTP/1.1 200 OK\r\ndocker-content-digest:" SHA " \r\nContent-Length: 0" END,
		 "200 " SHA "\n"},
		{"HTTP/1.1 100 Continue" END "HTTP/1.1 103 Early\r\nLink: x" END
		 "HTTP/1.1 201 Created\r\nContent-Length: 0" END,
		 "100 \n103 \n201 \n"},
		{"HTTP/1.1 200\r\nTransfer-Encoding: chunked" END "10\r\nHTTP/1.1 404 No\n\r\n0" END
		 "HTTP/1.1 200 OK" END,
		 "200 \n200 \n"},
		/* a body without a length ends with the connection */
		{"HTTP/1.1 200 OK" END "HTTP/1.1 404" END, "200 \n"},
		/* the first digest is taken; one of two words, or of any length, is none */
		{"HTTP/1.1 200 OK\r\nDocker-Content-Digest: a\r\nDocker-Content-Digest: b" END,
		 "200 a\n"},
		{"HTTP/1.1 200 OK\r\nDocker-Content-Digest:\r\nDocker-Content-Digesx: b" END,
		 "200 \n"},
		/* never guessed */
		{"HTTP/1.1 20 OK" END, "broken\n"},
		{"HTTP/1.1 2000 OK" END, "broken\n"},
		{"HTTP/1.1 099 OK" END, "broken\n"},
		{"HTTP/2 200" END, "broken\n"},
		{"HTTP/1.1 200 OK\nA: b\n\n", "broken\n"},
		{"\r\nHTTP/1.1 200 OK" END, "broken\n"},
		{"left over", "broken\n"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 3" END "1234", "200 \nbroken\n"},
	};

	(void)state;
	CHECK_ALL(samples, true);
}

static void replies_that_have_no_body_have_none_whatever_their_length(void **state)
{
	static const struct sample sample = {"HTTP/1.1 200 OK\r\nContent-Length: 100" END
					     "HTTP/1.1 304 Not Modified\r\nContent-Length: 100" END
					     "HTTP/1.1 204 No" END "HTTP/1.0 500" END
					     "HTTP/1.1 200",
					     "200 \n304 \n204 \n500 \n"};

	(void)state;
	methods = "HGGG";
	check(&sample, true);
	methods = "";
}

/* Of a target that is longer than any path the length is known, and no byte behind the room is
 * touched. */
static void endless_heads_end(void **state)
{
	struct http1_run *run = http1_run_new(false, "");
	static const char start[5] = "GET /";
	char *stream = malloc(2 * HTTP1_HEAD_BYTES);

	(void)state;
	assert_non_null(stream);
	memset(stream, 'x', 2 * HTTP1_HEAD_BYTES);
	memcpy(stream, start, sizeof(start));
	http1_run_feed(run, stream, 5000, HTTP1_PIECE);
	assert_int_equal(run->parser.length, 4996);
	assert_string_equal(run->words, "");
	http1_run_feed(run, stream + 5, 2 * HTTP1_HEAD_BYTES - 5, HTTP1_PIECE);
	assert_string_equal(run->words, "broken\n");
	http1_run_free(run);
	free(stream);
}

static void a_client_is_told_by_its_first_bytes(void **state)
{
	static const char *const yes[] = {"GET /abc", "HEAD /ab", "POST /ab", "PUT /abc",
					  "PRI * HT", "DELETE /", "OPTIONS ", "CONNECT ",
					  "PATCH /a", "TRACE /a"};
	static const char *const no[] = {"HTTP/1.1", "GETS /ab", "get /abc", "\x16\x03\x01\x02\x03",
					 "220 smtp", "DELETES ", "GE"};
	char word[8];

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
		memcpy(word, yes[i], 8);
		assert_true(http1_is_request(PT_LOAD64(word)));
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++) {
		strncpy(word, no[i], 8);
		assert_false(http1_is_request(PT_LOAD64(word)));
	}
}

static void frames_of_http2_are_known_without_the_preface(void **state)
{
	(void)state;
	assert_true(http1_is_h2(PT_LOAD64("\0\0\x2a\1\x25\0\0\0"))); /* HEADERS */
	assert_true(http1_is_h2(PT_LOAD64("\0\0\4\x08\0\0\0\0"))); /* WINDOW_UPDATE */
	assert_false(http1_is_h2(PT_LOAD64("\0\x50\4\x08\0\0\0\0")));
	assert_false(http1_is_h2(PT_LOAD64("\0\0\4\x0a\0\0\0\0")));
	assert_false(http1_is_h2(PT_LOAD64("\0\0\4\x08\0\x80\0\0")));
	assert_false(http1_is_h2(PT_LOAD64("GET /v2/")));
	assert_false(http1_is_h2(PT_LOAD64("220 smtp")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_told_apart_wherever_they_are_cut),
		cmocka_unit_test(what_servers_read_differently_is_never_guessed),
		cmocka_unit_test(replies_are_told_apart_from_their_bodies),
		cmocka_unit_test(replies_that_have_no_body_have_none_whatever_their_length),
		cmocka_unit_test(endless_heads_end),
		cmocka_unit_test(frames_of_http2_are_known_without_the_preface),
		cmocka_unit_test(a_client_is_told_by_its_first_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
