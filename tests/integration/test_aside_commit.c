/*
 * Placement at commit: what the transaction itself is in the way of runs right after it has
 * committed, before the client hears of that.
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
	return fixture_start("--auth scram");
}

static void what_the_transaction_is_in_the_way_of_runs_after_commit(void **state)
{
	static const char *const obstacles[][3] = {
		{"BEGIN", "ALTER TABLE t ADD w int"},
		{"BEGIN", "UPDATE t SET v = 'x' WHERE false"},
		{"BEGIN", "INSERT INTO t VALUES (1)"},
		{"BEGIN", "DROP INDEX old"},
		{"BEGIN", "CREATE TABLE child (id int REFERENCES p (id))",
			"CREATE INDEX CONCURRENTLY i ON p (id)"},
		{"BEGIN", "COMMENT ON TABLE t IS 'x'"},
		{"BEGIN", "GRANT SELECT ON t TO PUBLIC"},
		{"BEGIN", "LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE"},
		{"BEGIN", "TRUNCATE t"},
		{"BEGIN", "DECLARE c CURSOR FOR SELECT 1 FROM p"},
		{"BEGIN", "SELECT pg_export_snapshot()"},
		{"BEGIN", "SELECT lo_open(4711, 262144)"},
		{"BEGIN", "ALTER TABLE p ADD w int"},
		{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1 FROM p"},
		{"BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT 1"},
		{"START TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT 1; INSERT INTO t "
								      "VALUES (1)"},
	};
	PGconn *conn = db_connect(proxy->port, "");
	uint64_t begin;

	(void)state;
	db_do(conn, "CREATE TABLE p (id int PRIMARY KEY); CREATE INDEX old ON t (v); SELECT "
		    "lo_create(4711)");
	for (size_t i = 0; i < LENGTH(obstacles); i++) {
		begin = patience_now_ms();
		db_do(conn, "%s", obstacles[i][0]);
		db_do(conn, "%s", obstacles[i][1]);
		db_do(conn, "%s",
			obstacles[i][2] ? obstacles[i][2]
					: "CREATE INDEX CONCURRENTLY i ON t (id)");
		assert_int_equal(db_status(conn), 'T');
		if (strcmp(index_state("i"), "") != 0)
			fail_msg("%s: the index is there already", obstacles[i][1]);
		db_do(conn, "INSERT INTO p VALUES (%d)", (int)i);
		db_do(conn, "COMMIT");
		if (strcmp(index_state("i"), "t") != 0)
			fail_msg("%s: the index is not there", obstacles[i][1]);
		assert_in_range(patience_now_ms() - begin, 0, 10000);
		db_do(conn, "DROP INDEX i; DROP TABLE IF EXISTS child");
	}
}

/* Nobody else can see them, so the statement would fail anywhere else. */
static void what_uses_things_made_in_the_transaction_runs_after_commit(void **state)
{
	static const char *const cases[][2] = {
		{"CREATE EXTENSION pg_trgm",
			"CREATE INDEX CONCURRENTLY i ON t USING gin (v gin_trgm_ops)"},
		{"CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
			"CREATE INDEX CONCURRENTLY i ON t (f(id))"},
		{"CREATE COLLATION co (provider = libc, locale = 'C')",
			"CREATE INDEX CONCURRENTLY i ON t (v COLLATE co)"},
		{"CREATE SCHEMA s; CREATE FUNCTION s.f(int) RETURNS int IMMUTABLE LANGUAGE sql AS "
		 "'SELECT $1'",
			"CREATE INDEX CONCURRENTLY i ON t (s.f(id))"},
	};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		db_do(conn, "BEGIN");
		db_do(conn, "%s", cases[i][0]);
		db_do(conn, "%s", cases[i][1]);
		db_do(conn, "COMMIT");
		assert_string_equal(index_state("i"), "t");
		db_do(conn, "DROP INDEX i");
	}
}

/* No lock tells that a function was replaced, and an index of the old one would be wrong. */
static void what_uses_functions_that_the_transaction_changed_runs_after_commit(void **state)
{
	static const char *const changes[] = {
		("CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql "
		 "AS 'BEGIN RETURN $1 + 1000; END'"),
		"SAVEPOINT s; ALTER FUNCTION f(int) PARALLEL SAFE; RELEASE s",
		"ALTER TEXT SEARCH CONFIGURATION c ALTER MAPPING FOR word WITH english_stem",
	};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	fresh_table();
	tell("SET ROLE app; CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql "
	     "AS 'BEGIN RETURN $1; END'; CREATE TEXT SEARCH CONFIGURATION c (COPY = simple); "
	     "RESET ROLE");
	for (size_t i = 0; i < LENGTH(changes); i++) {
		db_do(conn, "BEGIN");
		db_do(conn, "%s", changes[i]);
		db_do(conn, "CREATE INDEX CONCURRENTLY on_f ON t (f(id))");
		db_do(conn, "CREATE INDEX CONCURRENTLY part ON t (id) WHERE f(id) > 5");
		assert_string_equal(index_state("on_f"), "");
		db_do(conn, "REINDEX INDEX CONCURRENTLY on_f");
		db_do(conn, "COMMIT");
		assert_string_equal(index_state("on_f"), "t");
		assert_string_equal(index_state("part"), "t");
		assert_string_equal(
			ask("SET enable_seqscan = off; SELECT count(*) FROM t WHERE f(id) = 1001"),
			"1");
		tell("DROP INDEX on_f, part");
	}
	/* What calls nothing is in nobody's way. */
	db_do(conn, "BEGIN");
	db_do(conn, "%s", changes[0]);
	db_do(conn, "CREATE INDEX CONCURRENTLY plain ON t USING btree (id, v) INCLUDE (v)");
	assert_string_equal(index_state("plain"), "t");
	db_do(conn, "COMMIT");
}

static void several_statements_run_in_their_order(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "CREATE INDEX old ON t (v)");
	db_keep_notices(conn);
	db_do(conn, "BEGIN");
	db_do(conn, "ALTER TABLE t ADD w int");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (w)");
	db_do(conn, "DROP INDEX CONCURRENTLY old");
	db_do(conn, "CREATE INDEX CONCURRENTLY old ON t (w, id)");
	db_do(conn, "REINDEX TABLE CONCURRENTLY t");
	assert_string_equal(db_notices(), "00000 00000 00000 00000");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
	assert_string_equal(index_state("old"), "t");
	assert_string_equal(ask("SELECT pg_get_indexdef('old'::regclass)"),
		"CREATE INDEX old ON public.t USING btree (w, id)");
}

static void a_rollback_forgets_what_was_owed(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "UPDATE t SET v = 'x'");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "");
	db_do(conn, "BEGIN");
	db_do(conn, "SAVEPOINT a");
	db_do(conn, "UPDATE t SET v = 'x'");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
	db_do(conn, "SAVEPOINT b");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (id)");
	db_do(conn, "ROLLBACK TO b");
	db_do(conn, "CREATE INDEX CONCURRENTLY k ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
	assert_string_equal(index_state("j"), "");
	assert_string_equal(index_state("k"), "t");
	db_do(conn, "BEGIN");
	db_do(conn, "SAVEPOINT a");
	db_do(conn, "UPDATE t SET v = 'y'");
	db_do(conn, "CREATE INDEX CONCURRENTLY l ON t (v)");
	db_do(conn, "ROLLBACK TO a");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("l"), "");
}

static void a_failure_after_commit_says_what_is_left_to_do(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGresult *r;

	(void)state;
	db_do(conn, "CREATE TABLE journal (v int)");
	db_do(conn, "BEGIN");
	db_do(conn, "INSERT INTO t VALUES (1)");
	db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (v)");
	db_do(conn, "INSERT INTO journal VALUES (1)");
	r = db_query(conn, "COMMIT");
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "23505");
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_DETAIL), "(id)=(1)"));
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_DETAIL), "COMMITTED"));
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_HINT),
		"CREATE UNIQUE INDEX CONCURRENTLY i ON t (id);"));
	assert_non_null(strstr(
		db_error_field(r, PG_DIAG_MESSAGE_HINT), "CREATE INDEX CONCURRENTLY j ON t (v);"));
	PQclear(r);
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(ask("SELECT count(*) FROM journal"), "1");
	assert_string_equal(index_state("i"), "");
	assert_string_equal(index_state("j"), "");
	assert_true(proxy_has_logged(proxy, "error event=owed_and_failed", "INDEX CONCURRENTLY j"));
	assert_string_equal(db_text(conn, "SELECT 1"), "1");
}

static void commit_and_chain_begins_the_next_transaction(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
	db_do(conn, "COMMIT AND CHAIN");
	assert_int_equal(db_status(conn), 'T');
	assert_string_equal(index_state("i"), "t");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (v)");
	db_do(conn, "ROLLBACK AND CHAIN");
	assert_int_equal(db_status(conn), 'T');
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("j"), "");
}

static void a_commit_that_the_server_refuses_undoes_everything(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int REFERENCES p "
		    "DEFERRABLE INITIALLY DEFERRED)");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
	db_do(conn, "INSERT INTO c VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON c (id)");
	db_fail(conn, "23503", "COMMIT");
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(index_state("i"), "");
	assert_string_equal(index_state("j"), "");
	/* And the COMMIT of a failed transaction is a ROLLBACK. */
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (id)");
	db_fail(conn, "22012", "SELECT 1/0");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "");
	assert_string_equal(index_state("j"), "");
}

static void what_cannot_be_prepared_is_not_committed(void **state)
{
	PGconn *conn;

	(void)state;
	tell("CREATE ROLE few LOGIN PASSWORD 'secret'");
	tell("ALTER TABLE t OWNER TO few; GRANT ALL ON SCHEMA public TO few");
	conn = db_connect(proxy->port, "user=few");
	db_do(conn, "BEGIN");
	db_do(conn, "INSERT INTO t VALUES (7777)");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'few'"));
	tell("ALTER ROLE few CONNECTION LIMIT 1");
	db_fail(conn, "53300", "COMMIT");
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(ask("SELECT count(*) FROM t WHERE id = 7777"), "0");
	assert_string_equal(db_text(conn, "SELECT 1"), "1");
	db_close(conn);
	tell("ALTER TABLE t OWNER TO app; DROP OWNED BY few");
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'few'"));
	tell("DROP ROLE few");
}

static void a_transaction_that_owes_something_cannot_be_prepared(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
	db_fail(conn, "0A000", "PREPARE TRANSACTION 'x'");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	/* One that owes nothing can: what it made stays. */
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
	db_do(conn, "INSERT INTO t VALUES (1)");
	db_do(conn, "PREPARE TRANSACTION 'x'");
	db_do(conn, "COMMIT PREPARED 'x'");
	assert_string_equal(index_state("i"), "t");
}

static void an_error_that_the_owed_statement_explains_says_so(void **state)
{
	static const struct {
		const char *sqlstate, *sql;
	} cases[] = {
		{"42704", "ALTER TABLE t ADD CONSTRAINT x UNIQUE USING INDEX i"},
		{"42P01", "COMMENT ON INDEX i IS 'x'"},
		{"42P10", "INSERT INTO t VALUES (1) ON CONFLICT (id) DO NOTHING"},
	};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGresult *r;

		db_do(conn, "BEGIN");
		db_do(conn, "UPDATE t SET v = 'x' WHERE false");
		db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (id)");
		r = db_query(conn, cases[i].sql);
		assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), cases[i].sqlstate);
		if (!strstr(db_error_field(r, PG_DIAG_MESSAGE_HINT), "CONCURRENTLY i ON t"))
			fail_msg("%s: the hint is \"%s\"", cases[i].sql,
				db_error_field(r, PG_DIAG_MESSAGE_HINT));
		PQclear(r);
		db_do(conn, "ROLLBACK");
	}
}

static void conflict_says_what_else_may_be_done(void **state)
{
	struct proxy *refusing = proxy_start(fixture_url(""), "--conflict", "error", NULL);
	struct proxy *plain = proxy_start(fixture_url(""), "--conflict", "inline", NULL);
	PGconn *conn = db_connect(refusing->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "ALTER TABLE t ADD w int");
	db_fail(conn, "0A000", "CREATE INDEX CONCURRENTLY i ON t (w)");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	conn = db_connect(plain->port, "");
	db_do(conn, "BEGIN");
	db_do(conn, "ALTER TABLE t ADD w int");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (w)");
	db_do(conn, "ALTER INDEX i RENAME TO j");
	assert_string_equal(index_state("j"), "");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("j"), "t");
}

/* A table that was renamed meanwhile must not lend its name to another one. */
static void an_owed_index_is_never_made_on_another_table(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	const char *outcome;

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "ALTER TABLE t RENAME TO t_old");
	db_do(conn, "CREATE TABLE t (id int)");
	db_send(conn, "COMMIT");
	outcome = db_outcome(conn);
	assert_true(ask_is("0", "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass"));
	/* Told, or done. */
	if (strcmp(outcome, "00000") == 0)
		assert_true(ask_is("1", "SELECT count(*) FROM pg_index WHERE indrelid = "
					"'t_old'::regclass AND indisvalid"));
}

static void what_the_transaction_has_removed_itself_is_owed_no_more(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "CREATE TABLE u (id int, v text); CREATE INDEX old ON u (id)");
	db_do(conn, "BEGIN");
	db_do(conn, "UPDATE u SET v = 'x'");
	db_do(conn, "DROP INDEX CONCURRENTLY old");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON u (v)");
	db_do(conn, "DROP TABLE u");
	db_do(conn, "COMMIT");
	assert_true(ask_is("", "SELECT to_regclass('u')"));
}

static void a_lock_elsewhere_is_not_held_while_the_index_is_made(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *writer = db_connect(cluster.port, "");
	PGconn *reader = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "CREATE TABLE other (id int)");
	/* The build will have to wait for this one. */
	db_do(writer, "BEGIN; INSERT INTO t VALUES (1)");
	db_do(conn, "BEGIN");
	db_do(conn, "ALTER TABLE other ADD w int");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_send(conn, "COMMIT");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_progress_create_index WHERE "
			     "command LIKE '%%CONCURRENTLY'"));
	db_do(reader, "SELECT * FROM other");
	assert_false(db_has_answer(conn));
	db_do(writer, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("i"), "t");
}

static void once_committed_it_runs_to_its_end_client_or_not(void **state)
{
	struct wire *w = wire_open(proxy->port);
	PGconn *writer = db_connect(cluster.port, "");

	(void)state;
	db_do(writer, "BEGIN; INSERT INTO t VALUES (1)");
	wire_login_as(w, "app", "secret", "app", NULL);
	wire_query(w, "BEGIN");
	wire_query(w, "INSERT INTO t VALUES (4711)");
	wire_query(w, "CREATE INDEX CONCURRENTLY i ON t (id)");
	wire_query(w, "COMMIT");
	wire_send(w);
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_progress_create_index WHERE "
			     "command LIKE '%%CONCURRENTLY'"));
	wire_close(w);
	assert_string_equal(ask("SELECT count(*) FROM t WHERE id = 4711"), "1");
	db_do(writer, "COMMIT");
	WAIT_FOR(ask_is("t", "SELECT indisvalid FROM pg_index WHERE indexrelid = "
			     "to_regclass('i')"));
}

static void a_client_that_leaves_before_commit_is_owed_nothing(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (v)");
	assert_string_equal(index_state("i"), "t");
	db_close(conn);
	WAIT_FOR(ask_is("", "SELECT to_regclass('i')"));
	assert_string_equal(index_state("j"), "");
}

static void an_owed_statement_that_cannot_get_its_lock_is_tried_again(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--aside-retries", "2", NULL);
	PGconn *conn = db_connect(p->port, ""), *holder = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "SET LOCAL lock_timeout = '100ms'");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(holder, "BEGIN; INSERT INTO t VALUES (1)");
	db_send(conn, "COMMIT");
	/* What the first try has left must go before the second. */
	WAIT_FOR(proxy_has_logged(p, "event=aside_waits", "state=cleaning"));
	db_do(holder, "COMMIT");
	WAIT_FOR(proxy_has_logged(p, "event=aside_retry", "sqlstate=55P03"));
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("i"), "t");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(what_the_transaction_is_in_the_way_of_runs_after_commit),
		FRESH_TEST(what_uses_things_made_in_the_transaction_runs_after_commit),
		FRESH_TEST(what_uses_functions_that_the_transaction_changed_runs_after_commit),
		FRESH_TEST(several_statements_run_in_their_order),
		FRESH_TEST(a_rollback_forgets_what_was_owed),
		FRESH_TEST(a_failure_after_commit_says_what_is_left_to_do),
		FRESH_TEST(commit_and_chain_begins_the_next_transaction),
		FRESH_TEST(a_commit_that_the_server_refuses_undoes_everything),
		FRESH_TEST(what_cannot_be_prepared_is_not_committed),
		FRESH_TEST(a_transaction_that_owes_something_cannot_be_prepared),
		FRESH_TEST(an_error_that_the_owed_statement_explains_says_so),
		FRESH_TEST(conflict_says_what_else_may_be_done),
		FRESH_TEST(an_owed_index_is_never_made_on_another_table),
		FRESH_TEST(what_the_transaction_has_removed_itself_is_owed_no_more),
		FRESH_TEST(a_lock_elsewhere_is_not_held_while_the_index_is_made),
		FRESH_TEST(once_committed_it_runs_to_its_end_client_or_not),
		FRESH_TEST(a_client_that_leaves_before_commit_is_owed_nothing),
		FRESH_TEST(an_owed_statement_that_cannot_get_its_lock_is_tried_again),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
