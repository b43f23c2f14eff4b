/*
 * Other sessions that wait for what this one holds, and that an aside would wait for: a deadlock
 * that no server can see. Each of these ends within seconds, and nobody else is kept waiting.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "wire.h"

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram --set deadlock_timeout=200ms");
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	tell("SET ROLE app; CREATE TABLE other (id int); INSERT INTO other VALUES (1), (2); "
	     "RESET ROLE");
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static bool waits(PGconn *conn)
{
	return ask_is("t", "SELECT cardinality(pg_blocking_pids(%d)) > 0", PQbackendPID(conn));
}

/* Sends it and waits until it waits. */
static void send_and_wait(PGconn *conn, const char *sql)
{
	db_send(conn, "%s", sql);
	WAIT_FOR(waits(conn));
}

static void makes_index(PGconn *conn)
{
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	assert_int_equal(db_status(conn), 'T');
}

static void commits_with_index(PGconn *conn)
{
	db_do(conn, "COMMIT");
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(index_state("ix"), "t");
}

static void a_session_that_waits_for_an_advisory_lock(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *third = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "BEGIN; SELECT pg_advisory_xact_lock(1)");
	send_and_wait(third, "SELECT pg_advisory_lock(1)");
	makes_index(conn);
	commits_with_index(conn);
	assert_string_equal(db_outcome(third), "00000");
}

/* Not even COMMIT helps: PostgreSQL itself says 40P01 when the session builds the index. */
static void a_session_that_waits_for_a_lock_of_the_session(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *third = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "SELECT pg_advisory_lock(1); BEGIN");
	send_and_wait(third, "SELECT pg_advisory_lock(1)");
	makes_index(conn);
	db_fail(conn, "40P01", "COMMIT");
	assert_int_equal(db_status(conn), 'I');
	WAIT_FOR(strcmp(index_state("ix"), "") == 0);
	db_do(conn, "SELECT pg_advisory_unlock(1)");
	assert_string_equal(db_outcome(third), "00000");
	db_do(conn, "BEGIN");
	makes_index(conn);
	commits_with_index(conn);
}

/* Two deploys at once, both through pgaside, with a lock around the migration. */
static void a_second_migrator(void **state)
{
	PGconn *first = db_connect(proxy->port, "");
	PGconn *second = db_connect(proxy->port, "");

	(void)state;
	db_do(first, "BEGIN; SELECT pg_advisory_xact_lock(1)");
	db_do(second, "BEGIN");
	send_and_wait(second, "SELECT pg_advisory_xact_lock(1)");
	db_do(first, "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON t (id)");
	commits_with_index(first);
	assert_string_equal(db_outcome(second), "00000");
	db_do(second, "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON t (id)");
	commits_with_index(second);
}

static void a_session_that_waits_for_a_row(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *third = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "BEGIN; UPDATE other SET id = 3 WHERE id = 1");
	send_and_wait(third, "WITH x AS (INSERT INTO t VALUES (1, 'x')) UPDATE other SET id = 4 "
			     "WHERE id = 1");
	makes_index(conn);
	commits_with_index(conn);
	assert_string_equal(db_outcome(third), "00000");
}

static void a_session_that_waits_for_a_key(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *third = db_connect(cluster.port, "");

	(void)state;
	tell("CREATE UNIQUE INDEX other_id ON other (id)");
	db_do(conn, "BEGIN; INSERT INTO other VALUES (5)");
	send_and_wait(third, "INSERT INTO other VALUES (5)");
	makes_index(conn);
	commits_with_index(conn);
	assert_string_equal(db_outcome(third), "23505");
}

/* It has a queue behind it, in which the aside would stand. */
static void an_alter_table_that_waits(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *third = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "BEGIN; SELECT count(*) FROM t");
	send_and_wait(third, "ALTER TABLE t ADD COLUMN n int");
	makes_index(conn);
	commits_with_index(conn);
	assert_string_equal(db_outcome(third), "00000");
}

static void an_alter_table_that_waits_before_a_second_statement(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *third = db_connect(cluster.port, "");

	(void)state;
	tell("SET ROLE app; CREATE INDEX t_old ON t (v); RESET ROLE");
	db_do(conn, "BEGIN; SELECT count(*) FROM t");
	db_do(conn, "DROP INDEX CONCURRENTLY t_old");
	send_and_wait(third, "ALTER TABLE t ADD COLUMN n int");
	db_do(conn, "REINDEX TABLE CONCURRENTLY t");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("t_old"), "");
	assert_string_equal(db_outcome(third), "00000");
}

static bool builds(void)
{
	return ask_is("1", "SELECT count(*) FROM pg_stat_progress_create_index WHERE command LIKE "
			   "'%%CONCURRENTLY'");
}

/* It begins to wait when the aside is running already: then it is found by watching. */
static void a_session_that_begins_to_wait_during_the_build(void **state)
{
	static const char *const texts[] = {"SELECT pg_advisory_xact_lock(1)",
		"ALTER TABLE other ADD COLUMN n int",
		"SELECT count(*) FROM t, pg_advisory_lock(1)"};

	for (size_t i = 0; i < LENGTH(texts); i++) {
		PGconn *conn = db_connect(proxy->port, "");
		PGconn *third = db_connect(cluster.port, "");
		PGconn *writer = db_connect(cluster.port, "");

		prepare(state);
		db_do(writer, "BEGIN; INSERT INTO t VALUES (1, 'x')");
		db_do(conn, "BEGIN; SELECT pg_advisory_xact_lock(1); INSERT INTO other VALUES (5)");
		db_send(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
		WAIT_FOR(builds());
		db_do(third, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
		send_and_wait(third, texts[i]);
		db_do(writer, "COMMIT");
		assert_string_equal(db_outcome(conn), "00000");
		db_send(conn, "COMMIT");
		assert_string_equal(db_outcome(third), "00000");
		db_do(third, "COMMIT");
		assert_string_equal(db_outcome(conn), "00000");
		assert_string_equal(index_state("ix"), "t");
		db_close_all();
	}
}

/* The aside waits for a writer for as long as it likes; the altered table is free before. */
static void an_altered_table_is_not_kept_from_others(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *writer = db_connect(cluster.port, "");
	PGconn *reader = db_connect(cluster.port, "");

	(void)state;
	db_do(writer, "BEGIN; INSERT INTO t VALUES (1, 'x')");
	db_do(conn, "BEGIN; ALTER TABLE other ADD COLUMN n int");
	makes_index(conn);
	send_and_wait(reader, "SELECT count(*) FROM other");
	db_send(conn, "COMMIT");
	assert_string_equal(db_outcome(reader), "00000");
	db_do(reader, "INSERT INTO other VALUES (3)");
	WAIT_FOR(builds());
	assert_false(db_has_answer(conn));
	db_do(writer, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("ix"), "t");
}

/* An ordinary wait for somebody who has nothing to do with this session. */
static void a_writer_is_waited_for(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *writer = db_connect(cluster.port, "");

	(void)state;
	db_do(writer, "BEGIN; INSERT INTO t VALUES (1, 'x')");
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_send(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	WAIT_FOR(builds());
	for (struct patience p = patience_of(300); patience_left(&p);)
		assert_false(db_has_answer(conn));
	db_do(writer, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("ix"), "t");
	db_do(conn, "COMMIT");
}

static void succeeds_extended(PGconn *conn, const char *sql)
{
	PGresult *r = PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);

	assert_string_equal(db_error_field(r, PG_DIAG_MESSAGE_PRIMARY), "");
	PQclear(r);
}

static void leaves_a_portal(PGconn *conn)
{
	succeeds_extended(conn, "SELECT pg_try_advisory_xact_lock(1)");
}

/*
 * A migrator that keeps its lock by a second connection, as Flyway does: that one sits in a
 * transaction with nothing but the portal of its last SELECT, and libpq as well as pgjdbc leave it
 * open. Its snapshot would be waited for at the end of the build, and it waits for the migration.
 */
static void a_lock_on_a_second_connection(void **state)
{
	PGconn *lock = db_connect(proxy->port, "");
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(lock, "BEGIN");
	leaves_a_portal(lock);
	db_do(conn, "CREATE TABLE small (id int)");
	assert_true(
		ask_is("t", "SELECT backend_xmin IS NOT NULL FROM pg_stat_activity WHERE pid = %d",
			PQbackendPID(lock)));
	db_do(conn, "BEGIN");
	makes_index(conn);
	commits_with_index(conn);
	/* Also where nobody watches. */
	for (int i = 0; i < 20; i++) {
		leaves_a_portal(lock);
		db_do(conn, "CREATE INDEX CONCURRENTLY again ON small (id)");
		leaves_a_portal(lock);
		db_do(conn, "DROP INDEX CONCURRENTLY again");
		leaves_a_portal(lock);
		succeeds_extended(conn, "CREATE INDEX CONCURRENTLY again ON small (id)");
		leaves_a_portal(lock);
		succeeds_extended(conn, "DROP INDEX CONCURRENTLY again");
	}
	/* Also behind COMMIT. */
	leaves_a_portal(lock);
	db_do(conn,
		"BEGIN; ALTER TABLE t ADD COLUMN n int; CREATE INDEX CONCURRENTLY ix_n ON t (n)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("ix_n"), "t");
	assert_string_equal(db_text(lock, "SELECT count(*) FROM t"), "1000");
	db_do(lock, "COMMIT");
}

/* On a machine that is busy the other server process may need its time to let go. */
static void a_lock_on_a_second_connection_that_is_slow(void **state)
{
	PGconn *lock = db_connect(proxy->port, "");
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(lock, "BEGIN");
	for (int in_transaction = 0; in_transaction <= 1; in_transaction++) {
		leaves_a_portal(lock);
		if (in_transaction)
			db_do(conn, "BEGIN");
		assert_int_equal(kill((pid_t)PQbackendPID(lock), SIGSTOP), 0);
		db_send(conn, "CREATE INDEX CONCURRENTLY ix_%d ON t (id)", in_transaction);
		for (struct patience p = patience_of(300); patience_left(&p);)
			assert_false(db_has_answer(conn));
		assert_int_equal(kill((pid_t)PQbackendPID(lock), SIGCONT), 0);
		assert_string_equal(db_outcome(conn), "00000");
	}
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("ix_0"), "t");
	assert_string_equal(index_state("ix_1"), "t");
	db_do(lock, "COMMIT");
}

/* A portal with a row left to give. */
static struct wire *half_read(void)
{
	struct wire *reader = wire_login(proxy->port, NULL);

	wire_query(reader, "BEGIN");
	wire_parse(reader, "", "SELECT generate_series(1, 2)");
	wire_bind(reader, "", "", 0);
	wire_execute(reader, "", 1);
	wire_sync(reader);
	wire_send(reader);
	wire_answers(reader, 2);
	return reader;
}

/* One that has more rows to give is its client's: it is waited for. */
static void a_portal_with_rows_left_is_kept(void **state)
{
	struct wire *reader = half_read();
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	WAIT_FOR(builds());
	for (struct patience p = patience_of(300); patience_left(&p);)
		assert_false(db_has_answer(conn));
	wire_execute(reader, "", 0);
	wire_sync(reader);
	wire_query(reader, "COMMIT");
	wire_send(reader);
	assert_string_equal(wire_answers(reader, 2), "D(2) C(SELECT 1) Z:T C(COMMIT) Z:I");
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
}

/* Outside of a transaction, too, and while it is still hoped that somebody lets go: whether it
 * meets a question or comes between two. */
static void a_cancel_before_the_statement_has_begun_is_heard(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	half_read();
	for (int i = 0; i < 20; i++) {
		db_send(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
		WAIT_FOR(ask_is("1",
			"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep%%' "
			"AND pid = %d",
			PQbackendPID(conn)));
		db_cancel(conn);
		assert_string_equal(db_outcome(conn), "57014");
		assert_string_equal(index_state("ix"), "");
		db_do(conn, "SELECT 1");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_session_that_waits_for_an_advisory_lock),
		CASE(a_session_that_waits_for_a_lock_of_the_session),
		CASE(a_second_migrator),
		CASE(a_session_that_waits_for_a_row),
		CASE(a_session_that_waits_for_a_key),
		CASE(an_alter_table_that_waits),
		CASE(an_alter_table_that_waits_before_a_second_statement),
		CASE(a_session_that_begins_to_wait_during_the_build),
		CASE(an_altered_table_is_not_kept_from_others),
		CASE(a_writer_is_waited_for),
		CASE(a_lock_on_a_second_connection),
		CASE(a_lock_on_a_second_connection_that_is_slow),
		CASE(a_portal_with_rows_left_is_kept),
		CASE(a_cancel_before_the_statement_has_begun_is_heard),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
