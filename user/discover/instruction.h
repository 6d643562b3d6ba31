/* SPDX-License-Identifier: MIT */
/*
 * One decoded x86-64 instruction, and what choosing a place for a probe asks of it. Pure.
 */
#ifndef PULLTAP_DISCOVER_INSTRUCTION_H
#define PULLTAP_DISCOVER_INSTRUCTION_H

#include <stdbool.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"

struct instruction {
	ZydisDecodedInstruction base;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/* -EILSEQ when the first bytes of code are none, or one that is cut off. */
must_check int instruction_decode(const uint8_t *code, uint64_t size, struct instruction *ret);

/*
 * Does the kernel carry it out itself at a probe (arch/x86/kernel/uprobes.c)? nop, push of a
 * register, jumps and calls to a fixed distance. All others are single-stepped out of line.
 */
bool instruction_is_emulated(const struct instruction *i);

/* A jump or call to a fixed distance: sets how far from the instruction's end. */
bool instruction_is_relative(const struct instruction *i, int64_t *ret_distance);

/* May control go elsewhere, so that what stands behind it is not always reached as it was left? */
bool instruction_ends_path(const struct instruction *i);

/* Any part of reg, a 64-bit register. */
bool instruction_writes(const struct instruction *i, ZydisRegister reg);

/* Is [register + displacement] among its operands, the register neither rsp nor rip? */
bool instruction_touches(const struct instruction *i, int64_t displacement);

#endif
