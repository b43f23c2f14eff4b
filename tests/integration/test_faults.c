/*
 * What an aside depends on is lost in the middle of it: the client, the client's server process,
 * the aside's own, the whole server. Nothing hangs, nothing is left, and pgaside goes on.
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

#include "fixture.h"

#define ASIDE "application_name LIKE 'pgaside/%%' AND query LIKE 'CREATE %%'"

static int start(void **state)
{
	(void)state;
	return fixture_start(
		"--auth scram --set restart_after_crash=on --set synchronous_commit=on");
}

/* A session whose aside is under way until the holder lets go. */
static PGconn *begin_held(PGconn **holder)
{
	PGconn *conn = db_connect(proxy->port, "");

	*holder = hold_builds();
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE TABLE journal ()");
	db_send(conn, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_watched());
	return conn;
}

static bool nothing_is_left(void)
{
	return ask_is("", "SELECT concat(to_regclass('i'), to_regclass('journal'))") &&
	       ask_is("0", "SELECT count(*) FROM pg_index WHERE NOT indisvalid");
}

static void a_client_that_is_gone_takes_its_aside_with_it(void **state)
{
	PGconn *holder, *conn = begin_held(&holder);

	(void)state;
	db_close(conn);
	/* The build is cancelled, although what it waits for is still held. */
	WAIT_FOR(nothing_is_left());
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE "
			     "'pgaside%%'"));
}

static void a_client_that_is_gone_before_the_aside_has_begun_leaves_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 30; i++) {
		PGconn *conn = db_connect(proxy->port, "");
		struct patience p = patience_of((unsigned)i * 2);

		db_do(conn, "BEGIN");
		db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
		while (!db_has_answer(conn) && patience_left(&p))
			continue;
		db_close(conn);
		WAIT_FOR(nothing_is_left());
	}
}

static void an_aside_whose_process_is_terminated_fails(void **state)
{
	PGconn *holder, *conn = begin_held(&holder);

	(void)state;
	tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " ASIDE);
	assert_string_equal(db_outcome(conn), "57P01");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	WAIT_FOR(nothing_is_left());
}

static void an_aside_whose_process_is_cancelled_by_somebody_fails(void **state)
{
	PGconn *holder, *conn = begin_held(&holder);

	(void)state;
	tell("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE " ASIDE);
	assert_string_equal(db_outcome(conn), "57014");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	assert_true(nothing_is_left());
}

static void without_its_watch_an_aside_goes_on(void **state)
{
	PGconn *holder, *conn = begin_held(&holder);

	(void)state;
	tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
	     "'pgaside/watch'");
	WAIT_FOR(proxy_has_logged(proxy, "event=watch_lost", NULL));
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
}

/* Nor is it begun anew without one. */
static void without_its_watch_an_aside_is_not_tried_again(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--aside-retries", "3", NULL);
	PGconn *conn = db_connect(p->port, ""), *third = db_connect(cluster.port, "");

	(void)state;
	db_do(third, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
	db_do(conn, "BEGIN");
	db_do(conn, "SET LOCAL lock_timeout = '1s'");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE " ASIDE
			     " AND wait_event_type = 'Lock'"));
	WAIT_FOR(aside_is_watched());
	tell("ALTER ROLE app CONNECTION LIMIT 0");
	tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
	     "'pgaside/watch'");
	WAIT_FOR(proxy_has_logged(p, "event=watch_lost", NULL));
	assert_string_equal(db_outcome(conn), "55P03");
	tell("ALTER ROLE app CONNECTION LIMIT -1");
	assert_false(proxy_has_logged(p, "event=aside_retry", NULL));
	db_do(conn, "ROLLBACK");
	db_do(third, "COMMIT");
	assert_true(nothing_is_left());
}

/* It might wait for the client's own transaction, and nobody would see that. */
static void an_aside_that_nobody_can_watch_ends(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--aside-retries", "3", NULL);
	PGconn *conn = db_connect(p->port, ""), *holder = hold_builds();
	PGresult *r;

	(void)state;
	db_do(conn, "BEGIN");
	tell("ALTER ROLE app CONNECTION LIMIT 3"); /* the third is the holder */
	r = db_query(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "53300");
	assert_string_equal(db_error_field(r, PG_DIAG_MESSAGE_PRIMARY),
		"too many connections for role \"app\"");
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_HINT), "two more connections"));
	PQclear(r);
	tell("ALTER ROLE app CONNECTION LIMIT -1");
	assert_true(proxy_has_logged(p, "event=watch_failed", NULL));
	assert_false(proxy_has_logged(p, "event=aside_retry", NULL));
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	db_close(holder);
	assert_true(nothing_is_left());
}

/* Dropping what it has left would wait for a transaction that has read the table. */
static void what_nobody_can_watch_the_dropping_of_goes_at_the_end(void **state)
{
	static const char *const statements[] = {"CREATE INDEX CONCURRENTLY i ON t (slow(id))",
		"CREATE UNIQUE INDEX CONCURRENTLY i ON t ((id % 2))"};
	struct proxy *p = proxy_start(fixture_url(""), "--cleanup-timeout", "1h", NULL);

	(void)state;
	for (size_t i = 0; i < LENGTH(statements); i++) {
		PGconn *conn = db_connect(p->port, ""), *holder = hold_builds();
		const char *outcome;

		db_do(conn, "BEGIN");
		db_text(conn, "SELECT count(*) FROM t");
		tell("ALTER ROLE app CONNECTION LIMIT 3"); /* the third is the holder */
		db_send(conn, "%s", statements[i]);
		outcome = db_outcome(conn);
		tell("ALTER ROLE app CONNECTION LIMIT -1");
		/* On a busy machine it is not over before it is watched for. */
		assert_true(
			strcmp(outcome, "53300") == 0 || (i > 0 && strcmp(outcome, "23505") == 0));
		db_do(conn, "ROLLBACK");
		db_close(conn);
		db_close(holder);
		WAIT_FOR(nothing_is_left());
	}
}

static void a_session_whose_server_process_is_terminated_ends(void **state)
{
	PGconn *holder, *conn = begin_held(&holder);

	(void)state;
	tell("SELECT pg_terminate_backend(%d)", PQbackendPID(conn));
	assert_string_equal(db_outcome(conn), "57P01");
	assert_int_equal(PQstatus(conn), CONNECTION_BAD);
	WAIT_FOR(nothing_is_left());
}

static void a_server_that_crashes_during_an_aside_finds_no_trace_of_it(void **state)
{
	PGconn *holder, *conn = begin_held(&holder), *again;

	(void)state;
	cluster_crash(&cluster);
	assert_string_not_equal(db_outcome(conn), "00000");
	assert_int_equal(PQstatus(conn), CONNECTION_BAD);
	db_close_all();
	cluster_restart(&cluster);
	again = db_connect(proxy->port, "");
	assert_string_equal(db_text(again, "SELECT 1"), "1");
	WAIT_FOR(nothing_is_left());
	db_do(again, "BEGIN");
	db_do(again, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(again, "COMMIT");
}

static void a_process_that_crashes_during_an_aside_leaves_no_trace(void **state)
{
	PGconn *holder, *conn = begin_held(&holder);
	pid_t pid = (pid_t)strtol(ask("SELECT pid FROM pg_stat_activity WHERE " ASIDE), NULL, 10);

	(void)state;
	assert_true(pid > 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_string_not_equal(db_outcome(conn), "00000");
	WAIT_FOR(db_login_error(proxy->port, "")[0] == '\0');
	WAIT_FOR(nothing_is_left());
}

static void other_sessions_notice_nothing(void **state)
{
	static const char *const victims[] = {
		"application_name LIKE 'pgaside/%' AND query LIKE 'CREATE %'",
		"application_name = 'pgaside/watch'", "query LIKE 'SHOW role%'"};
	PGconn *witness = db_connect(proxy->port, "");

	(void)state;
	db_do(witness, "BEGIN; CREATE TEMP TABLE x (id int)");
	for (size_t i = 0; i < LENGTH(victims); i++) {
		PGconn *holder, *conn = begin_held(&holder);

		tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE %s", victims[i]);
		db_do(witness, "INSERT INTO x VALUES (%d)", (int)i);
		db_close(conn);
		db_close(holder);
		WAIT_FOR(nothing_is_left());
	}
	assert_string_equal(db_text(witness, "SELECT count(*) FROM x"), "3");
	db_do(witness, "COMMIT");
}

/* The server process is lost while it is committing, and has not. */
static void a_commit_that_did_not_happen_is_found_out(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *holder = hold_builds();

	(void)state;
	db_do(conn, "CREATE TABLE late (id int); CREATE FUNCTION wait_late() RETURNS trigger "
		    "LANGUAGE plpgsql AS 'BEGIN PERFORM slow(1); RETURN NULL; END'; "
		    "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY "
		    "DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_late()");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY made ON t (v)");
	db_do(conn, "INSERT INTO late VALUES (1)");
	db_do(conn, "INSERT INTO t VALUES (4711)");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_send(conn, "COMMIT");
	WAIT_FOR(build_is_held());
	tell("SELECT pg_terminate_backend(%d)", PQbackendPID(conn));
	assert_string_not_equal(db_outcome(conn), "00000");
	release_builds(holder);
	WAIT_FOR(ask_is("", "SELECT to_regclass('made')"));
	WAIT_FOR(nothing_is_left()); /* it has lost its name before */
	assert_string_equal(ask("SELECT count(*) FROM t WHERE id = 4711"), "0");
}

/* What is owed survives the loss of its connection, as it survives that of the client. */
static void an_owed_aside_whose_process_is_terminated_is_told_to_the_client(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *holder = hold_builds();
	PGresult *r;

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "INSERT INTO t VALUES (4711)");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	db_send(conn, "COMMIT");
	WAIT_FOR(build_is_held());
	tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " ASIDE);
	r = db_result(conn);
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "57P01");
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_DETAIL), "COMMITTED"));
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_HINT), "INDEX CONCURRENTLY i"));
	PQclear(r);
	assert_int_equal(db_status(conn), 'I');
	WAIT_FOR(nothing_is_left());
	release_builds(holder);
}

/* Until it is promoted. */
static void make_standby(void)
{
	const char *data = cluster_file(&cluster, "data");

	cluster_crash(&cluster);
	cluster_shell("touch %s/standby.signal && chown --reference=%s %s/standby.signal", data,
		data, data);
	cluster_restart(&cluster);
}

/* The answers, word for word, that the server gives without us. */
static void a_standby_gives_its_own_refusals_until_it_is_promoted(void **state)
{
	static const char *const statements[] = {"CREATE INDEX CONCURRENTLY i ON t (id)",
		"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)",
		"DROP INDEX CONCURRENTLY i", "DROP INDEX CONCURRENTLY IF EXISTS i",
		"REINDEX TABLE CONCURRENTLY t", "CREATE TABLE n (id int)",
		"SELECT 1; CREATE INDEX CONCURRENTLY i ON t (id)"};
	PGconn *conn, *direct;

	(void)state;
	tell("CHECKPOINT");
	db_close_all();
	make_standby();
	conn = db_connect(proxy->port, "");
	direct = db_connect(cluster.port, "");
	for (size_t i = 0; i < 2 * LENGTH(statements); i++) {
		const char *sql = statements[i / 2];
		PGresult *r[2];

		for (int side = 0; side < 2; side++) {
			PGconn *c = side ? direct : conn;

			if (i % 2)
				db_do(c, "BEGIN");
			r[side] = db_query(c, sql);
			assert_non_null(r[side]);
		}
		assert_string_equal(PQresultErrorMessage(r[0]), PQresultErrorMessage(r[1]));
		assert_int_equal(db_status(conn), db_status(direct));
		PQclear(r[0]);
		PQclear(r[1]);
		db_do(conn, "ROLLBACK");
		db_do(direct, "ROLLBACK");
	}
	tell("SELECT pg_promote()");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(a_client_that_is_gone_takes_its_aside_with_it),
		FRESH_TEST(a_client_that_is_gone_before_the_aside_has_begun_leaves_nothing),
		FRESH_TEST(an_aside_whose_process_is_terminated_fails),
		FRESH_TEST(an_aside_whose_process_is_cancelled_by_somebody_fails),
		FRESH_TEST(without_its_watch_an_aside_goes_on),
		FRESH_TEST(without_its_watch_an_aside_is_not_tried_again),
		FRESH_TEST(an_aside_that_nobody_can_watch_ends),
		FRESH_TEST(what_nobody_can_watch_the_dropping_of_goes_at_the_end),
		FRESH_TEST(a_session_whose_server_process_is_terminated_ends),
		FRESH_TEST(other_sessions_notice_nothing),
		FRESH_TEST(a_commit_that_did_not_happen_is_found_out),
		FRESH_TEST(an_owed_aside_whose_process_is_terminated_is_told_to_the_client),
		FRESH_TEST(a_process_that_crashes_during_an_aside_leaves_no_trace),
		FRESH_TEST(a_standby_gives_its_own_refusals_until_it_is_promoted),
		FRESH_TEST(a_server_that_crashes_during_an_aside_finds_no_trace_of_it),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
