#include "statement.h"

#include "statement_kinds.h"

/* How much of the beginning of a statement was seen that decides what its semicolons mean. */
enum head {
	HEAD_NOTHING,
	HEAD_CREATE,
	HEAD_CREATE_OR,
	HEAD_CREATE_OR_REPLACE,
	HEAD_ROUTINE, /* CREATE FUNCTION or PROCEDURE: may have a BEGIN ATOMIC body */
	HEAD_RULE,    /* CREATE RULE: may have semicolons in parentheses */
	HEAD_ANY,
};

/* Where in the structure of a piece the walk stands. */
struct shape {
	size_t parentheses;
	size_t bodies;	  /* BEGIN ATOMIC that are open */
	enum head head;	  /* of the innermost statement */
	bool after_begin; /* the token before was BEGIN */
	bool unsure;
};

bool statement_is_aside(const struct statement *s)
{
	return s->kind >= STATEMENT_CREATE_INDEX && s->kind <= STATEMENT_DETACH_PARTITION;
}

bool statement_is_control(const struct statement *s)
{
	return s->kind >= STATEMENT_BEGIN;
}

/* The tag of its CommandComplete, and its name in the error that refuses it in a transaction. */
static const struct {
	const char *tag, *name;
} words[] = {
	[STATEMENT_CREATE_INDEX] = {"CREATE INDEX", "CREATE INDEX CONCURRENTLY"},
	[STATEMENT_DROP_INDEX] = {"DROP INDEX", "DROP INDEX CONCURRENTLY"},
	[STATEMENT_REINDEX] = {"REINDEX", "REINDEX CONCURRENTLY"},
	[STATEMENT_DETACH_PARTITION] = {"ALTER TABLE", "ALTER TABLE ... DETACH CONCURRENTLY"},
};

const char *statement_command_tag(const struct statement *s)
{
	return statement_is_aside(s) ? words[s->kind].tag : NULL;
}

const char *statement_name(const struct statement *s)
{
	return statement_is_aside(s) ? words[s->kind].name : NULL;
}

void statement_write_plain(struct bytes *out, const struct statement *s)
{
	uint8_t *copy = bytes_reserve(out, s->text.len);

	if (!copy || s->text.len == 0)
		return;
	memcpy(copy, s->text.data, s->text.len);
	for (size_t i = 0; i < s->aside.n_blanks; i++) {
		struct slice blank = s->aside.blanks[i];

		memset(copy + (blank.data - s->text.data), ' ', blank.len);
	}
	bytes_commit(out, s->text.len);
}

static void move_slice(struct slice *s, const uint8_t *from, const uint8_t *to)
{
	if (s->data)
		s->data = to + (s->data - from);
}

void statement_move(struct statement *s, const uint8_t *from, const uint8_t *to)
{
	struct statement_aside *d = &s->aside;
	struct slice *slices[] = {
		&s->text, &s->control.savepoint, &d->index, &d->table, &d->partition, &d->scope};

	for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++)
		move_slice(slices[i], from, to);
	for (size_t i = 0; i < d->n_blanks; i++)
		move_slice(&d->blanks[i], from, to);
}

static enum head head_after(enum head head, struct slice text, struct sql_token t)
{
	switch (head) {
	case HEAD_NOTHING:
		return sql_token_is_word(text, t, "create") ? HEAD_CREATE : HEAD_ANY;
	case HEAD_CREATE_OR:
		return sql_token_is_word(text, t, "replace") ? HEAD_CREATE_OR_REPLACE : HEAD_ANY;
	case HEAD_CREATE:
		if (sql_token_is_word(text, t, "or"))
			return HEAD_CREATE_OR;
		break;
	case HEAD_CREATE_OR_REPLACE:
		break;
	case HEAD_ROUTINE:
	case HEAD_RULE:
	case HEAD_ANY:
		return head;
	}
	if (sql_token_is_word(text, t, "rule"))
		return HEAD_RULE;
	if (sql_token_is_word(text, t, "function") || sql_token_is_word(text, t, "procedure"))
		return HEAD_ROUTINE;
	return HEAD_ANY;
}

/* Whether this semicolon ends the piece. */
static bool shape_semicolon(struct shape *shape)
{
	if (shape->parentheses > 0) {
		shape->unsure = shape->unsure || shape->head != HEAD_RULE;
		return false;
	}
	shape->head = HEAD_NOTHING;
	return shape->bodies == 0;
}

/* Every statement of a body ends with a semicolon, so the END that closes the body is the first
 * word behind one. The END of a CASE, or a column called "end", never is. */
static void shape_word(struct shape *shape, struct slice text, struct sql_token t)
{
	bool top = shape->parentheses == 0;

	if (shape->bodies > 0 && top && shape->head == HEAD_NOTHING &&
		sql_token_is_word(text, t, "end")) {
		shape->bodies--;
		shape->head = HEAD_ANY;
	} else if (shape->after_begin && top && shape->head == HEAD_ROUTINE &&
		   sql_token_is_word(text, t, "atomic")) {
		shape->bodies++;
		shape->head = HEAD_NOTHING;
	} else {
		shape->head = head_after(shape->head, text, t);
	}
	shape->after_begin = sql_token_is_word(text, t, "begin");
}

/* Follows the structure over one token; true when the piece ends with it. */
static bool shape_take(struct shape *shape, struct slice text, struct sql_token t)
{
	if (t.kind == SQL_TOKEN_WORD) {
		shape_word(shape, text, t);
		return false;
	}
	shape->after_begin = false;
	if (sql_token_is_char(text, t, ';'))
		return shape_semicolon(shape);
	shape->head = head_after(shape->head, text, t);
	if (sql_token_is_char(text, t, '(')) {
		shape->parentheses++;
	} else if (sql_token_is_char(text, t, ')')) {
		shape->unsure = shape->unsure || shape->parentheses == 0;
		shape->parentheses -= shape->parentheses > 0;
	}
	return false;
}

/* What a statement may begin with to be one of ours. */
static const struct {
	const char *word;
	bool (*read)(struct reader *, struct statement *);
} readers[] = {
	{"create", statement_read_create},
	{"drop", statement_read_drop},
	{"reindex", statement_read_reindex},
	{"alter", statement_read_alter},
	{"begin", statement_read_begin},
	{"start", statement_read_start},
	{"commit", statement_read_commit},
	{"end", statement_read_end},
	{"rollback", statement_read_rollback},
	{"abort", statement_read_abort},
	{"savepoint", statement_read_savepoint},
	{"release", statement_read_release},
	{"prepare", statement_read_prepare},
};

static bool read_known(struct statement *s, struct sql_dialect dialect)
{
	struct reader r;

	reader_init(&r, s->text, dialect);
	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
		if (reader_accept_word(&r, readers[i].word))
			return readers[i].read(&r, s);
	return false;
}

static void recognise(struct statement *s, struct sql_dialect dialect)
{
	if (read_known(s, dialect))
		return;
	s->kind = STATEMENT_OTHER;
	s->aside = (struct statement_aside){.n_names = 0};
	s->control = (struct statement_control){.chain = false};
}

void statement_iterator_init(
	struct statement_iterator *it, struct slice text, struct sql_dialect dialect)
{
	*it = (struct statement_iterator){.start = 0};
	sql_lexer_init(&it->lexer, text, dialect);
}

/* Reads up to the end of the piece. `out` gets its bounds, `shape` what was seen. */
static void find_end(struct statement_iterator *it, struct statement *out, struct shape *shape)
{
	struct slice text = it->lexer.text;
	size_t last = it->start;
	bool any = false;
	struct sql_token t;

	for (;;) {
		t = sql_lexer_next(&it->lexer);
		if (t.kind == SQL_TOKEN_END || shape_take(shape, text, t))
			break;
		if (!any)
			out->offset = t.start;
		any = true;
		last = t.end;
		if (t.kind == SQL_TOKEN_ERROR)
			break;
	}
	it->done = t.kind == SQL_TOKEN_END || t.kind == SQL_TOKEN_ERROR;
	shape->unsure = shape->unsure || t.kind == SQL_TOKEN_ERROR ||
			(it->done && (shape->parentheses > 0 || shape->bodies > 0));
	out->end = it->done ? text.len : t.start;
	if (any)
		out->text = slice_of(text.data + out->offset, last - out->offset);
	else
		out->offset = out->end;
}

bool statement_next(struct statement_iterator *it, struct statement *out)
{
	struct shape shape = {.head = HEAD_NOTHING};

	if (it->done)
		return false;
	*out = (struct statement){.kind = STATEMENT_EMPTY, .start = it->start};
	find_end(it, out, &shape);
	it->start = out->end + 1;
	it->unsure = it->unsure || shape.unsure;
	if (shape.unsure)
		out->kind = STATEMENT_OTHER;
	else if (out->text.len > 0)
		recognise(out, it->lexer.dialect);
	return true;
}

struct statement_summary statement_summarise(struct slice text, struct sql_dialect dialect)
{
	struct statement_summary summary = {.unsure = false};
	struct statement_iterator it;
	struct statement s;

	statement_iterator_init(&it, text, dialect);
	while (statement_next(&it, &s)) {
		summary.n_pieces += s.kind != STATEMENT_EMPTY;
		summary.n_asides += statement_is_aside(&s);
		summary.n_controls += statement_is_control(&s);
	}
	summary.unsure = it.unsure;
	return summary;
}

bool statement_first(struct slice text, struct sql_dialect dialect, struct statement *out)
{
	struct statement_iterator it;

	statement_iterator_init(&it, text, dialect);
	while (statement_next(&it, out))
		if (out->kind != STATEMENT_EMPTY)
			return true;
	return false;
}
