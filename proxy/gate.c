#include "gate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "prepared.h"
#include "settle.h"
#include "statement_effect.h"
#include "timer.h"

#define TELL_MS 10000u
#define TEXT_LIMIT ((size_t)1 << 31)

#define TO(state) (1u << (state))
#define NEXT_UNIT \
	(TO(GATE_OPEN) | TO(GATE_UNIT) | TO(GATE_ASKING) | TO(GATE_PREPARING) | TO(GATE_FAILING))

static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[GATE_OPEN] = {"open", TO(GATE_ANSWERS) | TO(GATE_ASKING) | TO(GATE_SETTLING)},
	[GATE_ANSWERS] = {"answers", NEXT_UNIT | TO(GATE_SYNC)},
	[GATE_SYNC] = {"sync", NEXT_UNIT},
	[GATE_UNIT] = {"unit", NEXT_UNIT | TO(GATE_SETTLING)},
	[GATE_ASKING] = {"asking",
		NEXT_UNIT | TO(GATE_SYNC) | TO(GATE_ASIDE) | TO(GATE_INLINE) | TO(GATE_SETTLING)},
	[GATE_ASIDE] = {"aside", TO(GATE_KEEPING) | TO(GATE_FAILING)},
	[GATE_KEEPING] = {"keeping", NEXT_UNIT | TO(GATE_INLINE) | TO(GATE_SETTLING)},
	[GATE_FAILING] = {"failing", TO(GATE_OPEN) | TO(GATE_ASKING)},
	[GATE_INLINE] = {"inline", TO(GATE_OPEN)},
	[GATE_PREPARING] = {"preparing", TO(GATE_KEEPING)},
	[GATE_SETTLING] = {"settling", TO(GATE_KEEPING)},
};

/* Others may see what is owed; that changes only while the gate is closed. */
static void show_owed(struct session *s)
{
	if (!s->ledger.owed && !s->gate->owes)
		return;
	stats_owe(s->worker->shared->stats, s->id, false, &s->ledger);
	s->gate->owes = s->ledger.owed != NULL;
}

/* The unit has not come to an aside. */
static void put_ahead_back(struct gate *g)
{
	aside_put_back(g->ahead);
	g->ahead = NULL;
}

void gate_enter(struct session *s, enum gate_state state)
{
	struct gate *g = s->gate;

	if (state == g->state && state != GATE_OPEN)
		return;
	assert(states[g->state].next & TO(state));
	log_event(LOG_LEVEL_DEBUG, "gate_state", "session=%llu from=%s to=%s",
		(unsigned long long)s->id, states[g->state].name, states[state].name);
	g->state = state;
	if (state != GATE_ASKING && state != GATE_ASIDE)
		put_ahead_back(g);
	if (state != GATE_OPEN)
		return;
	show_owed(s);
	timer_stop(g->timer);
	gate_forget_local(g);
	bytes_release(&g->settings);
	locks_release(&g->locks);
	bytes_release(&g->failure);
	bytes_release(&g->head);
}

void gate_send_empty(struct session *s, char type)
{
	struct bytes message;

	bytes_init(&message, 16);
	message_put_empty(&message, type);
	relay_send_server(s, &message);
	bytes_release(&message);
}

static void on_timer(void *arg)
{
	struct session *s = arg;
	struct gate *g = s->gate;
	bool idle =
		g->state == GATE_ASIDE || g->state == GATE_PREPARING || g->state == GATE_SETTLING;

	if (idle && g->keep_alive_ms > 0) {
		/* A bare Sync is all that it takes to hold off the idle timeouts. */
		if (s->dialogue.count == 0)
			gate_send_empty(s, 'S');
		timer_start(g->timer, g->keep_alive_ms);
		return;
	}
	log_event(LOG_LEVEL_INFO, "gate_waits",
		"session=%llu state=%s waited_ms=%llu answers_outstanding=%u",
		(unsigned long long)s->id, states[g->state].name,
		(unsigned long long)(timer_now_ms() - g->closed_ms), s->dialogue.count);
	timer_start(g->timer, TELL_MS);
}

static void on_undo_timer(void *arg)
{
	gate_undo_behind(arg, "undo_timeout is over");
}

static void init_buffers(struct gate *g)
{
	bytes_init(&g->head, 64u * 1024);
	bytes_init(&g->portal, 64u * 1024);
	bytes_init(&g->prepared, 64u * 1024);
	bytes_init(&g->text, TEXT_LIMIT);
	bytes_init(&g->settings, 4u * 1024 * 1024);
	locks_init(&g->locks);
	bytes_init(&g->before, 4u * 1024 * 1024);
	bytes_init(&g->local, 4u * 1024 * 1024);
	bytes_init(&g->undeclared, 64u * 1024);
	bytes_init(&g->error, 4u * 1024 * 1024);
	bytes_init(&g->failure, 4u * 1024 * 1024);
	bytes_init(&g->columns, 64u * 1024);
	bytes_init(&g->schemas, 1024u * 1024);
	bytes_init(&g->complete, 1024);
	bytes_init(&g->target.password, 0);
}

static struct gate *gate_of(struct session *s)
{
	struct gate *g = s->gate;

	if (g)
		return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->timer = timer_new(s->worker->base, on_timer, s);
	g->undo_timer = timer_new(s->worker->base, on_undo_timer, s);
	if (!g->timer || !g->undo_timer) {
		timer_free(g->timer);
		timer_free(g->undo_timer);
		free(g);
		return NULL;
	}
	init_buffers(g);
	s->gate = g;
	return g;
}

bool gate_is_engaged(const struct session *s)
{
	return !ledger_is_empty(&s->ledger);
}

static void close_gate(struct session *s, bool extended)
{
	struct gate *g = s->gate;

	g->extended = extended;
	g->single_byte = s->dialect.encoding == SQL_ENCODING_SINGLE_BYTE;
	g->lone = true;
	g->own_block = g->block_open = g->commit_first = false;
	g->failed_before = g->failed = g->portal_lost = g->cut = g->flushed = false;
	g->asks_native = s->snapshot->config.native == NATIVE_GUARD ||
			 atomic_load(&s->worker->shared->clients) > 1;
	g->closed_ms = timer_now_ms();
	gate_enter(s, GATE_ANSWERS);
	timer_start(g->timer, TELL_MS);
}

static bool take_text(struct session *s, struct slice text)
{
	struct gate *g = gate_of(s);

	if (!g)
		return false;
	bytes_clear(&g->text);
	bytes_put_slice(&g->text, text);
	return !bytes_failed(&g->text);
}

static bool is_word(struct slice text, size_t at, const char *word)
{
	size_t len = strlen(word);

	return len <= text.len - at && strncasecmp((const char *)text.data + at, word, len) == 0;
}

/* The client answers COPY .. FROM STDIN with data, which we cannot hold back. */
static bool takes_copy_data(struct session *s, struct slice text)
{
	struct statement_iterator it;
	struct statement st;

	statement_iterator_init(&it, text, s->dialect);
	while (statement_next(&it, &st)) {
		if (st.kind != STATEMENT_OTHER || !is_word(st.text, 0, "copy"))
			continue;
		for (size_t i = 4; i + 5 <= st.text.len; i++)
			if (is_word(st.text, i, "stdin"))
				return true;
	}
	return false;
}

/* Transaction control, or a statement about an index that is only owed. */
static bool concerns_ledger(
	const struct session *s, struct slice text, const struct statement_summary *sum)
{
	struct statement_iterator it;
	struct statement st;

	if (!gate_is_engaged(s))
		return false;
	if (sum->n_controls > 0)
		return true;
	statement_iterator_init(&it, text, s->dialect);
	while (statement_next(&it, &st))
		if (gate_concerns_ledger(s, &st))
			return true;
	return false;
}

/* Statements of a Query that cannot go one by one: why; or NULL. */
static const char *inseparable(struct session *s, struct slice text)
{
	if (takes_copy_data(s, text))
		return "COPY FROM STDIN in the same Query";
	if (statement_rereads(text, s->dialect))
		return "the same Query sets how strings in it are read";
	return NULL;
}

bool gate_meets_query(struct session *s, struct slice text)
{
	const char *reason;
	struct statement_summary sum = statement_summarise(text, s->dialect);

	if (sum.unsure || (sum.n_asides == 0 && !concerns_ledger(s, text, &sum)))
		return false;
	reason = sum.n_pieces > 1 ? inseparable(s, text) : NULL;
	if (reason) {
		log_event(LOG_LEVEL_WARNING, "not_taken_aside", "session=%llu reason=\"%s\"",
			(unsigned long long)s->id, reason);
		return false;
	}
	if (!take_text(s, text))
		return false;
	close_gate(s, false);
	s->gate->lone = sum.n_pieces == 1;
	s->gate->own_block = !s->gate->lone && sum.n_controls == 0;
	if (s->gate->own_block)
		gate_read_undeclared(s, text);
	statement_iterator_init(&s->gate->pieces, bytes_view(&s->gate->text), s->dialect);
	return true;
}

static void set_name(struct bytes *to, struct slice name)
{
	bytes_clear(to);
	bytes_put_slice(to, name);
	bytes_put_u8(to, 0);
}

bool gate_meets_execute(struct session *s, struct slice message, struct slice portal,
	struct slice statement, struct slice text)
{
	struct gate *g;

	if (!take_text(s, text))
		return false;
	g = s->gate;
	if (!statement_first(bytes_view(&g->text), s->dialect, &g->unit) ||
		!(statement_is_aside(&g->unit) || gate_is_engaged(s)))
		return false;
	set_name(&g->portal, portal);
	set_name(&g->prepared, statement);
	bytes_clear(&g->head);
	bytes_put_slice(&g->head, message);
	if (bytes_failed(&g->portal) || bytes_failed(&g->prepared) || bytes_failed(&g->head))
		return false;
	g->unnamed = portal.len == 0;
	close_gate(s, true);
	return true;
}

bool gate_is_busy(const struct session *s)
{
	return s->gate && s->gate->state != GATE_OPEN;
}

bool gate_asks(const struct session *s)
{
	return s->gate && s->gate->state == GATE_ASKING;
}

void gate_ask_server(struct session *s, inquiry_row_fn on_row, bool close_portal,
	const struct question *questions, unsigned n, gate_fn then)
{
	struct gate *g = s->gate;
	struct bytes messages;

	g->then = then;
	g->in_pipeline = false;
	inquiry_init(&g->inquiry, on_row, g);
	g->inquiry.questions = n;
	bytes_init(&messages, TEXT_LIMIT);
	inquiry_write(&messages, close_portal, questions, n);
	gate_enter(s, GATE_ASKING);
	relay_send_server(s, &messages);
	bytes_release(&messages);
}

void gate_ask_in_pipeline(struct session *s, inquiry_row_fn on_row,
	const struct question *questions, unsigned n, gate_fn then)
{
	struct gate *g = s->gate;
	struct bytes messages;

	g->then = then;
	g->in_pipeline = true;
	inquiry_init(&g->inquiry, on_row, g);
	bytes_init(&messages, TEXT_LIMIT);
	inquiry_write_in_pipeline(&messages, questions, n);
	gate_enter(s, GATE_ASKING);
	relay_send_server(s, &messages);
	bytes_release(&messages);
}

/* Behind an error in a pipeline there is no other answer before its Sync. */
static bool is_answered(const struct session *s)
{
	const struct gate *g = s->gate;

	return g->inquiry.done ||
	       (g->in_pipeline && (g->inquiry.failed || s->dialogue.unanswered == 0));
}

void gate_command(struct session *s, const char *sql, gate_fn then)
{
	struct question command = {.sql = sql};

	gate_ask_server(s, NULL, false, &command, 1, then);
}

/* A client that does not read gets what fits; the rest of the notices is no reason to grow. */
void gate_on_notice(void *owner, struct slice body)
{
	struct session *s = owner;
	struct bytes message;
	size_t place;

	if (conn_unsent(s->client) > CONN_HIGH_WATER)
		return;
	bytes_init(&message, body.len + 64);
	place = message_begin(&message, 'N');
	bytes_put_slice(&message, body);
	message_end(&message, place);
	session_tell(s, &message);
	bytes_release(&message);
}

void gate_when_quiet(struct session *s, gate_fn then)
{
	s->gate->then = then;
	gate_enter(s, GATE_KEEPING);
	if (s->dialogue.count == 0)
		then(s);
}

/* Nothing is asked in an open pipeline. Outside of a transaction one that has not executed anything
 * may stay open, if nothing is asked. */
static bool needs_sync(const struct session *s)
{
	const struct dialogue *d = &s->dialogue;

	if (!d->pipeline_open)
		return false;
	return d->status != 'I' || d->executed || !s->gate->extended || s->gate->asks_native;
}

/* What the server would not answer, or answer otherwise, is not ours: the whole message goes as it
 * came. */
static void let_go(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes message;

	if (g->extended) {
		relay_send_server(s, &g->head);
	} else {
		bytes_init(&message, bytes_length(&g->text) + 16);
		message_put_query_slice(&message, bytes_view(&g->text));
		relay_send_server(s, &message);
		bytes_release(&message);
	}
	gate_enter(s, GATE_OPEN);
	relay_resume(s);
}

void gate_end_pipeline(struct session *s)
{
	/* The error of this pipeline may have come before the gate closed, to a Flush. */
	s->gate->failed_before = s->dialogue.failed;
	s->gate->cut = s->dialogue.executed;
	gate_enter(s, GATE_SYNC);
	gate_send_empty(s, 'S');
}

static void step_answers(struct session *s)
{
	if (s->dialogue.uncertain || s->dialogue.copy_in) {
		let_go(s);
		return;
	}
	if (s->dialogue.count > 0)
		return;
	/* Until now a cancel was for what came before. */
	s->gate->cancel_wanted = false;
	if (!needs_sync(s))
		gate_begin(s);
	else if (!gate_looks_before_sync(s))
		gate_end_pipeline(s);
}

static void step_sync(struct session *s)
{
	if (s->dialogue.count > 0)
		return;
	if (s->gate->failed_before) {
		/* The server would have skipped everything up to the client's Sync, this message
		 * too. */
		s->discarding = true;
		gate_enter(s, GATE_OPEN);
		relay_resume(s);
		return;
	}
	s->gate->portal_lost = s->dialogue.status == 'I';
	gate_begin(s);
}

static void step_unit(struct session *s)
{
	struct gate *g = s->gate;

	if (g->extended ? g->completed || g->failed : s->dialogue.count == 0)
		gate_control_done(s);
}

static void step_failing(struct session *s)
{
	struct gate *g = s->gate;

	if (!g->failed || (!g->extended && s->dialogue.count > 0))
		return;
	if (!g->extended) {
		gate_unit_done(s);
		return;
	}
	gate_enter(s, GATE_OPEN);
	relay_resume(s);
}

/* What comes next would be taken for the answer to something else. */
static void end_for_broken_inquiry(struct session *s)
{
	struct err e;

	err_set(&e, "08P01", "the server has left a question of pgaside's unanswered");
	session_fail(s, &e);
}

void gate_step(struct session *s)
{
	struct gate *g = s->gate;

	if (!g || s->state != SESSION_RELAY)
		return;
	switch (g->state) {
	case GATE_ANSWERS:
		step_answers(s);
		break;
	case GATE_SYNC:
		step_sync(s);
		break;
	case GATE_UNIT:
		step_unit(s);
		break;
	case GATE_ASKING:
		if (g->inquiry.broken)
			end_for_broken_inquiry(s);
		else if (is_answered(s))
			g->then(s);
		break;
	case GATE_KEEPING:
		if (s->dialogue.count == 0)
			g->then(s);
		break;
	case GATE_FAILING:
		step_failing(s);
		break;
	case GATE_OPEN:
	case GATE_ASIDE:
	case GATE_INLINE:
	case GATE_PREPARING:
	case GATE_SETTLING:
		break;
	}
}

static void portal_released(struct session *s)
{
	s->gate->released = s->dialogue.ready_got;
	gate_enter(s, GATE_OPEN);
	relay_resume(s);
}

void gate_release_portal(struct session *s)
{
	const struct dialogue *d = &s->dialogue;

	if (s->state != SESSION_RELAY || !s->aside || s->discarding || gate_is_busy(s))
		return;
	if (d->status != 'T' || d->uncertain || d->suspended || d->bound || !dialogue_is_idle(d))
		return;
	if (!gate_of(s) || s->gate->released == d->ready_got)
		return;
	log_event(LOG_LEVEL_DEBUG, "portal_released", "session=%llu", (unsigned long long)s->id);
	gate_ask_server(s, NULL, true, NULL, 0, portal_released);
}

void gate_cancel(struct session *s)
{
	if (s->gate)
		s->gate->cancel_wanted = true;
	if (s->gate && s->gate->aside)
		aside_cancel(s->gate->aside);
	if (s->gate && s->gate->settlement && settle_cancel(s->gate->settlement))
		gate_undo_behind(s, "cancelled by the client");
}

void gate_abandon(struct session *s)
{
	struct gate *g = s->gate;

	if (!g)
		return;
	timer_stop(g->timer);
	timer_stop(g->undo_timer);
	upstream_cancel(g->finding);
	g->finding = NULL;
	put_ahead_back(g);
	if (g->aside)
		aside_abandon(g->aside);
	if (g->settlement)
		settle_abandon(g->settlement, g->commit_sent);
	g->aside = NULL;
	g->settlement = NULL;
	/* The server rolls back what the session leaves open; what was made meanwhile goes, too. */
	gate_settle_behind(s, false);
	aside_forget(s->worker, s->id);
}

void gate_free(struct session *s)
{
	struct gate *g = s->gate;

	if (!g)
		return;
	timer_free(g->timer);
	timer_free(g->undo_timer);
	bytes_release(&g->head);
	bytes_release(&g->portal);
	bytes_release(&g->prepared);
	bytes_release(&g->text);
	bytes_release(&g->settings);
	locks_release(&g->locks);
	bytes_release(&g->error);
	bytes_release(&g->failure);
	bytes_release(&g->columns);
	bytes_release(&g->schemas);
	bytes_release(&g->complete);
	gate_forget_local(g);
	inquiry_release(&g->inquiry);
	target_release(&g->target);
	free(g);
	s->gate = NULL;
}
