/*
 * gate_owed.c - statements about an index that is only owed.
 *
 * To the client it exists; to the server it does not. Dropping it takes it out of the ledger again,
 * rebuilding it is done by building it. One whose drop is owed is gone to the client, and there to
 * the server. Other statements about it are the server's to refuse, with
 * a hint from us; those that the server would skip, since they say IF EXISTS, are ours to refuse.
 */
#include <stdio.h>
#include <string.h>

#include "catalog.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "statement_effect.h"
#include "statement_reader.h"

/* DROP INDEX [IF EXISTS] name [RESTRICT | CASCADE]: the name; false for anything else. */
static bool plain_drop_index(struct slice text, struct sql_dialect dialect, struct slice *name)
{
	struct reader r;

	reader_init(&r, text, dialect);
	if (!reader_accept_word(&r, "drop") || !reader_accept_word(&r, "index"))
		return false;
	if (reader_accept_word(&r, "if") && !reader_accept_word(&r, "exists"))
		return false;
	if (!reader_path(&r, name))
		return false;
	if (!reader_accept_word(&r, "restrict"))
		reader_accept_word(&r, "cascade");
	return reader_at_end(&r);
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

static bool read_subject(const struct session *s, const struct statement *st, struct sql_path *path)
{
	struct slice text;

	return !ledger_is_empty(&s->ledger) && subject(st, s->dialect, &text) &&
	       sql_path_decode(text, s->dialect, path);
}

static const struct sql_name *schema_of(const struct sql_path *path)
{
	return path->n_parts >= 2 ? &path->parts[path->n_parts - 2] : NULL;
}

static const struct sql_name *last_of(const struct sql_path *path)
{
	return &path->parts[path->n_parts - 1];
}

/* The owed index of that path, which is looked for in `schema` if the path has none; NULL: in any.
 */
static struct ledger_entry *find_owed(
	const struct session *s, const struct sql_path *path, const struct sql_name *schema)
{
	const struct sql_name *own = schema_of(path);

	return ledger_find_index(&s->ledger, own ? own : schema, last_of(path), s->dialect);
}

bool gate_names_owed(const struct session *s, const struct statement *st)
{
	struct sql_path path;

	return read_subject(s, st, &path) &&
	       (find_owed(s, &path, NULL) ||
		       ledger_dooms(&s->ledger, schema_of(&path), last_of(&path), s->dialect));
}

/* A name that cannot be read may be any. */
static bool may_be_owed(const struct session *s, struct slice name)
{
	struct sql_path path;

	return !sql_path_decode(name, s->dialect, &path) || find_owed(s, &path, NULL);
}

/* DROP or ALTER, INDEX or TABLE, IF EXISTS: the reading goes on at the first name. */
static bool is_conditional(struct reader *r)
{
	if (!reader_accept_word(r, "drop") && !reader_accept_word(r, "alter"))
		return false;
	if (!reader_accept_word(r, "index") && !reader_accept_word(r, "table"))
		return false;
	return reader_accept_word(r, "if") && reader_accept_word(r, "exists");
}

bool gate_skips_owed(const struct session *s, const struct statement *st)
{
	struct reader r;
	struct slice name;

	if (!s->ledger.owed || st->kind != STATEMENT_OTHER)
		return false;
	reader_init(&r, st->text, s->dialect);
	if (!is_conditional(&r))
		return false;
	do {
		reader_accept_word(&r, "only");
		reader_accept_char(&r, '(');
		if (!reader_path(&r, &name))
			return false;
		if (may_be_owed(s, name))
			return true;
	} while (reader_accept_char(&r, ','));
	return false;
}

/* What says no schema may be in any, and so may what cannot be read. */
static bool may_be_of(const struct ledger_entry *e, const struct sql_name *schema)
{
	return !schema || e->schema.len == 0 || sql_name_equal(schema, &e->schema);
}

/* The table that a partition is to be detached from. */
static bool loses_a_partition(const struct session *s, struct slice table)
{
	struct sql_path path, parent;

	if (!sql_path_decode(table, s->dialect, &path))
		return false;
	for (const struct ledger_entry *e = s->ledger.owed; e; e = e->next)
		if (e->statement.kind == STATEMENT_DETACH_PARTITION && !e->cancelled &&
			may_be_of(e, schema_of(&path)) &&
			sql_path_decode(e->statement.aside.table, s->dialect, &parent) &&
			sql_name_equal(last_of(&path), last_of(&parent)))
			return true;
	return false;
}

bool gate_reaches_detached(const struct session *s, const struct statement *st)
{
	struct statement_effect e;
	struct reader r;
	bool truncates;

	if (!s->ledger.owed || st->kind != STATEMENT_OTHER)
		return false;
	reader_init(&r, st->text, s->dialect);
	truncates = reader_at_word(&r, "truncate");
	statement_effect_read(st, s->dialect, &e);
	for (size_t i = 0; i < e.n_touches; i++)
		if ((truncates || e.touches[i].drops || e.touches[i].lock == EFFECT_LOCK_WRITE) &&
			loses_a_partition(s, e.touches[i].name))
			return true;
	return false;
}

bool gate_concerns_ledger(const struct session *s, const struct statement *st)
{
	return gate_names_owed(s, st) || gate_skips_owed(s, st) || gate_reaches_detached(s, st) ||
	       gate_relies_on_doomed(s, st);
}

static void answer(struct session *s)
{
	struct bytes answer;

	bytes_init(&answer, 256);
	message_put_complete(
		&answer, s->gate->unit.kind == STATEMENT_REINDEX ? "REINDEX" : "DROP INDEX");
	session_tell(s, &answer);
	bytes_release(&answer);
	gate_unit_done(s);
}

static void settle_owed(struct session *s, struct ledger_entry *e)
{
	log_event(LOG_LEVEL_INFO, "aside_owed_no_more", "session=%llu", (unsigned long long)s->id);
	if (s->gate->unit.kind != STATEMENT_REINDEX)
		ledger_cancel(&s->ledger, e);
	answer(s);
}

static bool says_if_exists(const struct session *s)
{
	const struct statement *st = &s->gate->unit;
	struct reader r;

	if (st->kind != STATEMENT_OTHER)
		return st->aside.if_exists;
	reader_init(&r, st->text, s->dialect);
	return is_conditional(&r);
}

/* The index is there for the server only: PostgreSQL's words for one that is not. */
static void is_gone(struct session *s, const struct sql_path *path)
{
	struct gate *g = s->gate;
	bool reindex = g->unit.kind == STATEMENT_REINDEX, skips = says_if_exists(s);
	const struct sql_name *schema = reindex ? schema_of(path) : NULL;
	struct bytes notice;
	char text[256];

	snprintf(text, sizeof(text), "%s \"%s%s%s\" does not exist%s",
		reindex ? "relation" : "index", schema ? schema->text : "", schema ? "." : "",
		last_of(path)->text, skips ? ", skipping" : "");
	if (!skips) {
		gate_refuse(s, reindex ? "42P01" : "42704", text);
		return;
	}
	bytes_init(&notice, 1024);
	report_put_notice(&notice, text);
	if (!g->quiet)
		gate_on_notice(s, bytes_view(&notice));
	bytes_release(&notice);
	answer(s);
}

/* A schema of search_path, and the OID of its relation of the name. */
static void on_schema(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	(void)question;
	if (n != 2)
		return;
	bytes_put_slice(&g->schemas, values[0]);
	bytes_put_u8(&g->schemas, 0);
	bytes_put_u32(&g->schemas, slice_number(values[1]));
}

/* What a name means: the first of search_path that is there or owed. */
struct meaning {
	struct ledger_entry *owed;
	bool there; /* and stays */
	bool goes;  /* one is there, in this schema or in one before, that goes at COMMIT */
};

static struct meaning find_meant(const struct session *s, const struct sql_path *path)
{
	struct cursor c = cursor_over(bytes_view(&s->gate->schemas));
	struct slice text = cursor_cstr(&c);
	uint32_t index = cursor_u32(&c);
	struct meaning m = {0};

	for (; !c.failed; text = cursor_cstr(&c), index = cursor_u32(&c)) {
		struct sql_name schema = {.len = text.len};
		bool goes = ledger_dooms_index(&s->ledger, index);

		if (text.len > SQL_NAME_MAX)
			continue;
		memcpy(schema.text, text.data, text.len);
		m.owed = find_owed(s, path, &schema);
		m.there = index != 0 && !goes;
		m.goes |= index != 0 && goes;
		if (m.owed || m.there)
			break;
	}
	return m;
}

static void schemas_known(struct session *s)
{
	struct gate *g = s->gate;
	struct sql_path path;
	struct meaning m = {0};

	if (g->inquiry.failed) {
		gate_fail_with(s, bytes_view(&g->inquiry.error));
		return;
	}
	if (read_subject(s, &g->unit, &path))
		m = find_meant(s, &path);
	if (m.owed && !m.there) {
		settle_owed(s, m.owed);
	} else if (m.goes && m.there) {
		gate_refuse(s, "0A000",
			"an index of that name goes at COMMIT only: the one behind it in "
			"search_path must be named with its schema");
	} else if (m.goes) {
		is_gone(s, &path);
	} else {
		/* One that the owed statement would have skipped, or put another in the place of.
		 */
		if (m.owed && g->unit.kind != STATEMENT_REINDEX)
			ledger_cancel(&s->ledger, m.owed);
		gate_run_other(s);
	}
}

void gate_run_named(struct session *s)
{
	struct sql_path path = {.n_parts = 1};
	const char *values[3] = {path.parts[0].text, "", ""};
	struct question q = {.sql = "SELECT p.s, (SELECT c.oid FROM pg_catalog.pg_class c JOIN "
				    "pg_catalog.pg_namespace n ON n.oid" EQ "c.relnamespace WHERE "
				    "n.nspname" EQ "p.s AND c.relname" EQ "$1::pg_catalog.name) "
				    "FROM pg_catalog.unnest(CASE WHEN $2::pg_catalog.text" EQ
				    "'' THEN pg_catalog.current_schemas(true) ELSE "
				    "ARRAY[$2::pg_catalog.name] END) WITH ORDINALITY p(s, i) "
				    "WHERE $3::pg_catalog.text" EQ "'' OR $3::pg_catalog.text" EQ
				    "pg_catalog.current_database()::pg_catalog.text "
				    "ORDER BY p.i",
		.values = values,
		.n_values = 3};

	read_subject(s, &s->gate->unit, &path);
	values[0] = path.parts[path.n_parts - 1].text;
	if (path.n_parts >= 2)
		values[1] = path.parts[path.n_parts - 2].text;
	if (path.n_parts == 3)
		values[2] = path.parts[0].text;
	bytes_clear(&s->gate->schemas);
	gate_ask_server(s, on_schema, false, &q, 1, schemas_known);
}

/* A plain CREATE INDEX IF NOT EXISTS finds an index that will be gone, and skips. */
bool gate_relies_on_doomed(const struct session *s, const struct statement *st)
{
	struct statement_effect e;
	struct sql_name name;
	struct sql_path table;
	struct reader r;
	bool qualified;

	/* By its first word, so that other statements are not read. */
	if (st->kind != STATEMENT_OTHER)
		return false;
	reader_init(&r, st->text, s->dialect);
	if (!reader_at_word(&r, "create"))
		return false;
	statement_effect_read(st, s->dialect, &e);
	if (e.made != EFFECT_INDEX || !e.made_if_not_exists ||
		!sql_name_decode(e.made_name, s->dialect, &name))
		return false;
	qualified = sql_path_decode(e.made_on, s->dialect, &table) && table.n_parts >= 2;
	return ledger_dooms(
		&s->ledger, qualified ? &table.parts[table.n_parts - 2] : NULL, &name, s->dialect);
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
	static const char before[] = "pgaside will run this statement after COMMIT only: ";
	struct slice state, text;

	if (!s->ledger.owed || !error_field(body, 'C', &state))
		return NULL;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (!slice_is(state, states[i]))
			continue;
		text = slice_cut(culprit(s, body)->statement.text, size - sizeof(before));
		snprintf(out, size, "%s%.*s", before, (int)text.len, (const char *)text.data);
		return out;
	}
	return NULL;
}
