/*
 * Log-in (auth = password) with a server that is none: what it may say in the middle of SCRAM, MD5
 * and after, and that it learns nothing that it should not.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define PROTOCOL_3 0x30000u
#define PASSWORD "a secret of the client"

static int listener = -1;
static int listener_port;

static int start(void **state)
{
	(void)state;
	listener = wire_listen(&listener_port);
	return fixture_start("--auth scram");
}

/* A conversation: a pgaside in front of the server that is none, and its client. */
struct talk {
	struct proxy *p;
	struct wire *client, *server;
	char heard[4096]; /* what the server got in the last message */
	size_t heard_len;
};

static void begin(struct talk *t)
{
	char upstream[128];

	memset(t, 0, sizeof(*t));
	snprintf(upstream, sizeof(upstream), "host=127.0.0.1 port=%d sslmode=disable",
		listener_port);
	t->p = proxy_start(upstream, "--client-login-timeout", "5s", NULL);
	t->client = wire_open(t->p->port);
	wire_startup(t->client, PROTOCOL_3, "app", "app", NULL);
	wire_send(t->client);
	t->server = wire_accept(listener);
	assert_int_equal(wire_take_startup(t->server), PROTOCOL_3);
}

/* pgaside lives, and ends as it should. */
static void end(struct talk *t)
{
	wire_close(t->client);
	wire_close(t->server);
	assert_int_equal(proxy_stop(t->p, SIGTERM), 0);
}

/* An authentication request with this code. */
static void request(struct talk *t, uint32_t code, const void *rest, size_t len)
{
	struct bytes body;

	bytes_init(&body, 1 << 20);
	bytes_put_u32(&body, code);
	bytes_put(&body, rest, len);
	wire_message(t->server, 'R', bytes_view(&body).data, bytes_length(&body));
	bytes_release(&body);
	wire_send(t->server);
}

/* The next message of pgaside to the server, of type 'p'. */
static void hear(struct talk *t)
{
	uint8_t header[5];

	assert_true(wire_take(t->server, header, sizeof(header)));
	assert_int_equal(header[0], 'p');
	t->heard_len = bytes_peek_u32(header + 1) - 4;
	assert_true(t->heard_len < sizeof(t->heard));
	assert_true(wire_take(t->server, t->heard, t->heard_len));
	t->heard[t->heard_len] = '\0';
}

static void give_password(struct talk *t)
{
	assert_string_equal(wire_until(t->client, "R"), "R(3)");
	wire_password(t->client, PASSWORD);
	wire_send(t->client);
	hear(t);
}

/* pgaside's first message, and the nonce in it. */
static const char *begin_scram(struct talk *t)
{
	const char *nonce;

	begin(t);
	request(t, 10, "SCRAM-SHA-256\0", 15);
	give_password(t);
	assert_string_equal(t->heard, "SCRAM-SHA-256");
	nonce = strstr(t->heard + sizeof("SCRAM-SHA-256") + 4, ",r=");
	assert_non_null(nonce);
	return nonce + 3;
}

static void expect_end(struct talk *t, const char *label, const char *sqlstate)
{
	char want[32];

	snprintf(want, sizeof(want), "E(%s) EOF", sqlstate);
	if (strcmp(wire_answers(t->client, 1), want) != 0)
		fail_msg("%s: %s %s", label, t->client->text, t->client->error);
	assert_null(strstr(t->client->error, PASSWORD));
	assert_false(proxy_has_logged(t->p, PASSWORD, NULL));
	end(t);
}

/* The nonce continues the client's, so that what comes behind it is looked at. */
static void a_first_message_of_scram_that_is_wrong_ends_the_log_in(void **state)
{
	static const struct {
		const char *label, *before, *behind;
		size_t more; /* further characters of the nonce */
	} cases[] = {
		{"no iterations", "", "s=QUJD,i=0", 8},
		{"a negative count", "", "s=QUJD,i=-1", 8},
		{"2^31 iterations", "", "s=QUJD,i=2147483648", 8},
		{"2^32+1 iterations", "", "s=QUJD,i=4294967297", 8},
		{"a count with a blank", "", "s=QUJD,i= 4096", 8},
		{"no count", "", "s=QUJD", 8},
		{"an empty count", "", "s=QUJD,i=", 8},
		{"no salt", "", "s=,i=4096", 8},
		{"broken base64", "", "s=QUJ*,i=4096", 8},
		{"cut base64", "", "s=QUJ,i=4096", 8},
		{"another order", "", "i=4096,s=QUJD", 8},
		{"an extension at the end", "", "s=QUJD,i=4096,x=y", 8},
		{"a mandatory extension", "m=x,", "s=QUJD,i=4096", 8},
		{"a nonce that is only ours", "", "s=QUJD,i=4096", 0},
		{"a nonce of 3000 bytes and a broken salt", "", "s=*,i=4096", 3000},
		{"a message of 20000 bytes", "", "s=QUJD,i=4096", 20000},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct talk t;
		const char *nonce = begin_scram(&t);
		struct bytes m;

		bytes_init(&m, 1 << 20);
		bytes_printf(&m, "%sr=%s", cases[i].before, nonce);
		for (size_t n = 0; n < cases[i].more; n++)
			bytes_put_u8(&m, 'x');
		bytes_printf(&m, ",%s", cases[i].behind);
		assert_false(bytes_failed(&m));
		request(&t, 11, bytes_view(&m).data, bytes_length(&m));
		bytes_release(&m);
		expect_end(&t, cases[i].label, "08P01");
	}
}

static void a_zero_byte_in_a_message_of_scram_ends_the_log_in(void **state)
{
	static const char tail[] = "x\0,s=QUJD,i=4096";
	struct talk t;
	const char *nonce = begin_scram(&t);
	struct bytes m;

	(void)state;
	bytes_init(&m, 4096);
	bytes_printf(&m, "r=%s", nonce);
	bytes_put(&m, tail, sizeof(tail) - 1);
	request(&t, 11, bytes_view(&m).data, bytes_length(&m));
	bytes_release(&m);
	expect_end(&t, "zero byte", "08P01");
}

/* Up to pgaside's proof; what comes instead of the server's is in `rest`. */
static void prove(struct talk *t)
{
	const char *nonce = begin_scram(t);
	char first[256];

	snprintf(first, sizeof(first), "r=%sSERVER,s=QUJD,i=4096", nonce);
	request(t, 11, first, strlen(first));
	hear(t);
	assert_memory_equal(t->heard, "c=biws,r=", 9);
	assert_null(strstr(t->heard, PASSWORD));
}

static void a_server_without_the_right_proof_is_not_believed(void **state)
{
	static const struct {
		const char *label, *final, *sqlstate;
	} cases[] = {
		{"nothing", "", "08P01"},
		{"no signature", "v=", "08P01"},
		{"a short one", "v=QUJD", "08P01"},
		{"a wrong one", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "28000"},
		{"broken base64", "v=6rriTRBi23WpRR/wtup*mMhUZUn/dB5nLTJRsjl95G4=", "08P01"},
		{"an extension", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,x=y", "08P01"},
		{"an error", "e=invalid-proof", "28P01"},
		{"an error with control characters", "e=\x1b[2J\nerror event=fake", "28P01"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct talk t;

		prove(&t);
		request(&t, 12, cases[i].final, strlen(cases[i].final));
		/* What would follow is not heard. */
		request(&t, 0, "", 0);
		expect_end(&t, cases[i].label, cases[i].sqlstate);
	}
}

static void a_server_that_leaves_its_proof_out_is_not_believed(void **state)
{
	struct talk t;

	(void)state;
	prove(&t);
	request(&t, 0, "", 0);
	expect_end(&t, "AuthenticationOk", "28000");
	prove(&t);
	wire_close(t.server);
	t.server = wire_open(t.p->port);
	expect_end(&t, "the end", "08006");
}

/* Who has asked for SCRAM gets no password in clear after all. */
static void a_server_cannot_ask_for_something_weaker_afterwards(void **state)
{
	static const struct {
		const char *label, *rest;
		uint32_t code;
		size_t len;
	} cases[] = {
		{"clear", "", 3, 0},
		{"md5", "salt", 5, 4},
		{"SCRAM again", "SCRAM-SHA-256\0", 10, 15},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct talk t;

		begin_scram(&t);
		request(&t, cases[i].code, cases[i].rest, cases[i].len);
		expect_end(&t, cases[i].label, "08P01");
	}
}

static void md5_says_nothing_but_the_hash(void **state)
{
	struct talk t;

	(void)state;
	begin(&t);
	request(&t, 5, "salt", 4);
	give_password(&t);
	assert_int_equal(t.heard_len, 36);
	assert_memory_equal(t.heard, "md5", 3);
	request(&t, 0, "", 0);
	wire_message(t.server, 'Z', "I", 1);
	wire_send(t.server);
	assert_string_equal(wire_answers(t.client, 1), "R(0) Z:I");
	end(&t);
}

/* A FATAL message is the last thing heard, at any time; a NOTICE before it does no harm. */
static void the_last_words_of_the_server_reach_the_client(void **state)
{
	static const char words[] = "SFATAL\0VFATAL\0C57P03\0Mthe database system is on fire\0";
	struct talk t;

	(void)state;
	begin(&t);
	wire_message(t.server, 'N', words, sizeof(words));
	wire_message(t.server, 'E', words, sizeof(words));
	wire_send(t.server);
	wire_close(t.server);
	assert_string_equal(wire_answers(t.client, 1), "N(57P03) E(57P03) EOF");
	assert_string_equal(t.client->error, "the database system is on fire");
	t.server = wire_open(t.p->port);
	end(&t);

	prove(&t);
	wire_message(t.server, 'E', words, sizeof(words));
	wire_send(t.server);
	wire_close(t.server);
	assert_string_equal(wire_answers(t.client, 1), "E(57P03) EOF");
	t.server = wire_open(t.p->port);
	end(&t);

	begin(&t);
	request(&t, 0, "", 0);
	wire_message(t.server, 'Z', "I", 1);
	wire_send(t.server);
	assert_string_equal(wire_answers(t.client, 1), "R(0) Z:I");
	wire_query(t.client, "SELECT 1");
	wire_send(t.client);
	wire_message(t.server, 'E', words, sizeof(words));
	wire_send(t.server);
	wire_close(t.server);
	assert_string_equal(wire_answers(t.client, 1), "E(57P03) EOF");
	t.server = wire_open(t.p->port);
	end(&t);
}

/* The client does not read, so neither is the server's talk read to its end. */
static void a_server_that_talks_on_is_not_listened_to_for_ever(void **state)
{
	static const size_t most = 64u << 20;
	static uint8_t notice[16384] = {'N', 0, 0, 0x3f, 0xff, 'M'};
	struct talk t;
	struct pollfd room;
	size_t sent = 0;

	(void)state;
	begin(&t);
	memset(notice + 6, 'x', sizeof(notice) - 8);
	room = (struct pollfd){.fd = t.server->fd, .events = POLLOUT};
	while (sent < most && poll(&room, 1, 500) > 0) {
		/* From where the last one was cut. */
		size_t at = sent % sizeof(notice);
		ssize_t n = send(t.server->fd, notice + at, sizeof(notice) - at,
			MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
	}
	assert_in_range(sent, sizeof(notice), most - 1);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_first_message_of_scram_that_is_wrong_ends_the_log_in),
		TEST(a_zero_byte_in_a_message_of_scram_ends_the_log_in),
		TEST(a_server_without_the_right_proof_is_not_believed),
		TEST(a_server_that_leaves_its_proof_out_is_not_believed),
		TEST(a_server_cannot_ask_for_something_weaker_afterwards),
		TEST(md5_says_nothing_but_the_hash),
		TEST(the_last_words_of_the_server_reach_the_client),
		TEST(a_server_that_talks_on_is_not_listened_to_for_ever),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
