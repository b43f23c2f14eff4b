#include "conn.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"

#define FINISH_SECONDS 10
/* The owner bounds what it hands over by the water marks; this is only the last line. */
#define UNSENT_LIMIT ((size_t)1 << 31)

enum conn_state {
	CONN_CONNECTING,
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_FINISHING
};

struct conn {
	struct event read_event;
	struct event *write_event; /* owned: only while something waits to be sent */
	conn_event_fn on_event;
	void *owner;	     /* borrowed */
	SSL *ssl;	     /* owned, NULL without TLS */
	struct bytes unsent; /* owned */
	const char *error;   /* static text */
	int fd;		     /* owned */
	enum conn_state state;
	bool want_read;
	bool got_bytes; /* by the last read */
	bool peer_ended;
	bool ending; /* tell the peer of the end when all is sent */
	bool broken; /* the peer takes nothing any more */
	bool was_high;
};

static void tell(struct conn *c, enum conn_event event)
{
	if (c->on_event)
		c->on_event(c->owner, c, event);
}

static void on_writable(int fd, short what, void *arg);

static void stop_writing(struct conn *c)
{
	if (c->write_event)
		event_free(c->write_event);
	c->write_event = NULL;
}

/* False without memory. */
static bool want_write(struct conn *c)
{
	if (!c->write_event)
		c->write_event = event_new(event_get_base(&c->read_event), c->fd,
			EV_WRITE | EV_PERSIST | EV_ET, on_writable, c);
	return c->write_event && event_add(c->write_event, NULL) == 0;
}

static void fail(struct conn *c, const char *why)
{
	c->error = why;
	event_del(&c->read_event);
	stop_writing(c);
	tell(c, CONN_FAILED);
}

/* CONN_READABLE without the kernel's word, behind what else is due. */
static void read_once_more(struct conn *c)
{
	if (c->want_read && c->state == CONN_OPEN)
		event_active(&c->read_event, EV_READ, 0);
}

void conn_look_again(struct conn *c)
{
	if (c->got_bytes)
		read_once_more(c);
}

static void update_read(struct conn *c)
{
	if (c->want_read && c->state == CONN_OPEN)
		event_add(&c->read_event, NULL);
	else if (c->state == CONN_OPEN)
		event_del(&c->read_event);
}

void conn_want_read(struct conn *c, bool want)
{
	if (want == c->want_read)
		return;
	c->want_read = want;
	update_read(c);
	/* What TLS has decrypted already makes no socket readable. */
	if (c->ssl && SSL_has_pending(c->ssl))
		read_once_more(c);
}

static const char *tls_reason(struct conn *c)
{
	long verify = c->ssl ? SSL_get_verify_result(c->ssl) : X509_V_OK;
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	if (verify != X509_V_OK && SSL_get_verify_mode(c->ssl) != SSL_VERIFY_NONE)
		return X509_verify_cert_error_string(verify);
	return reason ? reason : "the peer closed the connection during the TLS handshake";
}

static void continue_handshake(struct conn *c)
{
	int result;
	int want;

	ERR_clear_error();
	result = SSL_do_handshake(c->ssl);
	if (result == 1) {
		c->state = CONN_OPEN;
		stop_writing(c);
		update_read(c);
		/* What came right behind the handshake has been told of already. */
		read_once_more(c);
		tell(c, CONN_SECURED);
		return;
	}
	want = SSL_get_error(c->ssl, result);
	if (want == SSL_ERROR_WANT_READ) {
		stop_writing(c);
		event_add(&c->read_event, NULL);
	} else if (want != SSL_ERROR_WANT_WRITE) {
		fail(c, tls_reason(c));
	} else if (!want_write(c)) {
		fail(c, "out of memory");
	}
}

static void finish_connect(struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error != 0) {
		fail(c, strerrordesc_np(error));
		return;
	}
	c->state = CONN_OPEN;
	stop_writing(c);
	update_read(c);
	tell(c, CONN_CONNECTED);
}

static void on_readable(int fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	if (what & EV_CLOSED)
		c->peer_ended = true;
	if (c->state == CONN_HANDSHAKE)
		continue_handshake(c);
	else
		tell(c, CONN_READABLE);
}

/* The owner hears of it when it reads. */
static void lose_unsent(struct conn *c)
{
	c->broken = true;
	bytes_release(&c->unsent);
	read_once_more(c);
}

/* One write. Returns how many bytes went, 0 when the socket is full, and marks the connection
 * broken when it is. */
static size_t write_some(struct conn *c, struct slice s)
{
	ssize_t n;
	size_t written = 0;

	if (!c->ssl) {
		do
			n = send(c->fd, s.data, s.len, MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN)
			lose_unsent(c);
		return n < 0 ? 0 : (size_t)n;
	}
	ERR_clear_error();
	if (SSL_write_ex(c->ssl, s.data, s.len, &written) != 1) {
		int want = SSL_get_error(c->ssl, 0);

		if (want != SSL_ERROR_WANT_WRITE && want != SSL_ERROR_WANT_READ)
			lose_unsent(c);
		return 0;
	}
	return written;
}

/* Writes until all is gone or the socket is full. Plain sockets get one call: short means full. */
static size_t write_all(struct conn *c, struct slice s)
{
	size_t done = 0;

	do {
		size_t n = write_some(c, slice_of(s.data + done, s.len - done));

		if (n == 0)
			break;
		done += n;
	} while (c->ssl && done < s.len);
	return done;
}

static void tell_end(struct conn *c)
{
	if (c->ssl)
		SSL_shutdown(c->ssl);
	else
		shutdown(c->fd, SHUT_WR);
}

void conn_end_sending(struct conn *c)
{
	if (c->ending)
		return;
	c->ending = true;
	if (bytes_length(&c->unsent) == 0)
		tell_end(c);
}

static void flush_unsent(struct conn *c)
{
	if (bytes_length(&c->unsent) > 0)
		bytes_consume(&c->unsent, write_all(c, bytes_view(&c->unsent)));
	if (bytes_length(&c->unsent) > 0)
		return;
	bytes_release(&c->unsent);
	stop_writing(c);
	if (c->ending)
		tell_end(c);
}

static void on_writable(int fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	switch (c->state) {
	case CONN_CONNECTING:
		finish_connect(c);
		return;
	case CONN_HANDSHAKE:
		continue_handshake(c);
		return;
	case CONN_FINISHING:
		flush_unsent(c);
		if (bytes_length(&c->unsent) == 0)
			conn_free(c);
		return;
	case CONN_OPEN:
		if (c->ssl)
			read_once_more(c);
		flush_unsent(c);
		if (c->was_high && bytes_length(&c->unsent) < CONN_LOW_WATER) {
			c->was_high = false;
			tell(c, CONN_DRAINED);
		}
		return;
	}
}

void conn_send(struct conn *c, struct slice s)
{
	size_t done = 0;

	if (c->broken || s.len == 0)
		return;
	if (bytes_length(&c->unsent) == 0)
		done = write_all(c, s);
	if (c->broken || done == s.len)
		return;
	bytes_put(&c->unsent, s.data + done, s.len - done);
	if (bytes_failed(&c->unsent) || !want_write(c)) {
		lose_unsent(c);
		shutdown(c->fd, SHUT_RDWR);
		return;
	}
	if (bytes_length(&c->unsent) > CONN_HIGH_WATER)
		c->was_high = true;
}

size_t conn_unsent(const struct conn *c)
{
	return bytes_length(&c->unsent);
}

/* Reads until there is no more, or no room. */
static enum conn_read_result read_tls(struct conn *c, uint8_t *buffer, size_t size, size_t *len)
{
	int want;

	ERR_clear_error();
	while (*len < size) {
		size_t n = 0;

		if (SSL_read_ex(c->ssl, buffer + *len, size - *len, &n) != 1)
			break;
		*len += n;
	}
	want = *len == size ? SSL_ERROR_NONE : SSL_get_error(c->ssl, 0);
	/* What TLS must send first (a key update) may have left bytes in the socket. */
	if (want == SSL_ERROR_WANT_WRITE && !want_write(c))
		lose_unsent(c);
	if (want == SSL_ERROR_WANT_READ || want == SSL_ERROR_WANT_WRITE)
		return *len > 0 ? CONN_READ_BYTES : CONN_READ_NOTHING;
	if (*len > 0) {
		read_once_more(c);
		return CONN_READ_BYTES;
	}
	c->error = want == SSL_ERROR_ZERO_RETURN ? "connection closed" : tls_reason(c);
	return want == SSL_ERROR_ZERO_RETURN ? CONN_READ_END : CONN_READ_ERROR;
}

static enum conn_read_result read_plain(struct conn *c, uint8_t *buffer, size_t size, size_t *len)
{
	ssize_t n;

	do
		n = recv(c->fd, buffer, size, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		*len = (size_t)n;
		if (*len == size || c->peer_ended || c->broken)
			read_once_more(c);
		return CONN_READ_BYTES;
	}
	if (n == 0) {
		c->error = "connection closed";
		return CONN_READ_END;
	}
	if (errno == EAGAIN)
		return CONN_READ_NOTHING;
	c->error = strerrordesc_np(errno);
	return CONN_READ_ERROR;
}

enum conn_read_result conn_read(struct conn *c, uint8_t *buffer, size_t size, size_t *len)
{
	enum conn_read_result r;

	*len = 0;
	r = c->ssl ? read_tls(c, buffer, size, len) : read_plain(c, buffer, size, len);
	c->got_bytes = r == CONN_READ_BYTES;
	return r;
}

struct conn *conn_new(struct event_base *base, int fd, conn_event_fn on_event, void *owner)
{
	struct conn *c = calloc(1, sizeof(*c));
	int on = 1;

	if (!c) {
		close(fd);
		return NULL;
	}
	c->fd = fd;
	c->on_event = on_event;
	c->owner = owner;
	c->state = CONN_OPEN;
	c->error = "";
	bytes_init(&c->unsent, UNSENT_LIMIT);
	event_assign(
		&c->read_event, base, fd, EV_READ | EV_CLOSED | EV_PERSIST | EV_ET, on_readable, c);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	conn_want_read(c, true);
	return c;
}

struct conn *conn_connect(struct event_base *base, const struct sockaddr *address,
	unsigned address_len, conn_event_fn on_event, void *owner, struct err *e)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct conn *c;

	if (fd < 0) {
		err_set(e, "08001", "%s", strerrordesc_np(errno));
		return NULL;
	}
	if (connect(fd, address, address_len) != 0 && errno != EINPROGRESS) {
		err_set(e, "08001", "%s", strerrordesc_np(errno));
		close(fd);
		return NULL;
	}
	c = conn_new(base, fd, on_event, owner);
	if (!c) {
		err_set(e, "53200", "out of memory");
		return NULL;
	}
	/* A socket is writable when the connection stands, also one that stood at once. */
	event_del(&c->read_event);
	c->state = CONN_CONNECTING;
	if (!want_write(c)) {
		conn_free(c);
		err_set(e, "53200", "out of memory");
		return NULL;
	}
	return c;
}

void conn_set_owner(struct conn *c, conn_event_fn on_event, void *owner)
{
	c->on_event = on_event;
	c->owner = owner;
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	event_del(&c->read_event);
	stop_writing(c);
	if (c->ssl && c->state != CONN_HANDSHAKE && !c->broken)
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	ERR_clear_error();
	bytes_release(&c->unsent);
	close(c->fd);
	free(c);
}

static void on_patience_over(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	conn_free(arg);
}

void conn_finish(struct conn *c)
{
	static const struct timeval patience = {.tv_sec = FINISH_SECONDS};

	if (!c)
		return;
	if (c->state != CONN_OPEN || bytes_length(&c->unsent) == 0) {
		conn_free(c);
		return;
	}
	c->on_event = NULL;
	event_del(&c->read_event);
	/* From here the read event is only the clock: a write that gets on does not set it back. */
	event_assign(&c->read_event, event_get_base(&c->read_event), -1, 0, on_patience_over, c);
	event_add(&c->read_event, &patience);
	c->state = CONN_FINISHING;
	want_write(c);
}

static bool attach_tls(struct conn *c, SSL_CTX *context)
{
	c->ssl = SSL_new(context);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) {
		fail(c, "TLS cannot be set up");
		return false;
	}
	c->state = CONN_HANDSHAKE;
	return true;
}

void conn_start_tls_server(struct conn *c, SSL_CTX *context)
{
	if (!attach_tls(c, context))
		return;
	SSL_set_accept_state(c->ssl);
	continue_handshake(c);
}

void conn_start_tls_client(
	struct conn *c, SSL_CTX *context, const char *server_name, const char *verify_name)
{
	if (!attach_tls(c, context))
		return;
	if (!tls_expect(c->ssl, server_name, verify_name)) {
		fail(c, "the host name cannot be verified");
		return;
	}
	SSL_set_connect_state(c->ssl);
	continue_handshake(c);
}

bool conn_is_tls(const struct conn *c)
{
	return c->ssl != NULL;
}

bool conn_has_alpn(const struct conn *c)
{
	return c->ssl && tls_has_alpn(c->ssl);
}

bool conn_same_certificate(const struct conn *client, const struct conn *server)
{
	return client->ssl && server->ssl && tls_same_certificate(client->ssl, server->ssl);
}

size_t conn_end_point(const struct conn *c, uint8_t out[TLS_END_POINT_MAX])
{
	return c->ssl ? tls_end_point(c->ssl, out) : 0;
}

int conn_peek(const struct conn *c)
{
	uint8_t byte;

	return recv(c->fd, &byte, 1, MSG_PEEK) == 1 ? byte : -1;
}

bool conn_is_broken(const struct conn *c)
{
	return c->broken;
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}

const char *conn_error(const struct conn *c)
{
	return c->error;
}

static void set_option(int fd, int level, int name, unsigned value)
{
	int v = (int)value;

	if (value > 0)
		setsockopt(fd, level, name, &v, sizeof(v));
}

void conn_set_tcp_options(struct conn *c, const struct conn_tcp_options *o)
{
	if (!o->keepalive)
		return;
	set_option(c->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, o->idle);
	set_option(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, o->interval);
	set_option(c->fd, IPPROTO_TCP, TCP_KEEPCNT, o->count);
	set_option(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, o->user_timeout_ms);
}
