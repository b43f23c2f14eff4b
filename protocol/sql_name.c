#include "sql_name.h"

/* A name under construction. It takes one byte more than a name may have, which tells that there is
 * something to cut; what comes later does not matter. */
struct spelling {
	uint8_t bytes[SQL_NAME_MAX + 1];
	size_t len;
	bool beyond_ascii;
	bool wrong;
};

static void spell_byte(struct spelling *s, uint8_t c)
{
	s->beyond_ascii = s->beyond_ascii || c >= 0x80;
	if (s->len < sizeof(s->bytes))
		s->bytes[s->len++] = c;
}

static void spell_utf8(struct spelling *s, uint32_t c)
{
	if (c < 0x80) {
		spell_byte(s, (uint8_t)c);
	} else if (c < 0x800) {
		spell_byte(s, (uint8_t)(0xc0 | c >> 6));
		spell_byte(s, (uint8_t)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		spell_byte(s, (uint8_t)(0xe0 | c >> 12));
		spell_byte(s, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
		spell_byte(s, (uint8_t)(0x80 | (c & 0x3f)));
	} else {
		spell_byte(s, (uint8_t)(0xf0 | c >> 18));
		spell_byte(s, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
		spell_byte(s, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
		spell_byte(s, (uint8_t)(0x80 | (c & 0x3f)));
	}
}

static size_t utf8_length(uint8_t lead)
{
	if (lead < 0xc0)
		return 1;
	if (lead < 0xe0)
		return 2;
	if (lead < 0xf0)
		return 3;
	return lead < 0xf8 ? 4 : 1;
}

/* The most whole characters that fit into a name. */
static size_t cut_length(const struct spelling *s)
{
	size_t len = 0;

	while (len < s->len && len + utf8_length(s->bytes[len]) <= SQL_NAME_MAX)
		len += utf8_length(s->bytes[len]);
	return len;
}

static bool spell_out(const struct spelling *s, struct sql_dialect dialect, struct sql_name *out)
{
	bool too_long = s->len > SQL_NAME_MAX;

	if (s->wrong || s->len == 0)
		return false;
	if (too_long && s->beyond_ascii && dialect.encoding != SQL_ENCODING_UTF8)
		return false;
	*out = (struct sql_name){.len = too_long ? cut_length(s) : s->len};
	memcpy(out->text, s->bytes, out->len);
	return true;
}

static void spell_word(struct spelling *s, struct slice word)
{
	for (size_t i = 0; i < word.len; i++) {
		uint8_t c = word.data[i];

		spell_byte(s, c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c);
	}
}

/* The inside of "..". A quote in it is one of two. */
static void spell_quoted(struct spelling *s, struct slice inside)
{
	for (size_t i = 0; i < inside.len; i++) {
		spell_byte(s, inside.data[i]);
		if (inside.data[i] == '"')
			i++;
	}
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* So many hexadecimal digits at the front of `s`, which is moved behind them. */
static bool take_hex(struct slice *s, size_t digits, uint32_t *out)
{
	*out = 0;
	if (digits > s->len)
		return false;
	for (size_t i = 0; i < digits; i++) {
		int v = hex_value(s->data[i]);

		if (v < 0)
			return false;
		*out = *out << 4 | (uint32_t)v;
	}
	*s = slice_of(s->data + digits, s->len - digits);
	return true;
}

/* Half of a character beyond U+FFFF, which takes two escapes. */
static bool is_high_half(uint32_t c)
{
	return c >= 0xd800 && c <= 0xdbff;
}

static bool is_low_half(uint32_t c)
{
	return c >= 0xdc00 && c <= 0xdfff;
}

/* \XXXX or \+XXXXXX, without the first byte. */
static bool take_code(struct slice *s, uint32_t *out)
{
	if (s->len > 0 && s->data[0] == '+') {
		*s = slice_of(s->data + 1, s->len - 1);
		return take_hex(s, 6, out);
	}
	return take_hex(s, 4, out);
}

/* One escaped character, of two escapes if it needs them; `s` stands behind the first `escape`. */
static void spell_escape(struct spelling *s, struct slice *left, uint8_t escape)
{
	uint32_t c;
	uint32_t low;

	if (!take_code(left, &c)) {
		s->wrong = true;
		return;
	}
	if (is_high_half(c) && left->len > 0 && left->data[0] == escape) {
		*left = slice_of(left->data + 1, left->len - 1);
		if (take_code(left, &low) && is_low_half(low))
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	s->wrong = s->wrong || c == 0 || c > 0x10ffff || is_high_half(c) || is_low_half(c);
	spell_utf8(s, c);
}

/* The inside of U&"..". */
static void spell_unicode(struct spelling *s, struct slice inside, uint8_t escape)
{
	while (inside.len > 0 && !s->wrong) {
		uint8_t c = inside.data[0];
		bool twice = inside.len > 1 && inside.data[1] == c;
		size_t used = twice && (c == '"' || c == escape) ? 2 : 1;

		inside = slice_of(inside.data + used, inside.len - used);
		if (c == escape && used == 1)
			spell_escape(s, &inside, escape);
		else
			spell_byte(s, c);
	}
}

/* Tokens of a name, one at hand. */
struct name_reader {
	struct sql_lexer lexer;
	struct sql_token now;
};

static void advance(struct name_reader *r)
{
	r->now = sql_lexer_next(&r->lexer);
}

static void name_reader_init(struct name_reader *r, struct slice text, struct sql_dialect dialect)
{
	sql_lexer_init(&r->lexer, text, dialect);
	advance(r);
}

/* What UESCAPE allows: one character that cannot be taken for part of an escape. Only the simple
 * spelling '!' is understood here. */
static bool read_escape(struct name_reader *r, uint8_t *escape)
{
	struct slice t;

	*escape = '\\';
	if (!sql_token_is_word(r->lexer.text, r->now, "uescape"))
		return true;
	advance(r);
	t = sql_token_text(r->lexer.text, r->now);
	if (t.len != 3 || t.data[0] != '\'' || hex_value(t.data[1]) >= 0 || t.data[1] >= 0x80)
		return false;
	*escape = t.data[1];
	advance(r);
	return !memchr("+'\" \t\n\r\f\v", *escape, 9);
}

static void spell_unicode_name(struct spelling *s, struct name_reader *r)
{
	struct slice t = sql_token_text(r->lexer.text, r->now);
	uint8_t escape;

	advance(r);
	s->wrong = !read_escape(r, &escape);
	if (!s->wrong)
		spell_unicode(s, slice_of(t.data + 3, t.len - 4), escape);
}

/* The name at hand and its UESCAPE clause. */
static bool read_name(struct name_reader *r, struct sql_name *out)
{
	struct slice t = sql_token_text(r->lexer.text, r->now);
	struct spelling s = {.len = 0};
	enum sql_token_kind kind = r->now.kind;

	if (!sql_token_is_name(r->now))
		return false;
	if (kind == SQL_TOKEN_UNICODE_NAME) {
		spell_unicode_name(&s, r);
	} else {
		advance(r);
		if (kind == SQL_TOKEN_WORD)
			spell_word(&s, t);
		else
			spell_quoted(&s, slice_of(t.data + 1, t.len - 2));
	}
	/* An escape beyond ASCII becomes bytes of the server's encoding. */
	if (kind == SQL_TOKEN_UNICODE_NAME && s.beyond_ascii &&
		r->lexer.dialect.encoding != SQL_ENCODING_UTF8)
		return false;
	return spell_out(&s, r->lexer.dialect, out);
}

bool sql_path_decode(struct slice text, struct sql_dialect dialect, struct sql_path *out)
{
	struct name_reader r;

	name_reader_init(&r, text, dialect);
	out->n_parts = 0;
	for (;;) {
		if (out->n_parts == SQL_NAME_PARTS || !read_name(&r, &out->parts[out->n_parts]))
			return false;
		out->n_parts++;
		if (r.now.kind == SQL_TOKEN_END)
			return true;
		if (!sql_token_is_char(text, r.now, '.'))
			return false;
		advance(&r);
	}
}

bool sql_name_decode(struct slice text, struct sql_dialect dialect, struct sql_name *out)
{
	struct name_reader r;

	name_reader_init(&r, text, dialect);
	return read_name(&r, out) && r.now.kind == SQL_TOKEN_END;
}

bool sql_name_equal(const struct sql_name *a, const struct sql_name *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

bool sql_path_equal(const struct sql_path *a, const struct sql_path *b)
{
	if (a->n_parts != b->n_parts)
		return false;
	for (size_t i = 0; i < a->n_parts; i++)
		if (!sql_name_equal(&a->parts[i], &b->parts[i]))
			return false;
	return true;
}

void sql_name_write(struct bytes *out, const struct sql_name *name)
{
	bytes_put_u8(out, '"');
	for (size_t i = 0; i < name->len; i++) {
		if (name->text[i] == '"')
			bytes_put_u8(out, '"');
		bytes_put_u8(out, (uint8_t)name->text[i]);
	}
	bytes_put_u8(out, '"');
}

void sql_path_write(struct bytes *out, const struct sql_path *path)
{
	for (size_t i = 0; i < path->n_parts; i++) {
		if (i > 0)
			bytes_put_u8(out, '.');
		sql_name_write(out, &path->parts[i]);
	}
}
