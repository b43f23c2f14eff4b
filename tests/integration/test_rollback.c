/*
 * A transaction that does not commit, or a part of it: what asides have made for it goes again, and
 * what it owed is forgotten. To the client it looks as if CONCURRENTLY were no obstacle, so where
 * it can the plain statement straight to PostgreSQL says what must come of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
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
	tell("SET ROLE app; CREATE TABLE other (id int); RESET ROLE");
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

enum mode {
	PLAIN, /* straight to PostgreSQL, without CONCURRENTLY */
	NOW,
	OWED, /* the transaction is in the way of its asides */
};

static const char *const mode_names[] = {"plain", "now", "owed"};

static void append(char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void append(char *text, size_t size, const char *format, ...)
{
	size_t len = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + len, size - len, format, args);
	va_end(args);
}

/* CIC becomes CREATE INDEX, with or without the word. */
static void expand(char *out, size_t size, const char *statement, enum mode mode)
{
	const char *cic = strstr(statement, "CIC ");

	if (cic)
		snprintf(out, size, "%.*sCREATE INDEX %s%s ON t (id)", (int)(cic - statement),
			statement, mode == PLAIN ? "" : "CONCURRENTLY ", cic + 4);
	else
		snprintf(out, size, "%s", statement);
}

static const char *indexes(void)
{
	return ask("SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), '') FROM pg_class "
		   "WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace");
}

/* SQLSTATE, tag and status of each statement, and which indexes are there in the end. */
static const char *play(const char *script, enum mode mode)
{
	static char seen[3][2048];
	char copy[1024], sql[512], *rest = copy, *statement;
	char *out = seen[mode];
	PGconn *conn = db_connect(mode == PLAIN ? cluster.port : proxy->port, "");

	prepare(NULL);
	out[0] = '\0';
	snprintf(copy, sizeof(copy), "%s", script);
	db_do(conn, "BEGIN; INSERT INTO %s VALUES (1)", mode == OWED ? "t" : "other");
	while ((statement = strsep(&rest, ";"))) {
		PGresult *r;

		expand(sql, sizeof(sql), statement + strspn(statement, " "), mode);
		r = db_query(conn, sql);
		append(out, sizeof(seen[0]), "%s%s %c, ", PQcmdStatus(r),
			db_error_field(r, PG_DIAG_SQLSTATE), db_status(conn));
		PQclear(r);
	}
	db_close(conn);
	append(out, sizeof(seen[0]), "indexes: %s", indexes());
	return out;
}

static void play_all(const char *const *scripts, size_t n)
{
	int different = 0;

	for (size_t i = 0; i < n; i++) {
		const char *want = play(scripts[i], PLAIN);

		for (enum mode mode = NOW; mode <= OWED; mode++) {
			const char *got = play(scripts[i], mode);

			if (strcmp(got, want) == 0)
				continue;
			print_error("%s (%s):\n  %s\n  PostgreSQL: %s\n", scripts[i],
				mode_names[mode], got, want);
			different++;
		}
	}
	assert_int_equal(different, 0);
}

static void the_end_is_known_in_every_form(void **state)
{
	static const char *const scripts[] = {
		"CIC ix; ROLLBACK",
		"CIC ix; abort work",
		"CIC ix; /* c */ ROLLBACK TRANSACTION -- c",
		"CIC ix; ROLLBACK AND NO CHAIN",
		"CIC ix; ROLLBACK AND CHAIN; CIC iy; COMMIT",
		"CIC ix; COMMIT AND CHAIN; CIC iy; ROLLBACK",
		"CIC ix; ROLLBACK AND CHAIN; ROLLBACK",
		"CIC ix; CIC iy; ROLLBACK",
		"CIC ix; SELECT 1/0; ROLLBACK",
		"CIC ix; SELECT 1/0; COMMIT",
		"CIC ix; SELECT 1/0; COMMIT AND CHAIN; CIC ix; COMMIT",
		"CIC ix; SELECT 1/0; CIC iy; ROLLBACK",
		"CIC ix; ROLLBACK; BEGIN; CIC ix; COMMIT",
		"CIC ix; COMMIT; ROLLBACK",
		"CIC ix; CIC ix; ROLLBACK",
		"DROP TABLE other; CIC ix; ROLLBACK",
	};

	(void)state;
	play_all(scripts, LENGTH(scripts));
}

static void savepoints_are_followed(void **state)
{
	static const char *const scripts[] = {
		"SAVEPOINT a; CIC ix; ROLLBACK TO a; COMMIT",
		"CIC ix; SAVEPOINT a; CIC iy; ROLLBACK TO a; COMMIT",
		"CIC ix; SAVEPOINT a; CIC iy; ROLLBACK TO a; CIC iz; COMMIT",
		"CIC ix; SAVEPOINT a; CIC iy; RELEASE a; COMMIT",
		"CIC ix; SAVEPOINT a; CIC iy; RELEASE a; ROLLBACK",
		"CIC iw; SAVEPOINT a; SAVEPOINT b; CIC ix; RELEASE b; ROLLBACK TO a; COMMIT",
		"CIC iw; SAVEPOINT a; CIC ix; SAVEPOINT a; CIC iy; ROLLBACK TO a; COMMIT",
		"CIC iw; SAVEPOINT a; CIC ix; SAVEPOINT a; CIC iy; RELEASE a; ROLLBACK TO a; "
		"COMMIT",
		"CIC iw; SAVEPOINT a; SAVEPOINT b; SAVEPOINT c; CIC ix; ROLLBACK TO b; CIC iy; "
		"RELEASE b; COMMIT",
		"CIC iw; SAVEPOINT a; CIC ix; ROLLBACK TO a; ROLLBACK TO a; CIC iy; COMMIT",
		"CIC iw; SAVEPOINT \"A\"; CIC ix; SAVEPOINT a; CIC iy; ROLLBACK TO SAVEPOINT "
		"\"A\"; COMMIT",
		"CIC iw; SAVEPOINT A; CIC ix; rollback work to a; COMMIT",
		"CIC iw; SAVEPOINT a; CIC ix; SELECT 1/0; ROLLBACK TO a; CIC iy; COMMIT",
		"CIC iw; SAVEPOINT a; CIC ix; ROLLBACK TO nope; ROLLBACK TO a; COMMIT",
		"CIC iw; SAVEPOINT a; CIC ix; RELEASE nope; COMMIT",
		"CIC iw; SAVEPOINT a; CIC ix; RELEASE a; ROLLBACK TO a; COMMIT",
		"CIC iw; SAVEPOINT a; CIC ix; ROLLBACK TO a; ROLLBACK",
		"CIC iw; SAVEPOINT pgaside; CIC ix; ROLLBACK TO pgaside; COMMIT",
		"CIC iw; SAVEPOINT pgaside; CIC ix; RELEASE pgaside; COMMIT",
		"SAVEPOINT a; CIC ix; ROLLBACK TO a; CIC ix; COMMIT",
		"SAVEPOINT a; CIC ix; ROLLBACK TO a; CIC ix; ROLLBACK",
		"CIC iw; SAVEPOINT a; CIC ix; ROLLBACK TO a; CIC ix; ROLLBACK TO a; CIC ix; COMMIT",
		"SAVEPOINT a; CIC ix; ROLLBACK TO a; SELECT count(*) FROM t; CIC ix; COMMIT",
		"SAVEPOINT a; CIC ix; ROLLBACK TO a; INSERT INTO t VALUES (1); CIC ix; COMMIT",
		"SELECT count(*) FROM t; SAVEPOINT a; CIC ix; ROLLBACK TO a; CIC ix; ROLLBACK",
	};

	(void)state;
	play_all(scripts, LENGTH(scripts));
}

/* Those were not seen, since nobody had to look then. */
static void savepoints_older_than_the_first_aside_are_followed(void **state)
{
	static const char *const scripts[] = {
		"SAVEPOINT a; SAVEPOINT b; CIC ix; ROLLBACK TO a; COMMIT",
		"SAVEPOINT a; CIC ix; RELEASE a; COMMIT",
		"SAVEPOINT a; CIC ix; RELEASE a; ROLLBACK",
		"SAVEPOINT a; CIC ix; SAVEPOINT b; CIC iy; ROLLBACK TO b; COMMIT",
		"SAVEPOINT a; CIC ix; SAVEPOINT b; CIC iy; ROLLBACK TO b; ROLLBACK TO a; COMMIT",
		"SAVEPOINT a; CIC ix; ROLLBACK TO a; CIC iy; COMMIT",
		"SAVEPOINT a; CIC ix; ROLLBACK TO a; CIC iy; ROLLBACK TO a; COMMIT",
		("SAVEPOINT a; SAVEPOINT b; CIC ix; RELEASE b; SAVEPOINT c; CIC iy; "
		 "ROLLBACK TO c; COMMIT"),
		"SAVEPOINT a; CIC ix; SAVEPOINT b; CIC iy; RELEASE a; COMMIT",
		"SAVEPOINT a; CIC ix; SAVEPOINT a; CIC iy; RELEASE a; ROLLBACK TO a; COMMIT",
	};

	(void)state;
	play_all(scripts, LENGTH(scripts));
}

/* Somebody else may rely on it already. */
static void if_not_exists_is_kept(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON t (id)");
	db_do(conn, "CREATE INDEX CONCURRENTLY iy ON t (v)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(indexes(), "ix");
	assert_string_equal(index_state("ix"), "t");
	/* What is owed with it is not made at all. */
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY IF NOT EXISTS iz ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(indexes(), "ix");
}

static void keep_keeps(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--on-rollback", "keep", NULL);
	PGconn *conn = db_connect(p->port, "");

	(void)state;
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY iy ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(indexes(), "ix");
	assert_string_equal(index_state("ix"), "t");
}

static bool is_gone(const char *index)
{
	return index_state(index)[0] == '\0' && indexes()[0] == '\0';
}

/* DROP INDEX CONCURRENTLY waits for everybody who reads the table. */
static void the_answer_to_rollback_does_not_wait_for_ever(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--undo-timeout", "100ms", NULL);
	PGconn *conn = db_connect(p->port, "");
	PGconn *reader = db_connect(cluster.port, "");

	(void)state;
	db_do(reader, "BEGIN; SELECT count(*) FROM t");
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_int_equal(db_status(conn), 'I');
	assert_string_not_equal(indexes(), "");
	assert_true(proxy_has_logged(p, "event=undo_unfinished", NULL));
	/* The session goes on, also with an index of that name. */
	db_do(conn, "INSERT INTO other VALUES (2)");
	db_do(reader, "COMMIT");
	WAIT_FOR(is_gone("ix"));
}

static void the_answer_to_rollback_waits_for_undo(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *reader = db_connect(cluster.port, "");

	(void)state;
	db_do(reader, "BEGIN; SELECT count(*) FROM t");
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_send(conn, "ROLLBACK");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
			     "AND query LIKE 'DROP INDEX CONCURRENTLY%%'"));
	assert_false(db_has_answer(conn));
	db_do(reader, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_true(is_gone("ix"));
}

/* What a ROLLBACK TO has condemned goes after COMMIT. */
static void the_answer_to_commit_does_not_wait_for_ever(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--undo-timeout", "100ms", NULL);

	(void)state;
	for (int owes = 0; owes <= 1; owes++) {
		PGconn *conn = db_connect(p->port, ""), *reader = db_connect(cluster.port, "");

		prepare(NULL);
		db_do(reader, "BEGIN; SELECT count(*) FROM t");
		db_do(conn, "BEGIN; SAVEPOINT s");
		db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
		db_do(conn, "ROLLBACK TO s; INSERT INTO other VALUES (1), (1)");
		if (owes)
			db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY iy ON other (id)");
		db_send(conn, "COMMIT");
		assert_string_equal(db_outcome(conn), owes ? "23505" : "00000");
		assert_string_equal(ask("SELECT count(*) FROM other"), "2");
		assert_string_not_equal(indexes(), "");
		db_do(reader, "COMMIT");
		WAIT_FOR(is_gone("ix"));
	}
}

static void whoever_cancels_does_not_wait_for_undo(void **state)
{
	static const char *const ends[] = {"ROLLBACK", "COMMIT"};

	(void)state;
	for (size_t i = 0; i < LENGTH(ends); i++) {
		PGconn *conn = db_connect(proxy->port, ""), *reader = db_connect(cluster.port, "");

		db_do(reader, "BEGIN; SELECT count(*) FROM t");
		db_do(conn, "BEGIN; SAVEPOINT s");
		db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
		db_do(conn, "ROLLBACK TO s");
		db_send(conn, "%s", ends[i]);
		WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE "
				     "wait_event_type = 'Lock' AND query LIKE 'DROP INDEX%%'"));
		db_cancel(conn);
		assert_string_equal(db_outcome(conn), "00000");
		db_do(reader, "COMMIT");
		WAIT_FOR(is_gone("ix"));
	}
}

/* It is dropped as whoever made it, here a role whose rights the user does not inherit. */
static void undo_has_the_role_of_the_statement(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("CREATE ROLE boss; ALTER ROLE app NOINHERIT; GRANT boss TO app; "
	     "ALTER SCHEMA public OWNER TO postgres; GRANT ALL ON SCHEMA public TO boss; "
	     "ALTER TABLE t OWNER TO boss");
	db_do(conn, "SET ROLE boss; BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "RESET ROLE; ROLLBACK");
	assert_true(is_gone("ix"));
	/* A failure that only the transaction's end can clean up after. */
	db_do(conn, "SET ROLE boss; BEGIN; SELECT count(*) FROM t");
	tell("INSERT INTO t VALUES (1)");
	db_fail(conn, "23505", "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_true(is_gone("ix"));
	tell("ALTER ROLE app INHERIT; DROP OWNED BY boss; DROP ROLE boss");
}

/* While it waits, somebody puts another index in its place. */
static void undo_drops_no_other_index_of_the_name(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *other = db_connect(cluster.port, "");

	(void)state;
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(other, "BEGIN; DROP INDEX ix; CREATE INDEX ix ON t (v)");
	db_send(conn, "ROLLBACK");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
			     "AND application_name LIKE 'pgaside/%%'"));
	db_do(other, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(indexes(), "ix");
}

/* A text that is not read may end the transaction, and its last tag says nothing of that. */
static void a_text_that_is_not_read_ends_the_transaction(void **state)
{
	static const struct {
		const char *sql, *indexes;
	} cases[] = {
		{"COPY other FROM STDIN; COMMIT; SELECT 1", "ix iy"},
		{"COPY other FROM STDIN; COMMIT; BEGIN", "ix iy"},
		{"COPY other FROM STDIN; ROLLBACK; SELECT 1", ""},
		{"COPY other FROM STDIN; SAVEPOINT s; ROLLBACK TO s; COMMIT; SELECT 1", "ix"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct wire *w;

		prepare(NULL);
		w = wire_login(proxy->port, NULL);
		wire_query(w, "BEGIN");
		wire_query(w, "CREATE INDEX CONCURRENTLY ix ON t (id)");
		wire_query(w, "INSERT INTO t VALUES (1)");
		wire_query(w, "CREATE INDEX CONCURRENTLY iy ON t (v)");
		wire_send(w);
		wire_answers(w, 4);
		wire_query(w, cases[i].sql);
		wire_message(w, 'c', "", 0);
		wire_query(w, "SELECT 2");
		wire_send(w);
		wire_answers(w, 2);
		WAIT_FOR(strcmp(indexes(), cases[i].indexes) == 0);
		wire_close(w);
		WAIT_FOR(
			ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"));
		assert_string_equal(indexes(), cases[i].indexes);
	}
}

/* Whether what they concern is still wanted is not known: nothing is pretended. */
static void savepoints_that_are_not_read_end_in_a_refusal(void **state)
{
	static const char *const cases[] = {
		"SAVEPOINT s /* \x8c\xb3 */; SELECT 1/0; ROLLBACK TO s",
		"SAVEPOINT s; ROLLBACK TO s /* \x8c\xb3 */",
		"ROLLBACK AND CHAIN /* \x8c\xb3 */",
	};
	PGconn *conn = db_connect(proxy->port, "client_encoding=SJIS");

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		char *texts = strdup(cases[i]), *next = texts, *text;

		db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
		db_do(conn, "CREATE INDEX CONCURRENTLY now ON t (id)");
		db_do(conn, "CREATE INDEX CONCURRENTLY ix ON other (id)");
		while ((text = strsep(&next, ";")))
			PQclear(db_query(conn, text));
		db_fail(conn, "0A000", "COMMIT");
		assert_int_equal(db_status(conn), 'I');
		assert_true(is_gone("ix"));
		assert_true(is_gone("now"));
		free(texts);
	}
	db_do(conn, "BEGIN; SAVEPOINT s /* \x8c\xb3 */");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("ix"), "t");
}

/* The client hears of the end when what is owed has run, and of its failure. */
static void a_commit_that_is_not_read_is_answered_when_all_is_done(void **state)
{
	PGconn *conn = db_connect(proxy->port, "client_encoding=SJIS");

	(void)state;
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON other (id)");
	db_do(conn, "COMMIT /* \x8c\xb3 */");
	assert_string_equal(index_state("ix"), "t");
	db_do(conn, "DROP INDEX ix; BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY ix ON other (id)");
	db_fail(conn, "23505", "COMMIT /* \x8c\xb3 */");
	assert_int_equal(db_status(conn), 'I');
	assert_true(is_gone("ix"));
	assert_string_equal(db_text(conn, "SELECT count(*) FROM other"), "2");
}

/* The part of the transaction that does not want it any more has committed with the rest. */
static void what_was_cancelled_stays_so_when_the_end_is_not_read(void **state)
{
	static const char *const ends[] = {"COMMIT", "COMMIT /* \x8c\xb3 */",
		"COMMIT; SELECT 1 /* \x8c\xb3 */", "COMMIT; BEGIN /* \x8c\xb3 */"};

	(void)state;
	for (size_t i = 0; i < LENGTH(ends) * 2; i++) {
		bool alone = i >= LENGTH(ends);
		PGconn *conn = db_connect(proxy->port, "client_encoding=SJIS");

		prepare(NULL);
		db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
		db_do(conn, "CREATE INDEX CONCURRENTLY ix ON other (id)");
		if (!alone)
			db_do(conn, "CREATE INDEX CONCURRENTLY iy ON other (id)");
		db_do(conn, "SAVEPOINT s; DROP INDEX ix");
		db_do(conn, "%s", ends[i % LENGTH(ends)]);
		db_close(conn);
		WAIT_FOR(
			ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"));
		assert_string_equal(indexes(), alone ? "" : "iy");
		assert_string_equal(ask("SELECT count(*) FROM other"), "1");
	}
}

/* A block of ours that is being committed when its client goes may commit all the same. */
static void a_block_whose_client_is_lost_during_commit_is_found_out(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *holder = db_super(cluster.port);

	(void)state;
	tell("CREATE TABLE third (id int); ALTER TABLE third OWNER TO app; "
	     "CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS "
	     "'BEGIN PERFORM pg_advisory_xact_lock(9); RETURN NULL; END'; "
	     "CREATE CONSTRAINT TRIGGER c AFTER INSERT ON other DEFERRABLE INITIALLY DEFERRED "
	     "FOR EACH ROW EXECUTE FUNCTION waits()");
	db_do(holder, "SELECT pg_advisory_lock(9)");
	db_send(conn, "INSERT INTO third VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); "
		      "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY iy ON other (id)");
	WAIT_FOR(waits_in((uint32_t)PQbackendPID(conn), "advisory"));
	db_close(conn);
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
			     "'pgaside/outcome'"));
	db_do(holder, "SELECT pg_advisory_unlock(9)");
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"));
	assert_string_equal(ask("SELECT count(*) FROM other"), "1");
	assert_string_equal(indexes(), "ix");
}

static void a_lost_client_is_a_rollback(void **state)
{
	for (int i = 0; i < 3; i++) {
		PGconn *conn = db_connect(proxy->port, "");

		prepare(state);
		db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
		db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
		if (i == 1)
			db_fail(conn, "22012", "SELECT 1/0");
		if (i == 2)
			tell("SELECT pg_terminate_backend(%d)", PQbackendPID(conn));
		else
			db_close(conn);
		WAIT_FOR(is_gone("ix"));
		assert_string_equal(ask("SELECT count(*) FROM other"), "0");
	}
}

static bool builds(void)
{
	return ask_is("1", "SELECT count(*) FROM pg_stat_progress_create_index WHERE command LIKE "
			   "'%%CONCURRENTLY'");
}

/* While it is being built, and while what is owed has not run yet. */
static void a_client_lost_during_the_build_leaves_nothing(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *writer = db_connect(cluster.port, "");

	(void)state;
	db_do(writer, "BEGIN; INSERT INTO t VALUES (1, 'x')");
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_send(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	WAIT_FOR(builds());
	db_close(conn);
	WAIT_FOR(!builds());
	db_do(writer, "COMMIT");
	WAIT_FOR(is_gone("ix"));
	conn = db_connect(proxy->port, "");
	db_do(conn, "BEGIN; INSERT INTO t VALUES (1, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_close(conn);
	WAIT_FOR(ask_is("0",
		"SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND "
		"usename = 'app' AND pid <> %d",
		PQbackendPID(writer)));
	assert_true(is_gone("ix"));
}

/* It is found by what it is, not by its name. */
static void undo_finds_the_index_under_any_name(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ON t (id)");
	db_do(conn, "CREATE INDEX CONCURRENTLY \"I\"\" x\" ON t (id)");
	db_do(conn, "CREATE INDEX CONCURRENTLY iz ON t (id)");
	db_do(conn, "CREATE INDEX CONCURRENTLY iw ON t (id)");
	tell("ALTER INDEX iz RENAME TO older; CREATE TABLE third (id int); CREATE INDEX iz ON "
	     "third (id); DROP INDEX iw");
	db_do(conn, "ROLLBACK");
	assert_string_equal(indexes(), "iz");
	assert_string_equal(
		ask("SELECT indrelid::regclass FROM pg_index WHERE indexrelid = 'iz'::regclass"),
		"third");
}

/* An index that a constraint of somebody else has taken since cannot be dropped. */
static void undo_that_is_impossible_does_not_hang(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id)");
	tell("ALTER TABLE t ADD CONSTRAINT ix UNIQUE USING INDEX ix");
	db_do(conn, "ROLLBACK");
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(ask("SELECT count(*) FROM pg_constraint WHERE conname = 'ix'"), "1");
	/* Of its own, it is rolled back before. */
	fresh_table();
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "ALTER TABLE t ADD CONSTRAINT ix UNIQUE USING INDEX ix");
	db_do(conn, "ROLLBACK");
	assert_true(is_gone("ix"));
}

/* Settings of the session must not reach the undo. */
static void undo_does_not_die_of_the_sessions_timeouts(void **state)
{
	PGconn *conn = db_connect(proxy->port, "options='-c lock_timeout=50 -c "
					       "statement_timeout=20s'");
	PGconn *reader = db_connect(cluster.port, "");

	(void)state;
	db_do(reader, "BEGIN; SELECT count(*) FROM t");
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_send(conn, "ROLLBACK");
	for (struct patience p = patience_of(300); patience_left(&p);)
		assert_false(db_has_answer(conn));
	db_do(reader, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_true(is_gone("ix"));
}

/* Whatever happens to the connection that undoes: another one goes on. */
static void undo_survives_the_loss_of_its_connection(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *reader = db_connect(cluster.port, "");

	(void)state;
	db_do(reader, "BEGIN; SELECT count(*) FROM t");
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_send(conn, "ROLLBACK");
	for (int i = 0; i < 3; i++) {
		WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE "
				     "wait_event_type = 'Lock' AND query LIKE 'DROP INDEX%%'"));
		tell("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
		     "WHERE query LIKE 'DROP INDEX%%' AND application_name LIKE 'pgaside/%%'");
	}
	db_do(reader, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_true(is_gone("ix"));
}

/* The build of somebody else waits in the end for whoever has a snapshot. */
static void undo_is_not_in_the_way_of_other_builds(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *other = db_connect(cluster.port, "");
	PGconn *holder = hold_builds();

	(void)state;
	db_do(conn, "BEGIN; CREATE INDEX CONCURRENTLY mine ON t (id)");
	db_send(other, "CREATE INDEX CONCURRENTLY theirs ON t (slow(id))");
	WAIT_FOR(build_is_held());
	db_send(conn, "ROLLBACK");
	/* Longer than deadlock_timeout: whoever waits last is the one to die. */
	WAIT_FOR(ask_is("t",
		"SELECT clock_timestamp() - state_change > '1.5s' AND state = 'idle' "
		"FROM pg_stat_activity WHERE pid = %d",
		PQbackendPID(conn)));
	release_builds(holder);
	assert_string_equal(db_outcome(other), "00000");
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("theirs"), "t");
	assert_string_equal(index_state("mine"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_end_is_known_in_every_form),
		CASE(savepoints_are_followed),
		CASE(savepoints_older_than_the_first_aside_are_followed),
		CASE(if_not_exists_is_kept),
		CASE(keep_keeps),
		CASE(the_answer_to_rollback_does_not_wait_for_ever),
		CASE(the_answer_to_rollback_waits_for_undo),
		CASE(the_answer_to_commit_does_not_wait_for_ever),
		CASE(whoever_cancels_does_not_wait_for_undo),
		CASE(undo_has_the_role_of_the_statement),
		CASE(undo_drops_no_other_index_of_the_name),
		CASE(a_text_that_is_not_read_ends_the_transaction),
		CASE(savepoints_that_are_not_read_end_in_a_refusal),
		CASE(a_commit_that_is_not_read_is_answered_when_all_is_done),
		CASE(what_was_cancelled_stays_so_when_the_end_is_not_read),
		CASE(a_block_whose_client_is_lost_during_commit_is_found_out),
		CASE(a_lost_client_is_a_rollback),
		CASE(a_client_lost_during_the_build_leaves_nothing),
		CASE(undo_finds_the_index_under_any_name),
		CASE(undo_that_is_impossible_does_not_hang),
		CASE(undo_does_not_die_of_the_sessions_timeouts),
		CASE(undo_survives_the_loss_of_its_connection),
		CASE(undo_is_not_in_the_way_of_other_builds),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
