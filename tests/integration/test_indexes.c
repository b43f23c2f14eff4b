/*
 * `pgaside indexes`: leftovers are told from builds, and only leftovers are repaired.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "fixture.h"

static char said[65536]; /* by the last command */

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram");
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	tell("DROP SCHEMA IF EXISTS \"we ird\" CASCADE; DROP ROLE IF EXISTS other");
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

/* The exit status of `pgaside indexes FLAGS URL`; what it says is in `said`. */
static int indexes_of(const char *url, const char *flags)
{
	char command[1024];
	size_t len;
	FILE *out;
	int status;

	snprintf(command, sizeof(command), "%s indexes %s '%s' 2>&1", proxy_program(), flags, url);
	out = popen(command, "r"); /* NOLINT: as a user would */
	assert_non_null(out);
	len = fread(said, 1, sizeof(said) - 1, out);
	said[len] = '\0';
	status = pclose(out);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static const char *url_of(const char *user)
{
	static char url[256];

	snprintf(url, sizeof(url), "postgresql://%s:%s@127.0.0.1:%d/app", user,
		strcmp(user, "postgres") == 0 ? "postgres" : "secret", cluster.port);
	return url;
}

static int indexes(const char *flags)
{
	return indexes_of(url_of("app"), flags);
}

static void must_say(const char *text)
{
	if (!strstr(said, text))
		fail_msg("not said: %s\n%s", text, said);
}

static void must_not_say(const char *text)
{
	if (strstr(said, text))
		fail_msg("said: %s\n%s", text, said);
}

/* A leftover as PostgreSQL makes them: a unique index on what is not unique. */
static void leave(PGconn *conn, const char *name, const char *table)
{
	db_fail(conn, "23505", "CREATE UNIQUE INDEX CONCURRENTLY %s ON %s ((1))", name, table);
}

static void nothing_is_wrong_with_a_sound_database(void **state)
{
	(void)state;
	tell("CREATE INDEX sound ON t (v)");
	assert_int_equal(indexes(""), 0);
	assert_string_equal(
		said, "0 INVALID: 0 leftovers, 0 being built, 0 of partitioned tables\n");
	assert_int_equal(indexes("--repair drop"), 0);
	assert_string_equal(index_state("sound"), "t");
}

static void leftovers_are_dropped(void **state)
{
	PGconn *conn = db_connect(cluster.port, "");

	(void)state;
	leave(conn, "rest", "t");
	leave(conn, "\"l\"\"e ft\"", "t");
	db_do(conn, "ALTER INDEX rest RENAME TO pgaside_drop_4711");
	db_do(conn, "CREATE INDEX sound ON t (v)");
	assert_int_equal(indexes(""), 1);
	must_say("public.\"l\"\"e ft\" on public.t, ");
	must_say("pgaside was cut off while it dropped it");
	must_say("2 INVALID: 2 leftovers, 0 being built");
	must_not_say(" old"); /* the server does not note when a transaction has committed */
	assert_int_equal(indexes_of(url_of("postgres"), ""), 1);
	must_not_say(" old");
	must_say(" written ");
	assert_int_equal(indexes("--repair=drop"), 0);
	must_say("public.pgaside_drop_4711 on public.t, ");
	must_say(": leftover, dropped");
	assert_string_equal(index_state("sound"), "t");
	assert_string_equal(ask("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
}

static void leftovers_are_built_anew(void **state)
{
	PGconn *conn = db_connect(cluster.port, "");

	(void)state;
	leave(conn, "rest", "t");
	leave(conn, "rest_ccnew", "t");
	/* Not while the reason is there: and no second leftover comes of it. */
	assert_int_equal(indexes("--repair rebuild"), 1);
	must_say("public.rest on public.t, ");
	must_say("23505: could not create unique index");
	must_say("it was to replace an index that is still there");
	must_say("1 INVALID: 1 leftover");
	assert_string_equal(ask("SELECT string_agg(relname, ' ') FROM pg_class JOIN pg_index ON "
				"indexrelid = oid WHERE NOT indisvalid"),
		"rest");
	db_do(conn, "DELETE FROM t");
	assert_int_equal(indexes("--repair rebuild"), 0);
	must_say(": leftover, rebuilt");
	assert_string_equal(index_state("rest"), "t");
}

static void what_is_being_built_is_not_touched(void **state)
{
	PGconn *holder = hold_builds();
	PGconn *conn = db_connect(cluster.port, "");
	PGconn *builder = db_connect(cluster.port, "");

	(void)state;
	leave(conn, "rest", "t");
	db_do(conn, "CREATE TABLE u (id int); INSERT INTO u VALUES (1), (1)");
	leave(conn, "elsewhere", "u");
	db_send(builder, "CREATE INDEX CONCURRENTLY built ON t (slow(id))");
	WAIT_FOR(build_is_held());
	assert_int_equal(indexes("--repair drop --lock-timeout 1"), 1);
	must_say("public.built on public.t, ");
	must_say(": building\n");
	must_say("CREATE INDEX CONCURRENTLY, building index");
	/* On the same table, but it is known what is built there; the lock is waited for in vain.
	 */
	must_say(": leftover, failed");
	must_say("55P03");
	must_say("public.elsewhere on public.u, ");
	must_say(": leftover, dropped");
	must_say("2 INVALID: 1 leftover, 1 being built");
	assert_int_equal(indexes("--repair rebuild --lock-timeout 1"), 1);
	must_say("public.rest on public.t, ");
	must_say(": leftover, not touched");
	release_builds(holder);
	assert_string_equal(db_outcome(builder), "00000");
	assert_string_equal(index_state("built"), "t");
	assert_int_equal(indexes("--repair drop"), 0);
}

/* Whose progress cannot be seen may be building any of the table's indexes. */
static void a_build_of_another_role_is_a_build(void **state)
{
	PGconn *holder = hold_builds();
	PGconn *builder = db_super(cluster.port);
	PGconn *conn = db_connect(cluster.port, "");

	(void)state;
	leave(conn, "rest", "t");
	db_send(builder, "CREATE INDEX CONCURRENTLY built ON public.t (slow(id))");
	WAIT_FOR(build_is_held());
	assert_int_equal(indexes("--repair drop"), 0);
	must_say("2 INVALID: 0 leftovers, 2 being built");
	release_builds(holder);
	assert_string_equal(db_outcome(builder), "00000");
	assert_int_equal(indexes("--repair drop"), 0);
	assert_string_equal(index_state("built"), "t");
}

/* It leaves an index for each of the table's, and one for its TOAST table. */
static void what_a_reindex_has_left_is_dropped(void **state)
{
	PGconn *holder;
	PGconn *conn = db_connect(cluster.port, "");

	(void)state;
	tell("CREATE FUNCTION public.slow(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'");
	db_do(conn, "CREATE INDEX a ON t (slow(id)); CREATE INDEX b ON t (v)");
	holder = hold_builds();
	db_send(conn, "REINDEX TABLE CONCURRENTLY t");
	WAIT_FOR(build_is_held());
	assert_int_equal(indexes(""), 0);
	must_say("REINDEX CONCURRENTLY, building index");
	must_say("being built, 0 of partitioned tables");
	must_not_say("leftover\n");
	tell("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index");
	assert_string_equal(db_outcome(conn), "57014");
	release_builds(holder);
	/* That of the TOAST table is the superuser's to drop. */
	assert_int_equal(indexes("--repair rebuild"), 1);
	must_say("public.a_ccnew on public.t, ");
	must_say(": leftover, dropped");
	must_say("on pg_toast.pg_toast_");
	must_say("42501: permission denied for schema pg_toast");
	must_say("1 INVALID: 1 leftover");
	assert_int_equal(indexes_of(url_of("postgres"), "--repair rebuild"), 0);
	must_say(": leftover, dropped");
	assert_string_equal(ask("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
	assert_string_equal(index_state("a"), "t");
}

static void indexes_of_partitioned_tables_are_left_alone(void **state)
{
	PGconn *conn = db_connect(cluster.port, "");

	(void)state;
	db_do(conn,
		"CREATE SCHEMA \"we ird\"; CREATE TABLE \"we ird\".p (id int) PARTITION BY RANGE "
		"(id);"
		"CREATE TABLE \"we ird\".p1 PARTITION OF \"we ird\".p FOR VALUES FROM (1) TO (2);"
		"CREATE INDEX whole ON ONLY \"we ird\".p (id);"
		"CREATE INDEX sound ON \"we ird\".p (id)");
	tell("SET allow_system_table_mods = on; UPDATE pg_index SET indisvalid = false WHERE "
	     "indexrelid = '\"we ird\".p1_id_idx'::regclass");
	assert_int_equal(indexes("--repair drop"), 0);
	must_say("\"we ird\".whole on \"we ird\".p, ");
	must_say(": partitioned\n");
	must_say("\"we ird\".p1_id_idx on \"we ird\".p1, ");
	must_say(": attached\n");
	must_say("2 INVALID: 0 leftovers, 0 being built, 2 of partitioned tables");
	db_do(conn, "DROP SCHEMA \"we ird\" CASCADE");
}

static void what_one_may_not_repair_is_said(void **state)
{
	PGconn *conn = db_connect(cluster.port, "");

	(void)state;
	leave(conn, "rest", "t");
	tell("CREATE ROLE other LOGIN PASSWORD 'secret'");
	assert_int_equal(indexes_of(url_of("other"), "--repair drop"), 1);
	must_say(": leftover, failed");
	must_say("42501: ");
	assert_int_equal(indexes_of(url_of("other"), "--repair rebuild"), 1);
	must_say("42501: ");
	assert_int_equal(indexes("--repair drop"), 0);
}

static void programs_get_json(void **state)
{
	PGconn *conn = db_connect(cluster.port, "");
	char flags[512];

	(void)state;
	leave(conn, "rest", "t");
	snprintf(
		flags, sizeof(flags), "--format json '%s' | python3 -m json.tool #", url_of("app"));
	assert_int_equal(indexes(flags), 0); /* of the last command of the pipe */
	must_say("\"index\": \"public.rest\"");
	must_say("\"state\": \"leftover\"");
	must_say("\"leftovers\": 1");
	assert_int_equal(indexes("--format json --repair drop"), 0);
	must_say("\"repair\": \"dropped\"");
	must_say("\"leftovers\": 0");
}

/* The locks of a build are not replayed: there each INVALID index would look like a leftover. */
static void a_standby_is_not_asked(void **state)
{
	(void)state;
	cluster_crash(&cluster);
	cluster_shell("touch '%s'", cluster_file(&cluster, "data/standby.signal"));
	cluster_restart(&cluster);
	assert_int_equal(indexes(""), 2);
	must_say("that is a standby");
	cluster_crash(&cluster);
	cluster_shell("rm '%s'", cluster_file(&cluster, "data/standby.signal"));
	cluster_restart(&cluster);
	assert_int_equal(indexes(""), 0);
}

static void what_cannot_be_asked_ends_with_2(void **state)
{
	(void)state;
	assert_int_equal(indexes_of("postgresql://app:wrong@127.0.0.1:1/app", ""), 2);
	must_say("pgaside: indexes: ");
	assert_int_equal(indexes_of("mysql://app:wrong@127.0.0.1/app", ""), 2);
	must_not_say("wrong");
	assert_int_equal(indexes("--repair nothing"), 2);
	assert_int_equal(indexes("--lock-timeout -1"), 2);
	assert_int_equal(indexes("--unknown"), 2);
	assert_int_equal(indexes("one two"), 2);
	assert_int_equal(indexes("--repair"), 2);
	assert_int_equal(indexes("--help"), 0);
	must_say("--repair drop|rebuild");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_is_wrong_with_a_sound_database),
		CASE(leftovers_are_dropped),
		CASE(leftovers_are_built_anew),
		CASE(what_is_being_built_is_not_touched),
		CASE(a_build_of_another_role_is_a_build),
		CASE(what_a_reindex_has_left_is_dropped),
		CASE(indexes_of_partitioned_tables_are_left_alone),
		CASE(what_one_may_not_repair_is_said),
		CASE(programs_get_json),
		CASE(a_standby_is_not_asked),
		CASE(what_cannot_be_asked_ends_with_2),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
