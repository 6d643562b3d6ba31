/* SPDX-License-Identifier: MIT */
#include "cli/status_switch.h"

#include "attach/off.h"

json_t *status_switch_json(const struct kernel *kernel)
{
	json_t *sources = json_array();

	for (unsigned int i = 0; i < PT_OFF_SOURCES; i++) {
		const struct pt_word *word = &kernel->control->words[i];
		uint32_t bits = i == OFF_HAND ? ~(uint32_t)(PT_OFF_HAND - 1) : 1u << i;
		bool off = *kernel->off & bits;

		if (!word->at_us && !off)
			continue;
		json_array_append_new(sources, json_pack("{s:s, s:b, s:I, s:s}", "source",
							 off_source_name(i), "off", off, "since",
							 (json_int_t)(word->at_us / 1000000), "who",
							 word->who[off]));
	}
	return sources;
}

json_t *status_site_reasons(uint8_t off)
{
	json_t *reasons = json_array();

	for (unsigned int bit = PT_SITE_OFF_LAYOUT; bit <= PT_SITE_OFF_ELSEWHERE; bit <<= 1)
		if (off & bit)
			json_array_append_new(reasons, json_string(off_site_name((uint8_t)bit)));
	return reasons;
}
