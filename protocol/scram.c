#include "scram.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <assert.h>
#include <stdlib.h>

#include "saslprep.h"

/*
 *   START --client_first--> FIRST_SENT --server_first--> DERIVING --client_final--> FINAL_SENT
 *     --server_final--> DONE
 *   any failure, and any call that is not due: FAILED, for good
 */
enum scram_state {
	SCRAM_START,
	SCRAM_FIRST_SENT,
	SCRAM_DERIVING,
	SCRAM_FINAL_SENT,
	SCRAM_DONE,
	SCRAM_FAILED
};

enum {
	HASH_SIZE = 32,	       /* of SHA-256 */
	MD5_HEX_SIZE = 32,     /* of an MD5 in hexadecimal */
	HASH_BASE64_SIZE = 45, /* of a SHA-256 in base64, with the zero byte */
	MAX_ERROR_SHOWN = 100, /* of the text behind "e=" */
	MAX_HEADER = 32	       /* of the GS2 header */
};

static const char malformed[] = "08P01"; /* protocol_violation */
static const char internal[] = "XX000";

struct scram {
	enum scram_state state;
	EVP_MAC_CTX *mac;  /* owned; HMAC keyed with the password */
	struct bytes auth; /* AuthMessage of RFC 5802, as far as it is known */
	size_t nonce_at;   /* where the combined nonce stands in it */
	size_t nonce_len;
	char nonce[SCRAM_MAX_NONCE + 1]; /* ours */
	/* The GS2 header, and behind it the end point that the channel is bound to. */
	uint8_t channel[MAX_HEADER + SCRAM_END_POINT_MAX];
	size_t header_len, channel_len;

	unsigned left;		      /* iterations still to do */
	uint8_t round[HASH_SIZE];     /* U of RFC 5802's Hi() */
	uint8_t salted[HASH_SIZE];    /* SaltedPassword when left is 0 */
	uint8_t signature[HASH_SIZE]; /* what the server must show */
};

static bool fail(struct scram *s, struct err *e, const char *sqlstate, const char *text)
{
	s->state = SCRAM_FAILED;
	return err_set(e, sqlstate, "%s", text);
}

static bool fail_malformed(struct scram *s, struct err *e, const char *what)
{
	s->state = SCRAM_FAILED;
	return err_set(e, malformed, "malformed SCRAM message from the server: %s", what);
}

bool scram_nonce(char nonce[SCRAM_NONCE_SIZE], struct err *e)
{
	uint8_t random[(SCRAM_NONCE_SIZE - 1) / 4 * 3];

	if (RAND_bytes(random, sizeof(random)) != 1)
		return err_set(e, internal, "the system has no random bytes for a SCRAM nonce");
	EVP_EncodeBlock((unsigned char *)nonce, random, sizeof(random));
	return true;
}

/* A context for HMAC-SHA-256 that keeps `password` as its key. */
static EVP_MAC_CTX *mac_new(struct slice password)
{
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end()};
	const uint8_t *key = password.len > 0 ? password.data : (const uint8_t *)"";
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;

	EVP_MAC_free(hmac); /* the context holds it, too */
	if (mac && EVP_MAC_init(mac, key, password.len, params) == 1)
		return mac;
	EVP_MAC_CTX_free(mac);
	return NULL;
}

static EVP_MAC_CTX *mac_for(struct slice password)
{
	struct bytes prepared;
	EVP_MAC_CTX *mac = NULL;

	/* A single character may become several. */
	bytes_init(&prepared, 32 * password.len + 1);
	saslprep_put(&prepared, password);
	if (!bytes_failed(&prepared))
		mac = mac_new(bytes_view(&prepared));
	bytes_wipe(&prepared);
	return mac;
}

/* client-first-message-bare; the characters that have a meaning in a name are written as RFC 5802
 * says. */
static void put_bare(struct bytes *out, struct slice user, const char *nonce)
{
	bytes_put(out, "n=", 2);
	for (size_t i = 0; i < user.len; i++) {
		if (user.data[i] == ',')
			bytes_put(out, "=2C", 3);
		else if (user.data[i] == '=')
			bytes_put(out, "=3D", 3);
		else
			bytes_put_u8(out, user.data[i]);
	}
	bytes_printf(out, ",r=%s", nonce);
}

struct scram *scram_new(struct slice user, struct slice password, const char *nonce, struct err *e)
{
	struct scram *s = calloc(1, sizeof(*s));
	size_t len = strlen(nonce);

	if (!s || len == 0 || len > SCRAM_MAX_NONCE || !(s->mac = mac_for(password))) {
		free(s);
		err_set(e, internal, "cannot prepare SCRAM authentication");
		return NULL;
	}
	memcpy(s->nonce, nonce, len + 1);
	scram_bind(s, SCRAM_UNBOUND, slice_of("", 0));
	bytes_init(&s->auth, (size_t)4 * SCRAM_MAX_MESSAGE);
	put_bare(&s->auth, user, nonce);
	return s;
}

void scram_bind(struct scram *s, enum scram_binding binding, struct slice end_point)
{
	static const char *const headers[] = {
		[SCRAM_UNBOUND] = "n,,",
		[SCRAM_NOT_OFFERED] = "y,,",
		[SCRAM_BOUND] = "p=tls-server-end-point,,",
	};

	assert(s->state == SCRAM_START && end_point.len <= SCRAM_END_POINT_MAX);
	s->header_len = strlen(headers[binding]);
	memcpy(s->channel, headers[binding], s->header_len);
	memcpy(s->channel + s->header_len, end_point.data, end_point.len);
	s->channel_len = s->header_len + end_point.len;
}

void scram_free(struct scram *s)
{
	if (!s)
		return;
	EVP_MAC_CTX_free(s->mac);
	bytes_wipe(&s->auth);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}

bool scram_is_done(const struct scram *s)
{
	return s->state == SCRAM_DONE;
}

bool scram_client_first(struct scram *s, struct bytes *out, struct err *e)
{
	if (s->state != SCRAM_START)
		return fail(s, e, malformed, "the server asked twice for the start of SCRAM");
	bytes_put(out, s->channel, s->header_len);
	bytes_put_slice(out, bytes_view(&s->auth));
	if (bytes_failed(&s->auth) || bytes_failed(out))
		return fail(s, e, "53200", "out of memory");
	s->state = SCRAM_FIRST_SENT;
	return true;
}

/* The next `name=value`, up to a comma, which is consumed, or the end. */
static bool attribute(struct cursor *c, char name, struct slice *value)
{
	struct slice rest;
	const uint8_t *comma;

	if (c->left < 2 || cursor_u8(c) != (uint8_t)name || cursor_u8(c) != '=')
		return false;
	comma = c->left > 0 ? memchr(c->at, ',', c->left) : NULL;
	if (!comma) {
		*value = cursor_rest(c);
		return true;
	}
	rest = cursor_bytes(c, (size_t)(comma - c->at) + 1);
	*value = slice_of(rest.data, rest.len - 1);
	/* "a=b," promises another attribute. */
	return c->left > 0;
}

static bool is_printable(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < 0x21 || text.data[i] > 0x7e)
			return false;
	return true;
}

static bool is_base64(struct slice text)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = text.len;

	if (len == 0 || len % 4 != 0)
		return false;
	for (int padding = 0; padding < 2 && text.data[len - 1] == '='; padding++)
		len--;
	for (size_t i = 0; i < len; i++)
		if (!memchr(alphabet, text.data[i], sizeof(alphabet) - 1))
			return false;
	return true;
}

/* Strict: OpenSSL's decoder alone would pass blanks at the ends, and counts padding as bytes. `out`
 * has room for three bytes every four characters. */
static bool base64_decode(struct slice text, uint8_t *out, size_t *len)
{
	if (!is_base64(text) || EVP_DecodeBlock(out, text.data, (int)text.len) < 0)
		return false;
	*len = text.len / 4 * 3;
	*len -= text.data[text.len - 1] == '=';
	*len -= text.data[text.len - 2] == '=';
	return true;
}

/* 1 to SCRAM_MAX_ITERATIONS; 0 when it is not that. */
static unsigned iterations_decode(struct slice text)
{
	unsigned n = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return 0;
		n = n * 10 + (unsigned)(text.data[i] - '0');
		if (n > SCRAM_MAX_ITERATIONS)
			return 0;
	}
	return n;
}

/* HMAC of `a` followed by `b`, keyed with the password. */
static bool password_hmac(struct scram *s, struct slice a, struct slice b, uint8_t out[HASH_SIZE])
{
	size_t len;

	return EVP_MAC_init(s->mac, NULL, 0, NULL) == 1 &&
	       EVP_MAC_update(s->mac, a.data, a.len) == 1 &&
	       EVP_MAC_update(s->mac, b.data, b.len) == 1 &&
	       EVP_MAC_final(s->mac, out, &len, HASH_SIZE) == 1;
}

static bool hmac(const uint8_t key[HASH_SIZE], struct slice data, uint8_t out[HASH_SIZE])
{
	return HMAC(EVP_sha256(), key, HASH_SIZE, data.data, data.len, out, NULL) != NULL;
}

/* The first iteration of Hi(), which is the only one that sees the salt. */
static bool derive_start(struct scram *s, struct slice salt, unsigned iterations)
{
	static const uint8_t block[4] = {0, 0, 0, 1};

	if (!password_hmac(s, salt, slice_of(block, sizeof(block)), s->round))
		return false;
	memcpy(s->salted, s->round, HASH_SIZE);
	s->left = iterations - 1;
	return true;
}

bool scram_work(struct scram *s, unsigned rounds)
{
	for (; s->state == SCRAM_DERIVING && s->left > 0 && rounds > 0; rounds--, s->left--) {
		if (!password_hmac(s, slice_of(s->round, HASH_SIZE), slice_of("", 0), s->round)) {
			s->state = SCRAM_FAILED;
			break;
		}
		for (int i = 0; i < HASH_SIZE; i++)
			s->salted[i] ^= s->round[i];
	}
	return s->state != SCRAM_DERIVING || s->left == 0;
}

/* The text behind "e=" for the log: it comes from outside and nothing has vouched for it. */
static bool fail_server_error(struct scram *s, struct slice text, struct err *e)
{
	char shown[MAX_ERROR_SHOWN + 1];
	size_t len = text.len < MAX_ERROR_SHOWN ? text.len : MAX_ERROR_SHOWN;

	for (size_t i = 0; i < len; i++)
		shown[i] = text.data[i] >= 0x20 && text.data[i] < 0x7f ? (char)text.data[i] : '?';
	shown[len] = '\0';
	s->state = SCRAM_FAILED;
	return err_set(e, "28P01", "SCRAM authentication refused by the server: %s", shown);
}

static bool nonce_is_ours(const struct scram *s, struct slice nonce)
{
	size_t len = strlen(s->nonce);

	return nonce.len > len && memcmp(nonce.data, s->nonce, len) == 0 && is_printable(nonce);
}

/*
 * server-first-message = "r=" nonce ",s=" base64 salt ",i=" iterations
 * Extensions are refused, as libpq refuses them: PostgreSQL sends none.
 */
bool scram_server_first(struct scram *s, struct slice message, struct err *e)
{
	struct cursor c = cursor_over(message);
	struct slice nonce, salt_text, iterations_text;
	uint8_t salt[SCRAM_MAX_MESSAGE];
	size_t salt_len;
	unsigned iterations;

	if (s->state != SCRAM_FIRST_SENT)
		return fail(s, e, malformed, "the server sent a SCRAM challenge out of turn");
	if (message.len > SCRAM_MAX_MESSAGE)
		return fail_malformed(s, e, "too long");
	if (message.len > 1 && memcmp(message.data, "e=", 2) == 0)
		return fail_server_error(s, slice_of(message.data + 2, message.len - 2), e);
	if (!attribute(&c, 'r', &nonce))
		return fail_malformed(s, e, "no nonce");
	if (!nonce_is_ours(s, nonce))
		return fail_malformed(s, e, "the nonce does not continue ours");
	if (!attribute(&c, 's', &salt_text) || !base64_decode(salt_text, salt, &salt_len))
		return fail_malformed(s, e, "no valid salt");
	if (!attribute(&c, 'i', &iterations_text) || !cursor_done(&c))
		return fail_malformed(s, e, "no iteration count at its end");
	iterations = iterations_decode(iterations_text);
	if (iterations == 0)
		return fail_malformed(s, e, "the iteration count is not 1 to 10000000");

	s->nonce_at = bytes_length(&s->auth) + strlen(",r=");
	s->nonce_len = nonce.len;
	bytes_put_u8(&s->auth, ',');
	bytes_put_slice(&s->auth, message);
	if (bytes_failed(&s->auth) || !derive_start(s, slice_of(salt, salt_len), iterations))
		return fail(s, e, internal, "cannot derive the SCRAM key");
	s->state = SCRAM_DERIVING;
	return true;
}

/* From SaltedPassword and AuthMessage: the proof to show, and the signature to expect. */
static bool derive_proof(struct scram *s, uint8_t proof[HASH_SIZE])
{
	struct slice auth = bytes_view(&s->auth);
	uint8_t client_key[HASH_SIZE], stored_key[HASH_SIZE], server_key[HASH_SIZE];
	bool ok = hmac(s->salted, slice_str("Client Key"), client_key) &&
		  EVP_Digest(client_key, HASH_SIZE, stored_key, NULL, EVP_sha256(), NULL) == 1 &&
		  hmac(stored_key, auth, proof) &&
		  hmac(s->salted, slice_str("Server Key"), server_key) &&
		  hmac(server_key, auth, s->signature);

	for (int i = 0; ok && i < HASH_SIZE; i++)
		proof[i] ^= client_key[i];
	OPENSSL_cleanse(client_key, sizeof(client_key));
	OPENSSL_cleanse(stored_key, sizeof(stored_key));
	OPENSSL_cleanse(server_key, sizeof(server_key));
	OPENSSL_cleanse(s->salted, sizeof(s->salted));
	OPENSSL_cleanse(s->round, sizeof(s->round));
	return ok;
}

/* client-final-message-without-proof. The nonce is copied: `out` may be the buffer that it stands
 * in. */
static void put_without_proof(const struct scram *s, struct bytes *out)
{
	char nonce[SCRAM_MAX_MESSAGE], channel[(sizeof(s->channel) + 2) / 3 * 4 + 1];

	memcpy(nonce, bytes_view(&s->auth).data + s->nonce_at, s->nonce_len);
	EVP_EncodeBlock((unsigned char *)channel, s->channel, (int)s->channel_len);
	bytes_printf(out, "c=%s,r=", channel);
	bytes_put(out, nonce, s->nonce_len);
}

bool scram_client_final(struct scram *s, struct bytes *out, struct err *e)
{
	uint8_t proof[HASH_SIZE];
	char proof_text[HASH_BASE64_SIZE];

	while (!scram_work(s, SCRAM_MAX_ITERATIONS))
		continue;
	if (s->state != SCRAM_DERIVING)
		return fail(s, e, internal, "cannot derive the SCRAM key");
	bytes_put_u8(&s->auth, ',');
	put_without_proof(s, &s->auth);
	if (bytes_failed(&s->auth) || !derive_proof(s, proof))
		return fail(s, e, internal, "cannot derive the SCRAM proof");
	EVP_EncodeBlock((unsigned char *)proof_text, proof, HASH_SIZE);
	put_without_proof(s, out);
	bytes_put(out, ",p=", 3);
	bytes_put(out, proof_text, sizeof(proof_text) - 1);
	if (bytes_failed(out))
		return fail(s, e, "53200", "out of memory");
	s->state = SCRAM_FINAL_SENT;
	return true;
}

/* server-final-message = "v=" base64 signature | "e=" error */
bool scram_server_final(struct scram *s, struct slice message, struct err *e)
{
	struct cursor c = cursor_over(message);
	struct slice text;
	uint8_t signature[SCRAM_MAX_MESSAGE];
	size_t len;

	if (s->state != SCRAM_FINAL_SENT)
		return fail(s, e, malformed, "the server sent a SCRAM signature out of turn");
	if (message.len > SCRAM_MAX_MESSAGE)
		return fail_malformed(s, e, "too long");
	if (message.len > 1 && memcmp(message.data, "e=", 2) == 0)
		return fail_server_error(s, slice_of(message.data + 2, message.len - 2), e);
	if (!attribute(&c, 'v', &text) || !cursor_done(&c))
		return fail_malformed(s, e, "no signature");
	if (!base64_decode(text, signature, &len) || len != HASH_SIZE)
		return fail_malformed(s, e, "the signature is not a SHA-256");
	if (CRYPTO_memcmp(signature, s->signature, HASH_SIZE) != 0)
		return fail(s, e, "28000",
			"the server's SCRAM signature is wrong: it does not know the password");
	s->state = SCRAM_DONE;
	return true;
}

static void hex(char *out, const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[data[i] >> 4];
		*out++ = digits[data[i] & 15];
	}
	*out = '\0';
}

/* The MD5 of `a` followed by `b`, in hexadecimal. */
static bool md5_hex(struct slice a, struct slice b, char out[MD5_HEX_SIZE + 1])
{
	uint8_t sum[MD5_HEX_SIZE / 2];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md && EVP_DigestInit_ex(md, EVP_md5(), NULL) == 1 &&
		  EVP_DigestUpdate(md, a.data, a.len) == 1 &&
		  EVP_DigestUpdate(md, b.data, b.len) == 1 &&
		  EVP_DigestFinal_ex(md, sum, NULL) == 1;

	EVP_MD_CTX_free(md);
	if (ok)
		hex(out, sum, sizeof(sum));
	OPENSSL_cleanse(sum, sizeof(sum));
	return ok;
}

bool scram_md5_response(struct slice user, struct slice password, struct slice salt,
	char out[SCRAM_MD5_SIZE], struct err *e)
{
	char inner[MD5_HEX_SIZE + 1];
	bool ok;

	if (salt.len != 4)
		return err_set(e, malformed, "the server's MD5 salt is not four bytes long");
	memcpy(out, "md5", 3);
	ok = md5_hex(password, user, inner) &&
	     md5_hex(slice_of(inner, MD5_HEX_SIZE), salt, out + 3);
	OPENSSL_cleanse(inner, sizeof(inner));
	if (!ok)
		return err_set(e, internal, "OpenSSL has no MD5 here");
	return true;
}
