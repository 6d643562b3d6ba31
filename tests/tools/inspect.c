/* SPDX-License-Identifier: MIT */
/*
 * Prints what binary_inspect(), or binary_inspect_openssl(), says about each file as one JSON
 * object per line. usage: inspect [--openssl] FILE...
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "discover/binary.h"

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static json_t *layout_json(const struct binary_site *site)
{
	const struct pt_nginx_layout *l = &site->layout.nginx;

	if (site->hook >= PT_HOOK_TLS_READ && site->hook <= PT_HOOK_TLS_FREE)
		return json_pack("{s:i, s:i}", "rwstate", site->layout.tls.rwstate, "amount",
				 site->layout.tls.amount);
	if (site->hook != PT_NGINX_HOOK_REQUEST)
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "headers_out", l->headers_out,
			 "status", l->status, "method", l->method, "size", l->size, "sent", l->sent,
			 "addr_text", l->addr_text, "headers_in", l->headers_in, "content_type",
			 l->content_type);
}

static json_t *sites_json(const struct binary *binary)
{
	json_t *sites = json_array();

	for (unsigned int i = 0; i < binary->sites_count; i++) {
		const struct binary_site *site = &binary->sites[i];

		json_array_append_new(sites, json_pack("{s:s, s:i, s:i, s:i, s:I, s:o}", "symbol",
						       site->symbol, "hook", site->hook, "go_abi",
						       site->go_abi, "go_map", site->go_map,
						       "file_offset", (json_int_t)site->file_offset,
						       "layout", layout_json(site)));
	}
	return sites;
}

static int inspect(const char *path, int (*look)(int fd, struct binary *ret))
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct binary binary = {0};
	double start = now_ms();
	json_t *line;
	int err;

	err = fd < 0 ? -errno : look(fd, &binary);
	line = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:f, s:o}", "path", path, "result",
			 err, "error", err ? strerror(-err) : "", "build_id", binary.build_id,
			 "version", binary.version, "registry_kind", binary.registry_kind,
			 "refusal", binary.refusal, "ms", now_ms() - start, "sites",
			 sites_json(&binary));
	if (!line)
		return -1;
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(line);
	return 0;
}

int main(int argc, char **argv)
{
	bool openssl = argc > 1 && !strcmp(argv[1], "--openssl");

	for (int i = openssl ? 2 : 1; i < argc; i++) {
		if (inspect(argv[i], openssl ? binary_inspect_openssl : binary_inspect))
			return 1;
	}
	return 0;
}
