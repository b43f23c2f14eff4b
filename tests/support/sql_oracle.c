#include "sql_oracle.h"

#include "parse_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

static const struct sql_dialect utf8 = {.encoding = SQL_ENCODING_UTF8};

static bool differ(struct sql_oracle *o, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static bool differ(struct sql_oracle *o, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(o->why, sizeof(o->why), format, args);
	va_end(args);
	return false;
}

static char *terminated(struct slice text)
{
	char *copy = malloc(text.len + 1);

	if (!copy)
		abort();
	if (text.len > 0)
		memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	return copy;
}

/* What of our kinds a token of libpg_query is; END for a comment. */
static enum sql_token_kind kind_of(const PgQuery__ScanToken *t, const char *text)
{
	if (t->keyword_kind != PG_QUERY__KEYWORD_KIND__NO_KEYWORD)
		return SQL_TOKEN_WORD;
	switch ((int)t->token) {
	case PG_QUERY__TOKEN__SQL_COMMENT:
	case PG_QUERY__TOKEN__C_COMMENT:
		return SQL_TOKEN_END;
	case PG_QUERY__TOKEN__IDENT:
		return text[t->start] == '"' ? SQL_TOKEN_QUOTED_NAME : SQL_TOKEN_WORD;
	case PG_QUERY__TOKEN__UIDENT:
		return SQL_TOKEN_UNICODE_NAME;
	case PG_QUERY__TOKEN__SCONST:
		if (text[t->start] == '$')
			return SQL_TOKEN_DOLLAR_STRING;
		return text[t->start] == '\'' ? SQL_TOKEN_STRING : SQL_TOKEN_ESCAPE_STRING;
	case PG_QUERY__TOKEN__USCONST:
		return SQL_TOKEN_UNICODE_STRING;
	case PG_QUERY__TOKEN__BCONST:
	case PG_QUERY__TOKEN__XCONST:
		return SQL_TOKEN_BIT_STRING;
	case PG_QUERY__TOKEN__ICONST:
		return SQL_TOKEN_INTEGER;
	case PG_QUERY__TOKEN__FCONST:
		return SQL_TOKEN_DECIMAL;
	case PG_QUERY__TOKEN__PARAM:
		return SQL_TOKEN_PARAMETER;
	case PG_QUERY__TOKEN__TYPECAST:
	case PG_QUERY__TOKEN__DOT_DOT:
	case PG_QUERY__TOKEN__COLON_EQUALS:
		return SQL_TOKEN_SYMBOL;
	case PG_QUERY__TOKEN__Op:
	case PG_QUERY__TOKEN__EQUALS_GREATER:
	case PG_QUERY__TOKEN__LESS_EQUALS:
	case PG_QUERY__TOKEN__GREATER_EQUALS:
	case PG_QUERY__TOKEN__NOT_EQUALS:
		return SQL_TOKEN_OPERATOR;
	default:
		return SQL_TOKEN_CHAR;
	}
}

/* An integer that is too large for 32 bits is a decimal there. */
static bool same_kind(enum sql_token_kind ours, enum sql_token_kind theirs)
{
	return ours == theirs || (ours == SQL_TOKEN_INTEGER && theirs == SQL_TOKEN_DECIMAL);
}

static bool end_is_believed(enum sql_token_kind kind)
{
	return kind != SQL_TOKEN_UNICODE_NAME && kind != SQL_TOKEN_UNICODE_STRING;
}

static bool compare_token(
	struct sql_oracle *o, struct sql_token ours, const PgQuery__ScanToken *t, const char *text)
{
	enum sql_token_kind theirs = kind_of(t, text);

	o->tokens++;
	if (!same_kind(ours.kind, theirs))
		return differ(o, "at %zu: kind %d, not %d, of %.40s", ours.start, (int)ours.kind,
			(int)theirs, text + ours.start);
	if (ours.start != (size_t)t->start ||
		(end_is_believed(theirs) && ours.end != (size_t)t->end))
		return differ(o, "at %zu: ends at %zu, not [%d, %d): %.40s", ours.start, ours.end,
			t->start, t->end, text + ours.start);
	return true;
}

static bool compare_tokens(struct sql_oracle *o, struct slice text,
	const PgQuery__ScanResult *theirs, const char *copy)
{
	struct sql_lexer lexer;
	struct sql_token t;

	sql_lexer_init(&lexer, text, utf8);
	for (size_t i = 0; i < theirs->n_tokens; i++) {
		if (kind_of(theirs->tokens[i], copy) == SQL_TOKEN_END)
			continue;
		t = sql_lexer_next(&lexer);
		if (!compare_token(o, t, theirs->tokens[i], copy))
			return false;
	}
	t = sql_lexer_next(&lexer);
	if (t.kind != SQL_TOKEN_END)
		return differ(o, "at %zu: kind %d, not the end", t.start, (int)t.kind);
	return true;
}

/* Whether a literal may continue over a comment behind the quote at `at`: blanks, a comment and the
 * end of its line are still part of the token. */
static bool may_continue(struct slice token, size_t at)
{
	size_t after = at + 1;

	while (after < token.len && memchr(" \t\r\n\f", token.data[after], 5))
		after++;
	if (token.data[at] != '\'' || token.len - after < 2 || token.data[after] != '-' ||
		token.data[after + 1] != '-')
		return false;
	return memchr(token.data + after, '\n', token.len - after) ||
	       memchr(token.data + after, '\r', token.len - after);
}

/* A literal that such a comment leaves without an end counts as well: ERROR reaches from it on. */
static bool has_commented_literal(struct slice text)
{
	struct sql_lexer lexer;
	struct sql_token t;

	sql_lexer_init(&lexer, text, utf8);
	do {
		t = sql_lexer_next(&lexer);
		for (size_t i = 0; i < t.end - t.start; i++)
			if (may_continue(sql_token_text(text, t), i))
				return true;
	} while (t.kind != SQL_TOKEN_END && t.kind != SQL_TOKEN_ERROR);
	return false;
}

/* A server refuses what is not UTF-8 before it lexes it; libpg_query does not look. */
static bool is_utf8(struct slice text)
{
	size_t left = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (left > 0 ? (c & 0xc0) != 0x80 : (c & 0xc0) == 0x80 || c > 0xf7)
			return false;
		if (left > 0)
			left--;
		else if (c >= 0xc0)
			left = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
	}
	return left == 0;
}

static bool is_comparable(struct slice text)
{
	if (text.len == 0 || memchr(text.data, 0, text.len) || memchr(text.data, '\v', text.len))
		return false;
	return is_utf8(text) && !has_commented_literal(text);
}

bool sql_oracle_tokens(struct sql_oracle *o, struct slice text)
{
	char *copy = terminated(text);
	PgQueryScanResult scan = {.error = NULL};
	bool same = true;

	if (is_comparable(text)) {
		scan = pg_query_scan(copy);
		if (!scan.error) {
			PgQuery__ScanResult *theirs = pg_query__scan_result__unpack(
				NULL, scan.pbuf.len, (const uint8_t *)scan.pbuf.data);

			same = theirs ? compare_tokens(o, text, theirs, copy)
				      : differ(o, "the answer of libpg_query cannot be read");
			if (theirs)
				pg_query__scan_result__free_unpacked(theirs, NULL);
		}
		pg_query_free_scan_result(scan);
	}
	free(copy);
	return same;
}

/* The plain form must be the same statement to the grammar, only no longer concurrent. */
static bool compare_plain(struct sql_oracle *o, const struct statement *s)
{
	PgQueryParseResult parsed;
	struct bytes plain;
	bool good;

	bytes_init(&plain, s->text.len + 1);
	statement_write_plain(&plain, s);
	bytes_put_u8(&plain, 0);
	parsed = pg_query_parse((const char *)bytes_view(&plain).data);
	good = !parsed.error && parse_tree_kind(parsed.parse_tree) == STATEMENT_OTHER;
	if (!good)
		differ(o, "wrong plain form: %.400s", (const char *)bytes_view(&plain).data);
	pg_query_free_parse_result(parsed);
	bytes_release(&plain);
	return good;
}

/* A REINDEX with options in a spelling that nobody uses is left to the server. */
static bool may_be_left(const struct statement *s, enum statement_kind theirs)
{
	return theirs == STATEMENT_REINDEX && s->kind == STATEMENT_OTHER;
}

static bool compare_kind(struct sql_oracle *o, const struct statement *s, const char *json)
{
	enum statement_kind theirs = parse_tree_kind(json);

	o->statements++;
	if (may_be_left(s, theirs))
		return true;
	o->asides += statement_is_aside(s);
	o->controls += statement_is_control(s);
	if (s->kind != theirs)
		return differ(o, "kind %d, not %d: %.*s", (int)s->kind, (int)theirs,
			(int)s->text.len, (const char *)s->text.data);
	if (!parse_tree_agrees(json, s))
		return differ(o, "other details: %.*s\n%s", (int)s->text.len,
			(const char *)s->text.data, json);
	return !statement_is_aside(s) || compare_plain(o, s);
}

static bool compare_statement(struct sql_oracle *o, const struct statement *s)
{
	char *copy = terminated(s->text);
	PgQueryParseResult parsed = pg_query_parse(copy);
	bool same = parsed.error ? differ(o, "does not parse alone: %s", copy)
				 : compare_kind(o, s, parsed.parse_tree);

	pg_query_free_parse_result(parsed);
	free(copy);
	return same;
}

static bool compare_pieces(
	struct sql_oracle *o, struct slice text, const PgQuerySplitResult *theirs)
{
	struct statement_iterator it;
	struct statement s;
	int i = 0;

	statement_iterator_init(&it, text, utf8);
	while (statement_next(&it, &s)) {
		const PgQuerySplitStmt *piece = i < theirs->n_stmts ? theirs->stmts[i] : NULL;

		if (s.kind == STATEMENT_EMPTY)
			continue;
		if (!piece || s.start != (size_t)piece->stmt_location ||
			s.end != s.start + (size_t)piece->stmt_len)
			return differ(o, "piece %d: [%zu, %zu), not at %d, %d bytes: %.*s", i,
				s.start, s.end, piece ? piece->stmt_location : -1,
				piece ? piece->stmt_len : -1, (int)s.text.len,
				(const char *)s.text.data);
		if (!compare_statement(o, &s))
			return false;
		i++;
	}
	if (i != theirs->n_stmts || it.unsure)
		return differ(
			o, "%d pieces, not %d%s", i, theirs->n_stmts, it.unsure ? ", unsure" : "");
	return true;
}

bool sql_oracle_statements(struct sql_oracle *o, struct slice text)
{
	char *copy = terminated(text);
	bool same = true;

	if (is_comparable(text)) {
		PgQuerySplitResult theirs = pg_query_split_with_parser(copy);

		if (!theirs.error)
			same = compare_pieces(o, text, &theirs);
		pg_query_free_split_result(theirs);
	}
	free(copy);
	return same;
}
