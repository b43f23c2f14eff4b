#include "statement_reader.h"

void reader_advance(struct reader *r)
{
	r->now = r->next;
	r->next = sql_lexer_next(&r->lexer);
}

void reader_init(struct reader *r, struct slice text, struct sql_dialect dialect)
{
	*r = (struct reader){.text = text, .dialect = dialect};
	sql_lexer_init(&r->lexer, text, dialect);
	reader_advance(r);
	reader_advance(r);
}

bool reader_at_end(const struct reader *r)
{
	return r->now.kind == SQL_TOKEN_END;
}

bool reader_at_token(const struct reader *r)
{
	return r->now.kind != SQL_TOKEN_END && r->now.kind != SQL_TOKEN_ERROR;
}

bool reader_at_word(const struct reader *r, const char *word)
{
	return sql_token_is_word(r->text, r->now, word);
}

bool reader_at_char(const struct reader *r, char c)
{
	return sql_token_is_char(r->text, r->now, c);
}

bool reader_accept_word(struct reader *r, const char *word)
{
	bool there = reader_at_word(r, word);

	if (there)
		reader_advance(r);
	return there;
}

bool reader_accept_char(struct reader *r, char c)
{
	bool there = reader_at_char(r, c);

	if (there)
		reader_advance(r);
	return there;
}

bool reader_accept_words(struct reader *r, const char *first, const char *second)
{
	bool there = reader_at_word(r, first) && sql_token_is_word(r->text, r->next, second);

	if (there) {
		reader_advance(r);
		reader_advance(r);
	}
	return there;
}

struct slice reader_between(const struct reader *r, size_t start, size_t end)
{
	return slice_of(r->text.data + start, end - start);
}

bool reader_at_string(const struct reader *r)
{
	return r->now.kind == SQL_TOKEN_STRING || r->now.kind == SQL_TOKEN_ESCAPE_STRING ||
	       r->now.kind == SQL_TOKEN_UNICODE_STRING || r->now.kind == SQL_TOKEN_DOLLAR_STRING;
}

/* A name with the UESCAPE clause that may belong to it. `*end` is where it ends. */
static bool skip_name(struct reader *r, size_t *end)
{
	bool unicode = r->now.kind == SQL_TOKEN_UNICODE_NAME;

	if (!sql_token_is_name(r->now))
		return false;
	*end = r->now.end;
	reader_advance(r);
	if (!unicode || !reader_accept_word(r, "uescape"))
		return true;
	if (!reader_at_string(r))
		return false;
	*end = r->now.end;
	reader_advance(r);
	return true;
}

bool reader_name(struct reader *r, struct slice *out)
{
	size_t start = r->now.start;
	size_t end;

	if (!skip_name(r, &end))
		return false;
	*out = reader_between(r, start, end);
	return true;
}

bool reader_path(struct reader *r, struct slice *out)
{
	size_t start = r->now.start;
	size_t end;

	if (!skip_name(r, &end))
		return false;
	while (reader_accept_char(r, '.'))
		if (!skip_name(r, &end))
			return false;
	*out = reader_between(r, start, end);
	return true;
}
