#include "statement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct sql_dialect utf8 = {.encoding = SQL_ENCODING_UTF8};

static const char *const kind_names[] = {
	[STATEMENT_EMPTY] = "empty",
	[STATEMENT_OTHER] = "other",
	[STATEMENT_CREATE_INDEX] = "create",
	[STATEMENT_DROP_INDEX] = "drop",
	[STATEMENT_REINDEX] = "reindex",
	[STATEMENT_DETACH_PARTITION] = "detach",
	[STATEMENT_BEGIN] = "begin",
	[STATEMENT_COMMIT] = "commit",
	[STATEMENT_ROLLBACK] = "rollback",
	[STATEMENT_SAVEPOINT] = "savepoint",
	[STATEMENT_RELEASE] = "release",
	[STATEMENT_ROLLBACK_TO] = "rollback to",
	[STATEMENT_PREPARE_TRANSACTION] = "prepare transaction",
	[STATEMENT_COMMIT_PREPARED] = "commit prepared",
	[STATEMENT_ROLLBACK_PREPARED] = "rollback prepared",
};

static struct statement first_of(const char *text)
{
	struct statement s;

	if (!statement_first(slice_str(text), utf8, &s))
		fail_msg("nothing in: %s", text);
	return s;
}

struct recognition {
	const char *text;
	enum statement_kind kind;
};

static void check_kinds(const struct recognition *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct statement s = first_of(cases[i].text);

		if (s.kind != cases[i].kind)
			fail_msg("%s\n  got  %s\n  want %s", cases[i].text, kind_names[s.kind],
				kind_names[cases[i].kind]);
	}
}

static void aside_statements_are_recognised(void **state)
{
	static const struct recognition cases[] = {
		{"CREATE INDEX CONCURRENTLY i ON t (a)", STATEMENT_CREATE_INDEX},
		{"create index concurrently on t(a)", STATEMENT_CREATE_INDEX},
		{"CREATE/**/UNIQUE--x\rINDEX\vCONCURRENTLY\fi ON t(a)", STATEMENT_CREATE_INDEX},
		{"CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY s.t USING gin (a)",
			STATEMENT_CREATE_INDEX},
		{"CREATE INDEX CONCURRENTLY if ON t (a)", STATEMENT_CREATE_INDEX},
		{"CREATE INDEX CONCURRENTLY \"on\" ON ONLY (t) (a)", STATEMENT_CREATE_INDEX},
		{"CREATE INDEX CONCURRENTLY i ON t * (a)", STATEMENT_CREATE_INDEX},
		{"CREATE INDEX CONCURRENTLY i ON t USING btree (lower(a) DESC NULLS LAST) INCLUDE "
		 "(b) "
		 "WITH (fillfactor = 70) TABLESPACE x WHERE a > 1",
			STATEMENT_CREATE_INDEX},
		{"DROP INDEX CONCURRENTLY i", STATEMENT_DROP_INDEX},
		{"drop index concurrently if exists a, b.c, \"D\" cascade", STATEMENT_DROP_INDEX},
		{"DROP INDEX CONCURRENTLY if RESTRICT", STATEMENT_DROP_INDEX},
		{"DROP INDEX CONCURRENTLY cascade", STATEMENT_DROP_INDEX},
		{"REINDEX INDEX CONCURRENTLY i", STATEMENT_REINDEX},
		{"REINDEX TABLE CONCURRENTLY s.t", STATEMENT_REINDEX},
		{"REINDEX SCHEMA CONCURRENTLY s", STATEMENT_REINDEX},
		{"REINDEX DATABASE CONCURRENTLY d", STATEMENT_REINDEX},
		{"REINDEX DATABASE CONCURRENTLY", STATEMENT_REINDEX},
		{"REINDEX SYSTEM CONCURRENTLY", STATEMENT_REINDEX},
		{"REINDEX (VERBOSE) TABLE CONCURRENTLY t", STATEMENT_REINDEX},
		{"REINDEX (CONCURRENTLY) INDEX i", STATEMENT_REINDEX},
		{"REINDEX (VERBOSE, CONCURRENTLY on, TABLESPACE x) INDEX i", STATEMENT_REINDEX},
		{"REINDEX (concurrently TRUE) DATABASE d", STATEMENT_REINDEX},
		{"REINDEX (\"concurrently\" 1) TABLE t", STATEMENT_REINDEX},
		{"REINDEX (concurrently 'On', verbose off) TABLE t", STATEMENT_REINDEX},
		{"REINDEX (concurrently \"true\") TABLE t", STATEMENT_REINDEX},
		{"REINDEX (concurrently off) TABLE CONCURRENTLY t", STATEMENT_REINDEX},
		{"ALTER TABLE t DETACH PARTITION p CONCURRENTLY", STATEMENT_DETACH_PARTITION},
		{"alter table if exists only s.t detach partition s.p concurrently",
			STATEMENT_DETACH_PARTITION},
	};

	(void)state;
	check_kinds(cases, LENGTH(cases));
}

static void their_neighbours_are_not(void **state)
{
	static const struct recognition cases[] = {
		{"CREATE INDEX i ON t (a)", STATEMENT_OTHER},
		{"CREATE INDEX \"concurrently\" ON t (a)", STATEMENT_OTHER},
		{"CREATE INDEX concurrently_x ON t (a)", STATEMENT_OTHER},
		{"CREATE INDEX x ON concurrently (a)", STATEMENT_OTHER},
		{"CREATE INDEX IF NOT EXISTS CONCURRENTLY i ON t (a)", STATEMENT_OTHER},
		{"CREATE INDEX CONCURRENTLY s.i ON t (a)", STATEMENT_OTHER},
		{"CREATE INDEX CONCURRENTLY IF NOT EXISTS ON t (a)", STATEMENT_OTHER},
		{"CREATE INDEX CONCURRENTLY i ON t", STATEMENT_OTHER},
		{"CREATE INDEX CONCURRENTLY i", STATEMENT_OTHER},
		{"CREATE INDEX CONCURRENTLY", STATEMENT_OTHER},
		{"CREATE CREATE INDEX CONCURRENTLY i ON t (a)", STATEMENT_OTHER},
		{"CREATE DROP INDEX CONCURRENTLY i", STATEMENT_OTHER},
		{"CREATE BEGIN", STATEMENT_OTHER},
		{"CREATE UNIQUE CONCURRENTLY INDEX i ON t (a)", STATEMENT_OTHER},
		{"CREATE TABLE concurrently_done (a int)", STATEMENT_OTHER},
		{"DROP INDEX i", STATEMENT_OTHER},
		{"DROP INDEX \"concurrently\"", STATEMENT_OTHER},
		{"DROP INDEX CONCURRENTLY", STATEMENT_OTHER},
		{"DROP INDEX CONCURRENTLY a,", STATEMENT_OTHER},
		{"DROP INDEX CONCURRENTLY a b", STATEMENT_OTHER},
		{"DROP INDEX CONCURRENTLY a CASCADE RESTRICT", STATEMENT_OTHER},
		{"DROP TABLE CONCURRENTLY a", STATEMENT_OTHER},
		{"REINDEX INDEX i", STATEMENT_OTHER},
		{"REINDEX TABLE \"concurrently\"", STATEMENT_OTHER},
		{"REINDEX (VERBOSE) TABLE t", STATEMENT_OTHER},
		{"REINDEX (CONCURRENTLY off) TABLE t", STATEMENT_OTHER},
		{"REINDEX (CONCURRENTLY false, VERBOSE) TABLE t", STATEMENT_OTHER},
		{"REINDEX (CONCURRENTLY 0) TABLE t", STATEMENT_OTHER},
		{"REINDEX (CONCURRENTLY '1') TABLE t", STATEMENT_OTHER},
		{"REINDEX (CONCURRENTLY maybe) TABLE t", STATEMENT_OTHER},
		{"REINDEX (CONCURRENTLY 2) TABLE t", STATEMENT_OTHER},
		{"REINDEX (CONCURRENTLY on on) TABLE t", STATEMENT_OTHER},
		{"REINDEX (CONCURRENTLY, CONCURRENTLY) TABLE t", STATEMENT_OTHER},
		{"REINDEX (\"CONCURRENTLY\") TABLE t", STATEMENT_OTHER},
		{"REINDEX () TABLE CONCURRENTLY t", STATEMENT_OTHER},
		{"REINDEX (VERBOSE TABLE CONCURRENTLY t)", STATEMENT_OTHER},
		{"REINDEX (CONCURRENTLY) VIEW v", STATEMENT_OTHER},
		{"REINDEX SCHEMA CONCURRENTLY", STATEMENT_OTHER},
		{"REINDEX INDEX CONCURRENTLY a, b", STATEMENT_OTHER},
		{"ALTER TABLE t DETACH PARTITION p", STATEMENT_OTHER},
		{"ALTER TABLE t DETACH PARTITION p FINALIZE", STATEMENT_OTHER},
		{"ALTER TABLE t DETACH PARTITION \"concurrently\"", STATEMENT_OTHER},
		{"ALTER TABLE t DETACH PARTITION p CONCURRENTLY, ADD a int", STATEMENT_OTHER},
		{"ALTER TABLE t RENAME TO concurrently_x", STATEMENT_OTHER},
		{"REFRESH MATERIALIZED VIEW CONCURRENTLY v", STATEMENT_OTHER},
		{"EXPLAIN CREATE INDEX CONCURRENTLY i ON t (a)", STATEMENT_OTHER},
		{"DO $$ BEGIN EXECUTE 'CREATE INDEX CONCURRENTLY i ON t (a)'; END $$",
			STATEMENT_OTHER},
		{"COMMENT ON INDEX i IS 'CREATE INDEX CONCURRENTLY'", STATEMENT_OTHER},
		{"\"create\" INDEX CONCURRENTLY i ON t (a)", STATEMENT_OTHER},
		{"SELECT 1", STATEMENT_OTHER},
		{"1", STATEMENT_OTHER},
		{"CREATE INDEX CONCURRENTLY i ON t (a) WHERE b = 'x", STATEMENT_OTHER},
		{"CREATE INDEX CONCURRENTLY i ON t (a", STATEMENT_OTHER},
	};

	(void)state;
	check_kinds(cases, LENGTH(cases));
}

static void transaction_control_is_recognised(void **state)
{
	static const struct recognition cases[] = {
		{"BEGIN", STATEMENT_BEGIN},
		{"begin work", STATEMENT_BEGIN},
		{"BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
			STATEMENT_BEGIN},
		{"begin read write not deferrable", STATEMENT_BEGIN},
		{"START TRANSACTION", STATEMENT_BEGIN},
		{"start transaction isolation level repeatable read read only", STATEMENT_BEGIN},
		{"COMMIT", STATEMENT_COMMIT},
		{"END", STATEMENT_COMMIT},
		{"end work and no chain", STATEMENT_COMMIT},
		{"COMMIT TRANSACTION AND CHAIN", STATEMENT_COMMIT},
		{"ROLLBACK", STATEMENT_ROLLBACK},
		{"ABORT", STATEMENT_ROLLBACK},
		{"rollback work and chain", STATEMENT_ROLLBACK},
		{"SAVEPOINT a", STATEMENT_SAVEPOINT},
		{"savepoint savepoint", STATEMENT_SAVEPOINT},
		{"RELEASE a", STATEMENT_RELEASE},
		{"RELEASE SAVEPOINT a", STATEMENT_RELEASE},
		{"RELEASE savepoint", STATEMENT_RELEASE},
		{"ROLLBACK TO a", STATEMENT_ROLLBACK_TO},
		{"ROLLBACK TRANSACTION TO SAVEPOINT \"A\"", STATEMENT_ROLLBACK_TO},
		{"PREPARE TRANSACTION 'x'", STATEMENT_PREPARE_TRANSACTION},
		{"PREPARE TRANSACTION U&'x' UESCAPE '!'", STATEMENT_PREPARE_TRANSACTION},
		{"COMMIT PREPARED 'x'", STATEMENT_COMMIT_PREPARED},
		{"ROLLBACK PREPARED $$x$$", STATEMENT_ROLLBACK_PREPARED},
		{"BEGIN;", STATEMENT_BEGIN},
		{"/* x */ COMMIT -- y", STATEMENT_COMMIT},
		{"BEGIN ATOMIC", STATEMENT_OTHER},
		{"BEGIN READ", STATEMENT_OTHER},
		{"BEGIN READ ONLY,", STATEMENT_OTHER},
		{"BEGIN ISOLATION LEVEL CHAOS", STATEMENT_OTHER},
		{"START", STATEMENT_OTHER},
		{"COMMIT x", STATEMENT_OTHER},
		{"COMMIT AND", STATEMENT_OTHER},
		{"COMMIT PREPARED", STATEMENT_OTHER},
		{"SAVEPOINT", STATEMENT_OTHER},
		{"SAVEPOINT a b", STATEMENT_OTHER},
		{"ROLLBACK TO", STATEMENT_OTHER},
		{"ABORT TO a", STATEMENT_OTHER},
		{"RELEASE", STATEMENT_OTHER},
		{"PREPARE a AS SELECT 1", STATEMENT_OTHER},
		{"PREPARE transaction AS SELECT 1", STATEMENT_OTHER},
		{"PREPARE transaction (int) AS SELECT 1", STATEMENT_OTHER},
		{"SET TRANSACTION READ ONLY", STATEMENT_OTHER},
		{"SET LOCAL lock_timeout = 1", STATEMENT_OTHER},
		{"beginning", STATEMENT_OTHER},
	};

	(void)state;
	check_kinds(cases, LENGTH(cases));
}

static void check_slice(const char *text, const char *what, struct slice got, const char *want)
{
	if (!slice_is(got, want))
		fail_msg("%s\n  %s is %.*s, not %s", text, what, (int)got.len,
			got.len ? (const char *)got.data : "", want);
}

static void names_are_found(void **state)
{
	static const struct {
		const char *text, *index, *table, *partition, *scope;
	} cases[] = {
		{"create index concurrently i on t(a)", "i", "t", "", ""},
		{"create index concurrently on s . \"T\" (a)", "", "s . \"T\"", "", ""},
		{"create index concurrently if not exists \"a\"\"b\" on only t using gin (a)",
			"\"a\"\"b\"", "t", "", ""},
		{"create index concurrently U&\"!0061\" uescape '!' on only ( a.b ) (c)",
			"U&\"!0061\" uescape '!'", "a.b", "", ""},
		{"create index concurrently if on on_.t(a)", "if", "on_.t", "", ""},
		{"drop index concurrently s.i", "s.i", "", "", ""},
		{"drop index concurrently if exists a.b, c restrict", "a.b", "", "", ""},
		{"drop index concurrently u&\"a\".u&\"x\" uescape '!', c",
			"u&\"a\".u&\"x\" uescape '!'", "", "", ""},
		{"reindex index concurrently c.s.i", "c.s.i", "", "", ""},
		{"reindex (concurrently) table \"T\"", "", "\"T\"", "", ""},
		{"reindex schema concurrently s", "", "", "", "s"},
		{"reindex database concurrently \"D\"", "", "", "", "\"D\""},
		{"reindex system concurrently", "", "", "", ""},
		{"alter table a.t detach partition b.p concurrently", "", "a.t", "b.p", ""},
		{"alter table if exists t * detach partition p concurrently", "", "t", "p", ""},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct statement s = first_of(cases[i].text);

		assert_true(statement_is_aside(&s));
		check_slice(cases[i].text, "index", s.aside.index, cases[i].index);
		check_slice(cases[i].text, "table", s.aside.table, cases[i].table);
		check_slice(cases[i].text, "partition", s.aside.partition, cases[i].partition);
		check_slice(cases[i].text, "scope", s.aside.scope, cases[i].scope);
	}
}

static void whether_an_index_calls_anything_is_seen(void **state)
{
	static const struct {
		const char *text;
		bool calls;
	} cases[] = {
		{"create index concurrently i on t (a)", false},
		{"create index concurrently on t using gin (a, b) include (c) with (fillfactor=70)",
			false},
		{"create index concurrently i on only (t) (\"where\" desc)", false},
		{"create index concurrently i on t (lower(a))", true},
		{"create index concurrently i on t using btree (a, (b + 1)) include (c)", true},
		{"create index concurrently i on t (a) where b", true},
		{"create index concurrently i on t (a gist_trgm_ops(siglen=32))", true},
		{"create index concurrently i on t (a) /* where (( */", false},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		assert_int_equal(first_of(cases[i].text).aside.calls, cases[i].calls);
}

static void options_of_a_statement_are_seen(void **state)
{
	struct statement s;

	(void)state;
	s = first_of("create unique index concurrently if not exists i on only t (a)");
	assert_true(s.aside.unique && s.aside.if_not_exists && s.aside.only && !s.aside.if_exists);
	s = first_of("create index concurrently i on t (a)");
	assert_true(!s.aside.unique && !s.aside.if_not_exists && !s.aside.only);
	s = first_of("drop index concurrently if exists a, b, c.d cascade");
	assert_true(s.aside.if_exists && s.aside.cascade);
	assert_int_equal(s.aside.n_names, 3);
	s = first_of("drop index concurrently a");
	assert_true(!s.aside.if_exists && !s.aside.cascade);
	assert_int_equal(s.aside.n_names, 1);
	s = first_of("reindex table concurrently t");
	assert_int_equal(s.aside.target, STATEMENT_TARGET_TABLE);
	s = first_of("reindex (concurrently) index i");
	assert_int_equal(s.aside.target, STATEMENT_TARGET_INDEX);
	s = first_of("reindex schema concurrently s");
	assert_int_equal(s.aside.target, STATEMENT_TARGET_SCHEMA);
	s = first_of("reindex database concurrently s");
	assert_int_equal(s.aside.target, STATEMENT_TARGET_DATABASE);
	s = first_of("reindex system concurrently s");
	assert_int_equal(s.aside.target, STATEMENT_TARGET_SYSTEM);
	s = first_of("alter table if exists only t detach partition p concurrently");
	assert_true(s.aside.if_exists && s.aside.only);
}

static void options_of_a_transaction_are_seen(void **state)
{
	struct statement s;

	(void)state;
	s = first_of("begin");
	assert_int_equal(s.control.isolation, STATEMENT_ISOLATION_UNSAID);
	assert_int_equal(s.control.access, STATEMENT_ACCESS_UNSAID);
	s = first_of("begin isolation level serializable read only");
	assert_int_equal(s.control.isolation, STATEMENT_ISOLATION_SERIALIZABLE);
	assert_int_equal(s.control.access, STATEMENT_ACCESS_READ_ONLY);
	s = first_of("start transaction read write, isolation level repeatable read");
	assert_int_equal(s.control.isolation, STATEMENT_ISOLATION_REPEATABLE_READ);
	assert_int_equal(s.control.access, STATEMENT_ACCESS_READ_WRITE);
	s = first_of("begin isolation level read uncommitted");
	assert_int_equal(s.control.isolation, STATEMENT_ISOLATION_READ_COMMITTED);
	s = first_of("begin read only, read write, isolation level serializable, isolation level "
		     "read committed");
	assert_int_equal(s.control.isolation, STATEMENT_ISOLATION_READ_COMMITTED);
	assert_int_equal(s.control.access, STATEMENT_ACCESS_READ_WRITE);
	assert_true(first_of("commit and chain").control.chain);
	assert_false(first_of("commit and no chain").control.chain);
	assert_true(first_of("rollback and chain").control.chain);
	assert_true(slice_is(first_of("savepoint \"S 1\"").control.savepoint, "\"S 1\""));
	assert_true(slice_is(first_of("release savepoint a").control.savepoint, "a"));
	assert_true(slice_is(first_of("rollback to savepoint").control.savepoint, "savepoint"));
	assert_true(statement_is_control(&(struct statement){.kind = STATEMENT_ROLLBACK_PREPARED}));
	assert_false(statement_is_control(&(struct statement){.kind = STATEMENT_REINDEX}));
}

static void details_of_other_statements_are_zero(void **state)
{
	static const char *const texts[] = {"create unique index concurrently s.i on t (a)",
		"drop index concurrently if exists a b", "reindex (concurrently) table t x",
		"begin isolation level serializable x", "savepoint a b", "commit and chain x"};
	static const struct statement_aside no_aside;
	static const struct statement_control no_control;

	(void)state;
	for (size_t i = 0; i < LENGTH(texts); i++) {
		struct statement s = first_of(texts[i]);

		assert_int_equal(s.kind, STATEMENT_OTHER);
		assert_memory_equal(&s.aside, &no_aside, sizeof(no_aside));
		assert_memory_equal(&s.control, &no_control, sizeof(no_control));
	}
}

static void the_plain_text_is_as_long_as_before(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"create index concurrently i on t (a)", "create index              i on t (a)"},
		{"drop index CONCURRENTLY\ni", "drop index             \ni"},
		{"reindex table concurrently t", "reindex table              t"},
		{"reindex (concurrently) table t", "reindex                table t"},
		{"reindex ( concurrently on ) table t", "reindex                     table t"},
		{"reindex (concurrently, verbose) table t",
			"reindex (              verbose) table t"},
		{"reindex (verbose, concurrently 1) table t",
			"reindex (verbose                ) table t"},
		{"reindex (verbose,concurrently,tablespace x) table t",
			"reindex (verbose             ,tablespace x) table t"},
		{"reindex (concurrently off) table concurrently t",
			"reindex                    table              t"},
		{"reindex (verbose /* \xc3\xa9 */, /* \xc3\xa9 */ concurrently -- \xc3\xa9\n) "
		 "table t",
			"reindex (verbose /* \xc3\xa9 */  /* \xc3\xa9 */              -- "
			"\xc3\xa9\n) table t"},
		{"alter table t detach partition p concurrently",
			"alter table t detach partition p             "},
	};
	struct bytes out;

	(void)state;
	bytes_init(&out, 1000);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct statement s = first_of(cases[i].text);

		bytes_clear(&out);
		statement_write_plain(&out, &s);
		check_slice(cases[i].text, "plain text", bytes_view(&out), cases[i].want);
		s = (struct statement){.kind = STATEMENT_EMPTY};
		if (statement_first(bytes_view(&out), utf8, &s))
			assert_int_equal(s.kind, STATEMENT_OTHER);
	}
	bytes_release(&out);
}

static void a_statement_moves_with_a_copy_of_its_text(void **state)
{
	static const char *const texts[] = {
		"; create unique index concurrently if not exists i on only s.t (a)",
		"reindex (verbose, concurrently on) table s.t",
		"alter table s.t detach partition p concurrently",
		"reindex database concurrently d",
		"rollback to savepoint s",
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(texts); i++) {
		char *copy = strdup(texts[i]);
		struct statement moved = first_of(texts[i]), wanted = first_of(copy);

		statement_move(&moved, (const uint8_t *)texts[i], (const uint8_t *)copy);
		assert_memory_equal(&moved, &wanted, sizeof(moved));
		free(copy);
	}
}

static void command_tags_are_those_of_postgresql(void **state)
{
	struct statement s = {.kind = STATEMENT_CREATE_INDEX};

	(void)state;
	assert_string_equal(statement_command_tag(&s), "CREATE INDEX");
	s.kind = STATEMENT_DROP_INDEX;
	assert_string_equal(statement_command_tag(&s), "DROP INDEX");
	s.kind = STATEMENT_REINDEX;
	assert_string_equal(statement_command_tag(&s), "REINDEX");
	s.kind = STATEMENT_DETACH_PARTITION;
	assert_string_equal(statement_command_tag(&s), "ALTER TABLE");
	s.kind = STATEMENT_COMMIT;
	assert_null(statement_command_tag(&s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aside_statements_are_recognised),
		cmocka_unit_test(their_neighbours_are_not),
		cmocka_unit_test(transaction_control_is_recognised),
		cmocka_unit_test(names_are_found),
		cmocka_unit_test(whether_an_index_calls_anything_is_seen),
		cmocka_unit_test(options_of_a_statement_are_seen),
		cmocka_unit_test(options_of_a_transaction_are_seen),
		cmocka_unit_test(details_of_other_statements_are_zero),
		cmocka_unit_test(the_plain_text_is_as_long_as_before),
		cmocka_unit_test(a_statement_moves_with_a_copy_of_its_text),
		cmocka_unit_test(command_tags_are_those_of_postgresql),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
