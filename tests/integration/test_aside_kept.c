/*
 * The two connections of an aside wait for the next statement of the same session: who has them,
 * as what, and when they go.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#define OURS "FROM pg_stat_activity WHERE application_name LIKE 'pgaside/%%'"
/* On a busy machine any statement may last until it is watched. */
#define ASIDE_PID \
	"SELECT string_agg(pid::text, ' ') " OURS " AND application_name <> 'pgaside/watch'"

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram");
}

static struct proxy *keeper(const char *how_long)
{
	return proxy_start(fixture_url(""), "--aside-idle-timeout", how_long, NULL);
}

static void make(PGconn *conn, const char *index)
{
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY %s ON t (v)", index);
	db_do(conn, "COMMIT");
}

/* One that lasts so long that it is watched. */
static void make_slowly(PGconn *conn, const char *index)
{
	PGconn *holder = hold_builds();

	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY %s ON t (slow(id))", index);
	WAIT_FOR(build_is_watched());
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
	db_close(holder);
}

/* The processes behind the connections. */
static const char *who_is_kept(void)
{
	static char pids[64];

	snprintf(pids, sizeof(pids), "%s",
		ask("SELECT string_agg(pid::text, ' ' ORDER BY pid) " OURS));
	assert_true(pids[0]);
	return pids;
}

static void assert_kept(const char *pids)
{
	assert_string_equal(ask("SELECT string_agg(pid::text, ' ' ORDER BY pid) " OURS), pids);
}

static void the_next_statement_has_the_connections_of_the_one_before(void **state)
{
	PGconn *conn = db_connect(keeper("10min")->port, ""), *other;
	const char *pids;

	(void)state;
	make_slowly(conn, "i");
	pids = who_is_kept();
	assert_non_null(strchr(pids, ' '));
	make(conn, "j");
	assert_kept(pids);
	/* One that fails on the way, and what is owed, from COMMIT on. */
	db_do(conn, "BEGIN");
	db_fail(conn, "42P07", "CREATE INDEX CONCURRENTLY j ON t (v)");
	db_do(conn, "ROLLBACK");
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY k ON t (v)");
	db_do(conn, "COMMIT");
	assert_kept(pids);
	/* What is undone as well. */
	db_do(conn, "BEGIN; CREATE INDEX CONCURRENTLY l ON t (v)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(ask("SELECT string_agg(i, ', ' ORDER BY i) FROM (SELECT "
				"indexrelid::regclass || ' ' || indisvalid FROM pg_index WHERE "
				"indrelid = 't'::regclass) x(i)"),
		"i true, j true, k true");
	assert_kept(pids);
	/* Nobody else has them, and they go with their session. */
	other = db_connect(proxy->port, "");
	make(other, "m");
	db_close(other);
	WAIT_FOR(ask_is("2", "SELECT count(*) " OURS));
	assert_kept(pids);
	db_close(conn);
	WAIT_FOR(ask_is("0", "SELECT count(*) " OURS));
}

/* Nothing of the statement before is left on them. */
static void each_statement_has_its_own_settings(void **state)
{
	PGconn *conn = db_connect(keeper("10min")->port, "");
	char aside[32];

	(void)state;
	tell("CREATE ROLE owner_a; CREATE ROLE owner_b; GRANT owner_a, owner_b TO app; "
	     "CREATE SCHEMA a; CREATE SCHEMA b; GRANT ALL ON SCHEMA a TO owner_a; "
	     "GRANT ALL ON SCHEMA b TO owner_b; "
	     "SET ROLE owner_a; CREATE TABLE a.u (id int); "
	     "SET ROLE owner_b; CREATE TABLE b.u (id int); RESET ROLE");
	db_do(conn, "SET ROLE owner_a; SET search_path = a");
	db_do(conn, "BEGIN; CREATE INDEX CONCURRENTLY i ON u (id)");
	db_do(conn, "COMMIT");
	snprintf(aside, sizeof(aside), "%s", ask(ASIDE_PID));
	assert_true(aside[0]);
	db_do(conn, "SET ROLE owner_b");
	db_do(conn, "BEGIN; SET LOCAL search_path = b");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON u (id)");
	db_do(conn, "COMMIT");
	db_do(conn, "SET ROLE owner_a; BEGIN");
	db_fail(conn, "42501", "CREATE INDEX CONCURRENTLY j ON b.u (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(ask(ASIDE_PID), aside);
	assert_string_equal(ask("SELECT string_agg(schemaname || '.' || indexname, ' ' ORDER BY 1) "
				"FROM pg_indexes WHERE tablename = 'u'"),
		"a.i b.i");
	db_close(conn);
	tell("DROP SCHEMA a, b CASCADE; DROP ROLE owner_a, owner_b");
}

/* The question what is in the way of one statement may be answered after that statement. */
static void an_answer_that_comes_late_is_nobodys(void **state)
{
	PGconn *conn = db_connect(keeper("10min")->port, "");
	PGconn *other = db_connect(cluster.port, "");

	(void)state;
	/* So many locks that it takes long to see what is in the way. */
	db_text(other, "SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 5000) n");
	for (int i = 0; i < 10; i++) {
		db_do(conn, "BEGIN; CREATE TABLE mine (v text)");
		db_do(conn, "CREATE INDEX CONCURRENTLY i ON mine (v)");
		db_do(conn, "CREATE INDEX CONCURRENTLY j ON t (v)");
		assert_string_equal(index_state("j"), "t");
		db_do(conn, "ROLLBACK");
		assert_string_equal(index_state("j"), "");
	}
}

static void what_the_server_has_ended_meanwhile_is_opened_anew(void **state)
{
	static const char *const victims[] = {"= 'pgaside/watch'", "<> 'pgaside/watch'", "<> ''"};
	PGconn *conn = db_connect(keeper("10min")->port, "");
	char name[8];

	(void)state;
	for (size_t i = 0; i < LENGTH(victims); i++) {
		snprintf(name, sizeof(name), "s%zu", i);
		make_slowly(conn, name);
		assert_non_null(strchr(who_is_kept(), ' '));
		tell("SELECT pg_terminate_backend(pid, 10000) " OURS " AND application_name %s",
			victims[i]);
		snprintf(name, sizeof(name), "i%zu", i);
		make(conn, name);
		assert_string_equal(index_state(name), "t");
	}
}

static void they_do_not_wait_for_long(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	make(conn, "i");
	WAIT_FOR(ask_is("0", "SELECT count(*) " OURS));
	make(conn, "j");
	assert_string_equal(index_state("j"), "t");
}

static void switched_off_they_go_with_the_answer(void **state)
{
	struct proxy *p = proxy_start(
		fixture_url(""), "--aside-idle-timeout", "0", "--log-level", "debug", NULL);
	PGconn *conn = db_connect(p->port, "");

	(void)state;
	make(conn, "i");
	make(conn, "j");
	assert_int_equal(proxy_count_logged(p, "to=kept"), 0);
	WAIT_FOR(ask_is("0", "SELECT count(*) " OURS));
}

/* Nobody waits for connections that do nothing. */
static void kept_connections_do_not_hold_up_the_end(void **state)
{
	struct proxy *p = keeper("10min");
	PGconn *conn = db_connect(p->port, "");

	(void)state;
	make(conn, "i");
	who_is_kept();
	assert_int_equal(proxy_stop(p, SIGTERM), 0);
	WAIT_FOR(ask_is("0", "SELECT count(*) " OURS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(the_next_statement_has_the_connections_of_the_one_before),
		FRESH_TEST(each_statement_has_its_own_settings),
		FRESH_TEST(an_answer_that_comes_late_is_nobodys),
		FRESH_TEST(what_the_server_has_ended_meanwhile_is_opened_anew),
		FRESH_TEST(they_do_not_wait_for_long),
		FRESH_TEST(switched_off_they_go_with_the_answer),
		FRESH_TEST(kept_connections_do_not_hold_up_the_end),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
