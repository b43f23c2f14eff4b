#include "statement_effect.h"

#include <string.h>
#include <strings.h>

#include "effect_reader.h"
#include "sql_search.h"

void effect_touch(struct statement_effect *e, struct slice name, enum effect_lock lock)
{
	if (e->n_touches == EFFECT_TOUCHES)
		e->touches_more = true;
	else
		e->touches[e->n_touches++] = (struct effect_touch){.name = name, .lock = lock};
	if (e->touched == EFFECT_NOTHING)
		e->touched = EFFECT_TABLE;
}

bool effect_table(struct reader *r, struct slice *name)
{
	bool inside = reader_accept_word(r, "only") && reader_accept_char(r, '(');

	if (!reader_path(r, name))
		return false;
	if (inside)
		reader_accept_char(r, ')');
	return true;
}

void effect_touch_path(struct reader *r, struct statement_effect *e, enum effect_lock lock)
{
	struct slice name;

	if (effect_table(r, &name))
		effect_touch(e, name, lock);
}

void effect_is_partitioned(struct statement_effect *e)
{
	if (e->n_touches > 0)
		e->touches[e->n_touches - 1].partitioned = true;
}

void effect_touch_paths(struct reader *r, struct statement_effect *e, enum effect_lock lock)
{
	do {
		effect_touch_path(r, e, lock);
		reader_accept_char(r, '*');
	} while (reader_accept_char(r, ','));
}

bool effect_skip_to(struct reader *r, const char *word)
{
	size_t depth = 0;

	for (; reader_at_token(r); reader_advance(r)) {
		if (depth == 0 && reader_accept_word(r, word))
			return true;
		depth += reader_at_char(r, '(');
		depth -= depth > 0 && reader_at_char(r, ')');
	}
	return false;
}

void effect_skip_if_exists(struct reader *r)
{
	reader_accept_words(r, "if", "exists");
}

static void read_truncate(struct reader *r, struct statement_effect *e)
{
	reader_accept_word(r, "table");
	effect_touch_paths(r, e, EFFECT_LOCK_STRONG);
}

/* LOCK [TABLE] t [, ..] [IN mode MODE] */
static void read_lock(struct reader *r, struct statement_effect *e)
{
	enum effect_lock lock = EFFECT_LOCK_STRONG;
	bool weak = false;

	reader_accept_word(r, "table");
	effect_touch_paths(r, e, EFFECT_LOCK_STRONG);
	if (!reader_accept_word(r, "in"))
		return;
	if (reader_accept_words(r, "access", "share") || reader_accept_words(r, "row", "share"))
		weak = true;
	else if (reader_accept_words(r, "row", "exclusive"))
		lock = EFFECT_LOCK_WRITE;
	else if (reader_accept_words(r, "share", "update"))
		lock = EFFECT_LOCK_DEFINITION;
	if (weak)
		e->n_touches = 0;
	for (size_t i = 0; i < e->n_touches; i++)
		e->touches[i].lock = lock;
}

/* COMMENT ON kind [name ON] relation */
static void read_comment(struct reader *r, struct statement_effect *e)
{
	struct slice name;

	if (!reader_accept_word(r, "on"))
		return;
	reader_accept_word(r, "materialized");
	reader_accept_word(r, "foreign");
	if (reader_accept_word(r, "constraint") || reader_accept_word(r, "trigger") ||
		reader_accept_word(r, "policy") || reader_accept_word(r, "rule")) {
		if (effect_skip_to(r, "on"))
			effect_touch_path(r, e, EFFECT_LOCK_DEFINITION);
		return;
	}
	if (reader_accept_word(r, "column") && reader_path(r, &name)) {
		/* table.column: without its last part */
		while (name.len > 0 && name.data[name.len - 1] != '.')
			name.len--;
		name.len -= name.len > 0;
		effect_touch(e, name, EFFECT_LOCK_DEFINITION);
	} else if (reader_accept_word(r, "table") || reader_accept_word(r, "view") ||
		   reader_accept_word(r, "index") || reader_accept_word(r, "sequence")) {
		effect_touch_path(r, e, EFFECT_LOCK_DEFINITION);
	}
}

/* GRANT and REVOKE change the rows of relations in the catalog. */
static void read_grant(struct reader *r, struct statement_effect *e)
{
	static const char *const others[] = {"database", "domain", "foreign", "function",
		"language", "large", "parameter", "procedure", "routine", "schema", "tablespace",
		"type"};

	if (!effect_skip_to(r, "on"))
		return; /* of a role */
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (reader_at_word(r, others[i]))
			return;
	if (reader_accept_word(r, "all")) {
		e->touches_more = reader_at_word(r, "tables") || reader_at_word(r, "sequences");
		return;
	}
	if (!reader_accept_word(r, "table"))
		reader_accept_word(r, "sequence");
	effect_touch_paths(r, e, EFFECT_LOCK_DEFINITION);
}

/* A list in parentheses, if there is one at hand. */
static void skip_list(struct reader *r)
{
	if (reader_accept_char(r, '('))
		while (reader_at_token(r) && !reader_accept_char(r, ')'))
			reader_advance(r);
}

static void read_analyze(struct reader *r, struct statement_effect *e)
{
	skip_list(r);
	reader_accept_word(r, "verbose");
	while (sql_token_is_name(r->now)) {
		effect_touch_path(r, e, EFFECT_LOCK_DEFINITION);
		skip_list(r);
		if (!reader_accept_char(r, ','))
			return;
	}
	e->touches_more = e->n_touches == 0;
}

static void read_vacuum(struct reader *r, struct statement_effect *e)
{
	(void)r;
	e->refused = "VACUUM";
}

static void read_cluster(struct reader *r, struct statement_effect *e)
{
	reader_accept_word(r, "verbose");
	if (reader_at_end(r))
		e->refused = "CLUSTER of all tables";
	else
		effect_touch_path(r, e, EFFECT_LOCK_STRONG);
}

/* The plain form. */
static void read_reindex(struct reader *r, struct statement_effect *e)
{
	skip_list(r);
	if (reader_accept_word(r, "schema") || reader_accept_word(r, "database") ||
		reader_accept_word(r, "system")) {
		e->refused = "REINDEX of a schema or database";
	} else if (reader_accept_word(r, "index")) {
		effect_touch_path(r, e, EFFECT_LOCK_STRONG);
		e->touched = EFFECT_INDEX;
	} else if (reader_accept_word(r, "table")) {
		effect_touch_path(r, e, EFFECT_LOCK_STRONG);
	}
}

static void read_refresh(struct reader *r, struct statement_effect *e)
{
	if (!reader_accept_words(r, "materialized", "view"))
		return;
	reader_accept_word(r, "concurrently");
	effect_touch_path(r, e, EFFECT_LOCK_STRONG);
}

static void read_declare(struct reader *r, struct statement_effect *e)
{
	(void)r;
	e->opens_cursor = true;
}

static void read_close(struct reader *r, struct statement_effect *e)
{
	e->closes_cursor = true;
	e->closes_all = reader_at_word(r, "all");
}

static void read_discard(struct reader *r, struct statement_effect *e)
{
	if (reader_accept_word(r, "all"))
		e->refused = "DISCARD ALL";
}

static void read_code(struct reader *r, struct statement_effect *e)
{
	(void)r;
	e->runs_code = true;
}

static const struct {
	const char *word;
	void (*read)(struct reader *, struct statement_effect *);
} readers[] = {
	{"create", effect_read_create},
	{"alter", effect_read_alter},
	{"drop", effect_read_drop},
	{"copy", effect_read_copy},
	{"set", effect_read_set},
	{"truncate", read_truncate},
	{"lock", read_lock},
	{"comment", read_comment},
	{"grant", read_grant},
	{"revoke", read_grant},
	{"analyze", read_analyze},
	{"analyse", read_analyze},
	{"vacuum", read_vacuum},
	{"cluster", read_cluster},
	{"reindex", read_reindex},
	{"refresh", read_refresh},
	{"declare", read_declare},
	{"close", read_close},
	{"discard", read_discard},
	{"do", read_code},
	{"call", read_code},
};

static bool holds(struct slice text, const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i + len <= text.len; i++)
		if (strncasecmp((const char *)text.data + i, word, len) == 0)
			return true;
	return false;
}

/* A string that looks as if it held an aside statement: it is not parsed, it may be put together by
 * format(). */
static bool looks_like_aside(struct slice text)
{
	return sql_search_concurrently(text) && (holds(text, "index") || holds(text, "detach"));
}

/* Strings of statements that may execute them, by themselves or by a function that they call. */
static void find_hidden(struct slice text, struct sql_dialect dialect, struct statement_effect *e)
{
	struct reader r;
	bool executes, makes;

	if (!sql_search_concurrently(text))
		return;
	reader_init(&r, text, dialect);
	executes = reader_at_word(&r, "do") || reader_at_word(&r, "call") ||
		   reader_at_word(&r, "select") || reader_at_word(&r, "with") ||
		   reader_at_word(&r, "execute");
	makes = e->made == EFFECT_OBJECT;
	for (; reader_at_token(&r); reader_advance(&r)) {
		if (!reader_at_string(&r) || !looks_like_aside(sql_token_text(text, r.now)))
			continue;
		e->hides = e->hides || executes;
		e->keeps = e->keeps || makes;
	}
}

void statement_effect_read(
	const struct statement *s, struct sql_dialect dialect, struct statement_effect *out)
{
	struct reader r;

	*out = (struct statement_effect){.n_touches = 0};
	if (s->kind != STATEMENT_OTHER)
		return;
	reader_init(&r, s->text, dialect);
	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
		if (!reader_accept_word(&r, readers[i].word))
			continue;
		readers[i].read(&r, out);
		find_hidden(s->text, dialect, out);
		return;
	}
	effect_read_data(&r, out);
	find_hidden(s->text, dialect, out);
}

/* Behind INDEX, USING or CONSTRAINT, and words that may stand between. */
static bool stays_armed(struct slice text, struct sql_token t)
{
	static const char *const words[] = {"if", "not", "exists", "concurrently"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (sql_token_is_word(text, t, words[i]))
			return true;
	return sql_token_is_char(text, t, '.');
}

static bool arms(struct slice text, struct sql_token t)
{
	return sql_token_is_word(text, t, "index") || sql_token_is_word(text, t, "using") ||
	       sql_token_is_word(text, t, "constraint");
}

static bool token_is_named(struct slice text, struct sql_dialect dialect, struct sql_token t,
	const struct sql_name *name)
{
	struct sql_name decoded;

	return sql_token_is_name(t) &&
	       sql_name_decode(sql_token_text(text, t), dialect, &decoded) &&
	       sql_name_equal(&decoded, name);
}

bool statement_names_index(
	struct slice text, struct sql_dialect dialect, const struct sql_name *name)
{
	struct sql_lexer lexer;
	struct sql_token t;
	bool armed = false;

	sql_lexer_init(&lexer, text, dialect);
	for (t = sql_lexer_next(&lexer); t.kind != SQL_TOKEN_END && t.kind != SQL_TOKEN_ERROR;
		t = sql_lexer_next(&lexer)) {
		if (armed && token_is_named(text, dialect, t, name))
			return true;
		if (arms(text, t))
			armed = true;
		else if (!stays_armed(text, t))
			/* A schema in front of it is followed by a dot. */
			armed = armed && sql_token_is_name(t) && lexer.at < text.len &&
				text.data[lexer.at] == '.';
	}
	return false;
}

bool statement_mentions(struct slice text, struct sql_dialect dialect, const struct sql_name *name)
{
	struct sql_lexer lexer;
	struct sql_token t;

	sql_lexer_init(&lexer, text, dialect);
	for (;;) {
		t = sql_lexer_next(&lexer);
		if (t.kind == SQL_TOKEN_END || t.kind == SQL_TOKEN_ERROR)
			return false;
		if (token_is_named(text, dialect, t, name))
			return true;
	}
}

/* What a statement may change of how texts are read. */
struct rereading {
	bool encoding;
	bool backslashes;
};

/* The value at hand, as a word or in simple quotes. */
static bool is_value(const struct reader *r, const char *value)
{
	struct slice t = sql_token_text(r->text, r->now);
	size_t quote = r->now.kind == SQL_TOKEN_STRING;

	return t.len == strlen(value) + 2 * quote &&
	       strncasecmp((const char *)t.data + quote, value, strlen(value)) == 0;
}

/* SET .. to what is in force already, as the head of a dump does. */
static bool stays_the_same(const struct reader *r)
{
	if (r->next.kind != SQL_TOKEN_END)
		return false;
	if (is_value(r, "utf8"))
		return r->dialect.encoding == SQL_ENCODING_UTF8;
	return is_value(r, "on") && !r->dialect.backslash_in_strings;
}

static void read_rereading(
	const struct statement *st, struct sql_dialect dialect, struct rereading *out)
{
	struct reader r;
	struct rereading now = {.encoding = false};
	bool sets, resets;

	reader_init(&r, st->text, dialect);
	sets = reader_at_word(&r, "set");
	resets = reader_at_word(&r, "reset");
	for (; reader_at_token(&r); reader_advance(&r)) {
		struct slice t = sql_token_text(r.text, r.now);
		bool all = resets && reader_at_word(&r, "all");

		if (sets && stays_the_same(&r))
			return;
		now.encoding = now.encoding || all || holds(t, "client_encoding") ||
			       (sets && reader_at_word(&r, "names"));
		now.backslashes = now.backslashes || all ||
				  holds(t, "standard_conforming_strings") ||
				  holds(t, "backslash_quote");
	}
	out->encoding = out->encoding || now.encoding;
	out->backslashes = out->backslashes || now.backslashes;
}

bool statement_rereads(struct slice text, struct sql_dialect dialect)
{
	struct statement_iterator it;
	struct statement st;
	struct rereading changed = {.encoding = false};

	statement_iterator_init(&it, text, dialect);
	while (statement_next(&it, &st)) {
		if (changed.encoding && !slice_is_ascii(st.text))
			return true;
		if (changed.backslashes && memchr(st.text.data, '\\', st.text.len))
			return true;
		if (st.kind == STATEMENT_OTHER)
			read_rereading(&st, dialect, &changed);
	}
	return false;
}
