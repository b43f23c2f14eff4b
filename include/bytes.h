/*
 * bytes.h - the only place where wire bytes are read and written.
 *
 * Two types. A `cursor` walks over borrowed bytes and fails once: after the first read past the end
 * every further read gives zero, and cursor_done() is false. A `bytes` is an owned, growing buffer
 * with a hard limit and the same stickiness: after the first failed append every further one does
 * nothing and bytes_failed() says so. Integers are big-endian, as PostgreSQL's protocol has them
 * (section "Message Data Types").
 */
#ifndef PGASIDE_BYTES_H
#define PGASIDE_BYTES_H

#include "slice.h"

struct cursor {
	const uint8_t *at; /* borrowed, as long as the slice it was made from */
	size_t left;
	bool failed;
};

struct cursor cursor_over(struct slice body);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
/* `len` bytes, borrowed; an empty slice when there are fewer. */
struct slice cursor_bytes(struct cursor *c, size_t len);
/* Up to the next zero byte, which is consumed but not part of the result; fails when there is none.
 */
struct slice cursor_cstr(struct cursor *c);
/* All that is left. */
struct slice cursor_rest(struct cursor *c);
/* All there and nothing left over. */
bool cursor_done(const struct cursor *c);

struct bytes {
	uint8_t *data; /* owned */
	size_t len;    /* end of what was written */
	size_t start;  /* bytes before this were consumed */
	size_t cap;
	size_t limit; /* most bytes it may ever hold */
	bool failed;
};

void bytes_init(struct bytes *b, size_t limit);
/* Frees the memory and leaves an empty buffer with the same limit. */
void bytes_release(struct bytes *b);
/* The same, but overwrites the memory first: for passwords. */
void bytes_wipe(struct bytes *b);
/* Empties it but keeps its memory; clears a failure. */
void bytes_clear(struct bytes *b);
/* Gives back what it does not need: for what is kept long. */
void bytes_fit(struct bytes *b);
bool bytes_failed(const struct bytes *b);
size_t bytes_length(const struct bytes *b);
/* What is unread; borrowed until the next call that is not a question. */
struct slice bytes_view(const struct bytes *b);
/* Drops `len` bytes from the front; at most bytes_length(). */
void bytes_consume(struct bytes *b, size_t len);
/* Room for `len` more bytes at the returned address, NULL (and failed) beyond the limit or without
 * memory. */
uint8_t *bytes_reserve(struct bytes *b, size_t len);
/* Says that `len` of the reserved bytes were filled. */
void bytes_commit(struct bytes *b, size_t len);

void bytes_put(struct bytes *b, const void *data, size_t len);
void bytes_put_slice(struct bytes *b, struct slice s);
void bytes_put_u8(struct bytes *b, uint8_t v);
void bytes_put_u16(struct bytes *b, uint16_t v);
void bytes_put_u32(struct bytes *b, uint32_t v);
/* Overwrites four bytes at `place`, counted from the first unread byte; they must have been put. */
void bytes_set_u32(struct bytes *b, size_t place, uint32_t v);
/* The string with its terminating zero byte. */
void bytes_put_cstr(struct bytes *b, const char *s);
void bytes_printf(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads a big-endian integer at an address that the caller has checked. */
static inline uint32_t bytes_peek_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

#endif
