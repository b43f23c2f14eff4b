#include "sql_lexer.h"

/* What a byte can be part of; several at once. */
enum {
	SPACE = 1,
	NEWLINE = 2, /* ends a -- comment, and lets literals continue behind it */
	LETTER = 4,  /* begins a word; every byte from 0x80 up does */
	DIGIT = 8,
	OPERATOR = 16,
	FREE_SIGN = 32, /* an operator with one of these may end in + or - */
	HEX = 64,
};

#define S SPACE
#define N (SPACE | NEWLINE)
#define L LETTER
#define H (LETTER | HEX)
#define D (DIGIT | HEX)
#define O OPERATOR
#define F (OPERATOR | FREE_SIGN)

static const uint8_t classes[256] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, S, N, S, S, N, 0, 0, /* \t \n \v \f \r */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* */
	S, F, 0, F, 0, F, F, 0, 0, 0, O, O, 0, O, 0, O, /*  !"#$%&'()*+,-./ */
	D, D, D, D, D, D, D, D, D, D, 0, 0, O, O, O, F, /* 0123456789:;<=>? */
	F, H, H, H, H, H, H, L, L, L, L, L, L, L, L, L, /* @A..O */
	L, L, L, L, L, L, L, L, L, L, L, 0, 0, 0, F, L, /* P..Z[\]^_ */
	F, H, H, H, H, H, H, L, L, L, L, L, L, L, L, L, /* `a..o */
	L, L, L, L, L, L, L, L, L, L, L, 0, F, 0, F, 0, /* p..z{|}~ */
	L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* 0x80.. */
	L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* */
	L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* */
	L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* */
	L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* */
	L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* */
	L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* */
	L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* ..0xff */
};

#undef S
#undef N
#undef L
#undef H
#undef D
#undef O
#undef F

enum {
	OPERATOR_MAX = 63, /* NAMEDATALEN - 1; PostgreSQL refuses longer ones */
};

/* A position in the text; reading at or past the end gives zero, which no text holds. */
static uint8_t byte_at(const struct sql_lexer *l, size_t at)
{
	return at < l->text.len ? l->text.data[at] : 0;
}

static bool is_at(const struct sql_lexer *l, size_t at, int class)
{
	return (classes[byte_at(l, at)] & class) != 0;
}

static bool pair_at(const struct sql_lexer *l, size_t at, char first, char second)
{
	return byte_at(l, at) == (uint8_t)first && byte_at(l, at + 1) == (uint8_t)second;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static size_t skip_class(const struct sql_lexer *l, size_t at, int class)
{
	while (at < l->text.len && (classes[l->text.data[at]] & class) != 0)
		at++;
	return at;
}

static size_t skip_line(const struct sql_lexer *l, size_t at)
{
	while (at < l->text.len && !is_at(l, at, NEWLINE))
		at++;
	return at;
}

/* Where the byte is next, or the end of the text. */
static size_t find_byte(const struct sql_lexer *l, size_t at, char c)
{
	const uint8_t *found =
		at < l->text.len ? memchr(l->text.data + at, c, l->text.len - at) : NULL;

	return found ? (size_t)(found - l->text.data) : l->text.len;
}

static bool begins_with_one(struct slice name, const char *const *starts)
{
	for (; *starts; starts++)
		if (name.len >= strlen(*starts) && memcmp(name.data, *starts, strlen(*starts)) == 0)
			return true;
	return false;
}

/* With SQL_ASCII the server takes the bytes as they are, in an encoding of its own. */
enum sql_encoding sql_encoding_of(struct slice client_encoding)
{
	static const char *const single[] = {"LATIN", "ISO_8859_", "WIN", "KOI8", NULL};
	static const char *const safe[] = {"SQL_ASCII", "EUC_", "MULE_INTERNAL", NULL};

	if (slice_is(client_encoding, "UTF8"))
		return SQL_ENCODING_UTF8;
	if (begins_with_one(client_encoding, single))
		return SQL_ENCODING_SINGLE_BYTE;
	if (begins_with_one(client_encoding, safe))
		return SQL_ENCODING_ASCII_SAFE;
	return SQL_ENCODING_ASCII_UNSAFE;
}

void sql_lexer_init(struct sql_lexer *l, struct slice text, struct sql_dialect dialect)
{
	bool readable = text.len == 0 || !memchr(text.data, 0, text.len);

	/* A second byte that looks like a quote could only be told from one by knowing the
	 * encoding; such texts are too rare to be worth a mistake. */
	if (dialect.encoding == SQL_ENCODING_ASCII_UNSAFE && !slice_is_ascii(text))
		readable = false;
	*l = (struct sql_lexer){.text = text, .dialect = dialect, .failed = !readable};
}

/* Behind the comment that begins here; false when it has no end. Comments nest. */
static bool skip_block_comment(const struct sql_lexer *l, size_t *at)
{
	size_t depth = 0;
	size_t i = *at;

	while (i < l->text.len) {
		if (pair_at(l, i, '/', '*')) {
			depth++;
			i += 2;
		} else if (pair_at(l, i, '*', '/')) {
			depth--;
			i += 2;
		} else {
			i++;
		}
		if (depth == 0) {
			*at = i;
			return true;
		}
	}
	return false;
}

/* Whitespace and comments; false when a comment has no end. */
static bool skip_blank(struct sql_lexer *l)
{
	for (;;) {
		l->at = skip_class(l, l->at, SPACE);
		if (pair_at(l, l->at, '-', '-'))
			l->at = skip_line(l, l->at);
		else if (!pair_at(l, l->at, '/', '*'))
			return true;
		else if (!skip_block_comment(l, &l->at))
			return false;
	}
}

/* A literal goes on when only whitespace and -- comments with a newline among them, and then a
 * quote, follow. Returns the position behind that quote, or `at` when it does not go on. */
static size_t continuation(const struct sql_lexer *l, size_t at)
{
	bool newline = false;
	size_t i = at;

	for (;; i++) {
		if (pair_at(l, i, '-', '-'))
			i = skip_line(l, i);
		if (!is_at(l, i, SPACE))
			break;
		newline = newline || is_at(l, i, NEWLINE);
	}
	return newline && byte_at(l, i) == '\'' ? i + 1 : at;
}

/* The three rules for what stands between quotes. */
enum quoting {
	QUOTING_NONE,	   /* the next quote ends it: B'' and X'' */
	QUOTING_DOUBLED,   /* '' is a quote */
	QUOTING_BACKSLASH, /* so are \' and '' */
};

/* From behind the opening quote to behind the closing one; false when there is none. */
static bool skip_quoted(const struct sql_lexer *l, size_t *at, char quote, enum quoting quoting)
{
	size_t i = *at;

	while (i < l->text.len) {
		uint8_t c = l->text.data[i];

		if (c == '\\' && quoting == QUOTING_BACKSLASH) {
			i += 2;
		} else if (c != (uint8_t)quote) {
			i = quoting == QUOTING_BACKSLASH ? i + 1 : find_byte(l, i, quote);
		} else if (quoting != QUOTING_NONE && byte_at(l, i + 1) == (uint8_t)quote) {
			i += 2;
		} else {
			*at = i + 1;
			return true;
		}
	}
	return false;
}

static struct sql_token token(enum sql_token_kind kind, size_t start, size_t end)
{
	return (struct sql_token){.kind = kind, .start = start, .end = end};
}

static struct sql_token fail(struct sql_lexer *l, size_t start)
{
	l->failed = true;
	l->at = start;
	return token(SQL_TOKEN_ERROR, start, l->text.len);
}

/* A string whose opening quote is `prefix` bytes on, with the literals that continue it. */
static struct sql_token lex_string(
	struct sql_lexer *l, size_t prefix, enum sql_token_kind kind, enum quoting quoting)
{
	size_t start = l->at;
	size_t end = start + prefix + 1;
	size_t next;

	for (;; end = next) {
		if (!skip_quoted(l, &end, '\'', quoting))
			return fail(l, start);
		next = continuation(l, end);
		if (next == end)
			return token(kind, start, end);
	}
}

static struct sql_token lex_plain_string(struct sql_lexer *l)
{
	if (l->dialect.backslash_in_strings)
		return lex_string(l, 0, SQL_TOKEN_ESCAPE_STRING, QUOTING_BACKSLASH);
	return lex_string(l, 0, SQL_TOKEN_STRING, QUOTING_DOUBLED);
}

/* PostgreSQL refuses U&'' when backslashes count in strings. */
static struct sql_token lex_unicode_string(struct sql_lexer *l)
{
	if (l->dialect.backslash_in_strings)
		return fail(l, l->at);
	return lex_string(l, 2, SQL_TOKEN_UNICODE_STRING, QUOTING_DOUBLED);
}

/* A quoted name whose opening quote is `prefix` bytes on; an empty one is an error. */
static struct sql_token lex_quoted_name(
	struct sql_lexer *l, size_t prefix, enum sql_token_kind kind)
{
	size_t start = l->at;
	size_t end = start + prefix + 1;

	if (!skip_quoted(l, &end, '"', QUOTING_DOUBLED) || end - start == prefix + 2)
		return fail(l, start);
	return token(kind, start, end);
}

static struct sql_token lex_word(struct sql_lexer *l)
{
	size_t end = l->at + 1;

	while (end < l->text.len && (is_at(l, end, LETTER | DIGIT) || l->text.data[end] == '$'))
		end++;
	return token(SQL_TOKEN_WORD, l->at, end);
}

/* A word, unless it is the letter before a quote that makes a literal of it. */
static struct sql_token lex_letter(struct sql_lexer *l)
{
	uint8_t next = byte_at(l, l->at + 1);

	switch (lower(l->text.data[l->at])) {
	case 'e':
		if (next == '\'')
			return lex_string(l, 1, SQL_TOKEN_ESCAPE_STRING, QUOTING_BACKSLASH);
		break;
	case 'b':
	case 'x':
		if (next == '\'')
			return lex_string(l, 1, SQL_TOKEN_BIT_STRING, QUOTING_NONE);
		break;
	case 'u':
		if (pair_at(l, l->at + 1, '&', '\''))
			return lex_unicode_string(l);
		if (pair_at(l, l->at + 1, '&', '"'))
			return lex_quoted_name(l, 2, SQL_TOKEN_UNICODE_NAME);
		break;
	default:
		break;
	}
	return lex_word(l);
}

/* Digits with single underscores between them; `at` when there is no digit. */
static size_t skip_digits(const struct sql_lexer *l, size_t at, int class)
{
	while (is_at(l, at, class) || (byte_at(l, at) == '_' && is_at(l, at + 1, class)))
		at++;
	return at;
}

static size_t skip_decimal(const struct sql_lexer *l, size_t at)
{
	return is_at(l, at, DIGIT) ? skip_digits(l, at, DIGIT) : at;
}

/* The whole part, the fraction and the exponent of a number, each if it is there. `1..2` is a range
 * of two integers, and an `e` without digits behind it is not an exponent. */
static struct sql_token decimal_number(const struct sql_lexer *l)
{
	size_t end = skip_decimal(l, l->at);
	enum sql_token_kind kind = SQL_TOKEN_INTEGER;
	size_t exponent;

	if (byte_at(l, end) == '.' && !pair_at(l, end, '.', '.')) {
		end = skip_decimal(l, end + 1);
		kind = SQL_TOKEN_DECIMAL;
	}
	if (lower(byte_at(l, end)) == 'e') {
		exponent = end + 1;
		if (byte_at(l, exponent) == '+' || byte_at(l, exponent) == '-')
			exponent++;
		if (is_at(l, exponent, DIGIT)) {
			end = skip_decimal(l, exponent);
			kind = SQL_TOKEN_DECIMAL;
		}
	}
	return token(kind, l->at, end);
}

static bool is_digit_of(uint8_t c, uint8_t base)
{
	switch (base) {
	case 'x':
		return (classes[c] & HEX) != 0;
	case 'o':
		return c >= '0' && c <= '7';
	case 'b':
		return c == '0' || c == '1';
	default:
		return false;
	}
}

/* The end of 0x1f, 0o17 or 0b1, where version 16 allows an underscore before each digit; the start
 * when it is none of them. */
static size_t skip_radix(const struct sql_lexer *l)
{
	uint8_t base = byte_at(l, l->at) == '0' ? lower(byte_at(l, l->at + 1)) : 0;
	size_t end = l->at + 2;

	for (;;) {
		size_t digit = byte_at(l, end) == '_' ? end + 1 : end;

		if (!is_digit_of(byte_at(l, digit), base))
			break;
		end = digit + 1;
	}
	return end > l->at + 2 ? end : l->at;
}

/* Older servers end a number before a base or an underscore and take the rest for a word. The next
 * token begins at the same place for all of them, unless that word would go on behind the number:
 * then nobody knows. */
static bool is_ambiguous(const struct sql_lexer *l, struct sql_token t, bool radix)
{
	if (!is_at(l, t.end, LETTER | DIGIT) && byte_at(l, t.end) != '$')
		return false;
	return radix || memchr(l->text.data + t.start, '_', t.end - t.start);
}

static struct sql_token lex_number(struct sql_lexer *l)
{
	size_t radix_end = skip_radix(l);
	bool radix = radix_end > l->at;
	struct sql_token t = radix ? token(SQL_TOKEN_INTEGER, l->at, radix_end) : decimal_number(l);

	return is_ambiguous(l, t, radix) ? fail(l, l->at) : t;
}

/* $tag$ .. $tag$: the first place where the opening delimiter stands again ends it. */
static struct sql_token lex_dollar_string(struct sql_lexer *l, size_t delimiter)
{
	const uint8_t *text = l->text.data;
	size_t body = l->at + delimiter;
	const uint8_t *end = memmem(text + body, l->text.len - body, text + l->at, delimiter);

	if (!end)
		return fail(l, l->at);
	return token(SQL_TOKEN_DOLLAR_STRING, l->at, (size_t)(end - text) + delimiter);
}

static struct sql_token lex_dollar(struct sql_lexer *l)
{
	size_t end = l->at + 1;

	if (is_at(l, end, DIGIT))
		return token(SQL_TOKEN_PARAMETER, l->at, skip_class(l, end, DIGIT));
	if (is_at(l, end, LETTER))
		end = skip_class(l, end, LETTER | DIGIT);
	if (byte_at(l, end) == '$')
		return lex_dollar_string(l, end + 1 - l->at);
	return token(SQL_TOKEN_CHAR, l->at, l->at + 1);
}

/* The run of operator characters that begins here, up to a comment. `*frees_sign` tells whether one
 * that allows a sign at the end is among them. */
static size_t operator_run(const struct sql_lexer *l, bool *frees_sign)
{
	size_t end = l->at;

	*frees_sign = false;
	while (is_at(l, end, OPERATOR) && !pair_at(l, end, '/', '*') &&
		!pair_at(l, end, '-', '-')) {
		*frees_sign = *frees_sign || is_at(l, end, FREE_SIGN);
		end++;
	}
	return end;
}

static bool is_sign(uint8_t c)
{
	return c == '+' || c == '-';
}

static struct sql_token operator_token(const struct sql_lexer *l, size_t end)
{
	bool own = end - l->at == 1 && memchr("+-*/<>=%^", l->text.data[l->at], 9);

	return token(own ? SQL_TOKEN_CHAR : SQL_TOKEN_OPERATOR, l->at, end);
}

/* Signs at the end of an operator belong to what follows, one by one, so that a=-1 means a = -1,
 * unless the operator has a character that standard SQL's operators have not. The signs given back
 * are remembered: a million of them must not be looked at a million times. */
static struct sql_token lex_operator(struct sql_lexer *l)
{
	bool frees_sign;
	size_t run_end;
	size_t end;

	if (l->at < l->signs_end)
		return token(SQL_TOKEN_CHAR, l->at, l->at + 1);
	run_end = operator_run(l, &frees_sign);
	end = run_end;
	while (!frees_sign && end - l->at > 1 && is_sign(l->text.data[end - 1]))
		end--;
	if (end - l->at > OPERATOR_MAX)
		return fail(l, l->at);
	l->signs_end = end < run_end ? run_end : 0;
	return operator_token(l, end);
}

static struct sql_token lex_punctuation(struct sql_lexer *l)
{
	if (pair_at(l, l->at, ':', ':') || pair_at(l, l->at, ':', '=') ||
		pair_at(l, l->at, '.', '.'))
		return token(SQL_TOKEN_SYMBOL, l->at, l->at + 2);
	return token(SQL_TOKEN_CHAR, l->at, l->at + 1);
}

static struct sql_token lex(struct sql_lexer *l)
{
	uint8_t c = l->text.data[l->at];

	if (classes[c] & LETTER)
		return lex_letter(l);
	if ((classes[c] & DIGIT) || (c == '.' && is_at(l, l->at + 1, DIGIT)))
		return lex_number(l);
	if (classes[c] & OPERATOR)
		return lex_operator(l);
	switch (c) {
	case '\'':
		return lex_plain_string(l);
	case '"':
		return lex_quoted_name(l, 0, SQL_TOKEN_QUOTED_NAME);
	case '$':
		return lex_dollar(l);
	default:
		return lex_punctuation(l);
	}
}

struct sql_token sql_lexer_next(struct sql_lexer *l)
{
	struct sql_token t;

	if (l->failed || !skip_blank(l))
		return fail(l, l->at);
	if (l->at >= l->text.len)
		return token(SQL_TOKEN_END, l->text.len, l->text.len);
	t = lex(l);
	if (t.kind != SQL_TOKEN_ERROR)
		l->at = t.end;
	return t;
}

struct slice sql_token_text(struct slice text, struct sql_token t)
{
	return t.end > t.start ? slice_of(text.data + t.start, t.end - t.start) : slice_of(NULL, 0);
}

bool sql_token_is_word(struct slice text, struct sql_token t, const char *word)
{
	size_t i = t.start;

	if (t.kind != SQL_TOKEN_WORD)
		return false;
	while (i < t.end && *word && lower(text.data[i]) == (uint8_t)*word) {
		i++;
		word++;
	}
	return i == t.end && !*word;
}

bool sql_token_is_char(struct slice text, struct sql_token t, char c)
{
	return t.kind == SQL_TOKEN_CHAR && text.data[t.start] == (uint8_t)c;
}

bool sql_token_is_name(struct sql_token t)
{
	return t.kind == SQL_TOKEN_WORD || t.kind == SQL_TOKEN_QUOTED_NAME ||
	       t.kind == SQL_TOKEN_UNICODE_NAME;
}
