/*
 * How far a build is, as its users see it: on a terminal, in the log, by a NOTICE. The terminal is
 * tmux, so that what is looked at is the screen, not the bytes that were written to it.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "paced.h"

static char socket_name[64];

static int start(void **state)
{
	(void)state;
	snprintf(socket_name, sizeof(socket_name), "pgaside-test-%d", (int)getpid());
	return fixture_start("--auth scram");
}

/* What stands on the terminal's screen now. */
static const char *screen(void)
{
	static char text[16384];
	char command[160];
	size_t len;
	FILE *f;

	snprintf(command, sizeof(command), "tmux -L %s capture-pane -p 2>/dev/null", socket_name);
	f = popen(command, "r");
	assert_non_null(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	text[len] = '\0';
	pclose(f);
	return text;
}

static bool screen_has(const char *first, const char *second)
{
	const char *at = strstr(screen(), first);

	return at && strstr(at, second);
}

static void open_terminal(const char *kind, const char *command)
{
	cluster_shell(
		"tmux -L %s -f /dev/null new-session -d "
		"-x 180 -y 30 "
		"\"TERM=%s DATABASE_URL=postgresql://app:secret@127.0.0.1:%d/app %s run -- %s; "
		"echo ended=\\$?; sleep 600\"",
		socket_name, kind, cluster.port, proxy_program(), command);
}

static void close_terminal(void)
{
	cluster_shell("tmux -L %s kill-server", socket_name);
}

/* An unfinished line of the command, as many a tool leaves it, must stand. */
static void a_terminal_shows_a_bar_that_moves(void **state)
{
	PGconn *holder = paced_hold();
	char blocker[80];

	(void)state;
	snprintf(blocker, sizeof(blocker), "waits for %d idle 'holder'", PQbackendPID(holder));
	open_terminal("screen", "psql -X -q -c 'begin' -c '\\\\echo -n Migrating 1 of 1 ...' "
				"-c '" PACED_INDEX "' -c '\\\\echo done' -c commit");
	WAIT_FOR(screen_has("Migrating 1 of 1 ...", "building index: scanning table (2/9) ["));
	WAIT_FOR(screen_has("(2/9) [#-----]  24 %", blocker));
	paced_release(holder, 1);
	WAIT_FOR(screen_has("(2/9) [##----]  49 %", blocker));
	paced_release(holder, 2);
	WAIT_FOR(screen_has("(2/9) [####--]  7", "waits for"));
	assert_non_null(strstr(screen(), "Migrating 1 of 1 ..."));
	paced_release(holder, 3);
	WAIT_FOR(screen_has("done", "ended=0"));
	/* Nothing of the line is left, and no line of the log was drawn over. */
	assert_null(strstr(screen(), "pgaside: "));
	assert_null(strstr(screen(), "[#"));
	assert_null(strstr(screen(), "aside_progress"));
	assert_non_null(strstr(screen(), "event=aside_end session=1 placement=now outcome=done"));
	assert_string_equal(index_state("paced_idx"), "t");
	close_terminal();
}

static void a_terminal_without_control_sequences_shows_plain_lines(void **state)
{
	PGconn *holder = paced_hold();

	(void)state;
	open_terminal("dumb", "psql -X -q -c begin -c '" PACED_INDEX "' -c commit");
	WAIT_FOR(screen_has("event=aside_progress", "percent=24"));
	assert_null(strstr(screen(), "pgaside: "));
	for (int i = 1; i <= 3; i++)
		paced_release(holder, i);
	WAIT_FOR(screen_has("ended=", "0"));
	close_terminal();
}

/* Its standard error is a file: nothing is drawn there, and a line says the same every ten seconds.
 */
static void without_a_terminal_the_log_has_a_line_every_ten_seconds(void **state)
{
	PGconn *holder = paced_hold(), *conn = db_connect(proxy->port, "");
	char blocker[80];

	(void)state;
	snprintf(blocker, sizeof(blocker), "blocked_by=\"%d idle 'holder'\"", PQbackendPID(holder));
	db_do(conn, "BEGIN");
	db_send(conn, PACED_INDEX);
	WAIT_FOR(paced_is_at(1));
	assert_false(proxy_has_logged(proxy, "event=aside_progress", NULL));
	WAIT_FOR(proxy_has_logged(
		proxy, "phase=\"building index: scanning table\" step=2/9 percent=24 ", blocker));
	paced_release(holder, 1);
	WAIT_FOR(proxy_has_logged(
		proxy, "phase=\"building index: scanning table\" step=2/9 percent=49 ", blocker));
	assert_false(proxy_has_logged(proxy, "\x1b", NULL));
	paced_release(holder, 2);
	paced_release(holder, 3);
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
}

static char heard[16384];

static void hear_notice(void *arg, const PGresult *r)
{
	size_t len = strlen(heard);

	(void)arg;
	snprintf(heard + len, sizeof(heard) - len, "%s", PQresultErrorMessage(r));
}

/* Reads what the connection has got so far. */
static bool hears(PGconn *conn, const char *text)
{
	PQconsumeInput(conn);
	PQisBusy(conn);
	return strstr(heard, text) != NULL;
}

static PGconn *listening(const struct proxy *p, const char *more)
{
	PGconn *conn = db_connect(p->port, more);

	heard[0] = '\0';
	PQsetNoticeReceiver(conn, hear_notice, NULL);
	return conn;
}

static void a_client_that_wants_to_hear_gets_notices(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--progress-interval", "1s", NULL);
	PGconn *holder = paced_hold(), *conn = listening(p, "");
	char blocker[80];

	(void)state;
	snprintf(blocker, sizeof(blocker), ", waits for %d idle 'holder'", PQbackendPID(holder));
	db_do(conn, "BEGIN");
	db_send(conn, PACED_INDEX);
	WAIT_FOR(hears(
		conn, "NOTICE:  00000: pgaside: building index: scanning table (2/9), 24 %, 0:0"));
	WAIT_FOR(hears(conn, blocker));
	paced_release(holder, 1);
	WAIT_FOR(hears(
		conn, "NOTICE:  00000: pgaside: building index: scanning table (2/9), 49 %, 0:0"));
	paced_release(holder, 2);
	paced_release(holder, 3);
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("paced_idx"), "t");
}

static void a_client_hears_of_what_runs_behind_its_commit(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--progress-interval", "1s", NULL);
	PGconn *holder = paced_hold(), *conn = listening(p, "");

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "ALTER TABLE paced ADD COLUMN n int");
	db_do(conn, PACED_INDEX);
	db_send(conn, "COMMIT");
	WAIT_FOR(hears(
		conn, "NOTICE:  00000: pgaside: building index: scanning table (2/9), 24 %, 0:0"));
	for (int i = 1; i <= 3; i++)
		paced_release(holder, i);
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("paced_idx"), "t");
}

static void a_client_that_does_not_gets_none(void **state)
{
	struct proxy *asked = proxy_start(fixture_url(""), "--progress-interval", "1s", NULL);
	PGconn *holder = paced_hold(), *conn = listening(asked, "");

	(void)state;
	db_do(conn, "SET client_min_messages = warning; BEGIN");
	db_send(conn, PACED_INDEX);
	WAIT_FOR(paced_is_at(1));
	/* The aside is known to have been seen: its look-out has told the log who it waits for. */
	WAIT_FOR(proxy_has_logged(asked, "event=aside_progress", "percent=24"));
	for (int i = 1; i <= 3; i++)
		paced_release(holder, i);
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(heard, "");
	db_do(conn, "COMMIT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(a_terminal_shows_a_bar_that_moves),
		FRESH_TEST(a_terminal_without_control_sequences_shows_plain_lines),
		FRESH_TEST(without_a_terminal_the_log_has_a_line_every_ten_seconds),
		FRESH_TEST(a_client_that_wants_to_hear_gets_notices),
		FRESH_TEST(a_client_hears_of_what_runs_behind_its_commit),
		FRESH_TEST(a_client_that_does_not_gets_none),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
