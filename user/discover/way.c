/* SPDX-License-Identifier: MIT */
#include "discover/way.h"

#include <string.h>

const char *const way_names[WAY_COUNT] = {
	[WAY_ANY] = "any",	 [WAY_GO] = "go",	    [WAY_NGINX] = "nginx",
	[WAY_APACHE] = "apache", [WAY_OPENSSL] = "openssl",
};

const char *const way_titles[WAY_COUNT] = {
	[WAY_ANY] = "of no known kind", [WAY_GO] = "a Go HTTP server",	     [WAY_NGINX] = "nginx",
	[WAY_APACHE] = "apache httpd",	[WAY_OPENSSL] = "a user of OpenSSL",
};

enum way way_find(const char *name, size_t length)
{
	for (enum way way = WAY_ANY + 1; way < WAY_COUNT; way++)
		if (strlen(way_names[way]) == length && !memcmp(way_names[way], name, length))
			return way;
	return WAY_ANY;
}
