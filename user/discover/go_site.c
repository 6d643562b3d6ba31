/* SPDX-License-Identifier: MIT */
#include "discover/go_site.h"

#include <errno.h>

#include "../../bpf/abi.h"
#include "discover/instruction.h"

/*
 * Prologues, as cmd/internal/obj/x86 emits them (g.stackguard0 is at 16):
 *
 *   register ABI (Go 1.17+):  [lea -N(rsp), r12]            cmp rsp|r12, 16(r14)   jbe
 *   stack ABI (Go <= 1.16):   load g; [lea -N(rsp), rax]    cmp rsp|rax, 16(rcx)   jbe
 *   load g:                   mov fs:-8, rcx
 *   load g, PIE:              mov $offset, rcx | mov offset(rip), rcx;   mov fs:(rcx), rcx
 *
 * Frames above 4 KiB have a different check; no hook has one, so it is refused like anything else
 * that is not on this list.
 */
#define STACK_GUARD 16
#define TLS_G (-8)

enum step { STEP_START, STEP_TLS_OFFSET, STEP_G, STEP_FRAME, STEP_COMPARED };

struct prologue {
	enum step step;
	ZydisRegister g; /* which register holds g: r14, or rcx once it was loaded */
	ZydisRegister stack; /* what is compared: rsp, or where the frame will end */
};

static bool is_register(const ZydisDecodedOperand *operand, ZydisRegister reg)
{
	return operand->type == ZYDIS_OPERAND_TYPE_REGISTER && operand->reg.value == reg;
}

static bool is_memory(const ZydisDecodedOperand *operand, ZydisRegister base)
{
	return operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->mem.base == base &&
	       operand->mem.index == ZYDIS_REGISTER_NONE;
}

/* mov into rcx from thread-local storage, or of what leads there in position-independent code */
static bool step_load(struct prologue *p, const struct instruction *i)
{
	const ZydisDecodedOperand *from = &i->operands[1];
	bool tls =
		from->type == ZYDIS_OPERAND_TYPE_MEMORY && from->mem.segment == ZYDIS_REGISTER_FS;
	bool found = false;

	if (!is_register(&i->operands[0], ZYDIS_REGISTER_RCX))
		return false;
	if (p->step == STEP_START && !tls &&
	    (from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE || is_memory(from, ZYDIS_REGISTER_RIP))) {
		p->step = STEP_TLS_OFFSET;
		return true;
	}
	if (!tls)
		return false;
	if (p->step == STEP_START)
		found = is_memory(from, ZYDIS_REGISTER_NONE) && from->mem.disp.value == TLS_G;
	else if (p->step == STEP_TLS_OFFSET)
		found = is_memory(from, ZYDIS_REGISTER_RCX) && from->mem.disp.value == 0;
	if (!found)
		return false;
	p->g = ZYDIS_REGISTER_RCX;
	p->step = STEP_G;
	return true;
}

/* lea of the frame's end into the register that no argument uses */
static bool step_frame(struct prologue *p, const struct instruction *i)
{
	ZydisRegister scratch = p->step == STEP_G ? ZYDIS_REGISTER_RAX : ZYDIS_REGISTER_R12;

	if ((p->step != STEP_START && p->step != STEP_G) ||
	    !is_register(&i->operands[0], scratch) ||
	    !is_memory(&i->operands[1], ZYDIS_REGISTER_RSP) || i->operands[1].mem.disp.value >= 0)
		return false;
	p->stack = scratch;
	p->step = STEP_FRAME;
	return true;
}

static bool step_compare(struct prologue *p, const struct instruction *i)
{
	if (p->step == STEP_COMPARED || p->step == STEP_TLS_OFFSET ||
	    !is_register(&i->operands[0], p->stack) || !is_memory(&i->operands[1], p->g) ||
	    i->operands[1].mem.disp.value != STACK_GUARD)
		return false;
	p->step = STEP_COMPARED;
	return true;
}

/* The branch goes to the call of morestack, which stands behind the function's own code. */
static bool is_stack_branch(const struct instruction *i, uint64_t offset, uint64_t function_bytes)
{
	uint64_t next = offset + i->base.length;
	int64_t distance;

	return i->base.mnemonic == ZYDIS_MNEMONIC_JBE && instruction_is_emulated(i) &&
	       instruction_is_relative(i, &distance) && distance > 0 && next < function_bytes &&
	       (uint64_t)distance < function_bytes - next;
}

int go_site_find(const uint8_t *code, uint64_t size, uint64_t function_bytes, struct go_site *ret,
		 const char **ret_refusal)
{
	struct prologue prologue = {
		.g = ZYDIS_REGISTER_R14,
		.stack = ZYDIS_REGISTER_RSP,
	};
	uint64_t offset = 0;

	while (offset < size) {
		struct instruction i;
		bool known = false;

		if (instruction_decode(code + offset, size - offset, &i))
			break;
		if (prologue.step == STEP_COMPARED) {
			if (!is_stack_branch(&i, offset, function_bytes))
				break;
			ret->go_abi = prologue.g == ZYDIS_REGISTER_R14 ? PT_GO_ABI_REGISTER
								       : PT_GO_ABI_STACK;
			ret->offset = (uint8_t)offset;
			return 0;
		}
		if (i.base.mnemonic == ZYDIS_MNEMONIC_MOV)
			known = step_load(&prologue, &i);
		else if (i.base.mnemonic == ZYDIS_MNEMONIC_LEA)
			known = step_frame(&prologue, &i);
		else if (i.base.mnemonic == ZYDIS_MNEMONIC_CMP)
			known = step_compare(&prologue, &i);
		if (!known)
			break;
		offset += i.base.length;
	}
	*ret_refusal = prologue.step == STEP_START ? "no stack check at its start"
						   : "its stack check has an unknown form";
	return -ENOTSUP;
}
