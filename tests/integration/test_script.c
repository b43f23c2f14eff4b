/*
 * A Query of several statements, with asides among them: it is answered as if CONCURRENTLY were no
 * obstacle. So the same text with that word blanked out, straight to PostgreSQL, says what the
 * client must see: results, errors and their positions, status, and what is there afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static int start(void **state)
{
	int status = fixture_start("--auth scram");

	(void)state;
	if (status == 0)
		tell("CREATE ROLE another NOINHERIT; GRANT another TO app; GRANT ALL ON SCHEMA "
		     "public TO "
		     "another");
	return status;
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	tell("SET ROLE app; CREATE TABLE other (id int PRIMARY KEY); CREATE INDEX t_old ON t (v); "
	     "CREATE TABLE later (id int REFERENCES other DEFERRABLE INITIALLY DEFERRED); "
	     "CREATE SCHEMA IF NOT EXISTS s1; DROP TABLE IF EXISTS s1.t; "
	     "CREATE TABLE s1.t (id int, v text); RESET ROLE");
	tell("CREATE TABLE theirs (id int); ALTER TABLE theirs OWNER TO another; GRANT SELECT ON "
	     "theirs TO app");
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

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

/* Blanked out, so that positions stay the same. */
static void blank(char *text)
{
	static const char word[] = "CONCURRENTLY";
	char *at;

	while ((at = strstr(text, word)))
		memset(at, ' ', strlen(word));
}

static void append_results(char *out, size_t size, PGconn *conn)
{
	PGresult *r;

	while ((r = PQgetResult(conn))) {
		if (PQresultStatus(r) == PGRES_COPY_OUT) {
			char *row;

			while (PQgetCopyData(conn, &row, 0) > 0) {
				append(out, size, "copied %s", row);
				PQfreemem(row);
			}
		}
		append(out, size, "%s", PQcmdStatus(r));
		if (PQntuples(r) == 1)
			append(out, size, "=%s", PQgetvalue(r, 0, 0));
		if (PQresultStatus(r) == PGRES_FATAL_ERROR)
			append(out, size, "%s %s at %s", db_error_field(r, PG_DIAG_SQLSTATE),
				db_error_field(r, PG_DIAG_MESSAGE_PRIMARY),
				db_error_field(r, PG_DIAG_STATEMENT_POSITION));
		append(out, size, ", ");
		PQclear(r);
	}
}

/* Everything the client sees, and what is there when it is gone. */
static const char *play(const char *before, const char *text, bool directly)
{
	static char seen[2][4096];
	char sql[2048];
	char *out = seen[directly];
	PGconn *conn = db_connect(directly ? cluster.port : proxy->port, "");

	prepare(NULL);
	out[0] = '\0';
	snprintf(sql, sizeof(sql), "%s", text);
	if (directly)
		blank(sql);
	if (before)
		db_do(conn, "%s", before);
	assert_int_equal(PQsendQuery(conn, sql), 1);
	append_results(out, sizeof(seen[0]), conn);
	append(out, sizeof(seen[0]), "status %c; ", db_status(conn));
	db_do(conn, "ROLLBACK");
	db_close(conn);
	append(out, sizeof(seen[0]), "other: %s; t: %s; indexes: %s",
		ask("SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM other"),
		ask("SELECT count(*) FROM t"),
		ask("SELECT coalesce(string_agg(d, ', ' ORDER BY d COLLATE \"C\"), '') FROM "
		    "pg_index, "
		    "pg_get_indexdef(indexrelid) d WHERE indrelid::regclass::text IN ('t', 's1.t', "
		    "'other', 'theirs')"));
	return out;
}

struct script {
	const char *before, *text;
};

static void play_all(const struct script *scripts, size_t n)
{
	int different = 0;

	for (size_t i = 0; i < n; i++) {
		const char *want = play(scripts[i].before, scripts[i].text, true);
		const char *got = play(scripts[i].before, scripts[i].text, false);

		if (strcmp(got, want) == 0)
			continue;
		print_error("%s > %s\n  %s\n  PostgreSQL: %s\n",
			scripts[i].before ? scripts[i].before : "", scripts[i].text, got, want);
		different++;
	}
	assert_int_equal(different, 0);
}

static void a_text_is_one_block(void **state)
{
	static const struct script scripts[] = {
		{NULL, "CREATE INDEX CONCURRENTLY ix ON t (id); INSERT INTO other VALUES (1)"},
		{NULL, "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); "
		       "INSERT INTO other VALUES (2)"},
		{NULL, "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id)"},
		{NULL, "CREATE INDEX CONCURRENTLY ix ON t (id);CREATE INDEX CONCURRENTLY iy ON t "
		       "(v)"},
		{NULL, "INSERT INTO other VALUES (1);CREATE INDEX CONCURRENTLY ix ON t (id);"
		       "CREATE INDEX CONCURRENTLY iy ON t (v);INSERT INTO other VALUES (2);"},
		{NULL, "; /* a */ ;SELECT 1;; CREATE INDEX CONCURRENTLY ix ON t (id) /* ; */; -- "
		       "b"},
		{NULL, "SELECT 1; DROP INDEX CONCURRENTLY t_old; SELECT 2"},
		{NULL, "SELECT 1; REINDEX INDEX CONCURRENTLY t_old; SELECT 2"},
		{NULL, "DROP INDEX CONCURRENTLY t_old; CREATE INDEX CONCURRENTLY t_old ON t (id)"},
		{NULL, "SELECT 1; DROP INDEX CONCURRENTLY t_old; CREATE INDEX CONCURRENTLY t_old "
		       "ON t (id); SELECT 2"},
		{NULL, "CREATE INDEX CONCURRENTLY ix ON t (id); DROP INDEX CONCURRENTLY ix"},
		{NULL, "ALTER TABLE t ADD n int; CREATE INDEX CONCURRENTLY ix ON t (n); UPDATE t "
		       "SET n = 1"},
		{NULL, "CREATE TABLE n (id int); CREATE INDEX CONCURRENTLY ix ON n (id); INSERT "
		       "INTO n VALUES (1)"},
		{NULL, "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id); ALTER TABLE t ADD UNIQUE "
		       "USING INDEX ix; INSERT INTO t VALUES (1) ON CONFLICT (id) DO NOTHING"},
		{NULL, "INSERT INTO t VALUES (0); CREATE INDEX CONCURRENTLY ix ON t (id); INSERT "
		       "INTO t VALUES (0); CREATE INDEX CONCURRENTLY iy ON t (v); SELECT 1"},
		{NULL, "INSERT INTO other VALUES (7); CREATE INDEX CONCURRENTLY ix ON t (id); COPY "
		       "other TO STDOUT; SELECT 1"},
		{NULL, "SET LOCAL search_path = s1; CREATE INDEX CONCURRENTLY ix ON t (id); "
		       "SHOW search_path"},
		{NULL, "SET search_path = s1; INSERT INTO t VALUES (1); CREATE INDEX CONCURRENTLY "
		       "ix ON t (id)"},
		{NULL, "INSERT INTO later VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); "
		       "INSERT INTO other VALUES (1)"},
		{"BEGIN", "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); "
			  "SELECT 1"},
		{"BEGIN; INSERT INTO t VALUES (0)", "CREATE INDEX CONCURRENTLY ix ON t (id); "
						    "SELECT 1"},
	};

	(void)state;
	play_all(scripts, LENGTH(scripts));
}

/* Up to the end of the text, also where we have to commit in front of a statement. */
static void what_is_set_locally_lasts_to_the_end(void **state)
{
	static const struct script scripts[] = {
		{NULL, "SET LOCAL search_path = s1; INSERT INTO t VALUES (1); CREATE INDEX "
		       "CONCURRENTLY ix ON t (id); INSERT INTO t VALUES (2); SHOW search_path"},
		{NULL, "SET LOCAL search_path = s1; INSERT INTO t VALUES (1); CREATE INDEX "
		       "CONCURRENTLY ix ON t (id); CREATE INDEX CONCURRENTLY iy ON t (v); INSERT "
		       "INTO "
		       "t VALUES (2); CREATE INDEX CONCURRENTLY iz ON t (v); INSERT INTO t VALUES "
		       "(3)"},
		{NULL, "SET LOCAL lock_timeout = '1s'; ALTER TABLE t ADD n int; CREATE INDEX "
		       "CONCURRENTLY ix ON t (n); SHOW lock_timeout"},
		{NULL, "SELECT set_config('search_path', 's1', true); INSERT INTO t VALUES (1); "
		       "DROP "
		       "INDEX CONCURRENTLY IF EXISTS nope; CREATE INDEX CONCURRENTLY ix ON t (id); "
		       "RESET search_path; INSERT INTO t VALUES (0); CREATE INDEX CONCURRENTLY iy "
		       "ON "
		       "t (id); SHOW search_path"},
		{NULL, "SET LOCAL search_path = s1; SET lock_timeout = '7s'; INSERT INTO t VALUES "
		       "(1); "
		       "CREATE INDEX CONCURRENTLY ix ON t (id); SET search_path = public; INSERT "
		       "INTO "
		       "t VALUES (0); CREATE INDEX CONCURRENTLY iy ON t (id); SHOW lock_timeout"},
		{NULL, "SET LOCAL ROLE another; INSERT INTO theirs VALUES (1); CREATE INDEX "
		       "CONCURRENTLY ix ON theirs (id); SELECT current_user; INSERT INTO theirs "
		       "VALUES "
		       "(2); SELECT count(*) FROM theirs"},
		{NULL, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; INSERT INTO t VALUES (1); "
		       "CREATE "
		       "INDEX CONCURRENTLY ix ON t (id); SHOW transaction_isolation"},
		{NULL, "SET LOCAL app.tenant = 'a'; SELECT set_config('app.user', 'b', true); "
		       "INSERT "
		       "INTO t VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); SELECT "
		       "current_setting('app.tenant') || current_setting('app.user')"},
		{NULL, "SET LOCAL search_path = s1; DROP INDEX CONCURRENTLY public.t_old; CREATE "
		       "INDEX "
		       "CONCURRENTLY ix ON t (id); SHOW search_path"},
		{NULL, "SET LOCAL search_path = s1; INSERT INTO t VALUES (1); SET search_path = "
		       "s1; "
		       "CREATE INDEX CONCURRENTLY ix ON t (id); INSERT INTO t VALUES (1); SHOW "
		       "search_path"},
		{"SET search_path = s1",
			"SET LOCAL search_path = public; INSERT INTO t VALUES (0); "
			"CREATE INDEX CONCURRENTLY ix ON t (id); SELECT "
			"'t'::regclass::oid = 'public.t'::regclass"},
	};
	static const char *const settings[] = {"search_path", "lock_timeout", "role",
		"transaction_isolation", "session_authorization"};

	(void)state;
	play_all(scripts, LENGTH(scripts));
	/* Nothing of it is left behind the text. */
	for (size_t i = 0; i < LENGTH(scripts); i++) {
		PGconn *conn = db_connect(proxy->port, ""), *direct = db_connect(cluster.port, "");
		char text[1024];

		prepare(NULL);
		PQclear(db_query(conn, scripts[i].text));
		prepare(NULL);
		snprintf(text, sizeof(text), "%s", scripts[i].text);
		blank(text);
		PQclear(db_query(direct, text));
		for (size_t k = 0; k < LENGTH(settings); k++)
			assert_string_equal(db_text(conn, "SHOW %s", settings[k]),
				db_text(direct, "SHOW %s", settings[k]));
		db_close(conn);
		db_close(direct);
	}
}

static void an_error_ends_the_text_and_undoes_it(void **state)
{
	static const struct script scripts[] = {
		{NULL, "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); "
		       "SELECT 1/0; SELECT 2"},
		{NULL, "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (nope); "
		       "SELECT 2"},
		{NULL, "SELECT '\303\244\303\266\303\274'; CREATE INDEX CONCURRENTLY ix ON t "
		       "(lower(nope)); SELECT 2"},
		{NULL, "SELECT '\303\244'; CREATE INDEX CONCURRENTLY ix ON t (id); SELECT "
		       "'\303\266', nope; SELECT 2"},
		{NULL, "SELECT '\360\237\230\200'; CREATE INDEX CONCURRENTLY ix ON t (id); SELEC"},
		{NULL, "INSERT INTO other VALUES (1); SELEC '\303\244'; CREATE INDEX CONCURRENTLY "
		       "ix ON t (id)"},
		{NULL, "INSERT INTO t VALUES (0); /* \303\244 */ CREATE INDEX CONCURRENTLY ix ON "
		       "t (lower(nope))"},
		{NULL, "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON nope (id)"},
		{NULL, "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY t_old ON t (id)"},
		{NULL, "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); "
		       "VACUUM t"},
		{NULL, "SELECT 1; CREATE INDEX CONCURRENTLY ix ON t (id); INSERT INTO later VALUES "
		       "(9)"},
		{NULL, "INSERT INTO later VALUES (9); CREATE INDEX CONCURRENTLY ix ON t (id);"},
		{NULL, "SELECT 0; CREATE INDEX CONCURRENTLY ix ON t (id); INSERT INTO later VALUES "
		       "(9); "
		       "SELECT 1; /* nothing */ ;"},
		{"BEGIN", "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); "
			  "SELECT 1/0"},
		{"BEGIN; INSERT INTO t VALUES (0)", "SELECT '\303\244'; CREATE INDEX CONCURRENTLY "
						    "ix ON t (lower(nope)); SELECT 1"},
	};

	(void)state;
	play_all(scripts, LENGTH(scripts));
}

static void transaction_control_inside_counts(void **state)
{
	static const struct script scripts[] = {
		{NULL, "BEGIN; CREATE INDEX CONCURRENTLY ix ON t (id); COMMIT"},
		{NULL, "BEGIN; INSERT INTO t VALUES (0); CREATE INDEX CONCURRENTLY ix ON t (id); "
		       "INSERT INTO other VALUES (1); COMMIT; SELECT 1"},
		{NULL, "BEGIN; INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t "
		       "(id); ROLLBACK; INSERT INTO other VALUES (2)"},
		{NULL, "BEGIN; INSERT INTO t VALUES (0); CREATE INDEX CONCURRENTLY ix ON t (id); "
		       "ROLLBACK; CREATE INDEX CONCURRENTLY iy ON t (id)"},
		{NULL, "BEGIN; CREATE INDEX CONCURRENTLY ix ON t (id); COMMIT; BEGIN; CREATE INDEX "
		       "CONCURRENTLY iy ON t (id); ROLLBACK"},
		{NULL, "BEGIN; INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t "
		       "(id); INSERT INTO other VALUES (1); COMMIT; SELECT 1"},
		{NULL, "BEGIN; CREATE INDEX CONCURRENTLY ix ON t (id); SAVEPOINT a; CREATE INDEX "
		       "CONCURRENTLY iy ON t (id); ROLLBACK TO a; COMMIT"},
		{NULL, "BEGIN; INSERT INTO later VALUES (9); CREATE INDEX CONCURRENTLY ix ON t "
		       "(id); COMMIT; SELECT 1"},
		{NULL, "BEGIN; SET LOCAL search_path = s1; INSERT INTO t VALUES (1); CREATE INDEX "
		       "CONCURRENTLY ix ON t (id); COMMIT"},
		{NULL, "BEGIN; CREATE INDEX CONCURRENTLY ix ON t (id)"},
		{"BEGIN", "INSERT INTO other VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); "
			  "COMMIT"},
		{"BEGIN", "INSERT INTO t VALUES (1); CREATE INDEX CONCURRENTLY ix ON t (id); "
			  "COMMIT; SELECT 1"},
		{"BEGIN; INSERT INTO t VALUES (0)",
			"CREATE INDEX CONCURRENTLY ix ON t (id); ROLLBACK; SELECT 1"},
		{"BEGIN; INSERT INTO t VALUES (0)",
			"CREATE INDEX CONCURRENTLY ix ON t (id); COMMIT AND CHAIN; SELECT 1"},
		{"BEGIN; INSERT INTO t VALUES (0); SAVEPOINT a",
			"CREATE INDEX CONCURRENTLY ix ON t (id); ROLLBACK TO a; COMMIT"},
	};

	(void)state;
	play_all(scripts, LENGTH(scripts));
}

/* One CommandComplete a statement, and one ReadyForQuery. */
static void each_statement_is_answered_once(void **state)
{
	static const struct {
		const char *text, *answer;
	} cases[] = {
		{"SELECT 1;; CREATE INDEX CONCURRENTLY ix ON t (id); /* */ ; INSERT INTO other "
		 "VALUES (1)",
			"T(1) D(1) C(SELECT 1) C(CREATE INDEX) C(INSERT 0 1) Z:I"},
		{"INSERT INTO t VALUES (1); CREATE INDEX CONCURRENTLY iy ON t (id); SELECT 1/0; "
		 "SELECT 2",
			"C(INSERT 0 1) C(CREATE INDEX) E(22012) Z:I"},
		{"BEGIN; INSERT INTO t VALUES (1); CREATE INDEX CONCURRENTLY iz ON t (id); COMMIT "
		 "AND CHAIN; SELECT 1",
			"C(BEGIN) C(INSERT 0 1) C(CREATE INDEX) C(COMMIT) T(1) D(1) C(SELECT 1) "
			"Z:T"},
		{"ROLLBACK; COPY other TO STDOUT; DROP INDEX CONCURRENTLY iz; SELECT 3",
			"C(ROLLBACK) H d(2) c C(COPY 1) C(DROP INDEX) T(1) D(3) C(SELECT 1) Z:I"},
	};
	struct wire *w = wire_login(proxy->port, "-c client_min_messages=warning");

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		wire_query(w, cases[i].text);
		wire_query(w, "SELECT 9");
		wire_send(w);
		assert_string_equal(wire_answers(w, 1), cases[i].answer);
		assert_non_null(strstr(wire_answers(w, 1), "T(1) D(9) C(SELECT 1) Z:"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_text_is_one_block),
		CASE(what_is_set_locally_lasts_to_the_end),
		CASE(an_error_ends_the_text_and_undoes_it),
		CASE(transaction_control_inside_counts),
		CASE(each_statement_is_answered_once),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
