/*
 * slice.h - a borrowed run of bytes.
 *
 * A slice never owns what it points to; whoever hands one out says how long it stays good. The
 * bytes are not terminated and may hold anything, zero bytes included.
 */
#ifndef PGASIDE_SLICE_H
#define PGASIDE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *data; /* borrowed */
	size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
	return (struct slice){.data = data, .len = len};
}

/* The bytes of a C string, without its terminator. */
static inline struct slice slice_str(const char *s)
{
	return slice_of(s, strlen(s));
}

static inline bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_is(struct slice a, const char *s)
{
	return slice_equal(a, slice_str(s));
}

/* Its beginning, `most` bytes at most, that does not end inside a UTF-8 character. */
static inline struct slice slice_cut(struct slice a, size_t most)
{
	size_t len = most;

	if (a.len <= most)
		return a;
	while (len > 0 && most - len < 3 && (a.data[len] & 0xc0) == 0x80)
		len--;
	return slice_of(a.data, len);
}

/* The decimal number that it begins with, an OID or another one that the server prints; 0 for none,
 * and for NULL. */
static inline uint32_t slice_number(struct slice a)
{
	uint32_t n = 0;

	for (size_t i = 0; i < a.len && a.data[i] >= '0' && a.data[i] <= '9'; i++)
		n = n * 10 + (uint32_t)(a.data[i] - '0');
	return n;
}

/* No byte of it is 0x80 or above. */
static inline bool slice_is_ascii(struct slice a)
{
	for (size_t i = 0; i < a.len; i++)
		if (a.data[i] >= 0x80)
			return false;
	return true;
}

#endif
