/* SPDX-License-Identifier: MIT */
/*
 * What a binary says about its own making: build ids from the ELF notes, the Go version from the
 * build info that survives strip. Both are optional and both may be lies, so nothing depends on
 * them but messages and cache keys. Pure.
 */
#ifndef PULLTAP_DISCOVER_BUILD_INFO_H
#define PULLTAP_DISCOVER_BUILD_INFO_H

#include "discover/elf_image.h"

/* Each leaves "" when there is none; text is cut to fit and printable. */
void build_info_id(const struct elf_image *image, char *ret, unsigned int size);
void build_info_go_version(const struct elf_image *image, char *ret, unsigned int size);

#endif
