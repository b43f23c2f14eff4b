/*
 * login_password.c - auth = password: pgaside asks the client, and answers the server.
 *
 * What the server asks for (cleartext, MD5, SCRAM-SHA-256), the client is asked for in clear, and
 * pgaside answers the server (protocol documentation, section "Start-up"). So it has the password
 * that the connections of an aside need. It is asked only where nobody can listen.
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "frame.h"
#include "login_state.h"
#include "message.h"
#include "scram.h"
#include "timer.h"

/* Rounds of SCRAM's key derivation between two looks at other sessions: about a millisecond. */
#define SCRAM_ROUNDS 4096u

static void send_server(struct session *s, struct bytes *message)
{
	if (bytes_failed(message))
		session_refuse(s, "53200", "out of memory");
	else
		conn_send(s->server, bytes_view(message));
	bytes_wipe(message);
}

void login_password_ask(struct session *s)
{
	struct bytes message;

	if (!login_allows_cleartext(s))
		return;
	bytes_init(&message, 64);
	message_put_authentication(&message, AUTHENTICATION_CLEARTEXT);
	session_tell(s, &message);
	bytes_release(&message);
	login_expect(s);
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

	bytes_init(&message, LOGIN_ANSWER_MAX + 64);
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
	if (!s->login->scram)
		return false;
	scram_bind(s->login->scram, s->login->binding,
		slice_of(s->login->end_point, s->login->end_point_len));
	return scram_client_first(s->login->scram, first, e);
}

static void answer_scram(struct session *s)
{
	struct bytes first, message;
	struct err e;

	bytes_init(&first, SCRAM_MAX_MESSAGE);
	bytes_init(&message, SCRAM_MAX_MESSAGE + 64);
	if (scram_begin(s, &first, &e)) {
		message_put_sasl_initial(&message,
			s->login->bound ? SCRAM_MECHANISM_PLUS : SCRAM_MECHANISM,
			bytes_view(&first));
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
		session_refuse(s, "08P01", "the server asked for a second authentication");
		return;
	}
	s->login->method = method;
	if (!s->login->answered)
		login_password_ask(s);
	else if (bytes_length(&s->password) > 0)
		answer_server(s);
	else
		session_refuse(s, "28P01",
			"the server asks for a password, and the upstream's URL (or PGPASSWORD) "
			"has none");
}

/* As libpq: bound to the server's certificate where both can. */
static void choose_binding(struct session *s, bool offered)
{
	struct login *l = s->login;

	l->binding = SCRAM_UNBOUND;
	l->end_point_len = 0;
	if (login_must_not_bind(s))
		return;
	if (offered)
		l->end_point_len = conn_end_point(s->server, l->end_point);
	if (l->end_point_len > 0)
		l->binding = SCRAM_BOUND;
	else if (!offered && conn_is_tls(s->server))
		l->binding = SCRAM_NOT_OFFERED;
}

static void on_sasl(struct session *s, struct slice mechanisms)
{
	choose_binding(s, sasl_offers(mechanisms, SCRAM_MECHANISM_PLUS));
	s->login->bound = s->login->binding == SCRAM_BOUND;
	if (!s->login->bound && !sasl_offers(mechanisms, SCRAM_MECHANISM))
		session_refuse(s, "08P01",
			"the server offers no authentication that pgaside knows (SCRAM-SHA-256)");
	else if (!s->login->bound && login_must_bind(s))
		session_refuse(s, "28000",
			"channel binding is required (channel_binding of upstream), and the "
			"server does not offer it");
	else
		need_password(s, LOGIN_SCRAM);
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

void login_password_work(struct login *l)
{
	if (!l->scram)
		return;
	if (scram_work(l->scram, SCRAM_ROUNDS))
		send_scram_final(l->session);
	else
		timer_start(l->timer, 0);
}

static void on_sasl_continue(struct session *s, struct slice data)
{
	struct err e;

	if (!s->login->scram)
		session_refuse(
			s, "08P01", "the server answered a SASL exchange that was not begun");
	else if (scram_server_first(s->login->scram, data, &e))
		login_password_work(s->login);
	else
		session_fail(s, &e);
}

static void on_sasl_final(struct session *s, struct slice data)
{
	struct err e;

	if (!s->login->scram)
		session_refuse(
			s, "08P01", "the server answered a SASL exchange that was not begun");
	else if (!scram_server_final(s->login->scram, data, &e))
		session_fail(s, &e);
}

enum flow_action login_password_request(struct session *s, uint32_t code, struct slice rest)
{
	switch (code) {
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
	session_refuse(s, "08P01",
		"the server asks for an authentication that pgaside does not know (GSSAPI, SSPI)");
	return FLOW_STOP;
}

bool login_password_is_mutual(struct session *s)
{
	if (s->login->method != LOGIN_SCRAM || (s->login->scram && scram_is_done(s->login->scram)))
		return true;
	session_refuse(s, "28000",
		"the server ended the SCRAM exchange without proving that it knows the password");
	return false;
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
	login_connect(s);
}

static bool take_password(struct session *s, struct slice message)
{
	struct cursor c = cursor_over(frame_body(message));
	struct slice password = cursor_cstr(&c);

	if (!cursor_done(&c)) {
		session_refuse(s, "08P01", "expected password response");
		return false;
	}
	bytes_wipe(&s->password);
	bytes_put_slice(&s->password, password);
	s->login->answered = true;
	if (bytes_failed(&s->password))
		session_refuse(s, "08P01", "the password is too long");
	else if (password.len == 0)
		session_refuse(s, "28P01", "empty password returned by client");
	return s->state != SESSION_CLOSED;
}

void login_password_answer(struct session *s, struct slice message)
{
	if (!take_password(s, message))
		return;
	if (s->state == SESSION_PASSWORD)
		check_private_password(s);
	else
		answer_server(s);
}
