#include "statement_effect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exact.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct sql_dialect dialect = {.encoding = SQL_ENCODING_UTF8};

static void put(char *out, size_t size, const char *what, struct slice name)
{
	size_t len = strlen(out);

	snprintf(out + len, size - len, "%s%s%s%.*s", len > 0 ? ", " : "", what,
		name.len > 0 ? " " : "", (int)name.len,
		name.len > 0 ? (const char *)name.data : "");
}

static void put_if(char *out, size_t size, const char *what, bool is)
{
	if (is)
		put(out, size, what, slice_str(""));
}

static void describe_touches(const struct statement_effect *e, char *out, size_t size)
{
	static const char *const locks[] = {
		[EFFECT_LOCK_WRITE] = "write",
		[EFFECT_LOCK_DEFINITION] = "definition",
		[EFFECT_LOCK_STRONG] = "strong",
	};
	static const char *const things[] = {
		[EFFECT_TABLE] = "", [EFFECT_INDEX] = " index", [EFFECT_VIEW] = " view"};

	for (size_t i = 0; i < e->n_touches; i++) {
		char what[64];

		snprintf(what, sizeof(what), "%s%s%s%s", e->touches[i].drops ? "drop " : "",
			locks[e->touches[i].lock], e->touches[i].partitioned ? " parent" : "",
			things[e->touched]);
		put(out, size, what, e->touches[i].name);
	}
	put_if(out, size, "more", e->touches_more);
}

/* The effect in words: "made table t, strong u". */
static void describe(const struct statement_effect *e, char *out, size_t size)
{
	static const char *const made[] = {[EFFECT_TABLE] = "made table",
		[EFFECT_PARTITIONED] = "made partitioned",
		[EFFECT_INDEX] = "made index",
		[EFFECT_VIEW] = "made view",
		[EFFECT_OBJECT] = "made object"};

	out[0] = '\0';
	put_if(out, size, "refused", e->refused != NULL);
	put_if(out, size, "temporary", e->made_temporary);
	if (e->made != EFFECT_NOTHING)
		put(out, size, made[e->made], e->made_name);
	describe_touches(e, out, size);
	if (e->renamed_to.len > 0)
		put(out, size, "renamed", e->renamed_to);
	if (e->moved_to.len > 0)
		put(out, size, "moved", e->moved_to);
	if (e->search_path.len > 0)
		put(out, size, "path", e->search_path);
	put_if(out, size, "cursor", e->opens_cursor);
	put_if(out, size, "close", e->closes_cursor);
	put_if(out, size, "all", e->closes_all);
	put_if(out, size, "snapshot", e->exports_snapshot);
	put_if(out, size, "object", e->locks_object);
	put_if(out, size, "redefines", e->redefines);
	put_if(out, size, "code", e->runs_code);
	put_if(out, size, "hides", e->hides);
	put_if(out, size, "keeps", e->keeps);
	put_if(out, size, "conflict", e->on_conflict);
	put_if(out, size, "copy", e->copies_in);
	put_if(out, size, "isolation", e->isolation != STATEMENT_ISOLATION_UNSAID);
	put_if(out, size, "access", e->access != STATEMENT_ACCESS_UNSAID);
	put_if(out, size, "next", e->sets_next);
}

struct sample {
	const char *text, *want;
};

static void check_samples(const struct sample *samples, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct slice text = exact_copy(slice_str(samples[i].text));
		struct statement st;
		struct statement_effect e;
		char got[1024];

		assert_true(statement_first(text, dialect, &st));
		statement_effect_read(&st, dialect, &e);
		describe(&e, got, sizeof(got));
		if (strcmp(got, samples[i].want) != 0)
			fail_msg("%s\n  got:  %s\n  want: %s", samples[i].text, got,
				samples[i].want);
		exact_free(text);
	}
}

static void what_is_made_has_its_name(void **state)
{
	static const struct sample samples[] = {
		{"CREATE TABLE t (a int)", "made table t"},
		{"create unlogged table if not exists \"My T\".t (a int)", "made table \"My T\".t"},
		{"CREATE TEMP TABLE t AS SELECT 1", "temporary, made table t"},
		{"CREATE TABLE t (a int REFERENCES u ON DELETE CASCADE, FOREIGN KEY (b) REFERENCES "
		 "s.v (c))",
			"made table t, strong u, strong s.v"},
		{"CREATE TABLE t (a int) PARTITION BY RANGE (a)", "made partitioned t"},
		{"CREATE TABLE t AS SELECT rank() OVER (PARTITION BY a) FROM u", "made table t"},
		{"CREATE TABLE t PARTITION OF p FOR VALUES IN (1)",
			"made table t, strong parent p"},
		{"CREATE TABLE t (a int) INHERITS (p, q)",
			"made table t, definition p, definition q"},
		{"SELECT a INTO TEMP TABLE t FROM u", "temporary, made table t"},
		{"CREATE MATERIALIZED VIEW m AS SELECT 1", "made table m"},
		{"CREATE UNIQUE INDEX IF NOT EXISTS i ON ONLY s.t (a)", "made index i, strong s.t"},
		{"CREATE INDEX i ON ONLY (s.t) (a)", "made index i, strong s.t"},
		{"CREATE INDEX ON t (a)", "made index, strong t"},
		{"CREATE VIEW v AS SELECT 1", "made view v"},
		{"CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
			"temporary, made view v, strong view v"},
		{"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
			"made object f, redefines"},
		{"CREATE OPERATOR CLASS oc FOR TYPE int USING btree AS STORAGE int",
			"made object oc"},
		{"CREATE EXTENSION IF NOT EXISTS pg_trgm", "made object pg_trgm, redefines"},
		{"ALTER TEXT SEARCH CONFIGURATION c ADD MAPPING FOR word WITH simple", "redefines"},
		{"ALTER FUNCTION f() IMMUTABLE", "redefines"},
		{"ALTER TYPE t ADD VALUE 'x'", ""},
		{"CREATE TRIGGER g AFTER UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION f()",
			"strong t"},
		{"CREATE RULE r AS ON INSERT TO t DO NOTHING", "strong t"},
		{"CREATE POLICY p ON s.t", "strong s.t"},
		{"CREATE STATISTICS s ON a, b FROM t", "definition t"},
		{"CREATE ROLE r", ""},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void what_is_changed_is_locked(void **state)
{
	static const struct sample samples[] = {
		{"ALTER TABLE IF EXISTS ONLY t ADD COLUMN a int", "strong t"},
		{"ALTER TABLE ONLY (t) ADD COLUMN a int", "strong t"},
		{"ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u", "strong u, strong t"},
		{"ALTER TABLE t RENAME TO u", "strong t, renamed u"},
		{"ALTER TABLE t RENAME COLUMN a TO b", "strong t"},
		{"ALTER TABLE t SET SCHEMA s", "strong t, moved s"},
		{"ALTER TABLE t SET (fillfactor = 70)", "definition t"},
		{"ALTER TABLE t SET (fillfactor = 70), SET LOGGED", "strong t"},
		{"ALTER TABLE t ALTER a SET STATISTICS 5", "definition t"},
		{"ALTER TABLE p ATTACH PARTITION q DEFAULT", "definition parent p, strong q"},
		{"ALTER TABLE p DETACH PARTITION q", "strong parent p, strong q"},
		{"ALTER INDEX i RENAME TO j", "definition index i, renamed j"},
		{"ALTER SEQUENCE s RESTART", "strong view s"},
		{"ALTER TYPE t ADD VALUE 'x'", ""},
		{"ALTER FUNCTION f() OWNER TO x", "object, redefines"},
		{"DROP TABLE IF EXISTS a, s.b CASCADE", "drop strong a, drop strong s.b"},
		{"DROP INDEX i", "drop strong index i"},
		{"DROP MATERIALIZED VIEW m", "drop strong m"},
		{"DROP TRIGGER g ON t", "strong t"},
		{"DROP FUNCTION f()", "object"},
		{"DROP SCHEMA s CASCADE", "more, object"},
		{"TRUNCATE ONLY a, b", "strong a, strong b"},
		{"TRUNCATE ONLY (a), s.b", "strong a, strong s.b"},
		{"LOCK TABLE ONLY (a) IN ROW EXCLUSIVE MODE", "write a"},
		{"LOCK t", "strong t"},
		{"LOCK TABLE a, b IN SHARE UPDATE EXCLUSIVE MODE", "definition a, definition b"},
		{"LOCK TABLE a IN SHARE ROW EXCLUSIVE MODE", "strong a"},
		{"COMMENT ON COLUMN s.t.a IS 'x'", "definition s.t"},
		{"COMMENT ON TRIGGER g ON t IS 'x'", "definition t"},
		{"COMMENT ON FUNCTION f() IS 'x'", ""},
		{"GRANT SELECT (a), UPDATE ON t, s.u TO x", "definition t, definition s.u"},
		{"GRANT ALL ON ALL TABLES IN SCHEMA s TO x", "more"},
		{"GRANT USAGE ON SCHEMA s TO x", ""},
		{"GRANT a TO b", ""},
		{"ANALYZE (VERBOSE) t (a, b), u", "definition t, definition u"},
		{"ANALYZE", "more"},
		{"CLUSTER t USING i", "strong t"},
		{"REINDEX (VERBOSE) INDEX i", "strong index i"},
		{"REFRESH MATERIALIZED VIEW CONCURRENTLY m", "strong m"},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void what_is_written_is_found_wherever_it_stands(void **state)
{
	static const struct sample samples[] = {
		{"INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
			"write t, conflict"},
		{"UPDATE ONLY s.t SET a = 1", "write s.t"},
		{"UPDATE ONLY (s.t) SET a = 1", "write s.t"},
		{"DELETE FROM ONLY (t) WHERE a = 1", "write t"},
		{"DELETE FROM t USING u", "write t"},
		{"MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", "write t"},
		{"WITH x AS (INSERT INTO a SELECT 1 RETURNING *), y AS (UPDATE b SET c = 1) SELECT "
		 "1",
			"write a, write b"},
		{"EXPLAIN ANALYZE DELETE FROM t", "write t"},
		{"SELECT * FROM t FOR UPDATE OF t", ""},
		{"SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED", ""},
		{"SELECT 'INSERT INTO t'", ""},
		{"COPY t (a) FROM STDIN", "write t, copy"},
		{"COPY t FROM '/x'", "write t"},
		{"COPY t TO STDOUT", ""},
		{"COPY (SELECT 1) TO STDOUT", ""},
		{"SELECT pg_export_snapshot()", "snapshot"},
		{"DECLARE c CURSOR FOR SELECT 1", "cursor"},
		{"CLOSE c", "close"},
		{"CLOSE ALL", "close, all"},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void settings_of_the_transaction_are_seen(void **state)
{
	static const struct sample samples[] = {
		{"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY", "isolation, access"},
		{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "access, next"},
		{"SET LOCAL transaction_isolation TO 'repeatable read'", "isolation"},
		{"SET default_transaction_read_only = on", "access, next"},
		{"SET search_path TO s, public", "path s"},
		{"SET search_path = 's'", "path s"},
		{"SET work_mem = '1MB'", ""},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void what_would_be_executed_from_a_string_is_noticed(void **state)
{
	static const struct sample samples[] = {
		{"DO $$ BEGIN NULL; END $$", "code"},
		{"DO $$ BEGIN CREATE INDEX CONCURRENTLY i ON t (a); END $$", "code, hides"},
		{"DO LANGUAGE plpgsql 'BEGIN EXECUTE format(''DROP INDEX concurrently %I'', x); "
		 "END'",
			"code, hides"},
		{"SELECT f(E'ALTER TABLE t DETACH PARTITION p CONCURRENTLY')", "hides"},
		{"CREATE PROCEDURE p() LANGUAGE sql AS 'CREATE INDEX CONCURRENTLY i ON t (a)'",
			"made object p, redefines, keeps"},
		{"INSERT INTO t VALUES ('CREATE INDEX CONCURRENTLY i ON t (a)')", "write t"},
		{"SELECT 'concurrently'", ""},
	};

	(void)state;
	check_samples(samples, LENGTH(samples));
}

static void names_are_found_as_postgresql_reads_them(void **state)
{
	struct sql_name name;
	struct slice text = slice_str("CLUSTER s.T USING \"I\"; COMMENT ON INDEX s . i IS ''");

	(void)state;
	assert_true(sql_name_decode(slice_str("t"), dialect, &name));
	assert_true(statement_mentions(text, dialect, &name));
	assert_false(statement_names_index(text, dialect, &name));
	assert_true(sql_name_decode(slice_str("\"I\""), dialect, &name));
	assert_true(statement_names_index(text, dialect, &name));
	assert_true(sql_name_decode(slice_str("cluster_"), dialect, &name));
	assert_false(statement_mentions(text, dialect, &name));
}

static void what_changes_how_texts_are_read_is_found(void **state)
{
	static const struct {
		const char *text;
		bool changes;
	} cases[] = {
		{"SET client_encoding TO latin1; SELECT '\xc3\xa9'", true},
		{"SET SESSION NAMES 'latin1'; SELECT 1; SELECT '\xc3\xa9'", true},
		{"SELECT set_config('Client_Encoding', 'latin1', true); SELECT '\xc3\xa9'", true},
		{"BEGIN; SET LOCAL standard_conforming_strings = 0; SELECT '\\'; COMMIT", true},
		{"RESET ALL; SELECT '\\'", true},
		{"RESET ALL; SELECT '\xc3\xa9'", true},
		{"SELECT '\xc3\xa9\\'; SET client_encoding = latin1", false},
		{"SET client_encoding = latin1; SELECT '\\'", false},
		{"SET backslash_quote = off; SELECT '\xc3\xa9'", false},
		{"SET NAMES 'UTF8'; SELECT '\xc3\xa9'", false},
		{"SET client_encoding TO UTF8; SET standard_conforming_strings = on; SELECT '\\'",
			false},
		{"SELECT names /* client_encoding */ FROM t; SELECT '\xc3\xa9'", false},
		{"RESET", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct slice text = exact_copy(slice_str(cases[i].text));

		if (statement_rereads(text, dialect) != cases[i].changes)
			fail_msg("%s", cases[i].text);
		exact_free(text);
	}
}

/* More tables than are kept are not forgotten. */
static void too_many_tables_are_said_to_be_more(void **state)
{
	char text[1024] = "TRUNCATE t0";
	struct statement st;
	struct statement_effect e;

	(void)state;
	for (int i = 1; i <= EFFECT_TOUCHES; i++) {
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, ", t%d", i);
	}
	assert_true(statement_first(slice_str(text), dialect, &st));
	statement_effect_read(&st, dialect, &e);
	assert_int_equal(e.n_touches, EFFECT_TOUCHES);
	assert_true(e.touches_more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_has_its_name),
		cmocka_unit_test(what_is_changed_is_locked),
		cmocka_unit_test(what_is_written_is_found_wherever_it_stands),
		cmocka_unit_test(settings_of_the_transaction_are_seen),
		cmocka_unit_test(what_would_be_executed_from_a_string_is_noticed),
		cmocka_unit_test(names_are_found_as_postgresql_reads_them),
		cmocka_unit_test(what_changes_how_texts_are_read_is_found),
		cmocka_unit_test(too_many_tables_are_said_to_be_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
