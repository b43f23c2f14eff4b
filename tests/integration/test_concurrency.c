/*
 * Asides beside others: builders of the same index, sessions that wait for each other in a circle,
 * many at a time, and a client that goes on talking meanwhile.
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
	return fixture_start("--auth scram --set deadlock_timeout=100ms");
}

static bool is_blocked(PGconn *conn)
{
	return ask_is("t", "SELECT cardinality(pg_blocking_pids(%d)) > 0", PQbackendPID(conn));
}

static bool an_aside_waits(const char *condition)
{
	return ask_is("t",
		"SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE "
		"'pgaside/%%' AND %s",
		condition);
}

static bool an_aside_waits_for_a_lock(void)
{
	return an_aside_waits("wait_event_type = 'Lock' AND query NOT LIKE '%slow%'");
}

/* Somebody else, not through pgaside, is building the index that the migration wants. */
static void nobody_elses_build_is_dropped(void **state)
{
	static const struct {
		const char *setting, *sql, *outcome;
	} cases[] = {
		{"SET LOCAL lock_timeout = '50ms'", "CREATE INDEX CONCURRENTLY i ON t (id)",
			"55P03"},
		{"SET LOCAL lock_timeout = 0", "CREATE INDEX CONCURRENTLY i ON t (id)", "42P07"},
		{"SET LOCAL lock_timeout = 0",
			"CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)", "00000"},
	};
	struct proxy *p = proxy_start(fixture_url(""), "--aside-retries", "1", NULL);

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGconn *other = db_connect(cluster.port, ""), *conn = db_connect(p->port, "");
		PGconn *holder = hold_builds();
		char oid[32];

		db_send(other, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
		WAIT_FOR(build_is_held());
		snprintf(oid, sizeof(oid), "%.20s", ask("SELECT 'i'::regclass::oid"));
		db_do(conn, "BEGIN");
		db_do(conn, "%s", cases[i].setting);
		db_send(conn, "%s", cases[i].sql);
		if (i == 0)
			assert_string_equal(db_outcome(conn), cases[i].outcome);
		else
			WAIT_FOR(an_aside_waits_for_a_lock());
		assert_true(ask_is(oid, "SELECT 'i'::regclass::oid"));
		release_builds(holder);
		assert_string_equal(db_outcome(other), "00000");
		if (i > 0)
			assert_string_equal(db_outcome(conn), cases[i].outcome);
		db_do(conn, "ROLLBACK");
		assert_true(ask_is(oid, "SELECT 'i'::regclass::oid"));
		assert_string_equal(index_state("i"), "t");
		db_do(other, "DROP INDEX i");
		db_close_all();
	}
}

static void two_long_builds_on_one_table_both_succeed(void **state)
{
	PGconn *first = db_connect(proxy->port, ""), *second = db_connect(proxy->port, "");
	PGconn *holder = hold_builds();

	(void)state;
	db_do(first, "BEGIN");
	db_do(second, "BEGIN");
	db_send(first, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	db_send(second, "CREATE INDEX CONCURRENTLY j ON t (v)");
	db_do(holder, "SELECT pg_sleep(0.7)");
	release_builds(holder);
	assert_string_equal(db_outcome(first), "00000");
	assert_string_equal(db_outcome(second), "00000");
	db_do(first, "COMMIT");
	db_do(second, "COMMIT");
	assert_string_equal(index_state("i"), "t");
	assert_string_equal(index_state("j"), "t");
}

static void a_build_that_somebody_else_gives_up_is_repaired(void **state)
{
	PGconn *other = db_connect(cluster.port, ""), *conn = db_connect(proxy->port, "");
	PGconn *holder = hold_builds();

	(void)state;
	db_send(other, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)");
	WAIT_FOR(an_aside_waits_for_a_lock());
	tell("SELECT pg_cancel_backend(%d)", PQbackendPID(other));
	assert_string_equal(db_outcome(other), "57014");
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
	release_builds(holder);
}

static void of_two_migrations_at_once_one_makes_the_index(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		PGconn *conns[2] = {db_connect(proxy->port, ""), db_connect(proxy->port, "")};
		int done = 0;

		for (int i = 0; i < 2; i++)
			db_do(conns[i], "BEGIN");
		for (int i = 0; i < 2; i++)
			db_send(conns[i], "CREATE INDEX CONCURRENTLY i ON t (id)");
		for (int i = 0; i < 2; i++) {
			const char *outcome = db_outcome(conns[i]);

			if (strcmp(outcome, "00000") == 0)
				done++;
			else
				assert_string_equal(outcome, "42P07");
			db_do(conns[i], "COMMIT");
		}
		assert_int_equal(done, 1);
		assert_string_equal(index_state("i"), "t");
		db_do(conns[0], "DROP INDEX i");
		db_close_all();
	}
}

static void with_if_not_exists_both_migrations_succeed(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		PGconn *conns[2] = {db_connect(proxy->port, ""), db_connect(proxy->port, "")};

		for (int i = 0; i < 2; i++)
			db_do(conns[i], "BEGIN");
		for (int i = 0; i < 2; i++)
			db_send(conns[i], "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)");
		for (int i = 0; i < 2; i++) {
			assert_string_equal(db_outcome(conns[i]), "00000");
			db_do(conns[i], "COMMIT");
		}
		assert_string_equal(index_state("i"), "t");
		db_do(conns[0], "DROP INDEX i");
		db_close_all();
	}
}

/* Two deploys with a migration lock: the second has written to the table, and waits for the first.
 */
static void a_third_session_that_waits_for_the_transaction_is_let_go_by_commit(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *third = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "SELECT pg_advisory_xact_lock(7)");
	db_do(third, "BEGIN; INSERT INTO t VALUES (1)");
	db_send(third, "SELECT pg_advisory_xact_lock(7)");
	WAIT_FOR(is_blocked(third));
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_send(conn, "COMMIT");
	assert_string_equal(db_outcome(third), "00000");
	db_do(third, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("i"), "t");
}

static void a_third_session_that_begins_to_wait_later_is_found_out(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *third = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "SELECT pg_advisory_xact_lock(7)");
	db_do(third, "BEGIN; INSERT INTO t VALUES (1)");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	WAIT_FOR(an_aside_waits_for_a_lock());
	db_send(third, "SELECT pg_advisory_xact_lock(7)");
	assert_string_equal(db_outcome(conn), "00000");
	db_send(conn, "COMMIT");
	assert_string_equal(db_outcome(third), "00000");
	db_do(third, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("i"), "t");
}

/* A lock that outlives the transaction: COMMIT does not help, and no server will ever see it. */
static void a_circle_that_commit_does_not_open_ends_as_a_deadlock(void **state)
{
	struct proxy *p = proxy_start(
		fixture_url(""), "--aside-retries", "1", "--cleanup-timeout", "500ms", NULL);
	PGconn *conn = db_connect(p->port, ""), *third = db_connect(cluster.port, "");
	uint64_t begin;

	(void)state;
	db_do(conn, "SELECT pg_advisory_lock(7)");
	db_do(third, "BEGIN; INSERT INTO t VALUES (1)");
	db_send(third, "SELECT pg_advisory_xact_lock(7)");
	WAIT_FOR(is_blocked(third));
	begin = patience_now_ms();
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	if (strcmp(db_outcome(conn), "00000") == 0) {
		db_send(conn, "COMMIT");
		assert_string_equal(db_outcome(conn), "40P01");
	}
	assert_in_range(patience_now_ms() - begin, 0, 10000);
	if (db_status(conn) != 'I')
		db_do(conn, "ROLLBACK");
	db_do(conn, "SELECT pg_advisory_unlock(7)");
	assert_string_equal(db_outcome(third), "00000");
	db_do(third, "COMMIT");
}

static void readers_of_other_tables_are_not_kept_out(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *reader = db_connect(cluster.port, "");
	PGconn *holder = hold_builds();

	(void)state;
	db_do(conn, "CREATE TABLE other (id int); CREATE INDEX other_id ON other (id)");
	db_do(conn, "BEGIN");
	db_do(conn, "ALTER TABLE other ADD w int");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	db_send(conn, "COMMIT");
	WAIT_FOR(build_is_held());
	db_do(reader, "SELECT * FROM other; INSERT INTO t VALUES (1)");
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
}

static void many_asides_at_a_time_are_kept_apart(void **state)
{
	enum {
		SESSIONS = 12
	};
	PGconn *conns[SESSIONS];

	(void)state;
	for (int i = 0; i < SESSIONS; i++) {
		conns[i] = db_connect(proxy->port, "");
		db_do(conns[i], "CREATE TABLE t%d (id int, v text)", i);
		db_do(conns[i], "BEGIN");
	}
	for (int i = 0; i < SESSIONS; i++)
		db_send(conns[i], "CREATE INDEX CONCURRENTLY t%d_i ON t%d (%s)", i, i,
			i % 4 == 3 ? "nope" : "id");
	for (int i = 0; i < SESSIONS; i++) {
		assert_string_equal(db_outcome(conns[i]), i % 4 == 3 ? "42703" : "00000");
		db_do(conns[i], "COMMIT");
	}
	assert_string_equal(ask("SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = "
				"indexrelid WHERE relname LIKE 't%%_i' AND indisvalid"),
		"9");
}

/*
 * A build waits, at its end, for the end of every transaction that has a snapshot just then: also
 * for that of another session here which has only been asked a question of ours.
 */
static void our_own_question_to_another_session_is_waited_for_only_once(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *other = db_connect(proxy->port, "");
	PGconn *super = db_super(cluster.port), *holder = hold_builds();

	(void)state;
	db_do(conn, "CREATE TABLE u (id int)");
	db_do(conn, "BEGIN");
	db_do(other, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_held());
	db_do(super, "BEGIN; LOCK TABLE pg_catalog.pg_operator");
	db_send(other, "CREATE INDEX CONCURRENTLY ON u (id)");
	WAIT_FOR(is_blocked(other));
	release_builds(holder);
	WAIT_FOR(an_aside_waits("wait_event = 'virtualxid'"));
	db_do(super, "COMMIT");
	assert_string_equal(db_outcome(other), "00000");
	assert_string_equal(db_outcome(conn), "00000");
	assert_true(proxy_has_logged(proxy, "event=aside_waits_in_vain", NULL));
	assert_string_equal(index_state("i"), "t");
	db_do(other, "COMMIT");
	db_do(conn, "COMMIT");
}

/* What the client sends meanwhile waits, is bounded, and comes in its order. */
static void a_client_that_goes_on_talking_is_answered_in_order(void **state)
{
	struct wire *w = wire_open(proxy->port);
	PGconn *holder = hold_builds();
	char *large = malloc(1100000);
	long before;

	(void)state;
	assert_non_null(large);
	memset(large, 'x', 1100000);
	memcpy(large, "SELECT length('", 15);
	memcpy(large + 1099997, "')", 3);
	wire_login_as(w, "app", "secret", "app", NULL);
	wire_query(w, "BEGIN");
	wire_query(w, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	wire_query(w, "SELECT 1");
	wire_query(w, large);
	wire_query(w, "COMMIT");
	before = proxy_memory_kb(proxy);
	wire_send(w);
	WAIT_FOR(build_is_held());
	if (!proxy_is_sanitized())
		assert_in_range(proxy_memory_kb(proxy), 0, before + 16 * 1024);
	release_builds(holder);
	assert_string_equal(wire_answers(w, 5),
		"C(BEGIN) Z:T N(00000) C(CREATE INDEX) Z:T T(1) D(1) C(SELECT 1) Z:T "
		"T(1) D(1099982) C(SELECT 1) Z:T C(COMMIT) Z:I");
	free(large);
}

static void notices_of_the_build_come_with_it(void **state)
{
	struct wire *w = wire_open(proxy->port);

	(void)state;
	tell("CREATE FUNCTION public.talks(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
	     "'BEGIN IF $1 <= 3 THEN RAISE NOTICE USING ERRCODE = ''00ABC'', MESSAGE = $1; END IF; "
	     "RETURN $1; END'");
	wire_login_as(w, "app", "secret", "app", NULL);
	wire_query(w, "BEGIN");
	wire_query(w, "CREATE INDEX CONCURRENTLY i ON t (talks(id))");
	wire_query(w, "COMMIT");
	wire_send(w);
	wire_answers(w, 3);
	assert_non_null(strstr(w->text, "C(BEGIN) Z:T N(00ABC) N(00ABC) N(00ABC) "));
	assert_non_null(strstr(w->text, " N(00000) C(CREATE INDEX) Z:T C(COMMIT) Z:I"));
}

/* A materialized view cannot be locked: its indexes are looked at twice. */
static void nobody_elses_build_on_a_view_is_dropped(void **state)
{
	PGconn *holder = db_connect(cluster.port, ""), *other = db_connect(cluster.port, "");
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("SET ROLE app; CREATE MATERIALIZED VIEW m AS SELECT id FROM t; RESET ROLE");
	db_do(holder, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
	db_send(other, "CREATE INDEX CONCURRENTLY i ON m (id)");
	WAIT_FOR(
		ask_is("f", "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('i')"));
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON m (id)");
	WAIT_FOR(an_aside_waits_for_a_lock());
	db_do(holder, "COMMIT");
	assert_string_equal(db_outcome(other), "00000");
	assert_string_equal(db_outcome(conn), "42P07");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "t");
	tell("DROP MATERIALIZED VIEW m");
}

/* PostgreSQL looks the name up once more when the statement has waited. */
static void a_table_that_takes_the_name_meanwhile_is_left_nothing(void **state)
{
	PGconn *other = db_connect(cluster.port, ""), *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(other, "BEGIN; ALTER TABLE t RENAME TO t_old; CREATE TABLE t (id int); "
		     "INSERT INTO t VALUES (1), (1)");
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (id)");
	WAIT_FOR(an_aside_waits_for_a_lock());
	db_do(other, "COMMIT");
	assert_string_equal(db_outcome(conn), "23505");
	assert_string_equal(index_state("i"), "");
	db_do(conn, "ROLLBACK");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(nobody_elses_build_is_dropped),
		FRESH_TEST(nobody_elses_build_on_a_view_is_dropped),
		FRESH_TEST(a_table_that_takes_the_name_meanwhile_is_left_nothing),
		FRESH_TEST(two_long_builds_on_one_table_both_succeed),
		FRESH_TEST(a_build_that_somebody_else_gives_up_is_repaired),
		FRESH_TEST(of_two_migrations_at_once_one_makes_the_index),
		FRESH_TEST(with_if_not_exists_both_migrations_succeed),
		FRESH_TEST(a_third_session_that_waits_for_the_transaction_is_let_go_by_commit),
		FRESH_TEST(a_third_session_that_begins_to_wait_later_is_found_out),
		FRESH_TEST(a_circle_that_commit_does_not_open_ends_as_a_deadlock),
		FRESH_TEST(readers_of_other_tables_are_not_kept_out),
		FRESH_TEST(many_asides_at_a_time_are_kept_apart),
		FRESH_TEST(our_own_question_to_another_session_is_waited_for_only_once),
		FRESH_TEST(a_client_that_goes_on_talking_is_answered_in_order),
		FRESH_TEST(notices_of_the_build_come_with_it),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
