/*
 * What others send stands in the log as text, in one line, cut, and never as a line of its own; as
 * JSON, it is JSON whatever they send. PostgreSQL's own parser says so.
 */
#include <ctype.h>
#include <setjmp.h>
#include <signal.h>
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

#define HOSTILE                                        \
	"\"}\n{\"event\":\"fake\"}\nerror event=fake " \
	"\\\033[31m%s%n\t\\u0000\\x41'$1\177\302\205\xff\xfe"

/* Names and statements that want to be something else in a log. */
static void say_hostile_things(const struct proxy *p)
{
	static char long_name[9000];
	struct wire *w = wire_open(p->port);
	PGconn *conn;

	wire_startup(w, 0x30000, HOSTILE, HOSTILE, "-c application_name=" HOSTILE);
	wire_send(w);
	wire_until(w, "R");
	wire_close(w);
	memset(long_name, '"', sizeof(long_name) - 1);
	w = wire_open(p->port);
	wire_startup(w, 0x30000, "app", long_name, NULL);
	wire_send(w);
	wire_until(w, "R");
	wire_close(w);
	conn = db_connect(p->port, "application_name='\"}\\\\\t{'");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY \"i\"\"}\n\\%%s\001\" ON t (id)");
	db_do(conn, "COMMIT");
	db_do(conn, "DROP INDEX \"i\"\"}\n\\%%s\001\"");
	db_do(conn, "BEGIN");
	db_fail(conn, "42P01", "CREATE INDEX CONCURRENTLY i ON \"no\nsuch\"\"\\table\" (id)");
	db_do(conn, "ROLLBACK");
	db_close(conn);
	WAIT_FOR(proxy_count_logged(p, "disconnect") >= 3);
}

/* Calls `look` for each line, without its end. */
static int each_line(const struct proxy *p, void (*look)(const char *line))
{
	char line[8192];
	FILE *f = fopen(p->log, "r");
	int n = 0;

	assert_non_null(f);
	for (; fgets(line, sizeof(line), f); n++) {
		assert_in_range(strlen(line), 2, 4096);
		assert_int_equal(line[strlen(line) - 1], '\n');
		line[strlen(line) - 1] = '\0';
		for (const char *c = line; *c; c++)
			assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
		look(line);
	}
	fclose(f);
	return n;
}

static void is_json(const char *line)
{
	assert_string_equal(
		ask("SELECT concat_ws(' ', (j->>'time')::timestamptz > now() - interval '1 hour', "
		    "j->>'level' IN ('error', 'warning', 'info', 'debug'), j->>'event' <> 'fake') "
		    "FROM (SELECT $log$%s$log$::jsonb j) line",
			line),
		"t t t");
}

static void as_json_every_line_is_an_object(void **state)
{
	struct proxy *json = proxy_start(fixture_url(""), "--log-format", "json", NULL);

	(void)state;
	say_hostile_things(json);
	assert_in_range(each_line(json, is_json), 8, 60);
	/* Numbers are numbers, and what merely looks like one is not. */
	assert_true(proxy_has_logged(json, "\"event\":\"aside_end\"", "\"sqlstate\":\"42P01\""));
	assert_true(proxy_has_logged(json, "\"event\":\"disconnect\"", "\"session\":1,"));
}

static void begins_with_the_time(const char *line)
{
	static const char like[] = "0000-00-00T00:00:00.000Z ";

	for (size_t i = 0; like[i]; i++)
		assert_true(like[i] == '0' ? isdigit((unsigned char)line[i]) : line[i] == like[i]);
	assert_null(strstr(line, "Z error event=fake"));
}

static void as_text_nobody_writes_a_line_of_his_own(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);

	(void)state;
	say_hostile_things(p);
	assert_in_range(each_line(p, begins_with_the_time), 8, 60);
	assert_true(proxy_has_logged(
		p, "\\\"}\\n{\\\"event\\\":\\\"fake\\\"}\\nerror", "\\x1b[31m%s%n"));
}

static void nothing(const char *line)
{
	(void)line;
}

/* Who asks a hundred times is told of in a hundred lines: not in more, and not in long ones. */
static void a_refused_client_costs_one_short_line(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	static char long_name[9900];
	FILE *f;

	(void)state;
	memset(long_name, 1, sizeof(long_name) - 1);
	for (int i = 0; i < 100; i++) {
		struct wire *w = wire_open(p->port);

		wire_startup(w, 0x20000, "app", "app", long_name);
		wire_send(w);
		assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
		wire_close(w);
	}
	assert_in_range(each_line(p, nothing), 100, 103);
	f = fopen(p->log, "r");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	assert_in_range(ftell(f), 100, 100 * 300);
	fclose(f);
}

static void at_debug_level_and_as_json_no_password_is_there_either(void **state)
{
	struct proxy *p =
		proxy_start(fixture_url(""), "--log-format", "json", "--log-level", "debug", NULL);
	PGconn *conn = db_connect(p->port, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	db_login_error(p->port, "password=not-the-secret");
	db_close(conn);
	WAIT_FOR(proxy_count_logged(p, "\"disconnect\"") == 2);
	each_line(p, is_json);
	assert_false(proxy_has_logged(p, "secret", NULL));
	/* Nor what SCRAM makes of it. */
	assert_false(proxy_has_logged(p, "r=", "n="));
	assert_false(proxy_has_logged(p, "c=biws", NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(as_json_every_line_is_an_object),
		FRESH_TEST(as_text_nobody_writes_a_line_of_his_own),
		FRESH_TEST(a_refused_client_costs_one_short_line),
		FRESH_TEST(at_debug_level_and_as_json_no_password_is_there_either),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
