#include "tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

/* As the extension has it: a length and a name. */
static const unsigned char alpn[] = "\012postgresql";
#define ALPN_SIZE ((unsigned)sizeof(alpn) - 1)

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

/* For a key that is encrypted: what is configured, and never a question at a terminal. */
static int give_password(char *out, int size, int writing, void *arg)
{
	const char *password = arg;
	size_t len = strlen(password);

	(void)writing;
	if (len > (size_t)size)
		return -1;
	memcpy(out, password, len);
	return (int)len;
}

static void set_key_password(SSL_CTX *context, const char *password)
{
	union {
		const char *in;
		void *out;
	} pointer = {.in = password};

	SSL_CTX_set_default_passwd_cb(context, give_password);
	SSL_CTX_set_default_passwd_cb_userdata(context, pointer.out);
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

/* A client that speaks ALPN must speak this protocol (CVE-2021-3618 and its kin). */
static int choose_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *len,
	const unsigned char *offered, unsigned n, void *arg)
{
	unsigned char *found;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&found, len, alpn, ALPN_SIZE, offered, n) !=
		OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*chosen = found;
	return SSL_TLSEXT_ERR_OK;
}

static bool demand_certificates(SSL_CTX *context, const char *ca_file, struct err *e)
{
	STACK_OF(X509_NAME) * names;

	if (!ca_file[0])
		return true;
	ERR_clear_error();
	names = SSL_load_client_CA_file(ca_file);
	if (!names || SSL_CTX_load_verify_locations(context, ca_file, NULL) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return fail(e, "client authority file", ca_file);
	}
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return true;
}

SSL_CTX *tls_server_context(
	const char *cert_file, const char *key_file, const char *ca_file, struct err *e)
{
	SSL_CTX *context = new_context(TLS_server_method(), e);

	if (!context)
		return NULL;
	/* PostgreSQL has no sessions to resume either. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_alpn_select_cb(context, choose_alpn, NULL);
	set_key_password(context, "");
	if (!load_pair(context, cert_file, key_file, e) ||
		!demand_certificates(context, ca_file, e)) {
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
			"the server, or ~/.postgresql/root.crt",
			mode == TLS_VERIFY_CA ? "verify-ca" : "verify-full");
	if (!load_roots(context, files, e))
		return false;
	if (must || mode == TLS_REQUIRE)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	return true;
}

static bool offer_alpn(SSL_CTX *context, struct err *e)
{
	/* Returns 0 for success, unlike its neighbours. */
	return SSL_CTX_set_alpn_protos(context, alpn, ALPN_SIZE) == 0 ||
	       err_set(e, "53200", "out of memory");
}

SSL_CTX *tls_client_context(enum tls_mode mode, const struct tls_files *files, struct err *e)
{
	SSL_CTX *context = new_context(TLS_client_method(), e);

	if (!context)
		return NULL;
	set_key_password(context, files->password);
	if (!offer_alpn(context, e) || !set_verification(context, mode, files, e) ||
		(files->cert[0] && !load_pair(context, files->cert,
					   files->key[0] ? files->key : files->cert, e))) {
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

static bool expect_name(SSL *ssl, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
		return true;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) == 1;
}

static bool is_address(const char *name)
{
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);
	bool yes = ip != NULL;

	ASN1_OCTET_STRING_free(ip);
	ERR_clear_error();
	return yes;
}

/* OpenSSL's call takes a pointer without const, and copies what it points to. */
static void set_server_name(SSL *ssl, const char *name)
{
	union {
		const char *in;
		void *out;
	} pointer = {.in = name};

	SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, pointer.out);
}

bool tls_expect(SSL *ssl, const char *server_name, const char *verify_name)
{
	if (server_name[0] && !is_address(server_name))
		set_server_name(ssl, server_name);
	return !verify_name[0] || expect_name(ssl, verify_name);
}

bool tls_has_alpn(const SSL *ssl)
{
	const unsigned char *chosen;
	unsigned len;

	SSL_get0_alpn_selected(ssl, &chosen, &len);
	return len == ALPN_SIZE - 1 && memcmp(chosen, alpn + 1, len) == 0;
}

size_t tls_end_point(const SSL *ssl, uint8_t out[TLS_END_POINT_MAX])
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	int digest = NID_undef;
	const EVP_MD *md = NULL;
	unsigned len = 0;

	if (!certificate || X509_get_signature_info(certificate, &digest, NULL, NULL, NULL) != 1)
		return 0;
	if (digest == NID_md5 || digest == NID_sha1)
		digest = NID_sha256;
	md = digest == NID_undef ? NULL : EVP_get_digestbynid(digest);
	if (!md || EVP_MD_get_size(md) > TLS_END_POINT_MAX ||
		X509_digest(certificate, md, out, &len) != 1)
		return 0;
	return len;
}

bool tls_same_certificate(const SSL *client, const SSL *server)
{
	const X509 *ours = SSL_get_certificate(client);
	const X509 *theirs = SSL_get0_peer_certificate(server);

	return ours && theirs && X509_cmp(ours, theirs) == 0;
}

void tls_context_free(SSL_CTX *context)
{
	SSL_CTX_free(context);
}
