/* SPDX-License-Identifier: MIT */
/* What the files of a batch share: batch.c (gathers), batch_sort.c (orders), batch_pairs.c. */
#ifndef PULLTAP_STORE_BATCH_INTERNAL_H
#define PULLTAP_STORE_BATCH_INTERNAL_H

#include <stdlib.h>

#include "store/batch.h"

/* The place behind the last item of a list, or NULL without memory. */
#define APPEND(list)                                                                               \
	({                                                                                         \
		if ((list)->count == (list)->capacity) {                                           \
			uint32_t capacity_ = (list)->capacity ? 2 * (list)->capacity : 64;         \
			void *items_ = realloc((list)->items, capacity_ * sizeof(*(list)->items)); \
			if (items_) {                                                              \
				(list)->items = items_;                                            \
				(list)->capacity = capacity_;                                      \
			}                                                                          \
		}                                                                                  \
		(list)->count < (list)->capacity ? &(list)->items[(list)->count++] : NULL;         \
	})

/* What one record says about halves of a pull, or about an index and its child. 0 or -ENOMEM. */
must_check int batch_add_half(struct batch *batch, uint32_t tag, uint32_t manifest,
			      const struct window_record *record);
must_check int batch_add_child(struct batch *batch, uint32_t index, uint32_t child,
			       const struct window_record *record);

/* Parts of batch_sort: each two names once, rejected ones gone. */
void batch_sort_unpaired(struct batch *batch);
void batch_sort_children(struct batch *batch);

#endif
