#include "message.h"

/* Request codes in the place of a protocol version: section "Message Formats". */
#define CODE_CANCEL 80877102u
#define CODE_SSL 80877103u
#define CODE_GSSENC 80877104u

static enum startup_kind kind_of(uint32_t code, uint32_t length)
{
	switch (code) {
	case CODE_SSL:
		return length == 8 ? STARTUP_SSL : STARTUP_BAD;
	case CODE_GSSENC:
		return length == 8 ? STARTUP_GSSENC : STARTUP_BAD;
	case CODE_CANCEL:
		return length >= 16 && length <= 12 + 256 ? STARTUP_CANCEL : STARTUP_BAD;
	default:
		return code >> 16 == 3 ? STARTUP_SESSION : STARTUP_BAD;
	}
}

enum startup_kind startup_peek(struct slice data, size_t *size)
{
	struct cursor c = cursor_over(data);
	uint32_t length = cursor_u32(&c);
	uint32_t code;
	enum startup_kind kind;

	if (c.failed)
		return STARTUP_PARTIAL;
	if (length < 8 || length > STARTUP_MAX)
		return STARTUP_BAD;
	code = cursor_u32(&c);
	if (c.failed)
		return STARTUP_PARTIAL;
	kind = kind_of(code, length);
	if (kind != STARTUP_BAD && data.len < length)
		return STARTUP_PARTIAL;
	*size = length;
	return kind;
}

static struct cursor parameters(struct slice packet)
{
	struct cursor c = cursor_over(packet);

	cursor_bytes(&c, 8);
	return c;
}

bool startup_parameter(struct slice packet, const char *name, struct slice *value)
{
	struct cursor c = parameters(packet);
	struct slice last = {0};
	bool found = false;

	for (;;) {
		struct slice key = cursor_cstr(&c);
		struct slice text;

		if (key.len == 0)
			break;
		text = cursor_cstr(&c);
		if (slice_is(key, name)) {
			last = text; /* as in PostgreSQL, the last of several wins */
			found = true;
		}
	}
	if (!found || !cursor_done(&c))
		return false;
	*value = last;
	return true;
}

bool startup_is_well_formed(struct slice packet)
{
	struct cursor c = parameters(packet);

	for (;;) {
		struct slice key = cursor_cstr(&c);

		if (c.failed)
			return false;
		if (key.len == 0)
			return cursor_done(&c);
		cursor_cstr(&c);
	}
}

void startup_put_ssl_request(struct bytes *b)
{
	bytes_put_u32(b, 8);
	bytes_put_u32(b, CODE_SSL);
}

void startup_put_cancel(struct bytes *b, const struct backend_key *key)
{
	bytes_put_u32(b, (uint32_t)(12 + key->secret.len));
	bytes_put_u32(b, CODE_CANCEL);
	bytes_put_u32(b, key->pid);
	bytes_put_slice(b, key->secret);
}
