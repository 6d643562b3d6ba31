/* SPDX-License-Identifier: MIT */
#include "discover/instruction.h"

#include <errno.h>

int instruction_decode(const uint8_t *code, uint64_t size, struct instruction *ret)
{
	ZydisDecoder decoder;

	if (ZYAN_FAILED(
		    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code, size, &ret->base, ret->operands)))
		return -EILSEQ;
	return 0;
}

bool instruction_is_relative(const struct instruction *i, int64_t *ret_distance)
{
	const ZydisDecodedOperand *to = &i->operands[0];

	if (!i->base.operand_count || to->type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
	    !to->imm.is_relative)
		return false;
	*ret_distance = to->imm.value.s;
	return true;
}

bool instruction_is_emulated(const struct instruction *i)
{
	int64_t distance;

	/* with a prefix that changes a size the kernel steps, if it takes the probe at all */
	if (i->base.attributes & (ZYDIS_ATTRIB_HAS_OPERANDSIZE | ZYDIS_ATTRIB_HAS_ADDRESSSIZE))
		return false;
	switch (i->base.meta.category) {
	case ZYDIS_CATEGORY_NOP: /* the one byte only, longer ones since Linux 6.18 at most */
		return i->base.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && i->base.opcode == 0x90;
	case ZYDIS_CATEGORY_PUSH:
		return i->base.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && i->base.opcode >= 0x50 &&
		       i->base.opcode <= 0x57;
	case ZYDIS_CATEGORY_COND_BR: /* not loop and jrcxz */
		return instruction_is_relative(i, &distance) &&
		       ((i->base.opcode & 0xf0) == 0x70 || (i->base.opcode & 0xf0) == 0x80);
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
		return instruction_is_relative(i, &distance);
	default:
		return false;
	}
}

bool instruction_ends_path(const struct instruction *i)
{
	switch (i->base.meta.category) {
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
		return true;
	default:
		return i->base.mnemonic == ZYDIS_MNEMONIC_UD2 ||
		       i->base.mnemonic == ZYDIS_MNEMONIC_HLT;
	}
}

bool instruction_writes(const struct instruction *i, ZydisRegister reg)
{
	for (unsigned int k = 0; k < i->base.operand_count; k++) {
		const ZydisDecodedOperand *o = &i->operands[k];

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
		    ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, o->reg.value) ==
			    reg)
			return true;
	}
	return false;
}

bool instruction_touches(const struct instruction *i, int64_t displacement)
{
	for (unsigned int k = 0; k < i->base.operand_count; k++) {
		const ZydisDecodedOperand *o = &i->operands[k];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base != ZYDIS_REGISTER_NONE &&
		    o->mem.base != ZYDIS_REGISTER_RSP && o->mem.base != ZYDIS_REGISTER_RIP &&
		    o->mem.disp.value == displacement)
			return true;
	}
	return false;
}
