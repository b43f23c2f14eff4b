#include "settle.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "aside.h"
#include "catalog.h"
#include "config.h"
#include "log.h"
#include "message.h"
#include "pq.h"
#include "stats.h"
#include "target.h"
#include "timer.h"
#include "worker.h"

#define ERROR_MAX (4u * 1024u * 1024u)
#define STATEMENT_MAX 4096u /* bytes of each in the hint */
#define ASK_MS 250u
#define RECONNECT_MS 1000u
#define ANSWER_MS 35000u /* to one question */

#define TO(state) (1u << (state))

enum settle_state {
	SETTLE_PREPARING,
	SETTLE_READY,
	SETTLE_UNKNOWN,
	SETTLE_OWED,
	SETTLE_UNDOING,
	SETTLE_ENDED,
};

static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[SETTLE_PREPARING] = {"preparing",
		TO(SETTLE_READY) | TO(SETTLE_UNKNOWN) | TO(SETTLE_OWED) | TO(SETTLE_UNDOING)},
	[SETTLE_READY] = {"ready", TO(SETTLE_UNKNOWN) | TO(SETTLE_OWED) | TO(SETTLE_UNDOING)},
	[SETTLE_UNKNOWN] = {"unknown", TO(SETTLE_OWED) | TO(SETTLE_UNDOING) | TO(SETTLE_ENDED)},
	[SETTLE_OWED] = {"owed", TO(SETTLE_UNDOING)},
	[SETTLE_UNDOING] = {"undoing", TO(SETTLE_ENDED)},
	[SETTLE_ENDED] = {"ended", 0},
};

struct settlement {
	struct worker *worker; /* borrowed */
	enum settle_state state;
	struct settlement_events events;
	void *owner; /* borrowed; NULL when abandoned */
	uint64_t session;
	struct target target; /* owned */
	int server_pid;
	struct sql_dialect dialect;
	struct ledger ledger; /* owned */
	struct aside *aside;  /* owned until it has told its outcome */
	struct pq *asking;    /* owned: asks for the transaction's outcome */
	struct timer *timer;  /* owned */
	bool committed_early; /* before the connections stood */
	uint64_t in_doubt_since_ms;
	char xid[24], insert_lsn[24], checkpoint[24];
	struct bytes error; /* owned: the body of the ErrorResponse to report; empty = success */
};

static void run_next(struct settlement *st);
static void ask(struct settlement *st);

static void enter(struct settlement *st, enum settle_state state)
{
	assert(states[st->state].next & TO(state));
	log_event(LOG_LEVEL_DEBUG, "settle_state", "session=%llu from=%s to=%s",
		(unsigned long long)st->session, states[st->state].name, states[state].name);
	st->state = state;
}

/* Others may see what is owed. */
static void show_owed(const struct settlement *st)
{
	stats_owe(st->worker->shared->stats, st->session, st->state == SETTLE_OWED, &st->ledger);
}

static void free_settlement(void *arg)
{
	static const struct ledger nothing = {0};
	struct settlement *st = arg;
	struct worker *w = st->worker;

	pq_close(st->asking);
	timer_free(st->timer);
	if (st->ledger.owed)
		stats_owe(w->shared->stats, st->session, false, &nothing);
	ledger_release(&st->ledger);
	target_release(&st->target);
	bytes_release(&st->error);
	free(st);
	w->settlements--;
	worker_check_end(w);
}

static void end(struct settlement *st)
{
	void *owner = st->owner;

	enter(st, SETTLE_ENDED);
	timer_stop(st->timer);
	if (bytes_length(&st->error) > 0)
		atomic_fetch_add(&st->worker->shared->owed_failures, 1);
	st->owner = NULL;
	if (owner)
		st->events.done(owner, bytes_view(&st->error));
	worker_defer(st->worker, free_settlement, st);
}

static void out_of_memory(struct settlement *st)
{
	report_put_error(&st->error, "53200", "out of memory", NULL, NULL);
}

static void on_notice(void *owner, struct slice body)
{
	struct settlement *st = owner;

	if (st->owner)
		st->events.notice(st->owner, body);
}

/*
 * The transaction is committed, and the client will be told of an error: what happened, and what is
 * left to be done by hand.
 */
static void set_error(struct settlement *st, struct slice error)
{
	struct bytes hint;

	bytes_init(&hint, ERROR_MAX);
	bytes_printf(&hint, "When the reason is gone, run by hand:");
	for (const struct ledger_entry *e = st->ledger.owed; e; e = e->next) {
		bytes_put_u8(&hint, '\n');
		bytes_put_slice(&hint, slice_cut(e->statement.text, STATEMENT_MAX));
		bytes_put_u8(&hint, ';');
		if (e->statement.kind == STATEMENT_DETACH_PARTITION)
			bytes_printf(&hint,
				" -- or, if it is pending, with FINALIZE instead of CONCURRENTLY");
	}
	bytes_clear(&st->error);
	error_put_explained(&st->error, error,
		"The transaction IS COMMITTED. This statement of it was to run right after COMMIT, "
		"and failed.",
		bytes_view(&hint));
	if (bytes_failed(&st->error) || bytes_failed(&hint) || error.len == 0) {
		bytes_clear(&st->error);
		out_of_memory(st);
	}
	bytes_release(&hint);
}

static void log_lists(const struct settlement *st, enum log_level level, const char *event)
{
	char quoted[600];

	for (const struct ledger_entry *e = st->ledger.owed; e; e = e->next)
		log_event(level, event, "session=%llu owed=%s", (unsigned long long)st->session,
			log_quote(quoted, sizeof(quoted), (const char *)e->statement.text.data,
				(unsigned)e->statement.text.len));
	for (const struct ledger_made *m = st->ledger.made; m; m = m->next)
		log_event(level, event, "session=%llu made=%u", (unsigned long long)st->session,
			m->index);
}

static struct aside_request request_for_owed(const struct settlement *st, bool hold)
{
	const struct ledger_entry *e = st->ledger.owed;

	return (struct aside_request){.mode = ASIDE_OWED,
		.hold = hold,
		.settings = bytes_view(&e->settings),
		.text = slice_of(bytes_view(&e->text).data, bytes_length(&e->text) - 1),
		.statement = &e->statement,
		.dialect = st->dialect,
		.relation = e->relation,
		.index = e->index,
		.condemned = e->condemned,
		.partition = e->partition,
		.likeness = e->likeness};
}

static struct aside_request request_for_undo(const struct settlement *st)
{
	return (struct aside_request){.mode = ASIDE_UNDO,
		.settings = bytes_view(&st->ledger.made->role),
		.relation = st->ledger.made->relation,
		.index = st->ledger.made->index,
		.likeness = st->ledger.made->likeness,
		.dialect = st->dialect};
}

/* What comes next, if anything does. Enters the state that it belongs to. */
static bool next_request(struct settlement *st, struct aside_request *request)
{
	bool keep = st->target.snapshot->config.on_rollback == ROLLBACK_KEEP;
	bool begins = st->state != SETTLE_UNDOING;

	if (st->state == SETTLE_OWED && st->ledger.owed) {
		*request = request_for_owed(st, false);
		return true;
	}
	if (begins)
		enter(st, SETTLE_UNDOING);
	while (st->ledger.made && keep && !st->ledger.made->leftover)
		ledger_drop_made(&st->ledger);
	if (!st->ledger.made)
		return false;
	if (begins && st->owner)
		st->events.undoing(st->owner, bytes_view(&st->error));
	*request = request_for_undo(st);
	return true;
}

static void failed_to_prepare(struct settlement *st, struct slice error)
{
	if (st->committed_early) {
		set_error(st, error);
		log_lists(st, LOG_LEVEL_ERROR, "owed_and_failed");
		enter(st, SETTLE_UNDOING);
		end(st);
	} else if (st->owner) {
		st->events.ready(st->owner, error);
	}
}

/* Leftovers that could not be dropped in front of an owed statement go behind it. */
static void note_condemned(struct settlement *st, const struct aside_outcome *outcome)
{
	const struct ledger_entry *e = st->ledger.owed;
	struct bytes role;

	bytes_init(&role, 4096);
	aside_settings_of_role(bytes_view(&e->settings), &role);
	for (unsigned i = 0; i < outcome->n_condemned; i++)
		if (bytes_failed(&role) || !ledger_condemn(&st->ledger, e->relation,
						   outcome->condemned[i], bytes_view(&role)))
			log_event(LOG_LEVEL_ERROR, "leftover_forgotten", "session=%llu index=%u",
				(unsigned long long)st->session, outcome->condemned[i]);
	bytes_release(&role);
}

/* Takes the statement that has ended out of the ledger. */
static void account(struct settlement *st, const struct aside_outcome *outcome)
{
	if (st->state == SETTLE_UNDOING) {
		ledger_drop_made(&st->ledger);
		return;
	}
	if (outcome->result == ASIDE_DONE) {
		note_condemned(st, outcome);
		ledger_replaced(&st->ledger, st->ledger.owed->condemned);
		ledger_drop_first(&st->ledger);
		show_owed(st);
		return;
	}
	set_error(st, outcome->error);
	log_lists(st, LOG_LEVEL_ERROR, "owed_and_failed");
	while (st->ledger.owed)
		ledger_drop_first(&st->ledger);
	show_owed(st);
}

static void on_done(void *owner, const struct aside_outcome *outcome)
{
	struct settlement *st = owner;
	struct aside *finished = st->aside;
	struct aside_request request;

	st->aside = NULL;
	if (st->state == SETTLE_PREPARING) {
		failed_to_prepare(st, outcome->error);
		return;
	}
	/* Lost while it was held: the next attempt opens another. */
	if (st->state == SETTLE_READY || st->state == SETTLE_UNKNOWN)
		return;
	account(st, outcome);
	if (next_request(st, &request)) {
		if (aside_next(finished, &request))
			st->aside = finished;
		else
			run_next(st);
		return;
	}
	if (st->owner)
		aside_keep(finished);
	end(st);
}

static void on_ready(void *owner)
{
	struct settlement *st = owner;

	enter(st, SETTLE_READY);
	if (st->committed_early)
		settle_committed(st);
	else if (st->owner)
		st->events.ready(st->owner, slice_of(NULL, 0));
}

static bool start_aside(struct settlement *st, const struct aside_request *request)
{
	static const struct aside_events events = {
		.ready = on_ready, .notice = on_notice, .done = on_done};

	st->aside = aside_open(st->worker, &st->target, st->session);
	if (st->aside && !aside_start(st->aside, st->server_pid, request, &events, st))
		st->aside = NULL;
	return st->aside != NULL;
}

static void run_next(struct settlement *st)
{
	struct aside_request request;

	if (!next_request(st, &request)) {
		end(st);
	} else if (!start_aside(st, &request)) {
		out_of_memory(st);
		log_lists(st, LOG_LEVEL_ERROR, "owed_and_failed");
		if (st->state == SETTLE_OWED)
			enter(st, SETTLE_UNDOING);
		end(st);
	}
}

void settle_committed(struct settlement *st)
{
	if (st->state == SETTLE_PREPARING && st->aside) {
		st->committed_early = true;
		return;
	}
	enter(st, SETTLE_OWED);
	ledger_committed(&st->ledger);
	show_owed(st);
	if (st->aside)
		aside_go(st->aside);
	else
		run_next(st);
}

static void drop_held_aside(struct settlement *st)
{
	if (st->aside)
		aside_abandon(st->aside);
	st->aside = NULL;
}

void settle_rolled_back(struct settlement *st)
{
	drop_held_aside(st);
	enter(st, SETTLE_UNDOING);
	ledger_rolled_back(&st->ledger);
	show_owed(st);
	run_next(st);
}

static void copy_value(char *to, size_t size, struct slice value)
{
	snprintf(to, size, "%.*s", (int)value.len, value.data ? (const char *)value.data : "");
}

void settle_set_xid(
	struct settlement *st, struct slice xid, struct slice insert_lsn, struct slice checkpoint)
{
	copy_value(st->xid, sizeof(st->xid), xid);
	copy_value(st->insert_lsn, sizeof(st->insert_lsn), insert_lsn);
	copy_value(st->checkpoint, sizeof(st->checkpoint), checkpoint);
}

static void ask_later(struct settlement *st, unsigned ms)
{
	uint64_t waited = timer_now_ms() - st->in_doubt_since_ms;

	if (waited < st->target.snapshot->config.shutdown_timeout_ms) {
		timer_start(st->timer, ms);
		return;
	}
	log_event(LOG_LEVEL_ERROR, "outcome_unknown",
		"session=%llu xid=%s reason=\"the server has not said whether the transaction "
		"committed: nothing is run, undone or dropped\"",
		(unsigned long long)st->session, st->xid);
	log_lists(st, LOG_LEVEL_ERROR, "outcome_unknown");
	drop_held_aside(st);
	end(st);
}

/*
 * A server that has crashed may have lost what it had not written yet, this transaction with it,
 * and gives the same id to another. Then its last checkpoint, which ended the recovery, is another
 * than before and lies before the place where the transaction stood.
 */
static const char status_sql[] = "SELECT CASE WHEN c.checkpoint_lsn" NE "$3::pg_catalog.pg_lsn "
				 "AND c.checkpoint_lsn" LT "$2::pg_catalog.pg_lsn THEN 'aborted' "
				 "ELSE pg_catalog.pg_xact_status($1::pg_catalog.xid8) END "
				 "FROM pg_catalog.pg_control_checkpoint() c";

static bool is_aborted(const struct pq_result *r, const char *status)
{
	/* An id that the server does not know any more, or not yet again: "is in the future". */
	return strcmp(status, "aborted") == 0 || strcmp(r->sqlstate, "22023") == 0;
}

static void on_status(void *owner, const struct pq_result *r)
{
	struct settlement *st = owner;
	const char *status = r->ok && r->n_rows == 1 ? pq_value(r, 0, 0) : "";

	if (strcmp(status, "committed") == 0) {
		log_event(LOG_LEVEL_INFO, "outcome_found", "session=%llu xid=%s outcome=committed",
			(unsigned long long)st->session, st->xid);
		settle_committed(st);
	} else if (is_aborted(r, status)) {
		log_event(LOG_LEVEL_INFO, "outcome_found", "session=%llu xid=%s outcome=aborted",
			(unsigned long long)st->session, st->xid);
		settle_rolled_back(st);
	} else {
		ask_later(st, r->lost ? RECONNECT_MS : ASK_MS);
	}
}

static void on_asking_connected(void *owner, const struct err *e)
{
	struct settlement *st = owner;

	if (e) {
		ask_later(st, RECONNECT_MS);
		return;
	}
	pq_limit(st->asking, ANSWER_MS);
	ask(st);
}

static void ask(struct settlement *st)
{
	static const struct pq_events events = {.connected = on_asking_connected, .notice = NULL};
	const char *parameters[] = {st->xid, st->insert_lsn, st->checkpoint};

	if (pq_is_connected(st->asking)) {
		pq_query_params(st->asking, status_sql, parameters, 3, on_status, st);
		return;
	}
	pq_close(st->asking);
	st->asking = target_connect(&st->target, st->worker, "pgaside/outcome", &events, st);
	if (!st->asking)
		ask_later(st, RECONNECT_MS);
}

static void on_timer(void *arg)
{
	ask(arg);
}

static void find_out(struct settlement *st)
{
	enter(st, SETTLE_UNKNOWN);
	/* What took the server away has taken this connection, too. */
	drop_held_aside(st);
	if (!st->xid[0]) {
		/* It has written nothing, so nothing of it can have committed. */
		settle_rolled_back(st);
		return;
	}
	st->in_doubt_since_ms = timer_now_ms();
	timer_start(st->timer, 0);
}

bool settle_cancel(struct settlement *st)
{
	if (st->aside && st->state == SETTLE_OWED)
		aside_cancel(st->aside);
	return st->state == SETTLE_UNDOING;
}

void settle_abandon(struct settlement *st, bool in_doubt)
{
	st->owner = NULL;
	if ((st->state == SETTLE_READY || st->state == SETTLE_PREPARING) && in_doubt)
		find_out(st);
	else if (st->state == SETTLE_PREPARING || st->state == SETTLE_READY)
		settle_rolled_back(st);
}

struct settlement *settle_start(struct worker *w, const struct target *target, int server_pid,
	uint64_t session, struct sql_dialect dialect, struct ledger *ledger,
	const struct settlement_events *events, void *owner)
{
	struct settlement *st = calloc(1, sizeof(*st));
	struct aside_request request;

	if (!st)
		return NULL;
	st->worker = w;
	st->events = *events;
	st->owner = owner;
	st->session = session;
	st->server_pid = server_pid;
	st->dialect = dialect;
	bytes_init(&st->error, ERROR_MAX);
	st->timer = timer_new(w->base, on_timer, st);
	w->settlements++;
	if (!st->timer || !target_copy(&st->target, target)) {
		free_settlement(st);
		return NULL;
	}
	ledger_move(&st->ledger, ledger);
	show_owed(st);
	if (!st->ledger.owed)
		return st;
	request = request_for_owed(st, true);
	if (!start_aside(st, &request)) {
		ledger_move(ledger, &st->ledger);
		free_settlement(st);
		return NULL;
	}
	return st;
}
