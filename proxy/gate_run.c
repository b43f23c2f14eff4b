/*
 * gate_run.c - the aside of a closed gate: its start, its outcome, the answer to the client.
 */
#include <stdio.h>
#include <stdlib.h>

#include "aside.h"
#include "config.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "timer.h"

/*
 * The server must enter the failed state by itself: it gets the message that it refuses, and the
 * aside's error goes into its answer.
 */
static void deliver_error(struct session *s)
{
	gate_decide(s, FLOW_PASS, GATE_FAILING);
}

void gate_fail(struct session *s, const char *sqlstate, const char *message, const char *detail,
	const char *hint)
{
	struct bytes *error = &s->gate->error;

	bytes_clear(error);
	message_put_field(error, 'S', "ERROR");
	message_put_field(error, 'V', "ERROR");
	message_put_field(error, 'C', sqlstate);
	message_put_field(error, 'M', message);
	message_put_field(error, 'D', detail);
	message_put_field(error, 'H', hint);
	bytes_put_u8(error, 0);
	deliver_error(s);
}

static void on_notice(void *owner, struct slice body)
{
	struct session *s = owner;
	struct bytes message;
	size_t place;

	bytes_init(&message, body.len + 64);
	place = message_begin(&message, 'N');
	bytes_put_slice(&message, body);
	message_end(&message, place);
	session_tell(s, &message);
	bytes_release(&message);
}

static void say_where_it_ran(struct session *s, struct bytes *out)
{
	char text[160];
	struct report notice = {.severity = "NOTICE", .sqlstate = "00000", .message = text};

	if (s->worker->shared->config->notify != NOTIFY_NOTICE)
		return;
	snprintf(text, sizeof(text),
		"pgaside ran %s CONCURRENTLY on a connection of its own, outside of this "
		"transaction",
		statement_command_tag(&s->gate->statement));
	message_put_report(out, &notice);
}

static void deliver_success(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes answer;

	bytes_init(&answer, 4096);
	say_where_it_ran(s, &answer);
	message_put_complete(&answer, statement_command_tag(&g->statement));
	if (!g->extended)
		message_put_ready(&answer, s->dialogue.status);
	session_tell(s, &answer);
	bytes_release(&answer);
	gate_decide(s, FLOW_DROP, GATE_OPEN);
}

/* The whole text, its comments too, with CONCURRENTLY blanked out: as long as before.
 * Zero-terminated. */
static void write_plain(struct bytes *out, const struct gate *g)
{
	struct slice text = bytes_view(&g->text);
	size_t end = g->statement.offset + g->statement.text.len;

	bytes_init(out, text.len + 1);
	bytes_put(out, text.data, g->statement.offset);
	statement_write_plain(out, &g->statement);
	bytes_put(out, text.data + end, text.len - end);
	bytes_put_u8(out, 0);
}

/* The plain form of the statement as a Query in the head's place. */
static void send_plain_query(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes plain;

	write_plain(&plain, g);
	message_put_query(&s->up.substitute, (const char *)bytes_view(&plain).data);
	bytes_release(&plain);
	gate_decide(s, FLOW_REPLACE, GATE_OPEN);
}

/* The same without touching the client's unnamed statement and portal; the client gets only what
 * Execute gives. */
static void send_plain_execute(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes plain, messages;

	write_plain(&plain, g);
	bytes_init(&messages, bytes_length(&g->text) + 4096);
	message_put_parse(&messages, "pgaside", (const char *)bytes_view(&plain).data);
	message_put_bind(&messages, "pgaside", "pgaside", NULL, 0);
	message_put_execute(&messages, "pgaside");
	message_put_target(&messages, 'C', 'P', "pgaside");
	message_put_target(&messages, 'C', 'S', "pgaside");
	message_put_empty(&messages, 'H');
	g->closes = 2;
	relay_send_server(s, &messages);
	bytes_release(&plain);
	bytes_release(&messages);
	gate_decide(s, FLOW_DROP, GATE_INLINE);
}

/*
 * Nobody else can see the relation, so nobody can be locked out. The plain form is laxer, though:
 * what PostgreSQL refuses CONCURRENTLY for another reason is not to succeed here.
 */
static void run_inline(struct session *s)
{
	struct gate *g = s->gate;
	const struct statement_aside *d = &g->statement.aside;

	if (!g->plain_is_same || d->n_names > 1 || d->cascade) {
		gate_fail(s, "0A000",
			"this statement cannot be run CONCURRENTLY: PostgreSQL refuses that for "
			"partitioned tables, for several indexes at once and with CASCADE",
			NULL, NULL);
		return;
	}
	log_event(LOG_LEVEL_INFO, "aside_inline",
		"session=%llu placement=inline reason=\"only this transaction can see the "
		"relation\"",
		(unsigned long long)s->id);
	if (g->extended)
		send_plain_execute(s);
	else
		send_plain_query(s);
}

static void refuse_at_commit(struct session *s)
{
	char detail[200];

	snprintf(detail, sizeof(detail), "The transaction %s.",
		placement_obstacle_text(s->gate->facts.obstacle));
	gate_fail(s, "0A000",
		"this statement would have to wait for the end of its own transaction, which "
		"pgaside cannot "
		"do yet",
		detail,
		"Put the statement into a migration of its own, or before what it conflicts with.");
}

void gate_settle(struct session *s)
{
	struct gate *g = s->gate;

	switch (placement_decide(&g->facts)) {
	case PLACEMENT_NOW:
		if (bytes_length(&g->error) > 0)
			deliver_error(s);
		else
			deliver_success(s);
		break;
	case PLACEMENT_INLINE:
		run_inline(s);
		break;
	case PLACEMENT_AT_COMMIT:
		refuse_at_commit(s);
		break;
	case PLACEMENT_NATIVE:
	case PLACEMENT_REFUSE:
		gate_decide(s, FLOW_PASS, GATE_OPEN);
		break;
	}
}

static void on_done(void *owner, const struct aside_outcome *outcome)
{
	struct session *s = owner;
	struct gate *g = s->gate;

	g->aside = NULL;
	bytes_clear(&g->error);
	bytes_put_slice(&g->error, outcome->error);
	g->facts.visible = outcome->result != ASIDE_INVISIBLE;
	g->facts.obstacle = outcome->result == ASIDE_NOT_NOW ? outcome->obstacle : OBSTACLE_NONE;
	gate_enter(s, GATE_SETTLING);
	gate_step(s);
}

void gate_place(struct session *s)
{
	static const struct aside_events events = {.notice = on_notice, .done = on_done};
	struct gate *g = s->gate;
	struct aside_request request = {
		.session = s->id,
		.route = &s->route,
		.password = bytes_view(&s->password),
		.settings = bytes_view(&g->settings),
		.server_pid = g->server_pid,
		.text = bytes_view(&g->text),
		.statement = &g->statement,
		.dialect = s->dialect,
		.relation = g->relation,
		.index = g->index,
	};

	startup_parameter(bytes_view(&s->startup), "user", &request.user);
	startup_parameter(bytes_view(&s->startup), "database", &request.database);
	startup_parameter(bytes_view(&s->startup), "application_name", &request.application_name);
	g->aside = aside_start(s->worker, &request, &events, s);
	if (!g->aside) {
		gate_fail(s, "53200", "out of memory", NULL, NULL);
		return;
	}
	gate_enter(s, GATE_ASIDE);
	timer_stop(g->timer);
	if (g->keep_alive_ms > 0)
		timer_start(g->timer, g->keep_alive_ms);
}
