/*
 * gate_rehearse.c - a CREATE INDEX is tried out on an empty temporary table of the same name and
 * shape, under a savepoint.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "statement_effect.h"

#define SAVEPOINT "pgaside"

enum {
	QUESTION_SAVEPOINT,
	QUESTION_SETTINGS,
	QUESTION_TABLE,
	QUESTION_INDEX,
	QUESTION_COLUMNS,
	QUESTIONS
};

/* What decides how the statement is read: as it was where it stood. */
static const char *const replayed[] = {"search_path", "standard_conforming_strings", "DateStyle"};
#define REPLAYED (sizeof(replayed) / sizeof(replayed[0]))

static const char settings_sql[] =
	"SELECT pg_catalog.set_config('search_path', $1, true), "
	"pg_catalog.set_config('standard_conforming_strings', $2, true), "
	"pg_catalog.set_config('DateStyle', $3, true)";

/* The columns of $2 that the index of its copy $1 uses, by number: names may change. */
static const char columns_sql[] =
	"SELECT pg_catalog.string_agg(DISTINCT o.attnum::pg_catalog.text, ',') FROM "
	"pg_catalog.pg_index i "
	"JOIN pg_catalog.pg_depend d ON d.classid" EQ "'pg_catalog.pg_class'::pg_catalog.regclass "
	"AND d.objid" EQ "i.indexrelid AND d.refclassid" EQ "d.classid "
	"AND d.refobjid" EQ "i.indrelid "
	"JOIN pg_catalog.pg_attribute a ON a.attrelid" EQ "i.indrelid AND a.attnum" EQ
	"d.refobjsubid "
	"JOIN pg_catalog.pg_attribute o ON o.attrelid" EQ "$2::pg_catalog.oid AND o.attname" EQ
	"a.attname "
	"WHERE i.indrelid" EQ "pg_catalog.to_regclass($1::pg_catalog.text) AND d.refobjsubid" GT
	"0";

/*
 * The position in the rehearsed text becomes one in the statement's own: only the table's name
 * differs in length.
 */
static void keep_error(struct gate *g)
{
	struct slice body = bytes_view(&g->inquiry.error), position;
	struct slice name = g->rehearsed->aside.table;
	const uint8_t *text = g->rehearsed->text.data;
	unsigned long table = gate_characters(g, slice_of(text, (size_t)(name.data - text)));
	unsigned long longer = strlen("pg_temp.") + gate_characters(g, slice_str(g->found.name));
	char number[16];
	unsigned long at;

	bytes_clear(&g->error);
	if (!error_field(body, 'P', &position)) {
		bytes_put_slice(&g->error, body);
		return;
	}
	snprintf(number, sizeof(number), "%.*s", (int)position.len, (const char *)position.data);
	at = strtoul(number, NULL, 10);
	if (at > table + longer)
		at = at - longer + gate_characters(g, name);
	error_put_moved(&g->error, body, at);
}

static void restored(struct session *s)
{
	struct gate *g = s->gate;

	if (g->inquiry.failed && g->rehearsal != REHEARSAL_FAILED) {
		/* Not even that: the transaction is lost, and its next statement says so. */
		bytes_clear(&g->error);
		bytes_put_slice(&g->error, bytes_view(&g->inquiry.error));
		g->rehearsal = REHEARSAL_FAILED;
	}
	g->after_rehearsal(s);
}

static bool is_letter(uint8_t c)
{
	return c == '_' || c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z');
}

/* Whether an error's message, in whatever language, has the name in it, not as a part of another.
 */
static bool message_names(struct slice error, const struct sql_name *name)
{
	struct slice message;
	const uint8_t *at, *end;

	if (!error_field(error, 'M', &message))
		return true;
	end = message.data + message.len;
	for (at = message.data; (at = memmem(at, (size_t)(end - at), name->text, name->len)); at++)
		if ((at == message.data || !is_letter(at[-1])) &&
			(at + name->len == end || !is_letter(at[name->len])))
			return true;
	return false;
}

/*
 * The copy has another row type, and no schema of the table's: an index that names the table once
 * more, as in f(t) or public.t.a, may fail on it alone. The error names it then.
 */
static bool is_of_the_copy(const struct session *s)
{
	static const char *const states[] = {"42883", "42P01", "42846", "42804"};
	const struct gate *g = s->gate;
	struct slice text = g->rehearsed->text, table = g->rehearsed->aside.table;
	size_t behind = (size_t)(table.data - text.data) + table.len;
	struct sql_path path;

	if (!sql_path_decode(table, s->dialect, &path))
		return false;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(g->inquiry.sqlstate, states[i]) == 0)
			return message_names(bytes_view(&g->inquiry.error),
				       &path.parts[path.n_parts - 1]) &&
			       statement_mentions(slice_of(text.data + behind, text.len - behind),
				       s->dialect, &path.parts[path.n_parts - 1]);
	return false;
}

static void on_ended(struct session *s)
{
	static const struct question questions[] = {{.sql = "ROLLBACK TO SAVEPOINT " SAVEPOINT},
		{.sql = "RELEASE SAVEPOINT " SAVEPOINT}};
	struct gate *g = s->gate;

	if (!g->inquiry.failed) {
		g->rehearsal = REHEARSAL_WORKED;
	} else if ((g->inquiry.question == QUESTION_INDEX && !is_of_the_copy(s)) ||
		   gate_was_cancelled(g)) {
		keep_error(g);
		g->rehearsal = REHEARSAL_FAILED;
	} else {
		/* A table that cannot be copied, or not wholly, says nothing about the index. */
		log_event(LOG_LEVEL_INFO, "not_rehearsed", "session=%llu sqlstate=%s",
			(unsigned long long)s->id, g->inquiry.sqlstate);
	}
	gate_ask_server(s, NULL, false, questions, 2, restored);
}

static void on_row(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	if (question != QUESTION_COLUMNS || n != 1)
		return;
	bytes_clear(&g->columns);
	bytes_put_slice(&g->columns, values[0]);
}

/* The statement on the copy: without CONCURRENTLY, and with the copy's name. */
static void write_index(struct bytes *out, const struct gate *g)
{
	const struct statement *st = g->rehearsed;
	struct bytes plain;
	size_t table = (size_t)(st->aside.table.data - st->text.data);
	size_t behind = table + st->aside.table.len;
	struct slice text;

	bytes_init(&plain, st->text.len + 1);
	statement_write_plain(&plain, st);
	text = bytes_view(&plain);
	bytes_put(out, text.data, table);
	bytes_printf(out, "pg_temp.%s", g->found.name);
	bytes_put(out, text.data + behind, text.len - behind);
	bytes_put_u8(out, 0);
	bytes_release(&plain);
}

static void write_table(struct bytes *out, const struct gate *g)
{
	bytes_printf(out,
		"CREATE TEMPORARY TABLE pg_temp.%s (LIKE %s INCLUDING ALL EXCLUDING INDEXES) ON "
		"COMMIT DROP",
		g->found.name, g->found.table);
	bytes_put_u8(out, 0);
}

static void ask(struct session *s, const char *table, const char *index, const char *values)
{
	struct gate *g = s->gate;
	char copy[sizeof("pg_temp.") + sizeof(g->found.name)], relation[16];
	const char *setting_values[REPLAYED];
	const char *column_values[] = {copy, relation};
	struct question questions[QUESTIONS] = {
		[QUESTION_SAVEPOINT] = {.sql = "SAVEPOINT " SAVEPOINT},
		[QUESTION_SETTINGS] = {.sql = settings_sql,
			.values = setting_values,
			.n_values = REPLAYED},
		[QUESTION_TABLE] = {.sql = table},
		[QUESTION_INDEX] = {.sql = index},
		[QUESTION_COLUMNS] = {.sql = columns_sql, .values = column_values, .n_values = 2},
	};

	for (size_t i = 0; i < REPLAYED; i++, values += strlen(values) + 1)
		setting_values[i] = values;
	snprintf(copy, sizeof(copy), "pg_temp.%s", g->found.name);
	snprintf(relation, sizeof(relation), "%u", g->found.relation);
	gate_ask_server(s, on_row, false, questions, QUESTIONS, on_ended);
	g->inquiry.silent = true; /* an event trigger may speak, of what never happens */
}

static void put_values(struct bytes *out, struct slice settings)
{
	struct slice value;

	for (size_t i = 0; i < REPLAYED; i++) {
		if (aside_setting(settings, replayed[i], &value))
			bytes_put_slice(out, value);
		bytes_put_u8(out, 0);
	}
}

void gate_rehearse(
	struct session *s, const struct statement *st, struct slice settings, gate_fn then)
{
	struct gate *g = s->gate;
	struct bytes table, index, values;

	g->rehearsed = st;
	g->rehearsal = REHEARSAL_SAID_NOTHING;
	g->after_rehearsal = then;
	bytes_init(&table, 4096);
	bytes_init(&index, st->text.len + 1024);
	bytes_init(&values, 64u * 1024);
	write_table(&table, g);
	write_index(&index, g);
	put_values(&values, settings);
	if (bytes_failed(&table) || bytes_failed(&index) || bytes_failed(&values))
		then(s);
	else
		ask(s, (const char *)bytes_view(&table).data, (const char *)bytes_view(&index).data,
			(const char *)bytes_view(&values).data);
	bytes_release(&table);
	bytes_release(&index);
	bytes_release(&values);
}
