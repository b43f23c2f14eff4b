/*
 * TLS without asking for it (sslnegotiation=direct, ALPN "postgresql"), and clients' certificates.
 * The server is PostgreSQL 18: direct TLS came with 17.
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

#define PROTOCOL_3 0x30000u
#define SSL_REQUEST 80877103u

static int start(void **state)
{
	char options[1024];

	(void)state;
	snprintf(options, sizeof(options),
		"--auth scram --tls --set trace_connection_negotiation=on --bin %s",
		cluster_programs(18));
	fixture_start(options);
	cluster_shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
		      "-batch -days 30 -keyout %s -out %s -subj '/CN=somebody else' 2>/dev/null",
		cluster_file(&cluster, "other.key"), cluster_file(&cluster, "other.crt"));
	return 0;
}

static struct proxy *start_with_tls(const char *mode, const char *ca)
{
	return proxy_start(fixture_url("?sslmode=require"), "--client-tls-sslmode", mode,
		"--client-tls-cert-file", cluster_file(&cluster, "server.crt"),
		"--client-tls-key-file", cluster_file(&cluster, "server.key"),
		"--client-tls-ca-file", ca, NULL);
}

static const char *upstream_of(const char *more)
{
	static char text[1000];

	snprintf(text, sizeof(text), "host=localhost hostaddr=127.0.0.1 port=%d %s sslrootcert=%s",
		cluster.port, more, cluster_file(&cluster, "ca.crt"));
	return text;
}

/* A query through an open connection, TLS or not. */
static void expect_session(struct wire *w)
{
	wire_login_as(w, "app", "secret", "app", NULL);
	wire_query(w, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "T(1) D(t) C(SELECT 1) Z:I");
}

/* What psql with the libpq of PostgreSQL 18 says to SELECT 1. */
static void expect_psql(int port, const char *more)
{
	char libraries[600];

	snprintf(libraries, sizeof(libraries), "%s/../lib", cluster_programs(18));
	cluster_shell("test \"$(LD_LIBRARY_PATH=%s psql -XAtc 'SELECT 1' \"host=localhost "
		      "hostaddr=127.0.0.1 port=%d user=app password=secret dbname=app %s\")\" = 1",
		libraries, port, more);
}

static void a_client_may_begin_with_tls(void **state)
{
	struct proxy *p = start_with_tls("require", "");
	char more[600];

	(void)state;
	expect_session(wire_open_tls(p->port, "-alpn postgresql"));
	expect_session(wire_open_tls(p->port, "-alpn other,postgresql"));
	expect_session(wire_open_tls(p->port, "-starttls postgres"));
	snprintf(more, sizeof(more), "sslnegotiation=direct sslmode=verify-full sslrootcert=%s",
		cluster_file(&cluster, "ca.crt"));
	expect_psql(p->port, more);
	expect_psql(p->port, "sslmode=require");
}

/* Another protocol's client could otherwise be led here, and its bytes be taken for commands. */
static void who_begins_with_tls_must_name_the_protocol(void **state)
{
	struct proxy *p = start_with_tls("allow", "");
	struct wire *w = wire_open_tls(p->port, "");

	(void)state;
	assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
	assert_non_null(strstr(w->error, "without ALPN"));
	w = wire_open_tls(p->port, "-alpn http/1.1");
	wire_startup(w, PROTOCOL_3, "app", "app", NULL);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "EOF");
	assert_false(proxy_has_logged(p, "event=connect", NULL));
}

static void inside_of_tls_there_is_no_second_one(void **state)
{
	struct proxy *p = start_with_tls("allow", "");
	static const char *const ways[] = {"-alpn postgresql", "-starttls postgres"};

	(void)state;
	for (size_t i = 0; i < LENGTH(ways); i++) {
		struct wire *w = wire_open_tls(p->port, ways[i]);

		wire_request(w, SSL_REQUEST);
		wire_send(w);
		assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
		w = wire_open_tls(p->port, ways[i]);
		wire_raw(w, "\x16\x3\x1\0\xc8\1\0\0\xc4\3\3", 11);
		wire_send(w);
		assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
	}
}

static void a_cancel_request_may_be_encrypted(void **state)
{
	struct proxy *p = start_with_tls("allow", "");
	struct wire *w = wire_open_tls(p->port, "-alpn postgresql"), *c;

	(void)state;
	expect_session(w);
	wire_query(w, "SELECT pg_sleep(60)");
	wire_send(w);
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"));
	c = wire_open_tls(p->port, "-alpn postgresql");
	wire_cancel_key(c, w->key, w->key_len);
	wire_send(c);
	assert_true(wire_ends(c));
	assert_string_equal(wire_answers(w, 1), "T(1) E(57014) Z:I");
}

/* As with PostgreSQL: where nobody listens, nothing needs to be encrypted. */
static void a_unix_socket_needs_no_tls(void **state)
{
	struct proxy *p;
	char more[300];

	(void)state;
	p = proxy_start(fixture_url("?sslmode=require"), "--client-tls-sslmode", "require",
		"--client-tls-cert-file", cluster_file(&cluster, "server.crt"),
		"--client-tls-key-file", cluster_file(&cluster, "server.key"), "--unix-socket-dir",
		"/tmp", NULL);
	snprintf(more, sizeof(more), "host=/tmp port=%d", p->port);
	assert_string_equal(db_text(db_connect(p->port, more), "SELECT 1"), "1");
	assert_memory_equal(db_login_error(p->port, "sslmode=disable"), "28000: ", 7);
}

static void the_way_to_the_server_may_begin_with_tls(void **state)
{
	struct proxy *p =
		proxy_start(upstream_of("sslnegotiation=direct sslmode=verify-full"), NULL);
	PGconn *conn = db_connect(p->port, "");

	(void)state;
	assert_string_equal(
		db_text(conn, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), "t");
	cluster_shell("grep -q 'direct SSL connection accepted' %s/log", cluster.dir);
	fresh_table();
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
}

static void direct_tls_wants_an_sslmode_that_insists(void **state)
{
	(void)state;
	cluster_shell("%s serve --listen-port 0 --upstream 'host=127.0.0.1 sslnegotiation=direct' "
		      "2> %s/out; test $? = 2 && grep -q 'sslnegotiation=direct needs sslmode' "
		      "%s/out",
		proxy_program(), cluster.dir, cluster.dir);
	cluster_shell("%s serve --listen-port 0 --upstream 'host=127.0.0.1 sslmode=require "
		      "sslnegotiation=maybe' 2> %s/out; test $? = 2 && grep -q 'none of postgres, "
		      "direct' %s/out",
		proxy_program(), cluster.dir, cluster.dir);
}

/* A TLS server that is none of PostgreSQL's, or one that has no TLS, is not logged in to. */
static void a_server_that_does_not_speak_the_protocol_is_not_believed(void **state)
{
	char upstream[600], command[1200], line[200];
	struct proxy *p;
	FILE *other;
	int port;
	int listener = wire_listen(&port);
	const char *error;
	pid_t pid;

	(void)state;
	snprintf(upstream, sizeof(upstream),
		"host=127.0.0.1 port=%d sslmode=require sslnegotiation=direct", port);
	close(listener);
	snprintf(command, sizeof(command),
		"echo $$; exec openssl s_server -port %d -cert %s -key %s 2>&1 </dev/zero", port,
		cluster_file(&cluster, "server.crt"), cluster_file(&cluster, "server.key"));
	other = popen(command, "r"); /* NOLINT(cert-env33-c): a test's own command */
	assert_non_null(other);
	assert_non_null(fgets(line, sizeof(line), other));
	pid = (pid_t)strtol(line, NULL, 10);
	while (fgets(line, sizeof(line), other) && !strstr(line, "ACCEPT"))
		continue;
	p = proxy_start(upstream, NULL);
	error = db_login_error(p->port, "");
	assert_memory_equal(error, "08001: ", 7);
	assert_non_null(strstr(error, "without ALPN"));
	kill(pid, SIGTERM);
	pclose(other);
}

static void only_a_client_with_a_certificate_gets_in(void **state)
{
	struct proxy *p = start_with_tls("verify-ca", cluster_file(&cluster, "ca.crt"));
	const char *error;
	char more[1200];

	(void)state;
	snprintf(more, sizeof(more), "sslmode=require sslcert=%s sslkey=%s",
		cluster_file(&cluster, "client.crt"), cluster_file(&cluster, "client.key"));
	assert_string_equal(db_text(db_connect(p->port, more), "SELECT current_user"), "app");
	error = db_login_error(p->port, "sslmode=require");
	assert_non_null(strstr(error, "certificate required"));
	snprintf(more, sizeof(more), "sslmode=require sslcert=%s sslkey=%s",
		cluster_file(&cluster, "other.crt"), cluster_file(&cluster, "other.key"));
	error = db_login_error(p->port, more);
	assert_non_null(strstr(error, "unknown ca"));
	assert_memory_equal(db_login_error(p->port, "sslmode=disable"), "28000: ", 7);
}

static void an_authority_that_cannot_be_read_stops_the_start(void **state)
{
	(void)state;
	cluster_shell("%s serve --listen-port 0 --upstream postgresql://127.0.0.1/app "
		      "--client-tls-sslmode verify-ca --client-tls-cert-file %s/server.crt "
		      "--client-tls-key-file %s/server.key --client-tls-ca-file %s/nothing "
		      "2> %s/out; test $? = 2 && grep -q 'client authority file.*nothing' %s/out",
		proxy_program(), cluster.dir, cluster.dir, cluster.dir, cluster.dir, cluster.dir);
}

/* A daemon that asked a terminal for a key's password would hang. */
static void an_encrypted_key_needs_its_password(void **state)
{
	char upstream[1000];
	struct proxy *p;

	(void)state;
	tell("GRANT ALL ON SCHEMA public TO certified");
	cluster_shell("openssl ec -aes128 -passout pass:opensesame -in %s/client.key -out "
		      "%s/locked.key 2>/dev/null && chmod 600 %s/locked.key",
		cluster.dir, cluster.dir, cluster.dir);
	snprintf(upstream, sizeof(upstream),
		"host=127.0.0.1 port=%d sslmode=require sslcert=%s/client.crt "
		"sslkey=%s/locked.key",
		cluster.port, cluster.dir, cluster.dir);
	cluster_shell("%s serve --listen-port 0 --upstream '%s' 2> %s/out; test $? = 2 && grep -q "
		      "'private key file.*locked' %s/out",
		proxy_program(), upstream, cluster.dir, cluster.dir);
	snprintf(upstream + strlen(upstream), sizeof(upstream) - strlen(upstream),
		" sslpassword=opensesame");
	p = proxy_start(upstream, NULL);
	assert_string_equal(
		db_text(db_connect(p->port, "user=certified"), "SELECT current_user"), "certified");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_client_may_begin_with_tls),
		TEST(who_begins_with_tls_must_name_the_protocol),
		TEST(inside_of_tls_there_is_no_second_one),
		TEST(a_cancel_request_may_be_encrypted),
		TEST(a_unix_socket_needs_no_tls),
		TEST(the_way_to_the_server_may_begin_with_tls),
		TEST(direct_tls_wants_an_sslmode_that_insists),
		TEST(a_server_that_does_not_speak_the_protocol_is_not_believed),
		TEST(only_a_client_with_a_certificate_gets_in),
		TEST(an_authority_that_cannot_be_read_stops_the_start),
		TEST(an_encrypted_key_needs_its_password),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
