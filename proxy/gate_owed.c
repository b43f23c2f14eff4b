/*
 * gate_owed.c - statements about an index that is only owed.
 *
 * To the client it exists; to the server it does not. Dropping it takes it out of the ledger again,
 * rebuilding it is done by building it. Other statements about it are the server's to refuse, with
 * a hint from us.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "gate_state.h"
#include "log.h"
#include "message.h"

/* The tokens of one statement, one after another. */
struct reading {
	struct sql_lexer lexer;
	struct sql_token token;
	struct slice text;
};

static bool next(struct reading *r)
{
	r->token = sql_lexer_next(&r->lexer);
	return r->token.kind != SQL_TOKEN_END && r->token.kind != SQL_TOKEN_ERROR;
}

static bool word(const struct reading *r, const char *expected)
{
	size_t len = r->token.end - r->token.start;

	return r->token.kind == SQL_TOKEN_WORD && len == strlen(expected) &&
	       strncasecmp((const char *)r->text.data + r->token.start, expected, len) == 0;
}

static bool take_word(struct reading *r, const char *expected)
{
	return word(r, expected) && next(r);
}

static bool is_name(const struct reading *r)
{
	return r->token.kind == SQL_TOKEN_WORD || r->token.kind == SQL_TOKEN_QUOTED_NAME;
}

static bool is_dot(const struct reading *r)
{
	return r->token.kind == SQL_TOKEN_CHAR && r->text.data[r->token.start] == '.';
}

/* DROP INDEX [IF EXISTS] name [RESTRICT | CASCADE]: the name; false for anything else. */
static bool plain_drop_index(struct slice text, struct sql_dialect dialect, struct slice *name)
{
	struct reading r = {.text = text};
	size_t start, end;
	bool more = true;

	sql_lexer_init(&r.lexer, text, dialect);
	if (!next(&r) || !take_word(&r, "drop") || !take_word(&r, "index"))
		return false;
	if (take_word(&r, "if") && !take_word(&r, "exists"))
		return false;
	if (!is_name(&r))
		return false;
	start = r.token.start;
	end = r.token.end;
	while ((more = next(&r)) && is_dot(&r) && next(&r) && is_name(&r))
		end = r.token.end;
	*name = slice_of(text.data + start, end - start);
	if (more && (word(&r, "restrict") || word(&r, "cascade")))
		more = next(&r);
	return !more && r.token.kind == SQL_TOKEN_END;
}

/* The name of the index that the statement drops or rebuilds; false when it is no such statement.
 */
static bool subject(const struct statement *st, struct sql_dialect dialect, struct slice *name)
{
	switch (st->kind) {
	case STATEMENT_DROP_INDEX:
		*name = st->aside.index;
		return st->aside.n_names == 1;
	case STATEMENT_REINDEX:
		*name = st->aside.index;
		return st->aside.target == STATEMENT_TARGET_INDEX;
	case STATEMENT_OTHER:
		return plain_drop_index(st->text, dialect, name);
	default:
		return false;
	}
}

struct ledger_entry *gate_names_owed(const struct session *s, const struct statement *st)
{
	struct slice text;
	struct sql_path path;
	const struct sql_name *schema;

	if (!s->ledger.owed || !subject(st, s->dialect, &text) ||
		!sql_path_decode(text, s->dialect, &path) || path.n_parts > 2)
		return NULL;
	schema = path.n_parts == 2 ? &path.parts[0] : NULL;
	return ledger_find_index(&s->ledger, schema, &path.parts[path.n_parts - 1], s->dialect);
}

bool gate_concerns_ledger(const struct session *s, const struct statement *st)
{
	return gate_names_owed(s, st) != NULL;
}

void gate_settle_owed(struct session *s, struct ledger_entry *e)
{
	struct gate *g = s->gate;
	struct bytes answer;

	log_event(LOG_LEVEL_INFO, "aside_owed_no_more", "session=%llu", (unsigned long long)s->id);
	if (g->unit.kind != STATEMENT_REINDEX)
		ledger_cancel(&s->ledger, e);
	bytes_init(&answer, 256);
	message_put_complete(&answer, g->unit.kind == STATEMENT_REINDEX ? "REINDEX" : "DROP INDEX");
	session_tell(s, &answer);
	bytes_release(&answer);
	gate_unit_done(s);
}

static bool is_named_in(const struct ledger_entry *e, struct sql_dialect d, struct slice message)
{
	struct sql_name name;

	return sql_name_decode(e->statement.aside.index, d, &name) && name.len > 0 &&
	       memmem(message.data, message.len, name.text, name.len) != NULL;
}

/* The owed statement that an error is about: that whose index it names, else the first. */
static const struct ledger_entry *culprit(const struct session *s, struct slice body)
{
	struct slice message = slice_str("");

	error_field(body, 'M', &message);
	for (const struct ledger_entry *e = s->ledger.owed; e; e = e->next)
		if (is_named_in(e, s->dialect, message))
			return e;
	return s->ledger.owed;
}

const char *gate_owed_hint(const struct session *s, struct slice body, char *out, size_t size)
{
	static const char *const states[] = {"42704", "42P01", "42P07", "42P10"};
	struct slice state;
	const struct ledger_entry *e;

	if (!s->ledger.owed || !error_field(body, 'C', &state))
		return NULL;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (!slice_is(state, states[i]))
			continue;
		e = culprit(s, body);
		snprintf(out, size, "pgaside will run this statement after COMMIT only: %.*s",
			(int)e->statement.text.len, (const char *)e->statement.text.data);
		return out;
	}
	return NULL;
}
