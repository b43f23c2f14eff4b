/*
 * CancelRequest: it ends what the client is waiting for, whatever that is, and nothing else.
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

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram");
}

static void an_ordinary_query_is_cancelled_at_the_server(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_send(conn, "SELECT pg_sleep(60)");
	WAIT_FOR(waits_in((uint32_t)PQbackendPID(conn), "PgSleep"));
	db_cancel(conn);
	assert_string_equal(db_outcome(conn), "57014");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
}

static void an_aside_is_cancelled_and_leaves_nothing(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *holder = hold_builds();
	PGresult *r;

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE TABLE journal ()");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	db_cancel(conn);
	r = db_result(conn);
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "57014");
	assert_string_equal(db_error_field(r, PG_DIAG_MESSAGE_PRIMARY),
		"canceling statement due to user request");
	PQclear(r);
	assert_int_equal(db_status(conn), 'E');
	assert_string_equal(index_state("i"), "");
	db_fail(conn, "25P02", "SELECT 1");
	db_do(conn, "ROLLBACK");
	release_builds(holder);
	/* And the same statement works when it is tried again. */
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
}

static void an_aside_that_waits_for_a_lock_is_cancelled(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *third = db_connect(cluster.port, "");

	(void)state;
	db_do(third, "BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE");
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE "
			     "'pgaside/%%' AND wait_event_type = 'Lock'"));
	db_cancel(conn);
	assert_string_equal(db_outcome(conn), "57014");
	db_do(conn, "ROLLBACK");
}

static void what_is_owed_is_cancelled_after_commit(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *holder = hold_builds();
	PGresult *r;

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "INSERT INTO t VALUES (4711)");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	db_send(conn, "COMMIT");
	WAIT_FOR(build_is_held());
	db_cancel(conn);
	r = db_result(conn);
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "57014");
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_DETAIL), "COMMITTED"));
	PQclear(r);
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(ask("SELECT count(*) FROM t WHERE id = 4711"), "1");
	assert_string_equal(index_state("i"), "");
	release_builds(holder);
}

static void a_wrong_key_does_nothing(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *holder = hold_builds();

	(void)state;
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	for (uint32_t secret = 0; secret < 50; secret++) {
		struct wire *w = wire_open(proxy->port);

		wire_cancel(w, (uint32_t)PQbackendPID(conn), secret);
		wire_send(w);
		assert_true(wire_ends(w));
		wire_close(w);
	}
	assert_false(db_has_answer(conn));
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
}

static void a_cancel_for_another_process_reaches_the_server(void **state)
{
	struct proxy *other = proxy_start(fixture_url(""), NULL);
	struct wire *w = wire_open(other->port), *c;

	(void)state;
	wire_login_as(w, "app", "secret", "app", NULL);
	wire_query(w, "SELECT pg_sleep(60)");
	wire_send(w);
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"));
	c = wire_open(proxy->port);
	wire_cancel(c, w->pid, w->secret);
	wire_send(c);
	assert_true(wire_ends(c));
	assert_string_equal(wire_answers(w, 1), "T(1) E(57014) Z:I");
}

static void a_cancel_that_comes_too_late_hits_nobody(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (int i = 0; i < 10; i++) {
		db_do(conn, "BEGIN");
		db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
		db_cancel(conn);
		db_do(conn, "ROLLBACK");
		db_cancel(conn);
	}
	/* The last one may still be on its way. */
	db_send(conn, "SELECT 1");
	db_outcome(conn);
	db_do(conn, "SELECT 1");
}

/* At any moment it either comes in time or does not; either way nothing hangs, and nothing is left.
 */
static void a_cancel_at_any_moment_is_heard_or_comes_too_late(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	int cancelled = 0, done = 0;

	(void)state;
	db_do(conn, "INSERT INTO t SELECT i, 'v' FROM generate_series(1, 20000) i");
	for (int i = 0; i < 40; i++) {
		struct patience p = patience_of((unsigned)i * 2);
		const char *outcome;

		db_do(conn, "BEGIN");
		db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
		while (!db_has_answer(conn) && patience_left(&p))
			continue;
		db_cancel(conn);
		outcome = db_outcome(conn);
		if (strcmp(outcome, "00000") == 0)
			done++;
		else if (strcmp(outcome, "57014") == 0)
			cancelled++;
		else
			fail_msg("the outcome is %s", outcome);
		db_send(conn, "ROLLBACK");
		db_outcome(conn);
		if (db_status(conn) != 'I')
			db_do(conn, "ROLLBACK");
		assert_string_equal(index_state("i"), "");
	}
	print_message("%d cancelled, %d done\n", cancelled, done);
	assert_true(cancelled > 0);
}

/* Again and again, in bursts, until db_outcome(killer). */
static void cancel_often(PGconn *killer, PGconn *conn, int times)
{
	db_send(killer,
		"DO $$BEGIN FOR i IN 1..%d LOOP PERFORM pg_sleep(0.0002 + 0.0002 * (i %% 3)); "
		"FOR j IN 1..i %% 8 * 20 LOOP PERFORM pg_cancel_backend(%d); END LOOP; END LOOP; "
		"END$$",
		times, PQbackendPID(conn));
}

/* A cancelled COMMIT is an error, as it is without us, and one that is answered has committed. */
static void a_cancel_at_any_moment_of_commit_is_heard_or_comes_too_late(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *killer = db_super(cluster.port);
	int cancelled = 0, done = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		PGresult *r;
		bool ok;

		db_do(conn, "BEGIN");
		if (i % 2)
			db_do(conn, "UPDATE t SET v = v WHERE id = 1");
		db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
		cancel_often(killer, conn, i % 20);
		db_send(conn, "COMMIT");
		r = db_result(conn);
		ok = PQresultStatus(r) == PGRES_COMMAND_OK;
		assert_string_equal(ok ? PQcmdStatus(r) : db_error_field(r, PG_DIAG_SQLSTATE),
			ok ? "COMMIT" : "57014");
		PQclear(r);
		assert_string_equal(db_outcome(killer), "00000");
		/* The server's own COMMIT leaves that, too, when it is cancelled at its start. */
		if (!ok && db_status(conn) == 'E')
			db_do(conn, "ROLLBACK");
		assert_int_equal(db_status(conn), 'I');
		assert_string_equal(index_state("i"), ok ? "t" : "");
		*(ok ? &done : &cancelled) += 1;
		tell("DROP INDEX IF EXISTS i");
	}
	print_message("%d cancelled, %d done\n", cancelled, done);
	assert_true(cancelled > 0);
}

/* Several statements in one Query: whoever cancels them is left in no transaction. */
static void a_cancel_at_any_moment_of_a_text_leaves_no_transaction(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *killer = db_super(cluster.port);
	int cancelled = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		bool ok;

		cancel_often(killer, conn, i % 40);
		db_send(conn, i % 2 ? "UPDATE t SET v = v WHERE id = 1; "
				      "CREATE INDEX CONCURRENTLY i ON t (id)"
				    : "CREATE INDEX CONCURRENTLY i ON t (id); "
				      "INSERT INTO t VALUES (4711); SELECT 1");
		ok = strcmp(db_outcome(conn), "57014") != 0;
		assert_int_equal(db_status(conn), 'I');
		assert_string_equal(db_outcome(killer), "00000");
		if (ok)
			assert_string_equal(index_state("i"), "t");
		else
			assert_string_not_equal(index_state("i"), "f");
		cancelled += !ok;
		tell("DROP INDEX IF EXISTS i");
	}
	print_message("%d cancelled\n", cancelled);
	assert_true(cancelled > 0);
}

/* Somebody cancels whatever asides do, at any moment: in their settings, their questions, their
 * clean-up. What the client is told is true all the same, and nothing is left. */
static void cancels_from_elsewhere_at_any_moment_leave_nothing(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *killer = db_super(cluster.port);
	int cancelled = 0, done = 0;

	(void)state;
	/* On a busy machine an aside begins late: until one is hit, it is tried for longer. */
	for (int i = 0; i < 60 || (cancelled == 0 && i < 300); i++) {
		bool ok;

		db_send(killer,
			"DO $$BEGIN FOR i IN 1..%d LOOP PERFORM pg_sleep(random() * 0.04); "
			"PERFORM pg_cancel_backend(pid) FROM pg_stat_activity "
			"WHERE application_name LIKE 'pgaside/%%'; END LOOP; END$$",
			3 + i / 20);
		db_do(conn, "BEGIN");
		db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
		ok = strcmp(db_outcome(conn), "57014") != 0;
		if (ok)
			done++;
		else
			cancelled++;
		assert_int_equal(db_status(conn), ok ? 'T' : 'E');
		assert_string_equal(db_outcome(killer), "00000");
		assert_string_equal(index_state("i"), ok ? "t" : "");
		db_do(conn, "ROLLBACK");
		assert_string_equal(index_state("i"), "");
	}
	print_message("%d cancelled, %d done\n", cancelled, done);
	assert_true(cancelled > 0);
}

/* The server process is stopped: it has heard of the cancel, and let it be, before it reads what
 * the gate has sent meanwhile. */
static void cancel_unheard(struct proxy *p, PGconn *conn, const char *sql, bool extended)
{
	const char *state = extended ? "to=sync" : "to=asking";
	int before = proxy_count_logged(p, state);
	pid_t pid = (pid_t)PQbackendPID(conn);

	assert_int_equal(kill(pid, SIGSTOP), 0);
	if (extended)
		assert_true(PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0));
	else
		db_send(conn, "%s", sql);
	WAIT_FOR(proxy_count_logged(p, state) > before);
	db_cancel(conn);
	assert_int_equal(kill(pid, SIGCONT), 0);
}

static void a_cancel_that_the_server_does_not_hear_is_heard(void **state)
{
	static const struct {
		const char *before, *sql;
		bool extended;
		char status;
	} cases[] = {
		{"BEGIN", "CREATE INDEX CONCURRENTLY i ON t (id)", false, 'E'},
		{"BEGIN", "CREATE INDEX CONCURRENTLY i ON t (id)", true, 'E'},
		{"SELECT 1", "CREATE INDEX CONCURRENTLY i ON t (id)", false, 'I'},
		{"SELECT 1", "CREATE INDEX CONCURRENTLY i ON t (id)", true, 'I'},
		{"SELECT 1", "DELETE FROM t; CREATE INDEX CONCURRENTLY i ON t (id)", false, 'I'},
		{"BEGIN; INSERT INTO t VALUES (4711); CREATE INDEX CONCURRENTLY i ON t (id)",
			"COMMIT", false, 'I'},
		{"BEGIN; CREATE INDEX CONCURRENTLY i ON t (id)", "COMMIT", false, 'I'},
	};
	struct proxy *p = proxy_start(fixture_url(""), "--log-level", "debug", NULL);
	PGconn *conn = db_connect(p->port, "");

	(void)state;
	db_connect(p->port, ""); /* a lone session is asked nothing outside of a transaction */
	for (size_t i = 0; i < LENGTH(cases); i++) {
		db_do(conn, "%s", cases[i].before);
		cancel_unheard(p, conn, cases[i].sql, cases[i].extended);
		assert_string_equal(db_outcome(conn), "57014");
		assert_int_equal(db_status(conn), cases[i].status);
		db_do(conn, "ROLLBACK");
		assert_string_equal(index_state("i"), "");
		assert_string_equal(ask("SELECT count(*) FROM t"), "1000");
	}
	/* It was for that statement only. */
	db_do(conn, "BEGIN; CREATE INDEX CONCURRENTLY i ON t (id); COMMIT");
	assert_string_equal(index_state("i"), "t");
}

/* Right process, wrong key, as fast as they can be sent: all of `w` before any is waited for. */
static void send_wrong_cancels(struct wire **w, int n, int pid)
{
	for (int i = 0; i < n; i++) {
		w[i] = wire_open(proxy->port);
		wire_cancel(w[i], (uint32_t)pid, (uint32_t)i);
		wire_send(w[i]);
	}
}

static void a_flood_of_cancels_disturbs_nobody(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *other = db_connect(proxy->port, ""), *holder;
	int before = proxy_descriptors(proxy);
	struct wire *w[250];

	(void)state;
	holder = hold_builds();
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	for (int round = 0; round < 8; round++) {
		send_wrong_cancels(w, LENGTH(w), PQbackendPID(conn));
		assert_string_equal(db_text(other, "SELECT 1"), "1");
		for (size_t i = 0; i < LENGTH(w); i++) {
			assert_true(wire_ends(w[i]));
			wire_close(w[i]);
		}
	}
	assert_true(build_is_held());
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
	WAIT_FOR(proxy_descriptors(proxy) <= before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(an_ordinary_query_is_cancelled_at_the_server),
		FRESH_TEST(an_aside_is_cancelled_and_leaves_nothing),
		FRESH_TEST(an_aside_that_waits_for_a_lock_is_cancelled),
		FRESH_TEST(what_is_owed_is_cancelled_after_commit),
		FRESH_TEST(a_wrong_key_does_nothing),
		FRESH_TEST(a_cancel_for_another_process_reaches_the_server),
		FRESH_TEST(a_cancel_that_comes_too_late_hits_nobody),
		FRESH_TEST(a_cancel_at_any_moment_is_heard_or_comes_too_late),
		FRESH_TEST(a_cancel_at_any_moment_of_commit_is_heard_or_comes_too_late),
		FRESH_TEST(a_cancel_at_any_moment_of_a_text_leaves_no_transaction),
		FRESH_TEST(cancels_from_elsewhere_at_any_moment_leave_nothing),
		FRESH_TEST(a_cancel_that_the_server_does_not_hear_is_heard),
		FRESH_TEST(a_flood_of_cancels_disturbs_nobody),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
