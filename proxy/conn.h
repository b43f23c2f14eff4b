/*
 * conn.h - one socket, plain or TLS, on a worker's event loop.
 *
 * Knows bytes and readiness, nothing of messages. Reading is the owner's act: conn_read() once for
 * each CONN_READABLE. The kernel is asked for edges, not for levels: it tells once of what has
 * come, so that an event costs one look at the socket instead of two. conn_read() asks for another
 * CONN_READABLE wherever more may be there; conn_look_again() has the one case left. Sending never
 * blocks and never fails to the caller: what the socket does not take is kept and sent when it can
 * be; when the peer is gone it is dropped, and the owner hears of that when it reads. An idle
 * connection owns no buffer.
 *
 * A conn belongs to one thread. conn_free() and conn_finish() may be called from inside its own
 * event.
 */
#ifndef PGASIDE_CONN_H
#define PGASIDE_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "slice.h"
#include "tls.h"

struct conn;
struct event_base;
struct sockaddr;
struct ssl_ctx_st;

enum conn_event {
	CONN_CONNECTED, /* conn_connect() has succeeded */
	CONN_SECURED,	/* the TLS handshake is done */
	CONN_READABLE,	/* bytes, the end or an error: conn_read() tells */
	CONN_DRAINED,	/* less than CONN_LOW_WATER is left to send */
	CONN_FAILED,	/* connecting or the handshake failed: conn_error() tells why */
};

typedef void (*conn_event_fn)(void *owner, struct conn *c, enum conn_event event);

/* A peer with more than this unsent gets nothing new; under LOW it gets more. Bytes. */
#define CONN_HIGH_WATER (256u * 1024u)
#define CONN_LOW_WATER (64u * 1024u)

/* Takes over a connected, non-blocking socket. NULL without memory (the socket is closed then). */
struct conn *conn_new(struct event_base *base, int fd, conn_event_fn on_event, void *owner);
/*
 * Begins to connect a new socket to `address`. NULL with `e` filled when that fails at once; else
 * CONN_CONNECTED or CONN_FAILED follows.
 */
struct conn *conn_connect(struct event_base *base, const struct sockaddr *address,
	unsigned address_len, conn_event_fn on_event, void *owner, struct err *e);
/* Another owner for the events from here on. */
void conn_set_owner(struct conn *c, conn_event_fn on_event, void *owner);
/* Closes at once; what is unsent is lost. Takes NULL. */
void conn_free(struct conn *c);
/* Sends what is unsent, then closes by itself, after ten seconds in any case. No event comes any
 * more. Takes NULL. */
void conn_finish(struct conn *c);

/*
 * Begins a TLS handshake as server or, with `verify_name` ("" = any) to be found in the
 * certificate, as client. CONN_SECURED or CONN_FAILED follows. Nothing that was read before may be
 * used after.
 */
void conn_start_tls_server(struct conn *c, struct ssl_ctx_st *context);
void conn_start_tls_client(struct conn *c, struct ssl_ctx_st *context, const char *server_name,
	const char *verify_name);
bool conn_is_tls(const struct conn *c);
/* Both sides have agreed in the handshake that this is PostgreSQL's protocol. */
bool conn_has_alpn(const struct conn *c);
/* Both are TLS, and what `client` sees is the certificate that `server` has shown. */
bool conn_same_certificate(const struct conn *client, const struct conn *server);
/* What channel binding binds to: the hash of the peer's certificate. Returns its length, 0 when
 * there is none. */
size_t conn_end_point(const struct conn *c, uint8_t out[TLS_END_POINT_MAX]);
/* The first byte that is there, which stays there; -1 when there is none. Not with TLS. */
int conn_peek(const struct conn *c);

enum conn_read_result {
	CONN_READ_BYTES,
	CONN_READ_NOTHING,
	CONN_READ_END,
	CONN_READ_ERROR
};

/* One read of up to `size` bytes. Fewer than `size` means that there was no more; NOTHING and the
 * rest leave `*len` 0. */
enum conn_read_result conn_read(struct conn *c, uint8_t *buffer, size_t size, size_t *len);
/*
 * CONN_READABLE once more if the last read got bytes. To be called after each CONN_READABLE, at
 * once or a while later: a reset right behind the last bytes is told of with them, as if it were
 * more bytes, and is seen only by reading or sending once more. No harm where nothing has been
 * read, or reading is not wanted.
 */
void conn_look_again(struct conn *c);
/* Whether CONN_READABLE is wanted; true at first. */
void conn_want_read(struct conn *c, bool want);
/* Sends, or keeps a copy. */
void conn_send(struct conn *c, struct slice bytes);
/* Nothing more will be sent: tells the peer so, behind what is unsent. It may still be read from.
 */
void conn_end_sending(struct conn *c);
/* Bytes not sent yet. */
size_t conn_unsent(const struct conn *c);

/* The peer takes nothing any more: what is sent is dropped. */
bool conn_is_broken(const struct conn *c);

bool conn_is_unix(const struct conn *c);
/* Loopback address or unix socket. */
bool conn_is_local(const struct conn *c);
/* The peer's address and port, "unix" for a unix socket, "" when it is not known. Returns `out`. */
const char *conn_peer(const struct conn *c, char *out, size_t size);
int conn_fd(const struct conn *c);
/* Why the last operation failed, in words. */
const char *conn_error(const struct conn *c);

/* Keepalive of a TCP socket; seconds, 0 = the system's value. */
struct conn_tcp_options {
	bool keepalive;
	unsigned idle, interval, count;
	unsigned user_timeout_ms;
};
/* Options that cannot be set are left as they are. */
void conn_set_tcp_options(struct conn *c, const struct conn_tcp_options *o);

#endif
