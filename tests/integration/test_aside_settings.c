/*
 * An aside runs as the client would have run it: its settings, its role, its encoding, its
 * timeouts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static int start(void **state)
{
	(void)state;
	fixture_start("--auth scram");
	tell("CREATE ROLE owner_role; GRANT owner_role TO app");
	return 0;
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	tell("DROP SCHEMA IF EXISTS a, b CASCADE; CREATE SCHEMA a AUTHORIZATION app; "
	     "CREATE SCHEMA b AUTHORIZATION app");
	tell("SET ROLE app; CREATE TABLE a.t (id int, v text); CREATE TABLE b.t (id int, v text)");
	tell("RESET ROLE");
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static void make_and_find(PGconn *conn, const char *begin, const char *setting, const char *where)
{
	char name[64];

	if (begin[0])
		db_do(conn, "%s", begin);
	if (setting)
		db_do(conn, "%s", setting);
	if (!begin[0])
		db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	snprintf(name, sizeof(name), "%s.i", where);
	if (strcmp(index_state(name), "t") != 0)
		fail_msg("%s; %s: there is no index %s", begin, setting ? setting : "", name);
	tell("DROP INDEX %s", name);
}

static void search_path_is_the_one_in_force(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	const char *value[] = {"b, a"};

	(void)state;
	make_and_find(conn, "", "SET search_path = a", "a");
	make_and_find(conn, "BEGIN", "SET LOCAL search_path = b", "b");
	make_and_find(conn, "", NULL, "a");
	make_and_find(conn, "BEGIN", "SELECT set_config('search_path', 'b', true)", "b");
	PQclear(PQexecParams(conn, "SELECT set_config('search_path', $1, false)", 1, NULL, value,
		NULL, NULL, 0));
	make_and_find(conn, "", NULL, "b");
	make_and_find(conn, "", "RESET search_path", "public");
	conn = db_connect(proxy->port, "options='-c search_path=a'");
	make_and_find(conn, "", NULL, "a");
	/* At commit, too, although the setting is gone by then. */
	make_and_find(conn, "BEGIN", "SET LOCAL search_path = b; UPDATE b.t SET v = 'x'", "b");
	make_and_find(
		conn, "BEGIN", "SET search_path = b; UPDATE t SET v = 'x'; RESET search_path", "a");
}

static void settings_of_the_role_are_no_obstacle(void **state)
{
	PGconn *conn;

	(void)state;
	tell("ALTER ROLE app SET search_path = a; ALTER ROLE app SET lock_timeout = '7s'");
	conn = db_connect(proxy->port, "");
	make_and_find(conn, "", NULL, "a");
	make_and_find(conn, "", "SET search_path = b", "b");
	tell("ALTER ROLE app RESET ALL");
}

static void the_role_is_the_one_in_force(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("ALTER TABLE t OWNER TO owner_role; GRANT ALL ON SCHEMA public TO owner_role");
	db_do(conn, "BEGIN");
	db_do(conn, "SET LOCAL ROLE owner_role");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
	conn = db_connect(proxy->port, "user=postgres password=postgres");
	db_do(conn, "SET SESSION AUTHORIZATION app");
	db_do(conn, "SET ROLE owner_role");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("j"), "t");
	/* Less than the user might do: the superuser has put on another role. */
	tell("CREATE TABLE public.mine (id int)");
	db_do(conn, "BEGIN");
	db_fail(conn, "42501", "CREATE INDEX CONCURRENTLY k ON mine (id)");
	db_do(conn, "ROLLBACK");
	tell("ALTER TABLE t OWNER TO app; DROP OWNED BY owner_role");
}

static void the_clients_encoding_is_understood(void **state)
{
	PGconn *conn = db_connect(proxy->port, "client_encoding=LATIN1");

	(void)state;
	db_do(conn, "CREATE TABLE \"\xe9t\xe9\" (v text)");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY \"\xfc\" ON \"\xe9t\xe9\" (v) WHERE v <> '\xdf'");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("\"\xc3\xbc\""), "t");
	assert_non_null(
		strstr(ask("SELECT pg_get_indexdef('\"\xc3\xbc\"'::regclass)"), "'\xc3\x9f'"));
	/* Where a backslash may be half a character, the text is left to PostgreSQL. */
	db_do(conn, "SET client_encoding = 'SJIS'");
	db_do(conn, "BEGIN");
	db_fail(conn, "25001",
		"CREATE INDEX CONCURRENTLY \"\x83\x5c\" ON t (v) WHERE v <> '\x83\x5c'");
	db_do(conn, "ROLLBACK");
	/* And an error's text comes back in it. */
	db_do(conn, "SET client_encoding = 'LATIN1'");
	db_do(conn, "BEGIN");
	db_fail(conn, "42703", "CREATE INDEX CONCURRENTLY x ON t (\"n\xf6\")");
	assert_non_null(strstr(PQerrorMessage(conn), "n\xf6"));
	db_do(conn, "ROLLBACK");
}

/* So many letters e with an accent. */
static const char *accents(const char *one, unsigned n)
{
	static char text[256];
	size_t len = strlen(one);

	for (unsigned i = 0; i < n; i++)
		memcpy(text + i * len, one, len);
	text[n * len] = '\0';
	return text;
}

static void make_index_named(PGconn *conn, const char *name, const char *outcome)
{
	db_do(conn, "BEGIN; CREATE TABLE IF NOT EXISTS journal (v text)");
	db_send(conn, "CREATE INDEX CONCURRENTLY \"%s\" ON t (v)", name);
	assert_string_equal(db_outcome(conn), outcome);
	db_do(conn, "COMMIT");
}

/* It is cut to 63 bytes in the server's encoding, which only the server can do. */
static void a_name_that_is_cut_in_another_encoding_is_left_to_postgres(void **state)
{
	PGconn *conn = db_connect(proxy->port, "client_encoding=LATIN1");

	(void)state;
	make_index_named(conn, accents("\xe9", 40), "25001");
	make_index_named(conn, accents("\xe9", 20), "00000");
	db_do(conn, "SET client_encoding = 'UTF8'");
	make_index_named(conn, accents("\xc3\xa9", 40), "00000");
	assert_string_equal(
		ask("SELECT string_agg(length(relname)::text, ' ' ORDER BY relname) FROM pg_class "
		    "WHERE relkind = 'i' AND relname LIKE '\xc3\xa9%%'"),
		"20 31");
	db_close(conn);
	tell("CREATE DATABASE latin OWNER app ENCODING LATIN1 TEMPLATE template0");
	conn = db_connect(proxy->port, "dbname=latin client_encoding=UTF8");
	db_do(conn, "CREATE TABLE t (v text)");
	make_index_named(conn, accents("\xc3\xa9", 40), "25001");
	make_index_named(conn, accents("\xc3\xa9", 20), "00000");
	db_close(conn);
	tell("DROP DATABASE latin WITH (FORCE)");
}

static void how_literals_are_read_is_the_same(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "SET standard_conforming_strings = off; SET escape_string_warning = off");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v) WHERE v <> 'it\\'s; a test'");
	db_do(conn, "COMMIT");
	assert_non_null(strstr(ask("SELECT pg_get_indexdef('i'::regclass)"), "'it''s; a test'"));
	db_do(conn, "RESET standard_conforming_strings");
	db_do(conn, "ALTER TABLE t ADD d date");
	db_do(conn, "BEGIN");
	db_do(conn, "SET LOCAL datestyle = 'ISO, DMY'");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (d) WHERE d > '01/02/2003'");
	db_do(conn, "COMMIT");
	assert_non_null(strstr(ask("SELECT pg_get_indexdef('j'::regclass)"), "'2003-02-01'"));
}

static void what_only_concerns_transactions_is_not_taken_along(void **state)
{
	PGconn *conn = db_connect(proxy->port, "options='-c default_transaction_read_only=on -c "
					       "default_transaction_isolation=serializable'");

	(void)state;
	db_do(conn, "BEGIN READ WRITE ISOLATION LEVEL READ COMMITTED");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
}

static void the_aside_bears_the_clients_name(void **state)
{
	PGconn *conn = db_connect(proxy->port, "application_name=drizzle");
	PGconn *holder = hold_builds();

	(void)state;
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	assert_string_equal(ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = "
				"'pgaside/drizzle' AND query LIKE 'CREATE INDEX%%'"),
		"1");
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
}

static void lock_timeout_ends_the_aside(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--aside-retries", "1", NULL);
	PGconn *conn = db_connect(p->port, ""), *third = db_connect(cluster.port, "");

	(void)state;
	db_do(third, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
	db_do(conn, "BEGIN");
	db_do(conn, "SET LOCAL lock_timeout = '100ms'");
	db_fail(conn, "55P03", "CREATE INDEX CONCURRENTLY i ON t (id)");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	db_do(third, "COMMIT");
	assert_string_equal(index_state("i"), "");
	assert_true(proxy_has_logged(p, "event=aside_retry", "sqlstate=55P03"));
}

/* The leftover cannot be dropped while that writer is there: the client does not wait for it longer
 * than cleanup_timeout, and it is dropped as soon as it can be. */
static void a_clean_up_that_must_wait_goes_on_behind_the_answer(void **state)
{
	struct proxy *p = proxy_start(
		fixture_url(""), "--aside-retries", "0", "--cleanup-timeout", "300ms", NULL);
	PGconn *conn = db_connect(p->port, ""), *third = db_connect(cluster.port, "");
	PGresult *r;

	(void)state;
	db_do(third, "BEGIN; INSERT INTO t VALUES (1)");
	db_do(conn, "BEGIN");
	db_do(conn, "SET LOCAL lock_timeout = '100ms'");
	r = db_query(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "55P03");
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_HINT), "i"));
	PQclear(r);
	db_do(conn, "ROLLBACK");
	assert_true(proxy_has_logged(p, "event=cleanup_unfinished", NULL));
	db_do(third, "COMMIT");
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass"));
}

/* The client may lift what its role has; a new connection has it again. */
static void a_role_that_only_reads_may_be_told_to_write(void **state)
{
	PGconn *conn;

	(void)state;
	tell("ALTER ROLE app SET default_transaction_read_only = on");
	conn = db_connect(proxy->port, "");
	tell("ALTER ROLE app RESET default_transaction_read_only");
	for (int i = 0; i < 2; i++) {
		db_do(conn, "%s", i ? "SET default_transaction_read_only = off" : "SELECT 1");
		tell("ALTER ROLE app SET default_transaction_read_only = on");
		db_do(conn, "%s", i ? "BEGIN" : "BEGIN READ WRITE");
		db_do(conn, "CREATE INDEX CONCURRENTLY now ON t (id)");
		db_do(conn, "INSERT INTO t VALUES (5000, 'x')");
		db_do(conn, "CREATE INDEX CONCURRENTLY owed ON t (id)");
		db_do(conn, "COMMIT");
		tell("ALTER ROLE app RESET default_transaction_read_only");
		assert_string_equal(index_state("now"), "t");
		assert_string_equal(index_state("owed"), "t");
		tell("DROP INDEX now, owed");
	}
}

/* Its connections are idle as long as COMMIT takes. */
static void what_is_owed_outlasts_idle_session_timeout(void **state)
{
	PGconn *conn, *holder = db_connect(cluster.port, "");

	(void)state;
	tell("ALTER ROLE app SET idle_session_timeout = '200ms'");
	tell("CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM "
	     "pg_advisory_xact_lock(4711); RETURN NULL; END'; "
	     "CREATE CONSTRAINT TRIGGER w AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
	     "FOR EACH ROW EXECUTE FUNCTION public.wait()");
	db_do(holder, "SELECT pg_advisory_lock(4711)");
	conn = db_connect(proxy->port, "");
	db_do(conn, "SET idle_session_timeout = 0; BEGIN; INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_send(conn, "COMMIT");
	WAIT_FOR(ask_is("2", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE "
			     "'pgaside/%%' AND state = 'idle' AND state_change < "
			     "clock_timestamp() - interval '600ms'"));
	db_do(holder, "SELECT pg_advisory_unlock(4711)");
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("i"), "t");
	tell("ALTER ROLE app RESET idle_session_timeout");
}

static void statement_timeout_ends_the_aside(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *holder = hold_builds();

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "SET LOCAL statement_timeout = '200ms'");
	db_fail(conn, "57014", "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	assert_non_null(strstr(PQerrorMessage(conn), "statement timeout"));
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "");
	release_builds(holder);
}

static void timeouts_of_the_configuration_come_first(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--aside-statement-timeout", "200ms", NULL);
	struct proxy *patient =
		proxy_start(fixture_url(""), "--aside-statement-timeout", "20s", NULL);
	PGconn *conn = db_connect(p->port, ""), *other = db_connect(patient->port, "");
	PGconn *holder = hold_builds();

	(void)state;
	db_do(conn, "BEGIN");
	db_fail(conn, "57014", "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	db_do(conn, "ROLLBACK");
	db_do(other, "BEGIN");
	db_do(other, "SET LOCAL statement_timeout = '300ms'");
	db_send(other, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	db_do(conn, "SELECT pg_sleep(0.5)");
	release_builds(holder);
	assert_string_equal(db_outcome(other), "00000");
	db_do(other, "COMMIT");
	assert_string_equal(index_state("i"), "t");
}

/* The client waits for us in its transaction, idle to the server. */
static void idle_timeouts_do_not_end_a_session_that_waits(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *holder = hold_builds();

	(void)state;
	db_do(conn, "SET idle_in_transaction_session_timeout = '400ms'");
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	db_do(holder, "SELECT pg_sleep(1.2)");
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
	/* The same while something is owed after COMMIT: the session is idle then. */
	db_do(conn, "SET idle_session_timeout = '400ms'");
	db_do(holder, "SELECT pg_advisory_lock(4242)");
	db_do(conn, "BEGIN");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (slow(id))");
	db_send(conn, "COMMIT");
	WAIT_FOR(build_is_held());
	db_do(holder, "SELECT pg_sleep(1.2)");
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("j"), "t");
}

/* Sync, not Flush, goes before the aside: else statement_timeout would go on counting. */
static void statement_timeout_does_not_count_on_the_server_connection(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--aside-statement-timeout", "20s", NULL);
	struct wire *w = wire_open(p->port);
	PGconn *holder = hold_builds();

	(void)state;
	wire_login_as(w, "app", "secret", "app", "-c statement_timeout=500ms");
	wire_query(w, "BEGIN");
	wire_parse(w, "", "SELECT 1");
	wire_bind(w, "", "", 0);
	wire_execute(w, "", 0);
	wire_parse(w, "", "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	wire_bind(w, "", "", 0);
	wire_execute(w, "", 0);
	wire_sync(w);
	wire_send(w);
	WAIT_FOR(build_is_held());
	db_do(holder, "SELECT pg_sleep(0.8)");
	release_builds(holder);
	assert_string_equal(wire_answers(w, 2),
		"C(BEGIN) Z:T 1 2 D(1) C(SELECT 1) 1 2 N(00000) C(CREATE INDEX) Z:T");
	wire_query(w, "COMMIT");
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "C(COMMIT) Z:I");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(search_path_is_the_one_in_force),
		CASE(settings_of_the_role_are_no_obstacle),
		CASE(the_role_is_the_one_in_force),
		CASE(the_clients_encoding_is_understood),
		CASE(a_name_that_is_cut_in_another_encoding_is_left_to_postgres),
		CASE(how_literals_are_read_is_the_same),
		CASE(what_only_concerns_transactions_is_not_taken_along),
		CASE(the_aside_bears_the_clients_name),
		CASE(lock_timeout_ends_the_aside),
		CASE(a_clean_up_that_must_wait_goes_on_behind_the_answer),
		CASE(statement_timeout_ends_the_aside),
		CASE(a_role_that_only_reads_may_be_told_to_write),
		CASE(what_is_owed_outlasts_idle_session_timeout),
		CASE(timeouts_of_the_configuration_come_first),
		CASE(idle_timeouts_do_not_end_a_session_that_waits),
		CASE(statement_timeout_does_not_count_on_the_server_connection),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
