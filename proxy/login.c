/*
 * login.c - from the StartupMessage to AuthenticationOk, auth = password.
 *
 * The StartupMessage goes to the server as it is. What the server asks for (cleartext, MD5,
 * SCRAM-SHA-256), the client is asked for in clear, and pgaside answers the server (protocol
 * documentation, section "Start-up"). So it has the password that the connections of an aside need.
 * It is asked only where nobody can listen, and a server that asks for none is shown only to local
 * clients: pgaside lends its identity to nobody.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"
#include "frame.h"
#include "log.h"
#include "message.h"
#include "scram.h"
#include "session_state.h"
#include "timer.h"

#define PASSWORD_MAX 65535u /* bytes, as PostgreSQL has it */
/* Rounds of SCRAM's key derivation between two looks at other sessions: about a millisecond. */
#define SCRAM_ROUNDS 4096u

enum login_method {
	LOGIN_NONE,
	LOGIN_CLEARTEXT,
	LOGIN_MD5,
	LOGIN_SCRAM
};

struct login {
	struct session *session; /* borrowed */
	enum login_method method;
	bool asked;    /* the client was asked for its password */
	bool answered; /* and has shown it */
	uint8_t salt[4];
	struct scram *scram; /* owned */
	struct timer *timer; /* owned: the next piece of SCRAM's work */
};

void login_free(struct login *l)
{
	if (!l)
		return;
	timer_free(l->timer);
	scram_free(l->scram);
	free(l);
}

static void refuse(struct session *s, const char *sqlstate, const char *text)
{
	struct err e;

	err_set(&e, sqlstate, "%s", text);
	session_fail(s, &e);
}

static void send_server(struct session *s, struct bytes *message)
{
	if (bytes_failed(message))
		refuse(s, "53200", "out of memory");
	else
		conn_send(s->server, bytes_view(message));
	bytes_wipe(message);
}

static bool may_ask_in_clear(const struct session *s)
{
	return s->snapshot->config.allow_cleartext == ALLOW_ALWAYS || conn_is_tls(s->client) ||
	       conn_is_local(s->client);
}

static bool may_log_in_without_password(const struct session *s)
{
	return s->snapshot->config.allow_passwordless == ALLOW_ALWAYS || s->login->answered ||
	       conn_is_local(s->client);
}

static void expect_password(struct session *s);

static void ask_client(struct session *s)
{
	struct bytes message;

	if (!may_ask_in_clear(s)) {
		refuse(s, "28000",
			"pgaside asks for passwords in clear, and this connection is neither TLS "
			"nor "
			"local: use sslmode=require, or set allow_cleartext = always");
		return;
	}
	s->login->asked = true;
	bytes_init(&message, 64);
	message_put_authentication(&message, AUTHENTICATION_CLEARTEXT);
	session_tell(s, &message);
	bytes_release(&message);
	/* A client that knew what was coming has sent it already. */
	if (bytes_length(&s->up.held) > 0)
		timer_start(s->login->timer, 0);
}

static struct slice user_of(const struct session *s)
{
	struct slice user = {0};

	startup_parameter(bytes_view(&s->startup), "user", &user);
	return user;
}

static void answer_md5(struct session *s)
{
	char hash[SCRAM_MD5_SIZE];
	struct bytes message;
	struct err e;

	if (!scram_md5_response(user_of(s), bytes_view(&s->password),
		    slice_of(s->login->salt, sizeof(s->login->salt)), hash, &e)) {
		session_fail(s, &e);
		return;
	}
	bytes_init(&message, 256);
	message_put_password(&message, slice_str(hash));
	send_server(s, &message);
}

static void answer_cleartext(struct session *s)
{
	struct bytes message;

	bytes_init(&message, PASSWORD_MAX + 64);
	message_put_password(&message, bytes_view(&s->password));
	send_server(s, &message);
}

static bool scram_begin(struct session *s, struct bytes *first, struct err *e)
{
	char nonce[SCRAM_NONCE_SIZE];

	if (!scram_nonce(nonce, e))
		return false;
	scram_free(s->login->scram);
	/* As libpq does: the user is the StartupMessage's, the one in here stays empty. */
	s->login->scram = scram_new(slice_str(""), bytes_view(&s->password), nonce, e);
	return s->login->scram && scram_client_first(s->login->scram, first, e);
}

static void answer_scram(struct session *s)
{
	struct bytes first, message;
	struct err e;

	bytes_init(&first, SCRAM_MAX_MESSAGE);
	bytes_init(&message, SCRAM_MAX_MESSAGE + 64);
	if (scram_begin(s, &first, &e)) {
		message_put_sasl_initial(&message, SCRAM_MECHANISM, bytes_view(&first));
		send_server(s, &message);
	} else {
		session_fail(s, &e);
	}
	bytes_wipe(&first);
}

static void answer_server(struct session *s)
{
	switch (s->login->method) {
	case LOGIN_CLEARTEXT:
		answer_cleartext(s);
		break;
	case LOGIN_MD5:
		answer_md5(s);
		break;
	case LOGIN_SCRAM:
		answer_scram(s);
		break;
	case LOGIN_NONE:
		break;
	}
}

/* The server wants a password: from the client, if it has not shown one yet. */
static void need_password(struct session *s, enum login_method method)
{
	if (s->login->method != LOGIN_NONE) {
		refuse(s, "08P01", "the server asked for a second authentication");
		return;
	}
	s->login->method = method;
	if (!s->login->answered)
		ask_client(s);
	else if (bytes_length(&s->password) > 0)
		answer_server(s);
	else
		refuse(s, "28P01",
			"the server asks for a password, and the upstream's URL (or PGPASSWORD) "
			"has none");
}

static void on_sasl(struct session *s, struct slice mechanisms)
{
	struct cursor c = cursor_over(mechanisms);

	for (;;) {
		struct slice name = cursor_cstr(&c);

		if (c.failed || name.len == 0)
			break;
		if (slice_is(name, SCRAM_MECHANISM)) {
			need_password(s, LOGIN_SCRAM);
			return;
		}
	}
	refuse(s, "08P01",
		"the server offers no authentication that pgaside knows (SCRAM-SHA-256)");
}

static void send_scram_final(struct session *s)
{
	struct bytes final, message;
	struct err e;

	bytes_init(&final, SCRAM_MAX_MESSAGE);
	bytes_init(&message, SCRAM_MAX_MESSAGE + 64);
	if (scram_client_final(s->login->scram, &final, &e)) {
		message_put_sasl_response(&message, bytes_view(&final));
		send_server(s, &message);
	} else {
		session_fail(s, &e);
	}
	bytes_wipe(&final);
}

static void work_on_scram(struct login *l)
{
	if (scram_work(l->scram, SCRAM_ROUNDS))
		send_scram_final(l->session);
	else
		timer_start(l->timer, 0);
}

static void on_sasl_continue(struct session *s, struct slice data)
{
	struct err e;

	if (!s->login->scram)
		refuse(s, "08P01", "the server answered a SASL exchange that was not begun");
	else if (scram_server_first(s->login->scram, data, &e))
		work_on_scram(s->login);
	else
		session_fail(s, &e);
}

static void on_sasl_final(struct session *s, struct slice data)
{
	struct err e;

	if (!s->login->scram)
		refuse(s, "08P01", "the server answered a SASL exchange that was not begun");
	else if (!scram_server_final(s->login->scram, data, &e))
		session_fail(s, &e);
}

static void log_in_done(struct session *s)
{
	const struct config *config = &s->snapshot->config;
	char user[64], database[64], app[64], quoted[3][160];

	timer_stop(s->timer);
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

static enum flow_action on_ok(struct session *s)
{
	if (s->login->asked && !s->login->answered) {
		refuse(s, "08P01",
			"the server did not wait for the password that it had asked for");
		return FLOW_STOP;
	}
	if (s->login->method == LOGIN_SCRAM &&
		!(s->login->scram && scram_is_done(s->login->scram))) {
		refuse(s, "28000",
			"the server ended the SCRAM exchange without proving that it knows the "
			"password");
		return FLOW_STOP;
	}
	if (!may_log_in_without_password(s)) {
		refuse(s, "28000",
			"the server asks pgaside for no password, and this client is not local: "
			"set "
			"allow_passwordless = always to let everybody in under pgaside's identity");
		return FLOW_STOP;
	}
	log_in_done(s);
	login_free(s->login);
	s->login = NULL;
	s->down.eager = false;
	session_enter(s, SESSION_RELAY);
	return FLOW_PASS;
}

static enum flow_action on_authentication(struct session *s, struct slice body)
{
	uint32_t code;
	struct slice rest;

	if (!authentication_decode(body, &code, &rest)) {
		refuse(s, "08P01", "the server sent a malformed authentication request");
		return FLOW_STOP;
	}
	switch (code) {
	case AUTHENTICATION_OK:
		return on_ok(s);
	case AUTHENTICATION_CLEARTEXT:
		need_password(s, LOGIN_CLEARTEXT);
		return FLOW_DROP;
	case AUTHENTICATION_MD5:
		if (rest.len == sizeof(s->login->salt)) {
			memcpy(s->login->salt, rest.data, rest.len);
			need_password(s, LOGIN_MD5);
			return FLOW_DROP;
		}
		break;
	case AUTHENTICATION_SASL:
		on_sasl(s, rest);
		return FLOW_DROP;
	case AUTHENTICATION_SASL_CONTINUE:
		on_sasl_continue(s, rest);
		return FLOW_DROP;
	case AUTHENTICATION_SASL_FINAL:
		on_sasl_final(s, rest);
		return FLOW_DROP;
	default:
		break;
	}
	refuse(s, "08P01",
		"the server asks for an authentication that pgaside does not know (GSSAPI, SSPI)");
	return FLOW_STOP;
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
		refuse(s, "08P01", "the server sent an unexpected message during the log-in");
		return FLOW_STOP;
	}
}

static void on_server_event(void *owner, struct conn *c, enum conn_event event)
{
	struct session *s = owner;

	(void)c;
	switch (event) {
	case CONN_READABLE:
		relay_read_server(s);
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
	conn_send(c, bytes_view(&s->startup));
}

static void connect_server(struct session *s)
{
	session_enter(s, SESSION_CONNECTING);
	s->connecting = upstream_connect(s->worker, &s->snapshot->upstream,
		s->snapshot->config.server_connect_timeout_ms, on_connected, s);
	if (!s->connecting)
		refuse(s, "53200", "out of memory");
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
	char options[1024];

	session_parameter(s, "options", options, sizeof(options));
	return strstr(options, "pgaside.aside=off") != NULL;
}

/* What is better done from the loop: a piece of SCRAM's work, or a password that came before its
 * time. */
static void on_timer(void *arg)
{
	struct login *l = arg;

	if (l->asked && !l->answered)
		expect_password(l->session);
	else if (l->scram)
		work_on_scram(l);
}

void login_begin(struct session *s)
{
	struct slice replication;

	s->login = calloc(1, sizeof(*s->login));
	if (s->login)
		s->login->timer = timer_new(s->worker->base, on_timer, s->login);
	if (!s->login || !s->login->timer) {
		refuse(s, "53200", "out of memory");
		return;
	}
	s->login->session = s;
	s->replication = startup_parameter(bytes_view(&s->startup), "replication", &replication) &&
			 is_true(replication);
	if (s->replication || switched_off(s))
		s->aside = false;
	if (s->snapshot->config.private_password[0]) {
		session_enter(s, SESSION_PASSWORD);
		ask_client(s);
	} else {
		connect_server(s);
	}
}

static bool same_secret(struct slice shown, const char *expected)
{
	size_t len = strlen(expected);
	unsigned difference = shown.len != len;

	for (size_t i = 0; i < shown.len; i++)
		difference |= (unsigned)shown.data[i] ^ (unsigned char)expected[len ? i % len : 0];
	return difference == 0;
}

static void check_private_password(struct session *s)
{
	const struct config *config = &s->snapshot->config;
	char user[64];
	struct err e;

	if (!same_secret(bytes_view(&s->password), config->private_password)) {
		session_parameter(s, "user", user, sizeof(user));
		err_set(&e, "28P01",
			"password authentication failed for user \"%s\" at pgaside's private port: "
			"it lets in only who has the rewritten DATABASE_URL",
			user);
		session_fail(s, &e);
		return;
	}
	bytes_wipe(&s->password);
	bytes_put(&s->password, config->server_password, strlen(config->server_password));
	connect_server(s);
}

static bool take_password(struct session *s, struct slice message)
{
	struct cursor c = cursor_over(frame_body(message));
	struct slice password = cursor_cstr(&c);

	if (message.data[0] != 'p' || !cursor_done(&c)) {
		refuse(s, "08P01", "expected password response");
		return false;
	}
	bytes_wipe(&s->password);
	bytes_put_slice(&s->password, password);
	s->login->answered = true;
	if (bytes_failed(&s->password))
		refuse(s, "08P01", "the password is too long");
	else if (password.len == 0)
		refuse(s, "28P01", "empty password returned by client");
	return s->state != SESSION_CLOSED;
}

/* The password is due: takes it when it is whole. */
static void expect_password(struct session *s)
{
	struct slice held = bytes_view(&s->up.held);
	struct frame f;
	enum frame_status status = frame_peek(held.data, held.len, &f);
	bool ok;

	if (status == FRAME_PARTIAL)
		return;
	if (status == FRAME_BAD || f.size > PASSWORD_MAX + FRAME_HEADER) {
		refuse(s, "08P01", "invalid length of password response");
		return;
	}
	if (held.len < f.size)
		return;
	ok = take_password(s, slice_of(held.data, f.size));
	/* The bytes hold the password: none of them stays in memory that is used again. */
	explicit_bzero(s->up.held.data + s->up.held.start, f.size);
	bytes_consume(&s->up.held, f.size);
	if (bytes_length(&s->up.held) == 0)
		bytes_wipe(&s->up.held);
	if (!ok)
		return;
	if (s->state == SESSION_PASSWORD)
		check_private_password(s);
	else
		answer_server(s);
}

void login_read_client(struct session *s)
{
	enum conn_read_result r = flow_read(&s->up, s, s->client, NULL, s->worker->buffer);

	if (r == CONN_READ_END || r == CONN_READ_ERROR) {
		session_close(s, "the client left during the log-in");
		return;
	}
	if (s->login->asked && !s->login->answered)
		expect_password(s);
	else if (bytes_length(&s->up.held) > PASSWORD_MAX)
		refuse(s, "08P01", "too much data during the log-in");
}
