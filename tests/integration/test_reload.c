/*
 * SIGHUP: new sessions get what the file says now, those that are there keep what they began with,
 * and a file that is wrong changes nothing.
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

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth password");
}

static const char *path(void)
{
	return cluster_file(&cluster, "pgaside.ini");
}

static void write_file(const char *text)
{
	FILE *f = fopen(path(), "w");

	assert_non_null(f);
	fprintf(f, "upstream = %s\n%s", fixture_url(""), text);
	fclose(f);
}

static struct proxy *start_with(const char *text)
{
	write_file(text);
	return proxy_start(NULL, "--config", path(), NULL);
}

/* Until one more line says `event`. */
static void reload(const struct proxy *p, const char *text, const char *event)
{
	int before = proxy_count_logged(p, event);

	write_file(text);
	assert_int_equal(kill(p->pid, SIGHUP), 0);
	WAIT_FOR(proxy_count_logged(p, event) > before);
}

static const char *build_in_transaction(PGconn *conn, const char *name)
{
	const char *outcome;

	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY %s ON t (id)", name);
	outcome = db_outcome(conn);
	db_do(conn, "COMMIT");
	return outcome;
}

static void new_sessions_begin_with_the_new_settings(void **state)
{
	struct proxy *p = start_with("aside = on\n");
	PGconn *old = db_connect(p->port, ""), *new;

	(void)state;
	reload(p, "aside = off\n", "event=reloaded");
	new = db_connect(p->port, "");
	assert_string_equal(build_in_transaction(new, "i"), "25001");
	assert_string_equal(build_in_transaction(old, "i"), "00000");
	reload(p, "", "event=reloaded");
	assert_string_equal(build_in_transaction(db_connect(p->port, ""), "j"), "00000");
}

/* Nobody listens on port 1. */
static void asides_of_a_session_go_where_it_went_itself(void **state)
{
	struct proxy *p = start_with("");
	PGconn *old = db_connect(p->port, ""), *new;

	(void)state;
	reload(p, "aside_upstream = host=127.0.0.1 port=1\n", "event=reloaded");
	new = db_connect(p->port, "");
	assert_string_equal(build_in_transaction(new, "i"), "08001");
	assert_string_equal(build_in_transaction(old, "i"), "00000");
	reload(p, "upstream = host=127.0.0.1 port=1\n", "event=reloaded");
	assert_non_null(strstr(db_login_error(p->port, ""), "port 1 failed"));
	assert_string_equal(build_in_transaction(old, "j"), "00000");
}

/* A cancel request comes over a connection of its own, which is a new one. */
static void a_cancel_goes_to_the_server_of_its_session(void **state)
{
	struct proxy *p = start_with("");
	struct wire *w = wire_login(p->port, NULL), *cancel;

	(void)state;
	reload(p, "upstream = host=127.0.0.1 port=1\n", "event=reloaded");
	wire_query(w, "SELECT pg_sleep(60)");
	wire_send(w);
	WAIT_FOR(waits_in(w->pid, "PgSleep"));
	cancel = wire_open(p->port);
	wire_cancel(cancel, w->pid, w->secret);
	wire_send(cancel);
	assert_string_equal(wire_answers(w, 1), "T(1) E(57014) Z:I");
}

/* The first host was down when the session began, and is not when it is cancelled. */
static void a_cancel_goes_to_the_host_that_was_chosen(void **state)
{
	char upstream[200];
	int port, dead = wire_listen(&port);
	struct proxy *p;
	struct wire *w, *cancel;

	(void)state;
	close(dead);
	snprintf(upstream, sizeof(upstream), "host=127.0.0.1,127.0.0.1 port=%d,%d sslmode=disable",
		port, cluster.port);
	p = proxy_start(upstream, NULL);
	w = wire_login(p->port, NULL);
	cluster_shell(
		"python3 -c 'import socket, time\n"
		"s = socket.create_server((\"127.0.0.1\", %d))\n"
		"time.sleep(15)' >/dev/null 2>&1 & "
		"until python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", %d))' "
		"2>/dev/null; do sleep 0.05; done",
		port, port);
	wire_query(w, "SELECT pg_sleep(60)");
	wire_send(w);
	WAIT_FOR(waits_in(w->pid, "PgSleep"));
	cancel = wire_open(p->port);
	wire_cancel(cancel, w->pid, w->secret);
	wire_send(cancel);
	assert_string_equal(wire_answers(w, 1), "T(1) E(57014) Z:I");
}

static void a_reload_in_the_middle_of_an_aside_changes_nothing_for_it(void **state)
{
	struct proxy *p = start_with("");
	PGconn *holder = hold_builds(), *conn = db_connect(p->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	for (int i = 0; i < 3; i++)
		reload(p, "upstream = host=127.0.0.1 port=1\n", "event=reloaded");
	/* Its clean-up opens another connection. */
	tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	     "WHERE query LIKE 'CREATE INDEX CONCURRENTLY%%'");
	assert_string_equal(db_outcome(conn), "57P01");
	assert_string_equal(index_state("i"), "");
	db_do(conn, "ROLLBACK");
	release_builds(holder);
}

static void a_bad_file_is_reported_and_the_old_settings_stay(void **state)
{
	struct proxy *p = start_with("aside = off\n");
	char place[512];

	(void)state;
	reload(p, "\naside = on\nmax_client_conn = many\n", "event=reload_failed");
	snprintf(place, sizeof(place), "%s:4: max_client_conn", path());
	assert_true(proxy_has_logged(p, "event=reload_failed", place));
	assert_string_equal(build_in_transaction(db_connect(p->port, ""), "i"), "25001");
	unlink(path());
	assert_int_equal(kill(p->pid, SIGHUP), 0);
	WAIT_FOR(proxy_has_logged(p, "event=reload_failed", "No such file"));
	assert_string_equal(build_in_transaction(db_connect(p->port, ""), "i"), "25001");
}

static void what_cannot_change_is_named(void **state)
{
	struct proxy *p = start_with("listen_addr = 127.0.0.1\nworkers = 2\n");

	(void)state;
	reload(p,
		"listen_addr = 127.0.0.1,127.0.0.2\nworkers = 1\naside = off\n"
		"http_listen_addr = 127.0.0.1\nhttp_listen_port = 1\n",
		"event=reloaded");
	assert_true(proxy_has_logged(p, "setting=listen_addr", "restart"));
	assert_true(proxy_has_logged(p, "setting=workers", "restart"));
	assert_true(proxy_has_logged(p, "setting=http_listen_addr", "restart"));
	assert_true(proxy_has_logged(p, "setting=http_listen_port", "restart"));
	assert_false(proxy_has_logged(p, "setting=aside", NULL));
	/* The rest is heeded. */
	assert_string_equal(build_in_transaction(db_connect(p->port, ""), "i"), "25001");
}

static void make_certificate(const char *name)
{
	cluster_shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
		      "-days 2 -subj /CN=localhost -keyout %s.key -out %s.crt 2>/dev/null",
		cluster_file(&cluster, name), cluster_file(&cluster, name));
}

static const char *tls_settings(const char *certificate, const char *key)
{
	static char text[2048];

	snprintf(text, sizeof(text),
		"client_tls_sslmode = require\nclient_tls_cert_file = %s\n"
		"client_tls_key_file = %s\n",
		cluster_file(&cluster, certificate), cluster_file(&cluster, key));
	return text;
}

static const char *trusting(const char *certificate)
{
	static char text[512];

	snprintf(text, sizeof(text), "sslmode=verify-ca sslrootcert=%s",
		cluster_file(&cluster, certificate));
	return text;
}

static void a_certificate_is_read_again(void **state)
{
	struct proxy *p;
	PGconn *old;

	(void)state;
	make_certificate("one");
	make_certificate("two");
	p = start_with(tls_settings("one.crt", "one.key"));
	old = db_connect(p->port, trusting("one.crt"));
	/* A key that is another certificate's. */
	reload(p, tls_settings("two.crt", "one.key"), "event=reload_failed");
	assert_true(proxy_has_logged(p, "event=reload_failed", "one.key"));
	assert_string_equal(db_login_error(p->port, trusting("one.crt")), "");
	/* The same names, other contents: what a renewal does. */
	cluster_shell("cp %s %s && cp %s %s", cluster_file(&cluster, "two.crt"),
		cluster_file(&cluster, "one.crt"), cluster_file(&cluster, "two.key"),
		cluster_file(&cluster, "one.key"));
	reload(p, tls_settings("one.crt", "one.key"), "event=reloaded");
	assert_string_equal(db_login_error(p->port, trusting("two.crt")), "");
	assert_string_equal(build_in_transaction(old, "i"), "00000");
}

/* Sessions come and go while the settings do. */
static void many_reloads_under_load_leave_nothing_behind(void **state)
{
	struct proxy *p = start_with("");
	PGconn *kept[8];
	long before = 0;

	(void)state;
	for (int i = 0; i < 8; i++)
		kept[i] = db_connect(p->port, "");
	for (int round = 0; round < 200; round++) {
		if (round == 50)
			before = proxy_memory_kb(p);
		assert_int_equal(kill(p->pid, SIGHUP), 0);
		db_do(kept[round % 8], "SELECT 1");
		db_close(kept[round % 8]);
		kept[round % 8] = db_connect(p->port, "");
	}
	if (!proxy_is_sanitized())
		assert_in_range(proxy_memory_kb(p), 0, before + 1024);
	assert_int_equal(kill(p->pid, SIGTERM), 0);
	/* In the middle of the end, too. */
	kill(p->pid, SIGHUP);
	assert_int_equal(proxy_wait(p), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(new_sessions_begin_with_the_new_settings),
		FRESH_TEST(asides_of_a_session_go_where_it_went_itself),
		FRESH_TEST(a_cancel_goes_to_the_server_of_its_session),
		FRESH_TEST(a_cancel_goes_to_the_host_that_was_chosen),
		FRESH_TEST(a_reload_in_the_middle_of_an_aside_changes_nothing_for_it),
		FRESH_TEST(a_bad_file_is_reported_and_the_old_settings_stay),
		FRESH_TEST(what_cannot_change_is_named),
		FRESH_TEST(a_certificate_is_read_again),
		FRESH_TEST(many_reloads_under_load_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
