/* SPDX-License-Identifier: MIT */
#include "discover/entry_site.h"

#include <errno.h>

#include "discover/instruction.h"

static const ZydisRegister argument_registers[] = {ZYDIS_REGISTER_RDI, ZYDIS_REGISTER_RSI,
						   ZYDIS_REGISTER_RDX, ZYDIS_REGISTER_RCX};

static bool writes_argument(const struct instruction *i, unsigned int arguments)
{
	for (unsigned int k = 0; k < arguments; k++) {
		if (instruction_writes(i, argument_registers[k]))
			return true;
	}
	return false;
}

/*
 * Does the function jump to behind its entry and up to offset? A loop through the site would count
 * one call several times.
 */
static bool is_jumped_to(const uint8_t *code, uint64_t size, uint64_t offset)
{
	struct instruction i;

	for (uint64_t at = 0; at < size; at += i.base.length) {
		int64_t distance, to;

		if (instruction_decode(code + at, size - at, &i))
			return false; /* data behind the code */
		if (!instruction_is_relative(&i, &distance))
			continue;
		to = (int64_t)(at + i.base.length) + distance;
		if (to > 0 && to <= (int64_t)offset)
			return true;
	}
	return false;
}

int entry_site_find(const uint8_t *code, uint64_t size, unsigned int arguments,
		    uint32_t *ret_offset, const char **ret_refusal)
{
	uint64_t offset = 0;
	struct instruction i;

	while (!instruction_decode(code + offset, size - offset, &i)) {
		if (instruction_is_emulated(&i)) {
			if (is_jumped_to(code, size, offset)) {
				*ret_refusal = "its start is part of a loop";
				return -ENOTSUP;
			}
			*ret_offset = (uint32_t)offset;
			return 0;
		}
		if (instruction_ends_path(&i))
			break;
		if (writes_argument(&i, arguments)) {
			*ret_refusal = "its arguments are gone before an instruction that the "
				       "kernel emulates";
			return -ENOTSUP;
		}
		offset += i.base.length;
		if (offset >= size)
			break;
	}
	*ret_refusal = "no instruction that the kernel emulates at its start";
	return -ENOTSUP;
}

bool entry_site_touches(const uint8_t *code, uint64_t size, int64_t displacement)
{
	struct instruction i;

	for (uint64_t at = 0; at < size; at += i.base.length) {
		if (instruction_decode(code + at, size - at, &i))
			return false;
		if (instruction_touches(&i, displacement))
			return true;
	}
	return false;
}
