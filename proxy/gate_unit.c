/*
 * gate_unit.c - one statement of a Query after another, or the one of an Execute.
 *
 * Several statements in a Query outside of a transaction are one implicit transaction to
 * PostgreSQL. So they stay one: BEGIN goes before the first ordinary statement and COMMIT behind
 * the last, and both answers are kept from the client. A text with transaction control of its own
 * gets none from us.
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "timer.h"

struct slice gate_unit_text(const struct gate *g)
{
	return g->lone ? bytes_view(&g->text) : g->unit.text;
}

/* As error positions count them: bytes that continue a UTF-8 character are none. */
unsigned long gate_characters(const struct gate *g, struct slice text)
{
	unsigned long n = 0;

	if (g->single_byte)
		return text.len;
	for (size_t i = 0; i < text.len; i++)
		n += (text.data[i] & 0xc0) != 0x80;
	return n;
}

unsigned long gate_unit_offset(const struct gate *g)
{
	return g->lone ? 0
		       : gate_characters(g, slice_of(bytes_view(&g->text).data, g->unit.offset));
}

static void finish(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes ready;

	/* Before the client hears of it: what others may see is to be true by then. */
	gate_enter(s, GATE_OPEN);
	if (!g->extended) {
		bytes_init(&ready, 16);
		message_put_ready(&ready, s->dialogue.status);
		session_tell(s, &ready);
		bytes_release(&ready);
	}
	relay_resume(s);
}

static void block_left(struct session *s)
{
	if (gate_was_cancelled(s->gate))
		gate_finish(s);
	else
		finish(s);
}

/* The end of our own block may be cancelled, too: the client began none, and is left in none. */
void gate_finish(struct session *s)
{
	if (s->gate->own_block && s->dialogue.status != 'I')
		gate_command(s, "ROLLBACK", block_left);
	else
		finish(s);
}

/* The next statement of the Query; false when there is none. */
static bool next_unit(struct gate *g)
{
	while (statement_next(&g->pieces, &g->unit))
		if (g->unit.kind != STATEMENT_EMPTY)
			return true;
	return false;
}

/* Nothing but empty statements follows the unit. */
static bool is_last(const struct gate *g)
{
	struct statement_iterator rest = g->pieces;
	struct statement st;

	while (statement_next(&rest, &st))
		if (st.kind != STATEMENT_EMPTY)
			return false;
	return true;
}

static void go_on(struct session *s)
{
	struct gate *g = s->gate;

	if (!g->failed && next_unit(g))
		gate_run_unit(s);
	else if (g->block_open)
		gate_end_block(s, !g->failed);
	else
		gate_finish(s);
}

static void local_set(struct session *s)
{
	if (s->gate->inquiry.failed)
		gate_tell_error(s, bytes_view(&s->gate->inquiry.error));
	gate_finish(s);
}

void gate_unit_done(struct session *s)
{
	struct gate *g = s->gate;

	if (!g->extended)
		go_on(s);
	else if (g->n_local > 0 && !g->failed)
		gate_set_local(s, local_set);
	else
		gate_finish(s);
}

/*
 * PostgreSQL reads a Query whole before it runs any of it. A Parse of it all is refused in any
 * case, for several commands, with an error that has no position; a real syntax error has one. (In
 * a transaction the refusal would end that.)
 */
static void syntax_checked(struct session *s)
{
	struct gate *g = s->gate;
	struct slice error = bytes_view(&g->inquiry.error), position;

	if (error_field(error, 'P', &position) || gate_was_cancelled(g)) {
		gate_tell_error(s, error);
		gate_finish(s);
		return;
	}
	go_on(s);
}

static void check_syntax(struct session *s)
{
	struct gate *g = s->gate;
	char *text = strndup((const char *)bytes_view(&g->text).data, bytes_length(&g->text));

	gate_command(s, text ? text : "", syntax_checked);
	free(text);
}

void gate_begin(struct session *s)
{
	struct gate *g = s->gate;

	if (g->extended) {
		gate_run_unit(s);
		return;
	}
	if (s->dialogue.status == 'I' && !g->lone) {
		check_syntax(s);
		return;
	}
	g->own_block = false;
	go_on(s);
}

/* A Sync of ours outside of a transaction made the server forget the portal: it is bound again. */
static void bind_again(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes message;

	bytes_init(&message, 256u * 1024);
	message_put_bind(&message, (const char *)bytes_view(&g->portal).data,
		(const char *)bytes_view(&g->prepared).data, NULL, 0);
	g->bind_answer = true;
	g->portal_lost = false;
	relay_send_server(s, &message);
	bytes_release(&message);
}

/* An Execute of transaction control is waited for, which needs a Flush; others are just passed on.
 */
static void send_execute(struct session *s)
{
	struct gate *g = s->gate;
	bool control = statement_is_control(&g->unit) && (gate_is_engaged(s) || g->settlement);

	if (g->portal_lost)
		bind_again(s);
	relay_send_server(s, &g->head);
	if (control) {
		gate_enter(s, GATE_UNIT);
		gate_send_empty(s, 'H');
		return;
	}
	gate_enter(s, GATE_OPEN);
	relay_resume(s);
}

static void send_query(struct session *s)
{
	struct slice text = gate_unit_text(s->gate);
	struct bytes message;

	bytes_init(&message, text.len + 16);
	message_put_query_slice(&message, text);
	gate_enter(s, GATE_UNIT);
	relay_send_server(s, &message);
	bytes_release(&message);
}

void gate_send_unit(struct session *s)
{
	struct gate *g = s->gate;

	if (statement_is_aside(&g->unit) && gate_loses_local(g)) {
		gate_fail(s, "0A000",
			"this statement would run without what SET LOCAL has set before it",
			"The statements before it are committed.",
			"Use SET instead of SET LOCAL, or send the statement alone.");
		return;
	}
	g->completed = g->failed = false;
	g->tag[0] = '\0';
	timer_start(g->timer, 10000);
	if (g->extended)
		send_execute(s);
	else
		send_query(s);
}

static void block_begun(struct session *s)
{
	struct gate *g = s->gate;

	if (g->inquiry.failed) {
		gate_tell_error(s, bytes_view(&g->inquiry.error));
		gate_finish(s);
		return;
	}
	g->block_open = true;
	gate_send_unit(s);
}

static void begin_block(struct session *s)
{
	if (s->gate->n_local > 0)
		gate_begin_local(s, block_begun);
	else
		gate_command(s, "BEGIN", block_begun);
}

/* Where PostgreSQL would have refused the statement, what it leaves when it fails is our doing. */
static bool is_guarded(const struct session *s)
{
	return s->snapshot->config.native == NATIVE_GUARD || s->gate->own_block || s->gate->cut;
}

void gate_run_other(struct session *s)
{
	struct gate *g = s->gate;
	char status = g->facts.status;

	if (status == 'T' && gate_relies_on_doomed(s, &g->unit))
		gate_refuse(s, "0A000",
			"an index of that name goes at COMMIT only: CREATE INDEX IF NOT EXISTS "
			"would skip it now (with CONCURRENTLY it would wait for that)");
	else if (statement_is_aside(&g->unit) &&
		 (status == 'T' || (status == 'I' && g->facts.guard)))
		gate_ask(s);
	else if (statement_is_control(&g->unit) && gate_is_engaged(s))
		gate_control(s);
	else if (!statement_is_aside(&g->unit) && g->own_block && !g->block_open && status == 'I')
		begin_block(s);
	else if (statement_is_aside(&g->unit) && status == 'I')
		gate_send_native(s);
	else
		gate_send_unit(s);
}

void gate_run_unit(struct session *s)
{
	struct gate *g = s->gate;

	/* PostgreSQL ends an implicit block before it answers the last statement in it. */
	g->hold_complete = g->own_block && is_last(g);
	g->completed = false;
	g->facts = (struct placement_facts){.status = s->dialogue.status, .guard = is_guarded(s)};
	if (g->facts.status == 'T' && gate_names_owed(s, &g->unit))
		gate_run_named(s);
	else if (g->facts.status == 'T' && gate_skips_owed(s, &g->unit))
		gate_refuse(s, "0A000",
			"an index of that name is made at COMMIT only: IF EXISTS would skip it now "
			"(DROP INDEX of it alone, or a statement behind COMMIT, would not)");
	else if (g->facts.status == 'T' && gate_reaches_detached(s, &g->unit))
		gate_refuse(s, "0A000",
			"a partition of that table is detached at COMMIT only: this statement "
			"would "
			"still reach it (one that names the partition, or comes behind COMMIT, "
			"does "
			"what it says)");
	else
		gate_run_other(s);
}
