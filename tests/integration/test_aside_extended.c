/*
 * An aside statement in every shape in which clients send it.
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

#include "talk.h"

static void simple(struct talk *t)
{
	query(t, "BEGIN");
	query(t, create(t));
	query(t, "COMMIT");
}

static void back_to_back(struct talk *t)
{
	wire_query(t->w, "BEGIN");
	wire_query(t->w, create(t));
	wire_query(t->w, "INSERT INTO t VALUES (1)");
	wire_query(t->w, "COMMIT");
	hear(t, 4);
}

static void in_one_segment(struct talk *t)
{
	query(t, "BEGIN");
	wire_parse(t->w, "", create(t));
	wire_describe(t->w, 'S', "");
	bind_and_execute(t, "", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT");
}

static void with_binary_results(struct talk *t)
{
	parse_to_execute(t, "BEGIN");
	wire_sync(t->w);
	hear(t, 1);
	wire_parse(t->w, "", create(t));
	bind_and_execute(t, "", 1);
	wire_sync(t->w);
	hear(t, 1);
	parse_to_execute(t, "COMMIT");
	wire_sync(t->w);
	hear(t, 1);
}

/* PDO, psycopg3 with prepare=True: Parse and Execute in different round trips. */
static void prepared_before(struct talk *t)
{
	query(t, "BEGIN");
	wire_parse(t->w, "pdo_stmt_1", create(t));
	wire_sync(t->w);
	hear(t, 1);
	bind_and_execute(t, "pdo_stmt_1", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "DEALLOCATE pdo_stmt_1");
	query(t, "COMMIT");
}

/* asyncpg: the answers to Parse and Describe are awaited behind a Flush. */
static void with_flush(struct talk *t)
{
	query(t, "BEGIN;");
	wire_parse(t->w, "__asyncpg_stmt_1__", create(t));
	wire_describe(t->w, 'S', "__asyncpg_stmt_1__");
	wire_flush(t->w);
	hear_until(t, "n");
	wire_bind(t->w, "", "__asyncpg_stmt_1__", 1);
	wire_execute(t->w, "", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT;");
}

static void flush_behind_execute(struct talk *t)
{
	query(t, "BEGIN");
	parse_to_execute(t, create(t));
	wire_flush(t->w);
	hear_until(t, "C(");
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT");
}

/* pgjdbc, autocommit off: BEGIN travels with the first statement, and one Sync ends both. */
static void begin_in_the_pipeline(struct talk *t)
{
	wire_parse(t->w, "S_1", "BEGIN");
	wire_bind(t->w, "", "S_1", 0);
	wire_execute(t->w, "", 0);
	parse_to_execute(t, create(t));
	wire_sync(t->w);
	hear(t, 1);
	wire_parse(t->w, "S_2", "COMMIT");
	wire_bind(t->w, "", "S_2", 0);
	wire_execute(t->w, "", 0);
	wire_sync(t->w);
	hear(t, 1);
}

static void a_whole_migration_in_one_pipeline(struct talk *t)
{
	wire_parse(t->w, "S_1", "BEGIN");
	wire_bind(t->w, "", "S_1", 0);
	wire_execute(t->w, "", 0);
	parse_to_execute(t, "CREATE TABLE u (id int)");
	parse_to_execute(t, create(t));
	parse_to_execute(t, "INSERT INTO t VALUES (1)");
	parse_to_execute(t, "COMMIT");
	wire_sync(t->w);
	hear(t, 1);
}

/* pgjdbc, autosave=always: a Query and a pipeline in one burst. */
static void savepoint_and_pipeline(struct talk *t)
{
	query(t, "BEGIN");
	wire_query(t->w, "SAVEPOINT PGJDBC_AUTOSAVE");
	parse_to_execute(t, create(t));
	wire_sync(t->w);
	wire_query(t->w, "RELEASE SAVEPOINT PGJDBC_AUTOSAVE");
	hear(t, 3);
	query(t, "COMMIT");
}

static void named_portal_with_a_row_limit(struct talk *t)
{
	query(t, "BEGIN");
	wire_parse(t->w, "s", create(t));
	wire_bind(t->w, "p", "s", 0);
	wire_describe(t->w, 'P', "p");
	wire_execute(t->w, "p", 1);
	wire_close_target(t->w, 'P', "p");
	wire_close_target(t->w, 'S', "s");
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT");
}

static void statement_closed_before_execute(struct talk *t)
{
	query(t, "BEGIN");
	wire_parse(t->w, "s", create(t));
	wire_bind(t->w, "", "s", 0);
	wire_close_target(t->w, 'S', "s");
	wire_execute(t->w, "", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT");
}

static void executed_by_another_statement_of_that_name(struct talk *t)
{
	query(t, "BEGIN");
	wire_parse(t->w, "s", create(t));
	wire_sync(t->w);
	hear(t, 1);
	query(t, "DEALLOCATE s");
	wire_parse(t->w, "s", "SELECT 1");
	bind_and_execute(t, "s", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT");
}

static void deallocated_before_bind(struct talk *t)
{
	wire_parse(t->w, "s", create(t));
	wire_sync(t->w);
	hear(t, 1);
	query(t, "DEALLOCATE ALL");
	query(t, "BEGIN");
	bind_and_execute(t, "s", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "ROLLBACK");
}

static void usual_shapes_are_answered_as_if_it_were_allowed(void **state)
{
	static const struct shape shapes[] = {
		{"simple", simple},
		{"back to back", back_to_back},
		{"in one segment", in_one_segment},
		{"with binary results", with_binary_results},
		{"prepared before", prepared_before},
		{"with Flush", with_flush},
		{"Flush behind Execute", flush_behind_execute},
		{"BEGIN in the pipeline", begin_in_the_pipeline},
		{"a whole migration in one pipeline", a_whole_migration_in_one_pipeline},
		{"savepoint and pipeline", savepoint_and_pipeline},
		{"named portal with a row limit", named_portal_with_a_row_limit},
		{"statement closed before Execute", statement_closed_before_execute},
		{"another statement of that name", executed_by_another_statement_of_that_name},
		{"deallocated before Bind", deallocated_before_bind},
	};

	(void)state;
	talk_compare(shapes, LENGTH(shapes));
}

static void executed_twice(struct talk *t)
{
	query(t, "BEGIN");
	wire_parse(t->w, "s", create(t));
	bind_and_execute(t, "s", 0);
	wire_sync(t->w);
	hear(t, 1);
	bind_and_execute(t, "s", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "SELECT 1");
	query(t, "ROLLBACK");
}

static void executed_again_in_the_next_transaction(struct talk *t)
{
	wire_parse(t->w, "s", create(t));
	wire_sync(t->w);
	hear(t, 1);
	for (int i = 0; i < 2; i++) {
		query(t, "BEGIN");
		bind_and_execute(t, "s", 0);
		wire_sync(t->w);
		hear(t, 1);
		query(t, "COMMIT");
		query(t, "DROP INDEX IF EXISTS i");
	}
}

static void if_not_exists_twice(struct talk *t)
{
	query(t, "BEGIN");
	for (int i = 0; i < 2; i++) {
		parse_to_execute(t, with(t, "CREATE INDEX", "IF NOT EXISTS i ON t (id)"));
		wire_sync(t->w);
		hear(t, 1);
	}
	query(t, "COMMIT");
}

static void an_error_skips_the_rest(struct talk *t)
{
	query(t, "BEGIN");
	parse_to_execute(t, "SELECT 1");
	parse_to_execute(t, with(t, "CREATE INDEX", "i ON t (nope)"));
	parse_to_execute(t, "SELECT 2");
	wire_sync(t->w);
	parse_to_execute(t, "SELECT 3");
	wire_sync(t->w);
	hear(t, 2);
	query(t, "ROLLBACK");
	query(t, "SELECT 4");
}

static void an_error_before_it_skips_it(struct talk *t)
{
	query(t, "BEGIN");
	parse_to_execute(t, "SELECT 1/0");
	parse_to_execute(t, create(t));
	parse_to_execute(t, "SELECT 2");
	wire_sync(t->w);
	hear(t, 1);
	parse_to_execute(t, create(t));
	wire_sync(t->w);
	hear(t, 1);
	query(t, "ROLLBACK");
}

static void an_error_behind_it_undoes_it(struct talk *t)
{
	query(t, "BEGIN");
	parse_to_execute(t, create(t));
	parse_to_execute(t, "SELECT 1/0");
	parse_to_execute(t, "SELECT 2");
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT");
}

static void a_failed_query_then_rollback_to(struct talk *t)
{
	query(t, "BEGIN");
	query(t, "SAVEPOINT a");
	query(t, with(t, "CREATE INDEX", "i ON t (nope)"));
	query(t, "SELECT 1");
	query(t, "ROLLBACK TO a");
	query(t, create(t));
	query(t, "COMMIT");
}

static void made_then_rolled_back_to_a_savepoint(struct talk *t)
{
	query(t, "BEGIN");
	query(t, "SAVEPOINT a");
	query(t, create(t));
	query(t, "ROLLBACK TO a");
	query(t, "INSERT INTO t VALUES (1)");
	query(t, "COMMIT");
}

static void in_a_failed_transaction(struct talk *t)
{
	query(t, "BEGIN");
	query(t, "SELECT 1/0");
	query(t, create(t));
	parse_to_execute(t, create(t));
	wire_sync(t->w);
	hear(t, 1);
	query(t, "ROLLBACK");
}

static void in_a_read_only_transaction(struct talk *t)
{
	query(t, "BEGIN READ ONLY");
	query(t, create(t));
	query(t, "ROLLBACK");
	query(t, "BEGIN READ ONLY");
	parse_to_execute(t, create(t));
	wire_sync(t->w);
	hear(t, 1);
	query(t, "ROLLBACK");
}

static void repetitions_and_errors_are_answered_as_if_it_were_allowed(void **state)
{
	static const struct shape shapes[] = {
		{"executed twice", executed_twice},
		{"again in the next transaction", executed_again_in_the_next_transaction},
		{"IF NOT EXISTS twice", if_not_exists_twice},
		{"an error skips the rest", an_error_skips_the_rest},
		{"an error before it skips it", an_error_before_it_skips_it},
		{"an error behind it undoes it", an_error_behind_it_undoes_it},
		{"a failed Query, then ROLLBACK TO", a_failed_query_then_rollback_to},
		{"made, then ROLLBACK TO", made_then_rolled_back_to_a_savepoint},
		{"in a failed transaction", in_a_failed_transaction},
		{"in a read-only transaction", in_a_read_only_transaction},
	};

	(void)state;
	talk_compare(shapes, LENGTH(shapes));
}

/* psycopg3: every SELECT leaves the unnamed portal open, with its snapshot. (Not on the same table:
 * without CONCURRENTLY that is in PostgreSQL's own way.) */
static void behind_an_unnamed_select(struct talk *t)
{
	query(t, "BEGIN");
	parse_to_execute(t, "SELECT count(*) FROM pg_am");
	wire_sync(t->w);
	hear(t, 1);
	query(t, create(t));
	parse_to_execute(t, "SELECT count(*) FROM pg_am");
	wire_sync(t->w);
	hear(t, 1);
	wire_parse(t->w, "s", with(t, "CREATE INDEX", "j ON t (v)"));
	wire_bind(t->w, "p", "s", 0);
	wire_execute(t->w, "p", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT");
}

static void behind_a_suspended_portal(struct talk *t)
{
	query(t, "BEGIN");
	wire_parse(t->w, "", "SELECT generate_series(1, 3)");
	wire_bind(t->w, "held", "", 0);
	wire_execute(t->w, "held", 1);
	wire_sync(t->w);
	hear(t, 1);
	query(t, create(t));
	wire_execute(t->w, "held", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT");
}

static void behind_a_cursor(struct talk *t)
{
	query(t, "BEGIN");
	query(t, "DECLARE c CURSOR FOR SELECT generate_series(1, 3)");
	query(t, "FETCH c");
	query(t, create(t));
	query(t, "FETCH c");
	query(t, "CLOSE c");
	query(t, "COMMIT");
}

static void behind_writes(struct talk *t)
{
	query(t, "BEGIN");
	query(t, "ALTER TABLE t ADD w int");
	query(t, "UPDATE t SET w = id");
	query(t, with(t, "CREATE INDEX", "i ON t (w)"));
	parse_to_execute(t, with(t, "CREATE INDEX", "j ON t (w, id)"));
	wire_sync(t->w);
	hear(t, 1);
	query(t, "INSERT INTO t VALUES (1)");
	query(t, "COMMIT");
}

static void behind_a_read_in_repeatable_read(struct talk *t)
{
	query(t, "BEGIN ISOLATION LEVEL REPEATABLE READ");
	query(t, "SELECT count(*) FROM t");
	query(t, create(t));
	query(t, "INSERT INTO t VALUES (1)");
	wire_parse(t->w, "c", "COMMIT");
	wire_bind(t->w, "", "c", 0);
	wire_execute(t->w, "", 0);
	wire_sync(t->w);
	hear(t, 1);
}

static void on_a_new_table(struct talk *t)
{
	query(t, "BEGIN");
	query(t, "CREATE TABLE u (id int, v text)");
	query(t, with(t, "CREATE INDEX", "u1 ON u (id)"));
	parse_to_execute(t, with(t, "CREATE UNIQUE INDEX", "u2 ON u (v)"));
	wire_sync(t->w);
	hear(t, 1);
	query(t, with(t, "CREATE INDEX", "u1 ON u (id)"));
	query(t, "ROLLBACK");
	query(t, "BEGIN");
	query(t, "CREATE TABLE u (id int, v text)");
	wire_parse(t->w, "s", with(t, "CREATE INDEX", "u1 ON u (id)"));
	wire_bind(t->w, "p", "s", 1);
	wire_describe(t->w, 'P', "p");
	wire_execute(t->w, "p", 0);
	wire_parse(t->w, "s2", with(t, "DROP INDEX", "u1"));
	wire_bind(t->w, "", "s2", 0);
	wire_execute(t->w, "", 0);
	wire_sync(t->w);
	hear(t, 1);
	query(t, "COMMIT");
}

static void a_rollback_forgets_everything(struct talk *t)
{
	query(t, "BEGIN");
	query(t, create(t));
	query(t, "UPDATE t SET v = 'x'");
	query(t, with(t, "CREATE INDEX", "j ON t (v)"));
	query(t, "ROLLBACK");
	query(t, "SELECT count(*) FROM t WHERE v = 'x'");
}

static void what_a_transaction_did_before_is_no_obstacle(void **state)
{
	static const struct shape shapes[] = {
		{"behind an unnamed SELECT", behind_an_unnamed_select},
		{"behind a suspended portal", behind_a_suspended_portal},
		{"behind a cursor", behind_a_cursor},
		{"behind writes", behind_writes},
		{"behind a read in REPEATABLE READ", behind_a_read_in_repeatable_read},
		{"on a new table", on_a_new_table},
		{"a ROLLBACK forgets everything", a_rollback_forgets_everything},
	};

	(void)state;
	talk_compare(shapes, LENGTH(shapes));
}

static void drop_and_reindex(struct talk *t)
{
	query(t, "CREATE INDEX i ON t (id)");
	query(t, "CREATE INDEX j ON t (v)");
	query(t, "BEGIN");
	query(t, with(t, "REINDEX INDEX", "i"));
	query(t, with(t, "REINDEX TABLE", "t"));
	parse_to_execute(t, with(t, "DROP INDEX", "i"));
	wire_sync(t->w);
	hear(t, 1);
	query(t, with(t, "DROP INDEX", "IF EXISTS nope"));
	query(t, "COMMIT");
}

static void drop_of_nothing(struct talk *t)
{
	query(t, "BEGIN");
	query(t, with(t, "DROP INDEX", "nope"));
	query(t, "ROLLBACK");
	query(t, "BEGIN");
	query(t, with(t, "REINDEX INDEX", "nope"));
	query(t, "ROLLBACK");
	query(t, "BEGIN");
	query(t, with(t, "DROP INDEX", "t"));
	query(t, "ROLLBACK");
}

static void a_drop_is_rolled_back(struct talk *t)
{
	query(t, "CREATE INDEX i ON t (id)");
	query(t, "BEGIN");
	query(t, with(t, "DROP INDEX", "i"));
	query(t, "ROLLBACK");
}

static void detach(struct talk *t)
{
	query(t, "CREATE TABLE p (id int) PARTITION BY RANGE (id)");
	query(t, "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (9)");
	query(t, "BEGIN");
	query(t, with(t, "ALTER TABLE p DETACH PARTITION p1", ""));
	query(t, "COMMIT");
	query(t, "SELECT count(*) FROM pg_inherits");
}

static void other_aside_statements_are_answered_as_if_they_were_allowed(void **state)
{
	static const struct shape shapes[] = {
		{"drop and reindex", drop_and_reindex},
		{"drop of nothing", drop_of_nothing},
		{"a drop is rolled back", a_drop_is_rolled_back},
		{"detach", detach},
	};

	(void)state;
	talk_compare(shapes, LENGTH(shapes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(usual_shapes_are_answered_as_if_it_were_allowed),
		TEST(repetitions_and_errors_are_answered_as_if_it_were_allowed),
		TEST(what_a_transaction_did_before_is_no_obstacle),
		TEST(other_aside_statements_are_answered_as_if_they_were_allowed),
	};

	return cmocka_run_group_tests(tests, talk_start, fixture_stop);
}
