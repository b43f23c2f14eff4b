/*
 * Log-in with clients that do not keep to the protocol, and with servers that do not.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define SSL_REQUEST 80877103u
#define PROTOCOL_3 0x30000u

static int listener = -1; /* of the server that is none */
static int listener_port;

static int start(void **state)
{
	(void)state;
	listener = wire_listen(&listener_port);
	fixture_start("--auth password");
	tell("CREATE ROLE trusted LOGIN");
	return 0;
}

static void a_malformed_first_packet_gets_an_error_and_the_end(void **state)
{
	static const struct {
		const char *label;
		const char *bytes;
		size_t len;
	} cases[] = {
#define PACKET(label, text) {label, text, sizeof(text) - 1}
		PACKET("length 0", "\0\0\0\0\0\3\0\0"),
		PACKET("length 3", "\0\0\0\3\0\3\0\0"),
		PACKET("length 4", "\0\0\0\4\0\3\0\0"),
		PACKET("length 7", "\0\0\0\7\0\3\0\0"),
		PACKET("length 10005", "\0\0\x27\x15\0\3\0\0"),
		PACKET("length 0x7fffffff", "\x7f\xff\xff\xff\0\3\0\0"),
		PACKET("length 0x80000000", "\x80\0\0\0\0\3\0\0"),
		PACKET("length 0xffffffff", "\xff\xff\xff\xff\0\3\0\0"),
		PACKET("protocol 0", "\0\0\0\x9\0\0\0\0\0"),
		PACKET("protocol 2.0", "\0\0\0\x9\0\2\0\0\0"),
		PACKET("protocol 4.0", "\0\0\0\x9\0\4\0\0\0"),
		PACKET("an SSLRequest of nine bytes", "\0\0\0\x9\x4\xd2\x16\x2f\0"),
		PACKET("a CancelRequest of twelve bytes", "\0\0\0\xc\x4\xd2\x16\x2e\0\0\0\0"),
		PACKET("no end of the list", "\0\0\0\x11\0\3\0\0user\0app\0"),
		PACKET("a name without value", "\0\0\0\xe\0\3\0\0user\0\0"),
		PACKET("a string without end", "\0\0\0\xc\0\3\0\0user"),
		PACKET("bytes behind the end", "\0\0\0\x13\0\3\0\0user\0app\0\0x"),
		PACKET("HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		PACKET("a TLS ClientHello", "\x16\x3\x1\0\xc8\1\0\0\xc4\3\3"),
		PACKET("a Query", "Q\0\0\0\xdSELECT 1\0"),
		PACKET("a password", "p\0\0\0\xbsecret\0"),
		PACKET("a CancelRequest with a key of three bytes",
			"\0\0\0\xf\x4\xd2\x16\x2e\0\0\0\1abc"),
		PACKET("an announced CancelRequest of 269 bytes", "\0\0\1\xd\x4\xd2\x16\x2e"),
#undef PACKET
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct wire *w = wire_open(proxy->port);

		wire_raw(w, cases[i].bytes, cases[i].len);
		wire_send(w);
		if (strcmp(wire_answers(w, 1), "E(08P01) EOF") != 0)
			fail_msg("%s: %s", cases[i].label, w->text);
		wire_close(w);
	}
}

/* Up to the request for a password, or to the end. */
static const char *first_answers(int port, const void *packet, size_t len, char *error)
{
	static char text[2][512];
	static unsigned next;
	char *out = text[next++ % 2];
	struct wire *w = wire_open(port);

	wire_raw(w, packet, len);
	wire_send(w);
	snprintf(out, sizeof(text[0]), "%s", wire_until(w, "R("));
	snprintf(error, 512, "%.500s", w->error);
	wire_close(w);
	return out;
}

/* With the server asking in clear, pgaside asks exactly as the server does. */
static void an_odd_startup_message_gets_the_servers_own_answer(void **state)
{
	static const struct {
		const char *label;
		const char *rest; /* behind the length */
		size_t len;
	} cases[] = {
#define REST(label, text) {label, text, sizeof(text)}
		REST("no user", "\0\3\0\0database\0app\0"),
		REST("nothing at all", "\0\3\0\0"),
		REST("an empty user", "\0\3\0\0user\0\0database\0app\0"),
		REST("two users", "\0\3\0\0user\0nobody\0user\0app\0"),
		REST("protocol 3.1", "\0\3\0\1user\0app\0"),
		REST("protocol 3.9999", "\0\3\x27\x0fuser\0app\0"),
		REST("an unknown protocol option", "\0\3\0\0user\0app\0_pq_.x\0001\0"),
		REST("an unknown parameter", "\0\3\0\0user\0app\0no_such\0001\0"),
		REST("replication", "\0\3\0\0user\0app\0replication\0database\0"),
		REST("replication maybe", "\0\3\0\0user\0app\0replication\0maybe\0"),
		REST("not UTF-8", "\0\3\0\0user\0a\xff\xfe\0database\0\xc0\x80\0"),
#undef REST
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		uint8_t packet[128] = {0, 0, 0, (uint8_t)(cases[i].len + 4)};
		char errors[2][512];
		const char *direct, *through;

		memcpy(packet + 4, cases[i].rest, cases[i].len);
		direct = first_answers(cluster.port, packet, cases[i].len + 4, errors[0]);
		through = first_answers(proxy->port, packet, cases[i].len + 4, errors[1]);
		if (strcmp(through, direct) != 0)
			fail_msg("%s: %s, directly %s", cases[i].label, through, direct);
		assert_string_equal(errors[1], errors[0]);
	}
}

static void a_long_startup_message_is_taken_up_to_postgres_limit(void **state)
{
	char options[9990];
	struct wire *w = wire_open(proxy->port);

	(void)state;
	memset(options, ' ', sizeof(options));
	options[9900] = '\0';
	wire_login_as(w, "app", "secret", "app", options);
	options[9900] = ' ';
	options[sizeof(options) - 1] = '\0';
	w = wire_open(proxy->port);
	wire_startup(w, PROTOCOL_3, "app", "app", options);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
}

static void a_log_in_cut_into_single_bytes_works(void **state)
{
	struct wire *w = wire_open(proxy->port);

	(void)state;
	wire_request(w, SSL_REQUEST);
	wire_send_bytewise(w);
	assert_int_equal(wire_byte(w), 'N');
	wire_startup(w, PROTOCOL_3, "app", "app", NULL);
	wire_send_bytewise(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	wire_password(w, "secret");
	wire_send_bytewise(w);
	assert_non_null(strstr(wire_answers(w, 1), " K Z:I"));
}

static void what_is_no_password_message_ends_the_log_in(void **state)
{
	static const struct {
		const char *label, *bytes;
		size_t len;
	} cases[] = {
#define BYTES(label, text) {label, text, sizeof(text) - 1}
		BYTES("a Query", "Q\0\0\0\xdSELECT 1\0"),
		BYTES("a second StartupMessage", "\0\0\0\x12\0\3\0\0user\0app\0\0"),
		BYTES("an SSLRequest", "\0\0\0\x8\x4\xd2\x16\x2f"),
		BYTES("no terminator", "p\0\0\0\xasecret"),
		BYTES("bytes behind it", "p\0\0\0\xcsecret\0x"),
		BYTES("no body", "p\0\0\0\4"),
		BYTES("length 3", "p\0\0\0\3x"),
		BYTES("length 65541", "p\0\1\0\5x"),
		BYTES("length 0x7fffffff", "p\x7f\xff\xff\xffx"),
		BYTES("length 0xffffffff", "p\xff\xff\xff\xffx"),
#undef BYTES
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct wire *w = wire_open(proxy->port);

		wire_startup(w, PROTOCOL_3, "app", "app", NULL);
		wire_send(w);
		assert_string_equal(wire_until(w, "R"), "R(3)");
		wire_raw(w, cases[i].bytes, cases[i].len);
		wire_send(w);
		if (strcmp(wire_answers(w, 1), "E(08P01) EOF") != 0)
			fail_msg("%s: %s", cases[i].label, w->text);
		wire_close(w);
	}
}

/* A client that knows what it will be asked may send everything at once. */
static void a_password_sent_ahead_is_used_when_it_is_asked_for(void **state)
{
	struct wire *w = wire_open(proxy->port);

	(void)state;
	wire_startup(w, PROTOCOL_3, "app", "app", NULL);
	wire_password(w, "secret");
	wire_query(w, "SELECT 1");
	wire_send(w);
	assert_non_null(strstr(wire_answers(w, 2), " K Z:I T(1) D(1) C(SELECT 1) Z:I"));
}

static void a_flood_before_the_password_is_bounded(void **state)
{
	static char much[200000];
	struct wire *w = wire_open(proxy->port);

	(void)state;
	wire_startup(w, PROTOCOL_3, "app", "app", NULL);
	wire_send(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	wire_raw(w, "p\0\0\xff\xff", 5);
	memset(much, 'x', sizeof(much));
	wire_raw(w, much, sizeof(much));
	wire_send(w);
	/* The unread rest may make the end a reset, which takes the error with it. */
	assert_null(strstr(wire_answers(w, 1), "Z:"));
}

/* A pgaside in front of the server that is none, and a client that has sent its StartupMessage. */
static struct wire *begin(const char *parameters, struct wire **server, struct proxy **p)
{
	char upstream[128];
	struct wire *client;

	snprintf(
		upstream, sizeof(upstream), "host=127.0.0.1 port=%d %s", listener_port, parameters);
	*p = proxy_start(upstream, "--server-connect-timeout", "300ms", "--client-login-timeout",
		"1s", NULL);
	client = wire_open((*p)->port);
	wire_startup(client, PROTOCOL_3, "app", "app", NULL);
	wire_send(client);
	*server = wire_accept(listener);
	return client;
}

static void a_bad_answer_to_the_ssl_request_is_never_trusted(void **state)
{
	static const struct {
		const char *label, *bytes;
		size_t len;
	} cases[] = {
		{"S with more behind it", "SR\0\0\0\x8\0\0\0\0", 10},
		{"N with more behind it", "NR\0\0\0\x8\0\0\0\0", 10},
		{"an ErrorResponse", "E\0\0\0\x10SERROR\0C28000\0\0", 18},
		{"nonsense", "x", 1},
		{"S and no TLS behind it", "S", 1},
		{"nothing", "", 0},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct wire *server;
		struct proxy *p;
		struct wire *client = begin("sslmode=prefer", &server, &p);

		assert_int_equal(wire_take_startup(server), SSL_REQUEST);
		wire_raw(server, cases[i].bytes, cases[i].len);
		wire_send(server);
		if (strcmp(wire_answers(client, 1), "E(08001) EOF") != 0)
			fail_msg("%s: %s %s", cases[i].label, client->text, client->error);
		assert_null(strstr(client->error, "28000"));
		wire_close(client);
		wire_close(server);
		assert_int_equal(proxy_stop(p, SIGTERM), 0);
	}
}

static void a_bad_first_answer_of_the_server_ends_the_log_in_in_clear(void **state)
{
	static const struct {
		const char *label, *bytes;
		size_t len;
		const char *want;
	} cases[] = {
#define BYTES(label, text, want) {label, text, sizeof(text) - 1, want}
		BYTES("an unknown authentication", "R\0\0\0\x8\0\0\0\x63", "E(08P01) EOF"),
		BYTES("GSSAPI", "R\0\0\0\x8\0\0\0\7", "E(08P01) EOF"),
		BYTES("authentication without code", "R\0\0\0\6\0\0", "E(08P01) EOF"),
		BYTES("md5 with a short salt", "R\0\0\0\xa\0\0\0\5ab", "E(08P01) EOF"),
		BYTES("SASL with no mechanism", "R\0\0\0\x9\0\0\0\xa\0", "E(08P01) EOF"),
		BYTES("SASL we do not know", "R\0\0\0\xe\0\0\0\xaPLAI\0\0", "E(08P01) EOF"),
		BYTES("SASL continued before it began", "R\0\0\0\xa\0\0\0\xbr=", "E(08P01) EOF"),
		BYTES("SASL ended before it began", "R\0\0\0\xa\0\0\0\xcv=", "E(08P01) EOF"),
		BYTES("a row", "D\0\0\0\6\0\0", "E(08P01) EOF"),
		BYTES("ReadyForQuery", "Z\0\0\0\5I", "E(08P01) EOF"),
		BYTES("length 3", "R\0\0\0\3\0\0\0\0", "E(08P01) EOF"),
		BYTES("length 0xffffffff", "R\xff\xff\xff\xff\0\0\0\0", "E(08P01) EOF"),
		BYTES("HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "E(08P01) EOF"),
#undef BYTES
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct wire *server;
		struct proxy *p;
		struct wire *client = begin("sslmode=disable", &server, &p);

		assert_int_equal(wire_take_startup(server), PROTOCOL_3);
		wire_raw(server, cases[i].bytes, cases[i].len);
		wire_send(server);
		if (strcmp(wire_answers(client, 1), cases[i].want) != 0)
			fail_msg("%s: %s %s", cases[i].label, client->text, client->error);
		wire_close(client);
		wire_close(server);
		assert_int_equal(proxy_stop(p, SIGTERM), 0);
	}
}

static void an_error_without_fields_ends_nothing_but_its_session(void **state)
{
	struct wire *server;
	struct proxy *p;
	struct wire *client = begin("sslmode=disable", &server, &p);

	(void)state;
	wire_take_startup(server);
	wire_message(server, 'N', "\0", 1);
	wire_message(server, 'E', "", 0);
	wire_message(server, 'E', "C", 1);
	wire_send(server);
	wire_close(server);
	assert_string_equal(wire_answers(client, 1), "N() E() E() EOF");
	assert_true(proxy_is_alive(p));
}

/* The worst SCRAM messages a server could send (long, empty, broken, early). */
static void a_server_cannot_break_the_scram_exchange(void **state)
{
	static const char offer[] = "\0\0\0\xaSCRAM-SHA-256\0";
	static const char *const firsts[] = {
		"",
		"r=",
		"r=x,s=,i=4096",
		"r=x,s=QUJD,i=0",
		"r=x,s=QUJD,i=-1",
		"r=x,s=QUJD,i=4294967297",
		"r=x,s=***,i=4096",
		"e=other-error",
		"m=ext,r=x,s=QUJD,i=4096",
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(firsts); i++) {
		struct wire *server;
		struct proxy *p;
		struct wire *client = begin("sslmode=disable", &server, &p);
		char body[128] = "\0\0\0\xb";

		wire_take_startup(server);
		wire_message(server, 'R', offer, sizeof(offer));
		wire_send(server);
		assert_string_equal(wire_until(client, "R"), "R(3)");
		wire_password(client, "secret");
		wire_send(client);
		assert_string_equal(wire_until(server, "p"), "p");
		memcpy(body + 4, firsts[i], strlen(firsts[i]));
		wire_message(server, 'R', body, 4 + strlen(firsts[i]));
		wire_send(server);
		if (strncmp(wire_answers(client, 1), "E(", 2) != 0)
			fail_msg("%s: %s", firsts[i], client->text);
		assert_non_null(strstr(client->text, "EOF"));
		wire_close(client);
		wire_close(server);
		assert_int_equal(proxy_stop(p, SIGTERM), 0);
	}
}

static void a_server_that_skips_its_proof_is_not_believed(void **state)
{
	static const char offer[] = "\0\0\0\xaSCRAM-SHA-256\0";
	struct wire *server;
	struct proxy *p;
	struct wire *client = begin("sslmode=disable", &server, &p);

	(void)state;
	wire_take_startup(server);
	wire_message(server, 'R', offer, sizeof(offer));
	wire_send(server);
	assert_string_equal(wire_until(client, "R"), "R(3)");
	wire_password(client, "secret");
	wire_send(client);
	assert_string_equal(wire_until(server, "p"), "p");
	wire_message(server, 'R', "\0\0\0\0", 4);
	wire_message(server, 'Z', "I", 1);
	wire_send(server);
	assert_string_equal(wire_answers(client, 1), "E(28000) EOF");
}

static void a_server_that_never_answers_costs_a_bounded_time(void **state)
{
	struct wire *server;
	struct proxy *p;
	struct wire *tls = begin("sslmode=prefer", &server, &p);
	struct wire *plain = begin("sslmode=disable", &server, &p);

	(void)state;
	assert_string_equal(wire_answers(tls, 1), "E(08001) EOF");
	assert_string_equal(wire_answers(plain, 1), "E(08006) EOF");
}

static void a_server_that_hangs_up_is_told_in_clear(void **state)
{
	struct wire *server;
	struct proxy *p;
	struct wire *client = begin("sslmode=disable", &server, &p);

	(void)state;
	wire_take_startup(server);
	wire_close(server);
	assert_string_equal(wire_answers(client, 1), "E(08006) EOF");
	client = begin("sslmode=disable", &server, &p);
	wire_take_startup(server);
	wire_message(server, 'R', "\0\0\0\3", 4);
	wire_send(server);
	assert_string_equal(wire_until(client, "R"), "R(3)");
	wire_close(server);
	assert_string_equal(wire_answers(client, 1), "E(08006) EOF");
}

static void odd_cancel_keys_of_the_server_pass_unchanged(void **state)
{
	static const size_t sizes[] = {0, 4, 32, 256, 257};

	(void)state;
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		struct wire *server;
		struct proxy *p;
		struct wire *client = begin("sslmode=disable", &server, &p);
		uint8_t key[261] = {0, 0, 1, 2}, got[266];

		wire_take_startup(server);
		wire_message(server, 'R', "\0\0\0\0", 4);
		memset(key + 4, 0x5a, sizes[i]);
		wire_message(server, 'K', key, 4 + sizes[i]);
		wire_message(server, 'Z', "I", 1);
		wire_send(server);
		assert_string_equal(wire_until(client, "R"), "R(0)");
		assert_true(wire_take(client, got, 9 + sizes[i]));
		assert_memory_equal(got + 5, key, 4 + sizes[i]);
		assert_string_equal(wire_answers(client, 1), "Z:I");
		wire_close(client);
		wire_close(server);
		assert_int_equal(proxy_stop(p, SIGTERM), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_malformed_first_packet_gets_an_error_and_the_end),
		TEST(an_odd_startup_message_gets_the_servers_own_answer),
		TEST(a_long_startup_message_is_taken_up_to_postgres_limit),
		TEST(a_log_in_cut_into_single_bytes_works),
		TEST(what_is_no_password_message_ends_the_log_in),
		TEST(a_password_sent_ahead_is_used_when_it_is_asked_for),
		TEST(a_flood_before_the_password_is_bounded),
		TEST(a_bad_answer_to_the_ssl_request_is_never_trusted),
		TEST(a_bad_first_answer_of_the_server_ends_the_log_in_in_clear),
		TEST(an_error_without_fields_ends_nothing_but_its_session),
		TEST(a_server_cannot_break_the_scram_exchange),
		TEST(a_server_that_skips_its_proof_is_not_believed),
		TEST(a_server_that_never_answers_costs_a_bounded_time),
		TEST(a_server_that_hangs_up_is_told_in_clear),
		TEST(odd_cancel_keys_of_the_server_pass_unchanged),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
