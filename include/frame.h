/*
 * frame.h - the header of a protocol message.
 *
 * Every message after log-in is a type byte, a 32-bit length that counts itself but not the type,
 * and a body (protocol documentation, section "Message Formats"). This file knows no more than
 * that.
 */
#ifndef PGASIDE_FRAME_H
#define PGASIDE_FRAME_H

#include "bytes.h"

#define FRAME_HEADER 5u

enum frame_status {
	FRAME_PARTIAL,
	FRAME_WHOLE_HEADER,
	FRAME_BAD
};

struct frame {
	uint8_t type;
	size_t size; /* of the whole message, header included */
};

/*
 * Reads the header at the front of `len` bytes. PARTIAL: fewer than five are there. BAD: a length
 * under four, or one with the sign bit that PostgreSQL would refuse as well.
 */
static inline enum frame_status frame_peek(const uint8_t *data, size_t len, struct frame *f)
{
	uint32_t length;

	if (len < FRAME_HEADER)
		return FRAME_PARTIAL;
	length = bytes_peek_u32(data + 1);
	if (length < 4 || length > 0x7fffffffu)
		return FRAME_BAD;
	f->type = data[0];
	f->size = (size_t)length + 1;
	return FRAME_WHOLE_HEADER;
}

/* The body of a whole message. */
static inline struct slice frame_body(struct slice message)
{
	return slice_of(message.data + FRAME_HEADER, message.len - FRAME_HEADER);
}

#endif
