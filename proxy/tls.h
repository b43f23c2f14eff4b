/*
 * tls.h - what TLS needs besides the bytes: contexts with their certificates, names, ALPN.
 *
 * Two kinds of context: one for the clients' leg, made from the configuration, and one for the
 * upstream's, made from libpq's sslmode and file names. Both speak ALPN "postgresql", as PostgreSQL
 * does from 17 on: it is what makes a handshake without SSLRequest safe. conn.c runs the
 * handshakes.
 */
#ifndef PGASIDE_TLS_H
#define PGASIDE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct ssl_ctx_st;
struct ssl_st;

/*
 * The certificate and key that clients see, both PEM files. With `ca_file` ("" = none) a client
 * must have a certificate that it has signed. NULL with `e` naming the file that cannot be used.
 */
struct ssl_ctx_st *tls_server_context(
	const char *cert_file, const char *key_file, const char *ca_file, struct err *e);

enum tls_mode {
	TLS_DISABLE,
	TLS_PREFER,
	TLS_REQUIRE,
	TLS_VERIFY_CA,
	TLS_VERIFY_FULL
};

/* What libpq's parameters of the same names say; an unset one is "". Borrowed. */
struct tls_files {
	const char *rootcert;
	const char *cert;
	const char *key;
	const char *crl;
	const char *password; /* of the key */
};

/*
 * A context for connections to the upstream. As with libpq, `require` verifies the chain when a
 * root certificate is named. NULL with `e` filled when a file cannot be used.
 */
struct ssl_ctx_st *tls_client_context(
	enum tls_mode mode, const struct tls_files *files, struct err *e);

/*
 * Before a handshake as client: the name to ask for, and the one that the certificate must have (""
 * = any). The check is part of the handshake, so that nothing is sent to a wrong server.
 */
bool tls_expect(struct ssl_st *ssl, const char *server_name, const char *verify_name);
/* Both sides have agreed on ALPN "postgresql". */
bool tls_has_alpn(const struct ssl_st *ssl);
/*
 * The peer's certificate as channel binding has it (RFC 5929, tls-server-end-point): its hash, by
 * the function of its own signature, by SHA-256 if that was MD5 or SHA-1. Returns the length, 0
 * when there is none.
 */
#define TLS_END_POINT_MAX 64
size_t tls_end_point(const struct ssl_st *ssl, uint8_t out[TLS_END_POINT_MAX]);
/* Whether we show to `client` the very certificate that `server` has shown to us. */
bool tls_same_certificate(const struct ssl_st *client, const struct ssl_st *server);

/* Takes NULL. Connections that still use the context keep it alive. */
void tls_context_free(struct ssl_ctx_st *context);

#endif
