/*
 * scram.h - the client's half of password authentication: SCRAM-SHA-256 and MD5.
 *
 * Pure: messages in, messages out; the caller moves them (protocol documentation, "SASL
 * Authentication"; RFC 5802 and RFC 7677). One `struct scram` is one authentication:
 *
 *     scram_new -> scram_client_first -> scram_server_first -> scram_client_final
 *               -> scram_server_final -> scram_is_done
 *
 * A message that is malformed, or comes when it is not due, is an error and ends it for good; so
 * calls may follow whatever the server sends. AuthenticationOk counts only if scram_is_done():
 * before that the server has not shown that it knows the password.
 *
 * Deriving the key costs what the server's iteration count says: about a millisecond for
 * PostgreSQL's default of 4096, but seconds for SCRAM_MAX_ITERATIONS. scram_work() does it in
 * pieces, so that an event loop can serve others in between.
 *
 * With scram_bind() the exchange is bound to the TLS channel (SCRAM-SHA-256-PLUS, RFC 5929's
 * tls-server-end-point), so that nobody in between can pass it on. The password is prepared as
 * PostgreSQL prepares it (saslprep.h).
 */
#ifndef PGASIDE_SCRAM_H
#define PGASIDE_SCRAM_H

#include <stdbool.h>

#include "bytes.h"
#include "err.h"

#define SCRAM_MECHANISM "SCRAM-SHA-256"
#define SCRAM_MECHANISM_PLUS "SCRAM-SHA-256-PLUS"
#define SCRAM_END_POINT_MAX 64
#define SCRAM_NONCE_SIZE 25	       /* of a nonce made here, with its zero byte */
#define SCRAM_MAX_NONCE 256	       /* bytes of a nonce given to scram_new() */
#define SCRAM_MAX_MESSAGE 4096	       /* bytes of a server's message */
#define SCRAM_MAX_ITERATIONS 10000000u /* of the server; OWASP recommends 600,000 */

struct scram;

/* A fresh nonce: 24 printable characters. Fails when the system has no randomness. */
bool scram_nonce(char nonce[SCRAM_NONCE_SIZE], struct err *e);
/*
 * `user`, `password` and `nonce` (printable, no comma) are copied. PostgreSQL takes the user of the
 * StartupMessage and ignores this one; libpq sends it empty. NULL with `e` filled without memory,
 * or when OpenSSL refuses.
 */
struct scram *scram_new(struct slice user, struct slice password, const char *nonce, struct err *e);
enum scram_binding {
	SCRAM_UNBOUND,	   /* without TLS, or it is not wanted */
	SCRAM_NOT_OFFERED, /* we would, the server does not: it will notice if somebody made it so
			    */
	SCRAM_BOUND	   /* with the mechanism SCRAM_MECHANISM_PLUS */
};
/* Before scram_client_first(). `end_point`, of SCRAM_BOUND: the hash of the server's certificate,
 * up to SCRAM_END_POINT_MAX bytes; copied. */
void scram_bind(struct scram *s, enum scram_binding binding, struct slice end_point);
/* Wipes what was derived from the password. NULL is fine. */
void scram_free(struct scram *s);

/* Appends client-first-message, the data of SASLInitialResponse. */
bool scram_client_first(struct scram *s, struct bytes *out, struct err *e);
/* Takes server-first-message, the data of AuthenticationSASLContinue. */
bool scram_server_first(struct scram *s, struct slice message, struct err *e);
/* Does at most `rounds` more iterations. True when none is left: then scram_client_final() is
 * cheap. */
bool scram_work(struct scram *s, unsigned rounds);
/* Appends client-final-message, the data of SASLResponse; does the work that is left. */
bool scram_client_final(struct scram *s, struct bytes *out, struct err *e);
/* Takes server-final-message, the data of AuthenticationSASLFinal, and verifies the signature. */
bool scram_server_final(struct scram *s, struct slice message, struct err *e);
/* The server has proved that it knows the password. */
bool scram_is_done(const struct scram *s);

#define SCRAM_MD5_SIZE 36 /* "md5", 32 hexadecimal digits, zero byte */

/*
 * The answer to AuthenticationMD5Password: "md5" + hex(md5(hex(md5(password + user)) + salt)).
 * Fails when `salt` is not four bytes long or OpenSSL has no MD5 (FIPS).
 */
bool scram_md5_response(struct slice user, struct slice password, struct slice salt,
	char out[SCRAM_MD5_SIZE], struct err *e);

#endif
