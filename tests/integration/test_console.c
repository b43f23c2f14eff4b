/*
 * The admin console: who gets in, what it shows, what it does; with libpq, psql and raw messages.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "paced.h"

static struct proxy *run_by; /* whose admins are app and postgres */

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram");
}

static int prepare(void **state)
{
	char url[256];

	(void)state;
	fresh_table();
	snprintf(url, sizeof(url),
		"postgresql://127.0.0.1:%d/?application_name=x&password=hidden-in-the-upstream",
		cluster.port);
	run_by = proxy_start(url, "--admin-users", "postgres, app", "--workers", "2", NULL);
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static PGconn *console(void)
{
	return db_connect(run_by->port, "dbname=pgaside application_name=admin");
}

/* The value in that column of the first row whose column `key` is `value`; "" without. */
static const char *cell(PGresult *r, const char *key, const char *value, const char *column)
{
	for (int i = 0; i < PQntuples(r); i++)
		if (strcmp(PQgetvalue(r, i, PQfnumber(r, key)), value) == 0)
			return PQgetvalue(r, i, PQfnumber(r, column));
	return "";
}

static bool shows(PGconn *admin, const char *command, const char *key, const char *value,
	const char *column, const char *wanted)
{
	PGresult *r = db_query(admin, command);
	bool ok = PQresultStatus(r) == PGRES_TUPLES_OK &&
		  strcmp(cell(r, key, value, column), wanted) == 0;

	PQclear(r);
	return ok;
}

static void only_admins_get_in(void **state)
{
	PGconn *admin = console();

	(void)state;
	tell("CREATE ROLE other LOGIN PASSWORD 'secret'");
	assert_string_equal(db_text(admin, "SHOW VERSION"), "pgaside 0.1.0");
	assert_int_equal(db_status(admin), 'I');
	/* Who it is, the server has said: no password, no console. */
	assert_non_null(strstr(db_login_error(run_by->port, "dbname=pgaside password=wrong"),
		"28P01: password authentication failed"));
	assert_non_null(strstr(db_login_error(run_by->port, "dbname=pgaside user=other"),
		"not one of admin_users"));
	assert_non_null(
		strstr(db_login_error(run_by->port, "dbname=pgaside user=app,postgres"), "28000"));
	tell("DROP ROLE other");
}

static void a_role_that_may_not_log_in_is_no_admin(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--admin-users", "barred,gone", NULL);

	(void)state;
	tell("CREATE ROLE barred NOLOGIN PASSWORD 'secret'");
	assert_non_null(strstr(db_login_error(p->port, "dbname=pgaside user=barred"), "28"));
	assert_non_null(strstr(db_login_error(p->port, "dbname=pgaside user=gone"), "28P01"));
	tell("DROP ROLE barred");
}

static void without_admins_the_name_is_a_database_like_any_other(void **state)
{
	PGconn *conn;

	(void)state;
	assert_non_null(strstr(db_login_error(proxy->port, "dbname=pgaside"), "3D000"));
	tell("CREATE DATABASE pgaside OWNER app");
	conn = db_connect(proxy->port, "dbname=pgaside");
	assert_string_equal(db_text(conn, "SELECT current_database()"), "pgaside");
	db_close(conn);
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'pgaside'"));
	tell("DROP DATABASE pgaside");
}

static void the_servers_connection_is_not_kept(void **state)
{
	PGconn *admin = console();

	(void)state;
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
			     "'pgaside/console'"));
	assert_string_equal(db_text(admin, "SHOW VERSION"), "pgaside 0.1.0");
}

static void it_shows_sessions_settings_and_counts(void **state)
{
	PGconn *admin = console(), *conn = db_connect(run_by->port, "application_name=tool");
	char pid[16];
	PGresult *r;

	(void)state;
	snprintf(pid, sizeof(pid), "%d", PQbackendPID(conn));
	assert_true(shows(admin, "SHOW SESSIONS", "application_name", "tool", "server_pid", pid));
	assert_true(shows(admin, "show sessions;", "application_name", "tool", "database", "app"));
	assert_true(shows(admin, "SHOW SESSIONS", "application_name", "admin", "user", "app"));
	r = db_query(admin, "SHOW CONFIG");
	assert_string_equal(cell(r, "name", "workers", "value"), "2");
	assert_string_equal(cell(r, "name", "workers", "reloadable"), "no");
	assert_string_equal(cell(r, "name", "conflict", "value"), "at_commit");
	assert_string_equal(cell(r, "name", "cleanup_timeout", "value"), "30000ms");
	assert_string_equal(cell(r, "name", "aside", "value"), "on");
	assert_string_equal(cell(r, "name", "max_statement_size", "value"), "67108864");
	assert_non_null(strstr(cell(r, "name", "upstream", "value"), "127.0.0.1:"));
	for (int i = 0; i < PQntuples(r); i++)
		assert_null(strstr(PQgetvalue(r, i, 1), "hidden"));
	PQclear(r);
	assert_true(shows(admin, "SHOW STATS", "name", "sessions", "value", "2"));
	assert_true(shows(admin, "SHOW STATS", "name", "logins_total", "value", "2"));
	assert_true(shows(admin, "SHOW HELP", "command", "CANCEL number", "meaning",
		"cancels an aside, and drops what it leaves; its client gets 57014"));
}

static const char *running_id(PGconn *admin)
{
	static char id[32];
	PGresult *r = db_query(admin, "SHOW ASIDES");

	snprintf(id, sizeof(id), "%s", cell(r, "state", "running", "id"));
	PQclear(r);
	return id;
}

static void an_aside_is_seen_and_cancelled(void **state)
{
	PGconn *admin = console(), *conn = db_connect(run_by->port, "");
	PGconn *owing = db_connect(run_by->port, ""), *holder = paced_hold();

	(void)state;
	db_do(owing, "BEGIN; ALTER TABLE t ADD COLUMN c int");
	db_do(owing, "CREATE INDEX CONCURRENTLY t_c ON t (c)");
	assert_true(shows(admin, "SHOW OWED", "transaction", "open", "statement",
		"CREATE INDEX CONCURRENTLY t_c ON t (c)"));
	db_do(owing, "ROLLBACK");
	assert_true(shows(admin, "SHOW OWED", "transaction", "open", "statement", ""));
	db_do(conn, "BEGIN");
	db_send(conn, PACED_INDEX);
	WAIT_FOR(paced_is_at(1));
	WAIT_FOR(shows(admin, "SHOW ASIDES", "statement", PACED_INDEX, "percent", "24"));
	assert_true(shows(admin, "SHOW ASIDES", "statement", PACED_INDEX, "phase",
		"building index: scanning table"));
	db_fail(admin, "42704", "CANCEL 4711");
	db_fail(admin, "42601", "CANCEL 1x");
	db_fail(admin, "42601", "CANCEL");
	db_do(admin, "CANCEL %s", running_id(admin));
	assert_string_equal(db_outcome(conn), "57014");
	assert_int_equal(db_status(conn), 'E');
	assert_string_equal(index_state("paced_idx"), "");
	WAIT_FOR(shows(admin, "SHOW ASIDES", "statement", PACED_INDEX, "sqlstate", "57014"));
	db_do(conn, "ROLLBACK");
	assert_true(proxy_has_logged(run_by, "event=console", "command=\"CANCEL "));
	db_close(holder);
}

/* The console is on the worker that it writes to, which reads nothing meanwhile. */
static void a_worker_does_not_wait_for_its_own_inbox(void **state)
{
	enum {
		TIMES = 3000
	};
	struct proxy *p =
		proxy_start(fixture_url(""), "--admin-users", "app", "--workers", "1", NULL);
	PGconn *admin = db_connect(p->port, "dbname=pgaside"), *conn = db_connect(p->port, "");
	PGconn *holder = paced_hold();
	static char sql[TIMES * 40];
	char one[40], *end = sql;
	PGresult *r;

	(void)state;
	db_do(conn, "BEGIN");
	db_send(conn, PACED_INDEX);
	WAIT_FOR(paced_is_at(1));
	snprintf(one, sizeof(one), "CANCEL %s;", running_id(admin));
	for (int i = 0; i < TIMES; i++)
		end = stpcpy(end, one);
	r = db_query(admin, sql);
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "53000");
	PQclear(r);
	assert_string_equal(db_outcome(conn), "57014");
	db_close(holder);
	db_close(admin);
	db_close(conn);
	assert_int_equal(proxy_stop(p, SIGTERM), 0);
}

static void reload_and_shutdown_are_the_signals(void **state)
{
	PGconn *admin = console(), *conn = db_connect(run_by->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(admin, "RELOAD");
	WAIT_FOR(proxy_has_logged(run_by, "event=reloaded", NULL));
	db_do(admin, "SHUTDOWN");
	WAIT_FOR(proxy_has_logged(run_by, "event=stopping", "SIGTERM"));
	assert_non_null(strstr(db_login_error(run_by->port, "dbname=pgaside"), "refused"));
	db_do(conn, "COMMIT");
	assert_int_equal(proxy_wait(run_by), 0);
}

static void what_it_does_not_know_is_an_error_and_nothing_more(void **state)
{
	PGconn *admin = console();

	(void)state;
	db_fail(admin, "42601", "SELECT * FROM pg_class");
	db_fail(admin, "42601", "SHOW ASIDES please");
	db_fail(admin, "42601", "DROP TABLE t");
	db_fail(admin, "42601", "SHOW VERSION; NOPE; SHOW VERSION");
	db_fail(admin, "42601", "' not closed");
	db_fail(admin, "42601", "RELOAD 'not closed");
	db_fail(admin, "42601", "RELOAD \"%0300d\"", 0);
	db_fail(admin, "42601", "SHUTDOWN %0300d", 0);
	db_fail(admin, "42601", "CANCEL 1 %0300d", 0);
	db_do(admin, "SET x = '%0300d'", 0);
	assert_false(proxy_has_logged(run_by, "event=console", NULL));
	assert_string_equal(
		db_text(admin, "/* a comment */ show\n\tversion ; -- the end"), "pgaside 0.1.0");
	assert_int_equal(db_status(admin), 'I');
}

/* What the drivers say by themselves, and both protocols. */
static void drivers_do_not_choke(void **state)
{
	PGconn *admin = console();
	PGresult *r;

	(void)state;
	db_do(admin, "SET extra_float_digits = 3");
	db_do(admin, "BEGIN");
	db_do(admin, "ROLLBACK");
	assert_string_equal(db_text(admin, "SELECT 1"), "1");
	assert_non_null(PQparameterStatus(admin, "server_version"));
	assert_string_equal(PQparameterStatus(admin, "client_encoding"), "UTF8");
	r = PQexecParams(admin, "SHOW VERSION", 0, NULL, NULL, NULL, NULL, 1);
	assert_string_equal(PQgetvalue(r, 0, 0), "pgaside 0.1.0");
	PQclear(r);
	r = PQprepare(admin, "s", "SHOW STATS", 0, NULL);
	assert_int_equal(PQresultStatus(r), PGRES_COMMAND_OK);
	PQclear(r);
	r = PQdescribePrepared(admin, "s");
	assert_int_equal(PQnfields(r), 2);
	PQclear(r);
	r = PQexecPrepared(admin, "s", 0, NULL, NULL, NULL, 0);
	assert_string_equal(cell(r, "name", "sessions", "value"), "1");
	PQclear(r);
	r = PQexecPrepared(admin, "other", 0, NULL, NULL, NULL, 0);
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "26000");
	PQclear(r);
	r = PQexecParams(admin, "", 0, NULL, NULL, NULL, NULL, 0);
	assert_int_equal(PQresultStatus(r), PGRES_EMPTY_QUERY);
	PQclear(r);
	assert_string_equal(db_text(admin, "SELECT 1"), "1");
	cluster_shell("PGPASSWORD=secret psql -X -A -t -h 127.0.0.1 -p %d -U app -d pgaside "
		      "-c 'SHOW VERSION' -c 'SHOW SESSIONS' -c 'SHOW HELP' | grep -q "
		      "'^pgaside 0.1.0$'",
		run_by->port);
	cluster_shell("/usr/bin/python3 -c 'import psycopg\n"
		      "c = psycopg.connect(\"host=127.0.0.1 port=%d user=app password=secret "
		      "dbname=pgaside\")\n"
		      "assert c.execute(\"SHOW VERSION\").fetchone() == (\"pgaside 0.1.0\",)'",
		run_by->port);
}

/* The same pieces at once, in single bytes, and what is no message of the protocol. */
static void messages_may_come_in_any_pieces(void **state)
{
	struct wire *w = wire_open(run_by->port);

	(void)state;
	wire_login_as(w, "app", "secret", "pgaside", NULL);
	wire_query(w, "SHOW VERSION");
	wire_query(w, "");
	wire_query(w, "NOPE");
	wire_send_bytewise(w);
	assert_string_equal(
		wire_answers(w, 3), "T(1) D(pgaside 0.1.0) C(SHOW) Z:I I Z:I E(42601) Z:I");
	wire_raw(w, "Q\x7f\xff\xff\xff", 5);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(only_admins_get_in),
		CASE(a_role_that_may_not_log_in_is_no_admin),
		CASE(without_admins_the_name_is_a_database_like_any_other),
		CASE(the_servers_connection_is_not_kept),
		CASE(it_shows_sessions_settings_and_counts),
		CASE(an_aside_is_seen_and_cancelled),
		CASE(a_worker_does_not_wait_for_its_own_inbox),
		CASE(reload_and_shutdown_are_the_signals),
		CASE(what_it_does_not_know_is_an_error_and_nothing_more),
		CASE(drivers_do_not_choke),
		CASE(messages_may_come_in_any_pieces),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
