#include "json.h"

/* The length of the UTF-8 character at `s`; 0 when there is none. */
static size_t character(struct slice s)
{
	static const struct {
		uint8_t mask, bits;
		uint32_t lowest;
	} forms[] = {
		{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

	for (size_t len = 1; len <= 4; len++) {
		uint32_t value;

		if ((s.data[0] & forms[len - 1].mask) != forms[len - 1].bits)
			continue;
		if (len > s.len)
			return 0;
		value = s.data[0] & (uint8_t)~forms[len - 1].mask;
		for (size_t i = 1; i < len; i++) {
			if ((s.data[i] & 0xc0) != 0x80)
				return 0;
			value = value << 6 | (s.data[i] & 0x3f);
		}
		return value < forms[len - 1].lowest || value > 0x10ffff ||
				       (value >= 0xd800 && value < 0xe000)
			       ? 0
			       : len;
	}
	return 0;
}

void json_put_string(struct bytes *out, struct slice text)
{
	size_t len;

	bytes_put_u8(out, '"');
	for (size_t i = 0; i < text.len; i += len) {
		uint8_t byte = text.data[i];

		len = character(slice_of(text.data + i, text.len - i));
		if (len == 0) {
			bytes_printf(out, "\\ufffd");
			len = 1;
		} else if (byte == '"' || byte == '\\') {
			bytes_printf(out, "\\%c", byte);
		} else if (byte < ' ') {
			bytes_printf(out, "\\u%04x", byte);
		} else {
			bytes_put(out, text.data + i, len);
		}
	}
	bytes_put_u8(out, '"');
}
