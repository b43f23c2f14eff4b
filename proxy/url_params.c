#include "url_params.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
	WORD_SIZE = 32 /* of a value that is one of a few words */
};

static struct slice behind(struct slice s, size_t len)
{
	return slice_of(s.data + len, s.len - len);
}

static size_t find(struct slice s, char c)
{
	const uint8_t *at = s.len > 0 ? memchr(s.data, c, s.len) : NULL;

	return at ? (size_t)(at - s.data) : s.len;
}

/* Small letters without '_': drivers write target_session_attrs and targetSessionAttrs. */
static void fold(struct slice key, char out[URL_KEY_SIZE])
{
	size_t len = 0;

	out[0] = '\0';
	if (key.len >= URL_KEY_SIZE)
		return;
	for (size_t i = 0; i < key.len; i++)
		if (key.data[i] != '_')
			out[len++] = (char)tolower(key.data[i]);
	out[len] = '\0';
}

static bool next_in_query(struct slice *rest, struct url_param *p)
{
	size_t len, key;

	while (rest->len > 0 && rest->data[0] == '&')
		*rest = behind(*rest, 1);
	if (rest->len == 0)
		return false;
	len = find(*rest, '&');
	p->raw = slice_of(rest->data, len);
	key = find(p->raw, '=');
	p->key = slice_of(p->raw.data, key);
	p->value = behind(p->raw, key + (key < len));
	*rest = behind(*rest, len);
	return true;
}

static size_t blanks(struct slice s, size_t at)
{
	while (at < s.len && isspace(s.data[at]))
		at++;
	return at;
}

/* The end of a value that begins at `at`; 0 when its quote is not closed. */
static size_t keyword_value_end(struct slice s, size_t at)
{
	bool quoted = at < s.len && s.data[at] == '\'';

	for (at += quoted; at < s.len; at++) {
		if (s.data[at] == '\\')
			at++;
		else if (quoted && s.data[at] == '\'')
			return at + 1;
		else if (!quoted && isspace(s.data[at]))
			return at;
	}
	return quoted || at > s.len ? 0 : at;
}

/* key = value, key = 'va\'lue' */
static bool next_keyword(struct slice *rest, struct url_param *p)
{
	size_t key = 0, at, end;

	*rest = behind(*rest, blanks(*rest, 0));
	while (key < rest->len && rest->data[key] != '=' && !isspace(rest->data[key]))
		key++;
	at = blanks(*rest, key);
	if (key == 0 || at == rest->len || rest->data[at] != '=')
		return false;
	at = blanks(*rest, at + 1);
	end = keyword_value_end(*rest, at);
	if (end == 0)
		return false;
	p->raw = slice_of(rest->data, end);
	p->key = slice_of(rest->data, key);
	p->value = slice_of(rest->data + at, end - at);
	*rest = behind(*rest, end);
	return true;
}

bool url_next_param(enum url_form form, struct slice *rest, struct url_param *p)
{
	if (!(form == URL_KEYWORDS ? next_keyword(rest, p) : next_in_query(rest, p)))
		return false;
	fold(p->key, p->folded);
	return true;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (uint8_t)tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that %41 stands for at `at`; -1 when it stands for none. */
static int encoded_byte(struct slice raw, size_t at)
{
	int high, low;

	if (raw.data[at] != '%' || raw.len - at < 3)
		return -1;
	high = hex_digit(raw.data[at + 1]);
	low = hex_digit(raw.data[at + 2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A percent sign that encodes nothing is one. */
static bool decode_percent(struct slice raw, bool plus, struct bytes *out)
{
	for (size_t i = 0; i < raw.len; i++) {
		int c = encoded_byte(raw, i);

		if (c >= 0)
			i += 2;
		else
			c = plus && raw.data[i] == '+' ? ' ' : raw.data[i];
		if (c == '\0')
			return false;
		bytes_put_u8(out, (uint8_t)c);
	}
	return !bytes_failed(out);
}

static bool unquote(struct slice raw, struct bytes *out)
{
	if (raw.len > 1 && raw.data[0] == '\'')
		raw = slice_of(raw.data + 1, raw.len - 2);
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.data[i] == '\\' && i + 1 < raw.len)
			i++;
		bytes_put_u8(out, raw.data[i]);
	}
	return !bytes_failed(out);
}

bool url_decode_value(enum url_form form, struct slice raw, struct bytes *out)
{
	switch (form) {
	case URL_PLAIN:
		return decode_percent(raw, false, out);
	case URL_JDBC:
		return decode_percent(raw, true, out);
	case URL_KEYWORDS:
		return unquote(raw, out);
	}
	return false;
}

char *url_take_text(struct bytes *b)
{
	struct slice s = bytes_view(b);
	char *text = bytes_failed(b) ? NULL : strndup(s.data ? (const char *)s.data : "", s.len);

	bytes_wipe(b);
	return text;
}

char *url_param_value(const struct url *u, const char *folded)
{
	struct slice rest = u->query;
	struct url_param p;
	struct bytes b;
	bool found = false;

	bytes_init(&b, URL_TEXT_LIMIT);
	while (url_next_param(u->form, &rest, &p)) {
		if (!*folded || strcmp(p.folded, folded) != 0)
			continue;
		bytes_clear(&b);
		found = url_decode_value(u->form, p.value, &b);
	}
	if (found)
		return url_take_text(&b);
	bytes_wipe(&b);
	return NULL;
}

char *url_take_keyword(char *keywords, const char *key)
{
	struct slice rest = slice_str(keywords);
	struct url_param p;
	struct bytes value;
	bool found = false;

	bytes_init(&value, URL_TEXT_LIMIT);
	while (url_next_param(URL_KEYWORDS, &rest, &p)) {
		if (!slice_is(p.key, key))
			continue;
		bytes_clear(&value);
		found = url_decode_value(URL_KEYWORDS, p.value, &value);
		memset(keywords + (p.raw.data - (const uint8_t *)keywords), ' ', p.raw.len);
	}
	return found ? url_take_text(&value) : NULL;
}

const char *url_sslmode_named(const char *value)
{
	static const struct {
		const char *value, *sslmode;
	} words[] = {
		{"disable", "disable"},
		{"allow", "allow"},
		{"prefer", "prefer"},
		{"require", "require"},
		{"verify-ca", "verify-ca"},
		{"verify-full", "verify-full"},
		{"verify_ca", "verify-ca"},
		{"verify_full", "verify-full"},
		{"no-verify", "require"},
		{"true", "require"},
		{"1", "require"},
		{"on", "require"},
		{"false", "disable"},
		{"0", "disable"},
		{"off", "disable"},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(words[i].value, value) == 0)
			return words[i].sslmode;
	return NULL;
}

/* The value of a parameter that is one of a few words; "" = it is not there. */
static void param_word(const struct url *u, const char *folded, char word[WORD_SIZE])
{
	char *value = url_param_value(u, folded);

	snprintf(word, WORD_SIZE, "%s", value ? value : "");
	free(value);
}

/*
 * To JDBC and R2DBC ssl=true, or ssl alone, means verify-full, unless a factory is named that
 * verifies nothing. To others it is the driver's own business; libpq reads it as require.
 */
static const char *jdbc_ssl(const struct url *u, const char *sslmode)
{
	char *factory = url_param_value(u, "sslfactory");
	bool unverified = factory && strstr(factory, "NonValidatingFactory");

	free(factory);
	return strcmp(sslmode, "require") == 0 && !unverified ? "verify-full" : sslmode;
}

/* Prisma has its own word for whether the certificate counts; its "prefer" and "require" leave that
 * open. */
static const char *prisma_sslmode(const char *accept, const char *sslmode)
{
	if (strcmp(accept, "strict") == 0 && strcmp(sslmode, "disable") != 0)
		return "verify-full";
	return *accept && !*sslmode ? "require" : sslmode;
}

bool url_sslmode(const struct url *u, const char **sslmode, struct err *e)
{
	char *ssl = url_param_value(u, "ssl");
	bool ssl_alone = ssl && !*ssl && u->form == URL_JDBC;
	char word[WORD_SIZE], accept[WORD_SIZE];

	free(ssl);
	*sslmode = "";
	param_word(u, "sslmode", word);
	if (*word) {
		*sslmode = url_sslmode_named(word);
	} else {
		param_word(u, "ssl", word);
		if (*word || ssl_alone)
			*sslmode = url_sslmode_named(ssl_alone ? "true" : word);
		if (*sslmode && u->form == URL_JDBC)
			*sslmode = jdbc_ssl(u, *sslmode);
	}
	if (!*sslmode)
		return err_set(e, "F0000", "has an sslmode that is not known");
	param_word(u, "sslaccept", accept);
	*sslmode = prisma_sslmode(accept, *sslmode);
	return true;
}
