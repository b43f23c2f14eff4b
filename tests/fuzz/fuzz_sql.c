/*
 * fuzz_sql.c - any bytes as a SQL text: ranges in bounds and in order, progress, and answers that
 * agree with one another.
 *
 * The first byte of the input chooses the dialect.
 */
#include "sql_name.h"
#include "sql_search.h"
#include "statement_effect.h"

#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
	if (!good)
		abort();
}

static bool is_last(struct sql_token t)
{
	return t.kind == SQL_TOKEN_END || t.kind == SQL_TOKEN_ERROR;
}

static void check_tokens(struct slice text, struct sql_dialect dialect)
{
	struct sql_lexer lexer;
	struct sql_token t;
	size_t last = 0;

	sql_lexer_init(&lexer, text, dialect);
	while (!is_last(t = sql_lexer_next(&lexer))) {
		must(t.start >= last && t.start < t.end && t.end <= text.len);
		last = t.end;
	}
	must(t.start >= last && t.start <= t.end && t.end == text.len);
	must(sql_lexer_next(&lexer).kind == t.kind);
}

/* A statement cut out of its text has the tokens that it had in it. */
static void check_cut(const struct statement *s, struct slice text, struct sql_dialect dialect)
{
	struct sql_lexer whole;
	struct sql_lexer alone;
	struct sql_token t;
	struct sql_token same;

	sql_lexer_init(&whole, text, dialect);
	whole.at = s->offset;
	sql_lexer_init(&alone, s->text, dialect);
	while (!is_last(t = sql_lexer_next(&alone))) {
		same = sql_lexer_next(&whole);
		must(same.kind == t.kind && same.start == s->offset + t.start &&
			same.end == s->offset + t.end);
	}
	must(t.kind == SQL_TOKEN_END);
}

static void check_part(const struct statement *s, struct slice part, struct sql_dialect dialect)
{
	struct sql_path path;
	struct sql_path again;
	struct bytes out;

	if (part.len == 0)
		return;
	must(part.data >= s->text.data && part.len <= s->text.len);
	must((size_t)(part.data - s->text.data) <= s->text.len - part.len);
	if (!sql_path_decode(part, dialect, &path))
		return;
	bytes_init(&out, 1000);
	sql_path_write(&out, &path);
	must(sql_path_decode(bytes_view(&out), dialect, &again) && sql_path_equal(&path, &again));
	for (size_t i = 0; i < path.n_parts; i++)
		must(path.parts[i].len == strlen(path.parts[i].text) && path.parts[i].len > 0);
	bytes_release(&out);
}

/* The plain form is as long, and is nothing that concerns us. */
static void check_plain(const struct statement *s, struct sql_dialect dialect)
{
	struct statement plain;
	struct bytes out;

	bytes_init(&out, s->text.len);
	statement_write_plain(&out, s);
	must(bytes_length(&out) == s->text.len);
	must(statement_first(bytes_view(&out), dialect, &plain));
	must(plain.kind == STATEMENT_OTHER);
	bytes_release(&out);
}

static void check_known(const struct statement *s, struct sql_dialect dialect)
{
	struct statement again;

	check_part(s, s->aside.index, dialect);
	check_part(s, s->aside.table, dialect);
	check_part(s, s->aside.partition, dialect);
	check_part(s, s->aside.scope, dialect);
	check_part(s, s->control.savepoint, dialect);
	must(statement_first(s->text, dialect, &again) && again.kind == s->kind);
	must(statement_is_aside(s) == (statement_command_tag(s) != NULL));
	must(statement_is_aside(s) == (s->aside.n_blanks > 0));
	if (statement_is_aside(s))
		check_plain(s, dialect);
}

static void check_effect(const struct statement *s, struct sql_dialect dialect)
{
	struct statement_effect e;

	statement_effect_read(s, dialect, &e);
	check_part(s, e.made_name, dialect);
	check_part(s, e.made_on, dialect);
	check_part(s, e.renamed_to, dialect);
	check_part(s, e.moved_to, dialect);
	must(e.n_touches <= EFFECT_TOUCHES);
	for (size_t i = 0; i < e.n_touches; i++)
		check_part(s, e.touches[i].name, dialect);
	must((e.n_touches > 0) <= (e.touched != EFFECT_NOTHING));
}

static void check_statements(struct slice text, struct sql_dialect dialect)
{
	struct statement_summary summary = statement_summarise(text, dialect);
	struct statement_iterator it;
	struct statement s;
	size_t next = 0;

	statement_iterator_init(&it, text, dialect);
	while (statement_next(&it, &s)) {
		must(s.start == next && s.end >= s.start && s.end <= text.len);
		must(s.offset >= s.start && s.offset <= s.end && s.text.len <= s.end - s.offset);
		must((s.text.len == 0) == (s.kind == STATEMENT_EMPTY));
		must(s.text.len == 0 || s.text.data == text.data + s.offset);
		must(s.end == text.len || text.data[s.end] == ';');
		summary.n_pieces -= s.kind != STATEMENT_EMPTY;
		if (!it.unsure)
			check_cut(&s, text, dialect);
		if (s.kind > STATEMENT_OTHER)
			check_known(&s, dialect);
		else
			check_effect(&s, dialect);
		next = s.end + 1;
	}
	must(next == text.len + 1 && summary.n_pieces == 0 && summary.unsure == it.unsure);
}

static void check_search(struct slice text)
{
	static const char word[] = "concurrently";
	bool found = false;

	for (size_t i = 0; i + sizeof(word) - 1 <= text.len && !found; i++)
		found = strncasecmp((const char *)text.data + i, word, sizeof(word) - 1) == 0;
	must(sql_search_concurrently(text) == found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum sql_encoding encodings[] = {SQL_ENCODING_UTF8, SQL_ENCODING_SINGLE_BYTE,
		SQL_ENCODING_ASCII_UNSAFE, SQL_ENCODING_UTF8};
	struct sql_dialect dialect = {.encoding = SQL_ENCODING_UTF8};
	struct slice text;

	if (size == 0)
		return 0;
	dialect.encoding = encodings[data[0] % 4];
	dialect.backslash_in_strings = (data[0] & 4) != 0;
	text = slice_of(data + 1, size - 1);
	check_tokens(text, dialect);
	check_statements(text, dialect);
	check_search(text);
	return 0;
}
