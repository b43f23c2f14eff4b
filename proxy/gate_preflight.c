/*
 * gate_preflight.c - what is owed is looked at once more, before COMMIT goes to the server.
 *
 * The transaction may have changed what its statements need since it gave them: dropped a column,
 * made a relation of the index's name, hung a constraint on an index. What PostgreSQL would have
 * done with an index that is there already decides: it goes with its column, and everything else
 * fails while the transaction can still be rolled back.
 */
#include <stdio.h>
#include <stdlib.h>

#include "catalog.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"

static void check(struct session *s);

/* The row of an index that is there. One that is not valid may be about to be replaced: then it has
 * another name already. */
static const char here_sql[] = "SELECT i.indexrelid, CASE WHEN i.indisvalid THEN " INDEX_LIKENESS(
	"i", "x") " END FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid" EQ
		  "i.indexrelid WHERE i.indexrelid" EQ "$1::pg_catalog.oid";

/* The one that somebody has put in its place: a transaction that has dropped it has its lock. */
static const char another_sql[] = INDEX_ALIKE_SQL(
	"$2", "$3") " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.locktype" EQ
		    "'relation' AND l.relation" EQ "$1::pg_catalog.oid AND l.pid" EQ
		    "pg_catalog.pg_backend_pid() AND "
		    "l.mode" EQ "'AccessExclusiveLock')";

static void on_index(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate_lookup *found = &((struct gate *)owner)->found;

	if (question == 0 && n == 2) {
		found->index = slice_number(values[0]);
		if (values[1].len > 0)
			snprintf(found->likeness, sizeof(found->likeness), "%.*s",
				(int)values[1].len, (const char *)values[1].data);
	} else if (question == 1 && n == 1 && found->index == 0) {
		found->index = slice_number(values[0]);
	}
}

/* Which index is meant now; `then` finds that in `found`. */
static void ask_for_index(
	struct session *s, uint32_t relation, uint32_t index, const char *likeness, gate_fn then)
{
	struct gate *g = s->gate;
	char oid[16], table[16], number[LIKENESS_SIZE];
	const char *values[] = {oid, table, likeness[0] ? number : NULL};
	struct question questions[] = {
		{.sql = here_sql, .values = values, .n_values = 1},
		{.sql = another_sql, .values = values, .n_values = 3},
	};

	snprintf(oid, sizeof(oid), "%u", index);
	snprintf(table, sizeof(table), "%u", relation);
	snprintf(number, sizeof(number), "%s", likeness);
	g->found = (struct gate_lookup){0};
	snprintf(g->found.likeness, sizeof(g->found.likeness), "%s", likeness);
	gate_ask_server(s, on_index, false, questions, 2, then);
}

/* Keeps what was found. One that is gone, and has no other in its place, was dropped. */
static void keep_index(const struct gate_lookup *found, uint32_t *index, char *likeness)
{
	if (found->index == 0) {
		likeness[0] = '\0';
		return;
	}
	*index = found->index;
	memcpy(likeness, found->likeness, LIKENESS_SIZE);
}

static void next(struct session *s)
{
	s->gate->checking = s->gate->checking->next;
	check(s);
}

/* The statement is named, since it is not the one that is answered. */
static void refuse(struct session *s, struct slice error)
{
	struct gate *g = s->gate;
	struct slice text = slice_cut(g->checking->statement.text, 700);
	struct bytes explained;
	char detail[1024];

	snprintf(detail, sizeof(detail),
		"The transaction is rolled back: this statement of it could not have run after "
		"COMMIT: %.*s",
		(int)text.len, (const char *)text.data);
	bytes_init(&explained, 256u * 1024);
	error_put_explained(&explained, error, detail, slice_of(NULL, 0));
	bytes_clear(&g->error);
	bytes_put_slice(&g->error, bytes_view(&explained));
	bytes_release(&explained);
	g->after_preflight(s);
}

static void refuse_for(struct session *s, const char *sqlstate, const char *text)
{
	struct bytes body;

	bytes_init(&body, 4096);
	report_put_error(&body, sqlstate, text, NULL, NULL);
	refuse(s, bytes_view(&body));
	bytes_release(&body);
}

static void refuse_name(struct session *s)
{
	struct sql_path path;
	char text[128];

	snprintf(text, sizeof(text), "relation \"%s\" already exists",
		gate_last_part(s, s->gate->checking->statement.aside.index, &path));
	refuse_for(s, "42P07", text);
}

/* The names in the statement mean other columns now than where it stood. */
static bool columns_differ(const struct gate *g)
{
	struct slice then = bytes_view(&g->checking->columns), now = bytes_view(&g->columns);

	return g->rehearsal == REHEARSAL_WORKED && then.len > 0 && !slice_equal(then, now);
}

static void rehearsed(struct session *s)
{
	struct gate *g = s->gate;

	if (g->rehearsal == REHEARSAL_FAILED)
		refuse(s, bytes_view(&g->error));
	else if (columns_differ(g))
		refuse_for(s, "42703", "a column of the index has been renamed since");
	else
		next(s);
}

static void is_done_already(struct session *s)
{
	struct bytes notice;

	bytes_init(&notice, 1024);
	report_put_notice(&notice,
		"a column of an index that was to be made at COMMIT was dropped by the same "
		"transaction");
	gate_on_notice(s, bytes_view(&notice));
	bytes_release(&notice);
	s->gate->checking->cancelled = true;
	next(s);
}

/*
 * IF NOT EXISTS would skip it now, and did not where it stood. One that somebody else has made on
 * the table since is as good.
 */
static bool name_is_taken(const struct session *s)
{
	const struct gate *g = s->gate;
	const struct ledger_entry *e = g->checking;

	if (e->statement.aside.index.len == 0 || !gate_finds_name(s))
		return false;
	return !e->statement.aside.if_not_exists ||
	       (e->name_was_free && g->found.index_table != g->found.relation);
}

static void table_known(struct session *s)
{
	struct gate *g = s->gate;
	const struct statement *st = &g->checking->statement;

	if (g->inquiry.failed)
		refuse(s, bytes_view(&g->inquiry.error));
	else if (g->found.relation == 0)
		next(s); /* dropped: then it is done */
	else if (g->column_dropped)
		is_done_already(s);
	else if (name_is_taken(s))
		refuse_name(s);
	else if (g->found.temporary)
		gate_rehearse(s, st, bytes_view(&g->checking->settings), rehearsed);
	else
		next(s);
}

static void on_table(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	if (question == 0 && n >= LOOKUP_COLUMNS)
		gate_note_lookup(&g->found, values);
	else if (question == 1 && n == 1)
		g->column_dropped = slice_is(values[0], "t");
}

static void check_create(struct session *s)
{
	struct gate *g = s->gate;
	const struct ledger_entry *e = g->checking;
	struct sql_name name = {.len = 0};
	char relation[16], columns[1024];
	const char *table_values[] = {relation, name.text};
	const char *column_values[] = {relation, columns};
	struct question questions[] = {
		{.sql = aside_lookup_oid_sql(&e->statement), .values = table_values, .n_values = 2},
		{.sql = "SELECT pg_catalog.bool_or(a.attisdropped) FROM pg_catalog.pg_attribute a "
			"WHERE a.attrelid" EQ "$1::pg_catalog.oid AND a.attnum" EQ
			"ANY ($2::pg_catalog.int2[])",
			.values = column_values,
			.n_values = 2},
	};

	if (!sql_name_decode(e->statement.aside.index, s->dialect, &name))
		name.text[0] = '\0';
	snprintf(relation, sizeof(relation), "%u", e->relation);
	snprintf(columns, sizeof(columns), "{%.*s}", (int)bytes_length(&e->columns),
		bytes_length(&e->columns) ? (const char *)bytes_view(&e->columns).data : "");
	g->found = (struct gate_lookup){0};
	g->column_dropped = false;
	gate_ask_server(s, on_table, false, questions, 2, table_known);
}

/* The index stands in the sentences as PostgreSQL's own. */
static void on_dependency(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;
	char message[512], detail[512], hint[512];
	bool required = question == 0;

	if (n != 2 || bytes_length(&g->error) > 0)
		return;
	snprintf(message, sizeof(message),
		required ? "cannot drop %.*s because %.*s requires it"
			 : "cannot drop %.*s because other objects depend on it",
		(int)values[0].len, (const char *)values[0].data, (int)values[1].len,
		(const char *)values[1].data);
	snprintf(detail, sizeof(detail), "%.*s depends on %.*s", (int)values[1].len,
		(const char *)values[1].data, (int)values[0].len, (const char *)values[0].data);
	snprintf(hint, sizeof(hint), "You can drop %.*s instead.", (int)values[1].len,
		(const char *)values[1].data);
	report_put_error(&g->error, "2BP01", message, required ? NULL : detail,
		required ? hint : "Use DROP ... CASCADE to drop the dependent objects too.");
}

/* What PostgreSQL's DROP would look for: whose part the index is, and what needs it. */
static void ask_what_depends(struct session *s, uint32_t index, gate_fn then)
{
	struct gate *g = s->gate;
	char oid[16];
	const char *values[] = {oid};
	struct question questions[] = {
		{.sql = "SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0), "
			"pg_catalog.pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) "
			"FROM pg_catalog.pg_depend d WHERE d.classid" EQ
			"'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid" EQ
			"$1::pg_catalog.oid AND "
			"(d.deptype" EQ "'i' OR d.deptype" EQ "'P' OR d.deptype" EQ "'e') LIMIT 1",
			.values = values,
			.n_values = 1},
		{.sql = "SELECT pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0), "
			"pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) "
			"FROM pg_catalog.pg_depend d WHERE d.refclassid" EQ
			"'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid" EQ
			"$1::pg_catalog.oid "
			"AND d.deptype" EQ "'n' LIMIT 1",
			.values = values,
			.n_values = 1},
	};

	bytes_clear(&g->error);
	snprintf(oid, sizeof(oid), "%u", index);
	gate_ask_server(s, on_dependency, false, questions, 2, then);
}

void gate_ask_what_depends(struct session *s, gate_fn then)
{
	ask_what_depends(s, s->gate->found.index, then);
}

static void droppable_known(struct session *s)
{
	struct gate *g = s->gate;

	if (g->inquiry.failed)
		refuse(s, bytes_view(&g->inquiry.error));
	else if (bytes_length(&g->error) > 0)
		refuse(s, bytes_view(&g->error));
	else
		next(s);
}

static void index_known(struct session *s)
{
	struct gate *g = s->gate;
	struct ledger_entry *e = g->checking;

	if (g->inquiry.failed) {
		refuse(s, bytes_view(&g->inquiry.error));
		return;
	}
	keep_index(&g->found, &e->index, e->likeness);
	if (e->statement.kind == STATEMENT_DROP_INDEX)
		ask_what_depends(s, e->index, droppable_known);
	else
		next(s);
}

static void on_partition(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	(void)question;
	if (n == 4)
		gate_note_partition(&g->found, values);
}

#define PARTITION_SQL(which)                                                               \
	"SELECT r.oid, EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid" EQ \
	"r.oid AND i.inhparent" EQ "$2::pg_catalog.oid), EXISTS (SELECT 1 FROM "           \
	"pg_catalog.pg_partitioned_table p WHERE p.partrelid" EQ                           \
	"$2::pg_catalog.oid AND p.partdefid" NE                                            \
	"0::pg_catalog.oid), (SELECT c.relname FROM pg_catalog.pg_inherits i JOIN "        \
	"pg_catalog.pg_class c ON c.oid" EQ "i.inhrelid WHERE i.inhparent" EQ              \
	"$2::pg_catalog.oid AND "                                                          \
	"i.inhdetachpending LIMIT 1) FROM pg_catalog.pg_class r WHERE r.oid" EQ which

void gate_ask_for_partition(
	struct session *s, bool by_oid, const char *value, uint32_t parent, gate_fn then)
{
	char table[16];
	const char *values[] = {value, table};
	struct question q = {
		.sql = by_oid ? PARTITION_SQL("$1::pg_catalog.oid")
			      : PARTITION_SQL("pg_catalog.to_regclass($1::pg_catalog.text)"),
		.values = values,
		.n_values = 2};

	snprintf(table, sizeof(table), "%u", parent);
	s->gate->found.partition = 0;
	gate_ask_server(s, on_partition, false, &q, 1, then);
}

static void partition_known(struct session *s)
{
	struct gate *g = s->gate;
	const struct statement_aside *d = &g->checking->statement.aside;
	struct sql_path partition, table;
	char text[256];

	if (g->inquiry.failed) {
		refuse(s, bytes_view(&g->inquiry.error));
	} else if (g->found.partition == 0) {
		next(s); /* dropped: then it is done */
	} else if (!g->found.partition_attached) {
		snprintf(text, sizeof(text),
			"relation \"%s\" is not a partition of relation \"%s\"",
			gate_last_part(s, d->partition, &partition),
			gate_last_part(s, d->table, &table));
		refuse_for(s, "42P01", text);
	} else if (g->found.has_default) {
		refuse_for(s, "55000", GATE_HAS_DEFAULT);
	} else {
		next(s);
	}
}

static void check_detach(struct session *s)
{
	char oid[16];

	snprintf(oid, sizeof(oid), "%u", s->gate->checking->partition);
	gate_ask_for_partition(s, true, oid, s->gate->checking->relation, partition_known);
}

static void check_made(struct session *s);

static void made_known(struct session *s)
{
	struct gate *g = s->gate;
	struct ledger_made *m = g->checking_made;

	if (g->inquiry.failed) {
		bytes_clear(&g->error);
		bytes_put_slice(&g->error, bytes_view(&g->inquiry.error));
		g->after_preflight(s);
		return;
	}
	keep_index(&g->found, &m->index, m->likeness);
	g->checking_made = m->next;
	check_made(s);
}

/* What a ROLLBACK TO has condemned is found after COMMIT, too. */
static void check_made(struct session *s)
{
	struct gate *g = s->gate;
	struct ledger_made *m = g->checking_made;

	while (m && !(m->undo && m->likeness[0]))
		m = m->next;
	g->checking_made = m;
	if (m) {
		ask_for_index(s, m->relation, m->index, m->likeness, made_known);
		return;
	}
	s->ledger.current = true;
	bytes_clear(&g->error);
	g->after_preflight(s);
}

/* The rest is either done by its object's end, or was seen when it was given. */
static void check(struct session *s)
{
	struct gate *g = s->gate;
	const struct ledger_entry *e = g->checking;

	if (!e) {
		check_made(s);
		return;
	}
	switch (e->statement.kind) {
	case STATEMENT_CREATE_INDEX:
		check_create(s);
		break;
	case STATEMENT_DROP_INDEX:
	case STATEMENT_REINDEX:
		if (e->index != 0)
			ask_for_index(s, e->relation, e->index, e->likeness, index_known);
		else
			next(s);
		break;
	case STATEMENT_DETACH_PARTITION:
		check_detach(s);
		break;
	default:
		next(s);
		break;
	}
}

void gate_preflight(struct session *s, gate_fn then)
{
	s->gate->after_preflight = then;
	s->gate->checking = s->ledger.owed;
	s->gate->checking_made = s->ledger.made;
	check(s);
}
