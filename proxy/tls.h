/*
 * tls.h - what TLS needs besides the bytes: contexts with their certificates.
 *
 * Two kinds of context: one for the clients' leg, made once from the configuration, and one for the
 * upstream's, made from libpq's sslmode and file names. conn.c runs the handshakes.
 */
#ifndef PGASIDE_TLS_H
#define PGASIDE_TLS_H

#include <stdbool.h>

#include "err.h"

struct ssl_ctx_st;

/* The certificate and key that clients see, both PEM files. NULL with `e` naming the file that
 * cannot be used. */
struct ssl_ctx_st *tls_server_context(const char *cert_file, const char *key_file, struct err *e);

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
};

/*
 * A context for connections to the upstream. As with libpq, `require` verifies the chain when a
 * root certificate is named. NULL with `e` filled when a file cannot be used.
 */
struct ssl_ctx_st *tls_client_context(
	enum tls_mode mode, const struct tls_files *files, struct err *e);

/* Takes NULL. Connections that still use the context keep it alive. */
void tls_context_free(struct ssl_ctx_st *context);

#endif
