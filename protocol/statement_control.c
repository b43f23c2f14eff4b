#include "statement_kinds.h"

static void accept_transaction(struct reader *r)
{
	if (!reader_accept_word(r, "work"))
		reader_accept_word(r, "transaction");
}

static bool read_isolation(struct reader *r, enum statement_isolation *out)
{
	if (reader_accept_words(r, "repeatable", "read"))
		*out = STATEMENT_ISOLATION_REPEATABLE_READ;
	else if (reader_accept_word(r, "serializable"))
		*out = STATEMENT_ISOLATION_SERIALIZABLE;
	else if (reader_accept_words(r, "read", "committed") ||
		 reader_accept_words(r, "read", "uncommitted"))
		*out = STATEMENT_ISOLATION_READ_COMMITTED;
	else
		return false;
	return true;
}

static bool read_mode(struct reader *r, struct statement_control *control)
{
	if (reader_accept_words(r, "isolation", "level"))
		return read_isolation(r, &control->isolation);
	if (reader_accept_words(r, "read", "only"))
		control->access = STATEMENT_ACCESS_READ_ONLY;
	else if (reader_accept_words(r, "read", "write"))
		control->access = STATEMENT_ACCESS_READ_WRITE;
	else
		return reader_accept_word(r, "deferrable") ||
		       reader_accept_words(r, "not", "deferrable");
	return true;
}

/* Modes with or without commas between them, to the end. */
static bool read_modes(struct reader *r, struct statement *s)
{
	s->kind = STATEMENT_BEGIN;
	if (reader_at_end(r))
		return true;
	do {
		if (!read_mode(r, &s->control))
			return false;
	} while (reader_accept_char(r, ',') || !reader_at_end(r));
	return true;
}

bool statement_read_begin(struct reader *r, struct statement *s)
{
	accept_transaction(r);
	return read_modes(r, s);
}

bool statement_read_start(struct reader *r, struct statement *s)
{
	return reader_accept_word(r, "transaction") && read_modes(r, s);
}

/* [AND [NO] CHAIN], to the end. */
static bool read_chain(struct reader *r, struct statement *s)
{
	if (reader_accept_word(r, "and")) {
		s->control.chain = !reader_accept_word(r, "no");
		if (!reader_accept_word(r, "chain"))
			return false;
	}
	return reader_at_end(r);
}

/* The name of a prepared transaction: a string in any spelling, which matters to nobody here. */
static bool read_prepared(struct reader *r, struct statement *s, enum statement_kind kind)
{
	s->kind = kind;
	if (!reader_at_string(r))
		return false;
	while (reader_at_token(r))
		reader_advance(r);
	return reader_at_end(r);
}

bool statement_read_end(struct reader *r, struct statement *s)
{
	s->kind = STATEMENT_COMMIT;
	accept_transaction(r);
	return read_chain(r, s);
}

bool statement_read_commit(struct reader *r, struct statement *s)
{
	if (reader_accept_word(r, "prepared"))
		return read_prepared(r, s, STATEMENT_COMMIT_PREPARED);
	return statement_read_end(r, s);
}

bool statement_read_abort(struct reader *r, struct statement *s)
{
	s->kind = STATEMENT_ROLLBACK;
	accept_transaction(r);
	return read_chain(r, s);
}

/* [SAVEPOINT] name; alone, the word is the name. */
static bool read_savepoint_name(struct reader *r, struct statement *s)
{
	if (r->next.kind != SQL_TOKEN_END)
		reader_accept_word(r, "savepoint");
	return reader_name(r, &s->control.savepoint) && reader_at_end(r);
}

bool statement_read_rollback(struct reader *r, struct statement *s)
{
	if (reader_accept_word(r, "prepared"))
		return read_prepared(r, s, STATEMENT_ROLLBACK_PREPARED);
	s->kind = STATEMENT_ROLLBACK;
	accept_transaction(r);
	if (!reader_accept_word(r, "to"))
		return read_chain(r, s);
	s->kind = STATEMENT_ROLLBACK_TO;
	return read_savepoint_name(r, s);
}

bool statement_read_savepoint(struct reader *r, struct statement *s)
{
	s->kind = STATEMENT_SAVEPOINT;
	return reader_name(r, &s->control.savepoint) && reader_at_end(r);
}

bool statement_read_release(struct reader *r, struct statement *s)
{
	s->kind = STATEMENT_RELEASE;
	return read_savepoint_name(r, s);
}

/* PREPARE name AS .. is another statement, also when the name is "transaction". */
bool statement_read_prepare(struct reader *r, struct statement *s)
{
	return reader_accept_word(r, "transaction") &&
	       read_prepared(r, s, STATEMENT_PREPARE_TRANSACTION);
}
