/*
 * relay.c - what becomes of each message, in both directions, and who is listened to.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"
#include "console.h"
#include "frame.h"
#include "gate.h"
#include "log.h"
#include "message.h"
#include "prepared.h"
#include "registry.h"
#include "session_state.h"
#include "sql_search.h"
#include "statement.h"
#include "timer.h"

/* A message of the server that is gathered is small: an error, a status, a key. */
#define SERVER_GATHER_MAX (1024u * 1024u)
/* An answer to the gate is not to be the client's: a setting may be long. */
#define ANSWER_GATHER_MAX (16u * 1024u * 1024u)
/* Bytes of a client that wait behind the gate before it is read no more. */
#define HOLD_MAX (256u * 1024u)

static bool takes_aside(const struct session *s)
{
	return s->aside && !s->dialogue.uncertain;
}

static enum flow_verdict forward(struct session *s, const struct frame *f)
{
	dialogue_client(&s->dialogue, f->type);
	return FLOW_FORWARD;
}

/*
 * Messages that PostgreSQL lets be no longer than this: it ends the connection at a longer one,
 * without a word, behind the answers that are due. So that header goes to it, and nothing is held
 * for it.
 */
#define SMALL_MESSAGE_MAX 10000u

static bool is_oversized(const struct frame *f)
{
	return f->size - 1 > SMALL_MESSAGE_MAX && memchr("CDEHSXcf", f->type, 8);
}

/*
 * What one session holds is bounded by max_statement_size; all of them together hold no more than
 * so many statements of that size. Peers that take their time are not worth counting.
 */
#define HELD_STATEMENTS 8u
#define HELD_UNCOUNTED (1024u * 1024u)

static void count_held(struct session *s)
{
	atomic_size_t *all = &s->worker->shared->held;
	size_t now = s->up.held.cap + conn_unsent(s->server) +
		     (s->ledger.owed ? ledger_size(&s->ledger) : 0);

	if (now <= HELD_UNCOUNTED)
		now = 0;
	if (now > s->held)
		atomic_fetch_add(all, now - s->held);
	else if (now < s->held)
		atomic_fetch_sub(all, s->held - now);
	s->held = now;
}

static const char *why_unread(const struct session *s, const struct frame *f)
{
	size_t most = s->snapshot->config.max_statement_size;

	if (f->size > most)
		return "larger than max_statement_size";
	if (f->size > HELD_UNCOUNTED &&
		atomic_load(&s->worker->shared->held) / HELD_STATEMENTS >= most)
		return "too many large statements at once";
	return NULL;
}

static void warn_unread(struct session *s, const struct frame *f, const char *why)
{
	log_event(LOG_LEVEL_WARNING, "statement_unread", "session=%llu bytes=%zu reason=\"%s\"",
		(unsigned long long)s->id, f->size, why);
	if (s->prepared && f->type != 'Q')
		s->dialogue.uncertain = true; /* it may have renamed what we know */
}

static bool may_hold_aside(const struct session *s, uint8_t type)
{
	switch (type) {
	case 'Q':
	case 'P':
		return true;
	case 'B':
	case 'E':
	case 'C':
		return s->prepared != NULL;
	default:
		return false;
	}
}

/* A pipeline has failed, and our own Sync has ended the server's skipping: what it would have
 * skipped is dropped here. */
static enum flow_verdict skip_to_sync(struct session *s, const struct frame *f)
{
	if (f->type != 'S' && f->type != 'X')
		return FLOW_SKIP;
	s->discarding = false;
	return forward(s, f);
}

static bool up_is_plain(const struct session *s, uint8_t type)
{
	(void)type;
	return s->state == SESSION_RELAY && !gate_is_busy(s) && !dialogue_is_full(&s->dialogue) &&
	       !s->discarding;
}

static enum flow_verdict up_header(struct session *s, const struct frame *f)
{
	const char *why;

	if (s->state != SESSION_RELAY)
		return FLOW_WAIT;
	if (gate_is_busy(s) || dialogue_is_full(&s->dialogue))
		return FLOW_WAIT;
	if (is_oversized(f))
		return forward(s, f);
	if (s->discarding)
		return skip_to_sync(s, f);
	if (!takes_aside(s) || !may_hold_aside(s, f->type))
		return forward(s, f);
	why = why_unread(s, f);
	if (why) {
		warn_unread(s, f, why);
		return forward(s, f);
	}
	return FLOW_GATHER;
}

static bool query_is_met(struct session *s, struct slice body)
{
	struct slice text;

	if (s->prepared)
		prepared_query(s->prepared);
	return query_decode(body, &text) && (sql_search_concurrently(text) || gate_is_engaged(s)) &&
	       gate_meets_query(s, text);
}

/*
 * Whether a text may be transaction control that a ledger wants to know of: by its first word, so
 * that other statements are not read. One that begins with a comment is.
 */
static bool may_be_control(struct slice text)
{
	static const char *const words[] = {
		"commit", "end", "rollback", "abort", "savepoint", "release", "prepare"};
	size_t at = 0;

	while (at < text.len && text.data[at] <= ' ')
		at++;
	if (at < text.len && (text.data[at] == '-' || text.data[at] == '/'))
		return true;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len;

		/* The first letter decides for nearly all; no other byte becomes one by this bit.
		 */
		if (at == text.len || (text.data[at] | 0x20) != words[i][0])
			continue;
		len = strlen(words[i]);
		if (len <= text.len - at &&
			strncasecmp((const char *)text.data + at, words[i], len) == 0)
			return true;
	}
	return false;
}

static bool is_worth_knowing(const struct session *s, struct slice text)
{
	struct statement st;

	if (!may_be_control(text) && !sql_search_concurrently(text) && !gate_is_engaged(s))
		return false;
	return statement_first(text, s->dialect, &st) &&
	       (statement_is_aside(&st) || statement_is_control(&st) ||
		       gate_concerns_ledger(s, &st));
}

static void note_parse(struct session *s, struct slice body)
{
	struct parse_message m;
	struct slice sql = {0};

	if (!parse_decode(body, &m))
		return;
	if (is_worth_knowing(s, m.query))
		sql = m.query;
	if (sql.data && !s->prepared)
		s->prepared = prepared_new();
	if (s->prepared)
		prepared_parse(s->prepared, m.name, sql, s->dialogue.ready_sent);
}

static void note_bind(struct session *s, struct slice body)
{
	struct bind_message m;

	if (s->prepared && bind_decode(body, &m))
		prepared_bind(s->prepared, m.portal, m.statement, s->dialogue.ready_sent);
}

static void note_close(struct session *s, struct slice body)
{
	struct target_message m;

	if (s->prepared && target_decode(body, &m))
		prepared_close(s->prepared, m.kind, m.name);
}

static bool execute_is_met(struct session *s, struct slice message)
{
	struct slice portal, statement, sql;

	return s->prepared && execute_decode(frame_body(message), &portal) &&
	       prepared_find(s->prepared, portal, &statement, &sql) &&
	       gate_meets_execute(s, message, portal, statement, sql);
}

static enum flow_action up_message(struct session *s, uint8_t type, struct slice message)
{
	struct slice body = frame_body(message);

	switch (type) {
	case 'Q':
		if (query_is_met(s, body))
			return FLOW_DROP;
		break;
	case 'P':
		note_parse(s, body);
		break;
	case 'B':
		note_bind(s, body);
		break;
	case 'C':
		note_close(s, body);
		break;
	case 'E':
		if (execute_is_met(s, message))
			return FLOW_DROP;
		break;
	default:
		break;
	}
	dialogue_client(&s->dialogue, type);
	return FLOW_PASS;
}

/* The server answers that better than we could: it gets every byte from here on. */
static bool up_malformed(struct session *s)
{
	s->dialogue.uncertain = true;
	return true;
}

const struct flow_rules relay_up_rules = {
	{'d', 'd'}, up_is_plain, up_header, up_message, up_malformed};

static bool down_malformed(struct session *s)
{
	struct err e;

	err_set(&e, "08P01", "the server sent a malformed message");
	session_fail(s, &e);
	return false;
}

static bool down_is_plain(const struct session *s, uint8_t type)
{
	return s->state == SESSION_RELAY && !gate_wants(s, type);
}

static enum flow_verdict down_header(struct session *s, const struct frame *f)
{
	bool wanted;

	switch (s->state) {
	case SESSION_LOGIN:
	case SESSION_CONSOLE:
		wanted = true;
		break;
	case SESSION_RELAY:
		wanted = f->type == 'Z' || f->type == 'K' || f->type == 'S' ||
			 gate_wants(s, f->type);
		break;
	default:
		return FLOW_WAIT;
	}
	if (wanted && f->size <= (gate_asks(s) ? ANSWER_GATHER_MAX : SERVER_GATHER_MAX))
		return FLOW_GATHER;
	if (wanted && (s->state == SESSION_LOGIN || gate_asks(s))) {
		down_malformed(s);
		return FLOW_WAIT;
	}
	if (f->type == 'E' && wanted && s->state == SESSION_RELAY)
		gate_error_passes(s);
	dialogue_server(&s->dialogue, f->type, 0);
	if (f->type == 'E' && s->prepared)
		prepared_batch_failed(s->prepared, s->dialogue.ready_got);
	return FLOW_FORWARD;
}

/* False: it has a status that there is not, and something depends on it. */
static bool note_ready(struct session *s, struct slice body)
{
	struct cursor c = cursor_over(body);
	char status = (char)cursor_u8(&c);
	bool known = cursor_done(&c) && (status == 'I' || status == 'T' || status == 'E');

	if (!known && (gate_is_busy(s) || gate_is_engaged(s)))
		return down_malformed(s);
	if (!known)
		s->dialogue.uncertain = true;
	dialogue_server(&s->dialogue, 'Z', status);
	if (s->prepared && status == 'I')
		prepared_transaction_ended(s->prepared, s->dialogue.ready_got - 1);
	if (gate_is_engaged(s) && !gate_is_busy(s))
		gate_ready(s, status);
	return true;
}

static void note_parameter(struct session *s, struct slice body)
{
	struct slice name, value;

	if (!parameter_status_decode(body, &name, &value))
		return;
	if (slice_is(name, "standard_conforming_strings"))
		s->dialect.backslash_in_strings = !slice_is(value, "on");
	else if (slice_is(name, "client_encoding"))
		s->dialect.encoding = sql_encoding_of(value);
}

static void note_key(struct session *s, struct slice body)
{
	struct backend_key key;

	if (bytes_length(&s->key) > 0 || !backend_key_decode(body, &key))
		return;
	bytes_put_slice(&s->key, body);
	bytes_fit(&s->key);
	atomic_store_explicit(&s->seen.server_pid, (int)key.pid, memory_order_relaxed);
	registry_add(s->worker->shared->registry, &key, s->worker, s->id,
		&(struct registry_server){s->snapshot, s->route});
}

static void note_error(struct session *s)
{
	if (s->prepared)
		prepared_batch_failed(s->prepared, s->dialogue.ready_got);
	dialogue_server(&s->dialogue, 'E', 0);
}

static enum flow_action down_message(struct session *s, uint8_t type, struct slice message)
{
	struct slice body = frame_body(message);

	if (s->state == SESSION_LOGIN)
		return login_server_message(s, type, message);
	if (s->state == SESSION_CONSOLE)
		return console_server_message(s, type);
	switch (type) {
	case 'Z':
		if (!note_ready(s, body))
			return FLOW_STOP;
		break;
	case 'K':
		note_key(s, body);
		break;
	case 'S':
		note_parameter(s, body);
		break;
	case 'E':
		note_error(s);
		break;
	default:
		dialogue_server(&s->dialogue, type, 0);
		break;
	}
	return gate_is_busy(s) || gate_wants(s, type) ? gate_server_message(s, type, message)
						      : FLOW_PASS;
}

const struct flow_rules relay_down_rules = {
	{'D', 'd'}, down_is_plain, down_header, down_message, down_malformed};

void relay_update_reading(struct session *s)
{
	bool client_waits;

	if (s->state != SESSION_RELAY) {
		/* What the client says in a log-in is short, and read as it comes. */
		if (s->state == SESSION_LOGIN)
			conn_want_read(s->server, conn_unsent(s->client) <= CONN_HIGH_WATER);
		return;
	}
	count_held(s);
	client_waits = s->up.waiting && bytes_length(&s->up.held) > HOLD_MAX;
	conn_want_read(s->client,
		!s->client_ended && !client_waits && conn_unsent(s->server) <= CONN_HIGH_WATER);
	conn_want_read(s->server, conn_unsent(s->client) <= CONN_HIGH_WATER);
}

/* Behind everything that the client has sent before its end. */
static void pass_end_on(struct session *s)
{
	if (!s->up.waiting)
		conn_end_sending(s->server);
}

/* What a walk has made due; it may close the session. */
static void after_walk(struct session *s)
{
	gate_step(s);
	if (s->up.waiting && s->state == SESSION_RELAY && !gate_is_busy(s) &&
		!dialogue_is_full(&s->dialogue)) {
		relay_resume(s);
		return;
	}
	if (s->client_ended && s->state == SESSION_RELAY && conn_is_broken(s->client)) {
		session_close(s, "the client closed the connection");
		return;
	}
	if (s->client_ended && s->state == SESSION_RELAY)
		pass_end_on(s);
	relay_update_reading(s);
}

void relay_resume(struct session *s)
{
	flow_resume(&s->up, s, s->server);
	after_walk(s);
}

/*
 * The client sends nothing more, but may still read. The server is told just that, and does with it
 * what it does without us: it answers what it was asked, or looks for lost clients. An aside is
 * ended at once, though: who does not send is gone more likely than not.
 */
static void client_ended(struct session *s)
{
	if (s->dialogue.count == 0 || s->dialogue.copy_in || gate_is_busy(s) ||
		conn_is_broken(s->client)) {
		session_close(s, "the client closed the connection");
		return;
	}
	s->client_ended = true;
	pass_end_on(s);
	relay_update_reading(s);
}

/* Whole messages have come, in a conversation that is understood. */
static bool is_orderly(const struct session *s, const struct flow *f)
{
	return s->state == SESSION_RELAY && !s->dialogue.uncertain && !gate_is_busy(s) && !f->raw &&
	       f->passing == 0 && bytes_length(&f->held) == 0;
}

/* The server owes the client an answer: a lost client is noticed with it, or a while later. */
static bool will_answer(const struct session *s)
{
	return is_orderly(s, &s->up) && s->dialogue.count > 0 && !s->dialogue.copy_in;
}

/* The server has said all: that it is lost may be noticed a while later. */
static bool has_answered(const struct session *s)
{
	return is_orderly(s, &s->down) && dialogue_is_idle(&s->dialogue) && !s->dialogue.failed;
}

void relay_look_again(struct session *s, struct conn *c)
{
	if (c == s->client ? will_answer(s) : has_answered(s))
		worker_look_later(s->worker);
	else if (c == s->client || c == s->server)
		conn_look_again(c);
}

void relay_read_client(struct session *s)
{
	enum conn_read_result r = flow_read(&s->up, s, s->client, s->server, s->worker->buffer);

	switch (r) {
	case CONN_READ_BYTES:
	case CONN_READ_NOTHING:
		after_walk(s);
		break;
	case CONN_READ_END:
		client_ended(s);
		break;
	case CONN_READ_ERROR:
		session_close(s, conn_error(s->client));
		break;
	}
}

static void server_is_gone(struct session *s, const char *why)
{
	struct err e;

	if (s->state == SESSION_LOGIN && !s->refused) {
		err_set(&e, "08006", "the server closed the connection during the log-in: %s", why);
		session_fail(s, &e);
		return;
	}
	session_close(s, "the server closed the connection");
}

/* Log-in is over: what the client has sent meanwhile goes first. */
static void begin_relay(struct session *s)
{
	if (s->replication)
		s->up.raw = s->down.raw = true;
	relay_resume(s);
}

void relay_read_server(struct session *s)
{
	enum session_state before = s->state;
	enum conn_read_result r = flow_read(&s->down, s, s->server, s->client, s->worker->buffer);

	if (r == CONN_READ_END || r == CONN_READ_ERROR) {
		server_is_gone(s, conn_error(s->server));
		return;
	}
	if (s->state == SESSION_CONSOLE)
		console_begin_if_due(s);
	else if (before == SESSION_LOGIN && s->state == SESSION_RELAY)
		begin_relay(s);
	else if (s->state == SESSION_RELAY)
		after_walk(s);
	else
		relay_update_reading(s);
}

void relay_send_server(struct session *s, const struct bytes *messages)
{
	struct slice left = bytes_view(messages);
	struct frame f;

	if (bytes_failed(messages)) {
		session_close(s, "out of memory");
		return;
	}
	conn_send(s->server, left);
	while (frame_peek(left.data, left.len, &f) == FRAME_WHOLE_HEADER) {
		dialogue_client(&s->dialogue, f.type);
		left = slice_of(left.data + f.size, left.len - f.size);
	}
}
