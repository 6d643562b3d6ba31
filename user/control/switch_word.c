/* SPDX-License-Identifier: MIT */
#include "control/switch_word.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

int switch_word_parse(const char *text, size_t size, bool *ret_off)
{
	static const char *const words[] = {"on", "off", "1", "0", "true", "false", "yes", "no"};

	while (size && isspace((unsigned char)*text)) {
		text++;
		size--;
	}
	while (size && isspace((unsigned char)text[size - 1]))
		size--;
	for (unsigned int i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i]) != size || strncasecmp(words[i], text, size))
			continue;
		*ret_off = i & 1;
		return 0;
	}
	return -EINVAL;
}
