/* SPDX-License-Identifier: MIT */
#include "discover/build_info.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define NOTE_GO_BUILD_ID 4
#define NOTES_MAX 32
#define DESCRIPTION_MAX 256

/* The linker puts the blob near the start of the data; how far to look without sections. */
#define BUILD_INFO_SEARCH (1024 * 1024)
#define BUILD_INFO_HEADER 32
#define BUILD_INFO_INLINE 2 /* flag: two counted strings follow the header (Go 1.18+) */

struct note {
	uint32_t type;
	char name[8];
	uint8_t description[DESCRIPTION_MAX];
	unsigned int size;
};

/* Reads the note at *offset and moves on to the next; false at the end or at nonsense. */
static bool next_note(const struct elf_image *image, uint64_t *offset, uint64_t end,
		      struct note *ret)
{
	Elf64_Nhdr header;
	uint64_t name, description;

	if (end - *offset < sizeof(header) ||
	    byte_source_read(image->source, *offset, &header, sizeof(header)))
		return false;
	name = *offset + sizeof(header);
	description = name + ((uint64_t)header.n_namesz + 3) / 4 * 4;
	*offset = description + ((uint64_t)header.n_descsz + 3) / 4 * 4;
	/* the last one's padding may be missing */
	if (description + header.n_descsz > end)
		return false;
	if (*offset > end)
		*offset = end;
	memset(ret, 0, sizeof(*ret));
	if (!header.n_namesz || header.n_namesz > sizeof(ret->name))
		return true; /* not one of ours */
	ret->type = header.n_type;
	ret->size = header.n_descsz < DESCRIPTION_MAX ? header.n_descsz : DESCRIPTION_MAX;
	if (byte_source_read(image->source, name, ret->name, header.n_namesz) ||
	    byte_source_read(image->source, description, ret->description, ret->size))
		return false;
	ret->name[sizeof(ret->name) - 1] = 0;
	return true;
}

static void to_hex(const uint8_t *bytes, unsigned int count, char *ret, unsigned int size)
{
	static const char digits[] = "0123456789abcdef";
	unsigned int n = 0;

	for (; count && n + 2 < size; count--, bytes++) {
		ret[n++] = digits[*bytes >> 4];
		ret[n++] = digits[*bytes & 15];
	}
	ret[n] = 0;
}

/*
 * Go's id is four hashes with slashes between; the last is that of the finished binary, the others
 * are those of its inputs and too long for us.
 */
static void go_id(const struct note *note, char *ret, unsigned int size)
{
	unsigned int start = 0;

	for (unsigned int i = 0; i < note->size; i++) {
		if (note->description[i] == '/')
			start = i + 1;
	}
	to_hex(note->description + start, note->size - start, ret, size);
}

/* True when the GNU id was found, which beats Go's. */
static bool search_notes(const struct elf_image *image, uint64_t offset, uint64_t size, char *ret,
			 unsigned int ret_size)
{
	uint64_t end = offset + size;
	struct note note;

	for (unsigned int i = 0; i < NOTES_MAX && next_note(image, &offset, end, &note); i++) {
		if (note.type == NT_GNU_BUILD_ID && !strcmp(note.name, "GNU")) {
			to_hex(note.description, note.size, ret, ret_size);
			return true;
		}
		if (note.type == NOTE_GO_BUILD_ID && !strcmp(note.name, "Go"))
			go_id(&note, ret, ret_size);
	}
	return false;
}

void build_info_id(const struct elf_image *image, char *ret, unsigned int size)
{
	/* sections as well: Go's own linker gives its note no segment in some modes */
	static const char *const sections[] = {".note.go.buildid", ".note.gnu.build-id"};

	ret[0] = 0;
	for (unsigned int i = 0; i < image->notes_count; i++) {
		if (search_notes(image, image->notes[i].offset, image->notes[i].size, ret, size))
			return;
	}
	for (unsigned int i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		uint64_t offset = 0;
		uint64_t bytes = 0;

		if (!elf_image_section(image, sections[i], &offset, &bytes) &&
		    search_notes(image, offset, bytes, ret, size))
			return;
	}
}

static const char build_info_magic[14] = "\xff Go buildinf:";

static bool has_magic(const struct elf_image *image, uint64_t offset)
{
	char found[sizeof(build_info_magic)];

	return !byte_source_read(image->source, offset, found, sizeof(found)) &&
	       !memcmp(found, build_info_magic, sizeof(found));
}

static int find_blob(const struct elf_image *image, uint64_t *ret)
{
	uint64_t size = 0;

	if (!elf_image_section(image, ".go.buildinfo", ret, &size) && has_magic(image, *ret))
		return 0;
	for (unsigned int i = 0; i < image->loads_count; i++) {
		const struct elf_segment *load = &image->loads[i];

		if (!load->writable)
			continue;
		/* aligned to 16 bytes in memory */
		for (uint64_t at = -load->address % 16;
		     at + BUILD_INFO_HEADER <= load->size && at < BUILD_INFO_SEARCH; at += 16) {
			if (has_magic(image, load->offset + at)) {
				*ret = load->offset + at;
				return 0;
			}
		}
	}
	return -ENOENT;
}

/* Go 1.18 and later: a length of one or two bytes (base 128), then the text. */
static int inline_string(const struct elf_image *image, uint64_t offset, uint64_t *ret_offset,
			 uint64_t *ret_length)
{
	uint8_t bytes[2];
	int err = byte_source_read(image->source, offset, bytes, sizeof(bytes));

	if (err)
		return err;
	*ret_length = bytes[0] & 127;
	*ret_offset = offset + 1;
	if (bytes[0] & 128) {
		*ret_length |= (uint64_t)(bytes[1] & 127) << 7;
		*ret_offset = offset + 2;
	}
	return 0;
}

/* Before: the address of a string header. */
static int pointed_string(const struct elf_image *image, uint64_t offset, uint64_t *ret_offset,
			  uint64_t *ret_length)
{
	uint64_t words[2] = {0};
	uint64_t address = 0;
	int err = elf_image_address(image, offset + 16, &address);

	if (!err)
		err = elf_image_words(image, address, 1, &address);
	if (!err)
		err = elf_image_words(image, address, 2, words);
	if (!err)
		err = elf_image_offset(image, words[0], ret_offset);
	*ret_length = words[1];
	return err;
}

void build_info_go_version(const struct elf_image *image, char *ret, unsigned int size)
{
	uint8_t header[BUILD_INFO_HEADER];
	uint64_t blob = 0, text = 0, length = 0;
	int err;

	ret[0] = 0;
	if (find_blob(image, &blob) ||
	    byte_source_read(image->source, blob, header, sizeof(header)))
		return;
	if (header[15] & BUILD_INFO_INLINE)
		err = inline_string(image, blob + BUILD_INFO_HEADER, &text, &length);
	else if (header[14] == 8 && header[15] == 0)
		err = pointed_string(image, blob, &text, &length);
	else
		return;
	if (err)
		return;
	if (length > size - 1)
		length = size - 1;
	if (byte_source_read(image->source, text, ret, length))
		length = 0;
	ret[length] = 0;
	for (uint64_t i = 0; i < length; i++) {
		if (ret[i] < 0x20 || ret[i] > 0x7e) {
			ret[i] = 0; /* it goes into logs and reports */
			break;
		}
	}
}
