#include "scram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* RFC 7677, section 3. */
static const char rfc_nonce[] = "rOprNGfwEbeRWgbNEkqO";
static const char rfc_server_first[] = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
				       "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char rfc_client_final[] =
	"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char rfc_server_final[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static struct scram *rfc_scram(void)
{
	struct err e;
	struct scram *s = scram_new(slice_str("user"), slice_str("pencil"), rfc_nonce, &e);

	assert_non_null(s);
	return s;
}

/* One that has sent client-first-message. */
static struct scram *greeted(void)
{
	struct scram *s = rfc_scram();
	struct bytes out;
	struct err e;

	bytes_init(&out, 1000);
	assert_true(scram_client_first(s, &out, &e));
	bytes_release(&out);
	return s;
}

/* One that waits for the server's signature. */
static struct scram *proved(void)
{
	struct scram *s = greeted();
	struct bytes out;
	struct err e;

	bytes_init(&out, 1000);
	assert_true(scram_server_first(s, slice_str(rfc_server_first), &e));
	assert_true(scram_client_final(s, &out, &e));
	assert_true(slice_is(bytes_view(&out), rfc_client_final));
	bytes_release(&out);
	return s;
}

static void the_example_of_rfc_7677_works(void **state)
{
	struct scram *s = rfc_scram();
	struct bytes out;
	struct err e;

	(void)state;
	bytes_init(&out, 1000);
	assert_true(scram_client_first(s, &out, &e));
	assert_true(slice_is(bytes_view(&out), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
	bytes_clear(&out);
	assert_true(scram_server_first(s, slice_str(rfc_server_first), &e));
	assert_true(scram_client_final(s, &out, &e));
	assert_true(slice_is(bytes_view(&out), rfc_client_final));
	assert_false(scram_is_done(s));
	assert_true(scram_server_final(s, slice_str(rfc_server_final), &e));
	assert_true(scram_is_done(s));
	bytes_release(&out);
	scram_free(s);
}

static void the_user_may_be_empty_and_is_escaped(void **state)
{
	static const struct {
		const char *user, *want;
	} cases[] = {{"", "n,,n=,r=abc"}, {"a,b=c", "n,,n=a=2Cb=3Dc,r=abc"}};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct bytes out;
		struct err e;
		struct scram *s = scram_new(slice_str(cases[i].user), slice_str("x"), "abc", &e);

		bytes_init(&out, 1000);
		assert_true(scram_client_first(s, &out, &e));
		assert_true(slice_is(bytes_view(&out), cases[i].want));
		bytes_release(&out);
		scram_free(s);
	}
}

/* What the first message begins with, and what the final one says of the channel. */
static void the_channel_is_named_as_it_is_bound(void **state)
{
	static const struct {
		enum scram_binding binding;
		const char *end_point, *header, *channel;
	} cases[] = {
		{SCRAM_UNBOUND, "", "n,,n=user,r=", "c=biws,r="},
		{SCRAM_NOT_OFFERED, "", "y,,n=user,r=", "c=eSws,r="},
		{SCRAM_BOUND, "hash", "p=tls-server-end-point,,n=user,r=",
			"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsaGFzaA==,r="},
		{SCRAM_BOUND, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			"p=tls-server-end-point,,n=user,r=",
			"c="
			"cD10bHMtc2VydmVyLWVuZC1wb2ludCwsMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZW"
			"YwMT"
			"IzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==,r="},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct scram *s = rfc_scram();
		struct bytes out;
		struct err e;

		bytes_init(&out, 1000);
		scram_bind(s, cases[i].binding, slice_str(cases[i].end_point));
		assert_true(scram_client_first(s, &out, &e));
		assert_memory_equal(
			bytes_view(&out).data, cases[i].header, strlen(cases[i].header));
		bytes_clear(&out);
		assert_true(scram_server_first(s, slice_str(rfc_server_first), &e));
		assert_true(scram_client_final(s, &out, &e));
		assert_memory_equal(
			bytes_view(&out).data, cases[i].channel, strlen(cases[i].channel));
		/* The proof covers it. */
		assert_true(
			(memmem(bytes_view(&out).data, bytes_length(&out), rfc_client_final + 50,
				 40) != NULL) == (cases[i].binding == SCRAM_UNBOUND));
		bytes_release(&out);
		scram_free(s);
	}
}

static void the_work_can_be_done_in_pieces(void **state)
{
	struct scram *s = greeted();
	struct bytes out;
	struct err e;
	unsigned pieces = 0;

	(void)state;
	bytes_init(&out, 1000);
	assert_true(scram_server_first(s, slice_str(rfc_server_first), &e));
	while (!scram_work(s, 100))
		pieces++;
	assert_int_equal(pieces, 40); /* the first of 4096 rounds is done with the salt */
	assert_true(scram_client_final(s, &out, &e));
	assert_true(slice_is(bytes_view(&out), rfc_client_final));
	bytes_release(&out);
	scram_free(s);
}

static void a_wrong_signature_is_refused(void **state)
{
	(void)state;
	/* Every character of the base64 text in turn; the last before the padding carries two
	 * unused bits, so it is changed by more than those. */
	for (size_t at = 2; at < strlen(rfc_server_final) - 1; at++) {
		char message[sizeof(rfc_server_final)];
		struct scram *s = proved();
		struct err e;

		memcpy(message, rfc_server_final, sizeof(message));
		message[at] = message[at] == 'Q' ? 'g' : 'Q';
		assert_false(scram_server_final(s, slice_str(message), &e));
		assert_string_equal(e.sqlstate, "28000");
		assert_non_null(strstr(e.text, "signature is wrong"));
		assert_false(scram_is_done(s));
		/* Not even the right one counts now. */
		assert_false(scram_server_final(s, slice_str(rfc_server_final), &e));
		assert_false(scram_is_done(s));
		scram_free(s);
	}
}

static void a_wrong_password_gives_another_proof_and_expects_another_signature(void **state)
{
	struct err e;
	struct scram *s = scram_new(slice_str("user"), slice_str("Pencil"), rfc_nonce, &e);
	struct bytes out;

	(void)state;
	bytes_init(&out, 1000);
	assert_true(scram_client_first(s, &out, &e));
	bytes_clear(&out);
	assert_true(scram_server_first(s, slice_str(rfc_server_first), &e));
	assert_true(scram_client_final(s, &out, &e));
	assert_false(slice_is(bytes_view(&out), rfc_client_final));
	assert_false(scram_server_final(s, slice_str(rfc_server_final), &e));
	bytes_release(&out);
	scram_free(s);
}

#define MESSAGE(text) text, sizeof(text) - 1
#define NONCE "r=rOprNGfwEbeRWgbNEkqOserver"
#define SALT ",s=W22ZaJ0SNY7soEsUEjb6gQ=="

static const struct {
	const char *label;
	const char *message;
	size_t len;
	const char *want; /* part of the error's text, NULL = accepted */
} first_cases[] = {
	{"shortest", MESSAGE("r=rOprNGfwEbeRWgbNEkqO1,s=AA==,i=1"), NULL},
	{"most iterations", MESSAGE(NONCE SALT ",i=10000000"), NULL},
	{"empty", MESSAGE(""), "no nonce"},
	{"NUL", MESSAGE("\0"), "no nonce"},
	{"another attribute first", MESSAGE("s=AA==," NONCE ",i=4096"), "no nonce"},
	{"mandatory extension", MESSAGE("m=x," NONCE SALT ",i=4096"), "no nonce"},
	{"nonce without value", MESSAGE("r=,s=AA==,i=4096"), "continue ours"},
	{"foreign nonce", MESSAGE("r=abcdefghijklmnopqrstuvwxyz" SALT ",i=4096"), "continue ours"},
	{"nonce of another length", MESSAGE("r=rOpr" SALT ",i=4096"), "continue ours"},
	{"only our nonce", MESSAGE("r=rOprNGfwEbeRWgbNEkqO" SALT ",i=4096"), "continue ours"},
	{"blank in nonce", MESSAGE(NONCE " x" SALT ",i=4096"), "continue ours"},
	{"NUL in nonce", MESSAGE(NONCE "\0x" SALT ",i=4096"), "continue ours"},
	{"8 bits in nonce", MESSAGE(NONCE "\xff" SALT ",i=4096"), "continue ours"},
	{"nothing behind nonce", MESSAGE(NONCE), "no valid salt"},
	{"no salt", MESSAGE(NONCE ",i=4096"), "no valid salt"},
	{"empty salt", MESSAGE(NONCE ",s=,i=4096"), "no valid salt"},
	{"salt of odd length", MESSAGE(NONCE ",s=AAA,i=4096"), "no valid salt"},
	{"salt with a bad character", MESSAGE(NONCE ",s=AA*=,i=4096"), "no valid salt"},
	{"salt with padding inside", MESSAGE(NONCE ",s=A=AA,i=4096"), "no valid salt"},
	{"salt of padding", MESSAGE(NONCE ",s====,i=4096"), "no valid salt"},
	{"salt with too much padding", MESSAGE(NONCE ",s=A===,i=4096"), "no valid salt"},
	{"salt with blanks", MESSAGE(NONCE ",s=AA==    ,i=4096"), "no valid salt"},
	{"salt with a line end", MESSAGE(NONCE ",s=AAA\n,i=4096"), "no valid salt"},
	{"salt with NUL", MESSAGE(NONCE ",s=AAA\0,i=4096"), "no valid salt"},
	{"nothing behind salt", MESSAGE(NONCE SALT), "no iteration count"},
	{"comma at the end", MESSAGE(NONCE SALT ","), "no valid salt"},
	{"no iterations", MESSAGE(NONCE SALT ",x=4096"), "no iteration count"},
	{"no value", MESSAGE(NONCE SALT ",i="), "iteration count is not"},
	{"0", MESSAGE(NONCE SALT ",i=0"), "iteration count is not"},
	{"negative", MESSAGE(NONCE SALT ",i=-1"), "iteration count is not"},
	{"signed", MESSAGE(NONCE SALT ",i=+1"), "iteration count is not"},
	{"one too many", MESSAGE(NONCE SALT ",i=10000001"), "iteration count is not"},
	{"2^31", MESSAGE(NONCE SALT ",i=2147483648"), "iteration count is not"},
	{"2^32 + 1", MESSAGE(NONCE SALT ",i=4294967297"), "iteration count is not"},
	{"2^64 + 1", MESSAGE(NONCE SALT ",i=18446744073709551617"), "iteration count is not"},
	{"hexadecimal", MESSAGE(NONCE SALT ",i=0x10"), "iteration count is not"},
	{"NUL behind", MESSAGE(NONCE SALT ",i=4096\0"), "iteration count is not"},
	{"extension", MESSAGE(NONCE SALT ",i=4096,x=1"), "no iteration count at its end"},
	{"comma behind", MESSAGE(NONCE SALT ",i=4096,"), "no iteration count at its end"},
	{"error", MESSAGE("e=other-error"), "refused by the server: other-error"},
	{"empty error", MESSAGE("e="), "refused by the server: "},
};

static void every_malformed_challenge_is_an_error_with_a_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(first_cases); i++) {
		struct scram *s = greeted();
		struct err e = {.text = ""};
		bool ok = scram_server_first(
			s, slice_of(first_cases[i].message, first_cases[i].len), &e);

		if (ok != (first_cases[i].want == NULL))
			fail_msg("%s: %s", first_cases[i].label, ok ? "accepted" : e.text);
		if (!ok && !strstr(e.text, first_cases[i].want))
			fail_msg("%s: %s", first_cases[i].label, e.text);
		scram_free(s);
	}
}

static const struct {
	const char *label;
	const char *message;
	size_t len;
	const char *want;
} final_cases[] = {
	{"empty", MESSAGE(""), "no signature"},
	{"NUL", MESSAGE("\0"), "no signature"},
	{"no value", MESSAGE("v="), "not a SHA-256"},
	{"another attribute", MESSAGE("x=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
		"no signature"},
	{"extension", MESSAGE("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,x=1"),
		"no signature"},
	{"comma behind", MESSAGE("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,"),
		"no signature"},
	{"NUL behind", MESSAGE("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=\0"),
		"not a SHA-256"},
	{"too short", MESSAGE("v=AAAA"), "not a SHA-256"},
	{"too long", MESSAGE("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4AAAAA"),
		"not a SHA-256"},
	{"not base64", MESSAGE("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G*="), "not a SHA-256"},
	{"error", MESSAGE("e=invalid-proof"), "refused by the server: invalid-proof"},
	{"error with odd bytes", MESSAGE("e=a\nb\0c\xff"), "refused by the server: a?b?c?"},
};

static void every_malformed_end_is_an_error_with_a_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(final_cases); i++) {
		struct scram *s = proved();
		struct err e = {.text = ""};

		assert_false(scram_server_final(
			s, slice_of(final_cases[i].message, final_cases[i].len), &e));
		if (!strstr(e.text, final_cases[i].want))
			fail_msg("%s: %s", final_cases[i].label, e.text);
		assert_false(scram_is_done(s));
		scram_free(s);
	}
}

/* Memory of exactly `len` bytes, so that the sanitizer sees a read past its end. */
static struct slice exactly(const char *text, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	return slice_of(copy, len);
}

static void release(struct slice s)
{
	free((void *)(uintptr_t)s.data);
}

static void every_truncation_of_a_challenge_is_judged(void **state)
{
	/* Only the iteration count can lose its end and still be one. */
	size_t shortest = strlen(rfc_server_first) - strlen("096");

	(void)state;
	for (size_t len = 0; len <= strlen(rfc_server_first); len++) {
		struct slice message = exactly(rfc_server_first, len);
		struct scram *s = greeted();
		struct err e;

		assert_int_equal(scram_server_first(s, message, &e), len >= shortest);
		scram_free(s);
		release(message);
	}
}

static void every_truncation_of_the_end_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < strlen(rfc_server_final); len++) {
		struct slice message = exactly(rfc_server_final, len);
		struct scram *s = proved();
		struct err e;

		assert_false(scram_server_final(s, message, &e));
		assert_false(scram_is_done(s));
		scram_free(s);
		release(message);
	}
}

static void long_messages_have_a_limit(void **state)
{
	static char message[SCRAM_MAX_MESSAGE + 100];
	static const char tail[] = SALT ",i=4096";
	static const size_t lengths[] = {
		SCRAM_MAX_MESSAGE - 1, SCRAM_MAX_MESSAGE, SCRAM_MAX_MESSAGE + 1};

	(void)state;
	for (size_t i = 0; i < LENGTH(lengths); i++) {
		struct scram *s = greeted();
		struct bytes out;
		struct err e;
		bool ok;

		memset(message, 'x', sizeof(message));
		memcpy(message, NONCE, strlen(NONCE));
		memcpy(message + lengths[i] - strlen(tail), tail, strlen(tail));
		ok = scram_server_first(s, slice_of(message, lengths[i]), &e);
		assert_int_equal(ok, lengths[i] <= SCRAM_MAX_MESSAGE);
		bytes_init(&out, 2 * SCRAM_MAX_MESSAGE);
		assert_int_equal(scram_client_final(s, &out, &e), ok);
		assert_false(scram_server_final(s, slice_of(message, sizeof(message)), &e));
		bytes_release(&out);
		scram_free(s);
	}
}

static void messages_out_of_turn_are_refused(void **state)
{
	struct scram *s = rfc_scram();
	struct bytes out;
	struct err e;

	(void)state;
	bytes_init(&out, 1000);
	assert_false(scram_server_first(s, slice_str(rfc_server_first), &e));
	scram_free(s);

	s = rfc_scram();
	assert_false(scram_server_final(s, slice_str(rfc_server_final), &e));
	scram_free(s);

	s = rfc_scram();
	assert_false(scram_client_final(s, &out, &e));
	scram_free(s);

	s = greeted();
	assert_false(scram_server_final(s, slice_str(rfc_server_final), &e));
	assert_false(scram_server_first(s, slice_str(rfc_server_first), &e));
	scram_free(s);

	s = greeted();
	assert_false(scram_client_first(s, &out, &e));
	scram_free(s);

	s = proved();
	assert_false(scram_server_first(s, slice_str(rfc_server_first), &e));
	assert_false(scram_server_final(s, slice_str(rfc_server_final), &e));
	scram_free(s);

	s = proved();
	assert_true(scram_server_final(s, slice_str(rfc_server_final), &e));
	assert_false(scram_server_final(s, slice_str(rfc_server_final), &e));
	scram_free(s);
	bytes_release(&out);
}

static void a_full_output_buffer_is_an_error(void **state)
{
	struct scram *s = rfc_scram();
	struct bytes out;
	struct err e;

	(void)state;
	bytes_init(&out, 4);
	assert_false(scram_client_first(s, &out, &e));
	bytes_release(&out);
	scram_free(s);
}

static void a_nonce_is_printable_and_never_the_same(void **state)
{
	char a[SCRAM_NONCE_SIZE], b[SCRAM_NONCE_SIZE];
	struct err e;

	(void)state;
	assert_true(scram_nonce(a, &e));
	assert_true(scram_nonce(b, &e));
	assert_int_equal(strlen(a), SCRAM_NONCE_SIZE - 1);
	assert_null(strpbrk(a, ", \"="));
	assert_string_not_equal(a, b);
}

static void passwords_of_any_length_and_bytes_work(void **state)
{
	static char password[10000];
	static const size_t lengths[] = {0, 1, 63, 64, 65, sizeof(password)};

	(void)state;
	memset(password, 0xc3, sizeof(password));
	for (size_t i = 0; i < LENGTH(lengths); i++) {
		struct err e;
		struct scram *s =
			scram_new(slice_str(""), slice_of(password, lengths[i]), rfc_nonce, &e);
		struct bytes out;

		assert_non_null(s);
		bytes_init(&out, 1000);
		assert_true(scram_client_first(s, &out, &e));
		assert_true(scram_server_first(s, slice_str(rfc_server_first), &e));
		assert_true(scram_client_final(s, &out, &e));
		bytes_release(&out);
		scram_free(s);
	}
	scram_free(NULL);
}

/* Computed with Python's hashlib. */
static void the_md5_answer_is_that_of_libpq(void **state)
{
	static const struct {
		const char *user, *password, *salt, *want;
	} cases[] = {
		{"postgres", "secret", "\1\2\3\4", "md5bb41a296aab6baccb36ff243a562abff"},
		{"u", "", "abcd", "md58cf8281550547f67a055658c2708f90d"},
	};
	char out[SCRAM_MD5_SIZE];
	struct err e;

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		assert_true(scram_md5_response(slice_str(cases[i].user),
			slice_str(cases[i].password), slice_of(cases[i].salt, 4), out, &e));
		assert_string_equal(out, cases[i].want);
	}
}

static void an_md5_salt_has_four_bytes(void **state)
{
	char out[SCRAM_MD5_SIZE];
	struct err e;

	(void)state;
	for (size_t len = 0; len <= 5; len++)
		assert_int_equal(scram_md5_response(slice_str("u"), slice_str("p"),
					 slice_of("abcde", len), out, &e),
			len == 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_rfc_7677_works),
		cmocka_unit_test(the_user_may_be_empty_and_is_escaped),
		cmocka_unit_test(the_channel_is_named_as_it_is_bound),
		cmocka_unit_test(the_work_can_be_done_in_pieces),
		cmocka_unit_test(a_wrong_signature_is_refused),
		cmocka_unit_test(
			a_wrong_password_gives_another_proof_and_expects_another_signature),
		cmocka_unit_test(every_malformed_challenge_is_an_error_with_a_text),
		cmocka_unit_test(every_malformed_end_is_an_error_with_a_text),
		cmocka_unit_test(every_truncation_of_a_challenge_is_judged),
		cmocka_unit_test(every_truncation_of_the_end_is_refused),
		cmocka_unit_test(long_messages_have_a_limit),
		cmocka_unit_test(messages_out_of_turn_are_refused),
		cmocka_unit_test(a_full_output_buffer_is_an_error),
		cmocka_unit_test(a_nonce_is_printable_and_never_the_same),
		cmocka_unit_test(passwords_of_any_length_and_bytes_work),
		cmocka_unit_test(the_md5_answer_is_that_of_libpq),
		cmocka_unit_test(an_md5_salt_has_four_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
