/* SPDX-License-Identifier: MIT */
/*
 * The head of an ELF file in memory: one segment with code from the file's start, behind it a
 * second with data that is loaded 1 MiB further up, and the dynamic section.
 */
#ifndef TESTS_UNIT_DISCOVER_ELF_BYTES_H
#define TESTS_UNIT_DISCOVER_ELF_BYTES_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ELF_BYTES_BASE 0x400000

struct elf_bytes {
	uint64_t size;
	uint64_t data; /* where the second segment begins */
	uint64_t dynamic;
	unsigned int dynamic_count;
	bool relocated; /* position-independent */
};

/* Address in the data segment. */
static inline uint64_t elf_bytes_data(uint64_t at)
{
	return ELF_BYTES_BASE + 0x100000 + at;
}

static inline void elf_bytes_head(uint8_t *bytes, const struct elf_bytes *elf)
{
	Elf64_Ehdr file = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = elf->relocated ? ET_DYN : ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
		.e_shentsize = sizeof(Elf64_Shdr),
	};
	Elf64_Phdr headers[3] = {
		{
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_X,
			.p_vaddr = ELF_BYTES_BASE,
			.p_filesz = elf->data,
		},
		{
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_W,
			.p_offset = elf->data,
			.p_vaddr = elf_bytes_data(elf->data),
			.p_filesz = elf->size - elf->data,
		},
		{
			.p_type = PT_DYNAMIC,
			.p_offset = elf->dynamic,
			.p_filesz = elf->dynamic_count * sizeof(Elf64_Dyn),
		},
	};

	memcpy(bytes, &file, sizeof(file));
	memcpy(bytes + sizeof(file), headers, sizeof(headers));
}

/* A RELATIVE relocation: the word at that place of the data becomes value. */
static inline Elf64_Rela elf_bytes_relative(uint64_t at, uint64_t value)
{
	return (Elf64_Rela){
		.r_offset = elf_bytes_data(at),
		.r_info = ELF64_R_INFO(0, R_X86_64_RELATIVE),
		.r_addend = (int64_t)value,
	};
}

#endif
