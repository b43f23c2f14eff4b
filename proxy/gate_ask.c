/*
 * gate_ask.c - what the server connection has to say before a place is chosen: its settings, its
 * transaction's properties, its pid, and which relation the statement's names mean there.
 *
 * The first inquiry leaves no trace in any transaction. The second one is a SELECT, which takes a
 * snapshot that lasts in REPEATABLE READ; there, though, nothing is run while the transaction is
 * open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "placement.h"

#define KEEP_ALIVE_LEAST_MS 100u

static uint64_t unit_ms(const char *unit)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(unit, units[i].name) == 0)
			return units[i].ms;
	return 1;
}

static void copy_value(char *to, size_t size, struct slice value)
{
	snprintf(to, size, "%.*s", (int)value.len, value.data ? (const char *)value.data : "");
}

/* A time as SHOW prints it: "0", "500ms", "5min". */
static uint64_t time_ms(struct slice value)
{
	char text[32];
	char *unit;
	unsigned long long n;

	copy_value(text, sizeof(text), value);
	n = strtoull(text, &unit, 10);
	return n * unit_ms(unit);
}

static void note_idle_timeout(struct gate *g, struct slice value)
{
	uint64_t third = time_ms(value) / 3;

	if (third == 0)
		return;
	if (third < KEEP_ALIVE_LEAST_MS)
		third = KEEP_ALIVE_LEAST_MS;
	if (g->keep_alive_ms == 0 || third < g->keep_alive_ms)
		g->keep_alive_ms = third < UINT32_MAX ? (unsigned)third : UINT32_MAX;
}

static void note_setting(struct gate *g, struct slice name, struct slice value)
{
	bytes_put_slice(&g->settings, name);
	bytes_put_u8(&g->settings, 0);
	bytes_put_slice(&g->settings, value);
	bytes_put_u8(&g->settings, 0);
	if (slice_is(name, "transaction_isolation"))
		g->facts.read_committed =
			slice_is(value, "read committed") || slice_is(value, "read uncommitted");
	else if (slice_is(name, "transaction_read_only"))
		g->facts.read_only = slice_is(value, "on");
	else if (slice_is(name, "client_min_messages"))
		g->quiet = slice_is(value, "warning") || slice_is(value, "error") ||
			   slice_is(value, "fatal") || slice_is(value, "panic");
	else if (slice_is(name, "idle_in_transaction_session_timeout") ||
		 slice_is(name, "idle_session_timeout"))
		note_idle_timeout(g, value);
}

/* Rows of SHOW ALL, SHOW session_authorization, SHOW role, and of what SHOW ALL does not know. */
static void on_setting(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	if (question == 0 && n >= 2)
		note_setting(g, values[0], values[1]);
	else if (question == 1 && n == 1)
		note_setting(g, slice_str("session_authorization"), values[0]);
	else if (question == 2 && n == 1)
		note_setting(g, slice_str("role"), values[0]);
	else if (question == 3 && n == 2 && values[1].data)
		note_setting(g, values[0], values[1]);
}

static void note_found(struct gate_lookup *l, const struct slice *values)
{
	l->relation = slice_number(values[LOOKUP_TABLE]);
	l->index = slice_number(values[LOOKUP_INDEX]);
	l->index_table = slice_number(values[LOOKUP_INDEX_TABLE]);
	l->index_valid = slice_is(values[LOOKUP_INDEX_VALID], "t");
	l->kind = values[LOOKUP_KIND].len > 0 ? (char)values[LOOKUP_KIND].data[0] : '\0';
}

void gate_note_lookup(struct gate_lookup *l, const struct slice *values)
{
	note_found(l, values);
	l->owned = slice_is(values[LOOKUP_OWNED], "t");
	l->creates = slice_is(values[LOOKUP_CREATES], "t");
	l->schema_owned = slice_is(values[LOOKUP_SCHEMA_OWNED], "t");
	l->maintained = slice_is(values[LOOKUP_MAINTAINED], "t");
	l->temporary = slice_is(values[LOOKUP_TEMPORARY], "t");
	l->version = slice_number(values[LOOKUP_VERSION]);
	snprintf(l->table, sizeof(l->table), "%.*s.%.*s", (int)values[LOOKUP_SCHEMA].len,
		(const char *)values[LOOKUP_SCHEMA].data, (int)values[LOOKUP_NAME].len,
		(const char *)values[LOOKUP_NAME].data);
	copy_value(l->schema, sizeof(l->schema), values[LOOKUP_SCHEMA]);
	copy_value(l->likeness, sizeof(l->likeness), values[LOOKUP_LIKENESS]);
	copy_value(l->name, sizeof(l->name), values[LOOKUP_NAME]);
}

void gate_note_partition(struct gate_lookup *l, const struct slice *values)
{
	l->partition = slice_number(values[0]);
	l->partition_attached = slice_is(values[1], "t");
	l->has_default = slice_is(values[2], "t");
	copy_value(l->pending, sizeof(l->pending), values[3]);
}

/*
 * Whether the transaction has changed what an index may call, which no lock tells: functions, and
 * the configurations of text search. Of what it can see, its own rows are not older than its own
 * id. So are some of others who have committed since, and very old ones on a server that has used
 * up two billion ids: then the statement waits for COMMIT for nothing. What it has deleted is not
 * seen: a function is locked then, a mapping of text search is not.
 */
#define CHANGED(catalog) \
	"EXISTS (SELECT 1 FROM pg_catalog." catalog " c WHERE pg_catalog.age(c.xmin)" LE "0)"

static const char pid_sql[] = "SELECT pg_catalog.pg_backend_pid()";
static const char pid_and_changes_sql[] =
	"SELECT pg_catalog.pg_backend_pid(), "
	"CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN false ELSE " CHANGED(
		"pg_proc") " OR " CHANGED("pg_ts_config_map") " OR " CHANGED("pg_ts_dict") " END";

static bool may_call(const struct statement *st)
{
	return st->kind == STATEMENT_REINDEX ||
	       (st->kind == STATEMENT_CREATE_INDEX && st->aside.calls);
}

_Static_assert(LOOKUP_COLUMNS <= INQUIRY_MAX_COLUMNS, "a row of the look-up is read whole");

/* Rows of pg_backend_pid(), of the look-up and of its locks. */
static void on_relation(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	if (question < g->n_front)
		return;
	question -= g->n_front;
	if (question == 0 && n > 0)
		g->server_pid = (int)slice_number(values[0]);
	if (question == 0 && n == 2)
		g->facts.redefines = slice_is(values[1], "t");
	if (question == 1 && n == LOOKUP_FEW)
		note_found(&g->found, values);
	if (question == 2 && n == LOCKS_COLUMNS)
		locks_note(&g->locks, values);
}

bool gate_was_cancelled(const struct gate *g)
{
	return g->inquiry.failed && strcmp(g->inquiry.sqlstate, "57014") == 0;
}

bool gate_heeds_cancel(struct session *s)
{
	if (!s->gate->cancel_wanted)
		return false;
	gate_fail(s, "57014", ASIDE_CANCELLED, NULL, NULL);
	return true;
}

/* The transaction has failed by our question, and the client is told of that. */
static bool inquiry_failed(struct session *s)
{
	struct gate *g = s->gate;

	if (!g->inquiry.failed)
		return false;
	if (g->facts.status != 'T') {
		if (gate_was_cancelled(g) || gate_loses_local(g))
			gate_fail_with(s, bytes_view(&g->inquiry.error));
		else
			gate_send_unit(s); /* nothing has come of it */
		return true;
	}
	log_event(LOG_LEVEL_WARNING, "inquiry_failed", "session=%llu sqlstate=%s",
		(unsigned long long)s->id, g->inquiry.sqlstate);
	gate_fail_with(s, bytes_view(&g->inquiry.error));
	return true;
}

static bool destroys(const struct gate *g)
{
	return g->unit.kind == STATEMENT_DETACH_PARTITION ||
	       (g->unit.kind == STATEMENT_DROP_INDEX && g->found.index_valid);
}

static void known(struct session *s)
{
	struct gate *g = s->gate;

	if (g->unit.kind == STATEMENT_REINDEX && (g->found.kind == 'p' || g->found.kind == 'I')) {
		gate_send_unit(s); /* several relations: PostgreSQL refuses it as ever */
		return;
	}
	g->facts.exists = g->found.relation != 0;
	g->facts.destroys = destroys(g);
	g->facts.owes = s->ledger.owed != NULL;
	gate_place(s);
}

static void on_newer(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	(void)question;
	g->newer = n > 0 && slice_is(values[0], "t");
}

static void newer_known(struct session *s)
{
	if (inquiry_failed(s))
		return;
	if (s->gate->newer)
		gate_fail(s, "40001", "could not serialize access due to concurrent update",
			"The relation is newer than the snapshot of this transaction.",
			"Run the transaction again, or run it with READ COMMITTED.");
	else
		known(s);
}

/* A snapshot that is kept does not show what others have made since, though every name means it. */
static void ask_if_newer(struct session *s)
{
	struct bytes path, name;
	const char *values[1];

	bytes_init(&path, 4096);
	bytes_init(&name, 4096);
	s->gate->newer = false;
	if (aside_lookup_parameters(&s->gate->unit, s->dialect, &path, &name)) {
		const struct question question = {
			.sql = "SELECT o IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "
			       "pg_catalog.pg_class c WHERE c.oid" EQ
			       "o) FROM pg_catalog.to_regclass($1::pg_catalog.text) o",
			.values = values,
			.n_values = 1};

		values[0] = (const char *)bytes_view(&path).data;
		gate_ask_server(s, on_newer, false, &question, 1, newer_known);
	} else {
		known(s);
	}
	bytes_release(&path);
	bytes_release(&name);
}

static void resolved(struct session *s)
{
	struct gate *g = s->gate;

	if (inquiry_failed(s))
		return;
	if (g->found.relation == 0 && g->facts.status == 'T' && !g->facts.read_committed)
		ask_if_newer(s);
	else
		known(s);
}

/*
 * A name is cut to its length in the server's encoding. In another one of the client's it cannot be
 * told how long that is: a character has up to three bytes for one.
 */
static bool may_be_cut_elsewhere(const struct session *s, struct slice name)
{
	struct slice settings = bytes_view(&s->gate->settings), client, server;
	size_t most = 0;

	for (size_t i = 0; i < name.len; i++)
		most += name.data[i] >= 0x80 && s->dialect.encoding != SQL_ENCODING_UTF8 ? 3 : 1;
	return most > SQL_NAME_MAX && !slice_is_ascii(name) &&
	       aside_setting(settings, "client_encoding", &client) &&
	       aside_setting(settings, "server_encoding", &server) && !slice_equal(client, server);
}

static bool is_readable(const struct session *s, struct bytes *path, struct bytes *name)
{
	const struct statement *st = &s->gate->unit;

	return aside_lookup_parameters(st, s->dialect, path, name) &&
	       !(st->kind == STATEMENT_CREATE_INDEX && may_be_cut_elsewhere(s, st->aside.index));
}

static void resolve(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes path, name;
	const char *values[2];
	struct gate_local l = {.n = 0};

	gate_local_questions(g, &l);
	g->n_front = l.n;
	l.questions[l.n++] =
		(struct question){.sql = may_call(&g->unit) ? pid_and_changes_sql : pid_sql};
	g->found = (struct gate_lookup){0};
	locks_clear(&g->locks);
	bytes_init(&path, 4096);
	bytes_init(&name, 4096);
	if (is_readable(s, &path, &name)) {
		values[0] = (const char *)bytes_view(&path).data;
		values[1] = (const char *)bytes_view(&name).data;
		l.questions[l.n++] = (struct question){
			.sql = aside_lookup_sql(&g->unit), .values = values, .n_values = 2};
		l.questions[l.n++] = (struct question){.sql = locks_sql};
		gate_ask_server(s, on_relation, false, l.questions, l.n, resolved);
		g->inquiry.silent = g->n_front > 0;
	} else {
		/* A REINDEX of a schema, or names we cannot read: PostgreSQL refuses it as ever. */
		gate_send_unit(s);
	}
	bytes_release(&path);
	bytes_release(&name);
}

static void settings_known(struct session *s)
{
	if (inquiry_failed(s))
		return;
	if (!gate_find_local(s) || bytes_failed(&s->gate->settings)) {
		gate_fail(s, "54000", "the settings of this session are too long for an aside",
			NULL, NULL);
		return;
	}
	/* REINDEX is allowed in a read-only transaction. */
	if (s->gate->unit.kind == STATEMENT_REINDEX)
		s->gate->facts.read_only = false;
	if (s->gate->facts.read_only)
		gate_send_unit(s); /* PostgreSQL refuses it: 25006 */
	else
		resolve(s);
}

static const struct question settings_questions[] = {
	{.sql = "SHOW ALL"}, {.sql = "SHOW session_authorization"}, {.sql = "SHOW role"}};
#define SETTINGS_QUESTIONS 3

static const char undeclared_sql[] = "SELECT n, pg_catalog.current_setting(n, true) FROM "
				     "pg_catalog.unnest($1::pg_catalog.text[]) n";

void gate_ask_before_sync(struct session *s, gate_fn then)
{
	bytes_clear(&s->gate->settings);
	gate_ask_in_pipeline(s, on_setting, settings_questions, SETTINGS_QUESTIONS, then);
}

void gate_ask(struct session *s)
{
	struct question questions[SETTINGS_QUESTIONS + 1];
	unsigned n = SETTINGS_QUESTIONS;
	struct gate *g = s->gate;
	const char *undeclared = (const char *)bytes_view(&g->undeclared).data;

	memcpy(questions, settings_questions, sizeof(settings_questions));
	if (bytes_length(&g->undeclared) > 0)
		questions[n++] = (struct question){
			.sql = undeclared_sql, .values = &undeclared, .n_values = 1};
	bytes_clear(&g->settings);
	g->keep_alive_ms = 0;
	gate_open_ahead(s);
	/* A portal that an earlier SELECT has left open holds a snapshot: it goes, unless it is the
	 * unit's own. */
	gate_ask_server(s, on_setting, !g->extended || !g->unnamed, questions, n, settings_known);
}
