#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "aside.h"
#include "config.h"
#include "console.h"
#include "gate.h"
#include "log.h"
#include "message.h"
#include "prepared.h"
#include "registry.h"
#include "session_state.h"
#include "timer.h"

/* What a message that is not whole, or waits behind a gate, may need beyond the largest statement.
 */
#define HELD_SLACK (1024u * 1024u)

#define TO(state) (1u << (state))

static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[SESSION_STARTUP] = {"startup", TO(SESSION_PASSWORD) | TO(SESSION_CONNECTING) |
						TO(SESSION_CANCEL) | TO(SESSION_CLOSED)},
	[SESSION_PASSWORD] = {"password", TO(SESSION_CONNECTING) | TO(SESSION_CLOSED)},
	[SESSION_CONNECTING] = {"connecting", TO(SESSION_LOGIN) | TO(SESSION_CLOSED)},
	[SESSION_LOGIN] = {"login", TO(SESSION_RELAY) | TO(SESSION_CONSOLE) | TO(SESSION_CLOSED)},
	[SESSION_CONSOLE] = {"console", TO(SESSION_CLOSED)},
	[SESSION_RELAY] = {"relay", TO(SESSION_CLOSED)},
	[SESSION_CANCEL] = {"cancel", TO(SESSION_CLOSED)},
	[SESSION_CLOSED] = {"closed", 0},
};

void session_enter(struct session *s, enum session_state state)
{
	assert(states[s->state].next & TO(state));
	log_event(LOG_LEVEL_DEBUG, "session_state", "session=%llu from=%s to=%s",
		(unsigned long long)s->id, states[s->state].name, states[state].name);
	s->state = state;
}

void session_tell(struct session *s, const struct bytes *message)
{
	conn_send(s->client, bytes_view(message));
}

const char *session_parameter(const struct session *s, const char *name, char *out, size_t size)
{
	struct slice value = {0};
	size_t len;

	out[0] = '\0';
	if (!startup_parameter(bytes_view(&s->startup), name, &value))
		return out;
	len = value.len < size - 1 ? value.len : size - 1;
	memcpy(out, value.data, len);
	out[len] = '\0';
	return out;
}

static void free_session(void *arg)
{
	static const struct ledger nothing = {0};
	struct session *s = arg;
	struct worker *w = s->worker;

	stats_session_remove(w->shared->stats, &s->seen);
	if (s->ledger.owed)
		stats_owe(w->shared->stats, s->id, false, &nothing);
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	conn_finish(s->client);
	conn_finish(s->server);
	timer_free(s->timer);
	upstream_cancel(s->connecting);
	/* Who did not get in may have left a piece of a password there. */
	if (s->login)
		bytes_wipe(&s->up.held);
	login_free(s->login);
	console_free(s->console);
	prepared_free(s->prepared);
	gate_free(s);
	ledger_release(&s->ledger);
	flow_release(&s->up);
	flow_release(&s->down);
	bytes_release(&s->startup);
	bytes_wipe(&s->password);
	bytes_wipe(&s->key);
	snapshot_release(s->snapshot);
	atomic_fetch_sub(&w->shared->held, s->held);
	atomic_fetch_sub(&w->shared->clients, 1);
	free(s);
	worker_check_end(w);
}

static void forget_key(struct session *s)
{
	struct backend_key key;

	if (backend_key_decode(bytes_view(&s->key), &key))
		registry_remove(s->worker->shared->registry, &key, s->id);
}

static void log_end(const struct session *s, const char *why)
{
	char user[64], database[64], quoted[3][160];

	if (!s->snapshot->config.log_disconnections || s->state == SESSION_CANCEL)
		return;
	session_parameter(s, "user", user, sizeof(user));
	session_parameter(s, "database", database, sizeof(database));
	log_event(LOG_LEVEL_INFO, "disconnect",
		"session=%llu user=%s database=%s duration_ms=%llu reason=%s",
		(unsigned long long)s->id, log_quote(quoted[0], 160, user, (unsigned)strlen(user)),
		log_quote(quoted[1], 160, database, (unsigned)strlen(database)),
		(unsigned long long)(timer_now_ms() - s->started_ms),
		log_quote(quoted[2], 160, why, (unsigned)strlen(why)));
}

void session_close(struct session *s, const char *why)
{
	if (s->state == SESSION_CLOSED)
		return;
	log_end(s, why);
	session_enter(s, SESSION_CLOSED);
	timer_stop(s->timer);
	upstream_cancel(s->connecting);
	s->connecting = NULL;
	conn_want_read(s->client, false);
	conn_set_owner(s->client, NULL, NULL);
	if (s->server) {
		conn_want_read(s->server, false);
		conn_set_owner(s->server, NULL, NULL);
	}
	gate_abandon(s);
	forget_key(s);
	/* The caller may be in the middle of a walk over this session's bytes. */
	worker_defer(s->worker, free_session, s);
}

void session_fail(struct session *s, const struct err *e)
{
	struct report report = {.severity = "FATAL", .sqlstate = e->sqlstate, .message = e->text};
	struct bytes message;

	if (s->state == SESSION_CLOSED)
		return;
	stats_error(s->worker->shared->stats, e->sqlstate);
	/* In the middle of a message of the server these bytes would be taken for its own. */
	if (s->down.passing == 0 && !s->down.raw) {
		bytes_init(&message, 64u * 1024);
		message_put_report(&message, &report);
		session_tell(s, &message);
		bytes_release(&message);
	}
	session_close(s, e->text);
}

void session_refuse(struct session *s, const char *sqlstate, const char *text)
{
	struct err e;

	err_set(&e, sqlstate, "%s", text);
	session_fail(s, &e);
}

static void client_readable(struct session *s)
{
	switch (s->state) {
	case SESSION_STARTUP:
		startup_read(s);
		break;
	case SESSION_PASSWORD:
	case SESSION_CONNECTING:
	case SESSION_LOGIN:
		login_read_client(s);
		break;
	case SESSION_RELAY:
		relay_read_client(s);
		break;
	case SESSION_CONSOLE:
		console_read_client(s);
		break;
	case SESSION_CANCEL:
	case SESSION_CLOSED:
		conn_want_read(s->client, false);
		break;
	}
}

static void on_client_event(void *owner, struct conn *c, enum conn_event event)
{
	struct session *s = owner;

	switch (event) {
	case CONN_READABLE:
		client_readable(s);
		relay_look_again(s, c);
		break;
	case CONN_SECURED:
		startup_secured(s);
		break;
	case CONN_DRAINED:
		if (s->state == SESSION_CONSOLE)
			console_go_on(s);
		else
			relay_update_reading(s);
		break;
	case CONN_FAILED:
		session_close(s, conn_error(c));
		break;
	case CONN_CONNECTED:
		break;
	}
}

static void on_login_timeout(void *arg)
{
	struct err e;

	err_set(&e, "08006", "the log-in took longer than client_login_timeout");
	session_fail(arg, &e);
}

static void add_to_worker(struct session *s)
{
	struct worker *w = s->worker;

	s->next = w->sessions;
	s->link = &w->sessions;
	if (s->next)
		s->next->link = &s->next;
	w->sessions = s;
}

static bool prepare(struct session *s, int fd)
{
	const struct config *config = &s->snapshot->config;
	size_t held = config->max_statement_size + HELD_SLACK;

	s->client = conn_new(s->worker->base, fd, on_client_event, s);
	s->timer = timer_new(s->worker->base, on_login_timeout, s);
	flow_init(&s->up, &relay_up_rules, held);
	flow_init(&s->down, &relay_down_rules, held);
	dialogue_init(&s->dialogue);
	bytes_init(&s->startup, STARTUP_MAX);
	bytes_init(&s->password, 65536);
	bytes_init(&s->key, 512);
	s->aside = config->aside;
	s->passed_before = UINT64_MAX;
	return s->client && s->timer;
}

void session_refuse_full(struct session *s)
{
	session_refuse(s, "53300", "no more connections allowed (max_client_conn)");
}

/* Somebody above the limit may still want to cancel: that is known when it has said so. As many
 * again may wait for that, as with PostgreSQL. */
static void look_if_full(struct session *s, unsigned clients)
{
	unsigned most = s->snapshot->config.max_client_conn;

	s->surplus = clients > most;
	if (clients > 2 * most)
		session_refuse_full(s);
}

void session_accept(struct worker *w, int fd, unsigned clients)
{
	const struct config *config = &w->snapshot->config;
	struct conn_tcp_options tcp = {config->tcp_keepalive, config->tcp_keepidle,
		config->tcp_keepintvl, config->tcp_keepcnt, config->tcp_user_timeout_ms};
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		atomic_fetch_sub(&w->shared->clients, 1);
		conn_free(conn_new(w->base, fd, NULL, NULL));
		return;
	}
	s->worker = w;
	s->snapshot = snapshot_hold(w->snapshot);
	s->id = atomic_fetch_add(&w->shared->last_session, 1) + 1;
	s->started_ms = timer_now_ms();
	add_to_worker(s);
	if (!prepare(s, fd)) {
		free_session(s);
		return;
	}
	conn_set_tcp_options(s->client, &tcp);
	s->seen.id = s->id;
	s->seen.up = &s->up.total;
	s->seen.down = &s->down.total;
	conn_peer(s->client, s->seen.client, sizeof(s->seen.client));
	stats_session_add(w->shared->stats, &s->seen);
	if (config->client_login_timeout_ms > 0)
		timer_start(s->timer, config->client_login_timeout_ms);
	look_if_full(s, clients);
}

static struct session *find(struct worker *w, uint64_t id)
{
	struct session *s = w->sessions;

	while (s && s->id != id)
		s = s->next;
	return s;
}

void session_cancel(struct worker *w, uint64_t id)
{
	struct session *s = find(w, id);

	if (s)
		gate_cancel(s);
}

void session_release_portal(struct worker *w, uint64_t id)
{
	struct session *s = find(w, id);

	if (s)
		gate_release_portal(s);
}

/* In a transaction, waiting for an answer, or logging in: it may finish within shutdown_timeout. */
static bool is_at_work(const struct session *s)
{
	switch (s->state) {
	case SESSION_STARTUP:
	case SESSION_PASSWORD:
		return timer_now_ms() - s->started_ms < SESSION_DRAIN_MS;
	case SESSION_CONNECTING:
	case SESSION_LOGIN:
	case SESSION_CANCEL:
		return true;
	case SESSION_RELAY:
		return gate_is_busy(s) || !dialogue_is_idle(&s->dialogue) ||
		       s->dialogue.status != 'I';
	case SESSION_CONSOLE:
	case SESSION_CLOSED:
		return false;
	}
	return false;
}

/* Nothing has passed since it was last asked. */
static bool was_silent(struct session *s)
{
	uint64_t passed = s->up.total + s->down.total;
	bool silent = s->passed_before == passed;

	s->passed_before = passed;
	return silent;
}

void session_look_again_all(struct worker *w)
{
	for (struct session *s = w->sessions; s; s = s->next) {
		conn_look_again(s->client);
		if (s->server)
			conn_look_again(s->server);
	}
}

void session_stop_all(struct worker *w, bool at_once)
{
	struct session *next;
	struct err e;

	err_set(&e, "57P01", "terminating connection due to administrator command");
	for (struct session *s = w->sessions; s; s = next) {
		next = s->next;
		if (at_once || (was_silent(s) && !is_at_work(s)))
			session_fail(s, &e);
	}
	if (at_once)
		aside_cancel_all(w);
}
