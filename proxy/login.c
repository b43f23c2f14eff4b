/*
 * login.c - from the StartupMessage to AuthenticationOk.
 *
 * A server that asks for no password is shown only to local clients: pgaside lends its identity to
 * nobody.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"
#include "console.h"
#include "frame.h"
#include "log.h"
#include "login_state.h"
#include "message.h"
#include "scram.h"
#include "timer.h"

void login_free(struct login *l)
{
	if (!l)
		return;
	timer_free(l->timer);
	scram_free(l->scram);
	free(l);
}

bool login_allows_cleartext(struct session *s)
{
	if (s->snapshot->config.allow_cleartext == ALLOW_ALWAYS || conn_is_tls(s->client) ||
		conn_is_local(s->client))
		return true;
	session_refuse(s, "28000",
		"the password would be sent in clear, and this connection is neither TLS nor "
		"local: use sslmode=require, or set allow_cleartext = always");
	return false;
}

bool login_must_bind(const struct session *s)
{
	return strcmp(s->snapshot->upstream.channel_binding, "require") == 0;
}

bool login_must_not_bind(const struct session *s)
{
	return strcmp(s->snapshot->upstream.channel_binding, "disable") == 0;
}

void login_expect(struct session *s)
{
	s->login->due = true;
	/* A client that knew what was coming has sent it already. */
	if (bytes_length(&s->up.held) > 0)
		timer_start(s->login->timer, 0);
}

static bool may_log_in_without_password(const struct session *s)
{
	return s->snapshot->config.allow_passwordless == ALLOW_ALWAYS || s->login->answered ||
	       conn_is_local(s->client);
}

static void log_in_done(struct session *s)
{
	const struct config *config = &s->snapshot->config;
	char user[64], database[64], app[64], quoted[3][160];

	timer_free(s->timer);
	s->timer = NULL;
	/* Kept as long as the session. From here on others may look at the first. */
	bytes_fit(&s->startup);
	bytes_fit(&s->password);
	stats_session_login(s->worker->shared->stats, &s->seen, bytes_view(&s->startup),
		conn_is_tls(s->client));
	if (!config->log_connections)
		return;
	session_parameter(s, "user", user, sizeof(user));
	session_parameter(s, "database", database, sizeof(database));
	session_parameter(s, "application_name", app, sizeof(app));
	log_event(LOG_LEVEL_INFO, "connect",
		"session=%llu user=%s database=%s application_name=%s tls=%s server=\"%s:%s\"",
		(unsigned long long)s->id, log_quote(quoted[0], 160, user, (unsigned)strlen(user)),
		log_quote(quoted[1], 160, database, (unsigned)strlen(database)),
		log_quote(quoted[2], 160, app, (unsigned)strlen(app)),
		conn_is_tls(s->client) ? "yes" : "no", s->route.host->host, s->route.host->port);
}

static bool refuse_unbound(struct session *s)
{
	session_refuse(s, "28000",
		"channel binding is required (channel_binding of upstream), but the server's "
		"authentication goes without");
	return false;
}

static bool is_bound_as_wanted(struct session *s)
{
	return s->login->bound || !login_must_bind(s) || refuse_unbound(s);
}

/* Nothing is shown to a server that asks for what cannot be bound. */
static bool can_be_bound(struct session *s, uint32_t code)
{
	bool sasl = code == AUTHENTICATION_SASL || code == AUTHENTICATION_SASL_CONTINUE ||
		    code == AUTHENTICATION_SASL_FINAL;

	return sasl || !login_must_bind(s) || refuse_unbound(s);
}

static enum flow_action on_ok(struct session *s)
{
	if (s->login->due && !s->login->answered) {
		session_refuse(s, "08P01",
			"the server did not wait for the password that it had asked for");
		return FLOW_STOP;
	}
	if (!login_password_is_mutual(s) || !is_bound_as_wanted(s))
		return FLOW_STOP;
	if (!may_log_in_without_password(s)) {
		session_refuse(s, "28000",
			"the server asks pgaside for no password, and this client is not local: "
			"set "
			"allow_passwordless = always to let everybody in under pgaside's identity");
		return FLOW_STOP;
	}
	log_in_done(s);
	login_free(s->login);
	s->login = NULL;
	s->down.eager = false;
	session_enter(s, s->console ? SESSION_CONSOLE : SESSION_RELAY);
	return FLOW_PASS;
}

static enum flow_action on_authentication(struct session *s, struct slice body)
{
	uint32_t code;
	struct slice rest;

	if (!authentication_decode(body, &code, &rest)) {
		session_refuse(s, "08P01", "the server sent a malformed authentication request");
		return FLOW_STOP;
	}
	if (code == AUTHENTICATION_OK)
		return on_ok(s);
	if (!can_be_bound(s, code))
		return FLOW_STOP;
	return s->snapshot->config.auth == AUTH_RELAY ? login_relay_request(s, code, rest)
						      : login_password_request(s, code, rest);
}

enum flow_action login_server_message(struct session *s, uint8_t type, struct slice message)
{
	switch (type) {
	case 'R':
		return on_authentication(s, frame_body(message));
	case 'E':
		s->refused = true;
		return FLOW_PASS;
	case 'N':
	case 'v': /* NegotiateProtocolVersion */
		return FLOW_PASS;
	default:
		session_refuse(
			s, "08P01", "the server sent an unexpected message during the log-in");
		return FLOW_STOP;
	}
}

static void on_server_event(void *owner, struct conn *c, enum conn_event event)
{
	struct session *s = owner;

	switch (event) {
	case CONN_READABLE:
		relay_read_server(s);
		relay_look_again(s, c);
		break;
	case CONN_DRAINED:
		relay_update_reading(s);
		break;
	case CONN_CONNECTED:
	case CONN_SECURED:
	case CONN_FAILED:
		break;
	}
}

static void send_startup(struct session *s)
{
	struct bytes message;

	if (!s->console) {
		conn_send(s->server, bytes_view(&s->startup));
		return;
	}
	bytes_init(&message, STARTUP_MAX);
	console_put_startup(s, &message);
	conn_send(s->server, bytes_view(&message));
	bytes_release(&message);
}

static void on_connected(
	void *owner, struct conn *c, const struct upstream_route *route, const struct err *e)
{
	struct session *s = owner;
	char quoted[600];
	const struct config *config = &s->snapshot->config;
	struct conn_tcp_options tcp = {config->tcp_keepalive, config->tcp_keepidle,
		config->tcp_keepintvl, config->tcp_keepcnt, config->tcp_user_timeout_ms};

	s->connecting = NULL;
	if (!c) {
		log_event(LOG_LEVEL_ERROR, "upstream_unreachable", "session=%llu reason=%s",
			(unsigned long long)s->id,
			log_quote(quoted, sizeof(quoted), e->text, (unsigned)strlen(e->text)));
		session_fail(s, e);
		return;
	}
	s->server = c;
	s->route = *route;
	conn_set_owner(c, on_server_event, s);
	conn_set_tcp_options(c, &tcp);
	session_enter(s, SESSION_LOGIN);
	s->down.eager = true;
	send_startup(s);
}

void login_connect(struct session *s)
{
	session_enter(s, SESSION_CONNECTING);
	s->connecting = upstream_connect(s->worker, &s->snapshot->upstream,
		s->snapshot->config.server_connect_timeout_ms, on_connected, s);
	if (!s->connecting)
		session_refuse(s, "53200", "out of memory");
}

/* What PostgreSQL takes for true, in any case and cut as short as it allows; and "database". */
static bool is_true(struct slice value)
{
	static const struct {
		const char *word;
		size_t least;
	} words[] = {{"true", 1}, {"yes", 1}, {"on", 2}, {"1", 1}, {"database", 8}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (value.len >= words[i].least && value.len <= strlen(words[i].word) &&
			strncasecmp((const char *)value.data, words[i].word, value.len) == 0)
			return true;
	return false;
}

/* `options=-c pgaside.aside=off`: the server takes it as a placeholder, we as the switch. */
static bool switched_off(const struct session *s)
{
	static const char off[] = "pgaside.aside=off";
	struct slice options;

	return startup_parameter(bytes_view(&s->startup), "options", &options) &&
	       memmem(options.data, options.len, off, strlen(off));
}

static void take_answer(struct session *s);

/* A piece of SCRAM's work, or an answer that came before its time. */
static void on_timer(void *arg)
{
	struct login *l = arg;

	if (l->due)
		take_answer(l->session);
	else
		login_password_work(l);
}

void login_begin(struct session *s)
{
	struct slice replication;

	s->login = calloc(1, sizeof(*s->login));
	if (s->login)
		s->login->timer = timer_new(s->worker->base, on_timer, s->login);
	if (!s->login || !s->login->timer) {
		session_refuse(s, "53200", "out of memory");
		return;
	}
	s->login->session = s;
	s->replication = startup_parameter(bytes_view(&s->startup), "replication", &replication) &&
			 is_true(replication);
	if (s->replication || switched_off(s))
		s->aside = false;
	if (!s->replication && console_is_wanted(s) && !console_admit(s))
		return;
	if (s->snapshot->config.private_password[0]) {
		session_enter(s, SESSION_PASSWORD);
		login_password_ask(s);
	} else {
		login_connect(s);
	}
}

static void hand_over(struct session *s, struct slice message)
{
	s->login->due = false;
	s->login->answered = true;
	if (s->snapshot->config.auth == AUTH_RELAY)
		login_relay_answer(s, message);
	else
		login_password_answer(s, message);
}

/* The client's answer is due: takes it when it is whole. */
static void take_answer(struct session *s)
{
	struct slice held = bytes_view(&s->up.held);
	struct frame f;
	enum frame_status status = frame_peek(held.data, held.len, &f);

	/* As PostgreSQL: the length of something else is not waited for. */
	if (held.len > 0 && held.data[0] != 'p') {
		session_refuse(s, "08P01", "expected password response");
		return;
	}
	if (status == FRAME_PARTIAL)
		return;
	if (status == FRAME_BAD || f.size > LOGIN_ANSWER_MAX + 1) {
		session_refuse(s, "08P01", "invalid length of password response");
		return;
	}
	if (held.len < f.size)
		return;
	hand_over(s, slice_of(held.data, f.size));
	/* The bytes may hold the password: none of them stays in memory that is used again. */
	explicit_bzero(s->up.held.data + s->up.held.start, f.size);
	bytes_consume(&s->up.held, f.size);
	if (bytes_length(&s->up.held) == 0)
		bytes_wipe(&s->up.held);
}

void login_read_client(struct session *s)
{
	enum conn_read_result r = flow_read(&s->up, s, s->client, NULL, s->worker->buffer);

	if (r == CONN_READ_END || r == CONN_READ_ERROR) {
		session_close(s, "the client left during the log-in");
		return;
	}
	if (s->login->due)
		take_answer(s);
	else if (bytes_length(&s->up.held) > LOGIN_ANSWER_MAX + 1)
		session_refuse(s, "08P01", "too much data during the log-in");
}
