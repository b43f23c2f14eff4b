/*
 * What `pgaside check` says of texts. That it is what happens is the business of
 * tests/integration/test_check.c; here are the corners that no server is needed for.
 */
#include "check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exact.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define CIC "CREATE INDEX CONCURRENTLY "
#define T CHECK_AS_TRANSACTION
#define Q CHECK_AS_QUERY
#define S CHECK_AS_STATEMENTS

struct told {
	char lines[4096];
	char reason[512]; /* of the last */
	char note[512];
};

/* "1 now, 2 fails!": the mark means a problem. */
static void on_step(void *arg, const struct check_step *step)
{
	struct told *t = arg;
	size_t len = strlen(t->lines);

	snprintf(t->lines + len, sizeof(t->lines) - len, "%s%u %s%s", len > 0 ? ", " : "",
		step->line, check_verdict_name(step->verdict), step->problem ? "!" : "");
	snprintf(t->reason, sizeof(t->reason), "%s", step->reason);
	snprintf(t->note, sizeof(t->note), "%s", step->note);
}

static struct told told_by(const struct config *config, enum check_as as, const char *text)
{
	struct told t = {.lines = ""};
	struct check *check = check_new(as, false, config);
	struct slice copy = exact_copy(slice_str(text));

	assert_non_null(check);
	assert_true(check_text(check, copy, on_step, &t));
	check_free(check);
	exact_free(copy);
	return t;
}

static struct told told(enum check_as as, const char *text)
{
	struct config config;
	struct told t;

	config_init(&config);
	t = told_by(&config, as, text);
	config_release(&config);
	return t;
}

struct sample {
	enum check_as as;
	const char *text, *want;
};

static void check_samples(const struct sample *samples, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct told t = told(samples[i].as, samples[i].text);

		if (strcmp(t.lines, samples[i].want) != 0)
			fail_msg("%s\n  told: %s\n  want: %s", samples[i].text, t.lines,
				samples[i].want);
	}
}

static void the_statements_in_front_decide(void **state)
{
	static const struct sample samples[] = {
		{T, "", ""},
		{T, " ; ;\n-- nothing\n;", ""},
		{T, "SELECT 1", "1 passes"},
		{T, "\n\n" CIC "i ON t (a)", "3 now"},
		{S, CIC "i ON t (a);\nSELECT 1", "1 native, 2 passes"},
		{T, "CREATE TABLE t (a int);\n" CIC "i ON t (a)", "1 passes, 2 inline"},
		{S, "CREATE TABLE t (a int);\n" CIC "i ON t (a)", "1 passes, 2 native"},
		{T, "SELECT 1 AS a INTO t;\n" CIC "i ON t (a)", "1 passes, 2 inline"},
		{T, "CREATE TABLE t AS SELECT 1 AS a;\n" CIC "i ON T (a)", "1 passes, 2 inline"},
		{T, "CREATE TABLE \"T\" (a int);\n" CIC "i ON t (a)", "1 passes, 2 now"},
		{T, "CREATE TABLE s.t (a int);\n" CIC "i ON t (a)", "1 passes, 2 now"},
		{T, "UPDATE t SET a = 1;\n" CIC "i ON t (a)", "1 passes, 2 at commit, 2 passes"},
		{T,
			"WITH x AS (DELETE FROM ONLY t RETURNING *) SELECT * FROM x;\n" CIC
			"i ON t (a)",
			"1 passes, 2 at commit, 2 passes"},
		{T, "SELECT * FROM t FOR NO KEY UPDATE;\n" CIC "i ON t (a)", "1 passes, 2 now"},
		{T, "INSERT INTO u SELECT * FROM t;\n" CIC "i ON t (a)", "1 passes, 2 now"},
		{T, "INSERT INTO u VALUES (1) ON CONFLICT DO UPDATE SET t = 1;\n" CIC "i ON t (a)",
			"1 passes, 2 now"},
		{T, "LOCK TABLE t IN ACCESS SHARE MODE;\n" CIC "i ON t (a)", "1 passes, 2 now"},
		{T, "ALTER TABLE u VALIDATE CONSTRAINT c;\n" CIC "i ON t (a)", "1 passes, 2 now"},
		{T, "ALTER TABLE t VALIDATE CONSTRAINT c;\n" CIC "i ON t (a)",
			"1 passes, 2 at commit, 2 passes"},
		{T, "ALTER TABLE u VALIDATE CONSTRAINT c, ADD b int;\n" CIC "i ON t (a)",
			"1 passes, 2 at commit, 2 passes"},
		{T, "REFRESH MATERIALIZED VIEW CONCURRENTLY m;\n" CIC "i ON t (a)",
			"1 passes, 2 at commit, 2 passes"},
		{T, "DROP FUNCTION f(int);\n" CIC "i ON t (a)", "1 passes, 2 at commit, 2 passes"},
		{T, "DROP TABLE t;\n" CIC "i ON t (a)", "1 passes, 2 fails!, 2 passes"},
		{T, "DROP TABLE t;\nCREATE TABLE t (a int);\n" CIC "i ON t (a)",
			"1 passes, 2 passes, 3 inline"},
		{T, "ALTER TABLE t RENAME TO u;\n" CIC "i ON t (a)",
			"1 passes, 2 fails!, 2 passes"},
		{T, "DROP INDEX i;\nDROP INDEX CONCURRENTLY i", "1 passes, 2 fails!, 2 passes"},
		{T, "DROP INDEX i;\nDROP INDEX CONCURRENTLY IF EXISTS i", "1 passes, 2 now"},
		{S, "CREATE INDEX i ON t (a);\nDROP TABLE t;\nREINDEX INDEX CONCURRENTLY i",
			"1 passes, 2 passes, 3 fails!"},
		{T, CIC "i ON t (a);\n" CIC "i ON t (a)", "1 now, 2 fails!, 2 passes"},
		{T, CIC "i ON t (a);\n" CIC "IF NOT EXISTS i ON t (a)", "1 now, 2 now"},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void what_cannot_be_helped_is_a_problem(void **state)
{
	static const struct sample samples[] = {
		{T, "VACUUM", "1 fails!, 1 passes"},
		{S, "VACUUM", "1 passes"},
		{Q, "VACUUM", "1 passes"},
		{Q, "SELECT 1; VACUUM; SELECT 2", "1 passes, 1 fails!, 1 not reached"},
		{T, "ALTER SYSTEM SET work_mem = '1MB'", "1 fails!, 1 passes"},
		{T, "CREATE DATABASE d", "1 fails!, 1 passes"},
		{T, "DROP DATABASE IF EXISTS d", "1 fails!, 1 passes"},
		{T, "ALTER DATABASE d SET TABLESPACE x", "1 fails!, 1 passes"},
		{T, "ALTER DATABASE d SET work_mem = '1MB'", "1 passes"},
		{T, "CREATE TABLESPACE x LOCATION '/x'", "1 fails!, 1 passes"},
		{T, "CLUSTER", "1 fails!, 1 passes"},
		{T, "CLUSTER t", "1 passes"},
		{T, "DISCARD ALL", "1 fails!, 1 passes"},
		{T, "DISCARD TEMP", "1 passes"},
		{T, "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", "1 fails!, 1 passes"},
		{T, "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false)",
			"1 passes"},
		{T, "ALTER SUBSCRIPTION s REFRESH PUBLICATION", "1 fails!, 1 passes"},
		{T, "ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = false)", "1 passes"},
		{T, "ALTER SUBSCRIPTION s DISABLE", "1 passes"},
		{T, "COMMIT PREPARED 'x'", "1 fails!, 1 passes"},
		{T, "REINDEX SCHEMA s", "1 fails!, 1 passes"},
		{T, "REINDEX (VERBOSE) TABLE t", "1 passes"},
		{T, "REINDEX SCHEMA CONCURRENTLY s", "1 fails!, 1 passes"},
		{S, "REINDEX SCHEMA CONCURRENTLY s", "1 native"},
		{T, "CREATE TABLE p (a int) PARTITION BY LIST (a);\nREINDEX TABLE p",
			"1 passes, 2 fails!, 2 passes"},
		{S, "CREATE TABLE p (a int) PARTITION BY LIST (a);\n" CIC "i ON p (a)",
			"1 passes, 2 fails!"},
		{S, "CREATE TABLE p1 PARTITION OF p DEFAULT;\n" CIC "i ON p (a)",
			"1 passes, 2 fails!"},
		{T, "DO $$ BEGIN EXECUTE 'create  index\nconcurrently i on t (a)'; END $$",
			"1 unread!"},
		{T, "DO $$ BEGIN REFRESH MATERIALIZED VIEW CONCURRENTLY m; END $$", "1 passes"},
		{T, "SELECT run('CREATE INDEX CONCURRENTLY i ON t (a)')", "1 unread!"},
		{T, "INSERT INTO log VALUES ('CREATE INDEX CONCURRENTLY i ON t (a)')", "1 passes"},
		{T,
			"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN\n"
			"CREATE INDEX CONCURRENTLY i ON t (a); END $$;\nSELECT 1",
			"1 passes, 3 passes"},
		{T, "SELECT 'open;\n" CIC "i ON t (a)", "1 unread!"},
		{T, "DROP INDEX CONCURRENTLY i CASCADE", "1 fails!, 1 passes"},
		{T, "CREATE VIEW v AS SELECT 1 AS a;\n" CIC "i ON v (a)",
			"1 passes, 2 fails!, 2 passes"},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void a_transaction_that_has_failed_goes_no_further(void **state)
{
	static const struct sample samples[] = {
		{T, "VACUUM;\nSELECT 1;\n" CIC "i ON t (a);\nROLLBACK;\n" CIC "i ON t (a)",
			"1 fails!, 2 not reached, 3 not reached, 4 passes, 5 native"},
		{T, "SAVEPOINT a;\nVACUUM;\nROLLBACK TO a;\n" CIC "i ON t (a)",
			"1 passes, 2 fails!, 3 passes, 4 now"},
		{T, "UPDATE t SET a = 1;\nROLLBACK AND CHAIN;\n" CIC "i ON t (a)",
			"1 passes, 2 passes, 3 now"},
		{T, "CREATE TABLE t (a int);\nROLLBACK;\nBEGIN;\n" CIC "i ON t (a);\nEND",
			"1 passes, 2 passes, 3 passes, 4 now, 5 passes"},
		{T, "CREATE TABLE t (a int);\nCOMMIT;\nBEGIN;\n" CIC "i ON t (a);\nEND",
			"1 passes, 2 passes, 3 passes, 4 now, 5 passes"},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void an_index_that_is_owed_cannot_be_used(void **state)
{
	static const struct sample samples[] = {
		{T, "TRUNCATE t;\n" CIC "i ON t (a);\nALTER INDEX i RENAME TO j",
			"1 passes, 2 at commit, 3 fails!, 3 passes"},
		{T, "TRUNCATE t;\n" CIC "i ON t (a);\nCLUSTER t USING i",
			"1 passes, 2 at commit, 3 fails!, 3 passes"},
		{T, "TRUNCATE t;\n" CIC "i ON t (a);\nCREATE INDEX IF NOT EXISTS i ON t (a)",
			"1 passes, 2 at commit, 3 fails!, 3 passes"},
		{T, "TRUNCATE t;\n" CIC "i ON t (a);\nSELECT i FROM t",
			"1 passes, 2 at commit, 3 passes, 3 passes"},
		{T, "TRUNCATE t;\n" CIC "i ON t (a);\nCOMMENT ON INDEX s.i IS ''",
			"1 passes, 2 at commit, 3 fails!, 3 passes"},
		{T, "TRUNCATE t;\n" CIC "i ON t (a);\nREINDEX INDEX CONCURRENTLY i",
			"1 passes, 2 at commit, 3 in ledger, 3 passes"},
		{T, "TRUNCATE t;\n" CIC "i ON t (a);\nDROP INDEX public.i",
			"1 passes, 2 at commit, 3 in ledger"},
		{T, "TRUNCATE t;\n" CIC "i ON t (a);\nPREPARE TRANSACTION 'x'",
			"1 passes, 2 at commit, 3 fails!, 3 passes"},
		{T, "TRUNCATE t;\n" CIC "i ON t (a);\nCOMMIT;\nCLUSTER t USING i",
			"1 passes, 2 at commit, 3 passes, 4 passes"},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void files_of_psql_are_read_past_what_is_no_sql(void **state)
{
	static const struct sample samples[] = {
		{T, "\\set ON_ERROR_STOP on\n" CIC "i ON t (a);\n", "1 unread, 2 now"},
		{S, "COPY t FROM stdin;\n1\tit's\n\\.\n" CIC "i ON t (a);\n\\q",
			"1 passes, 4 native, 5 unread"},
		{S, "COPY t FROM stdin", "1 passes"},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void marks_of_migration_tools_are_heeded(void **state)
{
	static const struct sample samples[] = {
		{T, "-- migrate:up\n" CIC "i ON t (a);\n-- migrate:down\nDROP INDEX i;\n",
			"2 now, 3 unread"},
		{T, "-- migrate:up transaction:false\n" CIC "i ON t (a);\n", "2 native"},
		{T, "-- +goose Up\nTRUNCATE t;\n" CIC "i ON t (a);\n-- +goose Down\nVACUUM;",
			"2 passes, 3 at commit, 4 passes, 4 unread"},
		{T, "-- +goose NO TRANSACTION\n-- +goose Up\n" CIC "i ON t (a);", "3 native"},
		{T, "-- +migrate Up notransaction\nVACUUM;\n-- +migrate Down",
			"2 passes, 3 unread"},
		{T, "-- Up Migration\n" CIC "i ON t (a);\n-- Down Migration\nVACUUM",
			"2 now, 3 unread"},
		{T, "SELECT '-- migrate:down'; VACUUM", "1 passes, 1 fails!, 1 passes"},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void settings_count(void **state)
{
	static const struct {
		const char *flag, *value, *text, *want;
	} samples[] = {
		{"--aside", "off", CIC "i ON t (a)", "1 fails!, 1 passes"},
		{"--conflict", "error", "TRUNCATE t; " CIC "i ON t (a)",
			"1 passes, 1 fails!, 1 passes"},
		{"--conflict", "inline", "TRUNCATE t; " CIC "i ON t (a)", "1 passes, 1 inline"},
		{"--native", "guard", "COMMIT; " CIC "i ON t (a)", "1 passes, 1 now"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(samples); i++) {
		char flag[64], value[64];
		char *words[] = {flag, flag, value, NULL};
		struct config config;
		struct told t;
		struct err e;

		snprintf(flag, sizeof(flag), "%s", samples[i].flag);
		snprintf(value, sizeof(value), "%s", samples[i].value);
		config_init(&config);
		assert_int_equal(config_read_arguments(&config, 3, words, &e), 3);
		t = told_by(&config, T, samples[i].text);
		config_release(&config);
		if (strcmp(t.lines, samples[i].want) != 0)
			fail_msg("%s %s: %s", samples[i].flag, samples[i].value, t.lines);
	}
}

static void what_is_longer_than_pgaside_reads_is_a_problem(void **state)
{
	struct config config;
	struct told t;

	(void)state;
	config_init(&config);
	config.max_statement_size = 20;
	t = told_by(&config, T, CIC "i ON t (a)");
	assert_string_equal(t.lines, "1 fails!, 1 passes");
	/* Of a file that goes as one Query it is the whole that counts. */
	config.max_statement_size = 40;
	t = told_by(&config, S, "SELECT 1;\n" CIC "i ON t (a)");
	assert_string_equal(t.lines, "1 passes, 2 native");
	t = told_by(&config, Q, "SELECT 1;\n" CIC "i ON t (a)");
	assert_string_equal(t.lines, "1 passes, 2 fails!");
	config_release(&config);
}

static void reasons_name_the_line_that_is_in_the_way(void **state)
{
	struct told t =
		told(S, "BEGIN;\nSELECT 1;\nALTER TABLE t\n ADD b int;\n\n" CIC "i ON t (b)");

	(void)state;
	assert_string_equal(t.reason, "the transaction has locked the relation before (line 3)");
	t = told(S, "BEGIN;\nDROP INDEX CONCURRENTLY i");
	assert_string_equal(
		t.reason, "the transaction could not bring back what the statement destroys");
	assert_string_equal(
		t.note, "if the index is INVALID, nothing is lost with it: then it goes now");
	t = told(S, "BEGIN;\nCALL f();\n" CIC "i ON t (a)");
	assert_string_equal(t.note, "what the code on line 2 has done is not seen here");
	t = told(T, "TRUNCATE t; " CIC "i ON t (b)");
	assert_string_equal(t.reason, "then 1 statement runs, before it is answered");
}

/* A transaction over two files, and limits that are met rather than passed. */
static void files_may_be_one_transaction(void **state)
{
	struct config config;
	struct told t = {.lines = ""};
	struct check *check;

	(void)state;
	config_init(&config);
	check = check_new(T, true, &config);
	assert_true(check_text(check, slice_str("CREATE TABLE t (a int);"), on_step, &t));
	assert_true(check_text(check, slice_str(CIC "i ON t (a)"), on_step, &t));
	assert_string_equal(t.lines, "1 passes, 1 inline");
	check_free(check);
	config_release(&config);
}

static void too_many_savepoints_are_refused(void **state)
{
	struct config config;
	struct told t = {.lines = ""};
	struct check *check;
	struct bytes text;

	(void)state;
	config_init(&config);
	bytes_init(&text, 65536);
	for (int i = 0; i < 100; i++)
		bytes_printf(&text, "SAVEPOINT s;");
	check = check_new(T, false, &config);
	assert_false(check_text(check, bytes_view(&text), on_step, &t));
	check_free(check);
	bytes_release(&text);
	config_release(&config);
}

/* Whatever the text, each prefix of it is read to its end. */
static void every_prefix_can_be_read(void **state)
{
	static const char text[] =
		"CREATE TEMP TABLE \"a\"\"b\" (x int REFERENCES u, y text) PARTITION BY LIST (x);"
		"ALTER TABLE ONLY s.t * ADD z int, RENAME TO q; COPY t (a) FROM STDIN;"
		"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY t USING gin (a);"
		"GRANT SELECT, UPDATE (a) ON TABLE t, u TO x; COMMENT ON COLUMN s.t.a IS 'x';"
		"DROP INDEX IF EXISTS a.b, c CASCADE; ANALYZE (VERBOSE) t (a, b), u;"
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL "
		"SERIALIZABLE;"
		"CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2); DECLARE c CURSOR "
		"FOR "
		"SELECT 1;"
		"DO $x$ CREATE INDEX CONCURRENTLY $x$; ROLLBACK TO SAVEPOINT a; SET search_path = "
		"'q';";
	char copy[sizeof(text)];

	(void)state;
	for (size_t len = 0; len <= sizeof(text) - 1; len++) {
		memcpy(copy, text, len);
		copy[len] = '\0';
		told(T, copy);
		told(Q, copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_statements_in_front_decide),
		cmocka_unit_test(what_cannot_be_helped_is_a_problem),
		cmocka_unit_test(a_transaction_that_has_failed_goes_no_further),
		cmocka_unit_test(an_index_that_is_owed_cannot_be_used),
		cmocka_unit_test(files_of_psql_are_read_past_what_is_no_sql),
		cmocka_unit_test(marks_of_migration_tools_are_heeded),
		cmocka_unit_test(settings_count),
		cmocka_unit_test(what_is_longer_than_pgaside_reads_is_a_problem),
		cmocka_unit_test(reasons_name_the_line_that_is_in_the_way),
		cmocka_unit_test(files_may_be_one_transaction),
		cmocka_unit_test(too_many_savepoints_are_refused),
		cmocka_unit_test(every_prefix_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
