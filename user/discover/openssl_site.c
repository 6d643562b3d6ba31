/* SPDX-License-Identifier: MIT */
#include "discover/openssl_site.h"

#include <errno.h>
#include <stdbool.h>

#include "discover/instruction.h"

/* Of the function before the place that is looked for; the longest seen has 200. */
#define STRAIGHT_MAX 1024
/* SSL is a struct of some thousand bytes, and rwstate is among its first fields. */
#define FIELD_MAX 4096
/* SSL3_RT_APPLICATION_DATA */
#define APPLICATION_DATA 23

static int refuse(const char **ret_refusal, const char *why)
{
	*ret_refusal = why;
	return -ENOTSUP;
}

static ZydisRegister whole(ZydisRegister reg)
{
	return ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
}

/* A jump or call that is always taken. */
static bool leads_on(const struct instruction *i, int64_t *ret_distance)
{
	return (i->base.meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
		i->base.meta.category == ZYDIS_CATEGORY_CALL) &&
	       instruction_is_relative(i, ret_distance);
}

int openssl_site_callee(const uint8_t *code, uint64_t size, int64_t *ret_distance,
			const char **ret_refusal)
{
	struct instruction i;
	int64_t distance;

	for (uint64_t at = 0; at < size && at < STRAIGHT_MAX; at += i.base.length) {
		if (instruction_decode(code + at, size - at, &i))
			break;
		if (leads_on(&i, &distance)) {
			*ret_distance = (int64_t)(at + i.base.length) + distance;
			return 0;
		}
		if (instruction_ends_path(&i) && i.base.meta.category != ZYDIS_CATEGORY_COND_BR)
			break;
		/* the third, a length, may be widened */
		if (instruction_writes(&i, ZYDIS_REGISTER_RDI) ||
		    instruction_writes(&i, ZYDIS_REGISTER_RSI))
			return refuse(ret_refusal, "it does not hand its arguments on");
	}
	return refuse(ret_refusal, "it calls nothing");
}

int openssl_site_jump(const uint8_t *code, uint64_t size, int64_t *ret_distance)
{
	struct instruction i;
	int64_t distance;

	for (uint64_t at = 0; at < size && at < STRAIGHT_MAX; at += i.base.length) {
		if (instruction_decode(code + at, size - at, &i) ||
		    i.base.meta.category == ZYDIS_CATEGORY_CALL ||
		    i.base.meta.category == ZYDIS_CATEGORY_RET)
			return -ENOENT;
		if (!leads_on(&i, &distance))
			continue;
		*ret_distance = (int64_t)(at + i.base.length) + distance;
		return 0;
	}
	return -ENOENT;
}

/*
 * What a register holds at some place of a function: one of its arguments, a constant, or something
 * else.
 */
enum content { OTHER, ARGUMENT, CONSTANT };
struct value {
	enum content content;
	uint64_t number; /* of the argument, or the constant */
};

struct registers {
	struct value of[16]; /* by ZYDIS_REGISTER_RAX + n */
	struct value top; /* what lies at the stack's top */
};

static const ZydisRegister arguments[] = {ZYDIS_REGISTER_RDI, ZYDIS_REGISTER_RSI,
					  ZYDIS_REGISTER_RDX, ZYDIS_REGISTER_RCX,
					  ZYDIS_REGISTER_R8,  ZYDIS_REGISTER_R9};
static const ZydisRegister kept_by_calls[] = {ZYDIS_REGISTER_RBX, ZYDIS_REGISTER_RBP,
					      ZYDIS_REGISTER_R12, ZYDIS_REGISTER_R13,
					      ZYDIS_REGISTER_R14, ZYDIS_REGISTER_R15};

static struct value *of(struct registers *registers, ZydisRegister reg)
{
	ZydisRegister all = whole(reg);

	return all >= ZYDIS_REGISTER_RAX && all <= ZYDIS_REGISTER_R15
		       ? &registers->of[all - ZYDIS_REGISTER_RAX]
		       : NULL;
}

static void begin(struct registers *registers)
{
	*registers = (struct registers){0};
	for (unsigned int n = 0; n < sizeof(arguments) / sizeof(*arguments); n++)
		*of(registers, arguments[n]) = (struct value){ARGUMENT, n};
}

static void call_returns(struct registers *registers)
{
	struct registers before = *registers;

	*registers = (struct registers){0};
	for (unsigned int n = 0; n < sizeof(kept_by_calls) / sizeof(*kept_by_calls); n++)
		*of(registers, kept_by_calls[n]) = *of(&before, kept_by_calls[n]);
}

/* What an operand stands for; widths below 32 bits make it something else. */
static struct value value_of(struct registers *registers, const ZydisDecodedOperand *from)
{
	struct value *value;

	if (from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return (struct value){CONSTANT, from->imm.value.u};
	if (from->type != ZYDIS_OPERAND_TYPE_REGISTER || from->size < 32)
		return (struct value){0};
	value = of(registers, from->reg.value);
	return value ? *value : (struct value){0};
}

static bool is_top_of_stack(const ZydisDecodedOperand *operand)
{
	return operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
	       operand->mem.base == ZYDIS_REGISTER_RSP &&
	       operand->mem.index == ZYDIS_REGISTER_NONE && !operand->mem.disp.value;
}

/* One instruction of the straight way, calls and jumps excepted. */
static void execute(struct registers *registers, const struct instruction *i)
{
	const ZydisDecodedOperand *to = &i->operands[0], *from = &i->operands[1];
	struct value value = {0};

	if (i->base.mnemonic == ZYDIS_MNEMONIC_PUSH) {
		registers->top = value_of(registers, to);
		return;
	}
	if (i->base.mnemonic == ZYDIS_MNEMONIC_MOV)
		value = value_of(registers, from);
	else if (i->base.mnemonic == ZYDIS_MNEMONIC_XOR &&
		 to->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		 from->type == ZYDIS_OPERAND_TYPE_REGISTER && to->reg.value == from->reg.value)
		value = (struct value){CONSTANT, 0};
	if (is_top_of_stack(to) && i->base.mnemonic == ZYDIS_MNEMONIC_MOV) {
		registers->top = value;
		return;
	}
	for (unsigned int n = 0; n < i->base.operand_count; n++) {
		const ZydisDecodedOperand *operand = &i->operands[n];
		static const struct value unknown;
		struct value *written = operand->type == ZYDIS_OPERAND_TYPE_REGISTER
						? of(registers, operand->reg.value)
						: NULL;

		if (!written || !(operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		if (written == of(registers, ZYDIS_REGISTER_RSP))
			registers->top = unknown;
		*written = n ? unknown : value;
	}
}

static bool holds(struct registers *registers, ZydisRegister reg, enum content content,
		  uint64_t number)
{
	const struct value *value = of(registers, reg);

	return value->content == content && value->number == number;
}

/* Are its arguments laid out for ssl_read_bytes(), to read and not to peek? */
static bool reads_application_data(struct registers *registers)
{
	uint64_t amount = 4; /* which of the function's own */

	/* a function that serves SSL_read() alone has no argument to say so */
	if (holds(registers, ZYDIS_REGISTER_R9, CONSTANT, 0))
		amount = 3;
	else if (!holds(registers, ZYDIS_REGISTER_R9, ARGUMENT, 3))
		return false;
	return holds(registers, ZYDIS_REGISTER_RDI, ARGUMENT, 0) &&
	       holds(registers, ZYDIS_REGISTER_RSI, CONSTANT, APPLICATION_DATA) &&
	       holds(registers, ZYDIS_REGISTER_RDX, CONSTANT, 0) &&
	       holds(registers, ZYDIS_REGISTER_RCX, ARGUMENT, 1) &&
	       holds(registers, ZYDIS_REGISTER_R8, ARGUMENT, 2) &&
	       registers->top.content == ARGUMENT && registers->top.number == amount;
}

/* The branch behind that call, up to which eax is the call's result. */
static int result_branch(const uint8_t *code, uint64_t size, uint64_t at, uint32_t *ret_offset,
			 const char **ret_refusal)
{
	struct instruction i;

	for (uint64_t end = at + 64; at < size && at < end; at += i.base.length) {
		if (instruction_decode(code + at, size - at, &i))
			break;
		if (i.base.meta.category == ZYDIS_CATEGORY_COND_BR && instruction_is_emulated(&i)) {
			*ret_offset = (uint32_t)at;
			return 0;
		}
		if (instruction_ends_path(&i) || instruction_writes(&i, ZYDIS_REGISTER_RAX))
			break;
	}
	return refuse(ret_refusal, "no branch on the result of reading");
}

int openssl_site_read_done(const uint8_t *code, uint64_t size, uint32_t *ret_offset,
			   const char **ret_refusal)
{
	struct registers registers;
	struct instruction i;

	begin(&registers);
	for (uint64_t at = 0; at < size && at < STRAIGHT_MAX; at += i.base.length) {
		if (instruction_decode(code + at, size - at, &i))
			break;
		if (i.base.meta.category == ZYDIS_CATEGORY_CALL) {
			if (reads_application_data(&registers))
				return result_branch(code, size, at + i.base.length, ret_offset,
						     ret_refusal);
			call_returns(&registers);
		} else if (i.base.meta.category != ZYDIS_CATEGORY_COND_BR &&
			   instruction_ends_path(&i)) {
			break;
		} else {
			execute(&registers, &i);
		}
	}
	return refuse(ret_refusal, "it does not ask the record layer for application data");
}

int openssl_site_want(const uint8_t *code, uint64_t size, uint16_t *ret_field,
		      const char **ret_refusal)
{
	struct instruction i;
	int64_t field = 0;

	for (uint64_t at = 0; at < size; at += i.base.length) {
		const ZydisDecodedOperand *to = i.operands, *from = i.operands + 1;

		if (instruction_decode(code + at, size - at, &i))
			break;
		/* what kind of object it is stands at its start; then comes the field */
		if (i.base.mnemonic != ZYDIS_MNEMONIC_MOV ||
		    to->type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    to->reg.value != ZYDIS_REGISTER_EAX ||
		    from->type != ZYDIS_OPERAND_TYPE_MEMORY || !from->mem.disp.value)
			continue;
		if (!field && from->mem.base != ZYDIS_REGISTER_RDI)
			break;
		if (field && from->mem.disp.value != field)
			return refuse(ret_refusal, "it reads several fields");
		field = from->mem.disp.value;
	}
	if (field <= 0 || field >= FIELD_MAX || field % 4)
		return refuse(ret_refusal, "it reads no field");
	*ret_field = (uint16_t)field;
	return 0;
}

int openssl_site_method(const uint8_t *code, uint64_t size, uint64_t address, uint64_t *ret_table,
			const char **ret_refusal)
{
	struct instruction i;

	for (uint64_t at = 0; at < size && at < STRAIGHT_MAX; at += i.base.length) {
		const ZydisDecodedOperand *to = i.operands, *from = i.operands + 1;

		if (instruction_decode(code + at, size - at, &i) || instruction_ends_path(&i))
			break;
		if (to->type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    whole(to->reg.value) != ZYDIS_REGISTER_RAX)
			continue;
		if (i.base.mnemonic == ZYDIS_MNEMONIC_LEA && from->mem.base == ZYDIS_REGISTER_RIP) {
			*ret_table = address + at + i.base.length + (uint64_t)from->mem.disp.value;
			return 0;
		}
		if (i.base.mnemonic == ZYDIS_MNEMONIC_MOV &&
		    from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			*ret_table = from->imm.value.u;
			return 0;
		}
	}
	return refuse(ret_refusal, "it returns no table");
}
