/*
 * SIGTERM lets what is under way finish within shutdown_timeout; SIGINT does not. Either way every
 * client hears of it, and nothing is left on the server.
 */
#include <poll.h>
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
	return fixture_start("--auth password");
}

static const char *say(struct wire *w, const char *sql)
{
	wire_query(w, sql);
	wire_send(w);
	return wire_answers(w, 1);
}

static void sigterm_ends_idle_sessions_with_a_word(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	struct wire *idle = wire_login(p->port, NULL), *silent = wire_open(p->port);

	(void)state;
	assert_int_equal(proxy_stop(p, SIGTERM), 0);
	assert_string_equal(wire_answers(idle, 1), "E(57P01) EOF");
	wire_answers(silent, 1);
}

static void sigterm_lets_a_transaction_finish(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	struct wire *w = wire_login(p->port, NULL);

	(void)state;
	assert_string_equal(say(w, "BEGIN"), "C(BEGIN) Z:T");
	assert_int_equal(kill(p->pid, SIGTERM), 0);
	WAIT_FOR(proxy_has_logged(p, "event=stopping", "SIGTERM"));
	assert_string_equal(say(w, "INSERT INTO t VALUES (4711)"), "C(INSERT 0 1) Z:T");
	assert_string_equal(say(w, "COMMIT"), "C(COMMIT) Z:I");
	assert_string_equal(wire_answers(w, 1), "E(57P01) EOF");
	assert_int_equal(proxy_wait(p), 0);
	assert_string_equal(ask("SELECT count(*) FROM t WHERE id = 4711"), "1");
}

/* A migration tool has one transaction for each file. */
static void sigterm_does_not_cut_off_who_is_between_two_transactions(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	struct wire *w = wire_login(p->port, NULL);

	(void)state;
	assert_int_equal(kill(p->pid, SIGTERM), 0);
	for (int i = 0; i < 5; i++) {
		assert_string_equal(say(w, "BEGIN"), "C(BEGIN) Z:T");
		assert_string_equal(say(w, "INSERT INTO t VALUES (4711)"), "C(INSERT 0 1) Z:T");
		assert_string_equal(say(w, "COMMIT"), "C(COMMIT) Z:I");
	}
	assert_string_equal(wire_answers(w, 1), "E(57P01) EOF");
	assert_int_equal(proxy_wait(p), 0);
	assert_string_equal(ask("SELECT count(*) FROM t WHERE id = 4711"), "5");
}

static void a_second_sigterm_does_not_renew_the_patience(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--shutdown-timeout", "2s", NULL);
	struct wire *w = wire_login(p->port, NULL);
	uint64_t begin = patience_now_ms();

	(void)state;
	assert_string_equal(say(w, "BEGIN"), "C(BEGIN) Z:T");
	while (proxy_is_alive(p) && patience_now_ms() - begin < PATIENCE_MS) {
		kill(p->pid, SIGTERM);
		poll(NULL, 0, 100);
	}
	assert_int_equal(proxy_wait(p), 0);
	assert_in_range(patience_now_ms() - begin, 1900, PATIENCE_MS - 1);
}

static void after_sigterm_nobody_gets_in(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	struct wire *w = wire_login(p->port, NULL);

	(void)state;
	assert_string_equal(say(w, "BEGIN"), "C(BEGIN) Z:T");
	assert_int_equal(kill(p->pid, SIGTERM), 0);
	WAIT_FOR(proxy_has_logged(p, "event=stopping", "SIGTERM"));
	assert_non_null(strstr(db_login_error(p->port, ""), "refused"));
	wire_close(w);
	assert_int_equal(proxy_wait(p), 0);
}

static void a_transaction_has_no_longer_than_shutdown_timeout(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--shutdown-timeout", "300ms", NULL);
	struct wire *w = wire_login(p->port, NULL);

	(void)state;
	assert_string_equal(say(w, "BEGIN"), "C(BEGIN) Z:T");
	assert_int_equal(proxy_stop(p, SIGTERM), 0);
	assert_string_equal(wire_answers(w, 1), "E(57P01) EOF");
}

static void sigint_ends_everything_at_once(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	struct wire *w = wire_login(p->port, NULL);
	uint32_t pid = w->pid;

	(void)state;
	wire_open(p->port); /* never logs in */
	wire_query(w, "SELECT pg_sleep(60)");
	wire_send(w);
	WAIT_FOR(waits_in(pid, "PgSleep"));
	assert_int_equal(proxy_stop(p, SIGINT), 0);
	assert_non_null(strstr(wire_answers(w, 1), "E(57P01) EOF"));
	tell("SELECT pg_terminate_backend(%u)", pid);
}

static void sigint_behind_sigterm_ends_the_waiting(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	struct wire *w = wire_login(p->port, NULL);

	(void)state;
	assert_string_equal(say(w, "BEGIN"), "C(BEGIN) Z:T");
	assert_int_equal(kill(p->pid, SIGTERM), 0);
	WAIT_FOR(proxy_has_logged(p, "event=stopping", "SIGTERM"));
	assert_int_equal(proxy_stop(p, SIGINT), 0);
	assert_string_equal(wire_answers(w, 1), "E(57P01) EOF");
}

static struct wire *begin_held(struct proxy *p, const char *before)
{
	struct wire *w = wire_login(p->port, NULL);

	assert_string_equal(say(w, "BEGIN"), "C(BEGIN) Z:T");
	if (before)
		say(w, before);
	wire_query(w, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	if (before)
		wire_query(w, "COMMIT");
	wire_send(w);
	WAIT_FOR(build_is_held());
	return w;
}

static void sigterm_lets_an_aside_finish(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	PGconn *holder = hold_builds();
	struct wire *w = begin_held(p, NULL);

	(void)state;
	assert_int_equal(kill(p->pid, SIGTERM), 0);
	WAIT_FOR(proxy_has_logged(p, "event=stopping", "SIGTERM"));
	release_builds(holder);
	assert_string_equal(wire_answers(w, 1), "N(00000) C(CREATE INDEX) Z:T");
	assert_string_equal(say(w, "COMMIT"), "C(COMMIT) Z:I");
	assert_string_equal(wire_answers(w, 1), "E(57P01) EOF");
	assert_int_equal(proxy_wait(p), 0);
	assert_string_equal(index_state("i"), "t");
}

static void sigterm_lets_what_is_owed_finish(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	PGconn *holder = hold_builds();
	struct wire *w = begin_held(p, "UPDATE t SET v = 'x' WHERE false");

	(void)state;
	/* Even without its client. */
	wire_close(w);
	assert_int_equal(kill(p->pid, SIGTERM), 0);
	WAIT_FOR(proxy_has_logged(p, "event=stopping", "SIGTERM"));
	assert_true(proxy_is_alive(p));
	release_builds(holder);
	assert_int_equal(proxy_wait(p), 0);
	assert_string_equal(index_state("i"), "t");
}

static void an_aside_that_takes_too_long_is_cancelled_and_cleaned_up(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--shutdown-timeout", "300ms", NULL);
	PGconn *holder = hold_builds();
	struct wire *w = begin_held(p, NULL);

	(void)state;
	assert_int_equal(proxy_stop(p, SIGTERM), 0);
	assert_non_null(strstr(wire_answers(w, 1), "E(57"));
	assert_string_equal(index_state("i"), "");
	release_builds(holder);
}

static void sigint_cancels_an_aside_and_cleans_up(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	PGconn *holder = hold_builds();
	struct wire *w = begin_held(p, NULL);

	(void)state;
	assert_int_equal(proxy_stop(p, SIGINT), 0);
	assert_non_null(strstr(wire_answers(w, 1), "E(57"));
	assert_string_equal(index_state("i"), "");
	release_builds(holder);
}

/* Nobody is left to cancel it; the server notices that the connection is gone. */
static void a_killed_pgaside_does_not_leave_its_build_running(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	PGconn *holder = hold_builds();
	struct wire *w = begin_held(p, NULL);

	(void)state;
	assert_int_equal(proxy_stop(p, SIGKILL), 128 + SIGKILL);
	assert_string_equal(wire_answers(w, 1), "EOF");
	/* client_connection_check_interval is ten seconds there. */
	WAIT_FOR(!build_is_held());
	release_builds(holder);
	tell("DROP INDEX IF EXISTS i");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(sigterm_ends_idle_sessions_with_a_word),
		FRESH_TEST(sigterm_lets_a_transaction_finish),
		FRESH_TEST(sigterm_does_not_cut_off_who_is_between_two_transactions),
		FRESH_TEST(a_second_sigterm_does_not_renew_the_patience),
		FRESH_TEST(after_sigterm_nobody_gets_in),
		FRESH_TEST(a_transaction_has_no_longer_than_shutdown_timeout),
		FRESH_TEST(sigint_ends_everything_at_once),
		FRESH_TEST(sigint_behind_sigterm_ends_the_waiting),
		FRESH_TEST(sigterm_lets_an_aside_finish),
		FRESH_TEST(sigterm_lets_what_is_owed_finish),
		FRESH_TEST(an_aside_that_takes_too_long_is_cancelled_and_cleaned_up),
		FRESH_TEST(sigint_cancels_an_aside_and_cleans_up),
		FRESH_TEST(a_killed_pgaside_does_not_leave_its_build_running),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
