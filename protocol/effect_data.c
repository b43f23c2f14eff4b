/*
 * effect_data.c - the effects of statements about rows, and of SET.
 */
#include "effect_reader.h"
#include "statement_kinds.h"

/* UPDATE as a statement: not FOR UPDATE, FOR NO KEY UPDATE, DO UPDATE. */
static bool at_update(const struct reader *r, const char *before)
{
	return reader_at_word(r, "update") && before == NULL && sql_token_is_name(r->next) &&
	       !sql_token_is_word(r->text, r->next, "set") &&
	       !sql_token_is_word(r->text, r->next, "of");
}

static const char *word_before_update(const struct reader *r)
{
	static const char *const words[] = {"for", "do", "key", "on"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (reader_at_word(r, words[i]))
			return words[i];
	return NULL;
}

static void note_function(const struct reader *r, struct statement_effect *e)
{
	if (sql_token_is_char(r->text, r->next, '(') &&
		(reader_at_word(r, "pg_export_snapshot") || reader_at_word(r, "lo_open")))
		e->exports_snapshot = true;
}

/* SELECT .. INTO [TEMP] [TABLE] name */
static void read_into(struct reader *r, struct statement_effect *e)
{
	while (reader_accept_word(r, "unlogged"))
		;
	e->made_temporary = reader_accept_word(r, "temp") || reader_accept_word(r, "temporary");
	reader_accept_word(r, "table");
	e->made = reader_path(r, &e->made_name) ? EFFECT_TABLE : EFFECT_NOTHING;
}

static bool take_write(struct reader *r, struct statement_effect *e, const char *before)
{
	if (at_update(r, before)) {
		reader_advance(r);
	} else if (!reader_accept_words(r, "insert", "into") &&
		   !reader_accept_words(r, "delete", "from") &&
		   !reader_accept_words(r, "merge", "into")) {
		return false;
	}
	effect_touch_path(r, e, EFFECT_LOCK_WRITE);
	return true;
}

void effect_read_data(struct reader *r, struct statement_effect *e)
{
	bool selects = reader_at_word(r, "select") || reader_at_word(r, "with");
	const char *before = NULL;
	size_t depth = 0;

	while (reader_at_token(r)) {
		if (take_write(r, e, before)) {
			before = NULL;
			continue;
		}
		if (reader_accept_words(r, "on", "conflict")) {
			e->on_conflict = true;
			continue;
		}
		if (selects && depth == 0 && e->n_touches == 0 && reader_accept_word(r, "into")) {
			read_into(r, e);
			continue;
		}
		note_function(r, e);
		before = word_before_update(r);
		depth += reader_at_char(r, '(');
		depth -= depth > 0 && reader_at_char(r, ')');
		reader_advance(r);
	}
}

/* COPY table [(columns)] FROM .. */
void effect_read_copy(struct reader *r, struct statement_effect *e)
{
	struct slice table;

	if (!reader_path(r, &table))
		return; /* of a query */
	if (!effect_skip_to(r, "from"))
		return;
	effect_touch(e, table, EFFECT_LOCK_WRITE);
	e->copies_in = reader_at_word(r, "stdin");
}

static bool accept_equals(struct reader *r)
{
	return reader_accept_char(r, '=') || reader_accept_word(r, "to");
}

/* The value of a setting: a word or a string. */
static struct slice setting_value(const struct reader *r)
{
	struct slice s = sql_token_text(r->text, r->now);

	return r->now.kind == SQL_TOKEN_STRING && s.len >= 2 ? slice_of(s.data + 1, s.len - 2) : s;
}

static void set_isolation(struct reader *r, struct statement_effect *e)
{
	struct slice value = setting_value(r);

	if (slice_is(value, "serializable"))
		e->isolation = STATEMENT_ISOLATION_SERIALIZABLE;
	else if (slice_is(value, "repeatable read"))
		e->isolation = STATEMENT_ISOLATION_REPEATABLE_READ;
	else
		e->isolation = STATEMENT_ISOLATION_READ_COMMITTED;
}

static void set_access(struct reader *r, struct statement_effect *e)
{
	struct slice value = setting_value(r);

	e->access = slice_is(value, "on") || slice_is(value, "true") ? STATEMENT_ACCESS_READ_ONLY
								     : STATEMENT_ACCESS_READ_WRITE;
}

static void set_variable(struct reader *r, struct statement_effect *e)
{
	static const struct {
		const char *name;
		void (*read)(struct reader *, struct statement_effect *);
		bool next;
	} variables[] = {{"transaction_isolation", set_isolation, false},
		{"default_transaction_isolation", set_isolation, true},
		{"transaction_read_only", set_access, false},
		{"default_transaction_read_only", set_access, true}};

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		if (!reader_accept_word(r, variables[i].name))
			continue;
		e->sets_next = variables[i].next;
		if (accept_equals(r))
			variables[i].read(r, e);
		return;
	}
	if (reader_accept_word(r, "search_path") && accept_equals(r))
		e->search_path = setting_value(r);
}

void effect_read_set(struct reader *r, struct statement_effect *e)
{
	struct statement modes = {.kind = STATEMENT_OTHER};
	bool session = reader_accept_word(r, "session");

	if (!session)
		reader_accept_word(r, "local");
	if (reader_at_word(r, "transaction") || reader_accept_word(r, "characteristics")) {
		e->sets_next = session;
		reader_accept_word(r, "as");
		statement_read_begin(r, &modes);
		e->isolation = modes.control.isolation;
		e->access = modes.control.access;
		return;
	}
	set_variable(r, e);
}
