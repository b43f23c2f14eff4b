/*
 * What a statement that is owed means at COMMIT: its table, partition, columns and index are those
 * of the moment in which it was given, whatever has happened to names since; and what other
 * statements about its index mean meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram --set max_prepared_transactions=5");
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	tell("SET ROLE app; CREATE INDEX t_old ON t (v); RESET ROLE");
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static void make_partitions(void)
{
	tell("SET ROLE app; CREATE TABLE parent (id int) PARTITION BY LIST (id); "
	     "CREATE TABLE p PARTITION OF parent FOR VALUES IN (1); "
	     "CREATE TABLE q PARTITION OF parent FOR VALUES IN (2); RESET ROLE");
}

/* A transaction that has written to the table, and owes that. */
static PGconn *owe(const char *statement)
{
	PGconn *conn = db_connect(proxy->port, "");

	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "%s", statement);
	return conn;
}

/* Nothing of it is new, so it fails where it stands, as PostgreSQL's own would. */
static void what_names_its_table_and_is_wrong_fails_at_once(void **state)
{
	static const char *const texts[] = {
		"CREATE INDEX CONCURRENTLY ix ON t (lowr(t.v))",
		"CREATE INDEX CONCURRENTLY ix ON public.t (lowr(public.t.v))",
		"CREATE INDEX CONCURRENTLY ix ON t (no_such_function(t))",
	};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (size_t i = 0; i < LENGTH(texts); i++) {
		db_do(conn, "BEGIN");
		db_fail(conn, "42883", "%s", texts[i]);
		db_do(conn, "ROLLBACK");
	}
	/* In the way, it is tried out only. */
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
	db_fail(conn, "42883", "%s", texts[0]);
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("ix"), "");
}

/* The names that a statement used mean what they meant where it stood. */
/* A copy of the table has another row type, and is in another schema. */
static void an_index_may_name_its_table_once_more(void **state)
{
	static const char *const texts[] = {
		"CREATE INDEX CONCURRENTLY ix ON t (whole(t))",
		"CREATE INDEX CONCURRENTLY ix ON public.t (id) WHERE public.t.v IS NULL",
		"CREATE INDEX CONCURRENTLY ix ON t (id) WHERE t.v <> 'x'",
	};

	for (size_t i = 0; i < LENGTH(texts); i++) {
		PGconn *conn;

		prepare(state);
		tell("CREATE FUNCTION whole(t) RETURNS text IMMUTABLE LANGUAGE sql AS "
		     "'SELECT $1.v'");
		conn = owe(texts[i]);
		assert_string_equal(index_state("ix"), "");
		db_do(conn, "COMMIT");
		assert_string_equal(index_state("ix"), "t");
		db_close(conn);
	}
}

/* The rehearsal before COMMIT, too, reads the statement as it stood. */
static void a_statement_is_read_as_where_it_stood(void **state)
{
	static const struct {
		const char *set, *sql;
	} cases[] = {
		{"SET LOCAL standard_conforming_strings = off",
			"CREATE INDEX CONCURRENTLY ix ON t (id) WHERE v <> 'x\\'"},
		{"SET LOCAL DateStyle = 'ISO, YMD'",
			"CREATE INDEX CONCURRENTLY ix ON t (id) WHERE at < '31/12/2026'"},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGconn *conn = db_connect(proxy->port, "");

		prepare(state);
		tell("ALTER TABLE t ADD at date");
		db_do(conn, "SET DateStyle = 'ISO, DMY'");
		db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
		db_do(conn, "%s", cases[i].sql);
		db_do(conn, "%s", cases[i].set);
		db_do(conn, "COMMIT");
		assert_string_equal(index_state("ix"), "t");
		db_close(conn);
	}
}

/* PostgreSQL's refusal, before COMMIT, and what helps. */
static void a_detach_that_is_pending_is_said_at_once(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *other = db_connect(cluster.port, "");
	PGconn *holder = db_connect(cluster.port, "");

	(void)state;
	make_partitions();
	db_do(holder, "BEGIN; SELECT count(*) FROM parent");
	db_send(other, "ALTER TABLE parent DETACH PARTITION p CONCURRENTLY");
	WAIT_FOR(ask_is("t", "SELECT inhdetachpending FROM pg_inherits WHERE "
			     "inhrelid = 'p'::regclass"));
	db_cancel(other);
	assert_string_equal(db_outcome(other), "57014");
	db_do(holder, "COMMIT");
	db_do(conn, "BEGIN");
	db_fail(conn, "55000", "ALTER TABLE parent DETACH PARTITION q CONCURRENTLY");
	db_do(conn, "ROLLBACK");
	db_do(conn, "ALTER TABLE parent DETACH PARTITION p FINALIZE");
	db_do(conn, "BEGIN; ALTER TABLE parent DETACH PARTITION q CONCURRENTLY; COMMIT");
	assert_string_equal(ask("SELECT count(*) FROM pg_inherits"), "0");
}

/* Had it been detached where DETACH stands, these would not concern it. */
static void what_would_reach_a_detached_partition_is_refused(void **state)
{
	static const char *const refused[] = {"DROP TABLE parent", "TRUNCATE parent",
		"DELETE FROM public.parent", "INSERT INTO parent VALUES (1)",
		"UPDATE \"parent\" SET id = id",
		"WITH d AS (DELETE FROM parent RETURNING id) SELECT * FROM d"};
	static const char *const allowed[] = {"SELECT count(*) FROM parent", "DELETE FROM p",
		"DELETE FROM t WHERE id IN (SELECT id FROM parent)",
		"CREATE TABLE r PARTITION OF parent FOR VALUES IN (3)", "DROP TABLE q"};
	PGconn *conn;

	(void)state;
	make_partitions();
	tell("INSERT INTO parent VALUES (1)");
	for (size_t i = 0; i < LENGTH(refused); i++) {
		conn = owe("ALTER TABLE parent DETACH PARTITION p CONCURRENTLY");
		db_fail(conn, "0A000", "%s", refused[i]);
		assert_int_equal(db_status(conn), 'E');
		db_close(conn);
	}
	assert_string_equal(ask("SELECT count(*) FROM p"), "1");
	conn = owe("ALTER TABLE parent DETACH PARTITION p CONCURRENTLY");
	for (size_t i = 0; i < LENGTH(allowed); i++)
		db_do(conn, "%s", allowed[i]);
	db_do(conn, "COMMIT");
	assert_string_equal(ask("SELECT count(*) FROM pg_inherits"), "1");
}

/* Of two tables of one name only one loses a partition. */
static void the_table_of_another_schema_keeps_its_partitions(void **state)
{
	static const char *const allowed[] = {"INSERT INTO s2.parent VALUES (1)",
		"UPDATE \"s2\".parent SET id = id", "TRUNCATE s2.parent", "DROP TABLE s2.parent"};
	static const char *const refused[] = {"INSERT INTO s1.parent VALUES (1)",
		"DELETE FROM S1.Parent", "INSERT INTO parent VALUES (1)"};
	PGconn *conn;

	(void)state;
	tell("CREATE SCHEMA s1 AUTHORIZATION app; CREATE SCHEMA s2 AUTHORIZATION app; SET ROLE "
	     "app; "
	     "CREATE TABLE s2.parent (id int); CREATE TABLE s1.parent (id int) "
	     "PARTITION BY LIST (id); CREATE TABLE s1.p PARTITION OF s1.parent FOR VALUES IN (1); "
	     "RESET ROLE");
	for (size_t i = 0; i < LENGTH(refused); i++) {
		conn = db_connect(proxy->port, "options='-c search_path=s1'");
		db_do(conn, "BEGIN; ALTER TABLE %sparent DETACH PARTITION p CONCURRENTLY",
			i > 0 ? "s1." : "");
		db_fail(conn, "0A000", "%s", refused[i]);
		db_close(conn);
	}
	conn = db_connect(proxy->port, "options='-c search_path=s1'");
	db_do(conn, "BEGIN; ALTER TABLE parent DETACH PARTITION p CONCURRENTLY");
	for (size_t i = 0; i < LENGTH(allowed); i++)
		db_do(conn, "%s", allowed[i]);
	db_do(conn, "COMMIT");
	assert_string_equal(ask("SELECT count(*) FROM pg_inherits"), "0");
	tell("DROP SCHEMA s1, s2 CASCADE");
}

/* Names are resolved by search_path, as PostgreSQL would if the index were there. */
static void the_index_of_another_schema_is_another_one(void **state)
{
	static const struct {
		const char *path, *sql,
			*left; /* schemas that have an index of the name in the end */
	} cases[] = {
		{"a", "DROP INDEX idx", "b"},
		{"a, b", "DROP INDEX CONCURRENTLY idx", "b"},
		{"b", "DROP INDEX idx", "a"},
		{"b, a", "DROP INDEX CONCURRENTLY IF EXISTS idx", "a"},
		{"public", "DROP INDEX IF EXISTS idx", "a b"},
		{"public", "DROP INDEX a.idx", "b"},
		{"public", "DROP INDEX b.idx", "a"},
		{"public", "DROP INDEX CONCURRENTLY b.idx", "a"},
		{"b, a", "REINDEX INDEX CONCURRENTLY idx", "a b"},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGconn *conn = db_connect(proxy->port, "");

		prepare(state);
		tell("DROP SCHEMA IF EXISTS a, b CASCADE; CREATE SCHEMA a AUTHORIZATION app; "
		     "CREATE SCHEMA b AUTHORIZATION app; SET ROLE app; CREATE TABLE a.t (id int); "
		     "CREATE TABLE b.t (id int); CREATE INDEX idx ON b.t (id); RESET ROLE");
		db_do(conn, "BEGIN; INSERT INTO a.t VALUES (1)");
		db_do(conn, "CREATE INDEX CONCURRENTLY idx ON a.t (id)");
		db_do(conn, "SET LOCAL search_path = %s", cases[i].path);
		db_do(conn, "%s", cases[i].sql);
		db_do(conn, "COMMIT");
		assert_string_equal(ask("SELECT string_agg(relnamespace::regnamespace::text, ' ' "
					"ORDER BY 1) FROM pg_class WHERE relname = 'idx'"),
			cases[i].left);
		db_close(conn);
	}
	tell("DROP SCHEMA a, b CASCADE");
}

/* The server would skip them, and the index would be there after COMMIT nevertheless. */
static void if_exists_does_not_skip_what_is_owed(void **state)
{
	static const struct {
		const char *sql, *outcome, *left;
	} cases[] = {
		{"DROP INDEX IF EXISTS t_a, t_old", "0A000", ""},
		{"DROP INDEX IF EXISTS t_old, public.t_a", "0A000", ""},
		{"DROP TABLE IF EXISTS t_a", "0A000", ""},
		{"ALTER INDEX IF EXISTS t_a RENAME TO t_b", "0A000", ""},
		{"ALTER INDEX IF EXISTS t_a SET (fillfactor = 50)", "0A000", ""},
		{"ALTER TABLE IF EXISTS t_a RENAME TO t_b", "0A000", ""},
		{"ALTER TABLE IF EXISTS ONLY (\"t_a\") RENAME TO t_b", "0A000", ""},
		{"DROP INDEX IF EXISTS U&\"t\\005fa\"", "00000", ""},
		{"DROP INDEX IF EXISTS U&\"t!005fa\" UESCAPE '!' CASCADE", "00000", ""},
		{"DROP INDEX IF EXISTS app.public.t_a", "00000", ""},
		{"DROP INDEX app.public.t_a RESTRICT", "00000", ""},
		{"DROP INDEX CONCURRENTLY IF EXISTS app.public.t_a", "00000", ""},
		{"DROP INDEX IF EXISTS other.public.t_a", "0A000", ""},
		{"DROP INDEX IF EXISTS app.pg_catalog.t_a", "00000", "t"},
		{"DROP INDEX IF EXISTS pg_catalog.t_a, t_no", "00000", "t"},
		{"DROP INDEX IF EXISTS t_no, t_old", "00000", "t"},
		{"ALTER INDEX IF EXISTS t_no RENAME TO t_b", "00000", "t"},
		{"ALTER TABLE IF EXISTS t ADD t_a int", "00000", "t"},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGconn *conn;

		prepare(state);
		conn = owe("CREATE INDEX CONCURRENTLY t_a ON t (id)");
		db_send(conn, "%s", cases[i].sql);
		if (strcmp(db_outcome(conn), cases[i].outcome) != 0)
			fail_msg("%s", cases[i].sql);
		db_do(conn, "COMMIT");
		if (strcmp(index_state("t_a"), cases[i].left) != 0)
			fail_msg("%s: left behind", cases[i].sql);
		db_close(conn);
	}
}

/* An escape becomes a letter of the server's encoding, which is not the client's here. */
static void a_name_that_cannot_be_read_may_be_owed(void **state)
{
	PGconn *conn = db_connect(proxy->port, "client_encoding=LATIN1");

	(void)state;
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY \"\xe9\" ON t (id)");
	db_fail(conn, "0A000", "DROP INDEX IF EXISTS U&\"\\00e9\"");
	db_do(conn, "ROLLBACK");
}

/* What is owed may find an index of its name at COMMIT, or put one in its place. */
static void what_is_there_already_is_dropped_too(void **state)
{
	static const struct {
		const char *first, *then, *left;
	} cases[] = {
		{"CREATE INDEX CONCURRENTLY IF NOT EXISTS t_old ON t (v)", "DROP INDEX t_old", ""},
		{"CREATE INDEX CONCURRENTLY IF NOT EXISTS t_old ON t (v)",
			"DROP INDEX CONCURRENTLY t_old", ""},
		{"CREATE INDEX CONCURRENTLY IF NOT EXISTS t_old ON t (v)",
			"REINDEX INDEX CONCURRENTLY t_old", "t"},
		{"DROP INDEX CONCURRENTLY t_old; CREATE INDEX CONCURRENTLY t_old ON t (id)",
			"DROP INDEX t_old", ""},
		{"DROP INDEX CONCURRENTLY t_old",
			"CREATE INDEX CONCURRENTLY IF NOT EXISTS t_old ON t (id)", "t"},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGconn *conn;

		prepare(state);
		conn = owe(cases[i].first);
		db_do(conn, "%s", cases[i].then);
		db_do(conn, "COMMIT");
		assert_string_equal(index_state("t_old"), cases[i].left);
		db_close(conn);
	}
}

/* It would find the index that goes at COMMIT, and skip. */
static void a_plain_index_does_not_rely_on_one_that_goes(void **state)
{
	static const char *const sql = "CREATE INDEX IF NOT EXISTS t_old ON t (id)";
	PGconn *conn = owe("DROP INDEX CONCURRENTLY t_old");

	(void)state;
	db_do(conn, "CREATE SCHEMA other; CREATE TABLE other.t (id int)");
	db_do(conn, "CREATE INDEX IF NOT EXISTS t_old ON other.t (id)");
	db_fail(conn, "0A000", "%s", sql);
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("t_old"), "t");
	db_do(conn, "DROP INDEX t_old");
	db_do(conn, "BEGIN; SAVEPOINT s");
	db_do(conn, "CREATE INDEX CONCURRENTLY t_old ON t (id); ROLLBACK TO s");
	db_fail(conn, "0A000", "%s", sql);
	db_do(conn, "ROLLBACK TO s");
	assert_false(PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0) == 0);
	assert_string_equal(db_outcome(conn), "0A000");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("t_old"), "");
}

/* It is made in the transaction, on a table of its own, unless its name is free at COMMIT only. */
static void an_index_in_the_transaction_waits_for_its_name(void **state)
{
	static const char *const dooms[] = {"DROP INDEX CONCURRENTLY t_old",
		"SAVEPOINT s; CREATE INDEX CONCURRENTLY t_old ON t (id); "
		"ROLLBACK TO s"};
	static const char *const makes[] = {
		"CREATE INDEX CONCURRENTLY IF NOT EXISTS t_old ON n (a)",
		"CREATE INDEX CONCURRENTLY t_old ON n (a)"};

	for (size_t i = 0; i < LENGTH(dooms) * LENGTH(makes); i++) {
		PGconn *conn = db_connect(proxy->port, "");

		prepare(state);
		if (i % LENGTH(dooms) == 1)
			db_do(conn, "DROP INDEX t_old");
		db_do(conn, "BEGIN");
		db_do(conn, "%s", dooms[i % LENGTH(dooms)]);
		db_do(conn, "CREATE TABLE n (a int)");
		db_do(conn, "%s", makes[i / LENGTH(dooms)]);
		db_do(conn, "INSERT INTO n VALUES (1)");
		db_do(conn, "COMMIT");
		assert_string_equal(index_state("t_old"), "t");
		assert_string_equal(ask("SELECT indrelid::regclass FROM pg_index WHERE indexrelid "
					"= 't_old'::regclass"),
			"n");
		db_close(conn);
	}
}

/* Where nothing is to wait for COMMIT, it is refused. */
static void an_index_in_the_transaction_is_refused_for_its_name(void **state)
{
	static const char *const policies[] = {"error", "inline"};

	(void)state;
	tell("DROP INDEX t_old");
	for (size_t i = 0; i < LENGTH(policies); i++) {
		struct proxy *p = proxy_start(fixture_url(""), "--conflict", policies[i], NULL);
		PGconn *conn = db_connect(p->port, "");

		db_do(conn, "BEGIN; SAVEPOINT s");
		db_do(conn, "CREATE INDEX CONCURRENTLY t_old ON t (id)");
		db_do(conn, "ROLLBACK TO s; CREATE TABLE n (a int)");
		db_fail(conn, "0A000", "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_old ON n (a)");
		db_do(conn, "ROLLBACK");
		assert_string_equal(index_state("t_old"), "");
	}
}

/* As without CONCURRENTLY, where it is gone at once. */
static void an_index_whose_drop_is_owed_is_gone(void **state)
{
	static const struct {
		const char *sql, *outcome, *message;
	} cases[] = {
		{"DROP INDEX CONCURRENTLY t_old", "42704", "index \"t_old\" does not exist"},
		{"DROP INDEX t_old", "42704", "index \"t_old\" does not exist"},
		{"DROP INDEX public.t_old CASCADE", "42704", "index \"t_old\" does not exist"},
		{"REINDEX INDEX CONCURRENTLY t_old", "42P01", "relation \"t_old\" does not exist"},
		{"REINDEX INDEX CONCURRENTLY public.t_old", "42P01",
			"relation \"public.t_old\" does not exist"},
		{"DROP INDEX CONCURRENTLY IF EXISTS t_old", "00000",
			"index \"t_old\" does not exist, skipping"},
		{"DROP INDEX IF EXISTS public.t_old", "00000",
			"index \"t_old\" does not exist, skipping"},
	};
	static const char *const drops[] = {"INSERT INTO t VALUES (1)", "SAVEPOINT s"};

	for (size_t i = 0; i < LENGTH(cases) * LENGTH(drops); i++) {
		size_t n = i / LENGTH(drops);
		PGconn *conn = db_connect(proxy->port, "");
		PGresult *r;

		prepare(state);
		db_keep_notices(conn);
		if (i % LENGTH(drops) == 1)
			db_do(conn, "DROP INDEX t_old");
		db_do(conn, "BEGIN; %s", drops[i % LENGTH(drops)]);
		if (i % LENGTH(drops) == 1)
			db_do(conn, "CREATE INDEX CONCURRENTLY t_old ON t (v); ROLLBACK TO s");
		else
			db_do(conn, "DROP INDEX CONCURRENTLY t_old");
		db_forget_notices();
		r = db_query(conn, cases[n].sql);
		if (strcmp(cases[n].outcome, "00000") == 0) {
			assert_string_equal(PQcmdStatus(r), "DROP INDEX");
			assert_string_equal(db_notices(), "00000");
			assert_int_equal(db_status(conn), 'T');
		} else {
			assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), cases[n].outcome);
			assert_string_equal(
				db_error_field(r, PG_DIAG_MESSAGE_PRIMARY), cases[n].message);
			assert_int_equal(db_status(conn), 'E');
		}
		PQclear(r);
		db_do(conn, "COMMIT");
		assert_string_equal(index_state("t_old"),
			i % LENGTH(drops) == 0 && strcmp(cases[n].outcome, "00000") != 0 ? "t"
											 : "");
		db_close(conn);
	}
}

/* The one behind it in search_path would be meant, and the server would take the first. */
static void an_index_behind_one_that_goes_is_refused(void **state)
{
	PGconn *conn = db_connect(proxy->port, "options='-c search_path=public,a'");

	(void)state;
	tell("DROP SCHEMA IF EXISTS a CASCADE; CREATE SCHEMA a AUTHORIZATION app; SET ROLE app; "
	     "CREATE TABLE a.n (id int); CREATE INDEX t_old ON a.n (id); RESET ROLE");
	db_do(conn, "BEGIN; DROP INDEX CONCURRENTLY t_old; SAVEPOINT s");
	db_fail(conn, "0A000", "DROP INDEX t_old");
	db_do(conn, "ROLLBACK TO s");
	db_fail(conn, "0A000", "DROP INDEX CONCURRENTLY IF EXISTS t_old");
	db_do(conn, "ROLLBACK TO s");
	db_do(conn, "DROP INDEX a.t_old");
	db_do(conn, "COMMIT");
	assert_string_equal(ask("SELECT count(*) FROM pg_class WHERE relname = 't_old'"), "0");
	tell("DROP SCHEMA a CASCADE");
}

/* The names of the statement mean other columns at COMMIT. */
static void a_column_that_was_renamed_rolls_back(void **state)
{
	PGconn *conn = owe("CREATE INDEX CONCURRENTLY ix ON t (v)");

	(void)state;
	db_do(conn, "ALTER TABLE t ADD w text; ALTER TABLE t RENAME v TO v_old; "
		    "ALTER TABLE t RENAME w TO v");
	db_fail(conn, "42703", "COMMIT");
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(index_state("ix"), "");
}

/* What only the end of a transaction lets go of goes at the end of a prepared one, too. */
static void a_prepared_transaction_leaves_no_leftover(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("INSERT INTO t VALUES (1)");
	db_do(conn, "BEGIN; SELECT count(*) FROM t; SAVEPOINT a");
	db_fail(conn, "23505", "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "ROLLBACK TO a");
	db_do(conn, "PREPARE TRANSACTION 'x'");
	db_do(conn, "COMMIT PREPARED 'x'");
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"));
}

/* All settings are asked for, and the answer is nobody's but ours. */
static void a_long_setting_is_no_obstacle(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "SELECT set_config('search_path', 'public, ' || repeat('x', 2000000), false)");
	db_do(conn, "BEGIN; CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("ix"), "t");
	db_do(conn, "SELECT set_config('search_path', 'public, ' || repeat('x', 5000000), false)");
	db_do(conn, "BEGIN");
	db_fail(conn, "54000", "CREATE INDEX CONCURRENTLY iy ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("iy"), "");
}

/* pgjdbc's autosave sets one before each statement. */
static void many_savepoints_are_remembered(void **state)
{
	PGconn *conn = owe("CREATE INDEX CONCURRENTLY ix ON t (id)");

	(void)state;
	for (int i = 0; i < 1000; i++)
		db_do(conn, i % 2 ? "SAVEPOINT s%d" : "SAVEPOINT s", i);
	db_do(conn, "CREATE INDEX CONCURRENTLY ix_inner ON t (id); ROLLBACK TO s999");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("ix"), "t");
	assert_string_equal(index_state("ix_inner"), "");
}

/* What follows the DETACH in the transaction, and the SQLSTATE of COMMIT; what is attached then. */
static void an_owed_partition_is_known_by_its_oid(void **state)
{
	static const struct {
		const char *sql, *outcome, *attached;
	} cases[] = {
		{"DROP TABLE p", "00000", "q"},
		{"ALTER TABLE p RENAME TO p_old", "00000", "q"},
		{"ALTER TABLE p RENAME TO p_old; ALTER TABLE q RENAME TO p", "00000", "p"},
		{"ALTER TABLE parent RENAME TO parent_of; ALTER TABLE p RENAME TO a_longer_name",
			"00000", "q"},
		{"ALTER TABLE parent DETACH PARTITION p", "42P01", "p q"},
		{"CREATE TABLE d PARTITION OF parent DEFAULT", "55000", "p q"},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGconn *conn = db_connect(proxy->port, "");

		prepare(state);
		make_partitions();
		db_do(conn, "BEGIN");
		db_do(conn, "ALTER TABLE parent DETACH PARTITION p CONCURRENTLY");
		db_do(conn, "%s", cases[i].sql);
		db_send(conn, "COMMIT");
		assert_string_equal(db_outcome(conn), cases[i].outcome);
		assert_int_equal(db_status(conn), 'I');
		assert_string_equal(
			ask("SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY 1) FROM "
			    "pg_inherits"),
			cases[i].attached);
		db_close(conn);
	}
}

/* A snapshot that is kept shows neither; that they do not exist would be a lie. */
static void what_is_newer_than_the_snapshot_is_not_said_to_be_missing(void **state)
{
	static const char *const cases[] = {"DROP INDEX CONCURRENTLY IF EXISTS fresh_i",
		"DROP INDEX CONCURRENTLY fresh_i", "REINDEX INDEX CONCURRENTLY fresh_i",
		"CREATE INDEX CONCURRENTLY j ON fresh (a)"};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGconn *conn = db_connect(proxy->port, ""), *other = db_connect(cluster.port, "");

		db_do(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
		db_do(other, "CREATE TABLE fresh (a int)");
		db_do(other, "CREATE INDEX fresh_i ON fresh (a)");
		db_fail(conn, "40001", "%s", cases[i]);
		db_do(conn, "ROLLBACK");
		assert_string_equal(index_state("fresh_i"), "t");
		db_do(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
		db_fail(conn, "42P01", "CREATE INDEX CONCURRENTLY j ON not_there (a)");
		db_do(conn, "ROLLBACK");
		db_do(other, "DROP TABLE fresh");
		db_close_all();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_index_of_another_schema_is_another_one),
		CASE(if_exists_does_not_skip_what_is_owed),
		CASE(a_name_that_cannot_be_read_may_be_owed),
		CASE(what_is_there_already_is_dropped_too),
		CASE(a_plain_index_does_not_rely_on_one_that_goes),
		CASE(an_index_whose_drop_is_owed_is_gone),
		CASE(an_index_behind_one_that_goes_is_refused),
		CASE(an_index_in_the_transaction_waits_for_its_name),
		CASE(an_index_in_the_transaction_is_refused_for_its_name),
		CASE(a_column_that_was_renamed_rolls_back),
		CASE(a_prepared_transaction_leaves_no_leftover),
		CASE(a_long_setting_is_no_obstacle),
		CASE(what_names_its_table_and_is_wrong_fails_at_once),
		CASE(an_index_may_name_its_table_once_more),
		CASE(a_statement_is_read_as_where_it_stood),
		CASE(many_savepoints_are_remembered),
		CASE(an_owed_partition_is_known_by_its_oid),
		CASE(what_would_reach_a_detached_partition_is_refused),
		CASE(the_table_of_another_schema_keeps_its_partitions),
		CASE(a_detach_that_is_pending_is_said_at_once),
		FRESH_TEST(what_is_newer_than_the_snapshot_is_not_said_to_be_missing),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
