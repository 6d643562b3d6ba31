/* SPDX-License-Identifier: MIT */
#include "discover/elf_image.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

/* The kernel refuses more than 64 KiB of program headers; linkers write about a dozen. */
#define PROGRAM_HEADERS_MAX 1024
#define SECTIONS_MAX 4096
#define DYNAMIC_MAX 512
/* 2.8 million: the largest registries built as PIE have a tenth of that. */
#define RELOCATIONS_BYTES_MAX (64ull * 1024 * 1024)
/* What is read at once from tables that are walked. */
#define BLOCK_WORDS 1024
#define BLOCK_RELOCATIONS 256

static int read_dynamic(struct elf_image *image, const Elf64_Phdr *header)
{
	uint64_t count = header->p_filesz / sizeof(Elf64_Dyn);
	uint64_t relocations = 0, size = 0, ignored = 0;

	for (uint64_t i = 0; i < count && i < DYNAMIC_MAX; i++) {
		Elf64_Dyn entry;
		uint64_t *to = &ignored;
		int err = byte_source_read(image->source, header->p_offset + i * sizeof(entry),
					   &entry, sizeof(entry));

		if (err)
			return err;
		if (entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag == DT_RELA)
			to = &relocations;
		else if (entry.d_tag == DT_RELASZ)
			to = &size;
		else if (entry.d_tag == DT_SYMTAB)
			to = &image->symbols_address;
		else if (entry.d_tag == DT_STRTAB)
			to = &image->strings_address;
		else if (entry.d_tag == DT_GNU_HASH)
			to = &image->gnu_hash_address;
		*to = entry.d_un.d_val;
	}
	if (!relocations || !size || size > RELOCATIONS_BYTES_MAX)
		return 0;
	if (elf_image_offset(image, relocations, &image->relocations_offset))
		return 0;
	image->relocations_count = size / sizeof(Elf64_Rela);
	return 0;
}

static void add_segment(struct elf_segment *list, unsigned int *count, unsigned int max,
			const Elf64_Phdr *header)
{
	/* a range that wraps around would defeat every later comparison */
	if (*count == max || !header->p_filesz || header->p_offset > INT64_MAX ||
	    header->p_filesz > INT64_MAX || header->p_vaddr > UINT64_MAX - header->p_filesz)
		return;
	list[(*count)++] = (struct elf_segment){
		.offset = header->p_offset,
		.address = header->p_vaddr,
		.size = header->p_filesz,
		.executable = header->p_flags & PF_X,
		.writable = header->p_flags & PF_W,
	};
}

static int read_segments(struct elf_image *image, const Elf64_Ehdr *file)
{
	Elf64_Phdr dynamic = {0};
	unsigned int count = file->e_phnum;

	if (file->e_phentsize != sizeof(Elf64_Phdr) || file->e_phoff > INT64_MAX)
		return -ENOEXEC;
	if (count > PROGRAM_HEADERS_MAX)
		count = PROGRAM_HEADERS_MAX;
	for (unsigned int i = 0; i < count; i++) {
		Elf64_Phdr header;
		int err = byte_source_read(image->source, file->e_phoff + i * sizeof(header),
					   &header, sizeof(header));

		if (err)
			return err;
		if (header.p_type == PT_LOAD)
			add_segment(image->loads, &image->loads_count, ELF_IMAGE_SEGMENTS, &header);
		else if (header.p_type == PT_NOTE)
			add_segment(image->notes, &image->notes_count, ELF_IMAGE_NOTES, &header);
		else if (header.p_type == PT_DYNAMIC && header.p_offset <= INT64_MAX)
			dynamic = header;
	}
	return dynamic.p_filesz ? read_dynamic(image, &dynamic) : 0;
}

/* Sections are a help, never needed: whatever is wrong with them means that there are none. */
static void read_sections(struct elf_image *image, const Elf64_Ehdr *file)
{
	Elf64_Shdr names;

	if (file->e_shentsize != sizeof(Elf64_Shdr) || !file->e_shoff ||
	    file->e_shoff > INT64_MAX || file->e_shnum > SECTIONS_MAX ||
	    file->e_shstrndx >= file->e_shnum)
		return;
	if (byte_source_read(image->source, file->e_shoff + file->e_shstrndx * sizeof(names),
			     &names, sizeof(names)))
		return;
	if (names.sh_offset > INT64_MAX || names.sh_size > INT64_MAX)
		return;
	image->sections_offset = file->e_shoff;
	image->sections_count = file->e_shnum;
	image->section_names_offset = names.sh_offset;
	image->section_names_size = names.sh_size;
}

int elf_image_init(struct elf_image *image, struct byte_source *source)
{
	Elf64_Ehdr file;
	int err;

	*image = (struct elf_image){.source = source};
	err = byte_source_read(source, 0, &file, sizeof(file));
	if (err)
		return err == -ENODATA ? -ENOEXEC : err;
	if (memcmp(file.e_ident, ELFMAG, SELFMAG) || file.e_ident[EI_CLASS] != ELFCLASS64 ||
	    file.e_ident[EI_DATA] != ELFDATA2LSB || file.e_machine != EM_X86_64 ||
	    (file.e_type != ET_EXEC && file.e_type != ET_DYN))
		return -ENOEXEC;
	err = read_segments(image, &file);
	if (err)
		return err == -ENODATA ? -ENOEXEC : err;
	read_sections(image, &file);
	return 0;
}

int elf_image_section(const struct elf_image *image, const char *name, uint64_t *ret_offset,
		      uint64_t *ret_size)
{
	char found[64];

	for (unsigned int i = 0; i < image->sections_count; i++) {
		Elf64_Shdr section;
		int n = byte_source_read(image->source,
					 image->sections_offset + i * sizeof(section), &section,
					 sizeof(section));

		if (n)
			return n == -ENODATA ? -ENOENT : n;
		if (section.sh_type == SHT_NOBITS || section.sh_name >= image->section_names_size)
			continue;
		n = byte_source_string(image->source, image->section_names_offset + section.sh_name,
				       found, sizeof(found));
		if (n < 0 || strcmp(found, name) != 0)
			continue;
		if (section.sh_offset > INT64_MAX || section.sh_size > INT64_MAX)
			return -ENOENT;
		*ret_offset = section.sh_offset;
		*ret_size = section.sh_size;
		return 0;
	}
	return -ENOENT;
}

const struct elf_segment *elf_image_segment(const struct elf_image *image, uint64_t offset)
{
	for (unsigned int i = 0; i < image->loads_count; i++) {
		const struct elf_segment *load = &image->loads[i];

		if (offset >= load->offset && offset - load->offset < load->size)
			return load;
	}
	return NULL;
}

static const struct elf_segment *segment_of_address(const struct elf_image *image, uint64_t address)
{
	for (unsigned int i = 0; i < image->loads_count; i++) {
		const struct elf_segment *load = &image->loads[i];

		if (address >= load->address && address - load->address < load->size)
			return load;
	}
	return NULL;
}

int elf_image_offset(const struct elf_image *image, uint64_t address, uint64_t *ret_offset)
{
	const struct elf_segment *load = segment_of_address(image, address);

	if (!load)
		return -ENOENT;
	*ret_offset = load->offset + (address - load->address);
	return 0;
}

int elf_image_address(const struct elf_image *image, uint64_t offset, uint64_t *ret_address)
{
	const struct elf_segment *load = elf_image_segment(image, offset);

	if (!load)
		return -ENOENT;
	*ret_address = load->address + (offset - load->offset);
	return 0;
}

bool elf_image_is_code(const struct elf_image *image, uint64_t address)
{
	const struct elf_segment *load = segment_of_address(image, address);

	return load && load->executable;
}

static int each_relative(const struct elf_image *image,
			 int (*visit)(void *context, uint64_t address, uint64_t addend),
			 void *context)
{
	Elf64_Rela block[BLOCK_RELOCATIONS];
	uint64_t i = 0;

	while (i < image->relocations_count) {
		uint64_t n = image->relocations_count - i;
		int err;

		if (n > BLOCK_RELOCATIONS)
			n = BLOCK_RELOCATIONS;
		err = byte_source_read(image->source,
				       image->relocations_offset + i * sizeof(block[0]), block,
				       n * sizeof(block[0]));
		if (err)
			return err;
		for (uint64_t k = 0; k < n; k++) {
			if (ELF64_R_TYPE(block[k].r_info) != R_X86_64_RELATIVE)
				continue;
			err = visit(context, block[k].r_offset, (uint64_t)block[k].r_addend);
			if (err)
				return err;
		}
		i += n;
	}
	return 0;
}

struct words {
	uint64_t address;
	unsigned int count;
	uint64_t *values;
};

static int fill_word(void *context, uint64_t address, uint64_t addend)
{
	struct words *words = context;
	uint64_t within = address - words->address;

	if (within / 8 < words->count && within % 8 == 0)
		words->values[within / 8] = addend;
	return 0;
}

int elf_image_words(const struct elf_image *image, uint64_t address, unsigned int count,
		    uint64_t *ret)
{
	struct words words = {.address = address, .count = count, .values = ret};
	uint64_t offset = 0;
	int err;

	err = elf_image_offset(image, address, &offset);
	if (!err)
		err = byte_source_read(image->source, offset, ret, (uint64_t)count * 8);
	return err ? err : each_relative(image, fill_word, &words);
}

struct pointer_search {
	uint64_t value;
	int (*visit)(void *context, uint64_t address);
	void *context;
};

static int match_relocation(void *context, uint64_t address, uint64_t addend)
{
	struct pointer_search *search = context;

	return addend == search->value ? search->visit(search->context, address) : 0;
}

static int search_segment(const struct elf_image *image, const struct elf_segment *load,
			  const struct pointer_search *search)
{
	/* the words of a segment are aligned in memory, which need not be so in the file */
	uint64_t i = -load->address % 8;
	uint64_t block[BLOCK_WORDS];

	while (i < load->size && load->size - i >= 8) {
		uint64_t n = (load->size - i) / 8;
		int err;

		if (n > BLOCK_WORDS)
			n = BLOCK_WORDS;
		err = byte_source_read(image->source, load->offset + i, block, n * 8);
		if (err)
			return err;
		for (uint64_t k = 0; k < n; k++) {
			if (block[k] != search->value)
				continue;
			err = search->visit(search->context, load->address + i + k * 8);
			if (err)
				return err;
		}
		i += n * 8;
	}
	return 0;
}

int elf_image_each_pointer(const struct elf_image *image, uint64_t value,
			   int (*visit)(void *context, uint64_t address), void *context)
{
	struct pointer_search search = {.value = value, .visit = visit, .context = context};
	int err = each_relative(image, match_relocation, &search);

	for (unsigned int i = 0; !err && i < image->loads_count; i++) {
		if (!image->loads[i].executable)
			err = search_segment(image, &image->loads[i], &search);
	}
	return err;
}

struct byte_search {
	const uint8_t *bytes;
	unsigned int size;
	int (*visit)(void *context, uint64_t address);
	void *context;
};

/* Places in one block; those that begin in its last size - 1 bytes are the next one's. */
static int search_block(const struct byte_search *search, const uint8_t *block, uint64_t size,
			uint64_t address)
{
	const uint8_t *at = block;
	int err = 0;

	while (!err &&
	       (at = memmem(at, size - (uint64_t)(at - block), search->bytes, search->size))) {
		err = search->visit(search->context, address + (uint64_t)(at - block));
		at++;
	}
	return err;
}

int elf_image_each_bytes(const struct elf_image *image, const void *bytes, unsigned int size,
			 uint64_t limit, int (*visit)(void *context, uint64_t address),
			 void *context)
{
	struct byte_search search = {bytes, size, visit, context};
	uint8_t block[BLOCK_WORDS * 8];

	for (unsigned int i = 0; i < image->loads_count; i++) {
		const struct elf_segment *load = &image->loads[i];

		if (load->writable)
			continue;
		if (load->size > limit)
			return -E2BIG;
		limit -= load->size;
		for (uint64_t at = 0; at + size <= load->size; at += sizeof(block) - (size - 1)) {
			uint64_t n = load->size - at;
			int err;

			if (n > sizeof(block))
				n = sizeof(block);
			err = byte_source_read(image->source, load->offset + at, block, n);
			err = err ?: search_block(&search, block, n, load->address + at);
			if (err)
				return err;
		}
	}
	return 0;
}
