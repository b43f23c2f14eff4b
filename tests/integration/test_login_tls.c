/*
 * TLS on both legs: what sslmode promises towards the server, and what client_tls_sslmode demands
 * of the client.
 */
#include <setjmp.h>
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

#define SSL_REQUEST 80877103u
#define GSSENC_REQUEST 80877104u

static void write_hba(void)
{
	cluster_write_hba(&cluster, "hostssl all certified 127.0.0.0/8 cert\n"
				    "host all all 127.0.0.0/8 scram-sha-256\n");
	tell("SELECT pg_reload_conf()");
	WAIT_FOR(db_login_error(cluster.port, "sslmode=disable")[0] == '\0');
}

/* The certificate is for localhost and 127.0.0.1; the server also listens on 127.0.0.2. */
static int start(void **state)
{
	(void)state;
	fixture_start("--auth scram --tls --set listen_addresses=127.0.0.1,127.0.0.2");
	write_hba();
	cluster_shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
		      "-batch -days 30 -keyout %s -out %s -subj '/CN=somebody else' 2>/dev/null",
		cluster_file(&cluster, "other.key"), cluster_file(&cluster, "other.crt"));
	return 0;
}

struct upstream_case {
	const char *what; /* keywords; a % becomes the cluster's directory */
	const char *tls;  /* "t" or "f": whether the server saw TLS; NULL: no log-in */
	const char *error;
};

static void write_upstream(char *out, size_t size, const char *what)
{
	size_t len = (size_t)snprintf(out, size, "port=%d ", cluster.port);

	for (; *what && len + 1 < size; what++)
		if (*what == '%')
			len += (size_t)snprintf(out + len, size - len, "%s", cluster.dir);
		else
			out[len++] = *what;
	out[len] = '\0';
}

/* libpq, given the same words, must come to the same result. */
static void compare_with_libpq(const char *upstream, const struct upstream_case *c)
{
	char text[1100];
	PGconn *conn;

	snprintf(text, sizeof(text), "user=app password=secret dbname=app %s", upstream);
	conn = PQconnectdb(text);
	if (c->tls && PQstatus(conn) != CONNECTION_OK)
		fail_msg("libpq refuses %s: %s", c->what, PQerrorMessage(conn));
	if (!c->tls && PQstatus(conn) == CONNECTION_OK)
		fail_msg("libpq accepts %s", c->what);
	PQfinish(conn);
}

static void try_upstream(const struct upstream_case *c)
{
	char upstream[1000];
	struct proxy *p;

	write_upstream(upstream, sizeof(upstream), c->what);
	compare_with_libpq(upstream, c);
	p = proxy_start(upstream, NULL);
	if (c->tls) {
		PGconn *conn = db_connect(p->port, "");

		if (strcmp(db_text(conn, "SELECT ssl FROM pg_stat_ssl WHERE pid = "
					 "pg_backend_pid()"),
			    c->tls) != 0)
			fail_msg("%s: TLS is not %s", c->what, c->tls);
		db_close(conn);
	} else {
		const char *error = db_login_error(p->port, "");

		if (strncmp(error, "08001: ", 7) != 0 || !strstr(error, c->error))
			fail_msg("%s: %s", c->what, error);
	}
	assert_int_equal(proxy_stop(p, 15), 0);
}

static void sslmode_towards_the_server_means_what_it_means_to_libpq(void **state)
{
	static const struct upstream_case cases[] = {
		{"host=127.0.0.1 sslmode=disable", "f", NULL},
		{"host=127.0.0.1 sslmode=prefer", "t", NULL},
		{"host=127.0.0.1 sslmode=require", "t", NULL},
		{"host=127.0.0.1 sslmode=require sslrootcert=%/ca.crt", "t", NULL},
		{"host=127.0.0.1 sslmode=verify-ca sslrootcert=%/ca.crt", "t", NULL},
		{"host=127.0.0.1 sslmode=verify-full sslrootcert=%/ca.crt", "t", NULL},
		{"host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=%/ca.crt", "t",
			NULL},
		/* Somebody else's authority. */
		{"host=127.0.0.1 sslmode=require sslrootcert=%/other.crt", NULL, "certificate"},
		{"host=127.0.0.1 sslmode=verify-ca sslrootcert=%/other.crt", NULL, "certificate"},
		{"host=127.0.0.1 sslmode=verify-full sslrootcert=%/other.crt", NULL, "certificate"},
		/* A name that the certificate does not have. */
		{"host=127.0.0.2 sslmode=verify-ca sslrootcert=%/ca.crt", "t", NULL},
		{"host=127.0.0.2 sslmode=verify-full sslrootcert=%/ca.crt", NULL, "mismatch"},
		{"host=wrong.example hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=%/ca.crt",
			NULL, "mismatch"},
		{"host=ocalhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=%/ca.crt", NULL,
			"mismatch"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		try_upstream(&cases[i]);
}

/* A directory of certificates where libpq looks for them by itself. */
static void make_home(const char *name, const char *root, bool client)
{
	cluster_shell(
		"rm -rf %s/%s && mkdir -p %s/%s/.postgresql && cp %s %s/%s/.postgresql/root.crt",
		cluster.dir, name, cluster.dir, name, cluster_file(&cluster, root), cluster.dir,
		name);
	if (client)
		cluster_shell(
			"cd %s && cp client.crt %s/.postgresql/postgresql.crt && install -m 600 "
			"client.key %s/.postgresql/postgresql.key",
			cluster.dir, name, name);
	setenv("HOME", cluster_file(&cluster, name), 1);
}

static void files_that_are_not_named_are_where_libpq_has_them(void **state)
{
	static const struct upstream_case right[] = {
		{"host=127.0.0.1 sslmode=require", "t", NULL},
		{"host=127.0.0.1 sslmode=verify-full", "t", NULL},
		{"host=127.0.0.2 sslmode=verify-full", NULL, "mismatch"},
	};
	static const struct upstream_case wrong[] = {
		{"host=127.0.0.1 sslmode=require", NULL, "certificate"},
		{"host=127.0.0.1 sslmode=verify-ca sslrootcert=%/ca.crt", "t", NULL},
	};
	char upstream[200], home[512];
	struct proxy *p;

	(void)state;
	snprintf(home, sizeof(home), "%s", getenv("HOME") ? getenv("HOME") : "/");
	make_home("right", "ca.crt", true);
	for (size_t i = 0; i < LENGTH(right); i++)
		try_upstream(&right[i]);
	write_upstream(upstream, sizeof(upstream), "host=127.0.0.1 sslmode=verify-full");
	p = proxy_start(upstream, NULL);
	assert_string_equal(
		db_text(db_connect(p->port, "user=certified"), "SELECT current_user"), "certified");
	make_home("wrong", "other.crt", false);
	for (size_t i = 0; i < LENGTH(wrong); i++)
		try_upstream(&wrong[i]);
	setenv("HOME", home, 1);
}

static void a_server_without_tls_is_accepted_only_where_sslmode_says_so(void **state)
{
	static const struct upstream_case cases[] = {
		{"host=127.0.0.1 sslmode=disable", "f", NULL},
		{"host=127.0.0.1 sslmode=prefer", "f", NULL},
		{"host=127.0.0.1 sslmode=require", NULL, "does not support SSL"},
		{"host=127.0.0.1 sslmode=verify-full sslrootcert=%/ca.crt", NULL,
			"does not support SSL"},
	};

	(void)state;
	tell("ALTER SYSTEM SET ssl = off");
	tell("SELECT pg_reload_conf()");
	WAIT_FOR(db_login_error(cluster.port, "sslmode=require")[0] != '\0');
	for (size_t i = 0; i < LENGTH(cases); i++)
		try_upstream(&cases[i]);
	tell("ALTER SYSTEM RESET ssl");
	tell("SELECT pg_reload_conf()");
	WAIT_FOR(db_login_error(cluster.port, "sslmode=require")[0] == '\0');
}

/* Its session goes on without. */
static void an_aside_uses_tls_when_the_server_has_come_to_want_it(void **state)
{
	struct proxy *p;
	PGconn *conn;

	(void)state;
	tell("ALTER SYSTEM SET ssl = off");
	tell("SELECT pg_reload_conf()");
	WAIT_FOR(db_login_error(cluster.port, "sslmode=require")[0] != '\0');
	p = proxy_start(fixture_url("?sslmode=prefer"), NULL);
	conn = db_connect(p->port, "");
	db_do(conn, "CREATE TABLE tls (id int)");
	tell("ALTER SYSTEM RESET ssl");
	cluster_write_hba(&cluster, "hostssl all all 127.0.0.1/32 scram-sha-256\n");
	tell("SELECT pg_reload_conf()");
	WAIT_FOR(db_login_error(cluster.port, "sslmode=disable")[0] != '\0');
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY tls_id ON tls (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("tls_id"), "t");
	db_do(conn, "DROP TABLE tls");
	write_hba();
}

static void the_upstreams_certificate_logs_a_local_client_in(void **state)
{
	char upstream[1000];
	struct proxy *p;

	(void)state;
	write_upstream(upstream, sizeof(upstream),
		"host=127.0.0.1 sslmode=require sslcert=%/client.crt sslkey=%/client.key");
	p = proxy_start(upstream, NULL);
	assert_string_equal(
		db_text(db_connect(p->port, "user=certified"), "SELECT current_user"), "certified");
}

static void an_aside_uses_the_same_tls_as_its_session(void **state)
{
	char upstream[1000];
	struct proxy *p;
	PGconn *conn;

	(void)state;
	tell("GRANT ALL ON SCHEMA public TO certified");
	write_upstream(upstream, sizeof(upstream),
		"host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=%/ca.crt "
		"sslcert=%/client.crt sslkey=%/client.key");
	p = proxy_start(upstream, NULL);
	conn = db_connect(p->port, "user=certified");
	db_do(conn, "CREATE TABLE tls (id int)");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY tls_id ON tls (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("tls_id"), "t");
	db_do(conn, "DROP TABLE tls");
}

static struct proxy *start_with_tls(const char *mode)
{
	return proxy_start(fixture_url("?sslmode=disable"), "--client-tls-sslmode", mode,
		"--client-tls-cert-file", cluster_file(&cluster, "server.crt"),
		"--client-tls-key-file", cluster_file(&cluster, "server.key"), NULL);
}

static void expect_client_tls(int port, const char *more, bool tls)
{
	PGconn *conn = db_connect(port, more);

	assert_int_equal(PQsslInUse(conn) != 0, tls);
	assert_string_equal(db_text(conn, "SELECT 1"), "1");
	db_close(conn);
}

static void client_tls_allow_takes_both_kinds_of_clients(void **state)
{
	struct proxy *p = start_with_tls("allow");
	char more[600];

	(void)state;
	expect_client_tls(p->port, "sslmode=disable", false);
	expect_client_tls(p->port, "sslmode=prefer", true);
	expect_client_tls(p->port, "sslmode=require", true);
	snprintf(more, sizeof(more), "sslmode=verify-full host=localhost sslrootcert=%s",
		cluster_file(&cluster, "ca.crt"));
	expect_client_tls(p->port, more, true);
}

static void client_tls_require_refuses_a_plain_client(void **state)
{
	struct proxy *p = start_with_tls("require");

	(void)state;
	assert_memory_equal(db_login_error(p->port, "sslmode=disable"), "28000: ", 7);
	expect_client_tls(p->port, "sslmode=require", true);
	/* libpq's `allow` begins in plain, and tries again with TLS when that is refused. */
	expect_client_tls(p->port, "sslmode=allow", true);
}

static void without_client_tls_a_client_that_needs_it_is_told_no(void **state)
{
	(void)state;
	expect_client_tls(proxy->port, "sslmode=prefer", false);
	assert_non_null(strstr(
		db_login_error(proxy->port, "sslmode=require"), "server does not support SSL"));
}

static void much_data_survives_tls_on_both_legs(void **state)
{
	char upstream[400];
	struct proxy *p;
	PGconn *conn;
	PGresult *r;

	(void)state;
	write_upstream(upstream, sizeof(upstream), "host=127.0.0.1 sslmode=require");
	p = proxy_start(upstream, "--client-tls-sslmode", "require", "--client-tls-cert-file",
		cluster_file(&cluster, "server.crt"), "--client-tls-key-file",
		cluster_file(&cluster, "server.key"), NULL);
	conn = db_connect(p->port, "sslmode=require");
	r = db_query(conn, "SELECT repeat(md5(i::text), 100) FROM generate_series(1, 5000) i");
	assert_int_equal(PQntuples(r), 5000);
	for (int i = 0; i < PQntuples(r); i++)
		assert_int_equal(PQgetlength(r, i, 0), 3200);
	PQclear(r);
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE TEMP TABLE x (v text)");
	r = db_query(conn, "COPY x FROM STDIN");
	assert_int_equal(PQresultStatus(r), PGRES_COPY_IN);
	PQclear(r);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(
			PQputCopyData(conn, "0123456789012345678901234567890123456789\n", 41), 1);
	assert_int_equal(PQputCopyEnd(conn, NULL), 1);
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(db_text(conn, "SELECT sum(length(v)) FROM x"), "800000");
	db_do(conn, "COMMIT");
}

static void bytes_behind_an_ssl_request_are_never_used(void **state)
{
	struct proxy *tls = start_with_tls("allow");
	int ports[] = {tls->port, proxy->port};

	(void)state;
	for (size_t i = 0; i < LENGTH(ports); i++) {
		struct wire *w = wire_open(ports[i]);

		wire_request(w, SSL_REQUEST);
		wire_startup(w, 0x30000, "app", "app", NULL);
		wire_send(w);
		assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
		assert_non_null(strstr(w->error, "unencrypted data after SSL"));
		wire_close(w);
		w = wire_open(ports[i]);
		wire_request(w, GSSENC_REQUEST);
		wire_startup(w, 0x30000, "app", "app", NULL);
		wire_send(w);
		assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
		wire_close(w);
	}
	assert_false(proxy_has_logged(tls, "event=connect", NULL));
}

/* What comes behind 'S' in plain is a broken TLS record, whatever it says. */
static void a_plain_startup_packet_in_the_handshake_ends_the_session(void **state)
{
	struct proxy *p = start_with_tls("allow");
	struct wire *w = wire_open(p->port);

	(void)state;
	wire_request(w, SSL_REQUEST);
	wire_send(w);
	assert_int_equal(wire_byte(w), 'S');
	wire_startup(w, 0x30000, "app", "app", NULL);
	wire_send(w);
	while (wire_byte(w) >= 0) /* perhaps a TLS alert */
		continue;
	WAIT_FOR(proxy_has_logged(p, "event=disconnect", NULL));
	assert_false(proxy_has_logged(p, "event=connect", NULL));
}

static void a_client_that_never_ends_its_handshake_is_ended(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--client-tls-sslmode", "allow",
		"--client-tls-cert-file", cluster_file(&cluster, "server.crt"),
		"--client-tls-key-file", cluster_file(&cluster, "server.key"),
		"--client-login-timeout", "300ms", NULL);
	struct wire *w = wire_open(p->port);

	(void)state;
	wire_request(w, SSL_REQUEST);
	wire_send(w);
	assert_int_equal(wire_byte(w), 'S');
	while (wire_byte(w) >= 0)
		continue;
}

static void an_encrypted_connection_is_asked_for_only_once(void **state)
{
	struct wire *w = wire_open(proxy->port);

	(void)state;
	wire_request(w, SSL_REQUEST);
	wire_send(w);
	assert_int_equal(wire_byte(w), 'N');
	wire_request(w, SSL_REQUEST);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
	w = wire_open(proxy->port);
	wire_request(w, GSSENC_REQUEST);
	wire_send(w);
	assert_int_equal(wire_byte(w), 'N');
	wire_request(w, GSSENC_REQUEST);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
}

static void requests_cannot_go_to_and_fro(void **state)
{
	static const uint32_t requests[] = {
		SSL_REQUEST, GSSENC_REQUEST, SSL_REQUEST, GSSENC_REQUEST};
	struct proxy *tls = start_with_tls("allow");
	struct wire *w = wire_open(proxy->port);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		wire_request(w, requests[i]);
		wire_send(w);
		assert_int_equal(wire_byte(w), 'N');
	}
	wire_request(w, requests[2]);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
	/* Neither inside of TLS. */
	w = wire_open_tls(tls->port, "-starttls postgres");
	wire_request(w, GSSENC_REQUEST);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
}

static void after_both_refusals_the_client_logs_in_plainly(void **state)
{
	struct wire *w = wire_open(proxy->port);

	(void)state;
	wire_request(w, GSSENC_REQUEST);
	wire_send(w);
	assert_int_equal(wire_byte(w), 'N');
	wire_request(w, SSL_REQUEST);
	wire_send(w);
	assert_int_equal(wire_byte(w), 'N');
	wire_login_as(w, "app", "secret", "app", NULL);
}

static void a_certificate_that_cannot_be_read_stops_the_start(void **state)
{
	(void)state;
	cluster_shell("%s serve --listen-port 0 --upstream postgresql://127.0.0.1/app "
		      "--client-tls-sslmode require --client-tls-cert-file %s/nothing "
		      "--client-tls-key-file %s/server.key 2> %s/out; "
		      "test $? = 2 && grep -q 'pgaside: .*nothing' %s/out",
		proxy_program(), cluster.dir, cluster.dir, cluster.dir, cluster.dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sslmode_towards_the_server_means_what_it_means_to_libpq),
		TEST(files_that_are_not_named_are_where_libpq_has_them),
		TEST(a_server_without_tls_is_accepted_only_where_sslmode_says_so),
		TEST(an_aside_uses_tls_when_the_server_has_come_to_want_it),
		TEST(the_upstreams_certificate_logs_a_local_client_in),
		TEST(an_aside_uses_the_same_tls_as_its_session),
		TEST(client_tls_allow_takes_both_kinds_of_clients),
		TEST(client_tls_require_refuses_a_plain_client),
		TEST(without_client_tls_a_client_that_needs_it_is_told_no),
		TEST(much_data_survives_tls_on_both_legs),
		TEST(bytes_behind_an_ssl_request_are_never_used),
		TEST(a_plain_startup_packet_in_the_handshake_ends_the_session),
		TEST(a_client_that_never_ends_its_handshake_is_ended),
		TEST(an_encrypted_connection_is_asked_for_only_once),
		TEST(requests_cannot_go_to_and_fro),
		TEST(after_both_refusals_the_client_logs_in_plainly),
		TEST(a_certificate_that_cannot_be_read_stops_the_start),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
