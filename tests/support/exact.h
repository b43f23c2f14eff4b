/*
 * exact.h - bytes in memory of exactly their size, so that the sanitizers see a read past the end.
 */
#ifndef PGASIDE_TESTS_EXACT_H
#define PGASIDE_TESTS_EXACT_H

#include <assert.h>
#include <stdlib.h>

#include "slice.h"

/* A copy that the caller frees with exact_free(). Not NULL, even when it is empty. */
static inline struct slice exact_copy(struct slice from)
{
	uint8_t *data = malloc(from.len > 0 ? from.len : 1);

	assert(data);
	if (from.len > 0)
		memcpy(data, from.data, from.len);
	return slice_of(data, from.len);
}

static inline void exact_free(struct slice s)
{
	free((void *)(uintptr_t)s.data);
}

#endif
