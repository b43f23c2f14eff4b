#include "log_escape.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum {
	PIECE_SIZE = 5,	     /* the longest escape, \xNN, or a character of UTF-8, terminated */
	JSON_PIECE_SIZE = 7, /* the same there, \u00NN */
	MAX_DIGITS = 15	     /* of a number that every reader of JSON gets exactly */
};

unsigned log_utf8_length(const unsigned char *text, unsigned len)
{
	static const struct {
		unsigned char lowest, highest, second_lowest, second_highest, length;
	} forms[] = {
		{0xc2, 0xc2, 0xa0, 0xbf, 2},
		{0xc3, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	unsigned f = 0;

	while (f < sizeof(forms) / sizeof(forms[0]) &&
		!(text[0] >= forms[f].lowest && text[0] <= forms[f].highest))
		f++;
	if (f == sizeof(forms) / sizeof(forms[0]) || len < forms[f].length ||
		text[1] < forms[f].second_lowest || text[1] > forms[f].second_highest)
		return 0;
	for (unsigned i = 2; i < forms[f].length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return forms[f].length;
}

/* One character as it is written, terminated. Returns how many bytes of `text` that is. */
static unsigned escape(char piece[PIECE_SIZE], const unsigned char *text, unsigned len)
{
	static const char special[] = "\"\"\\\\\nn\rr\tt"; /* pairs: character, letter */
	unsigned char c = text[0];
	unsigned used = log_utf8_length(text, len);

	for (const char *s = special; *s; s += 2) {
		if ((char)c == s[0]) {
			snprintf(piece, PIECE_SIZE, "\\%c", s[1]);
			return 1;
		}
	}
	if (c >= 0x20 && c < 0x7f)
		used = 1;
	if (used == 0) {
		snprintf(piece, PIECE_SIZE, "\\x%02x", c);
		return 1;
	}
	memcpy(piece, text, used);
	piece[used] = '\0';
	return used;
}

const char *log_quote(char *out, unsigned size, const char *text, unsigned len)
{
	static const char cut[] = "...\"";
	unsigned at = 1, cut_at = 1;
	char piece[PIECE_SIZE];

	out[0] = '"';
	for (unsigned i = 0; i < len;) {
		unsigned used = escape(piece, (const unsigned char *)text + i, len - i);
		unsigned n = (unsigned)strlen(piece);

		if (at + sizeof(cut) <= size)
			cut_at = at;
		if (at + n + sizeof("\"") > size) {
			memcpy(out + cut_at, cut, sizeof(cut));
			return out;
		}
		memcpy(out + at, piece, n);
		at += n;
		i += used;
	}
	memcpy(out + at, "\"", sizeof("\""));
	return out;
}

/* Text that is written, up to `room`; behind that is place for what ends it. */
struct writer {
	char *out;
	size_t len, room;
};

static void append(struct writer *w, const char *text, size_t len)
{
	memcpy(w->out + w->len, text, len);
	w->len += len;
}

static bool put(struct writer *w, const char *text, size_t len)
{
	if (w->len > w->room || len > w->room - w->len)
		return false;
	append(w, text, len);
	return true;
}

static unsigned json_code(char piece[JSON_PIECE_SIZE], unsigned code, unsigned used)
{
	snprintf(piece, JSON_PIECE_SIZE, "\\u%04x", code & 0xffu);
	return used;
}

/* An escape of log_quote(). Returns how many bytes of `text` it is. */
static unsigned json_escape(char piece[JSON_PIECE_SIZE], const char *text, size_t len)
{
	char digits[3] = "";

	if (len >= 2 && text[1] && strchr("\"\\nrt", text[1])) {
		snprintf(piece, JSON_PIECE_SIZE, "%.2s", text);
		return 2;
	}
	if (len >= 4 && text[1] == 'x') {
		memcpy(digits, text + 2, 2);
		return json_code(piece, (unsigned)strtoul(digits, NULL, 16), 4);
	}
	snprintf(piece, JSON_PIECE_SIZE, "\\\\");
	return 1;
}

/* One character of a value, which is in quotes or not. Returns how many bytes of `text` it is. */
static unsigned json_character(
	char piece[JSON_PIECE_SIZE], const char *text, size_t len, bool quoted)
{
	unsigned char c = (unsigned char)text[0];
	unsigned used = log_utf8_length((const unsigned char *)text, (unsigned)len);

	if (c == '\\' && quoted)
		return json_escape(piece, text, len);
	if (c == '"' || c == '\\') {
		snprintf(piece, JSON_PIECE_SIZE, "\\%c", c);
		return 1;
	}
	if (c >= 0x20 && c < 0x7f)
		used = 1;
	if (used == 0)
		return json_code(piece, c, 1);
	memcpy(piece, text, used);
	piece[used] = '\0';
	return used;
}

/* False when it had to be cut, which shows. */
static bool put_string(struct writer *w, const char *text, size_t len, bool quoted)
{
	char piece[JSON_PIECE_SIZE];
	bool whole = true;

	append(w, "\"", 1);
	for (size_t i = 0; i < len && whole;) {
		i += json_character(piece, text + i, len - i, quoted);
		whole = put(w, piece, strlen(piece));
	}
	if (!whole)
		append(w, "...", 3);
	append(w, "\"", 1);
	return whole;
}

/* A SQLSTATE may look like a number, but is none. */
static bool is_number(const char *key, size_t key_len, const char *text, size_t len)
{
	if (key_len == strlen("sqlstate") && memcmp(key, "sqlstate", key_len) == 0)
		return false;
	return len > 0 && len <= MAX_DIGITS && strspn(text, "0123456789") >= len &&
	       (text[0] != '0' || len == 1);
}

/* How long the quoted text is that begins at `text`, with its quotes; it may lack the second. */
static size_t quoted_length(const char *text)
{
	size_t len = 1;

	while (text[len] && text[len] != '"')
		len += text[len] == '\\' && text[len + 1] ? 2 : 1;
	return text[len] ? len + 1 : len;
}

/* `key=value`, of which it returns the length; 0 when there was no room for all of it. */
static size_t put_pair(struct writer *w, const char *pair)
{
	size_t key_len = strcspn(pair, "= "), mark = w->len;
	const char *value = pair + key_len + (pair[key_len] == '=');
	size_t len = *value == '"' ? quoted_length(value) : strcspn(value, " ");
	bool ok = mark == 1 || put(w, ",", 1);

	/* A key is short, and is not cut. */
	ok = ok && w->len < w->room && key_len + 4 < w->room - w->len &&
	     put_string(w, pair, key_len, false) && put(w, ":", 1);
	if (!ok) {
		w->len = mark;
		return 0;
	}
	if (*value == '"')
		ok = put_string(w, value + 1, len - 1 - (len > 1 && value[len - 1] == '"'), true);
	else if (is_number(pair, key_len, value, len) && len < w->room - w->len)
		append(w, value, len);
	else
		ok = put_string(w, value, len, false);
	return ok ? (size_t)(value - pair) + len : 0;
}

size_t log_json(char *out, size_t size, const char *line)
{
	struct writer w = {.out = out, .room = size - strlen("\"...\"}")};

	append(&w, "{", 1);
	for (line += strspn(line, " "); *line; line += strspn(line, " ")) {
		size_t len = put_pair(&w, line);

		if (len == 0)
			break;
		line += len;
	}
	append(&w, "}", 1);
	return w.len;
}
