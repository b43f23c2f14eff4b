/*
 * wire.h - a client made of bytes, for what libpq would not send.
 *
 * Messages are queued and sent in one piece by wire_send(), so that a test says what travels
 * together. Answers are read as a transcript, one word a message:
 *
 *   1 2 3 n s I G W H c     ParseComplete, BindComplete, CloseComplete, NoData, PortalSuspended,
 *                           EmptyQueryResponse, CopyIn-, CopyBoth-, CopyOutResponse, CopyDone
 *   R(10) K S(name=value)   authentication request, BackendKeyData, ParameterStatus
 *   T(2) t(1) D(a,-)        columns, parameters, values ("-" is NULL)
 *   C(SELECT 1) E(42P01) N(42P07) A(channel,payload) V(1) d(4)
 *   Z:T                     ReadyForQuery
 *   v(0,_pq_.x)             NegotiateProtocolVersion: minor version, options
 *   EOF                     the other side has closed
 */
#ifndef PGASIDE_TESTS_WIRE_H
#define PGASIDE_TESTS_WIRE_H

#include <stdbool.h>
#include <sys/types.h>

#include "bytes.h"

struct wire {
	int fd;
	struct bytes out;    /* queued */
	struct bytes in;     /* received, not read yet */
	char text[16384];    /* the transcript */
	char error[1024];    /* message of the last ErrorResponse */
	char detail[512];    /* and its DETAIL */
	char positions[256]; /* " @18" for each error of the transcript that has one */
	uint32_t pid;	     /* of BackendKeyData */
	uint32_t secret;     /* the first four bytes */
	uint8_t key[264];    /* all of the body of BackendKeyData */
	size_t key_len;
	pid_t helper; /* the program that encrypts, 0 = none */
};

/* Connects only. Closed by wire_close() or wire_close_all(). */
struct wire *wire_open(int port);
struct wire *wire_open_at(const char *address, int port);
/* The same with TLS, by `openssl s_client` and these arguments of its. */
struct wire *wire_open_tls(int port, const char *arguments);
void wire_close(struct wire *w);
void wire_close_all(void);
/* The other side: listens on a free port, and takes the next connection to it. */
int wire_listen(int *port);
struct wire *wire_accept(int listener);
/* Reads exactly that many raw bytes; false when the other side closes before. */
bool wire_take(struct wire *w, void *out, size_t len);
/* Reads a packet without type byte (a startup packet) and returns its code, 0 at the end. */
uint32_t wire_take_startup(struct wire *w);
/* Logs in as app; `options` is the parameter of that name, NULL for none. */
struct wire *wire_login(int port, const char *options);
/* The same on an open connection, with any user, password and database. */
void wire_login_as(struct wire *w, const char *user, const char *password, const char *database,
	const char *options);

void wire_raw(struct wire *w, const void *data, size_t len);
void wire_message(struct wire *w, char type, const void *body, size_t len);
/* StartupMessage with user and database; a NULL leaves one out. */
void wire_startup(struct wire *w, uint32_t version, const char *user, const char *database,
	const char *options);
/* SSLRequest, GSSENCRequest: a packet of eight bytes with this code. */
void wire_request(struct wire *w, uint32_t code);
void wire_cancel(struct wire *w, uint32_t pid, uint32_t secret);
/* CancelRequest with the body of a BackendKeyData. */
void wire_cancel_key(struct wire *w, const uint8_t *key, size_t len);
/* A StartupMessage of any parameters: name, value, .., NULL. */
void wire_startup_with(struct wire *w, uint32_t version, ...) __attribute__((sentinel));
void wire_password(struct wire *w, const char *password);
void wire_query(struct wire *w, const char *sql);
void wire_parse(struct wire *w, const char *name, const char *sql);
/* Without parameters; `format` is that of all results. */
void wire_bind(struct wire *w, const char *portal, const char *statement, unsigned format);
/* With one text parameter. */
void wire_bind_text(
	struct wire *w, const char *portal, const char *statement, const char *parameter);
void wire_describe(struct wire *w, char kind, const char *name);
void wire_execute(struct wire *w, const char *portal, uint32_t limit);
void wire_close_target(struct wire *w, char kind, const char *name);
void wire_sync(struct wire *w);
void wire_flush(struct wire *w);
/* Sends what is queued; false when the other side has closed. */
bool wire_send(struct wire *w);
/* The same, one byte a segment; what the other side does not take any more is dropped. */
void wire_send_bytewise(struct wire *w);

/* Reads up to and with the nth ReadyForQuery, or the end. */
const char *wire_answers(struct wire *w, unsigned n_ready);
/* Reads up to and with a message whose word begins so, or the end. */
const char *wire_until(struct wire *w, const char *word);
/* One raw byte; -1 at the end. */
int wire_byte(struct wire *w);
/* True when the other side closes without another byte. */
bool wire_ends(struct wire *w);
/* Whether anything has come that is not read yet. */
bool wire_has_input(struct wire *w);

#endif
