/* SPDX-License-Identifier: MIT */
/*
 * A file that says on or off. Its folder is watched, not the file, so that it may come and go and
 * be replaced: an editor renames, Kubernetes swaps a link beside it (a mounted ConfigMap). Belongs
 * to the switch's thread.
 */
#ifndef PULLTAP_CONTROL_SWITCH_FILE_H
#define PULLTAP_CONTROL_SWITCH_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct switch_file;

must_check int switch_file_new(struct switch_file **ret, const char *path);
void switch_file_free(struct switch_file **file);

/* Readable when something happened in the folder. */
int switch_file_fd(const struct switch_file *file);

/*
 * Takes what happened in the folder, watches it again where it was replaced, and reads the file. A
 * file that is not there says on. When it can't be read or says neither, the reason is in trouble
 * and the error returned.
 */
must_check int switch_file_read(struct switch_file *file, bool *ret_off, char *trouble,
				size_t size);

#endif
