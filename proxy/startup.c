/*
 * startup.c - the first packets of a client (protocol documentation, sections "Start-up",
 * "Canceling Requests in Progress", "SSL Session Encryption").
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "message.h"
#include "log.h"
#include "registry.h"
#include "session_state.h"

static void answer_byte(struct session *s, char byte)
{
	conn_send(s->client, slice_of(&byte, 1));
}

/*
 * Whoever sent bytes behind a request for encryption without waiting for the answer wants them to
 * be taken for encrypted ones (CVE-2021-23214): that ends the connection.
 */
static bool nothing_follows(struct session *s, const char *request)
{
	struct err e;

	if (bytes_length(&s->up.held) == 0)
		return true;
	err_set(&e, "08P01", "received unencrypted data after %s request", request);
	session_fail(s, &e);
	return false;
}

#define SEEN_SSL 1u
#define SEEN_GSSENC 2u
#define SEEN_DIRECT 4u /* TLS without a request */

static bool first_of_its_kind(struct session *s, unsigned seen)
{
	if (!(s->tls_requests & seen) && !conn_is_tls(s->client)) {
		s->tls_requests |= seen;
		return true;
	}
	session_refuse(s, "08P01", "the client asked twice for an encrypted connection");
	return false;
}

/* As with PostgreSQL: nobody listens at a unix socket, so there is no TLS over it. */
static bool offers_tls(const struct session *s)
{
	return s->snapshot->client_tls && !conn_is_unix(s->client);
}

static void on_ssl_request(struct session *s)
{
	if (!first_of_its_kind(s, SEEN_SSL) || !nothing_follows(s, "SSL"))
		return;
	if (!offers_tls(s)) {
		answer_byte(s, 'N');
		return;
	}
	answer_byte(s, 'S');
	conn_start_tls_server(s->client, s->snapshot->client_tls);
}

#define TLS_HANDSHAKE 0x16 /* the first byte of a ClientHello, and of no startup packet */

/* A client of PostgreSQL 17 or newer may begin with TLS, without asking (sslnegotiation=direct). */
static bool begins_with_tls(struct session *s)
{
	if (s->up.total > 0 || s->tls_requests || !offers_tls(s) ||
		conn_peek(s->client) != TLS_HANDSHAKE)
		return false;
	s->tls_requests = SEEN_SSL | SEEN_DIRECT;
	conn_start_tls_server(s->client, s->snapshot->client_tls);
	return true;
}

static void on_gssenc_request(struct session *s)
{
	if (first_of_its_kind(s, SEEN_GSSENC) && nothing_follows(s, "GSSAPI encryption"))
		answer_byte(s, 'N');
}

/*
 * The server closes when it has told the process; only then the client's connection is closed. What
 * the client asks for afterwards is thus not hit by a cancel that is still on its way, as it is
 * directly.
 */
static void on_cancel_event(void *owner, struct conn *c, enum conn_event event)
{
	struct session *s = owner;
	uint8_t ignored[64];
	size_t len;

	if (event != CONN_READABLE)
		return;
	switch (conn_read(c, ignored, sizeof(ignored), &len)) {
	case CONN_READ_BYTES:
	case CONN_READ_NOTHING:
		conn_look_again(c);
		break;
	case CONN_READ_END:
	case CONN_READ_ERROR:
		session_close(s, "cancel request passed on");
		break;
	}
}

static void on_cancel_connected(
	void *owner, struct conn *c, const struct upstream_route *route, const struct err *e)
{
	struct session *s = owner;
	char quoted[600];

	(void)route;
	s->connecting = NULL;
	if (c) {
		s->server = c;
		conn_set_owner(c, on_cancel_event, s);
		conn_send(c, bytes_view(&s->startup));
		return;
	}
	log_event(LOG_LEVEL_WARNING, "cancel_lost", "session=%llu reason=%s",
		(unsigned long long)s->id,
		log_quote(quoted, sizeof(quoted), e->text, (unsigned)strlen(e->text)));
	session_close(s, "cancel request could not be passed on");
}

/* To the server of the session whose key it was, which may be another than new sessions get; a key
 * that is nobody's here goes where they go. */
static void pass_cancel_on(struct session *s, const struct registry_server *server)
{
	unsigned timeout_ms = s->snapshot->config.server_connect_timeout_ms;

	if (server->snapshot) {
		snapshot_release(s->snapshot);
		s->snapshot = server->snapshot;
		s->connecting = upstream_connect_again(s->worker, &s->snapshot->upstream,
			&server->route, timeout_ms, on_cancel_connected, s);
	} else {
		s->connecting = upstream_connect(
			s->worker, &s->snapshot->upstream, timeout_ms, on_cancel_connected, s);
	}
	if (!s->connecting)
		session_close(s, "out of memory");
}

static void hand_over(struct session *s, struct worker *owner, const struct worker_message *m)
{
	stats_count(s->worker->shared->stats, STATS_CANCELS);
	if (owner == s->worker)
		session_cancel(owner, m->session);
	else if (!worker_post(owner, m))
		log_event(LOG_LEVEL_WARNING, "cancel_lost",
			"session=%llu reason=\"too many requests at once\"",
			(unsigned long long)s->id);
}

/*
 * The session whose key this is decides: it may be running an aside, which the server knows nothing
 * of. The server gets the request in any case, for a statement that is running there; with the
 * client waiting for an aside it runs none.
 */
static void on_cancel_request(struct session *s, struct slice packet)
{
	struct backend_key key;
	struct worker_message m = {.kind = WORKER_CANCEL};
	struct registry_server server = {0};
	struct worker *owner;

	session_enter(s, SESSION_CANCEL);
	bytes_put_slice(&s->startup, packet);
	if (backend_key_decode(slice_of(packet.data + 8, packet.len - 8), &key) &&
		registry_find(s->worker->shared->registry, &key, &owner, &m.session, &server))
		hand_over(s, owner, &m);
	pass_cancel_on(s, &server);
}

static void on_startup_message(struct session *s, struct slice packet)
{
	if (!startup_is_well_formed(packet)) {
		session_refuse(s, "08P01",
			"invalid startup packet layout: expected terminator as last byte");
		return;
	}
	if (s->snapshot->config.client_tls_sslmode >= CLIENT_TLS_REQUIRE && offers_tls(s) &&
		!conn_is_tls(s->client)) {
		session_refuse(s, "28000", "this port requires TLS (client_tls_sslmode)");
		return;
	}
	if (s->surplus) {
		session_refuse_full(s);
		return;
	}
	bytes_put_slice(&s->startup, packet);
	login_begin(s);
}

/* Returns false when no further packet is to be looked for. */
static bool take_packet(struct session *s)
{
	struct slice held = bytes_view(&s->up.held);
	struct bytes copy;
	struct slice packet;
	size_t size = 0;
	enum startup_kind kind = startup_peek(held, &size);

	if (kind == STARTUP_PARTIAL)
		return false;
	if (kind == STARTUP_BAD) {
		session_refuse(s, "08P01", "invalid length or protocol version of startup packet");
		return false;
	}
	bytes_init(&copy, STARTUP_MAX);
	bytes_put_slice(&copy, slice_of(held.data, size));
	bytes_consume(&s->up.held, size);
	packet = bytes_view(&copy);
	if (bytes_failed(&copy))
		session_refuse(s, "53200", "out of memory");
	else if (kind == STARTUP_SSL)
		on_ssl_request(s);
	else if (kind == STARTUP_GSSENC)
		on_gssenc_request(s);
	else if (kind == STARTUP_CANCEL)
		on_cancel_request(s, packet);
	else
		on_startup_message(s, packet);
	bytes_release(&copy);
	return s->state == SESSION_STARTUP;
}

void startup_read(struct session *s)
{
	enum conn_read_result r;

	if (begins_with_tls(s))
		return;
	r = flow_read(&s->up, s, s->client, NULL, s->worker->buffer);
	if (r == CONN_READ_END || r == CONN_READ_ERROR) {
		session_close(s, "the client left before it logged in");
		return;
	}
	while (take_packet(s))
		continue;
}

void startup_secured(struct session *s)
{
	/* Everything from here comes out of the TLS layer; what was read before was checked to be
	 * nothing. */
	bytes_release(&s->up.held);
	/* Without it, another protocol's client could be led here (section "SSL Session
	 * Encryption"). */
	if ((s->tls_requests & SEEN_DIRECT) && !conn_has_alpn(s->client))
		session_refuse(s, "08P01",
			"received direct SSL connection request without ALPN protocol negotiation "
			"extension");
}
