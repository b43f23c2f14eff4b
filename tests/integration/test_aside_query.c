/*
 * Aside statements among others: several statements in one Query, with and without transaction
 * control of their own, and pipelines outside of a transaction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "talk.h"

/* psql -c, a file sent whole: PostgreSQL makes one transaction of it. */
static void a_file_without_begin(struct talk *t)
{
	query(t, with(t, "CREATE TABLE u (id int); CREATE INDEX",
			 "i ON t (id); INSERT INTO t VALUES (1);"));
	query(t, with(t, "\n-- the end\nDROP INDEX", "i;\n"));
}

static void two_indexes_among_others(struct talk *t)
{
	query(t, with(t, "INSERT INTO t VALUES (1); CREATE INDEX",
			 "i ON t (id); CREATE INDEX j ON t (v); SELECT 1, 'x'"));
}

static void on_a_table_made_in_the_same_query(struct talk *t)
{
	query(t, with(t, "CREATE TABLE u (id int); CREATE INDEX",
			 "u_id ON u (id); INSERT INTO u VALUES (1); SELECT * FROM u"));
}

static void on_a_column_made_in_the_same_query(struct talk *t)
{
	query(t, with(t, "ALTER TABLE t ADD w int; CREATE INDEX",
			 "i ON t (w); UPDATE t SET w = id"));
}

static void an_error_before_it(struct talk *t)
{
	query(t, with(t, "CREATE TABLE u (id int); SELECT 1/0; CREATE INDEX", "i ON t (id)"));
	query(t, "SELECT to_regclass('u')");
}

static void an_error_in_it(struct talk *t)
{
	query(t, with(t, "CREATE TABLE u (id int); /* ä€ */ CREATE INDEX",
			 "i ON t (nope); INSERT INTO t VALUES (2)"));
	query(t, "SELECT to_regclass('u')");
}

static void an_error_behind_it(struct talk *t)
{
	query(t, with(t, "CREATE TABLE u (id int); CREATE INDEX",
			 "i ON t (id); SELECT 1; /* ä€ */ SELECT nope"));
	query(t, "SELECT to_regclass('u')");
}

static void a_syntax_error_behind_it(struct talk *t)
{
	query(t, with(t, "INSERT INTO t VALUES (1); CREATE INDEX", "i ON t (id); SELEC 1"));
	query(t, with(t, "INSERT INTO t VALUES (1); CREATE INDEX", "i ON t (id"));
}

static void empty_statements_around(struct talk *t)
{
	query(t, with(t, ";; ; CREATE INDEX", "i ON t (id);; ; SELECT 1;;"));
}

static void copies_around(struct talk *t)
{
	query(t, with(t, "COPY (SELECT 1) TO STDOUT; CREATE INDEX",
			 "i ON t (id); COPY (SELECT 2) TO STDOUT"));
}

static void what_they_set_stays_or_goes(struct talk *t)
{
	query(t, with(t, "SET search_path = pg_catalog; CREATE INDEX",
			 "i ON public.t (id); SET LOCAL work_mem = '1MB'"));
	query(t, "SHOW search_path; SHOW work_mem");
	query(t, with(t, "SET search_path = public; CREATE INDEX", "j ON t (id); SELECT 1/0"));
	query(t, "SHOW search_path");
}

static void a_query_of_several_is_one_transaction(void **state)
{
	static const struct shape shapes[] = {
		{"a file without BEGIN", a_file_without_begin},
		{"two indexes among others", two_indexes_among_others},
		{"on a table made in the same Query", on_a_table_made_in_the_same_query},
		{"on a column made in the same Query", on_a_column_made_in_the_same_query},
		{"an error before it", an_error_before_it},
		{"an error in it", an_error_in_it},
		{"an error behind it", an_error_behind_it},
		{"empty statements around", empty_statements_around},
		{"copies around", copies_around},
		{"what they set stays or goes", what_they_set_stays_or_goes},
	};

	(void)state;
	talk_compare(shapes, LENGTH(shapes));
}

static void begin_to_commit(struct talk *t)
{
	query(t, with(t, "BEGIN; CREATE TABLE u (id int); CREATE INDEX",
			 "i ON t (id); INSERT INTO u VALUES (1); COMMIT;"));
	query(t, with(t, "START TRANSACTION; DROP INDEX", "i; END; SELECT 1"));
}

static void begin_and_an_error(struct talk *t)
{
	query(t, with(t, "BEGIN; INSERT INTO t VALUES (1); CREATE INDEX",
			 "i ON t (nope); INSERT INTO t VALUES (2); COMMIT"));
	query(t, "SELECT 1");
	query(t, "ROLLBACK");
}

static void begin_to_rollback(struct talk *t)
{
	query(t, with(t, "BEGIN; CREATE INDEX", "i ON t (id); ROLLBACK; SELECT 1"));
}

static void altered_in_its_own_transaction(struct talk *t)
{
	query(t, with(t, "BEGIN; ALTER TABLE t ADD w int; CREATE INDEX",
			 "i ON t (w); UPDATE t SET w = 1; COMMIT; SELECT count(*) FROM t WHERE w = "
			 "1"));
}

static void in_an_open_transaction(struct talk *t)
{
	query(t, "BEGIN");
	query(t, with(t, "INSERT INTO t VALUES (1); SAVEPOINT a; CREATE INDEX",
			 "i ON t (id); RELEASE a; SELECT 1"));
	query(t, with(t, "CREATE INDEX", "j ON t (id); COMMIT; SELECT 1"));
}

static void in_a_failed_transaction(struct talk *t)
{
	query(t, "BEGIN");
	query(t, "SELECT 1/0");
	query(t, with(t, "SELECT 1; CREATE INDEX", "i ON t (id)"));
	query(t, with(t, "ROLLBACK; CREATE INDEX", "i ON t (id)"));
}

static void commit_and_then(struct talk *t)
{
	query(t, "BEGIN");
	query(t, "INSERT INTO t VALUES (1)");
	query(t, with(t, "COMMIT; CREATE INDEX", "i ON t (id)"));
}

static void begin_is_left_open(struct talk *t)
{
	query(t, with(t, "BEGIN; CREATE INDEX", "i ON t (id)"));
	query(t, "INSERT INTO t VALUES (1)");
	query(t, "COMMIT");
}

static void two_transactions(struct talk *t)
{
	query(t, with(t, "BEGIN; CREATE INDEX",
			 "i ON t (id); COMMIT; BEGIN; INSERT INTO t VALUES (1); COMMIT"));
}

static void a_query_with_transaction_control_keeps_its_own(void **state)
{
	static const struct shape shapes[] = {
		{"BEGIN to COMMIT", begin_to_commit},
		{"BEGIN and an error", begin_and_an_error},
		{"BEGIN to ROLLBACK", begin_to_rollback},
		{"altered in its own transaction", altered_in_its_own_transaction},
		{"in an open transaction", in_an_open_transaction},
		{"in a failed transaction", in_a_failed_transaction},
		{"COMMIT and then", commit_and_then},
		{"BEGIN is left open", begin_is_left_open},
		{"two transactions", two_transactions},
	};

	(void)state;
	talk_compare(shapes, LENGTH(shapes));
}

static void behind_others_in_a_pipeline(struct talk *t)
{
	parse_to_execute(t, "INSERT INTO t VALUES (1)");
	parse_to_execute(t, create(t));
	parse_to_execute(t, "INSERT INTO t VALUES (2)");
	wire_sync(t->w);
	hear(t, 1);
}

static void behind_others_with_names(struct talk *t)
{
	wire_parse(t->w, "a", "SELECT $1::text");
	wire_parse(t->w, "b", create(t));
	wire_bind_text(t->w, "", "a", "x");
	wire_execute(t->w, "", 0);
	wire_bind(t->w, "p", "b", 1);
	wire_describe(t->w, 'P', "p");
	wire_execute(t->w, "p", 0);
	wire_sync(t->w);
	hear(t, 1);
}

static void behind_an_error_in_a_pipeline(struct talk *t)
{
	parse_to_execute(t, "SELECT 1/0");
	parse_to_execute(t, create(t));
	parse_to_execute(t, "SELECT 1");
	wire_sync(t->w);
	parse_to_execute(t, "SELECT 2");
	wire_sync(t->w);
	hear(t, 2);
}

/* The first was bound again; the answer to that comes when the second has stopped the stream. */
static void two_in_a_pipeline(struct talk *t)
{
	parse_to_execute(t, create(t));
	parse_to_execute(t, with(t, "CREATE INDEX", "j ON t (id)"));
	wire_sync(t->w);
	hear(t, 1);
	parse_to_execute(t, "SELECT 1");
	wire_sync(t->w);
	hear(t, 1);
}

static void two_on_a_temporary_table(struct talk *t)
{
	query(t, "CREATE TEMPORARY TABLE x (id int)");
	parse_to_execute(t, "SELECT 1");
	parse_to_execute(t, with(t, "CREATE INDEX", "k ON x (id)"));
	parse_to_execute(t, with(t, "CREATE INDEX", "j ON t (id)"));
	parse_to_execute(t, with(t, "CREATE INDEX", "l ON x (id)"));
	wire_sync(t->w);
	hear(t, 1);
	parse_to_execute(t, "SELECT 1");
	wire_sync(t->w);
	hear(t, 1);
}

static void first_in_a_pipeline(struct talk *t)
{
	parse_to_execute(t, create(t));
	wire_sync(t->w);
	hear(t, 1);
}

static void first_and_wrong(struct talk *t)
{
	parse_to_execute(t, with(t, "CREATE INDEX ", " i ON t (id) WHERE WHERE"));
	wire_sync(t->w);
	parse_to_execute(t, with(t, "CREATE INDEX ", " i ON t (nothing)"));
	wire_sync(t->w);
	hear(t, 2);
}

static void a_portal_of_an_earlier_pipeline(struct talk *t)
{
	wire_parse(t->w, "a", create(t));
	wire_bind(t->w, "p", "a", 0);
	wire_sync(t->w);
	wire_execute(t->w, "p", 0);
	wire_sync(t->w);
	hear(t, 2);
}

static void a_query_behind_a_pipeline_without_sync(struct talk *t)
{
	wire_parse(t->w, "", "SELECT 1");
	wire_bind(t->w, "", "", 0);
	wire_query(t->w, create(t));
	wire_sync(t->w);
	hear(t, 2);
}

static void make_s1(struct talk *t)
{
	query(t,
		"CREATE SCHEMA s1; CREATE TABLE s1.t (id int, v text); CREATE TABLE s1.o (id int)");
}

static void drop_s1(struct talk *t)
{
	query(t, "SELECT (SELECT count(*) FROM s1.t), (SELECT count(*) FROM s1.o)");
	query(t, "SELECT string_agg(indexrelid::regclass || ' ON ' || indrelid::regclass, ', ' "
		 "ORDER "
		 "BY 1) FROM pg_index WHERE indrelid IN ('s1.t'::regclass, 's1.o'::regclass)");
	query(t, "DROP TABLE s1.t; DROP TABLE s1.o; DROP SCHEMA s1");
}

/* To PostgreSQL a pipeline is one transaction, so SET LOCAL holds to its Sync. */
static void behind_set_local(struct talk *t)
{
	make_s1(t);
	parse_to_execute(t, "SET LOCAL search_path = s1");
	parse_to_execute(t, "INSERT INTO t VALUES (1)");
	parse_to_execute(t, create(t));
	parse_to_execute(t, "INSERT INTO t VALUES (2)");
	parse_to_execute(t, with(t, "CREATE INDEX", "j ON o (id)"));
	parse_to_execute(t, with(t, "DROP INDEX", "i"));
	parse_to_execute(t, "SHOW search_path");
	wire_sync(t->w);
	parse_to_execute(t, "SHOW search_path");
	wire_sync(t->w);
	hear(t, 2);
	drop_s1(t);
}

static void behind_set_transaction(struct talk *t)
{
	parse_to_execute(t, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
	parse_to_execute(t, "INSERT INTO t VALUES (1)");
	parse_to_execute(t, create(t));
	parse_to_execute(t, "SHOW transaction_isolation");
	wire_sync(t->w);
	parse_to_execute(t, "SHOW transaction_isolation");
	wire_sync(t->w);
	hear(t, 2);
}

static void behind_set_config_and_flush(struct talk *t)
{
	parse_to_execute(t, "SELECT set_config('lock_timeout', '9s', true)");
	wire_flush(t->w);
	hear_until(t, "C(SELECT 1)");
	parse_to_execute(t, create(t));
	wire_flush(t->w);
	hear_until(t, "C(CREATE INDEX)");
	parse_to_execute(t, "SHOW lock_timeout");
	wire_flush(t->w);
	hear_until(t, "C(SHOW)");
	wire_sync(t->w);
	hear(t, 1);
}

static void behind_set_local_and_wrong(struct talk *t)
{
	make_s1(t);
	parse_to_execute(t, "SET LOCAL search_path = s1");
	parse_to_execute(t, with(t, "CREATE INDEX", "i ON t (nothing)"));
	parse_to_execute(t, "INSERT INTO t VALUES (2)");
	wire_sync(t->w);
	parse_to_execute(t, "SHOW search_path");
	wire_sync(t->w);
	hear(t, 2);
	drop_s1(t);
}

static void a_pipeline_outside_of_a_transaction_is_cut(void **state)
{
	static const struct shape shapes[] = {
		{"behind others", behind_others_in_a_pipeline},
		{"behind others, with names", behind_others_with_names},
		{"behind an error", behind_an_error_in_a_pipeline},
		{"behind SET LOCAL", behind_set_local},
		{"behind SET TRANSACTION", behind_set_transaction},
		{"behind set_config and Flush", behind_set_config_and_flush},
		{"behind SET LOCAL, and wrong", behind_set_local_and_wrong},
		{"two of them", two_in_a_pipeline},
		{"two on a temporary table", two_on_a_temporary_table},
		{"first", first_in_a_pipeline},
		{"first, and wrong", first_and_wrong},
		{"a portal of an earlier pipeline", a_portal_of_an_earlier_pipeline},
		{"a Query behind a pipeline without Sync", a_query_behind_a_pipeline_without_sync},
	};

	(void)state;
	talk_compare(shapes, LENGTH(shapes));
	/* With another session the server is asked for those who hold a snapshot. */
	db_connect(proxy->port, "");
	talk_compare(shapes, LENGTH(shapes));
}

/* What is in the way of the statement is committed before it, since the transaction is nobody's. */
static void what_is_in_the_way_is_committed_first(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	fresh_table();
	db_fail(conn, "23505",
		"INSERT INTO t VALUES (1); CREATE UNIQUE INDEX CONCURRENTLY i ON t "
		"(id); INSERT INTO t VALUES (2)");
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(ask("SELECT count(*) FROM t"), "1001");
	assert_string_equal(index_state("i"), "");
}

/* The server would run it without what SET LOCAL has set before it: on another table, perhaps. */
static void what_cannot_keep_set_local_is_refused(void **state)
{
	struct wire *w = wire_login(proxy->port, "-c client_min_messages=error");

	(void)state;
	wire_query(w, "CREATE TEMPORARY TABLE x (id int)");
	wire_send(w);
	wire_answers(w, 1);
	wire_parse(w, "", "SET LOCAL lock_timeout = '9s'");
	wire_bind(w, "", "", 0);
	wire_execute(w, "", 0);
	wire_parse(w, "", "CREATE INDEX CONCURRENTLY i ON x (id)");
	wire_bind(w, "", "", 0);
	wire_execute(w, "", 0);
	wire_sync(w);
	wire_query(w, "SELECT to_regclass('pg_temp.i')");
	wire_send(w);
	assert_string_equal(
		wire_answers(w, 2), "1 2 C(SET) 1 2 E(0A000) Z:I T(1) D(-) C(SELECT 1) Z:I");
}

/* PostgreSQL reads the whole text before it runs any of it. */
static void a_syntax_error_anywhere_means_that_nothing_runs(void **state)
{
	static const struct shape shapes[] = {
		{"a syntax error behind it", a_syntax_error_behind_it},
	};

	(void)state;
	talk_compare(shapes, LENGTH(shapes));
}

/* The client would send the data before it hears of anything. */
static void a_query_that_also_takes_copy_data_is_left_to_postgres(void **state)
{
	struct wire *w;

	(void)state;
	fresh_table();
	w = wire_login(proxy->port, NULL);
	wire_query(w, "SELECT 1; CREATE INDEX CONCURRENTLY i ON t (id); COPY t FROM STDIN");
	wire_message(w, 'd', "1\tx\n", 4);
	wire_message(w, 'c', "", 0);
	wire_query(w, "SELECT 2");
	wire_send(w);
	assert_string_equal(
		wire_answers(w, 2), "T(1) D(1) C(SELECT 1) E(25001) Z:I T(1) D(2) C(SELECT 1) Z:I");
}

/* PostgreSQL reads the whole text first; one by one its statements would be read as others. */
static void a_query_that_sets_how_it_is_read_is_left_to_postgres(void **state)
{
	static const struct {
		const char *sets, *value, *outcome, *row;
	} cases[] = {
		{"SET client_encoding = 'LATIN1'", "'\xc3\xa9'", "25001", ""},
		{"SET NAMES 'LATIN1'", "'\xc3\xa9'", "25001", ""},
		{"SELECT set_config('client_encoding', 'LATIN1', false)", "'\xc3\xa9'", "25001",
			""},
		{"RESET ALL", "'\xc3\xa9'", "25001", ""},
		{"SET standard_conforming_strings = off", "'a\\\\b'", "25001", ""},
		{"SET backslash_quote = off", "E'\\''", "25001", ""},
		{"SET NAMES 'LATIN1'", "'e'", "00000", "e"},
		{"SET standard_conforming_strings = off", "'\xc3\xa9'", "00000", "\xc3\xa9"},
		{"SET client_encoding TO 'utf8'", "'\xc3\xa9'", "00000", "\xc3\xa9"},
		{"SET standard_conforming_strings = on", "'a\\\\b'", "00000", "a\\\\b"},
		{"SET search_path = public", "'\xc3\xa9\\'", "00000", "\xc3\xa9\\"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		PGconn *conn = db_connect(proxy->port, "client_encoding=UTF8");

		fresh_table();
		db_send(conn,
			"%s; CREATE INDEX CONCURRENTLY i ON t (id); INSERT INTO t VALUES (0, %s)",
			cases[i].sets, cases[i].value);
		if (strcmp(db_outcome(conn), cases[i].outcome) != 0)
			fail_msg("%s, %s", cases[i].sets, cases[i].value);
		assert_string_equal(ask("SELECT v FROM t WHERE id = 0"), cases[i].row);
		db_close(conn);
	}
}

/* Whatever bytes a character has for the client. */
static void an_error_position_counts_characters(void **state)
{
	static const struct {
		const char *encoding, *sign;
	} cases[] = {{"UTF8", "\xc2\xa7"}, {"LATIN1", "\xa7"}, {"WIN1252", "\xa7"}};
	static const struct {
		const char *before, *behind;
	} texts[] = {
		{"SELECT '", "'; CREATE INDEX CONCURRENTLY i ON t (id); SELECT nope"},
		{"BEGIN; LOCK t; /* ", " */ CREATE INDEX CONCURRENTLY i ON t ((id + nope))"},
		{"BEGIN; LOCK t; CREATE INDEX CONCURRENTLY \"", "\" ON t ((id + nope))"},
	};

	(void)state;
	fresh_table();
	for (size_t i = 0; i < LENGTH(cases) * LENGTH(texts); i++) {
		const char *before = texts[i % LENGTH(texts)].before;
		const char *behind = texts[i % LENGTH(texts)].behind;
		PGconn *conn = db_connect(proxy->port, "");
		char text[256];
		PGresult *r;
		long at;

		tell("DROP INDEX IF EXISTS i");
		at = (long)(strlen(before) + 1 + (size_t)(strstr(behind, "nope") - behind)) + 1;
		PQsetClientEncoding(conn, cases[i / LENGTH(texts)].encoding);
		snprintf(text, sizeof(text), "%s%s%s", before, cases[i / LENGTH(texts)].sign,
			behind);
		r = db_query(conn, text);
		assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "42703");
		assert_int_equal(
			strtol(db_error_field(r, PG_DIAG_STATEMENT_POSITION), NULL, 10), at);
		PQclear(r);
		db_close(conn);
	}
}

/* PostgreSQL would have refused the text, so what it leaves is our doing. */
static void what_fails_outside_of_a_transaction_leaves_nothing(void **state)
{
	struct wire *w;

	(void)state;
	fresh_table();
	tell("INSERT INTO t VALUES (1)");
	w = wire_login(proxy->port, NULL);
	wire_query(w, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (id); SELECT 1");
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(23505) Z:I");
	assert_string_equal(index_state("i"), "");
	wire_parse(w, "", "SELECT 1");
	wire_bind(w, "", "", 0);
	wire_execute(w, "", 0);
	wire_parse(w, "", "CREATE UNIQUE INDEX CONCURRENTLY i ON t (id)");
	wire_bind(w, "", "", 0);
	wire_execute(w, "", 0);
	wire_sync(w);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "1 2 D(1) C(SELECT 1) 1 2 E(23505) Z:I");
	assert_string_equal(index_state("i"), "");
}

/* Outside of a transaction the server would run what it is to refuse. */
static void without_connections_nothing_runs(void **state)
{
	struct proxy *lonely = proxy_start(fixture_url(""), "--aside-upstream",
		"postgresql://127.0.0.1:1/", "--native", "guard", NULL);
	PGconn *conn = db_connect(lonely->port, "");

	(void)state;
	fresh_table();
	db_fail(conn, "08001", "CREATE INDEX CONCURRENTLY i ON t (id); SELECT 1");
	db_fail(conn, "08001", "CREATE INDEX CONCURRENTLY i ON t (id)");
	assert_int_equal(db_status(conn), 'I');
	assert_string_equal(index_state("i"), "");
	tell("INSERT INTO t VALUES (1)");
	db_fail(conn, "08001", "CREATE UNIQUE INDEX CONCURRENTLY i ON t (id); SELECT 1");
	assert_string_equal(index_state("i"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_query_of_several_is_one_transaction),
		TEST(a_query_with_transaction_control_keeps_its_own),
		TEST(a_pipeline_outside_of_a_transaction_is_cut),
		TEST(what_is_in_the_way_is_committed_first),
		TEST(an_error_position_counts_characters),
		TEST(a_query_that_also_takes_copy_data_is_left_to_postgres),
		TEST(a_query_that_sets_how_it_is_read_is_left_to_postgres),
		TEST(what_cannot_keep_set_local_is_refused),
		TEST(a_syntax_error_anywhere_means_that_nothing_runs),
		TEST(what_fails_outside_of_a_transaction_leaves_nothing),
		TEST(without_connections_nothing_runs),
	};

	return cmocka_run_group_tests(tests, talk_start, fixture_stop);
}
