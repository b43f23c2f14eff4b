/*
 * The relay is invisible: each conversation is held directly with PostgreSQL, then through pgaside,
 * then through pgaside once more in single bytes, and the answers are the same.
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
	fixture_start("--auth password");
	tell("SET ROLE app; CREATE TABLE plain (id int, v text); "
	     "CREATE MATERIALIZED VIEW mv AS SELECT 1 AS id; CREATE UNIQUE INDEX mv_id ON mv (id)");
	tell("RESET ROLE");
	return 0;
}

/* What is said, and how many ReadyForQuery it is answered with (more than come: until the end). */
struct conversation {
	const char *name;
	void (*say)(struct wire *w);
	unsigned n_ready;
};

static void hold(const struct conversation *c, int port, void (*send)(struct wire *w), char *out,
	size_t size)
{
	struct wire *w = wire_login(port, NULL);

	c->say(w);
	send(w);
	snprintf(out, size, "%s", wire_answers(w, c->n_ready));
	wire_close(w);
}

static void send_whole(struct wire *w)
{
	wire_send(w);
}

static void compare(const struct conversation *conversations, size_t n)
{
	static char direct[16384], through[16384];

	for (size_t i = 0; i < n; i++) {
		const struct conversation *c = &conversations[i];

		hold(c, cluster.port, send_whole, direct, sizeof(direct));
		assert_true(direct[0] != '\0');
		hold(c, proxy->port, send_whole, through, sizeof(through));
		if (strcmp(through, direct) != 0)
			fail_msg("%s:\n%s\ndirectly:\n%s", c->name, through, direct);
		hold(c, proxy->port, wire_send_bytewise, through, sizeof(through));
		if (strcmp(through, direct) != 0)
			fail_msg("%s, bytewise:\n%s\ndirectly:\n%s", c->name, through, direct);
	}
}

/* A function that queues one Query. */
#define SAYS(name, sql)                  \
	static void name(struct wire *w) \
	{                                \
		wire_query(w, sql);      \
	}

SAYS(one_row, "SELECT 1")
SAYS(several_statements, "SELECT 1; SELECT 2, NULL; CREATE TEMP TABLE x (); SELECT")
SAYS(an_empty_query, "")
SAYS(only_semicolons, ";;")
SAYS(a_syntax_error, "SELEC 1")
SAYS(an_error_in_the_middle, "SELECT 1; SELECT 1/0; SELECT 2")
SAYS(a_notice, "DO $$ BEGIN RAISE NOTICE 'x'; RAISE WARNING 'y'; END $$")
SAYS(a_parameter_status, "SET application_name = 'x'; SET TimeZone = 'UTC'; RESET ALL")
SAYS(notifications, "LISTEN a; NOTIFY a, 'x'; SELECT pg_notify('a', 'y')")
SAYS(copy_out, "COPY (SELECT i FROM generate_series(1, 5) i) TO STDOUT")
SAYS(the_word_in_a_literal, "BEGIN; SELECT 'create index concurrently i on t (x)'; COMMIT")
SAYS(the_word_in_a_comment, "BEGIN; /* create index concurrently */ SELECT 1; COMMIT")
SAYS(an_allowed_concurrently, "BEGIN; REFRESH MATERIALIZED VIEW CONCURRENTLY mv; COMMIT")
SAYS(an_index_named_so, "BEGIN; CREATE INDEX \"concurrently\" ON plain (id); ROLLBACK")
SAYS(not_quite_the_statement, "CREATE INDEX CONCURRENTLY")
SAYS(hidden_in_a_string, "BEGIN; DO $$ BEGIN EXECUTE 'DROP INDEX CONCURRENTLY x'; END $$; COMMIT")

static void a_transaction(struct wire *w)
{
	wire_query(w, "BEGIN");
	wire_query(w, "SELECT 1/0");
	wire_query(w, "SELECT 1");
	wire_query(w, "ROLLBACK");
	wire_query(w, "START TRANSACTION");
	wire_query(w, "SAVEPOINT a");
	wire_query(w, "COMMIT");
}

static void an_allowed_concurrently_alone(struct wire *w)
{
	wire_query(w, "BEGIN");
	wire_query(w, "REFRESH MATERIALIZED VIEW CONCURRENTLY mv");
	wire_query(w, "COMMIT");
}

static void simple_conversations_are_the_same(void **state)
{
	static const struct conversation conversations[] = {
		{"one row", one_row, 1},
		{"several statements", several_statements, 1},
		{"an empty query", an_empty_query, 1},
		{"only semicolons", only_semicolons, 1},
		{"a syntax error", a_syntax_error, 1},
		{"an error in the middle", an_error_in_the_middle, 1},
		{"a notice", a_notice, 1},
		{"a parameter status", a_parameter_status, 1},
		{"notifications", notifications, 1},
		{"copy out", copy_out, 1},
		{"the word in a literal", the_word_in_a_literal, 1},
		{"the word in a comment", the_word_in_a_comment, 1},
		{"an allowed concurrently", an_allowed_concurrently, 1},
		{"an allowed concurrently, alone", an_allowed_concurrently_alone, 3},
		{"an index named so", an_index_named_so, 1},
		{"not quite the statement", not_quite_the_statement, 1},
		{"hidden in a string", hidden_in_a_string, 1},
		{"a transaction", a_transaction, 7},
	};

	(void)state;
	compare(conversations, LENGTH(conversations));
}

static void say_unnamed(struct wire *w, const char *sql, unsigned format)
{
	wire_parse(w, "", sql);
	wire_describe(w, 'S', "");
	wire_bind(w, "", "", format);
	wire_describe(w, 'P', "");
	wire_execute(w, "", 0);
}

static void unnamed(struct wire *w)
{
	say_unnamed(w, "SELECT 'text', NULL", 0);
	wire_sync(w);
}

static void binary(struct wire *w)
{
	say_unnamed(w, "SELECT 'text', NULL::int, 'more'", 1);
	wire_sync(w);
}

static void named(struct wire *w)
{
	wire_parse(w, "s", "SELECT $1::text");
	wire_sync(w);
	wire_bind_text(w, "p", "s", "value");
	wire_execute(w, "p", 0);
	wire_sync(w);
	wire_close_target(w, 'S', "s");
	wire_close_target(w, 'S', "never there");
	wire_close_target(w, 'P', "never there");
	wire_bind_text(w, "p", "s", "value");
	wire_sync(w);
}

static void row_limits(struct wire *w)
{
	wire_query(w, "BEGIN");
	wire_parse(w, "", "SELECT i FROM generate_series(1, 5) i");
	wire_bind(w, "p", "", 0);
	wire_execute(w, "p", 2);
	wire_sync(w);
	wire_execute(w, "p", 2);
	wire_flush(w);
	wire_execute(w, "p", 0);
	wire_sync(w);
	wire_query(w, "COMMIT");
}

static void pipelined_errors(struct wire *w)
{
	say_unnamed(w, "SELECT 1", 0);
	say_unnamed(w, "SELECT 1/0", 0);
	say_unnamed(w, "SELECT 2", 0);
	wire_sync(w);
	say_unnamed(w, "SELECT 3", 0);
	wire_sync(w);
	wire_parse(w, "", "not SQL");
	wire_query(w, "SELECT 4");
	wire_sync(w);
}

static void a_query_inside_a_pipeline(struct wire *w)
{
	wire_parse(w, "", "SELECT 1");
	wire_bind(w, "", "", 0);
	wire_query(w, "SELECT 2");
	wire_execute(w, "", 0);
	wire_sync(w);
}

static void many_syncs(struct wire *w)
{
	for (int i = 0; i < 400; i++)
		wire_sync(w);
}

static void many_queries(struct wire *w)
{
	for (int i = 0; i < 300; i++)
		wire_query(w, i % 10 ? "" : "SELECT 1");
}

static void the_word_in_a_parse(struct wire *w)
{
	wire_query(w, "BEGIN");
	say_unnamed(w, "SELECT 'drop index concurrently x'", 0);
	wire_sync(w);
	wire_parse(w, "s", "REFRESH MATERIALIZED VIEW CONCURRENTLY mv");
	wire_bind(w, "", "s", 0);
	wire_execute(w, "", 0);
	wire_sync(w);
	wire_query(w, "ROLLBACK");
}

/* Parsed, described, closed, but never executed. */
static void an_aside_that_is_never_executed(struct wire *w)
{
	wire_query(w, "BEGIN");
	wire_parse(w, "s", "CREATE INDEX CONCURRENTLY i ON plain (id)");
	wire_describe(w, 'S', "s");
	wire_bind(w, "p", "s", 0);
	wire_describe(w, 'P', "p");
	wire_close_target(w, 'P', "p");
	wire_close_target(w, 'S', "s");
	wire_sync(w);
	wire_query(w, "COMMIT");
}

static void the_extended_protocol_is_the_same(void **state)
{
	static const struct conversation conversations[] = {
		{"unnamed", unnamed, 1},
		{"binary", binary, 1},
		{"named", named, 3},
		{"row limits", row_limits, 4},
		{"pipelined errors", pipelined_errors, 3},
		{"a query inside a pipeline", a_query_inside_a_pipeline, 2},
		{"many syncs", many_syncs, 400},
		{"many queries", many_queries, 300},
		{"the word in a Parse", the_word_in_a_parse, 4},
		{"an aside that is never executed", an_aside_that_is_never_executed, 3},
	};

	(void)state;
	compare(conversations, LENGTH(conversations));
}

static void copy_in(struct wire *w)
{
	wire_query(w, "CREATE TEMP TABLE x (v text)");
	wire_query(w, "COPY x FROM STDIN");
	wire_message(w, 'd', "one\ntwo\n", 8);
	wire_message(w, 'd', "three\n", 6);
	wire_message(w, 'c', "", 0);
	wire_query(w, "SELECT count(*) FROM x");
}

static void copy_in_that_the_client_fails(struct wire *w)
{
	wire_query(w, "CREATE TEMP TABLE x (v text)");
	wire_query(w, "COPY x FROM STDIN");
	wire_message(w, 'd', "one\n", 4);
	wire_message(w, 'f', "no more", 8);
	wire_query(w, "SELECT count(*) FROM x");
}

static void copy_in_that_the_server_fails(struct wire *w)
{
	wire_query(w, "CREATE TEMP TABLE x (v int)");
	wire_query(w, "COPY x FROM STDIN");
	wire_message(w, 'd', "nonsense\n", 9);
	wire_message(w, 'd', "1\n", 2);
	wire_message(w, 'c', "", 0);
	wire_query(w, "SELECT count(*) FROM x");
}

/* As libpq sends it: Sync right behind Execute, which the server drops, and again at the end. */
static void copy_in_extended(struct wire *w)
{
	wire_query(w, "CREATE TEMP TABLE x (v text)");
	wire_parse(w, "", "COPY x FROM STDIN");
	wire_bind(w, "", "", 0);
	wire_execute(w, "", 0);
	wire_sync(w);
	wire_message(w, 'd', "one\n", 4);
	wire_message(w, 'c', "", 0);
	wire_sync(w);
	wire_query(w, "SELECT count(*) FROM x");
}

static void copy_of_a_table_that_is_not_there(struct wire *w)
{
	wire_query(w, "COPY nowhere FROM STDIN");
	wire_message(w, 'd', "one\n", 4);
	wire_message(w, 'c', "", 0);
	wire_query(w, "SELECT 1");
}

static void two_copies_in_one_query(struct wire *w)
{
	wire_query(w, "CREATE TEMP TABLE x (v text)");
	wire_query(w, "COPY x FROM STDIN; COPY x FROM STDIN; COPY x TO STDOUT");
	wire_message(w, 'd', "one\n", 4);
	wire_message(w, 'c', "", 0);
	wire_message(w, 'd', "two\n", 4);
	wire_message(w, 'c', "", 0);
	wire_query(w, "SELECT 1");
}

static void copy_out_extended(struct wire *w)
{
	say_unnamed(w, "COPY (SELECT 'x' FROM generate_series(1, 3)) TO STDOUT", 0);
	wire_sync(w);
}

/* fastpath: int4pl(2, 3), and a function that does not exist. */
static void function_calls(struct wire *w)
{
	wire_message(w, 'F', "\0\0\0\xb1\0\0\0\2\0\0\0\0012\0\0\0\0013\0\0", 20);
	wire_message(w, 'F', "\x7f\0\0\0\0\0\0\0\0\0", 10);
	wire_query(w, "SELECT 1");
}

static void copy_and_function_calls_are_the_same(void **state)
{
	static const struct conversation conversations[] = {
		{"copy in", copy_in, 3},
		{"copy in that the client fails", copy_in_that_the_client_fails, 3},
		{"copy in that the server fails", copy_in_that_the_server_fails, 3},
		{"copy in, extended", copy_in_extended, 3},
		{"copy of a table that is not there", copy_of_a_table_that_is_not_there, 2},
		{"two copies in one Query", two_copies_in_one_query, 3},
		{"copy out, extended", copy_out_extended, 1},
		{"function calls", function_calls, 3},
	};

	(void)state;
	compare(conversations, LENGTH(conversations));
}

/* A function that queues raw bytes, and a Query behind them. */
#define SAYS_BYTES(name, bytes)                        \
	static void name(struct wire *w)               \
	{                                              \
		wire_raw(w, bytes, sizeof(bytes) - 1); \
		wire_query(w, "SELECT 1");             \
	}

SAYS_BYTES(an_unknown_type, "!\0\0\0\4")
SAYS_BYTES(a_zero_type, "\0\0\0\0\4")
SAYS_BYTES(a_message_of_the_server, "Z\0\0\0\5I")
SAYS_BYTES(a_password_too_late, "p\0\0\0\5\0")
SAYS_BYTES(length_0, "Q\0\0\0\0")
SAYS_BYTES(length_3, "Q\0\0\0\3")
SAYS_BYTES(length_of_the_sign_bit, "Q\x80\0\0\0")
SAYS_BYTES(length_of_all_bits, "Q\xff\xff\xff\xff")
SAYS_BYTES(a_long_sync, "S\x7f\xff\xff\xff")
SAYS_BYTES(a_sync_with_a_body, "S\0\0\0\6xy")
SAYS_BYTES(a_query_without_end, "Q\0\0\0\xcSELECT 2")
SAYS_BYTES(a_query_with_two_strings, "Q\0\0\0\xfSELECT 2\0x\0")
SAYS_BYTES(an_aside_without_end, "Q\0\0\0\x2b"
				 "CREATE INDEX CONCURRENTLY i ON plain (id")
SAYS_BYTES(copy_data_from_nowhere, "d\0\0\0\6xyc\0\0\0\4f\0\0\0\5\0")
SAYS_BYTES(a_parse_cut_short, "P\0\0\0\6a\0S\0\0\0\4")
SAYS_BYTES(a_bind_of_nothing, "B\0\0\0\4S\0\0\0\4")
SAYS_BYTES(a_bind_that_lies, "B\0\0\0\xc\0\0\0\0\x7f\xff\0\0S\0\0\0\4")
SAYS_BYTES(a_describe_of_neither, "D\0\0\0\6X\0S\0\0\0\4")
SAYS_BYTES(a_close_of_neither, "C\0\0\0\6X\0S\0\0\0\4")
SAYS_BYTES(an_execute_of_nothing, "E\0\0\0\x9\0\0\0\0\0S\0\0\0\4")
SAYS_BYTES(an_execute_cut_short, "E\0\0\0\6\0\0S\0\0\0\4")
SAYS_BYTES(terminate, "X\0\0\0\4")

static void what_is_no_protocol_gets_the_servers_own_answer(void **state)
{
	static const struct conversation conversations[] = {
		{"an unknown type", an_unknown_type, 9},
		{"a zero type", a_zero_type, 9},
		{"a message of the server", a_message_of_the_server, 9},
		{"a password too late", a_password_too_late, 9},
		{"length 0", length_0, 9},
		{"length 3", length_3, 9},
		{"length of the sign bit", length_of_the_sign_bit, 9},
		{"length of all bits", length_of_all_bits, 9},
		{"a long Sync", a_long_sync, 9},
		{"a Sync with a body", a_sync_with_a_body, 2},
		{"a Query without end", a_query_without_end, 2},
		{"a Query with two strings", a_query_with_two_strings, 2},
		{"an aside without end", an_aside_without_end, 2},
		{"copy data from nowhere", copy_data_from_nowhere, 1},
		{"a Parse cut short", a_parse_cut_short, 2},
		{"a Bind of nothing", a_bind_of_nothing, 2},
		{"a Bind that lies", a_bind_that_lies, 2},
		{"a Describe of neither", a_describe_of_neither, 2},
		{"a Close of neither", a_close_of_neither, 2},
		{"an Execute of nothing", an_execute_of_nothing, 2},
		{"an Execute cut short", an_execute_cut_short, 2},
		{"terminate", terminate, 9},
	};

	(void)state;
	compare(conversations, LENGTH(conversations));
}

/* What a prepared aside has taught pgaside to look for must not change malformed messages either.
 */
static void malformed_messages_of_a_session_with_a_prepared_aside_are_the_same(void **state)
{
	static const struct conversation conversations[] = {
		{"a Bind of nothing", a_bind_of_nothing, 2},
		{"a Bind that lies", a_bind_that_lies, 2},
		{"a Close of neither", a_close_of_neither, 2},
		{"an Execute cut short", an_execute_cut_short, 2},
		{"a Parse cut short", a_parse_cut_short, 2},
	};
	char answers[2][1024];

	(void)state;
	for (size_t i = 0; i < LENGTH(conversations); i++) {
		for (int through = 0; through < 2; through++) {
			struct wire *w = wire_login(through ? proxy->port : cluster.port, NULL);

			wire_query(w, "BEGIN");
			wire_parse(w, "", "CREATE INDEX CONCURRENTLY i ON plain (id)");
			wire_bind(w, "", "", 0);
			wire_sync(w);
			conversations[i].say(w);
			wire_send(w);
			snprintf(answers[through], sizeof(answers[0]), "%.1000s",
				wire_answers(w, conversations[i].n_ready + 2));
			wire_close(w);
		}
		assert_string_equal(answers[1], answers[0]);
	}
}

static void libpqs_pipeline_mode_is_the_same(void **state)
{
	static const char *const texts[] = {
		"SELECT 1", "SELECT 1/0", "SELECT 2", NULL, "SELECT 'x'", NULL};
	char seen[2][512];

	(void)state;
	for (int through = 0; through < 2; through++) {
		PGconn *conn = db_connect(through ? proxy->port : cluster.port, "");
		int syncs = 0;

		seen[through][0] = '\0';
		assert_int_equal(PQenterPipelineMode(conn), 1);
		for (size_t i = 0; i < LENGTH(texts); i++)
			if (texts[i])
				assert_int_equal(PQsendQueryParams(conn, texts[i], 0, NULL, NULL,
							 NULL, NULL, 0),
					1);
			else
				assert_int_equal(PQpipelineSync(conn), 1);
		while (syncs < 2) {
			PGresult *r = PQgetResult(conn);
			size_t len = strlen(seen[through]);

			snprintf(seen[through] + len, sizeof(seen[0]) - len, " %s",
				r ? PQresStatus(PQresultStatus(r)) : "-");
			syncs += PQresultStatus(r) == PGRES_PIPELINE_SYNC;
			PQclear(r);
		}
		db_close(conn);
	}
	assert_string_equal(seen[1], seen[0]);
}

static void a_notification_reaches_an_idle_client(void **state)
{
	struct wire *listening = wire_login(proxy->port, NULL);
	PGconn *other = db_connect(proxy->port, "");

	(void)state;
	wire_query(listening, "LISTEN here");
	wire_send(listening);
	assert_string_equal(wire_answers(listening, 1), "C(LISTEN) Z:I");
	db_do(other, "NOTIFY here, 'wake up'");
	assert_string_equal(wire_until(listening, "A"), "A(here,wake up)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(simple_conversations_are_the_same),
		TEST(the_extended_protocol_is_the_same),
		TEST(copy_and_function_calls_are_the_same),
		TEST(what_is_no_protocol_gets_the_servers_own_answer),
		TEST(malformed_messages_of_a_session_with_a_prepared_aside_are_the_same),
		TEST(libpqs_pipeline_mode_is_the_same),
		TEST(a_notification_reaches_an_idle_client),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
