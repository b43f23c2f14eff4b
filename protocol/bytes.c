#include "bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct cursor cursor_over(struct slice body)
{
	/* An empty slice may have no address, and nothing may be added to that, not even zero. */
	const uint8_t *at = body.data ? body.data : (const uint8_t *)"";

	return (struct cursor){.at = at, .left = body.len, .failed = false};
}

/* The one bounds check of every read: NULL, and failed for good, when fewer than `len` bytes are
 * left. */
static const uint8_t *take(struct cursor *c, size_t len)
{
	const uint8_t *at = c->at;

	if (c->failed || len > c->left) {
		c->failed = true;
		return NULL;
	}
	c->at += len;
	c->left -= len;
	return at;
}

uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *at = take(c, 1);

	return at ? at[0] : 0;
}

uint16_t cursor_u16(struct cursor *c)
{
	const uint8_t *at = take(c, 2);

	return at ? (uint16_t)((unsigned)at[0] << 8 | at[1]) : 0;
}

uint32_t cursor_u32(struct cursor *c)
{
	const uint8_t *at = take(c, 4);

	return at ? bytes_peek_u32(at) : 0;
}

struct slice cursor_bytes(struct cursor *c, size_t len)
{
	const uint8_t *at = take(c, len);

	return slice_of(at, at ? len : 0);
}

struct slice cursor_cstr(struct cursor *c)
{
	const uint8_t *end = c->failed || c->left == 0 ? NULL : memchr(c->at, 0, c->left);
	struct slice s;

	if (!end) {
		c->failed = true;
		return slice_of(NULL, 0);
	}
	s = slice_of(c->at, (size_t)(end - c->at));
	take(c, s.len + 1);
	return s;
}

struct slice cursor_rest(struct cursor *c)
{
	return cursor_bytes(c, c->left);
}

bool cursor_done(const struct cursor *c)
{
	return !c->failed && c->left == 0;
}

void bytes_init(struct bytes *b, size_t limit)
{
	*b = (struct bytes){.limit = limit};
}

void bytes_release(struct bytes *b)
{
	free(b->data);
	bytes_init(b, b->limit);
}

void bytes_wipe(struct bytes *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	bytes_release(b);
}

void bytes_clear(struct bytes *b)
{
	b->start = 0;
	b->len = 0;
	b->failed = false;
}

bool bytes_failed(const struct bytes *b)
{
	return b->failed;
}

size_t bytes_length(const struct bytes *b)
{
	return b->len - b->start;
}

struct slice bytes_view(const struct bytes *b)
{
	return b->data ? slice_of(b->data + b->start, b->len - b->start) : slice_of(NULL, 0);
}

void bytes_consume(struct bytes *b, size_t len)
{
	b->start += len < bytes_length(b) ? len : bytes_length(b);
	if (b->start == b->len) {
		b->start = 0;
		b->len = 0;
	}
}

/* Moves the unread bytes into fresh memory: the old may hold a password, which realloc would leave
 * behind. */
static bool move(struct bytes *b, size_t cap)
{
	size_t used = bytes_length(b);
	uint8_t *data = malloc(cap);

	if (!data)
		return false;
	if (b->data) {
		memcpy(data, b->data + b->start, used);
		explicit_bzero(b->data, b->cap); /* what was consumed or cleared is still there */
	}
	free(b->data);
	b->data = data;
	b->cap = cap;
	b->start = 0;
	b->len = used;
	return true;
}

void bytes_fit(struct bytes *b)
{
	if (b->failed)
		return;
	if (bytes_length(b) == 0)
		bytes_wipe(b);
	else if (bytes_length(b) < b->cap)
		move(b, bytes_length(b));
}

static size_t grown(size_t cap, size_t need, size_t limit)
{
	while (cap < need)
		cap = cap < 256 ? 256 : cap * 2;
	return cap < limit ? cap : limit;
}

uint8_t *bytes_reserve(struct bytes *b, size_t len)
{
	size_t used = bytes_length(b);

	if (b->failed || len > b->limit - used) {
		b->failed = true;
		return NULL;
	}
	if (len <= b->cap - b->len && b->data)
		return b->data + b->len;
	if (b->data && len <= b->cap - used && b->start >= b->cap / 2) {
		memmove(b->data, b->data + b->start, used);
		b->start = 0;
		b->len = used;
	} else if (!move(b, grown(b->cap, used + len, b->limit))) {
		b->failed = true;
		return NULL;
	}
	return b->data + b->len;
}

void bytes_commit(struct bytes *b, size_t len)
{
	b->len += len;
}

void bytes_put(struct bytes *b, const void *data, size_t len)
{
	uint8_t *at = len > 0 ? bytes_reserve(b, len) : NULL;

	if (!at)
		return;
	memcpy(at, data, len);
	bytes_commit(b, len);
}

void bytes_put_slice(struct bytes *b, struct slice s)
{
	bytes_put(b, s.data, s.len);
}

void bytes_put_u8(struct bytes *b, uint8_t v)
{
	bytes_put(b, &v, 1);
}

void bytes_put_u16(struct bytes *b, uint16_t v)
{
	uint8_t wire[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	bytes_put(b, wire, sizeof(wire));
}

static void write_u32(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 24);
	at[1] = (uint8_t)(v >> 16);
	at[2] = (uint8_t)(v >> 8);
	at[3] = (uint8_t)v;
}

void bytes_put_u32(struct bytes *b, uint32_t v)
{
	uint8_t wire[4];

	write_u32(wire, v);
	bytes_put(b, wire, sizeof(wire));
}

void bytes_set_u32(struct bytes *b, size_t place, uint32_t v)
{
	assert(place <= bytes_length(b) && 4 <= bytes_length(b) - place);
	write_u32(b->data + b->start + place, v);
}

void bytes_put_cstr(struct bytes *b, const char *s)
{
	bytes_put(b, s, strlen(s) + 1);
}

void bytes_printf(struct bytes *b, const char *format, ...)
{
	va_list args;
	uint8_t *at;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0 || !(at = bytes_reserve(b, (size_t)len + 1))) {
		b->failed = true;
		return;
	}
	va_start(args, format);
	vsnprintf((char *)at, (size_t)len + 1, format, args);
	va_end(args);
	bytes_commit(b, (size_t)len);
}
