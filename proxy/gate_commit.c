/*
 * gate_commit.c - transaction control while the transaction owes something.
 *
 * COMMIT goes to the server only when both connections for what is owed stand; its answer goes to
 * the client only when all of that has run. After ROLLBACK, what was made meanwhile is dropped
 * again. Savepoints are followed by what the server says of them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "settle.h"
#include "timer.h"

void gate_tell_error(struct session *s, struct slice body)
{
	struct bytes message;
	size_t place;

	bytes_init(&message, body.len + 64);
	place = message_begin(&message, 'E');
	bytes_put_slice(&message, body);
	message_end(&message, place);
	session_tell(s, &message);
	bytes_release(&message);
}

/* The CommandComplete that was held back. Our own block's is nobody's, but it lets that of the last
 * statement go. */
static void tell_complete(struct session *s)
{
	struct gate *g = s->gate;

	if (g->hold_complete && g->completed)
		session_tell(s, &g->complete);
	g->hold_complete = false;
}

/* Our block has ended: for a statement that runs alone behind it, or with the Query. */
static void block_over(struct session *s)
{
	struct gate *g = s->gate;
	bool more = g->commit_first && !g->failed;

	g->commit_first = false;
	if (more)
		gate_run_unit(s);
	else
		gate_finish(s);
}

void gate_commit_block_first(struct session *s)
{
	s->gate->commit_first = true;
	gate_keep_local(s);
	gate_end_block(s, true);
}

/* What is owed has failed after COMMIT: the error stands in COMMIT's place, and the status is the
 * server's. */
static void settled(struct session *s)
{
	struct gate *g = s->gate;
	bool block = g->block_open;

	timer_stop(g->timer);
	g->block_open = false;
	if (bytes_length(&g->error) == 0) {
		tell_complete(s);
	} else if (g->extended) {
		gate_refuse_with(s, bytes_view(&g->error));
		return;
	} else {
		gate_tell_error(s, bytes_view(&g->error));
		g->failed = true;
	}
	if (block)
		block_over(s);
	else
		gate_unit_done(s);
}

static void on_settled(void *owner, struct slice error)
{
	struct session *s = owner;
	struct gate *g = s->gate;

	timer_stop(g->undo_timer);
	g->settlement = NULL;
	if (error.len > 0) {
		bytes_clear(&g->error);
		bytes_put_slice(&g->error, error);
	}
	gate_when_quiet(s, settled);
}

/* The answer to COMMIT or ROLLBACK does not wait for ever; what is to be undone goes on behind it.
 */
static void limit_undo(struct session *s)
{
	unsigned ms = s->snapshot->config.undo_timeout_ms;

	if (ms > 0)
		timer_start(s->gate->undo_timer, ms);
}

static void on_undoing(void *owner, struct slice error)
{
	struct session *s = owner;

	bytes_put_slice(&s->gate->error, error);
	limit_undo(s);
}

static void prepared(struct session *s);

static void on_ready(void *owner, struct slice error)
{
	struct session *s = owner;
	struct gate *g = s->gate;

	bytes_clear(&g->error);
	bytes_put_slice(&g->error, error);
	gate_when_quiet(s, prepared);
}

static const struct settlement_events settlement_events = {
	.ready = on_ready, .notice = gate_on_notice, .undoing = on_undoing, .done = on_settled};

static bool start_settlement(struct session *s)
{
	struct gate *g = s->gate;

	g->settlement = settle_start(s->worker, &g->target, g->server_pid, s->id, s->dialect,
		&s->ledger, &settlement_events, s);
	return g->settlement != NULL;
}

static void wait_in(struct session *s, enum gate_state state)
{
	struct gate *g = s->gate;

	gate_enter(s, state);
	if (g->keep_alive_ms > 0)
		timer_start(g->timer, g->keep_alive_ms);
	else
		timer_stop(g->timer);
}

static void undo(struct session *s)
{
	struct gate *g = s->gate;

	bytes_clear(&g->error);
	wait_in(s, GATE_SETTLING);
	limit_undo(s);
	settle_rolled_back(g->settlement);
}

void gate_undo_behind(struct session *s, const char *reason)
{
	struct gate *g = s->gate;

	timer_stop(g->undo_timer);
	if (g->state != GATE_SETTLING || !g->settlement)
		return;
	log_event(LOG_LEVEL_WARNING, "undo_unfinished",
		"session=%llu reason=\"%s; it goes on in the background\"",
		(unsigned long long)s->id, reason);
	settle_abandon(g->settlement, false);
	g->settlement = NULL;
	gate_when_quiet(s, settled);
}

/* The transaction is over, and it did not commit. */
static void rolled_back(struct session *s)
{
	struct gate *g = s->gate;

	if (!g->settlement) {
		ledger_rolled_back(&s->ledger);
		if (gate_is_engaged(s))
			start_settlement(s);
	}
	if (g->settlement) {
		undo(s);
	} else {
		bytes_clear(&g->error);
		settled(s);
	}
}

static void committed(struct session *s)
{
	struct gate *g = s->gate;

	bytes_clear(&g->error);
	wait_in(s, GATE_SETTLING);
	settle_committed(g->settlement);
}

/* COMMIT's answer: that of the client's own, which has passed or is held, or that of our block's.
 */
static void commit_answered(struct session *s, bool ok)
{
	s->gate->commit_sent = false;
	if (ok)
		committed(s);
	else
		rolled_back(s);
}

static void block_committed(struct session *s)
{
	struct gate *g = s->gate;

	if (g->inquiry.failed) {
		gate_tell_error(s, bytes_view(&g->inquiry.error));
		g->failed = true;
		g->hold_complete = false;
	}
	commit_answered(s, !g->inquiry.failed);
}

static void send_commit(struct session *s)
{
	struct gate *g = s->gate;

	g->commit_sent = true;
	if (g->block_open) {
		gate_command(s, "COMMIT", block_committed);
		return;
	}
	g->hold_complete = true;
	gate_send_unit(s);
}

/* The answer to the ROLLBACK that went in COMMIT's place has come: the client gets the reason. */
static void given_up(struct session *s)
{
	struct gate *g = s->gate;

	g->hold_complete = false;
	if (g->extended) {
		settle_abandon(g->settlement, false);
		g->settlement = NULL;
		gate_refuse_with(s, bytes_view(&g->error));
		return;
	}
	gate_tell_error(s, bytes_view(&g->error));
	g->failed = true;
	undo(s); /* forgets the error: it was told */
}

/* The transaction is rolled back, and the client gets the error that is kept in COMMIT's place. */
static void give_up(struct session *s)
{
	gate_command(s, "ROLLBACK", given_up);
}

static void on_xid(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	(void)question;
	if (n == 3)
		settle_set_xid(g->settlement, values[0], values[1], values[2]);
}

/* A question that has failed, cancelled by the client as its COMMIT, has ended the transaction, and
 * COMMIT would be answered as if nothing were wrong. Between two questions the server hears no
 * cancel. */
static void xid_known(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes cancelled;

	if (!g->inquiry.failed && !g->cancel_wanted) {
		send_commit(s);
		return;
	}
	bytes_init(&cancelled, 4096);
	report_put_error(&cancelled, "57014", ASIDE_CANCELLED, NULL, NULL);
	bytes_clear(&g->error);
	error_put_explained(&g->error,
		bytes_view(g->inquiry.failed ? &g->inquiry.error : &cancelled),
		"The transaction is rolled back.", slice_of(NULL, 0));
	bytes_release(&cancelled);
	give_up(s);
}

static void ask_xid(struct session *s)
{
	static const struct question xid = {
		.sql = "SELECT pg_catalog.pg_current_xact_id_if_assigned(), "
		       "pg_catalog.pg_current_wal_insert_lsn(), c.checkpoint_lsn "
		       "FROM pg_catalog.pg_control_checkpoint() c"};

	gate_ask_server(s, on_xid, false, &xid, 1, xid_known);
}

/* The connections stand, or do not. */
static void prepared(struct session *s)
{
	if (bytes_length(&s->gate->error) == 0)
		ask_xid(s);
	else
		give_up(s);
}

static void looked_at(struct session *s)
{
	bool refused = bytes_length(&s->gate->error) > 0;
	bool owes;

	if (refused)
		ledger_rolled_back(&s->ledger);
	else
		ledger_forget_cancelled(&s->ledger);
	owes = s->ledger.owed != NULL;
	if (!start_settlement(s))
		gate_refuse(s, "53200", "out of memory");
	else if (refused)
		give_up(s);
	else if (owes)
		wait_in(s, GATE_PREPARING);
	else
		ask_xid(s);
}

/* A part of the transaction may be gone, and with it what it owed or made. */
static void refuse_untracked(struct session *s)
{
	struct gate *g = s->gate;

	bytes_clear(&g->error);
	report_put_error(&g->error, "0A000",
		"pgaside does not know what this transaction still wants of its statements with "
		"CONCURRENTLY",
		"The transaction is rolled back. A savepoint was set, released or rolled back to "
		"by "
		"a text that could not be read.",
		"Texts that are too long, or that have other than ASCII characters in a "
		"client_encoding such as SJIS or GBK, are not read.");
	looked_at(s);
}

static void begin_commit(struct session *s)
{
	ledger_forget_cancelled(&s->ledger);
	if (s->ledger.untracked || s->gate->rollback_seen)
		refuse_untracked(s);
	else
		gate_preflight(s, looked_at);
	s->gate->rollback_seen = false;
}

void gate_end_block(struct session *s, bool commit)
{
	if (commit && gate_is_engaged(s))
		begin_commit(s);
	else
		gate_command(s, commit ? "COMMIT" : "ROLLBACK", gate_block_ended);
}

/* Our block has ended by a statement that we did not have to prepare. */
void gate_block_ended(struct session *s)
{
	struct gate *g = s->gate;
	bool was_failed = g->failed;

	if (g->inquiry.failed) {
		gate_tell_error(s, bytes_view(&g->inquiry.error));
		g->failed = true;
	}
	if (g->failed)
		g->hold_complete = false;
	if (gate_is_engaged(s) && (was_failed || g->inquiry.failed)) {
		rolled_back(s);
		return;
	}
	tell_complete(s);
	g->block_open = false;
	block_over(s);
}

void gate_control(struct session *s)
{
	struct gate *g = s->gate;

	switch (g->unit.kind) {
	case STATEMENT_COMMIT:
		if (s->dialogue.status == 'T') {
			begin_commit(s);
			return;
		}
		g->hold_complete = true;
		break;
	case STATEMENT_ROLLBACK:
		g->hold_complete = true;
		break;
	case STATEMENT_SAVEPOINT:
		if (!ledger_has_room(&s->ledger)) {
			gate_refuse(s, "54000",
				"too many savepoints in a transaction that has an aside");
			return;
		}
		break;
	case STATEMENT_PREPARE_TRANSACTION:
		if (s->ledger.owed) {
			gate_refuse(s, "0A000",
				"cannot PREPARE a transaction that owes a statement which is to "
				"run "
				"after its COMMIT");
			return;
		}
		break;
	default:
		break;
	}
	gate_send_unit(s);
}

static void follow_savepoint(struct session *s)
{
	struct sql_name name;

	if (!sql_name_decode(s->gate->unit.control.savepoint, s->dialect, &name))
		memset(&name, 0, sizeof(name));
	switch (s->gate->unit.kind) {
	case STATEMENT_SAVEPOINT:
		ledger_savepoint(&s->ledger, &name);
		break;
	case STATEMENT_RELEASE:
		ledger_release_savepoint(&s->ledger, &name);
		break;
	case STATEMENT_ROLLBACK_TO:
		ledger_rollback_to(&s->ledger, &name);
		break;
	default:
		break;
	}
}

static void commit_done(struct session *s)
{
	struct gate *g = s->gate;
	bool ok = g->completed && strcmp(g->tag, "COMMIT") == 0;

	if (g->settlement)
		commit_answered(s, ok);
	else
		rolled_back(s);
}

void gate_settle_behind(struct session *s, bool committed)
{
	static const struct settlement_events none = {0};
	struct settlement *st = NULL;

	if (committed)
		ledger_committed(&s->ledger);
	else
		ledger_rolled_back(&s->ledger);
	if (gate_is_engaged(s) && s->gate->target.user)
		st = settle_start(s->worker, &s->gate->target, s->gate->server_pid, s->id,
			s->dialect, &s->ledger, &none, NULL);
	if (st && committed)
		settle_committed(st);
	else if (st)
		settle_rolled_back(st);
}

/*
 * COMMIT's tag is with the client, but its ReadyForQuery can wait for what is owed, unless more
 * answers follow. False: it cannot.
 */
static bool settle_in_place(struct session *s)
{
	struct gate *g = s->gate;

	ledger_forget_cancelled(&s->ledger);
	if (!s->ledger.owed || !g->target.user || s->dialogue.status != 'I' ||
		!dialogue_is_idle(&s->dialogue))
		return false;
	/* Like a Query of which nothing is left but its end. */
	g->extended = g->own_block = g->block_open = g->hold_complete = false;
	g->failed = true;
	if (!start_settlement(s))
		return false;
	committed(s);
	return true;
}

/*
 * The transaction has ended in a way that was not seen coming: by a text that could not be read.
 * If its answer is on its way already, what is owed runs behind it. A ROLLBACK may be one to a
 * savepoint: beside a COMMIT it is not known what became of the transaction.
 */
static void transaction_ended(struct session *s)
{
	struct gate *g = s->gate;

	log_event(LOG_LEVEL_WARNING, "transaction_ended_unseen",
		"session=%llu commit=%s rollback=%s", (unsigned long long)s->id,
		g->commit_seen ? "yes" : "no", g->rollback_seen ? "yes" : "no");
	if (g->commit_seen && (g->rollback_seen || s->ledger.untracked)) {
		log_event(LOG_LEVEL_ERROR, "outcome_unknown",
			"session=%llu reason=\"COMMIT, and ROLLBACK or savepoints, in texts that "
			"could not be read: nothing is run, undone or dropped\"",
			(unsigned long long)s->id);
		ledger_release(&s->ledger);
		return;
	}
	if (!g->commit_seen || !settle_in_place(s))
		gate_settle_behind(s, g->commit_seen);
}

void gate_ready(struct session *s, char status)
{
	struct gate *g = s->gate;

	if (status == 'I' || g->commit_seen)
		transaction_ended(s);
	else if (g->rollback_seen)
		s->ledger.untracked = true;
	g->commit_seen = g->rollback_seen = false;
}

void gate_control_done(struct session *s)
{
	struct gate *g = s->gate;

	if (!statement_is_control(&g->unit) || !(gate_is_engaged(s) || g->settlement)) {
		if (!g->block_open)
			tell_complete(s);
		gate_unit_done(s);
		return;
	}
	switch (g->unit.kind) {
	case STATEMENT_COMMIT:
		commit_done(s);
		return;
	case STATEMENT_ROLLBACK:
		if (g->completed) {
			rolled_back(s);
			return;
		}
		break;
	case STATEMENT_PREPARE_TRANSACTION:
		/* Nobody follows it from here on: what it made stays. */
		if (g->completed)
			gate_settle_behind(s, true);
		break;
	default:
		if (g->completed)
			follow_savepoint(s);
		break;
	}
	tell_complete(s);
	gate_unit_done(s);
}
