/*
 * gate_run.c - a unit that is an aside statement: its place, its aside, the answer to the client.
 */
#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "timer.h"

/* No client has a portal of this name: executing it fails, whatever the transaction's state. */
#define NO_PORTAL "pgaside_refuses"

/*
 * The server must enter the failed state by itself: it gets the message that it refuses, and our
 * error goes into its answer.
 */
static void deliver(struct session *s, struct slice body, bool original)
{
	struct gate *g = s->gate;
	struct bytes message;
	struct slice text = gate_unit_text(g);

	if (body.data != bytes_view(&g->error).data) {
		bytes_clear(&g->error);
		bytes_put_slice(&g->error, body);
	}
	g->failed = false;
	gate_enter(s, GATE_FAILING);
	bytes_init(&message, text.len + 1024);
	if (!original) {
		message_put_execute(&message, NO_PORTAL);
		if (!g->extended)
			message_put_empty(&message, 'S');
	} else if (g->extended) {
		bytes_put_slice(&message, bytes_view(&g->head));
	} else {
		message_put_query_slice(&message, text);
	}
	relay_send_server(s, &message);
	bytes_release(&message);
}

/* Outside of a transaction the server would run the unit. */
void gate_fail_with(struct session *s, struct slice body)
{
	deliver(s, body, s->gate->facts.status == 'T');
}

void gate_refuse_with(struct session *s, struct slice body)
{
	deliver(s, body, false);
}

void gate_fail(struct session *s, const char *sqlstate, const char *message, const char *detail,
	const char *hint)
{
	struct bytes body;

	bytes_init(&body, 64u * 1024);
	report_put_error(&body, sqlstate, message, detail, hint);
	gate_fail_with(s, bytes_view(&body));
	bytes_release(&body);
}

void gate_refuse(struct session *s, const char *sqlstate, const char *message)
{
	struct bytes body;

	bytes_init(&body, 4096);
	report_put_error(&body, sqlstate, message, NULL, NULL);
	gate_refuse_with(s, bytes_view(&body));
	bytes_release(&body);
}

static void put_notice(struct session *s, struct bytes *out, const char *text)
{
	struct report notice = {.severity = "NOTICE", .sqlstate = "00000", .message = text};

	if (s->snapshot->config.notify == NOTIFY_NOTICE && text && !s->gate->quiet)
		message_put_report(out, &notice);
}

void gate_succeed(struct session *s, const char *notice)
{
	struct gate *g = s->gate;
	struct bytes answer;

	bytes_init(&answer, 4096);
	put_notice(s, &answer, notice);
	if (g->hold_complete && g->block_open) {
		bytes_clear(&g->complete);
		message_put_complete(&g->complete, statement_command_tag(&g->unit));
		g->completed = true;
	} else {
		message_put_complete(&answer, statement_command_tag(&g->unit));
	}
	session_tell(s, &answer);
	bytes_release(&answer);
	gate_unit_done(s);
}

/* The unit with CONCURRENTLY blanked out: as long as before, so that positions stay true.
 * Zero-terminated. */
static void write_plain(struct bytes *out, const struct gate *g)
{
	struct slice text = bytes_view(&g->text);
	size_t end = g->unit.offset + g->unit.text.len;

	bytes_init(out, text.len + 1);
	if (g->lone)
		bytes_put(out, text.data, g->unit.offset);
	statement_write_plain(out, &g->unit);
	if (g->lone)
		bytes_put(out, text.data + end, text.len - end);
	bytes_put_u8(out, 0);
}

static void send_plain_query(struct session *s)
{
	struct bytes plain, message;

	write_plain(&plain, s->gate);
	bytes_init(&message, bytes_length(&plain) + 16);
	message_put_query(&message, (const char *)bytes_view(&plain).data);
	s->gate->completed = s->gate->failed = false;
	gate_enter(s, GATE_UNIT);
	relay_send_server(s, &message);
	bytes_release(&message);
	bytes_release(&plain);
}

/* Without touching the client's unnamed statement and portal; the client gets only what Execute
 * gives. */
static void send_plain_execute(struct session *s)
{
	struct bytes plain, messages;

	write_plain(&plain, s->gate);
	bytes_init(&messages, bytes_length(&plain) + 4096);
	/* One that failed before could not be closed. */
	message_put_target(&messages, 'C', 'P', "pgaside");
	message_put_target(&messages, 'C', 'S', "pgaside");
	message_put_parse(&messages, "pgaside", (const char *)bytes_view(&plain).data);
	message_put_bind(&messages, "pgaside", "pgaside", NULL, 0);
	message_put_execute(&messages, "pgaside");
	message_put_target(&messages, 'C', 'P', "pgaside");
	message_put_target(&messages, 'C', 'S', "pgaside");
	message_put_empty(&messages, 'H');
	s->gate->closes = 4;
	gate_enter(s, GATE_INLINE);
	relay_send_server(s, &messages);
	bytes_release(&messages);
	bytes_release(&plain);
}

/*
 * The plain form is laxer than CONCURRENTLY: what PostgreSQL refuses for another reason is not to
 * succeed here.
 */
static bool plain_is_the_same(const struct gate *g)
{
	const struct statement_aside *d = &g->unit.aside;

	return (g->found.kind == 'r' || g->found.kind == 'm') && d->n_names <= 1 && !d->cascade;
}

/* The name of the new index is that of one that is there until COMMIT. */
static bool name_is_doomed(const struct session *s)
{
	const struct gate *g = s->gate;

	return g->unit.kind == STATEMENT_CREATE_INDEX && g->found.index != 0 &&
	       ledger_dooms_index(&s->ledger, g->found.index);
}

static void run_inline(struct session *s, const char *why)
{
	struct gate *g = s->gate;

	if (name_is_doomed(s) && g->unit.aside.if_not_exists) {
		gate_fail(s, "0A000", GATE_NAME_IS_DOOMED, NULL, NULL);
		return;
	}
	if (!plain_is_the_same(g)) {
		gate_fail(s, "0A000",
			"this statement cannot be run CONCURRENTLY: PostgreSQL refuses that for "
			"partitioned tables, for several indexes at once and with CASCADE",
			NULL, NULL);
		return;
	}
	log_event(LOG_LEVEL_INFO, "aside_inline", "session=%llu placement=inline reason=\"%s\"",
		(unsigned long long)s->id, why);
	stats_count_inline(s->worker->shared->stats, g->unit.kind);
	if (g->extended)
		send_plain_execute(s);
	else
		send_plain_query(s);
}

static void conflict(struct session *s)
{
	enum placement_obstacle o = s->gate->facts.obstacle;
	char detail[200];

	if (o == OBSTACLE_NONE)
		o = placement_policy(&s->gate->facts);
	snprintf(detail, sizeof(detail), "The transaction %s.", placement_obstacle_text(o));
	if (s->gate->block_open) {
		gate_owe(s); /* if it would work, the block is committed for it */
		return;
	}
	switch (s->snapshot->config.conflict) {
	case CONFLICT_AT_COMMIT:
		gate_owe(s);
		break;
	case CONFLICT_INLINE:
		run_inline(s, "conflict = inline");
		break;
	case CONFLICT_ERROR:
		gate_fail(s, "0A000",
			"this statement cannot run outside of its transaction now (conflict = "
			"error)",
			detail,
			"Put it into a migration of its own, or before what it conflicts with.");
		break;
	}
}

/* What the transaction's end has to undo, if it does not commit or in any case. */
static void note_made(struct session *s, const struct aside_outcome *outcome)
{
	uint32_t relation = s->gate->found.relation;
	struct sql_name name = {.len = 0};
	struct bytes role;
	struct slice who;
	bool ok;

	if (!sql_name_decode(s->gate->unit.aside.index, s->dialect, &name))
		name = (struct sql_name){.len = 0};

	bytes_init(&role, 4096);
	aside_settings_of_role(bytes_view(&s->gate->settings), &role);
	who = bytes_view(&role);
	ok = !bytes_failed(&role) && (outcome->made == 0 || ledger_note_made(&s->ledger, relation,
								    outcome->made, who, &name));
	if (ok && outcome->made != 0)
		snprintf(s->ledger.made->likeness, sizeof(s->ledger.made->likeness), "%s",
			outcome->likeness);
	for (unsigned i = 0; i < outcome->n_condemned; i++)
		ok &= ledger_condemn(&s->ledger, relation, outcome->condemned[i], who);
	bytes_release(&role);
	if (!ok)
		log_event(LOG_LEVEL_ERROR, "made_and_forgotten",
			"session=%llu index=%u reason=\"out of memory\"", (unsigned long long)s->id,
			outcome->made);
}

static void succeed_now(struct session *s)
{
	char text[160];

	snprintf(text, sizeof(text),
		"pgaside ran %s on a connection of its own, outside of this transaction",
		statement_name(&s->gate->unit));
	gate_succeed(s, s->gate->facts.status == 'T' ? text : NULL);
}

/*
 * It names something that does not exist for others. That may be a thing that this transaction has
 * made: an extension, a function. The rehearsal on the server connection tells, with the same error
 * if not.
 */
static bool may_use_what_is_new(const struct session *s)
{
	static const char *const states[] = {"42704", "42883", "42P01", "42703", "3F000"};
	const struct gate *g = s->gate;
	struct slice state;

	if (g->facts.status != 'T' || !g->facts.exists || g->unit.kind != STATEMENT_CREATE_INDEX ||
		s->snapshot->config.conflict != CONFLICT_AT_COMMIT ||
		!error_field(bytes_view(&g->error), 'C', &state))
		return false;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (slice_is(state, states[i]))
			return true;
	return false;
}

static void placed(struct session *s)
{
	struct gate *g = s->gate;

	switch (placement_decide(&g->facts)) {
	case PLACEMENT_NOW:
		if (g->result == ASIDE_DONE)
			succeed_now(s);
		else if (may_use_what_is_new(s))
			gate_owe_in_spite(s);
		else
			gate_fail_with(s, bytes_view(&g->error));
		break;
	case PLACEMENT_INLINE:
		if (!name_is_doomed(s)) {
			run_inline(s, "only this transaction can see the relation");
			break;
		}
		g->facts.obstacle = OBSTACLE_NAME;
		conflict(s);
		break;
	case PLACEMENT_AT_COMMIT:
		conflict(s);
		break;
	case PLACEMENT_NATIVE:
	case PLACEMENT_REFUSE:
		gate_send_unit(s);
		break;
	}
}

static void on_done(void *owner, const struct aside_outcome *outcome)
{
	struct session *s = owner;
	struct gate *g = s->gate;
	struct aside *finished = g->aside;

	g->aside = NULL;
	bytes_clear(&g->error);
	bytes_put_slice(&g->error, outcome->error);
	g->result = outcome->result;
	g->facts.visible = outcome->result != ASIDE_INVISIBLE;
	g->facts.obstacle = outcome->result == ASIDE_NOT_NOW ? outcome->obstacle : OBSTACLE_NONE;
	if (outcome->result != ASIDE_NOT_NOW && g->unit.kind == STATEMENT_CREATE_INDEX)
		ledger_replaced(&s->ledger, g->found.index);
	if (g->facts.status == 'T' || outcome->n_condemned > 0)
		note_made(s, outcome);
	if (g->facts.status != 'T' && outcome->n_condemned > 0)
		gate_settle_behind(s, true);
	aside_keep(finished);
	gate_when_quiet(s, placed);
}

static void start_aside(struct session *s)
{
	static const struct aside_events events = {.notice = gate_on_notice, .done = on_done};
	struct gate *g = s->gate;
	struct aside_request request = {
		.mode = ASIDE_NOW,
		.look_only = g->facts.exists && placement_policy(&g->facts) != OBSTACLE_NONE,
		.settings = bytes_view(&g->settings),
		.text = gate_unit_text(g),
		.statement = &g->unit,
		.dialect = s->dialect,
		.relation = g->found.relation,
		.index = g->found.index,
		.locks = &g->locks,
		.condemned = ledger_has_condemned(&s->ledger, g->found.index) ? g->found.index : 0,
	};

	if (gate_heeds_cancel(s))
		return;
	g->aside = g->ahead ? g->ahead : aside_open(s->worker, &g->target, s->id);
	g->ahead = NULL;
	if (g->aside && !aside_start(g->aside, g->server_pid, &request, &events, s))
		g->aside = NULL;
	if (!g->aside)
		gate_fail(s, "53200", "out of memory", NULL, NULL);
}

static bool set_target(struct session *s, const struct upstream_route *route)
{
	return target_init(&s->gate->target, s->snapshot, route, bytes_view(&s->startup),
		bytes_view(&s->password));
}

static bool goes_where_the_session_went(const struct session *s)
{
	return s->snapshot->aside_upstream == &s->snapshot->upstream;
}

/* False: it must be found out, or there is no memory. */
static bool knows_target(struct session *s)
{
	return s->gate->target.user || (goes_where_the_session_went(s) && set_target(s, &s->route));
}

void gate_open_ahead(struct session *s)
{
	struct gate *g = s->gate;

	if (!g->ahead && knows_target(s))
		g->ahead = aside_open(s->worker, &g->target, s->id);
}

static void on_found(
	void *owner, struct conn *c, const struct upstream_route *route, const struct err *e)
{
	struct session *s = owner;

	s->gate->finding = NULL;
	conn_free(c);
	if (!c)
		gate_fail(s, e->sqlstate, e->text, "aside_upstream cannot be reached.", NULL);
	else if (!set_target(s, route))
		gate_fail(s, "53200", "out of memory", NULL, NULL);
	else
		start_aside(s);
}

/*
 * The connections go to the very server that the session has, whose address is known. Only when
 * another way past a pooler is named, a connection finds out where that leads: libpq must not have
 * to look a name up.
 */
static void find_target(struct session *s)
{
	const struct snapshot *sn = s->snapshot;

	if (knows_target(s)) {
		start_aside(s);
	} else if (goes_where_the_session_went(s)) {
		gate_fail(s, "53200", "out of memory", NULL, NULL);
	} else {
		s->gate->finding = upstream_connect(s->worker, sn->aside_upstream,
			sn->config.server_connect_timeout_ms, on_found, s);
		if (!s->gate->finding)
			gate_fail(s, "53200", "out of memory", NULL, NULL);
	}
}

void gate_place(struct session *s)
{
	struct gate *g = s->gate;

	gate_enter(s, GATE_ASIDE);
	if (g->keep_alive_ms > 0)
		timer_start(g->timer, g->keep_alive_ms);
	else
		timer_stop(g->timer);
	find_target(s);
}
