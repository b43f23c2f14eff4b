/*
 * REINDEX CONCURRENTLY puts another index in the place of one: what a transaction owes for it, or
 * has to undo, is about that one then, and about no other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram");
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	tell("SET ROLE app; CREATE TABLE other (id int); CREATE INDEX ix ON t (id); RESET ROLE; "
	     "CREATE FUNCTION drop_unseen(text) RETURNS void LANGUAGE plpgsql AS "
	     "'BEGIN EXECUTE ''DROP INDEX '' || $1; END'");
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static const char *indexes(void)
{
	return ask("SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), '') FROM pg_class "
		   "WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace");
}

/* One statement a Query, as a tool sends them. */
static void do_each(PGconn *conn, const char *statements)
{
	char *texts = strdup(statements), *next = texts, *text;

	while ((text = strsep(&next, ";")))
		db_do(conn, "%s", text);
	free(texts);
}

/* What the transaction says, what somebody else does then, how the transaction ends, and the
 * indexes that are left. */
struct play {
	const char *first, *others, *last, *left;
};

static void play_all(const struct play *plays, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		PGconn *conn = db_connect(proxy->port, "");

		prepare(NULL);
		do_each(conn, plays[i].first);
		if (plays[i].others) {
			PGconn *other = db_connect(cluster.port, "");

			do_each(other, plays[i].others);
			db_close(other);
		}
		do_each(conn, plays[i].last);
		if (strcmp(indexes(), plays[i].left) != 0)
			fail_msg("%s; %s; %s: left are \"%s\"", plays[i].first,
				plays[i].others ? plays[i].others : "", plays[i].last, indexes());
		db_close(conn);
	}
}

static void a_drop_finds_what_its_transaction_has_rebuilt(void **state)
{
	static const struct play plays[] = {
		{"BEGIN; INSERT INTO t VALUES (1); REINDEX INDEX CONCURRENTLY ix; "
		 "DROP INDEX CONCURRENTLY ix",
			NULL, "COMMIT", ""},
		{"BEGIN; INSERT INTO t VALUES (1); REINDEX TABLE CONCURRENTLY t; "
		 "DROP INDEX CONCURRENTLY ix",
			NULL, "COMMIT", ""},
		{"BEGIN; INSERT INTO t VALUES (1); REINDEX TABLE CONCURRENTLY t; "
		 "ALTER INDEX ix RENAME TO iy; DROP INDEX CONCURRENTLY iy",
			NULL, "COMMIT", ""},
		{"BEGIN; INSERT INTO t VALUES (1); REINDEX TABLE CONCURRENTLY t; "
		 "DROP INDEX CONCURRENTLY ix; ALTER INDEX ix RENAME TO iy",
			NULL, "COMMIT", ""},
		{"BEGIN; REINDEX INDEX CONCURRENTLY ix; DROP INDEX CONCURRENTLY ix", NULL, "COMMIT",
			""},
		{"BEGIN ISOLATION LEVEL REPEATABLE READ; REINDEX INDEX CONCURRENTLY ix; "
		 "DROP INDEX CONCURRENTLY ix",
			NULL, "COMMIT", ""},
		{"BEGIN; INSERT INTO t VALUES (1); REINDEX INDEX CONCURRENTLY ix; "
		 "DROP INDEX CONCURRENTLY ix; CREATE INDEX CONCURRENTLY ix ON t (id)",
			NULL, "COMMIT", "ix"},
		{"BEGIN; INSERT INTO t VALUES (1); REINDEX INDEX CONCURRENTLY ix; "
		 "DROP INDEX CONCURRENTLY ix",
			NULL, "ROLLBACK", "ix"},
	};

	(void)state;
	play_all(plays, LENGTH(plays));
}

static void a_drop_finds_what_somebody_else_has_rebuilt(void **state)
{
	static const struct play plays[] = {
		{"BEGIN; DROP INDEX CONCURRENTLY ix", "REINDEX INDEX CONCURRENTLY ix", "COMMIT",
			""},
		{"BEGIN; INSERT INTO other VALUES (1); DROP INDEX CONCURRENTLY ix",
			"INSERT INTO t VALUES (1); REINDEX TABLE CONCURRENTLY t; "
			"REINDEX TABLE CONCURRENTLY t",
			"COMMIT", ""},
		/* Another one of the name, and none. */
		{"BEGIN; DROP INDEX CONCURRENTLY ix",
			"DROP INDEX CONCURRENTLY ix; CREATE INDEX CONCURRENTLY ix ON t (v)",
			"COMMIT", "ix"},
		{"BEGIN; DROP INDEX CONCURRENTLY ix",
			"DROP INDEX CONCURRENTLY ix; CREATE UNIQUE INDEX ix ON t (id)", "COMMIT",
			"ix"},
		{"BEGIN; DROP INDEX CONCURRENTLY ix",
			"DROP INDEX CONCURRENTLY ix; CREATE INDEX ix ON t (id) WHERE id > 1",
			"COMMIT", "ix"},
		{"BEGIN; DROP INDEX CONCURRENTLY ix",
			"DROP INDEX CONCURRENTLY ix; CREATE INDEX ix ON other (id)", "COMMIT",
			"ix"},
		{"BEGIN; DROP INDEX CONCURRENTLY ix",
			"ALTER INDEX ix RENAME TO iy; CREATE INDEX ix ON t (id)", "COMMIT", "ix"},
		{"BEGIN; DROP INDEX CONCURRENTLY ix", "DROP INDEX ix", "COMMIT", ""},
	};

	(void)state;
	play_all(plays, LENGTH(plays));
}

/* It has dropped the index by itself, and made one that looks the same. */
static void what_its_own_transaction_puts_in_the_place_stays(void **state)
{
	static const struct play plays[] = {
		{"BEGIN; DROP INDEX CONCURRENTLY ix; SELECT drop_unseen('ix'); "
		 "CREATE INDEX ix ON t (id)",
			NULL, "COMMIT", "ix"},
		{"BEGIN; DROP INDEX CONCURRENTLY ix; SAVEPOINT a; "
		 "SELECT drop_unseen('ix'); CREATE INDEX ix ON t (id); RELEASE a",
			NULL, "COMMIT", "ix"},
		{"BEGIN; DROP INDEX CONCURRENTLY ix; SAVEPOINT a; "
		 "SELECT drop_unseen('ix'); CREATE INDEX ix ON t (id); "
		 "ROLLBACK TO a",
			NULL, "COMMIT", ""},
		{"BEGIN; SAVEPOINT a; CREATE INDEX CONCURRENTLY iy ON t (v); ROLLBACK TO a; "
		 "SELECT drop_unseen('iy'); CREATE INDEX iy ON t (v)",
			NULL, "COMMIT", "ix iy"},
	};

	(void)state;
	play_all(plays, LENGTH(plays));
}

static void undo_finds_what_was_rebuilt(void **state)
{
	static const struct play plays[] = {
		{"BEGIN; CREATE INDEX CONCURRENTLY iy ON t (v); REINDEX TABLE CONCURRENTLY t", NULL,
			"ROLLBACK", "ix"},
		{"BEGIN; CREATE INDEX CONCURRENTLY ON t (v); REINDEX TABLE CONCURRENTLY t", NULL,
			"ROLLBACK", "ix"},
		{"BEGIN; CREATE INDEX CONCURRENTLY iy ON t (lower(v) DESC) INCLUDE (id) "
		 "WITH (fillfactor = 50) WHERE v > 'a'; REINDEX INDEX CONCURRENTLY iy",
			"REINDEX INDEX CONCURRENTLY iy", "ROLLBACK", "ix"},
		{"BEGIN; SAVEPOINT a; CREATE INDEX CONCURRENTLY iy ON t (v); ROLLBACK TO a",
			"REINDEX TABLE CONCURRENTLY t", "COMMIT", "ix"},
		{"BEGIN; CREATE INDEX CONCURRENTLY iy ON t (v)",
			"DROP INDEX iy; CREATE INDEX iy ON t (id)", "ROLLBACK", "ix iy"},
		/* It is wanted again. */
		{"BEGIN; SAVEPOINT a; CREATE INDEX CONCURRENTLY iy ON t (v); ROLLBACK TO a; "
		 "CREATE INDEX CONCURRENTLY iy ON t (v)",
			"REINDEX TABLE CONCURRENTLY t", "COMMIT", "ix iy"},
		{"BEGIN; SAVEPOINT a; CREATE INDEX CONCURRENTLY iy ON t (v); ROLLBACK TO a; "
		 "CREATE INDEX CONCURRENTLY IF NOT EXISTS iy ON t (v)",
			NULL, "COMMIT", "ix iy"},
		{"BEGIN; SAVEPOINT a; CREATE INDEX CONCURRENTLY iy ON t (v); ROLLBACK TO a; "
		 "INSERT INTO t VALUES (1); CREATE INDEX CONCURRENTLY iy ON t (v)",
			NULL, "COMMIT", "ix iy"},
		{"BEGIN; CREATE INDEX CONCURRENTLY iy ON t (v)", "REINDEX TABLE CONCURRENTLY t",
			"COMMIT", "ix iy"},
	};

	(void)state;
	play_all(plays, LENGTH(plays));
}

/* The REINDEX has the lock of the table, and the undo waits for it. */
static void undo_waits_for_a_reindex(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *other = db_connect(cluster.port, "");
	PGconn *writer = db_connect(cluster.port, ""), *reader = db_connect(cluster.port, "");

	(void)state;
	for (int i = 0; i < 2; i++) {
		/* The old index is there under its name for the writer, and under none for the
		 * reader. */
		db_do(conn, "BEGIN; CREATE INDEX CONCURRENTLY iy ON t (v)");
		db_do(i ? reader : writer,
			i ? "BEGIN; SELECT count(*) FROM t" : "BEGIN; INSERT INTO t VALUES (1)");
		db_send(other, "REINDEX INDEX CONCURRENTLY iy");
		WAIT_FOR(waits_in((uint32_t)PQbackendPID(other), "virtualxid"));
		db_send(conn, "ROLLBACK");
		WAIT_FOR(ask_is("t", "SELECT count(*) > 0 FROM pg_stat_activity WHERE "
				     "application_name LIKE 'pgaside/%%' AND query LIKE 'DO %%'"));
		db_do(i ? reader : writer, "COMMIT");
		assert_string_equal(db_outcome(other), "00000");
		assert_string_equal(db_outcome(conn), "00000");
		assert_string_equal(indexes(), "ix");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_drop_finds_what_its_transaction_has_rebuilt),
		CASE(a_drop_finds_what_somebody_else_has_rebuilt),
		CASE(what_its_own_transaction_puts_in_the_place_stays),
		CASE(undo_finds_what_was_rebuilt),
		CASE(undo_waits_for_a_reindex),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
