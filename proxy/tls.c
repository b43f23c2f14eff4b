#include "tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

static bool fail(struct err *e, const char *what, const char *file)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	err_set(e, "08001", "%s \"%s\": %s", what, file, reason ? reason : "cannot be used");
	ERR_clear_error();
	return false;
}

static SSL_CTX *new_context(const SSL_METHOD *method, struct err *e)
{
	SSL_CTX *context = SSL_CTX_new(method);

	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
		SSL_CTX_free(context);
		err_set(e, "08001", "TLS cannot be set up");
		return NULL;
	}
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	return context;
}

static bool load_pair(SSL_CTX *context, const char *cert, const char *key, struct err *e)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
		return fail(e, "certificate file", cert);
	if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		return fail(e, "private key file", key);
	if (SSL_CTX_check_private_key(context) != 1)
		return fail(e, "private key file", key);
	return true;
}

SSL_CTX *tls_server_context(const char *cert_file, const char *key_file, struct err *e)
{
	SSL_CTX *context = new_context(TLS_server_method(), e);

	if (!context)
		return NULL;
	/* PostgreSQL has no sessions to resume either. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	if (!load_pair(context, cert_file, key_file, e)) {
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

static bool load_roots(SSL_CTX *context, const struct tls_files *files, struct err *e)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context);

	ERR_clear_error();
	if (strcmp(files->rootcert, "system") == 0) {
		if (SSL_CTX_set_default_verify_paths(context) != 1)
			return fail(e, "root certificate file", files->rootcert);
	} else if (SSL_CTX_load_verify_locations(context, files->rootcert, NULL) != 1) {
		return fail(e, "root certificate file", files->rootcert);
	}
	if (!files->crl[0])
		return true;
	if (X509_STORE_load_locations(store, files->crl, NULL) != 1)
		return fail(e, "certificate revocation list", files->crl);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return true;
}

static bool set_verification(
	SSL_CTX *context, enum tls_mode mode, const struct tls_files *files, struct err *e)
{
	bool must = mode == TLS_VERIFY_CA || mode == TLS_VERIFY_FULL;

	if (!files->rootcert[0] && !must)
		return true;
	if (!files->rootcert[0])
		return err_set(e, "08001",
			"sslmode=%s needs sslrootcert, the file with the certificate authority of "
			"the server",
			mode == TLS_VERIFY_CA ? "verify-ca" : "verify-full");
	if (!load_roots(context, files, e))
		return false;
	if (must || mode == TLS_REQUIRE)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	return true;
}

SSL_CTX *tls_client_context(enum tls_mode mode, const struct tls_files *files, struct err *e)
{
	SSL_CTX *context = new_context(TLS_client_method(), e);

	if (!context)
		return NULL;
	if (!set_verification(context, mode, files, e) ||
		(files->cert[0] && !load_pair(context, files->cert,
					   files->key[0] ? files->key : files->cert, e))) {
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

void tls_context_free(SSL_CTX *context)
{
	SSL_CTX_free(context);
}
