/*
 * gate_local.c - what SET LOCAL has set lasts over a COMMIT of ours.
 *
 * To PostgreSQL a Query of several statements is one block, and so is a pipeline. Where we end it
 * in front of a statement, the settings that end with it are found by comparing those before and
 * after. The statement runs with the former, and what the client sends behind it finds them set
 * again for the rest of the block.
 *
 * SHOW ALL knows nothing of settings that nobody has declared (app.tenant): those are asked for
 * that the text of the Query sets.
 */
#include <stdio.h>
#include <string.h>

#include "gate_state.h"
#include "message.h"
#include "sql_lexer.h"

#define SET_SQL "SELECT pg_catalog.set_config($1, $2, true)"

/* The server's own affairs, and what follows from another setting. */
static const char *const derived[] = {"in_hot_standby", "is_superuser", "server_encoding", NULL};
/* In SET TRANSACTION, since a SELECT is a query already, which must not be before it. */
static const char *const modes[] = {
	"transaction_isolation", "transaction_read_only", "transaction_deferrable", NULL};
/* The texts of the others are in it, so it is the first. */
static const char *const encodings[] = {"client_encoding", NULL};
/* They may forbid the rest, so they are the last. */
static const char *const roles[] = {"session_authorization", "role", NULL};

static bool is_one_of(const char *const *names, struct slice name)
{
	for (; *names; names++)
		if (slice_is(name, *names))
			return true;
	return false;
}

static bool is_ordinary(struct slice name)
{
	return !is_one_of(derived, name) && !is_one_of(encodings, name) && !is_one_of(roles, name);
}

/* Walks "name, zero, value, zero, ..". False at the end. */
static bool next_setting(struct cursor *c, struct slice *name, struct slice *value)
{
	*name = cursor_cstr(c);
	*value = cursor_cstr(c);
	return !c->failed;
}

static bool is_undeclared(struct slice name)
{
	return memchr(name.data, '.', name.len) != NULL;
}

/* One that cannot be seen any more has not changed: who may see it depends on the role. */
static bool has_changed(const struct gate *g, struct slice name, struct slice before)
{
	struct slice now;

	if (aside_setting(bytes_view(&g->settings), (const char *)name.data, &now))
		return !slice_equal(now, before);
	return is_undeclared(name);
}

static void put_if_changed(struct gate *g, struct slice name, struct slice before)
{
	if (!has_changed(g, name, before))
		return;
	bytes_put_slice(&g->local, name);
	bytes_put_u8(&g->local, 0);
	bytes_put_slice(&g->local, before);
	bytes_put_u8(&g->local, 0);
	g->n_local++;
}

static void put_those(struct gate *g, const char *const *names)
{
	struct slice before;

	for (; *names; names++)
		if (aside_setting(bytes_view(&g->before), *names, &before))
			put_if_changed(g, slice_str(*names), before);
}

void gate_keep_local(struct session *s)
{
	struct gate *g = s->gate;

	bytes_clear(&g->before);
	bytes_put_slice(&g->before, bytes_view(&g->settings));
	g->local_known = false;
}

static void before_known(struct session *s)
{
	struct gate *g = s->gate;

	if (g->inquiry.failed)
		gate_tell_error(s, bytes_view(&g->inquiry.error));
	else
		gate_keep_local(s);
	gate_end_pipeline(s);
}

bool gate_looks_before_sync(struct session *s)
{
	struct gate *g = s->gate;
	const struct dialogue *d = &s->dialogue;

	if (!d->executed || d->failed || (g->extended && !statement_is_aside(&g->unit)))
		return false;
	if (d->unanswered == 0) {
		gate_ask_before_sync(s, before_known);
		return true;
	}
	if (!g->flushed)
		gate_send_empty(s, 'H');
	g->flushed = true;
	return true;
}

void gate_forget_local(struct gate *g)
{
	bytes_release(&g->before);
	bytes_release(&g->local);
	bytes_release(&g->undeclared);
	g->n_local = 0;
	g->local_known = false;
}

bool gate_loses_local(const struct gate *g)
{
	return g->facts.status == 'I' && bytes_length(&g->before) > 0 &&
	       (g->n_local > 0 || !g->local_known);
}

bool gate_find_local(struct session *s)
{
	struct gate *g = s->gate;
	struct cursor c = cursor_over(bytes_view(&g->before));
	struct slice name, value;

	bytes_clear(&g->local);
	g->n_local = 0;
	if (g->facts.status != 'I' || bytes_length(&g->before) == 0)
		return true;
	put_those(g, encodings);
	while (next_setting(&c, &name, &value))
		if (is_ordinary(name))
			put_if_changed(g, name, value);
	put_those(g, roles);
	bytes_clear(&g->settings);
	bytes_put_slice(&g->settings, bytes_view(&g->before));
	g->local_known = true;
	return g->n_local <= GATE_LOCAL_MOST && !bytes_failed(&g->local) &&
	       !bytes_failed(&g->before);
}

/* SET TRANSACTION with what has changed of it; empty if nothing has. */
static void write_mode(const struct gate *g, char *out, size_t size)
{
	struct slice local = bytes_view(&g->local), isolation, value;
	bool isolated = aside_setting(local, "transaction_isolation", &isolation);
	const char *access = "", *deferrable = "";

	out[0] = '\0';
	if (aside_setting(local, "transaction_read_only", &value))
		access = slice_is(value, "on") ? " READ ONLY" : " READ WRITE";
	if (aside_setting(local, "transaction_deferrable", &value))
		deferrable = slice_is(value, "on") ? " DEFERRABLE" : " NOT DEFERRABLE";
	if (isolated || access[0] || deferrable[0])
		snprintf(out, size, "SET TRANSACTION%s%.*s%s%s",
			isolated ? " ISOLATION LEVEL " : "", isolated ? (int)isolation.len : 0,
			isolated ? (const char *)isolation.data : "", access, deferrable);
}

static void add(struct gate_local *l, const char *sql)
{
	l->questions[l->n++] = (struct question){.sql = sql};
}

void gate_local_questions(const struct gate *g, struct gate_local *l)
{
	struct cursor c = cursor_over(bytes_view(&g->local));
	struct slice name, value;

	while (next_setting(&c, &name, &value)) {
		const char **values = l->values[l->n];

		if (is_one_of(modes, name))
			continue;
		/* Both are zero-terminated where they are. */
		values[0] = (const char *)name.data;
		values[1] = (const char *)value.data;
		l->questions[l->n++] =
			(struct question){.sql = SET_SQL, .values = values, .n_values = 2};
	}
}

static void write_all(const struct gate *g, struct gate_local *l)
{
	write_mode(g, l->mode, sizeof(l->mode));
	if (l->mode[0])
		add(l, l->mode);
	gate_local_questions(g, l);
}

void gate_begin_local(struct session *s, gate_fn then)
{
	struct gate_local l = {.n = 0};

	add(&l, "BEGIN");
	write_all(s->gate, &l);
	gate_ask_server(s, NULL, false, l.questions, l.n, then);
	s->gate->inquiry.silent = true;
}

void gate_set_local(struct session *s, gate_fn then)
{
	struct gate_local l = {.n = 0};

	write_all(s->gate, &l);
	gate_ask_in_pipeline(s, NULL, l.questions, l.n, then);
	s->gate->inquiry.silent = true;
}

static bool is_plain(struct slice name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] == '\0' || !strchr(letters, name.data[i]))
			return false;
	return name.len > 0 && is_undeclared(name);
}

/* The elements of an array: {a.b,c.d */
static void add_name(struct bytes *list, struct slice name)
{
	if (!is_plain(name))
		return;
	bytes_put_u8(list, bytes_length(list) == 0 ? '{' : ',');
	bytes_put_slice(list, name);
}

/* The last tokens, the latest first. */
static void note_tokens(struct bytes *list, struct slice text, const struct sql_token *t)
{
	/* LOCAL a.b; set_config('a.b' */
	if (sql_token_is_word(text, t[3], "local") && sql_token_is_char(text, t[1], '.'))
		add_name(list, slice_of(text.data + t[2].start, t[0].end - t[2].start));
	else if (sql_token_is_word(text, t[2], "set_config") &&
		 sql_token_is_char(text, t[1], '(') && t[0].kind == SQL_TOKEN_STRING)
		add_name(list, slice_of(text.data + t[0].start + 1, t[0].end - t[0].start - 2));
}

void gate_read_undeclared(struct session *s, struct slice text)
{
	struct bytes *list = &s->gate->undeclared;
	struct sql_token t[4] = {{SQL_TOKEN_END, 0, 0}};
	struct sql_lexer lexer;

	bytes_clear(list);
	sql_lexer_init(&lexer, text, s->dialect);
	do {
		memmove(t + 1, t, sizeof(t) - sizeof(t[0]));
		t[0] = sql_lexer_next(&lexer);
		note_tokens(list, text, t);
	} while (t[0].kind != SQL_TOKEN_END && t[0].kind != SQL_TOKEN_ERROR);
	if (bytes_length(list) == 0)
		return;
	bytes_put_u8(list, '}');
	bytes_put_u8(list, 0);
	if (bytes_failed(list))
		bytes_clear(list);
}
