#include "statement_kinds.h"

#include "sql_name.h"

#include <assert.h>
#include <strings.h>

/* A table as CREATE INDEX and ALTER TABLE name it: t, t *, ONLY t, ONLY (t). */
static bool read_table(struct reader *r, struct statement_aside *aside)
{
	aside->only = reader_accept_word(r, "only");
	if (aside->only && reader_accept_char(r, '('))
		return reader_path(r, &aside->table) && reader_accept_char(r, ')');
	if (!reader_path(r, &aside->table))
		return false;
	if (!aside->only)
		reader_accept_char(r, '*');
	return true;
}

static void blank_token(struct reader *r, struct statement_aside *aside, struct sql_token t)
{
	assert(aside->n_blanks < STATEMENT_BLANKS);
	aside->blanks[aside->n_blanks++] = sql_token_text(r->text, t);
}

static bool read_concurrently(struct reader *r, struct statement_aside *aside)
{
	struct sql_token keyword = r->now;

	if (!reader_accept_word(r, "concurrently"))
		return false;
	blank_token(r, aside, keyword);
	return true;
}

/* What follows the table: parentheses among the columns, or WHERE. */
static bool has_expression(struct reader *r)
{
	unsigned depth = 0;

	for (; reader_at_token(r); reader_advance(r)) {
		if (reader_at_char(r, '(') && depth++ > 0)
			return true;
		if (reader_at_char(r, ')') && depth > 0)
			depth--;
		if (reader_at_word(r, "where"))
			return true;
	}
	return false;
}

/* CREATE [UNIQUE] INDEX CONCURRENTLY [[IF NOT EXISTS] name] ON table [USING method] ( .. */
bool statement_read_create(struct reader *r, struct statement *s)
{
	struct statement_aside *aside = &s->aside;

	s->kind = STATEMENT_CREATE_INDEX;
	aside->unique = reader_accept_word(r, "unique");
	if (!reader_accept_word(r, "index") || !read_concurrently(r, aside))
		return false;
	aside->if_not_exists = reader_accept_words(r, "if", "not");
	if (aside->if_not_exists && !reader_accept_word(r, "exists"))
		return false;
	if ((aside->if_not_exists || !reader_at_word(r, "on")) && !reader_name(r, &aside->index))
		return false;
	if (!reader_accept_word(r, "on") || !read_table(r, aside) ||
		!(reader_at_word(r, "using") || reader_at_char(r, '(')))
		return false;
	aside->calls = has_expression(r);
	return true;
}

/* DROP INDEX CONCURRENTLY [IF EXISTS] name [, ..] [CASCADE | RESTRICT] */
bool statement_read_drop(struct reader *r, struct statement *s)
{
	struct statement_aside *aside = &s->aside;
	struct slice other;

	s->kind = STATEMENT_DROP_INDEX;
	if (!reader_accept_word(r, "index") || !read_concurrently(r, aside))
		return false;
	aside->if_exists = reader_accept_words(r, "if", "exists");
	if (!reader_path(r, &aside->index))
		return false;
	for (aside->n_names = 1; reader_accept_char(r, ','); aside->n_names++)
		if (!reader_path(r, &other))
			return false;
	aside->cascade = reader_accept_word(r, "cascade");
	if (!aside->cascade)
		reader_accept_word(r, "restrict");
	return reader_at_end(r);
}

/* ALTER TABLE [IF EXISTS] table DETACH PARTITION name CONCURRENTLY. With FINALIZE in its place
 * PostgreSQL allows the statement in a transaction. */
bool statement_read_alter(struct reader *r, struct statement *s)
{
	struct statement_aside *aside = &s->aside;

	s->kind = STATEMENT_DETACH_PARTITION;
	if (!reader_accept_word(r, "table"))
		return false;
	aside->if_exists = reader_accept_words(r, "if", "exists");
	return read_table(r, aside) && reader_accept_words(r, "detach", "partition") &&
	       reader_path(r, &aside->partition) && read_concurrently(r, aside) && reader_at_end(r);
}

/* What a REINDEX says about being concurrent, in its options. */
struct reindex_options {
	bool said;
	bool on;
};

/* The bytes of a word, a number or the inside of a simple literal: enough to find plain ASCII. */
static struct slice bare_text(const struct reader *r, struct sql_token t)
{
	struct slice s = sql_token_text(r->text, t);

	return s.len >= 2 && (s.data[0] == '\'' || s.data[0] == '"')
		       ? slice_of(s.data + 1, s.len - 2)
		       : s;
}

static bool is_bare(const struct reader *r, struct sql_token t, const char *word)
{
	struct slice s = bare_text(r, t);

	return s.len == strlen(word) && strncasecmp((const char *)s.data, word, s.len) == 0;
}

/* The value of an option as PostgreSQL reads a truth value; false when it is none. */
static bool read_truth(struct reader *r, bool *on)
{
	static const struct {
		const char *text;
		bool number;
		bool on;
	} truths[] = {{"on", false, true}, {"true", false, true}, {"1", true, true},
		{"off", false, false}, {"false", false, false}, {"0", true, false}};

	for (size_t i = 0; i < sizeof(truths) / sizeof(truths[0]); i++) {
		if (truths[i].number == (r->now.kind == SQL_TOKEN_INTEGER) &&
			is_bare(r, r->now, truths[i].text)) {
			*on = truths[i].on;
			reader_advance(r);
			return true;
		}
	}
	return false;
}

static bool at_option_end(const struct reader *r)
{
	return reader_at_char(r, ',') || reader_at_char(r, ')');
}

/* Which tokens around the option have to go with it: a comma, or, when it is alone, the
 * parentheses. */
static void blank_around(struct reader *r, struct statement_aside *aside, struct sql_token before)
{
	bool first = sql_token_is_char(r->text, before, '(');

	if (!first || reader_at_char(r, ')'))
		blank_token(r, aside, before);
	if (first)
		blank_token(r, aside, r->now);
}

/* The option CONCURRENTLY, behind its name. */
static bool read_concurrently_option(struct reader *r, struct statement_aside *aside,
	struct reindex_options *options, struct sql_token before, struct sql_token name)
{
	struct sql_token value = r->now;

	if (options->said)
		return false;
	options->said = true;
	options->on = true;
	blank_token(r, aside, name);
	if (!at_option_end(r)) {
		if (!read_truth(r, &options->on))
			return false;
		blank_token(r, aside, value);
	}
	blank_around(r, aside, before);
	return at_option_end(r);
}

static bool read_option(
	struct reader *r, struct statement_aside *aside, struct reindex_options *options)
{
	struct sql_token before = r->now;
	struct sql_token name = r->next;
	struct sql_name decoded;

	reader_advance(r);
	reader_advance(r);
	if (!sql_token_is_name(name) ||
		!sql_name_decode(sql_token_text(r->text, name), r->dialect, &decoded))
		return false;
	if (strcmp(decoded.text, "concurrently") == 0)
		return read_concurrently_option(r, aside, options, before, name);
	while (!at_option_end(r) && reader_at_token(r))
		reader_advance(r);
	return at_option_end(r);
}

/* ( option [value] [, ..] ) */
static bool read_options(
	struct reader *r, struct statement_aside *aside, struct reindex_options *options)
{
	if (!reader_at_char(r, '('))
		return true;
	do {
		if (!read_option(r, aside, options))
			return false;
	} while (reader_at_char(r, ','));
	return reader_accept_char(r, ')');
}

static bool read_target(struct reader *r, struct statement_aside *aside)
{
	static const struct {
		const char *word;
		enum statement_target target;
	} targets[] = {{"index", STATEMENT_TARGET_INDEX}, {"table", STATEMENT_TARGET_TABLE},
		{"schema", STATEMENT_TARGET_SCHEMA}, {"database", STATEMENT_TARGET_DATABASE},
		{"system", STATEMENT_TARGET_SYSTEM}};

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		if (reader_accept_word(r, targets[i].word)) {
			aside->target = targets[i].target;
			return true;
		}
	}
	return false;
}

static bool read_target_name(struct reader *r, struct statement_aside *aside)
{
	switch (aside->target) {
	case STATEMENT_TARGET_INDEX:
		return reader_path(r, &aside->index);
	case STATEMENT_TARGET_TABLE:
		return reader_path(r, &aside->table);
	case STATEMENT_TARGET_SCHEMA:
		return reader_name(r, &aside->scope);
	case STATEMENT_TARGET_DATABASE:
	case STATEMENT_TARGET_SYSTEM:
		return reader_at_end(r) || reader_name(r, &aside->scope);
	case STATEMENT_TARGET_NONE:
		break;
	}
	return false;
}

/* REINDEX [(options)] target [CONCURRENTLY] name. The keyword wins over the option. */
bool statement_read_reindex(struct reader *r, struct statement *s)
{
	struct reindex_options options = {.said = false};
	bool keyword;

	s->kind = STATEMENT_REINDEX;
	if (!read_options(r, &s->aside, &options) || !read_target(r, &s->aside))
		return false;
	keyword = read_concurrently(r, &s->aside);
	return (keyword || options.on) && read_target_name(r, &s->aside) && reader_at_end(r);
}
