/*
 * How aside statements fail: inside a transaction with the error that PostgreSQL gives outside of
 * one, at once where that is possible, and leaving nothing.
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

/* Version 18 has another SQLSTATE for this one. */
#define NOT_PARTITIONED "ALTER TABLE t DETACH PARTITION twice CONCURRENTLY"

static const struct {
	const char *sqlstate, *sql;
} cases[] = {
	{"42703", "CREATE INDEX CONCURRENTLY i ON t (nope)"},
	{"42703", "/* ä ö ü € */ CREATE INDEX CONCURRENTLY i ON t (id) WHERE nope = 'ß'"},
	{"42703", "CREATE INDEX CONCURRENTLY ON t (lower(nope))"},
	{"42P01", "CREATE INDEX CONCURRENTLY i ON nowhere (id)"},
	{"3F000", "CREATE INDEX CONCURRENTLY i ON no_schema.t (id)"},
	{"42P07", "CREATE INDEX CONCURRENTLY there ON t (id)"},
	{"42P07", "CREATE INDEX CONCURRENTLY t ON t (id)"},
	{"42704", "CREATE INDEX CONCURRENTLY i ON t (id no_such_ops)"},
	{"42704", "CREATE INDEX CONCURRENTLY i ON t USING no_such_method (id)"},
	{"42704", "CREATE INDEX CONCURRENTLY i ON t (id) TABLESPACE no_such_space"},
	{"42883", "CREATE INDEX CONCURRENTLY i ON t (no_such_function(id))"},
	{"42P17", "CREATE INDEX CONCURRENTLY i ON t ((id + random()))"},
	{"22012", "CREATE INDEX CONCURRENTLY i ON t ((1 / (id - 1)))"},
	{"22P02", "CREATE INDEX CONCURRENTLY i ON t (id) WHERE id < 'x'"},
	{"23505", "CREATE UNIQUE INDEX CONCURRENTLY i ON twice (id)"},
	{"23505", "CREATE UNIQUE INDEX CONCURRENTLY ON twice (id)"},
	{"23505", "CREATE UNIQUE INDEX CONCURRENTLY \"o'dd \"\"; name\" ON \"o'dd t\" (id)"},
	{"0A000", "CREATE INDEX CONCURRENTLY i ON parted (id)"},
	{"42809", "CREATE INDEX CONCURRENTLY i ON a_view (id)"},
	{"42501", "CREATE INDEX CONCURRENTLY i ON foreign_owner (id)"},
	{"42601", "CREATE INDEX CONCURRENTLY i ON t (id"},
	{"42601", "CREATE INDEX CONCURRENTLY i ON t (id) NO SUCH CLAUSE"},
	{"42704", "DROP INDEX CONCURRENTLY nope"},
	{"42809", "DROP INDEX CONCURRENTLY t"},
	{"2BP01", "DROP INDEX CONCURRENTLY keyed_pkey"},
	{"2BP01", "DROP INDEX CONCURRENTLY referred"},
	{"2BP01", "DROP INDEX CONCURRENTLY part_id_idx"},
	{"0A000", "DROP INDEX CONCURRENTLY parted_id_idx"},
	{"42P01", "REINDEX INDEX CONCURRENTLY nope"},
	{"42P01", "REINDEX TABLE CONCURRENTLY nope"},
	{"42501", "REINDEX TABLE CONCURRENTLY foreign_owner"},
	{"42501", "REINDEX INDEX CONCURRENTLY elsewhere.foreign_index"},
	{"42501", "DROP INDEX CONCURRENTLY elsewhere.foreign_index"},
	{"42P01", "ALTER TABLE parted DETACH PARTITION t CONCURRENTLY"},
	{"42P01", "ALTER TABLE parted DETACH PARTITION nowhere CONCURRENTLY"},
	{"42P17", NOT_PARTITIONED},
	{"42809", "ALTER TABLE a_view DETACH PARTITION twice CONCURRENTLY"},
	{"42P01", "ALTER TABLE nowhere DETACH PARTITION t CONCURRENTLY"},
	{"55000", "ALTER TABLE defaulted DETACH PARTITION d1 CONCURRENTLY"},
};

static const char *sqlstate_of(size_t i, PGconn *conn)
{
	bool other = PQserverVersion(conn) >= 180000 && strcmp(cases[i].sql, NOT_PARTITIONED) == 0;

	return other ? "42809" : cases[i].sqlstate;
}

static int prepare(void **state)
{
	PGconn *direct;

	(void)state;
	fresh_table();
	tell("DROP SCHEMA IF EXISTS elsewhere CASCADE; CREATE SCHEMA elsewhere; GRANT USAGE ON "
	     "SCHEMA elsewhere TO app; CREATE TABLE elsewhere.foreign_table (id int); CREATE INDEX "
	     "foreign_index ON elsewhere.foreign_table (id); CREATE TABLE public.foreign_owner (id "
	     "int); GRANT SELECT, REFERENCES ON public.foreign_owner TO app");
	direct = db_connect(cluster.port, "");
	db_do(direct,
		"CREATE INDEX there ON t (id); CREATE TABLE twice (id int); "
		"INSERT INTO twice VALUES (7), (7); CREATE TABLE \"o'dd t\" (id int); "
		"INSERT INTO \"o'dd t\" VALUES (7), (7); CREATE VIEW a_view AS SELECT 1 AS id; "
		"CREATE TABLE parted (id int) PARTITION BY RANGE (id); "
		"CREATE TABLE defaulted (id int) PARTITION BY LIST (id); "
		"CREATE TABLE d1 PARTITION OF defaulted FOR VALUES IN (1); "
		"CREATE TABLE d2 PARTITION OF defaulted DEFAULT; "
		"CREATE TABLE keyed (id int PRIMARY KEY, n int); "
		"CREATE UNIQUE INDEX referred ON keyed (n); "
		"CREATE TABLE refers (n int REFERENCES keyed (n)); "
		"CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (2); "
		"CREATE INDEX ON parted (id)");
	db_close(direct);
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static void append_field(char *out, size_t size, const PGresult *r, int field)
{
	size_t len = strlen(out);

	snprintf(out + len, size - len, "%c=%s\n", field, db_error_field(r, field));
}

static void describe_error(char *out, size_t size, PGresult *r)
{
	static const int fields[] = {PG_DIAG_SEVERITY, PG_DIAG_SEVERITY_NONLOCALIZED,
		PG_DIAG_SQLSTATE, PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_MESSAGE_DETAIL,
		PG_DIAG_MESSAGE_HINT, PG_DIAG_STATEMENT_POSITION, PG_DIAG_CONTEXT,
		PG_DIAG_SCHEMA_NAME, PG_DIAG_TABLE_NAME, PG_DIAG_COLUMN_NAME,
		PG_DIAG_CONSTRAINT_NAME};

	out[0] = '\0';
	for (size_t i = 0; i < LENGTH(fields); i++)
		append_field(out, size, r, fields[i]);
	PQclear(r);
}

/* As PostgreSQL fails outside of a transaction; what that leaves is dropped. */
static void fail_directly(PGconn *direct, const char *sql, char *out, size_t size)
{
	describe_error(out, size, db_query(direct, sql));
	db_do(direct, "DO $$ DECLARE i text; BEGIN FOR i IN SELECT format('%%I', relname) FROM "
		      "pg_index JOIN pg_class c ON c.oid = indexrelid WHERE NOT indisvalid LOOP "
		      "EXECUTE 'DROP INDEX ' || i; END LOOP; END $$");
}

/* All that is wrong, to be told at once. */
static char wrong[16384];

static void complain(const char *sql, const char *got, const char *wanted)
{
	size_t len = strlen(wrong);

	snprintf(wrong + len, sizeof(wrong) - len, "%s:\n%s\noutside of a transaction:\n%s\n", sql,
		got, wanted);
}

static void finish(void)
{
	if (!wrong[0])
		return;
	fputs(wrong, stderr);
	fail();
}

/* Every field of an error but its place in PostgreSQL's source. */
static void an_error_is_the_one_that_postgres_gives_outside_of_a_transaction(void **state)
{
	PGconn *direct = db_connect(cluster.port, "");
	PGconn *through = db_connect(proxy->port, "");
	char errors[2][4096];

	(void)state;
	wrong[0] = '\0';
	for (size_t i = 0; i < LENGTH(cases); i++) {
		fail_directly(direct, cases[i].sql, errors[0], sizeof(errors[0]));
		if (!strstr(errors[0], sqlstate_of(i, direct)))
			complain(cases[i].sql, sqlstate_of(i, direct), errors[0]);
		db_do(through, "BEGIN");
		describe_error(errors[1], sizeof(errors[1]), db_query(through, cases[i].sql));
		if (strcmp(errors[1], errors[0]) != 0)
			complain(cases[i].sql, errors[1], errors[0]);
		else
			db_fail(through, "25P02", "SELECT 1");
		db_do(through, "ROLLBACK");
		assert_true(ask_is("0", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"));
	}
	finish();
}

static bool depends_on_the_rows(const char *sqlstate)
{
	return strcmp(sqlstate, "23505") == 0 || strcmp(sqlstate, "22012") == 0;
}

/* SQLSTATE, message and position. */
static void describe_shortly(char *out, size_t size, PGresult *r)
{
	snprintf(out, size, "%s %s (%s)", db_error_field(r, PG_DIAG_SQLSTATE),
		db_error_field(r, PG_DIAG_MESSAGE_PRIMARY),
		db_error_field(r, PG_DIAG_STATEMENT_POSITION));
	PQclear(r);
}

/* Only what depends on the rows is found out after COMMIT. */
static void a_statement_that_is_owed_fails_before_commit_if_it_can(void **state)
{
	PGconn *direct = db_connect(cluster.port, "");
	PGconn *through = db_connect(proxy->port, "");
	char wanted[1024], got[1024], details[4096];

	(void)state;
	wrong[0] = '\0';
	for (size_t i = 0; i < LENGTH(cases); i++) {
		bool late = depends_on_the_rows(cases[i].sqlstate);

		describe_shortly(wanted, sizeof(wanted), db_query(direct, cases[i].sql));
		fail_directly(direct, cases[i].sql, details, sizeof(details));
		db_do(through, "BEGIN ISOLATION LEVEL REPEATABLE READ");
		db_do(through, "SELECT 1");
		describe_shortly(got, sizeof(got), db_query(through, cases[i].sql));
		if (late) {
			assert_string_equal(got, "  ()");
			describe_shortly(got, sizeof(got), db_query(through, "COMMIT"));
		}
		if (memcmp(got, wanted, late ? 5 : strlen(wanted)) != 0)
			complain(cases[i].sql, got, wanted);
		db_do(through, "ROLLBACK");
		assert_true(ask_is("0", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"));
	}
	finish();
}

/*
 * What a failure leaves cannot be dropped while the client's own transaction has the table open.
 * The error is told all the same, and the index goes when the transaction does.
 */
static void what_the_transaction_holds_is_dropped_at_its_end(void **state)
{
	static const char *const ends[] = {"ROLLBACK", "COMMIT", "ROLLBACK TO a"};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (size_t i = 0; i < LENGTH(ends); i++) {
		db_do(conn, "BEGIN");
		db_do(conn, "SELECT count(*) FROM twice; SAVEPOINT a");
		db_fail(conn, "23505", "CREATE UNIQUE INDEX CONCURRENTLY i ON twice (id)");
		assert_int_equal(db_status(conn), 'E');
		assert_string_equal(index_state("i"), "");
		db_do(conn, "%s", ends[i]);
		/* What the server would call a deadlock if somebody still waited to drop it. */
		if (db_status(conn) == 'T')
			db_do(conn, "LOCK TABLE twice; COMMIT");
		assert_true(ask_is("0", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"));
	}
}

/* It fails before anybody has seen what it builds. */
static void a_build_without_a_name_that_fails_at_once_leaves_nothing(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	fresh_table();
	tell("CREATE INDEX valid ON t (id); UPDATE t SET id = 0");
	for (int owes = 0; owes <= 1; owes++) {
		db_do(conn, "BEGIN");
		if (owes) {
			db_do(conn, "UPDATE t SET v = v WHERE v = 'v1'");
			db_do(conn, "CREATE INDEX CONCURRENTLY ON t ((1 / id))");
			db_fail(conn, "22012", "COMMIT");
		} else {
			db_fail(conn, "22012", "CREATE INDEX CONCURRENTLY ON t ((1 / id))");
		}
		assert_string_equal(ask("SELECT string_agg(relname, ' ') FROM pg_class WHERE "
					"relkind = 'i' AND relnamespace = 'public'::regnamespace"),
			"valid");
		db_send(conn, "ROLLBACK");
		db_outcome(conn);
	}
}

/* It is INVALID until each partition has its own, and no leftover. */
static void the_index_of_a_partitioned_table_keeps_its_name(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	fresh_table();
	tell("SET ROLE app; CREATE TABLE p (id int) PARTITION BY RANGE (id); "
	     "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (9); "
	     "CREATE INDEX pix ON ONLY p (id); RESET ROLE");
	db_do(conn, "BEGIN");
	db_fail(conn, "0A000", "CREATE INDEX CONCURRENTLY IF NOT EXISTS pix ON p (id)");
	db_do(conn, "ROLLBACK; BEGIN");
	db_fail(conn, "0A000", "DROP INDEX CONCURRENTLY pix");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("pix"), "f");
	tell("DROP TABLE p");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_error_is_the_one_that_postgres_gives_outside_of_a_transaction),
		CASE(a_statement_that_is_owed_fails_before_commit_if_it_can),
		CASE(what_the_transaction_holds_is_dropped_at_its_end),
		CASE(a_build_without_a_name_that_fails_at_once_leaves_nothing),
		CASE(the_index_of_a_partitioned_table_keeps_its_name),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
