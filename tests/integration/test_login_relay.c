/*
 * auth = relay: the server authenticates the client, message by message; and what that means for
 * the connections of an aside, whose password nobody has shown to pgaside.
 */
#include <ifaddrs.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define PROTOCOL_3 0x30000u

static struct proxy *relay;

static int start(void **state)
{
	(void)state;
	fixture_start("--auth scram --tls");
	tell("CREATE ROLE clear LOGIN PASSWORD 'secret'");
	tell("CREATE ROLE trusted LOGIN");
	tell("CREATE ROLE full LOGIN PASSWORD 'secret' CONNECTION LIMIT 0");
	tell("SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'secret'");
	cluster_write_hba(&cluster, "host all hashed 127.0.0.1/32 md5\n"
				    "host all clear 127.0.0.1/32 password\n"
				    "host all trusted 127.0.0.1/32 trust\n"
				    "host all,replication all 127.0.0.1/32 scram-sha-256\n");
	tell("SELECT pg_reload_conf()");
	WAIT_FOR(db_login_error(cluster.port, "user=trusted password=nonsense")[0] == '\0');
	cluster_shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
		      "-batch -days 30 -keyout %s -out %s -subj '/CN=localhost' 2>/dev/null",
		cluster_file(&cluster, "other.key"), cluster_file(&cluster, "other.crt"));
	return 0;
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	relay = proxy_start(fixture_url("?sslmode=disable"), "--auth", "relay", NULL);
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static const char *run_psql(int port, const char *more)
{
	static char out[1000];
	char command[2000];
	size_t len;
	FILE *f;

	snprintf(command, sizeof(command),
		"LD_LIBRARY_PATH=%s/../lib psql -XAt -c 'SELECT current_user' 'host=localhost "
		"hostaddr=127.0.0.1 port=%d user=app password=secret dbname=app %s' 2>&1",
		cluster_programs(18), port, more);
	f = popen(command, "r"); /* NOLINT(cert-env33-c): a test's own command */
	assert_non_null(f);
	len = fread(out, 1, sizeof(out) - 1, f);
	out[len] = '\0';
	pclose(f);
	return out;
}

static void the_server_itself_asks_the_client(void **state)
{
	static const struct {
		const char *user, *asked;
	} cases[] = {{"app", "R(10)"}, {"hashed", "R(5)"}, {"clear", "R(3)"}, {"trusted", "R(0)"}};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct wire *w = wire_open(relay->port);
		char more[64];
		PGconn *conn;

		wire_startup(w, PROTOCOL_3, cases[i].user, "app", NULL);
		wire_send(w);
		assert_string_equal(wire_until(w, "R"), cases[i].asked);
		wire_close(w);
		snprintf(more, sizeof(more), "user=%s", cases[i].user);
		conn = db_connect(relay->port, more);
		assert_string_equal(db_text(conn, "SELECT current_user"), cases[i].user);
		assert_int_equal(PQbackendPID(conn),
			strtol(db_text(conn, "SELECT pg_backend_pid()"), NULL, 10));
		db_close(conn);
	}
	assert_string_equal(run_psql(relay->port, "require_auth=scram-sha-256"), "app\n");
	assert_string_equal(run_psql(relay->port, "user=hashed require_auth=md5"), "hashed\n");
	assert_string_equal(run_psql(relay->port, "user=trusted require_auth=none"), "trusted\n");
}

static void a_refusal_is_the_servers_own(void **state)
{
	static const struct {
		const char *more, *state;
	} cases[] = {
		{"password=wrong", "28P01"},
		{"user=hashed password=wrong", "28P01"},
		{"user=clear password=wrong", "28P01"},
		{"user=nobody", "28P01"},
		{"dbname=nowhere", "3D000"},
		{"user=full", "53300"},
		{"options='-c work_mem=nonsense'", "22023"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const char *direct = db_login_error(cluster.port, cases[i].more);
		const char *through = db_login_error(relay->port, cases[i].more);

		assert_memory_equal(through, cases[i].state, 5);
		assert_string_equal(through, direct);
	}
}

static struct proxy *relay_with(const char *upstream_more)
{
	char upstream[600];

	snprintf(upstream, sizeof(upstream), "host=127.0.0.1 port=%d sslmode=disable %s",
		cluster.port, upstream_more);
	return proxy_start(upstream, "--auth", "relay", NULL);
}

/* In a transaction, so that it is taken aside. */
static void expect_index(struct proxy *p, const char *name)
{
	PGconn *conn = db_connect(p->port, "");

	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY %s ON t (id)", name);
	db_do(conn, "COMMIT");
	assert_string_equal(index_state(name), "t");
	db_close(conn);
	assert_int_equal(proxy_stop(p, 15), 0);
}

static const char *write_passfile(const char *line)
{
	const char *path = cluster_file(&cluster, "passfile");
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(line, f);
	fclose(f);
	assert_int_equal(chmod(path, 0600), 0);
	return path;
}

static void an_aside_logs_in_with_what_pgaside_has_been_given(void **state)
{
	char more[400];
	struct proxy *p;

	(void)state;
	expect_index(relay_with("user=app password=secret"), "by_url");

	setenv("PGUSER", "app", 1);
	setenv("PGPASSWORD", "secret", 1);
	p = relay_with("");
	unsetenv("PGUSER");
	unsetenv("PGPASSWORD");
	expect_index(p, "by_variables");

	snprintf(more, sizeof(more), "passfile=%s", write_passfile("*:*:app:app:secret\n"));
	expect_index(relay_with(more), "by_keyword");
	setenv("PGPASSFILE", cluster_file(&cluster, "passfile"), 1);
	p = relay_with("");
	unsetenv("PGPASSFILE");
	expect_index(p, "by_file");
}

static void without_a_password_an_aside_says_whose_it_needs(void **state)
{
	static const char *const upstreams[] = {
		"", "user=deploy password=secret", "password=secret" /* of nobody */};

	(void)state;
	setenv("HOME", "/nowhere", 1);
	for (size_t i = 0; i < LENGTH(upstreams); i++) {
		struct proxy *p = relay_with(upstreams[i]);
		PGconn *conn = db_connect(p->port, "");
		PGresult *r;

		db_do(conn, "BEGIN");
		r = db_query(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
		assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "28P01");
		assert_non_null(strstr(
			db_error_field(r, PG_DIAG_MESSAGE_PRIMARY), "has none of user \"app\""));
		PQclear(r);
		assert_int_equal(db_status(conn), 'E');
		db_do(conn, "ROLLBACK");
		/* Outside of a transaction no other connection is needed. */
		db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
		db_do(conn, "DROP INDEX i");
		db_close(conn);
		assert_int_equal(proxy_stop(p, 15), 0);
	}
}

/* With a server that wants none, there is nothing to be known. */
static void a_user_without_password_needs_none_for_an_aside_either(void **state)
{
	PGconn *conn = db_connect(relay->port, "user=trusted");

	(void)state;
	tell("ALTER TABLE t OWNER TO trusted; GRANT ALL ON SCHEMA public TO trusted");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
}

static struct proxy *relay_with_tls(const char *certificate, const char *upstream_tls)
{
	char upstream[300], names[2][32];

	snprintf(upstream, sizeof(upstream), "host=127.0.0.1 port=%d sslmode=%s", cluster.port,
		upstream_tls);
	snprintf(names[0], sizeof(names[0]), "%s.crt", certificate);
	snprintf(names[1], sizeof(names[1]), "%s.key", certificate);
	return proxy_start(upstream, "--auth", "relay", "--client-tls-sslmode", "allow",
		"--client-tls-cert-file", cluster_file(&cluster, names[0]), "--client-tls-key-file",
		cluster_file(&cluster, names[1]), NULL);
}

static void channel_binding_works_with_the_servers_own_certificate(void **state)
{
	struct proxy *p = relay_with_tls("server", "require");

	(void)state;
	assert_string_equal(run_psql(p->port, "sslmode=require channel_binding=require"), "app\n");
	assert_string_equal(run_psql(p->port, "sslmode=require"), "app\n");
	assert_string_equal(run_psql(p->port, "sslmode=disable"), "app\n");
}

static void channel_binding_is_not_offered_where_it_cannot_work(void **state)
{
	struct proxy *p = relay_with_tls("other", "require");
	struct wire *w = wire_open(p->port);
	static const char want[] = "R\0\0\0\x17\0\0\0\xaSCRAM-SHA-256\0";
	char got[sizeof(want)];
	const char *error;

	(void)state;
	wire_startup(w, PROTOCOL_3, "app", "app", NULL);
	wire_send(w);
	assert_true(wire_take(w, got, sizeof(got)));
	assert_memory_equal(got, want, sizeof(want));

	assert_string_equal(run_psql(p->port, "sslmode=disable"), "app\n");
	assert_string_equal(run_psql(p->port, "sslmode=require channel_binding=disable"), "app\n");
	error = run_psql(p->port, "sslmode=require");
	assert_non_null(strstr(error, "use channel_binding=disable"));
	error = run_psql(p->port, "sslmode=require channel_binding=require");
	assert_non_null(strstr(error, "channel binding is required"));
}

/* pgaside in front of another one that is in the middle: the password of pgaside's client is bound
 * to the certificate that pgaside sees, which must be the server's. */
static void somebody_in_the_middle_is_found_out(void **state)
{
	static const struct {
		const char *certificate, *binding;
		bool ok;
	} cases[] = {
		{"server", "prefer", true},
		{"server", "require", true},
		{"other", "prefer", false},
		{"other", "require", false},
		{"other", "disable", true},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct proxy *middle = relay_with_tls(cases[i].certificate, "require"), *p;
		char upstream[200];
		const char *error;

		snprintf(upstream, sizeof(upstream),
			"host=127.0.0.1 port=%d sslmode=require channel_binding=%s", middle->port,
			cases[i].binding);
		p = proxy_start(upstream, NULL);
		error = db_login_error(p->port, "");
		if (cases[i].ok ? error[0] != '\0' : strncmp(error, "28000: ", 7) != 0)
			fail_msg("%s, %s: %s", cases[i].certificate, cases[i].binding, error);
		assert_int_equal(proxy_stop(p, 15), 0);
		assert_int_equal(proxy_stop(middle, 15), 0);
	}
}

/* Not even asked is the client, where what it would show could not be bound. */
static void channel_binding_that_is_required_is_insisted_on(void **state)
{
	static const char *const auth[] = {"password", "relay"};
	static const char *const users[] = {"clear", "hashed", "trusted"};

	(void)state;
	for (size_t i = 0; i < LENGTH(auth); i++) {
		struct proxy *p =
			proxy_start(fixture_url("?sslmode=disable&channel_binding=require"),
				"--auth", auth[i], NULL);

		assert_memory_equal(db_login_error(p->port, ""), "28000: ", 7);
		for (size_t j = 0; j < LENGTH(users); j++) {
			struct wire *w = wire_open(p->port);

			wire_startup(w, PROTOCOL_3, users[j], "app", NULL);
			wire_send(w);
			assert_string_equal(wire_answers(w, 1), "E(28000) EOF");
			wire_close(w);
		}
		assert_int_equal(proxy_stop(p, 15), 0);
	}
}

static void a_server_without_tls_offers_no_channel_binding_itself(void **state)
{
	struct proxy *p = relay_with_tls("other", "disable");

	(void)state;
	assert_string_equal(run_psql(p->port, "sslmode=require"), "app\n");
	assert_string_equal(run_psql(p->port, "sslmode=disable"), "app\n");
}

/* An address of this machine that is not loopback, NULL if it has none. */
static const char *outer_address(void)
{
	static char address[64];
	struct ifaddrs *list, *i;

	address[0] = '\0';
	assert_int_equal(getifaddrs(&list), 0);
	for (i = list; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !address[0] &&
			strncmp(i->ifa_name, "lo", 2) != 0)
			getnameinfo(i->ifa_addr, sizeof(struct sockaddr_in), address,
				sizeof(address), NULL, 0, NI_NUMERICHOST);
	freeifaddrs(list);
	return address[0] ? address : NULL;
}

static void over_an_open_network_only_scram_and_md5_go_through(void **state)
{
	static const struct {
		const char *user;
		bool ok;
	} cases[] = {{"app", true}, {"hashed", true}, {"clear", false}, {"trusted", false}};
	const char *address = outer_address();
	struct proxy *p;

	(void)state;
	if (!address) {
		print_message("this machine has no address but loopback\n");
		skip();
		return;
	}
	p = proxy_start(fixture_url("?sslmode=disable"), "--auth", "relay", "--listen-addr",
		"0.0.0.0", NULL);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		char more[128];
		const char *error;

		snprintf(more, sizeof(more), "host=%s user=%s", address, cases[i].user);
		error = db_login_error(p->port, more);
		if (cases[i].ok)
			assert_string_equal(error, "");
		else
			assert_memory_equal(error, "28000: ", 7);
	}
}

/* What a client may say instead of its first SASL message, and what becomes of it. */
static void what_a_client_says_in_sasl_gets_the_servers_own_answer(void **state)
{
	static const struct {
		const char *label, *body;
		size_t len;
	} cases[] = {
#define BODY(label, text) {label, text, sizeof(text) - 1}
		BODY("nothing", ""),
		BODY("no end of the mechanism", "SCRAM-SHA-256"),
		BODY("an unknown mechanism", "PLAIN\0\0\0\0\0"),
		BODY("channel binding that was not offered",
			"SCRAM-SHA-256-PLUS\0\0\0\0\x8p=x,,n=,"),
		BODY("no data", "SCRAM-SHA-256\0\xff\xff\xff\xff"),
		BODY("a length that is too long", "SCRAM-SHA-256\0\0\0\0\x9n,,n=,r="),
		BODY("a length that is too short", "SCRAM-SHA-256\0\0\0\0\1n,,n=,r=abc"),
		BODY("a length of 0x7fffffff", "SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=abc"),
		BODY("a zero byte inside", "SCRAM-SHA-256\0\0\0\0\xbn,,n=\0,r=ab"),
		BODY("an authorization identity", "SCRAM-SHA-256\0\0\0\0\xen,a=x,n=,r=abc"),
		BODY("an unknown flag", "SCRAM-SHA-256\0\0\0\0\xbx,,n=,r=abc"),
		BODY("no nonce", "SCRAM-SHA-256\0\0\0\0\x5n,,n="),
		BODY("an extension", "SCRAM-SHA-256\0\0\0\0\xfn,,m=x,n=,r=abc"),
		BODY("a password", "secret\0"),
#undef BODY
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		int ports[] = {cluster.port, relay->port};
		char said[2][700];

		for (int j = 0; j < 2; j++) {
			struct wire *w = wire_open(ports[j]);

			wire_startup(w, PROTOCOL_3, "app", "app", NULL);
			wire_send(w);
			assert_string_equal(wire_until(w, "R"), "R(10)");
			wire_message(w, 'p', cases[i].body, cases[i].len);
			wire_send(w);
			wire_until(w, "R(11)");
			snprintf(said[j], sizeof(said[j]), "%.300s: %.300s", w->text, w->error);
			wire_close(w);
		}
		if (strcmp(said[1], said[0]) != 0)
			fail_msg("%s: %s, directly %s", cases[i].label, said[1], said[0]);
	}
}

static void what_is_no_answer_ends_the_log_in(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{"Q\0\0\0\xdSELECT 1", 14},
		{"p\0\0\0\3x", 6},
		{"p\0\1\0\5x", 6},
		{"p\x7f\xff\xff\xffx", 6},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct wire *w = wire_open(relay->port);

		wire_startup(w, PROTOCOL_3, "app", "app", NULL);
		wire_send(w);
		assert_string_equal(wire_until(w, "R"), "R(10)");
		wire_raw(w, cases[i].bytes, cases[i].len);
		wire_send(w);
		assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
	}
}

static void an_answer_sent_ahead_waits_until_it_is_asked_for(void **state)
{
	struct wire *w = wire_open(relay->port);

	(void)state;
	wire_startup(w, PROTOCOL_3, "clear", "app", NULL);
	wire_password(w, "secret");
	wire_query(w, "SELECT 1");
	wire_send(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	assert_non_null(strstr(wire_answers(w, 2), " K Z:I T(1) D(1) C(SELECT 1) Z:I"));
}

static void a_log_in_cut_into_single_bytes_works(void **state)
{
	struct wire *w = wire_open(relay->port);

	(void)state;
	wire_startup(w, PROTOCOL_3, "clear", "app", NULL);
	wire_send_bytewise(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	wire_password(w, "secret");
	wire_send_bytewise(w);
	assert_non_null(strstr(wire_answers(w, 1), " K Z:I"));
}

/* A server that is none, in front of which pgaside only relays. */
static struct wire *begin(int listener, int port, struct wire **server, struct proxy **p)
{
	char upstream[128];
	struct wire *client;

	snprintf(upstream, sizeof(upstream), "host=127.0.0.1 port=%d sslmode=disable", port);
	*p = proxy_start(upstream, "--auth", "relay", "--client-login-timeout", "2s", NULL);
	client = wire_open((*p)->port);
	wire_startup(client, PROTOCOL_3, "app", "app", NULL);
	wire_send(client);
	*server = wire_accept(listener);
	assert_int_equal(wire_take_startup(*server), PROTOCOL_3);
	return client;
}

static void a_hostile_server_reaches_only_its_client(void **state)
{
	static const struct {
		const char *label, *bytes;
		size_t len;
		const char *want;
	} cases[] = {
#define BYTES(label, text, want) {label, text, sizeof(text) - 1, want}
		BYTES("no code", "R\0\0\0\6\0\0", "E(08P01) EOF"),
		BYTES("a list without end", "R\0\0\0\x1b\0\0\0\xaSCRAM-SHA-256-PLUS\0",
			"E(08P01) EOF"),
		BYTES("channel binding only", "R\0\0\0\x1c\0\0\0\xaSCRAM-SHA-256-PLUS\0\0",
			"E(08P01) EOF"),
		BYTES("AuthenticationOk instead of waiting", "R\0\0\0\x8\0\0\0\3R\0\0\0\x8\0\0\0\0",
			"R(3) E(08P01) EOF"),
		BYTES("a row", "D\0\0\0\6\0\0", "E(08P01) EOF"),
		BYTES("length 0xffffffff", "R\xff\xff\xff\xff\0\0\0\0", "E(08P01) EOF"),
#undef BYTES
	};
	int port, listener = wire_listen(&port);

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct wire *server;
		struct proxy *p;
		struct wire *client = begin(listener, port, &server, &p);

		wire_raw(server, cases[i].bytes, cases[i].len);
		wire_send(server);
		if (strcmp(wire_answers(client, 1), cases[i].want) != 0)
			fail_msg("%s: %s %s", cases[i].label, client->text, client->error);
		wire_close(client);
		wire_close(server);
		assert_int_equal(proxy_stop(p, 15), 0);
	}
	close(listener);
}

static void an_authentication_nobody_knows_here_goes_through(void **state)
{
	int port, listener = wire_listen(&port);
	struct wire *server;
	struct proxy *p;
	struct wire *client = begin(listener, port, &server, &p);

	(void)state;
	wire_message(server, 'R', "\0\0\0\7", 4); /* GSSAPI */
	wire_send(server);
	assert_string_equal(wire_until(client, "R"), "R(7)");
	wire_message(client, 'p', "token", 5);
	wire_send(client);
	assert_string_equal(wire_until(server, "p"), "p");
	/* The last token needs no answer. */
	wire_message(server, 'R', "\0\0\0\x8more", 8);
	wire_message(server, 'R', "\0\0\0\0", 4);
	wire_message(server, 'Z', "I", 1);
	wire_send(server);
	assert_string_equal(wire_answers(client, 1), "R(8) R(0) Z:I");
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_server_itself_asks_the_client),
		CASE(a_refusal_is_the_servers_own),
		CASE(an_aside_logs_in_with_what_pgaside_has_been_given),
		CASE(without_a_password_an_aside_says_whose_it_needs),
		CASE(a_user_without_password_needs_none_for_an_aside_either),
		CASE(channel_binding_works_with_the_servers_own_certificate),
		CASE(channel_binding_is_not_offered_where_it_cannot_work),
		CASE(somebody_in_the_middle_is_found_out),
		CASE(channel_binding_that_is_required_is_insisted_on),
		CASE(a_server_without_tls_offers_no_channel_binding_itself),
		CASE(over_an_open_network_only_scram_and_md5_go_through),
		CASE(what_a_client_says_in_sasl_gets_the_servers_own_answer),
		CASE(what_is_no_answer_ends_the_log_in),
		CASE(an_answer_sent_ahead_waits_until_it_is_asked_for),
		CASE(a_log_in_cut_into_single_bytes_works),
		CASE(a_hostile_server_reaches_only_its_client),
		CASE(an_authentication_nobody_knows_here_goes_through),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
