/* SPDX-License-Identifier: MIT */
#include "base/network.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct pt_address from_bytes(const uint8_t bytes[16])
{
	struct pt_address address;
	uint64_t words[2];

	memcpy(words, bytes, sizeof(words));
	address.high = be64toh(words[0]);
	address.low = be64toh(words[1]);
	return address;
}

static int parse_bits(const char *text, unsigned int max, unsigned int *ret)
{
	size_t length = strlen(text);

	if (!length || length > 3 || strspn(text, "0123456789") != length)
		return -EINVAL;
	*ret = (unsigned int)strtoul(text, NULL, 10);
	return *ret > max ? -EINVAL : 0;
}

int network_parse(const char *text, struct network *ret)
{
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	uint8_t bytes[16] = {[10] = 0xff, [11] = 0xff};
	unsigned int width = 128, bits;
	char address[INET6_ADDRSTRLEN];

	if (length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = 0;
	if (inet_pton(AF_INET, address, bytes + 12) == 1)
		width = 32;
	else if (inet_pton(AF_INET6, address, bytes) != 1)
		return -EINVAL;
	bits = width;
	if (slash && parse_bits(slash + 1, width, &bits))
		return -EINVAL;
	ret->bits = bits + 128 - width;
	ret->address = from_bytes(bytes);
	ret->mask.high = ret->bits >= 64 ? ~0ull : ~(~0ull >> ret->bits);
	ret->mask.low = ret->bits == 128  ? ~0ull
			: ret->bits <= 64 ? 0
					  : ~(~0ull >> (ret->bits - 64));
	/* 10.1.2.3/8 is somebody's mistake, and which one is not for us to say */
	return (ret->address.high & ~ret->mask.high) | (ret->address.low & ~ret->mask.low) ? -EINVAL
											   : 0;
}
