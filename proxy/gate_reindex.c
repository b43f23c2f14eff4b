/*
 * gate_reindex.c - a REINDEX that is to be owed is looked at where it stands: what PostgreSQL would
 * refuse of it, it refuses in the same order and words, while the transaction can still be rolled
 * back.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "catalog.h"
#include "gate_state.h"
#include "statement_reader.h"

/* FirstUnpinnedObjectId: below are the catalogs themselves. */
#define FIRST_OTHER_OID 12000u
#define PG_GLOBAL "1664"

/* What its options say. */
struct options {
	const char *sqlstate; /* why they are refused; NULL */
	char refusal[200];
	bool moves; /* to this tablespace */
	char tablespace[128];
};

static void refuse(struct options *o, const char *before, const char *name, const char *after)
{
	o->sqlstate = "42601";
	snprintf(o->refusal, sizeof(o->refusal), "%s%s%s", before, name, after);
}

/* A string without its quotes; false when it has more than one spelling. */
static bool read_string(struct slice text, char *out, size_t size)
{
	if (memchr(text.data + 1, '\'', text.len - 2))
		return false;
	snprintf(out, size, "%.*s", (int)text.len - 2, (const char *)text.data + 1);
	return true;
}

/* The value at hand; false when it cannot be read, and nothing is known of it then. */
static bool read_tablespace(struct reader *r, struct options *o)
{
	struct slice text = sql_token_text(r->text, r->now);
	struct sql_name name;

	if (r->now.kind == SQL_TOKEN_STRING)
		return read_string(text, o->tablespace, sizeof(o->tablespace));
	if (!sql_token_is_name(r->now) || !sql_name_decode(text, r->dialect, &name))
		return false;
	snprintf(o->tablespace, sizeof(o->tablespace), "%s", name.text);
	return true;
}

static bool is_truth(struct slice value, bool number)
{
	static const char *const words[] = {"true", "false", "on", "off"};
	size_t quotes = value.len >= 2 && value.data[0] == '\'' ? 1 : 0;

	if (number)
		return slice_is(value, "0") || slice_is(value, "1");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (value.len - 2 * quotes == strlen(words[i]) &&
			strncasecmp(
				(const char *)value.data + quotes, words[i], strlen(words[i])) == 0)
			return true;
	return false;
}

/* One option, of which the name has been read. */
static void read_value(struct reader *r, const struct sql_name *name, struct options *o)
{
	bool none = reader_at_char(r, ',') || reader_at_char(r, ')');
	struct slice value = sql_token_text(r->text, r->now);

	if (strcmp(name->text, "tablespace") == 0 && none)
		refuse(o, "", name->text, " requires a parameter");
	else if (strcmp(name->text, "tablespace") == 0)
		o->moves = read_tablespace(r, o);
	else if (strcmp(name->text, "verbose") == 0 && !none &&
		 !is_truth(value, r->now.kind == SQL_TOKEN_INTEGER))
		refuse(o, "", name->text, " requires a Boolean value");
	else if (strcmp(name->text, "verbose") != 0 && strcmp(name->text, "concurrently") != 0)
		refuse(o, "unrecognized REINDEX option \"", name->text, "\"");
	while (reader_at_token(r) && !reader_at_char(r, ',') && !reader_at_char(r, ')'))
		reader_advance(r);
}

static void read_options(struct slice text, struct sql_dialect dialect, struct options *o)
{
	struct reader r;
	struct slice word;
	struct sql_name name;

	reader_init(&r, text, dialect);
	if (!reader_accept_word(&r, "reindex") || !reader_accept_char(&r, '('))
		return;
	do {
		if (!reader_name(&r, &word) || !sql_name_decode(word, dialect, &name))
			return;
		read_value(&r, &name, o);
	} while (!o->sqlstate && reader_accept_char(&r, ','));
}

/* Columns: it is of an exclusion constraint; the tablespace is there, usable, that of what all
 * databases share. */
static const char facts_sql[] =
	"SELECT (SELECT i.indisexclusion FROM pg_catalog.pg_index i WHERE i.indexrelid" EQ
	"$1::pg_catalog.oid), s.oid IS NOT NULL, s.oid" EQ "d.dattablespace OR "
	"pg_catalog.has_tablespace_privilege(s.oid, 'CREATE'), s.oid" EQ PG_GLOBAL
	"::pg_catalog.oid FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_tablespace s ON "
	"s.spcname" EQ "$2::pg_catalog.text WHERE d.datname" EQ "pg_catalog.current_database()";

static void on_facts(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	(void)question;
	if (n != 4)
		return;
	g->reindex.exclusion = slice_is(values[0], "t");
	g->reindex.no_tablespace = !slice_is(values[1], "t");
	g->reindex.no_right = slice_is(values[2], "f");
	g->reindex.global = slice_is(values[3], "t");
}

static void fail_tablespace(struct session *s, const struct options *o)
{
	const struct gate *g = s->gate;
	char text[256];

	if (g->reindex.no_tablespace) {
		snprintf(text, sizeof(text), "tablespace \"%s\" does not exist", o->tablespace);
		gate_fail(s, "42704", text, NULL, NULL);
	} else if (g->reindex.no_right) {
		snprintf(text, sizeof(text), "permission denied for tablespace %s", o->tablespace);
		gate_fail(s, "42501", text, NULL, NULL);
	} else {
		snprintf(text, sizeof(text), "cannot move non-shared relation to tablespace \"%s\"",
			o->tablespace);
		gate_fail(s, "0A000", text, NULL, NULL);
	}
}

static bool is_toast(const struct gate *g)
{
	return strcmp(g->found.schema, "pg_toast") == 0;
}

static bool is_no_table(const struct gate *g)
{
	return g->unit.aside.target == STATEMENT_TARGET_TABLE && !strchr("rmt", g->found.kind);
}

/* The relation as the statement names it. */
static void fail_name(
	struct session *s, const char *sqlstate, const char *before, const char *after)
{
	const struct statement_aside *d = &s->gate->unit.aside;
	struct sql_path path;
	char text[200];

	snprintf(text, sizeof(text), "%s\"%s\"%s", before,
		gate_last_part(s, d->target == STATEMENT_TARGET_INDEX ? d->index : d->table, &path),
		after);
	gate_fail(s, sqlstate, text, NULL, NULL);
}

static void check(struct session *s, const struct options *o)
{
	struct gate *g = s->gate;
	bool index = g->unit.aside.target == STATEMENT_TARGET_INDEX;

	if (o->moves && (g->reindex.no_tablespace || g->reindex.no_right))
		fail_tablespace(s, o);
	else if (is_no_table(g))
		fail_name(s, "42809", "", " is not a table or materialized view");
	else if (!g->found.owned && !g->found.maintained)
		gate_fail_not_owned(s);
	else if (g->found.relation < FIRST_OTHER_OID)
		gate_fail(s, "0A000", "cannot reindex system catalogs concurrently", NULL, NULL);
	else if (index && is_toast(g) && !g->found.index_valid)
		gate_fail(s, "0A000", "cannot reindex invalid index on TOAST table", NULL, NULL);
	else if (o->moves && is_toast(g))
		fail_name(s, "0A000", "cannot move system relation ", "");
	else if (o->moves && g->reindex.global)
		fail_tablespace(s, o);
	else if (g->reindex.exclusion)
		gate_fail(s, "0A000",
			"concurrent index creation for exclusion constraints is not supported",
			NULL, NULL);
	else
		g->after_reindex(s);
}

static void facts_known(struct session *s)
{
	struct gate *g = s->gate;
	struct options o = {.moves = false};

	if (g->inquiry.failed) {
		gate_fail_with(s, bytes_view(&g->inquiry.error));
		return;
	}
	read_options(g->unit.text, s->dialect, &o);
	check(s, &o);
}

void gate_check_reindex(struct session *s, gate_fn then)
{
	struct gate *g = s->gate;
	struct options o = {.moves = false};
	char index[16];
	const char *values[] = {index, o.tablespace};
	const struct question facts = {.sql = facts_sql, .values = values, .n_values = 2};

	read_options(g->unit.text, s->dialect, &o);
	if (o.sqlstate) {
		gate_fail(s, o.sqlstate, o.refusal, NULL, NULL);
		return;
	}
	g->after_reindex = then;
	g->reindex = (struct gate_reindex){.exclusion = false};
	snprintf(index, sizeof(index), "%u",
		g->unit.aside.target == STATEMENT_TARGET_INDEX ? g->found.index : 0);
	gate_ask_server(s, on_facts, false, &facts, 1, facts_known);
}
