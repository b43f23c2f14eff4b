/*
 * What is owed at COMMIT and goes wrong: before COMMIT, the transaction fails with the error that
 * PostgreSQL gives; after it, the client is told what is committed and what is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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
	tell("SET ROLE app; CREATE INDEX t_old ON t (v); CREATE TABLE other (id int PRIMARY KEY); "
	     "CREATE TABLE later (id int REFERENCES other DEFERRABLE INITIALLY DEFERRED); "
	     "RESET ROLE");
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static bool has_row(int id)
{
	return ask_is("1", "SELECT count(*) FROM t WHERE id = %d", id);
}

static bool nothing_waits(void)
{
	return ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE "
			   "'pgaside%%'");
}

/* A transaction that owes every aside statement on t from now on. */
static PGconn *begin_with_row(void)
{
	PGconn *conn = db_connect(proxy->port, "");

	db_do(conn, "BEGIN");
	db_do(conn, "INSERT INTO t VALUES (5000, 'x')");
	return conn;
}

static PGconn *owe(const char *statement)
{
	PGconn *conn = begin_with_row();

	db_do(conn, "%s", statement);
	assert_int_equal(db_status(conn), 'T');
	return conn;
}

/* SQLSTATE, message and position of what the text fails with. */
static const char *error_of(PGconn *conn, const char *sql)
{
	static char texts[2][1024];
	static unsigned next;
	char *text = texts[next++ % 2];
	PGresult *r = db_query(conn, sql);

	snprintf(text, sizeof(texts[0]), "%s %s at %s", db_error_field(r, PG_DIAG_SQLSTATE),
		db_error_field(r, PG_DIAG_MESSAGE_PRIMARY),
		db_error_field(r, PG_DIAG_STATEMENT_POSITION));
	PQclear(r);
	return text;
}

static void an_index_that_cannot_be_made_fails_at_once(void **state)
{
	static const char *const texts[] = {
		"CREATE INDEX CONCURRENTLY ix ON t (nope)",
		"CREATE INDEX CONCURRENTLY ix ON t (lower(nope))",
		"/* \303\244\303\266 */ CREATE INDEX CONCURRENTLY ix ON t (id) WHERE nope",
		"CREATE INDEX CONCURRENTLY \"\303\244\" ON \"public\".\"t\" ((id + nope))",
		"CREATE INDEX CONCURRENTLY ix ON t (id nope_ops)",
		"CREATE INDEX CONCURRENTLY ix ON t USING nope (id)",
		"CREATE INDEX CONCURRENTLY ix ON t ((random()))",
		"CREATE INDEX CONCURRENTLY ix ON t (id) WITH (nope = 1)",
		"CREATE INDEX CONCURRENTLY ix ON t (id) TABLESPACE nope",
		"CREATE INDEX CONCURRENTLY ix ON t (nope(id))",
		"CREATE INDEX CONCURRENTLY ix ON nope (id)",
		"CREATE INDEX CONCURRENTLY t_old ON t (id)",
		"CREATE INDEX CONCURRENTLY other ON t (id)",
		"DROP INDEX CONCURRENTLY nope",
		"DROP INDEX CONCURRENTLY t",
		"REINDEX INDEX CONCURRENTLY nope",
		"REINDEX TABLE CONCURRENTLY nope",
	};
	PGconn *direct = db_connect(cluster.port, "");
	PGconn *conn = db_connect(proxy->port, "");
	int different = 0;

	(void)state;
	for (size_t i = 0; i < LENGTH(texts); i++) {
		const char *want = error_of(direct, texts[i]), *got;

		db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
		got = error_of(conn, texts[i]);
		if (strcmp(got, want) != 0 || db_status(conn) != 'E') {
			print_error("%s: %s, status %c; PostgreSQL: %s\n", texts[i], got,
				db_status(conn), want);
			different++;
		}
		db_do(conn, "ROLLBACK");
		tell("DROP INDEX IF EXISTS ix");
	}
	assert_int_equal(different, 0);
}

/* In a schema of another role: nothing that app owns gives it a right to their table. */
/* Where it stands, it is refused as outside of a transaction. */
static void a_reindex_that_cannot_be_done_fails_at_once(void **state)
{
	static const char *const texts[] = {
		"REINDEX TABLE CONCURRENTLY vw",
		"REINDEX TABLE CONCURRENTLY sq",
		"REINDEX TABLE CONCURRENTLY \"Odd\"",
		"REINDEX TABLE CONCURRENTLY pg_class",
		"REINDEX INDEX CONCURRENTLY pg_class_oid_index",
		"REINDEX INDEX CONCURRENTLY exclusive",
		"REINDEX (TABLESPACE nope) TABLE CONCURRENTLY t",
		"REINDEX (verbose, tablespace 'no pe') INDEX CONCURRENTLY t_old",
		"REINDEX (TABLESPACE nope, CONCURRENTLY) TABLE vw",
		"REINDEX (TABLESPACE pg_global) TABLE CONCURRENTLY t",
		"REINDEX (TABLESPACE) TABLE CONCURRENTLY t",
		"REINDEX (VERBOSE maybe) TABLE CONCURRENTLY t",
		"REINDEX (NONSENSE on) TABLE CONCURRENTLY t",
		"REINDEX (TABLESPACE pg_default) TABLE CONCURRENTLY pg_toast.@",
		"REINDEX (TABLESPACE pg_default) INDEX CONCURRENTLY pg_toast.@_index",
		"REINDEX (TABLESPACE pg_default) TABLE CONCURRENTLY pg_class",
	};
	char toast[64], sql[200], want[400];

	(void)state;
	tell("CREATE VIEW vw AS SELECT 1; CREATE SEQUENCE sq; CREATE TABLE e (r int4range, "
	     "CONSTRAINT exclusive EXCLUDE USING gist (r WITH &&));"
	     "CREATE VIEW \"Odd\" AS SELECT 1");
	snprintf(toast, sizeof(toast), "%s",
		ask("SELECT relname FROM pg_class WHERE oid = (SELECT reltoastrelid FROM pg_class "
		    "WHERE oid = 't'::regclass)"));
	for (size_t i = 0; i < LENGTH(texts); i++) {
		PGconn *direct = db_super(cluster.port), *conn = db_super(proxy->port);
		const char *at = strchr(texts[i], '@');
		PGresult *r;

		snprintf(sql, sizeof(sql), "%.*s%s%s", at ? (int)(at - texts[i]) : 200, texts[i],
			at ? toast : "", at ? at + 1 : "");
		r = db_query(direct, sql);
		snprintf(want, sizeof(want), "%s %s", db_error_field(r, PG_DIAG_SQLSTATE),
			db_error_field(r, PG_DIAG_MESSAGE_PRIMARY));
		PQclear(r);
		db_do(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO t VALUES (1)");
		r = db_query(conn, sql);
		if (strncmp(want, db_error_field(r, PG_DIAG_SQLSTATE), 5) != 0 ||
			strcmp(want + 6, db_error_field(r, PG_DIAG_MESSAGE_PRIMARY)) != 0)
			fail_msg("%s: %s %s instead of %s", sql,
				db_error_field(r, PG_DIAG_SQLSTATE),
				db_error_field(r, PG_DIAG_MESSAGE_PRIMARY), want);
		PQclear(r);
		db_do(conn, "ROLLBACK");
		db_close(conn);
		db_close(direct);
	}
}

static void a_reindex_that_can_be_done_is_owed(void **state)
{
	static const char *const texts[] = {
		"REINDEX (TABLESPACE pg_default) TABLE CONCURRENTLY t",
		"REINDEX (VERBOSE 'off', CONCURRENTLY 1, TABLESPACE \"pg_default\") INDEX t_old",
		"REINDEX TABLE CONCURRENTLY mv",
		"REINDEX TABLE CONCURRENTLY e",
	};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("SET ROLE app; CREATE MATERIALIZED VIEW mv AS SELECT 1 AS a; CREATE INDEX m ON mv "
	     "(a); "
	     "CREATE TABLE e (r int4range, EXCLUDE USING gist (r WITH &&)); RESET ROLE");
	for (size_t i = 0; i < LENGTH(texts); i++) {
		db_do(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO t VALUES (1)");
		db_do(conn, "%s", texts[i]);
		db_do(conn, "COMMIT");
	}
	assert_string_equal(index_state("t_old"), "t");
}

static void a_missing_privilege_fails_at_once(void **state)
{
	static const char *const texts[] = {
		"CREATE INDEX CONCURRENTLY ix ON s2.theirs (id)",
		"DROP INDEX CONCURRENTLY s2.theirs_id",
		"REINDEX INDEX CONCURRENTLY s2.theirs_id",
		"REINDEX TABLE CONCURRENTLY s2.theirs",
		"ALTER TABLE s2.p DETACH PARTITION s2.p1 CONCURRENTLY",
		"CREATE INDEX CONCURRENTLY ix ON s2.ours (id)",
	};
	PGconn *conn = db_connect(proxy->port, "");
	int different = 0;

	(void)state;
	tell("DROP SCHEMA IF EXISTS s2 CASCADE; CREATE SCHEMA s2; GRANT USAGE ON SCHEMA s2 TO app; "
	     "CREATE TABLE s2.theirs (id int); CREATE INDEX theirs_id ON s2.theirs (id); "
	     "CREATE TABLE s2.p (id int) PARTITION BY RANGE (id); CREATE TABLE s2.p1 PARTITION OF "
	     "s2.p DEFAULT; CREATE TABLE s2.ours (id int); ALTER TABLE s2.ours OWNER TO app; "
	     "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA s2 TO app");
	for (size_t i = 0; i < LENGTH(texts); i++) {
		const char *got;

		db_do(conn, "BEGIN; INSERT INTO s2.theirs VALUES (1); "
			    "INSERT INTO s2.p VALUES (1); INSERT INTO s2.ours VALUES (1)");
		db_send(conn, "%s", texts[i]);
		got = db_outcome(conn);
		if (strcmp(got, "42501") != 0 || db_status(conn) != 'E') {
			print_error("%s: %s, status %c\n", texts[i], got, db_status(conn));
			different++;
		}
		db_do(conn, "ROLLBACK");
	}
	tell("DROP SCHEMA s2 CASCADE");
	assert_int_equal(different, 0);
}

/* CREATE in the schema is for new indexes only; and who owns the schema may drop from it. */
static void no_more_privilege_is_asked_for_than_by_postgres(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("DROP SCHEMA IF EXISTS s2 CASCADE; CREATE SCHEMA s2; GRANT USAGE ON SCHEMA s2 TO app; "
	     "CREATE TABLE s2.ours (id int); CREATE INDEX ours_1 ON s2.ours (id); "
	     "CREATE INDEX ours_2 ON s2.ours (id); ALTER TABLE s2.ours OWNER TO app; "
	     "CREATE TABLE s2.p (id int) PARTITION BY RANGE (id); CREATE TABLE s2.p1 PARTITION OF "
	     "s2.p DEFAULT; ALTER TABLE s2.p OWNER TO app; ALTER TABLE s2.p1 OWNER TO app; "
	     "CREATE TABLE theirs (id int); CREATE INDEX theirs_id ON theirs (id); "
	     "GRANT INSERT ON theirs TO app");
	db_do(conn, "BEGIN; INSERT INTO s2.ours VALUES (1); INSERT INTO theirs VALUES (1)");
	db_do(conn, "DROP INDEX CONCURRENTLY s2.ours_1");
	db_do(conn, "REINDEX INDEX CONCURRENTLY s2.ours_2");
	db_do(conn, "DROP INDEX CONCURRENTLY theirs_id");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("s2.ours_1"), "");
	assert_string_equal(index_state("theirs_id"), "");
	tell("DROP SCHEMA s2 CASCADE");
}

/* Where TEMP is missing nothing can be rehearsed, and the error comes at COMMIT. */
static void without_temp_the_error_comes_with_commit(void **state)
{
	PGconn *conn;

	(void)state;
	tell("ALTER DATABASE app OWNER TO postgres; REVOKE TEMP ON DATABASE app FROM PUBLIC");
	conn = owe("CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("ix"), "t");
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5001, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY iy ON t (nope)");
	db_fail(conn, "42703", "COMMIT");
	assert_int_equal(db_status(conn), 'I');
	assert_true(has_row(5001));
	tell("GRANT TEMP ON DATABASE app TO PUBLIC; ALTER DATABASE app OWNER TO app");
}

static void a_unique_violation_comes_in_commits_place(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGresult *r;

	(void)state;
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x'), (5000, 'y')");
	db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "DROP INDEX CONCURRENTLY t_old");
	r = db_query(conn, "COMMIT");
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "23505");
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_DETAIL), "(5000)"));
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_DETAIL), "COMMITTED"));
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_HINT),
		"CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id);"));
	assert_non_null(
		strstr(db_error_field(r, PG_DIAG_MESSAGE_HINT), "DROP INDEX CONCURRENTLY t_old;"));
	PQclear(r);
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(ask("SELECT count(*) FROM t WHERE id = 5000"), "2");
	assert_string_equal(index_state("ix"), "");
	assert_string_equal(index_state("t_old"), "t");
	assert_true(proxy_has_logged(proxy, "event=owed_and_failed", "level=error") ||
		    proxy_has_logged(proxy, "error event=owed_and_failed", NULL));
	/* The session is none the worse for it. */
	db_do(conn, "DELETE FROM t WHERE v = 'y'");
	db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id)");
	assert_string_equal(index_state("ix"), "t");
}

static void no_connection_at_commit_rolls_back(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	/* Without any other connection, and without one that watches. */
	for (int limit = 1; limit <= 2; limit++) {
		const char *at_commit;

		db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
		db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
		WAIT_FOR(nothing_waits());
		tell("ALTER ROLE app CONNECTION LIMIT %d", limit);
		db_send(conn, "COMMIT");
		at_commit = db_outcome(conn);
		tell("ALTER ROLE app CONNECTION LIMIT -1");
		assert_string_equal(at_commit, "53300");
		assert_int_equal(db_status(conn), 'I');
		assert_false(has_row(5000));
		assert_string_equal(index_state("ix"), "");
	}
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("ix"), "t");
}

static void no_connection_at_the_statement_fails_it(void **state)
{
	PGconn *conn = begin_with_row();
	const char *outcome;

	(void)state;
	tell("ALTER ROLE app CONNECTION LIMIT 1");
	db_send(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	outcome = db_outcome(conn);
	tell("ALTER ROLE app CONNECTION LIMIT -1");
	assert_string_equal(outcome, "53300");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
}

/* Before COMMIT or after it: in both cases the client is told which. */
static void a_name_taken_meanwhile_is_said(void **state)
{
	PGconn *conn = owe("CREATE INDEX CONCURRENTLY ix ON t (id)");
	PGresult *r;
	bool said;

	(void)state;
	tell("CREATE TABLE ix (id int)");
	r = db_query(conn, "COMMIT");
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "42P07");
	said = strstr(db_error_field(r, PG_DIAG_MESSAGE_DETAIL), "COMMITTED") != NULL;
	PQclear(r);
	assert_int_equal(db_status(conn), 'I');
	assert_int_equal(has_row(5000), said);
}

/* The same transaction makes a relation of that name after the statement. */
static void a_name_taken_by_the_transaction_is_said(void **state)
{
	PGconn *conn = owe("CREATE INDEX CONCURRENTLY ix ON t (id)");

	(void)state;
	db_do(conn, "CREATE TABLE ix (id int)");
	db_fail(conn, "42P07", "COMMIT");
	assert_int_equal(db_status(conn), 'I');
	assert_false(has_row(5000));
	assert_string_equal(ask("SELECT count(*) FROM pg_class WHERE relname = 'ix'"), "0");
}

/* The server would skip it, and say so in a NOTICE only. */
static void if_not_exists_is_not_skipped_for_what_came_later(void **state)
{
	static const struct {
		const char *before, *after, *outcome, *left; /* tables that have an ix */
	} cases[] = {
		{"SELECT 1", "CREATE INDEX ix ON n (id)", "42P07", ""},
		{"SELECT 1", "CREATE TABLE ix (id int)", "42P07", ""},
		{"DROP INDEX CONCURRENTLY t_old; CREATE TABLE m (id int)",
			"CREATE INDEX ix ON m (id)", "42P07", ""},
		{"CREATE INDEX ix ON n (id); DROP INDEX ix", "SELECT 1", "00000", "t"},
		{"SELECT 1", "CREATE INDEX ix ON t (v)", "00000", "t"},
		/* It was to be skipped. */
		{"CREATE INDEX ix ON n (id)", "SELECT 1", "00000", "n"},
		{"CREATE INDEX ix ON t (v)", "SELECT 1", "00000", "t"},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGconn *conn;

		prepare(state);
		tell("SET ROLE app; CREATE TABLE n (id int); RESET ROLE");
		conn = begin_with_row();
		db_do(conn, "%s", cases[i].before);
		db_do(conn, "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON t (id)");
		db_do(conn, "%s", cases[i].after);
		db_send(conn, "COMMIT");
		assert_string_equal(db_outcome(conn), cases[i].outcome);
		assert_int_equal(db_status(conn), 'I');
		assert_int_equal(has_row(5000), cases[i].left[0] != 0);
		if (strcmp(ask("SELECT indrelid::regclass FROM pg_index WHERE indexrelid = "
			       "to_regclass('ix')"),
			    cases[i].left) != 0)
			fail_msg("%s; %s", cases[i].before, cases[i].after);
		db_close(conn);
	}
}

/* What a statement needs was changed after it was given. PostgreSQL would have changed the index,
 * too, or not allowed it; nothing is committed. */
static void what_the_transaction_has_spoilt_rolls_it_back(void **state)
{
	static const char *const texts[][3] = {
		{"CREATE INDEX CONCURRENTLY ix ON t (v)", "ALTER TABLE t RENAME v TO w", "42703"},
		{"CREATE INDEX CONCURRENTLY ix ON t (v)",
			"DROP INDEX t_old; ALTER TABLE t ALTER v TYPE json USING '1'", "42704"},
		{"DROP INDEX CONCURRENTLY t_unique",
			"ALTER TABLE t ADD CONSTRAINT t_unique UNIQUE USING INDEX t_unique",
			"2BP01"},
	};

	for (size_t i = 0; i < LENGTH(texts); i++) {
		PGconn *conn;
		PGresult *r;

		prepare(state);
		tell("CREATE UNIQUE INDEX t_unique ON t (id)");
		conn = owe(texts[i][0]);
		db_do(conn, "%s", texts[i][1]);
		r = db_query(conn, "COMMIT");
		assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), texts[i][2]);
		assert_non_null(
			strstr(db_error_field(r, PG_DIAG_MESSAGE_DETAIL), "is rolled back"));
		assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_DETAIL), texts[i][0]));
		PQclear(r);
		assert_int_equal(db_status(conn), 'I');
		assert_false(has_row(5000));
		assert_string_equal(index_state("ix"), "");
		assert_string_equal(index_state("t_unique"), "t");
		db_close(conn);
	}
}

static void what_the_transaction_has_dropped_is_done(void **state)
{
	static const char *const texts[][2] = {
		{"CREATE INDEX CONCURRENTLY ix ON t (id)", "DROP TABLE t"},
		{"CREATE INDEX CONCURRENTLY ix ON t (id, lower(v))", "ALTER TABLE t DROP COLUMN v"},
		{"CREATE INDEX CONCURRENTLY ON t (id) WHERE v > 'a'", "ALTER TABLE t DROP v"},
		{"DROP INDEX CONCURRENTLY t_old", "DROP TABLE t"},
		{"DROP INDEX CONCURRENTLY t_old", "ALTER TABLE t DROP COLUMN v"},
		{"DROP INDEX CONCURRENTLY IF EXISTS t_old",
			"DO $$BEGIN EXECUTE 'DROP INDEX t_old'; END$$"},
		{"REINDEX INDEX CONCURRENTLY t_old", "DROP INDEX t_old"},
		{"REINDEX TABLE CONCURRENTLY t", "DROP TABLE t"},
	};

	for (size_t i = 0; i < LENGTH(texts); i++) {
		PGconn *conn;

		prepare(state);
		conn = owe(texts[i][0]);
		db_do(conn, "%s", texts[i][1]);
		db_keep_notices(conn);
		db_do(conn, "COMMIT");
		assert_string_equal(db_notices(), "00000");
		assert_int_equal(db_status(conn), 'I');
		assert_string_equal(index_state("t_old"), "");
		db_close(conn);
	}
}

static void a_table_put_in_the_others_place_is_not_touched(void **state)
{
	PGconn *conn = owe("CREATE INDEX CONCURRENTLY ix ON t (id)");

	(void)state;
	db_do(conn, "DROP INDEX CONCURRENTLY t_old");
	db_do(conn, "ALTER TABLE t RENAME TO t_before; CREATE TABLE t (id int, v text); "
		    "ALTER INDEX t_old RENAME TO t_older; CREATE INDEX t_old ON t (v)");
	db_do(conn, "COMMIT");
	assert_string_equal(
		ask("SELECT indrelid::regclass FROM pg_index WHERE indexrelid = 'ix'::regclass"),
		"t_before");
	assert_string_equal(index_state("ix"), "t");
	assert_string_equal(index_state("t_old"), "t");
	assert_string_equal(index_state("t_older"), "");
}

/* What comes first in the transaction comes first after it, too. */
static void statements_run_in_their_order(void **state)
{
	PGconn *conn = owe("CREATE INDEX CONCURRENTLY ix ON t (id)");

	(void)state;
	db_do(conn, "CREATE INDEX CONCURRENTLY iy ON other (id)");
	db_do(conn, "DROP INDEX CONCURRENTLY t_old");
	db_do(conn, "CREATE INDEX CONCURRENTLY t_old ON t (id, v)");
	assert_string_equal(index_state("iy"), "");
	db_do(conn, "COMMIT");
	assert_string_equal(
		ask("SELECT string_agg(relname, ' ' ORDER BY oid) FROM pg_class WHERE relname IN "
		    "('ix', 'iy', 't_old')"),
		"ix iy t_old");
	assert_string_equal(ask("SELECT pg_get_indexdef('t_old'::regclass)"),
		"CREATE INDEX t_old ON public.t USING btree (id, v)");
	WAIT_FOR(nothing_waits());
}

static void settings_are_those_where_the_statement_stood(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("DROP SCHEMA IF EXISTS s1 CASCADE; CREATE SCHEMA s1 AUTHORIZATION app; "
	     "CREATE TABLE s1.t (id int, at timestamptz); ALTER TABLE s1.t OWNER TO app; "
	     "CREATE FUNCTION s1.f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'");
	db_do(conn, "BEGIN; SET LOCAL search_path = s1");
	db_do(conn, "INSERT INTO t VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (f(id))");
	db_do(conn, "SET LOCAL timezone = 'Asia/Kathmandu'");
	db_do(conn, "CREATE INDEX CONCURRENTLY iy ON t (id) WHERE at > '2026-01-01 12:00'");
	db_do(conn, "SET LOCAL search_path = public; SET LOCAL timezone = 'UTC'");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("s1.ix"), "t");
	assert_string_equal(index_state("s1.iy"), "t");
	assert_string_equal(index_state("public.ix"), "");
	tell("SET timezone = 'UTC'");
	assert_non_null(
		strstr(ask("SELECT pg_get_indexdef('s1.iy'::regclass)"), "2026-01-01 06:15:00+00"));
	assert_string_equal(db_text(conn, "SHOW search_path"), "\"$user\", public");
	tell("RESET timezone; DROP SCHEMA s1 CASCADE");
}

static void the_role_is_the_one_where_the_statement_stood(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("DROP ROLE IF EXISTS owner_of_r; CREATE ROLE owner_of_r; GRANT owner_of_r TO app; "
	     "CREATE TABLE r (id int); ALTER TABLE r OWNER TO owner_of_r; "
	     "GRANT ALL ON SCHEMA public TO owner_of_r; ALTER ROLE app NOINHERIT");
	db_do(conn, "BEGIN; SET LOCAL ROLE owner_of_r; INSERT INTO r VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON r (id)");
	db_do(conn, "RESET ROLE; COMMIT");
	assert_string_equal(index_state("ix"), "t");
	assert_string_equal(db_text(conn, "SELECT current_user"), "app");
	tell("ALTER ROLE app INHERIT; DROP TABLE r; DROP OWNED BY owner_of_r; "
	     "DROP ROLE owner_of_r");
}

/* SQLSTATE, and whether the HINT names the statement. */
static void fails_with_hint(PGconn *conn, const char *sqlstate, const char *sql, const char *named)
{
	PGresult *r;

	db_do(conn, "SAVEPOINT a");
	r = db_query(conn, sql);
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), sqlstate);
	if (!strstr(db_error_field(r, PG_DIAG_MESSAGE_HINT), named))
		fail_msg("%s: HINT is \"%s\"", sql, db_error_field(r, PG_DIAG_MESSAGE_HINT));
	PQclear(r);
	db_do(conn, "ROLLBACK TO a");
}

static void an_error_names_what_is_owed(void **state)
{
	static const char statement[] = "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id)";
	PGconn *conn = owe(statement);

	(void)state;
	fails_with_hint(conn, "42P01", "COMMENT ON INDEX ix IS 'x'", statement);
	fails_with_hint(conn, "42704", "ALTER TABLE t ADD UNIQUE USING INDEX ix", statement);
	fails_with_hint(conn, "42P10", "INSERT INTO t VALUES (1, 'x') ON CONFLICT (id) DO NOTHING",
		statement);
	fails_with_hint(conn, "42P01", "SELECT 1; COMMENT ON INDEX ix IS 'x'; ROLLBACK", statement);
	db_do(conn, "ROLLBACK");
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "DROP INDEX CONCURRENTLY t_old");
	fails_with_hint(
		conn, "42P07", "CREATE INDEX t_old ON t (id)", "DROP INDEX CONCURRENTLY t_old");
	db_do(conn, "COMMIT");
	/* Nothing is owed any more. */
	db_fail(conn, "42P01", "SELECT 1 FROM nope");
	assert_string_equal(index_state("t_old"), "");
}

static void assert_is_utf8(const char *text)
{
	PGconn *direct = db_connect(cluster.port, "client_encoding=UTF8");
	PGresult *r = PQexecParams(direct, "SELECT length($1)", 1, NULL, &text, NULL, NULL, 0);

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", text, PQerrorMessage(direct));
	PQclear(r);
	db_close(direct);
}

/* Wherever it is cut, no character is. */
static void a_long_statement_is_named_in_whole_characters(void **state)
{
	char euros[3 * 2000 + 1];
	PGconn *conn = db_connect(proxy->port, "client_encoding=UTF8");
	PGresult *r;

	for (size_t i = 0; i < sizeof(euros); i++)
		euros[i] = "\xe2\x82\xac"[i % 3];
	euros[sizeof(euros) - 1] = '\0';
	for (int i = 0; i < 3; i++) {
		const char *pad = &"xx"[i];

		prepare(state);
		tell("INSERT INTO t VALUES (5000, 'y')");
		db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
		db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id) WHERE v <> '%s%s'", pad,
			euros);
		db_do(conn, "SAVEPOINT s");
		r = db_query(conn, "COMMENT ON INDEX ix IS 'x'");
		assert_is_utf8(db_error_field(r, PG_DIAG_MESSAGE_HINT));
		PQclear(r);
		db_do(conn, "ROLLBACK TO s; CREATE TABLE ix (id int)");
		r = db_query(conn, "COMMIT");
		assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "42P07");
		assert_is_utf8(db_error_field(r, PG_DIAG_MESSAGE_DETAIL));
		PQclear(r);
		db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
		db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id) WHERE v <> '%s%s'", pad,
			euros);
		r = db_query(conn, "COMMIT");
		assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "23505");
		assert_is_utf8(db_error_field(r, PG_DIAG_MESSAGE_HINT));
		PQclear(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_index_that_cannot_be_made_fails_at_once),
		CASE(a_reindex_that_cannot_be_done_fails_at_once),
		CASE(a_reindex_that_can_be_done_is_owed),
		CASE(a_missing_privilege_fails_at_once),
		CASE(no_more_privilege_is_asked_for_than_by_postgres),
		CASE(without_temp_the_error_comes_with_commit),
		CASE(a_unique_violation_comes_in_commits_place),
		CASE(no_connection_at_commit_rolls_back),
		CASE(no_connection_at_the_statement_fails_it),
		CASE(a_name_taken_meanwhile_is_said),
		CASE(a_name_taken_by_the_transaction_is_said),
		CASE(if_not_exists_is_not_skipped_for_what_came_later),
		CASE(what_the_transaction_has_spoilt_rolls_it_back),
		CASE(what_the_transaction_has_dropped_is_done),
		CASE(a_table_put_in_the_others_place_is_not_touched),
		CASE(statements_run_in_their_order),
		CASE(settings_are_those_where_the_statement_stood),
		CASE(the_role_is_the_one_where_the_statement_stood),
		CASE(an_error_names_what_is_owed),
		CASE(a_long_statement_is_named_in_whole_characters),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
