/* SPDX-License-Identifier: MIT */
#include "control/truth_url.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_MS 2000L
#define WHOLE_MS 5000L
/* A registry's metrics are a few hundred kilobytes. */
#define PAGE_MAX (8u << 20)

struct truth_url {
	CURL *curl;
	const atomic_bool *stopping;
	char *page;
	size_t length, room;
	char error[CURL_ERROR_SIZE];
};

int truth_url_begin(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) ? -EIO : 0;
}

static size_t on_data(char *data, size_t one, size_t size, void *context)
{
	struct truth_url *url = context;
	size_t need = url->length + size + 1, room = url->room ? url->room : 16384;
	char *page;

	while (room < need)
		room *= 2;
	if (room > PAGE_MAX)
		return 0;
	if (room > url->room) {
		page = realloc(url->page, room);
		if (!page)
			return 0;
		url->page = page;
		url->room = room;
	}
	memcpy(url->page + url->length, data, size);
	url->length += size;
	url->page[url->length] = 0;
	return one * size;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct truth_url *url = context;

	(void)a, (void)b, (void)c, (void)d;
	return atomic_load(url->stopping);
}

static bool set_up(struct truth_url *url, const char *address)
{
	CURL *curl = url->curl;

	return !curl_easy_setopt(curl, CURLOPT_URL, address) &&
	       !curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") &&
	       !curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) &&
	       !curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") &&
	       !curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS) &&
	       !curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, WHOLE_MS) &&
	       !curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L) &&
	       !curl_easy_setopt(curl, CURLOPT_USERAGENT, "pulltap/" PULLTAP_VERSION) &&
	       !curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, url->error) &&
	       !curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data) &&
	       !curl_easy_setopt(curl, CURLOPT_WRITEDATA, url) &&
	       !curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) &&
	       !curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) &&
	       !curl_easy_setopt(curl, CURLOPT_XFERINFODATA, url);
}

int truth_url_new(struct truth_url **ret, const char *address, const atomic_bool *stopping)
{
	_cleanup_(truth_url_free) struct truth_url *url = calloc(1, sizeof(*url));

	if (!url)
		return -ENOMEM;
	url->stopping = stopping;
	url->curl = curl_easy_init();
	if (!url->curl || !set_up(url, address))
		return -ENOMEM;
	*ret = TAKE_PTR(url);
	return 0;
}

void truth_url_free(struct truth_url **url)
{
	if (!*url)
		return;
	curl_easy_cleanup((*url)->curl);
	free((*url)->page);
	free(*url);
	*url = NULL;
}

int truth_url_get(struct truth_url *url, const char **ret_text, char *message, size_t size)
{
	CURLcode rc;

	url->length = 0;
	url->error[0] = 0;
	rc = curl_easy_perform(url->curl);
	if (!rc && url->length) {
		*ret_text = url->page;
		return 0;
	}
	if (rc == CURLE_WRITE_ERROR)
		snprintf(message, size, "the page is larger than %u MiB", PAGE_MAX >> 20);
	else
		snprintf(message, size, "%s",
			 !rc		 ? "the page is empty"
			 : url->error[0] ? url->error
					 : curl_easy_strerror(rc));
	return -EIO;
}
