/*
 * Asides in placements now and inline: what they leave in the catalog, and what they repair.
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

static void an_index_is_made_while_the_transaction_waits(void **state)
{
	PGconn *conn = db_connect(proxy->port, "application_name=tool");
	PGresult *r;

	(void)state;
	db_keep_notices(conn);
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE TABLE journal (v text)");
	r = db_query(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	assert_int_equal(PQresultStatus(r), PGRES_COMMAND_OK);
	assert_string_equal(PQcmdStatus(r), "CREATE INDEX");
	PQclear(r);
	assert_int_equal(db_status(conn), 'T');
	assert_string_equal(db_notices(), "00000");
	/* Others see it before COMMIT, since it is not part of the transaction. */
	assert_string_equal(index_state("i"), "t");
	assert_true(ask_is("", "SELECT to_regclass('journal')"));
	/* What it ran on is gone when the next statement is answered, or soon after. */
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE "
			     "'pgaside%%'"));
	db_do(conn, "INSERT INTO journal VALUES ('done')");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
	assert_string_equal(ask("SELECT v FROM journal"), "done");
	assert_true(proxy_has_logged(proxy, "event=aside_start", "placement=now"));
	assert_true(proxy_has_logged(proxy, "event=aside_end", "outcome=done"));
}

static char notice[256];

static void keep_text(void *arg, const PGresult *r)
{
	(void)arg;
	snprintf(notice, sizeof(notice), "%s", db_error_field(r, PG_DIAG_MESSAGE_PRIMARY));
}

/* What PostgreSQL calls it when it refuses it: all in front of "cannot run inside ..". */
static const char *name_of(const char *statement)
{
	static char name[256];
	PGconn *conn = db_connect(cluster.port, "");
	PGresult *r;

	db_do(conn, "BEGIN");
	r = db_query(conn, statement);
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "25001");
	assert_int_equal(sscanf(db_error_field(r, PG_DIAG_MESSAGE_PRIMARY), "%255[^a-z]", name), 1);
	PQclear(r);
	db_close(conn);
	return name;
}

static void a_notice_names_the_statement_as_postgresql_does(void **state)
{
	static const char *const texts[] = {
		"CREATE INDEX CONCURRENTLY i ON t (id)",
		"REINDEX TABLE CONCURRENTLY t",
		"DROP INDEX CONCURRENTLY i",
		"ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
	};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "CREATE TABLE p (id int) PARTITION BY RANGE (id)");
	db_do(conn, "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (2)");
	PQsetNoticeReceiver(conn, keep_text, NULL);
	for (size_t i = 0; i < LENGTH(texts); i++) {
		notice[0] = '\0';
		db_do(conn, "BEGIN");
		db_do(conn, "%s", texts[i]);
		db_do(conn, "COMMIT");
		if (!strstr(notice, name_of(texts[i])))
			fail_msg("%s: %s", texts[i], notice);
	}
}

static void every_way_to_write_the_statement_is_understood(void **state)
{
	static const char *const texts[] = {
		"CREATE INDEX CONCURRENTLY i ON t (id)",
		"create index concurrently i on t (id);",
		"-- migrate:up\nCREATE INDEX CONCURRENTLY i ON t (id);\n\n",
		"\nCREATE INDEX CONCURRENTLY i ON t (id)\n;",
		";; CREATE INDEX CONCURRENTLY i ON t (id) ;;",
		"/* a /* nested */ comment; with a semicolon */ "
		"CREATE/**/INDEX\tCONCURRENTLY\fi\rON "
		"t (id) -- the end",
		"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"i\" ON ONLY public.\"t\" USING "
		"btree "
		"(id DESC NULLS LAST, lower(v) text_pattern_ops) WHERE v <> ';'",
		"CREATE INDEX CONCURRENTLY \"i\" ON \"public\" . t (id) INCLUDE (v) WITH "
		"(fillfactor = "
		"70)",
		"CREATE INDEX CONCURRENTLY U&\"\\0069\" ON t (id)",
		"CREATE INDEX CONCURRENTLY I ON T ((v || $$;$$), (E'\\'' || v))",
	};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (size_t i = 0; i < LENGTH(texts); i++) {
		db_do(conn, "BEGIN");
		db_do(conn, "%s", texts[i]);
		db_do(conn, "COMMIT");
		if (strcmp(index_state("i"), "t") != 0)
			fail_msg("%s: there is no such index", texts[i]);
		db_do(conn, "DROP INDEX i");
	}
}

static void an_index_without_a_name_gets_postgres_own(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY ON t (id)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("t_id_idx"), "t");
	assert_string_equal(index_state("t_id_idx1"), "t");
}

static void if_not_exists_says_what_postgres_says(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "CREATE INDEX i ON t (id)");
	db_keep_notices(conn);
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(db_notices(), "42P07 00000");
	assert_string_equal(index_state("i"), "t");
}

static void an_index_that_if_not_exists_made_survives_a_rollback(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "t");
}

static void a_rollback_undoes_what_ran_outside_of_it(void **state)
{
	struct proxy *keeping = proxy_start(fixture_url(""), "--on-rollback", "keep", NULL);
	PGconn *conn = db_connect(proxy->port, ""), *kept = db_connect(keeping->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "");
	db_do(kept, "BEGIN");
	db_do(kept, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(kept, "ROLLBACK");
	assert_string_equal(index_state("i"), "t");
}

/* An INVALID index, as a failed build leaves it. */
static void leave_invalid(const char *name, const char *table)
{
	PGconn *direct = db_connect(cluster.port, "");

	db_do(direct, "INSERT INTO %s (id) VALUES (1), (1)", table);
	db_fail(direct, "23505", "CREATE UNIQUE INDEX CONCURRENTLY %s ON %s (id)", name, table);
	db_do(direct, "DELETE FROM %s a USING %s b WHERE a.id = b.id AND a.ctid > b.ctid", table,
		table);
	assert_string_equal(index_state(name), "f");
	db_close(direct);
}

static void an_invalid_leftover_of_the_name_is_repaired(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (int i = 0; i < 2; i++) {
		leave_invalid("i", "t");
		db_do(conn, "BEGIN");
		db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY %s i ON t (id)",
			i ? "IF NOT EXISTS" : "");
		db_do(conn, "COMMIT");
		assert_string_equal(index_state("i"), "t");
		db_do(conn, "DROP INDEX i");
	}
}

/* DROP INDEX waits for everybody who has used the table, this transaction included. */
static void a_leftover_that_the_transaction_holds_goes_with_its_end(void **state)
{
	static const char *const ends[] = {"COMMIT", "ROLLBACK"};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (int i = 0; i < 2; i++) {
		leave_invalid("i", "t");
		db_do(conn, "BEGIN");
		db_do(conn, "SELECT count(*) FROM t");
		db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (id)");
		assert_string_equal(index_state("i"), "t");
		db_do(conn, "%s", ends[i]);
		assert_string_equal(index_state("i"), i ? "" : "t");
		assert_true(ask_is("0", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"));
		db_do(conn, "DROP INDEX IF EXISTS i");
	}
}

/* The session's own timeout ends the wait for a reader; the build goes on, and so does the drop. */
static void a_leftover_that_somebody_else_holds_goes_behind(void **state)
{
	static const char *const before[] = {"", "INSERT INTO t VALUES (5000, 'x')"};
	PGconn *conn = db_connect(proxy->port, ""), *reader = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "SET lock_timeout = '300ms'");
	for (int i = 0; i < 2; i++) {
		leave_invalid("i", "t");
		db_do(reader, "BEGIN; SELECT count(*) FROM t");
		db_do(conn, "BEGIN; %s", before[i]);
		db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
		db_send(conn, "COMMIT");
		WAIT_FOR(strcmp(index_state("i"), "t") == 0);
		WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE "
				     "wait_event_type = 'Lock' AND query LIKE 'DROP INDEX%%'"));
		db_do(reader, "COMMIT");
		assert_string_equal(db_outcome(conn), "00000");
		assert_string_equal(index_state("i"), "t");
		assert_true(ask_is("0", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"));
		db_do(conn, "DROP INDEX i");
	}
}

/* Whoever was dropping it was killed. */
static void an_index_that_was_being_dropped_is_dropped(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	leave_invalid("i", "t");
	tell("DO $$ BEGIN EXECUTE format('ALTER INDEX i RENAME TO pgaside_drop_%%s', "
	     "'i'::regclass::oid); END $$");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (id)");
	db_do(conn, "COMMIT");
	assert_true(ask_is("0", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"));
	assert_string_equal(index_state("j"), "t");
}

static void repair_can_be_switched_off(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--repair-invalid", "off", NULL);
	PGconn *conn = db_connect(p->port, "");

	(void)state;
	leave_invalid("i", "t");
	db_do(conn, "BEGIN");
	db_fail(conn, "42P07", "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "f");
	db_do(conn, "DROP INDEX i");
}

static void an_invalid_index_of_another_table_is_nobodys_business(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "CREATE TABLE other (id int)");
	leave_invalid("i", "other");
	db_do(conn, "BEGIN");
	db_fail(conn, "42P07", "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "ROLLBACK");
	db_do(conn, "BEGIN");
	db_fail(conn, "42703", "CREATE INDEX CONCURRENTLY j ON other (nope)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "f");
	db_do(conn, "DROP INDEX i");
}

static void a_reindex_that_fails_leaves_the_old_index_and_nothing_else(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn,
		"CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN "
		"$1; END'");
	db_do(conn, "CREATE INDEX i ON t (f(id))");
	db_do(conn, "CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
		    "'BEGIN RETURN 1 / ($1 - 5); END'");
	db_do(conn, "BEGIN");
	db_fail(conn, "22012", "REINDEX INDEX CONCURRENTLY i");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "t");
	assert_true(ask_is("1", "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass"));
}

/* REINDEX TABLE also rebuilds the index of the table's TOAST table. What it leaves of that only a
 * superuser may drop: the owner is told of it. */
static void a_reindex_of_a_table_that_fails_leaves_nothing_that_its_owner_could_drop(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *super = db_super(proxy->port);
	PGresult *r;

	(void)state;
	db_do(conn, "CREATE INDEX i ON t (id)");
	db_do(conn,
		"CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN "
		"$1; END'");
	db_do(conn, "CREATE INDEX j ON t (f(id))");
	db_do(conn, "CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
		    "'BEGIN RETURN 1 / ($1 - 5); END'");
	db_do(conn, "BEGIN");
	r = db_query(conn, "REINDEX (CONCURRENTLY) TABLE t");
	assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "22012");
	assert_non_null(strstr(db_error_field(r, PG_DIAG_MESSAGE_HINT), "as a superuser"));
	PQclear(r);
	db_do(conn, "ROLLBACK");
	assert_true(ask_is("2", "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass"));
	assert_true(ask_is("t", "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = "
				"'t'::regclass"));
	assert_true(ask_is("1", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"));
	tell("DO 'BEGIN EXECUTE (SELECT $$DROP INDEX $$ || indexrelid::regclass FROM pg_index "
	     "WHERE NOT indisvalid); END'");
	/* A superuser may drop it, and that is done without him. */
	db_do(super, "BEGIN");
	db_fail(super, "22012", "REINDEX (CONCURRENTLY) TABLE public.t");
	db_do(super, "ROLLBACK");
	assert_true(ask_is("0", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"));
}

static void a_temporary_table_gets_its_index_in_the_transaction(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "CREATE TEMP TABLE x (id int)");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY x_id ON x (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(db_text(conn, "SELECT indisvalid FROM pg_index WHERE indexrelid = "
					  "'x_id'::regclass"),
		"t");
	assert_true(proxy_has_logged(proxy, "event=aside_inline", NULL));
}

static void a_name_means_what_it_means_in_the_transaction(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	/* A temporary table hides the other one. */
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE TEMP TABLE t (id int)");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("public.i"), "");
	db_do(conn, "DROP TABLE pg_temp.t");
	/* Another table has taken the name. */
	db_do(conn, "BEGIN");
	db_do(conn, "ALTER TABLE t RENAME TO t_old");
	db_do(conn, "CREATE TABLE t (id int)");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_true(ask_is("t", "SELECT indrelid::regclass FROM pg_index WHERE indexrelid = "
				"'i'::regclass"));
	/* There is none of that name any more. */
	db_do(conn, "BEGIN");
	db_do(conn, "DROP TABLE t");
	db_fail(conn, "42P01", "CREATE INDEX CONCURRENTLY j ON t (id)");
	db_do(conn, "ROLLBACK");
}

static void a_role_without_a_connection_left_gets_an_error(void **state)
{
	PGconn *conn;

	(void)state;
	tell("CREATE ROLE lonely LOGIN PASSWORD 'secret' CONNECTION LIMIT 1");
	tell("ALTER TABLE t OWNER TO lonely; GRANT ALL ON SCHEMA public TO lonely");
	conn = db_connect(proxy->port, "user=lonely");
	db_do(conn, "BEGIN");
	db_fail(conn, "53300", "CREATE INDEX CONCURRENTLY i ON t (id)");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "");
	tell("ALTER TABLE t OWNER TO app; DROP OWNED BY lonely");
	db_close(conn);
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'lonely'"));
	tell("DROP ROLE lonely");
}

/* The session goes on: PostgreSQL asks for a password at the log-in only. */
static void a_password_that_has_expired_meanwhile_gets_an_error(void **state)
{
	PGconn *conn;

	(void)state;
	tell("CREATE ROLE fading LOGIN PASSWORD 'secret'");
	tell("GRANT app TO fading");
	conn = db_connect(proxy->port, "user=fading");
	tell("ALTER ROLE fading VALID UNTIL '2001-01-01'");
	db_do(conn, "BEGIN");
	db_fail(conn, "28P01", "CREATE INDEX CONCURRENTLY i ON t (id)");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("i"), "");
	/* What is owed already fails before COMMIT, and with it the transaction. */
	tell("ALTER ROLE fading VALID UNTIL 'infinity'");
	db_do(conn, "BEGIN");
	db_do(conn, "INSERT INTO t VALUES (4711)");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fading'"));
	tell("ALTER ROLE fading VALID UNTIL '2001-01-01'");
	db_fail(conn, "28P01", "COMMIT");
	assert_string_equal(db_text(conn, "SELECT count(*) FROM t WHERE id = 4711"), "0");
	tell("ALTER ROLE fading VALID UNTIL 'infinity'");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
	db_close(conn);
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fading'"));
	tell("DROP OWNED BY fading; DROP ROLE fading");
}

/* The trigger speaks on the server connection, too, before the refusal does. */
static void an_event_trigger_is_heard_once(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("CREATE FUNCTION public.et() RETURNS event_trigger LANGUAGE plpgsql AS "
	     "'BEGIN RAISE WARNING USING ERRCODE = ''01ABC'', MESSAGE = tg_tag; END'");
	tell("CREATE EVENT TRIGGER et ON ddl_command_start WHEN tag IN ('CREATE INDEX') "
	     "EXECUTE FUNCTION public.et()");
	db_keep_notices(conn);
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	assert_string_equal(db_notices(), "01ABC 00000");
	db_forget_notices();
	db_fail(conn, "42703", "CREATE INDEX CONCURRENTLY j ON t (nope)");
	assert_string_equal(db_notices(), "01ABC");
	db_do(conn, "ROLLBACK");
	tell("CREATE OR REPLACE FUNCTION public.et() RETURNS event_trigger LANGUAGE plpgsql AS "
	     "'BEGIN RAISE EXCEPTION ''no''; END'");
	db_do(conn, "BEGIN");
	db_fail(conn, "P0001", "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "ROLLBACK");
	tell("DROP EVENT TRIGGER et");
}

static void a_statement_alone_outside_of_a_transaction_passes_as_it_is(void **state)
{
	PGconn *conn = db_connect(proxy->port, "application_name=alone");

	(void)state;
	db_keep_notices(conn);
	db_do(conn, "CREATE INDEX CONCURRENTLY native ON t (id)");
	db_do(conn, "REINDEX INDEX CONCURRENTLY native");
	db_do(conn, "DROP INDEX CONCURRENTLY native");
	assert_string_equal(db_notices(), "");
	assert_false(proxy_has_logged(proxy, "event=aside_start", "CONCURRENTLY native"));
	/* PostgreSQL's own failure leaves what it leaves. */
	leave_invalid("native", "t");
	db_fail(conn, "42P07", "CREATE INDEX CONCURRENTLY native ON t (id)");
	assert_string_equal(index_state("native"), "f");
	db_do(conn, "DROP INDEX native");
}

static void guard_repairs_and_cleans_up_outside_of_a_transaction(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--native", "guard", NULL);
	PGconn *conn = db_connect(p->port, "");

	(void)state;
	leave_invalid("i", "t");
	db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (id)");
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(index_state("i"), "t");
	db_do(conn, "DROP INDEX CONCURRENTLY i");
	db_do(conn, "INSERT INTO t VALUES (1)");
	db_fail(conn, "23505", "CREATE UNIQUE INDEX CONCURRENTLY i ON t (id)");
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(index_state("i"), "");
	assert_string_equal(db_text(conn, "SELECT 1"), "1");
}

static void the_switch_is_heeded_behind_many_other_options(void **state)
{
	char options[1600];
	struct wire *w;

	(void)state;
	snprintf(options, sizeof(options), "-c application_name=%01400d -c pgaside.aside=off", 0);
	w = wire_login(proxy->port, options);
	wire_query(w, "BEGIN");
	wire_query(w, "CREATE INDEX CONCURRENTLY i ON t (id)");
	wire_send(w);
	assert_string_equal(wire_answers(w, 2), "C(BEGIN) Z:T E(25001) Z:E");
}

static void switched_off_nothing_is_taken_aside(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--aside", "off", NULL);
	PGconn *off = db_connect(p->port, "");
	PGconn *session = db_connect(proxy->port, "options='-c pgaside.aside=off'");
	PGconn *conns[] = {off, session};

	(void)state;
	for (size_t i = 0; i < LENGTH(conns); i++) {
		db_do(conns[i], "BEGIN");
		db_fail(conns[i], "25001", "CREATE INDEX CONCURRENTLY i ON t (id)");
		assert_int_equal(db_status(conns[i]), 'E');
		db_do(conns[i], "ROLLBACK");
		db_fail(conns[i], "25001", "SELECT 1; CREATE INDEX CONCURRENTLY i ON t (id)");
	}
	assert_string_equal(index_state("i"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(an_index_is_made_while_the_transaction_waits),
		FRESH_TEST(a_notice_names_the_statement_as_postgresql_does),
		FRESH_TEST(every_way_to_write_the_statement_is_understood),
		FRESH_TEST(an_index_without_a_name_gets_postgres_own),
		FRESH_TEST(if_not_exists_says_what_postgres_says),
		FRESH_TEST(an_index_that_if_not_exists_made_survives_a_rollback),
		FRESH_TEST(a_rollback_undoes_what_ran_outside_of_it),
		FRESH_TEST(an_invalid_leftover_of_the_name_is_repaired),
		FRESH_TEST(a_leftover_that_the_transaction_holds_goes_with_its_end),
		FRESH_TEST(a_leftover_that_somebody_else_holds_goes_behind),
		FRESH_TEST(an_index_that_was_being_dropped_is_dropped),
		FRESH_TEST(repair_can_be_switched_off),
		FRESH_TEST(an_invalid_index_of_another_table_is_nobodys_business),
		FRESH_TEST(a_reindex_that_fails_leaves_the_old_index_and_nothing_else),
		FRESH_TEST(
			a_reindex_of_a_table_that_fails_leaves_nothing_that_its_owner_could_drop),
		FRESH_TEST(a_temporary_table_gets_its_index_in_the_transaction),
		FRESH_TEST(a_name_means_what_it_means_in_the_transaction),
		FRESH_TEST(a_role_without_a_connection_left_gets_an_error),
		FRESH_TEST(a_password_that_has_expired_meanwhile_gets_an_error),
		FRESH_TEST(an_event_trigger_is_heard_once),
		FRESH_TEST(a_statement_alone_outside_of_a_transaction_passes_as_it_is),
		FRESH_TEST(guard_repairs_and_cleans_up_outside_of_a_transaction),
		FRESH_TEST(switched_off_nothing_is_taken_aside),
		FRESH_TEST(the_switch_is_heeded_behind_many_other_options),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
