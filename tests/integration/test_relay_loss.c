/*
 * One side of a session is lost: the other hears of it as it would have directly, and nobody else
 * does.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth password --set restart_after_crash=on");
}

static bool is_gone(uint32_t pid)
{
	return ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE pid = %u", pid);
}

static void a_terminated_backend_says_so(void **state)
{
	static const char *const queries[] = {NULL, "SELECT pg_sleep(60)", "BEGIN"};
	char seen[2][512];

	(void)state;
	for (size_t i = 0; i < LENGTH(queries); i++) {
		for (int through = 0; through < 2; through++) {
			struct wire *w = wire_login(through ? proxy->port : cluster.port, NULL);

			if (queries[i]) {
				wire_query(w, queries[i]);
				wire_send(w);
			}
			if (i == 1)
				WAIT_FOR(waits_in(w->pid, "PgSleep"));
			if (i == 2)
				assert_string_equal(wire_answers(w, 1), "C(BEGIN) Z:T");
			tell("SELECT pg_terminate_backend(%u)", w->pid);
			snprintf(seen[through], sizeof(seen[0]), "%.200s %.200s",
				wire_answers(w, 1), w->error);
			wire_close(w);
		}
		assert_non_null(strstr(seen[0], "E(57P01) EOF"));
		assert_string_equal(seen[1], seen[0]);
	}
}

static void a_server_process_that_crashes_takes_only_the_server_down(void **state)
{
	struct wire *victim = wire_login(proxy->port, NULL);
	struct wire *witness = wire_login(proxy->port, NULL);

	(void)state;
	wire_query(victim, "SELECT pg_sleep(60)");
	wire_send(victim);
	WAIT_FOR(waits_in(victim->pid, "PgSleep"));
	assert_int_equal(kill((pid_t)victim->pid, SIGKILL), 0);
	assert_string_equal(wire_answers(victim, 1), "EOF");
	/* PostgreSQL's own word, if it finds the time for one. */
	if (strcmp(wire_answers(witness, 1), "N(57P02) EOF") != 0)
		assert_string_equal(witness->text, "EOF");
	WAIT_FOR(db_login_error(proxy->port, "")[0] == '\0');
	assert_string_equal(db_text(db_connect(proxy->port, ""), "SELECT 1"), "1");
}

static void a_server_that_starts_says_so_itself(void **state)
{
	const char *error;

	(void)state;
	/* A postmaster that cannot fork recovery on refuses with its own words. */
	tell("ALTER SYSTEM SET max_connections = 5");
	tell("ALTER SYSTEM SET superuser_reserved_connections = 4");
	cluster_crash(&cluster);
	error = db_login_error(proxy->port, "");
	assert_memory_equal(error, "08001: ", 7);
	cluster_restart(&cluster);
	assert_string_equal(db_login_error(proxy->port, ""), "");
	db_connect(cluster.port, "user=postgres password=postgres");
	db_connect(cluster.port, "user=postgres password=postgres");
	error = db_login_error(proxy->port, "");
	assert_string_equal(error, db_login_error(cluster.port, ""));
	assert_memory_equal(error, "53300: ", 7);
	db_close_all();
	tell("ALTER SYSTEM RESET ALL");
	cluster_crash(&cluster);
	cluster_restart(&cluster);
}

static void a_client_that_vanishes_ends_its_query(void **state)
{
	struct wire *w = wire_login(proxy->port, "-c client_connection_check_interval=50ms");
	uint32_t pid = w->pid;

	(void)state;
	wire_query(w, "SELECT pg_sleep(60)");
	wire_send(w);
	WAIT_FOR(waits_in(pid, "PgSleep"));
	wire_close(w);
	WAIT_FOR(is_gone(pid));
}

static void a_client_that_vanishes_while_it_is_answered_ends_its_query(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);
	uint32_t pid = w->pid;

	(void)state;
	wire_query(w, "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000000)) TO "
		      "STDOUT");
	wire_send(w);
	assert_string_equal(wire_until(w, "H"), "H");
	wire_close(w);
	WAIT_FOR(is_gone(pid));
}

static void a_client_that_resets_the_connection_ends_its_session(void **state)
{
	struct linger at_once = {.l_onoff = 1};
	struct wire *w = wire_login(proxy->port, NULL);
	uint32_t pid = w->pid;

	(void)state;
	wire_query(w, "BEGIN");
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "C(BEGIN) Z:T");
	setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	wire_close(w);
	WAIT_FOR(is_gone(pid));
}

/* pgaside stands still until SIGCONT: what happens meanwhile it sees at once. */
static void hold_still(const struct proxy *p)
{
	int status;

	assert_int_equal(kill(p->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(p->pid, &status, WUNTRACED), p->pid);
	assert_true(WIFSTOPPED(status));
}

static void reset(struct wire *w)
{
	struct linger at_once = {.l_onoff = 1};

	setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	wire_close(w);
}

static void begin_copy(struct wire *w)
{
	wire_query(w, "COPY pg_temp.taken FROM STDIN");
	wire_send(w);
	assert_string_equal(wire_until(w, "G"), "G");
}

/* The kernel tells of bytes and of the reset behind them as one. */
static void a_reset_right_behind_bytes_ends_the_session(void **state)
{
	enum {
		HALF,
		PARSE,
		COPY,
		ASIDE,
		ANSWERED,
		LONG,
		NOTHING,
		CASES
	};

	(void)state;
	tell("CREATE TABLE reset_here (a int); GRANT ALL ON reset_here TO app; "
	     "ALTER TABLE reset_here OWNER TO app");
	for (int what = 0; what < CASES; what++) {
		struct wire *w =
			wire_login(proxy->port, "-c client_connection_check_interval=50ms");
		uint32_t pid = w->pid;

		wire_query(w, "CREATE TEMP TABLE taken (a int)");
		wire_query(w, "BEGIN");
		wire_send(w);
		assert_string_equal(wire_answers(w, 2), "C(CREATE TABLE) Z:I C(BEGIN) Z:T");
		if (what == COPY)
			begin_copy(w);
		hold_still(proxy);
		if (what == HALF)
			wire_raw(w, "Q\0\0\0\100SELECT", 11);
		else if (what == PARSE)
			wire_parse(w, "", "SELECT 1");
		else if (what == COPY)
			wire_message(w, 'd', "1\n", 2);
		else if (what == ASIDE)
			wire_query(w, "CREATE INDEX CONCURRENTLY ON reset_here (a)");
		else if (what == ANSWERED)
			wire_query(w, "SELECT 1");
		else if (what == LONG)
			wire_query(w, "SELECT pg_sleep(60)");
		wire_send(w);
		reset(w);
		assert_int_equal(kill(proxy->pid, SIGCONT), 0);
		WAIT_FOR(is_gone(pid));
	}
	WAIT_FOR(ask_is("t", "SELECT bool_and(indisvalid) IS NOT false FROM pg_index WHERE "
			     "indrelid = 'reset_here'::regclass"));
	tell("DROP TABLE reset_here");
}

/* The answer that meets the reset is not the last that is due. */
static void a_reset_behind_a_query_and_before_an_answer_ends_the_session(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);
	uint32_t pid = w->pid;

	(void)state;
	wire_query(w, "BEGIN");
	wire_query(w, "SELECT pg_sleep(0.2)");
	wire_send(w);
	WAIT_FOR(waits_in(pid, "PgSleep"));
	hold_still(proxy);
	WAIT_FOR(waits_in(pid, "ClientRead"));
	wire_query(w, "SELECT 1");
	wire_send(w);
	reset(w);
	assert_int_equal(kill(proxy->pid, SIGCONT), 0);
	WAIT_FOR(is_gone(pid));
}

/* Whoever waits for notifications asks for nothing. */
static void a_reset_right_behind_the_last_answer_reaches_the_client(void **state)
{
	static const char log_in[] = "R\0\0\0\10\0\0\0\0Z\0\0\0\5I";
	static const char answer[] = "C\0\0\0\13LISTEN\0Z\0\0\0\5I";
	struct proxy *front;
	struct wire *client, *server;
	int port, listener = wire_listen(&port);
	char url[100], query[17];

	(void)state;
	snprintf(url, sizeof(url), "postgresql://127.0.0.1:%d/?sslmode=disable", port);
	front = proxy_start(url, NULL);
	client = wire_open(front->port);
	wire_startup(client, 0x30000, "app", "app", NULL);
	wire_send(client);
	server = wire_accept(listener);
	assert_int_equal(wire_take_startup(server), 0x30000);
	wire_raw(server, log_in, sizeof(log_in) - 1);
	wire_send(server);
	assert_string_equal(wire_answers(client, 1), "R(0) Z:I");
	wire_query(client, "LISTEN here");
	wire_send(client);
	assert_true(wire_take(server, query, 17));
	hold_still(front);
	wire_raw(server, answer, sizeof(answer) - 1);
	wire_send(server);
	reset(server);
	assert_int_equal(kill(front->pid, SIGCONT), 0);
	assert_string_equal(wire_answers(client, 2), "C(LISTEN) Z:I EOF");
	close(listener);
}

/* Some process of the server has bytes in its socket that it has not read. */
static bool server_has_unread(void)
{
	FILE *sockets = fopen("/proc/net/tcp", "r");
	char line[256];
	bool found = false;

	assert_non_null(sockets);
	while (fgets(line, sizeof(line), sockets)) {
		unsigned port, state, unread;

		if (sscanf(line, " %*u: %*x:%x %*x:%*x %x %*x:%x", &port, &state, &unread) == 3)
			found |= port == (unsigned)cluster.port && state == 1 && unread > 0;
	}
	fclose(sockets);
	return found;
}

/* What the server has not read any more makes its end a reset. */
static void a_reset_right_behind_an_error_reaches_the_client(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);
	uint32_t pid = w->pid;

	(void)state;
	wire_query(w, "SELECT pg_sleep(60)");
	wire_send(w);
	WAIT_FOR(waits_in(pid, "PgSleep"));
	wire_query(w, "SELECT 1");
	wire_send(w);
	WAIT_FOR(server_has_unread());
	hold_still(proxy);
	tell("SELECT pg_terminate_backend(%u)", pid);
	WAIT_FOR(is_gone(pid));
	assert_int_equal(kill(proxy->pid, SIGCONT), 0);
	assert_non_null(strstr(wire_answers(w, 1), "E(57P01) EOF"));
}

/* What was sent before the end is still done, as it is directly. */
static void the_last_words_of_a_client_are_heard(void **state)
{
	int ports[] = {cluster.port, proxy->port};

	(void)state;
	tell("CREATE TABLE words (port int); GRANT ALL ON words TO app");
	for (size_t i = 0; i < LENGTH(ports); i++) {
		struct wire *w = wire_login(ports[i], NULL);
		char sql[100];

		snprintf(sql, sizeof(sql), "INSERT INTO words VALUES (%d)", ports[i]);
		wire_query(w, sql);
		wire_message(w, 'X', "", 0);
		wire_send(w);
		wire_close(w);
		WAIT_FOR(ask_is("1", "SELECT count(*) FROM words WHERE port = %d", ports[i]));
	}
	tell("DROP TABLE words");
}

/* A client that says that it will say no more still gets its answer. */
static void a_half_closed_client_gets_its_answer(void **state)
{
	int ports[] = {cluster.port, proxy->port};

	(void)state;
	for (size_t i = 0; i < LENGTH(ports); i++) {
		struct wire *w = wire_login(ports[i], NULL);

		wire_query(w, "SELECT 1 FROM pg_sleep(0.1)");
		wire_send(w);
		shutdown(w->fd, SHUT_WR);
		assert_string_equal(wire_answers(w, 2), "T(1) D(1) C(SELECT 1) Z:I EOF");
	}
}

/* Also of what waits in front of the server. */
static void a_half_closed_client_gets_all_its_answers(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);
	const char *answer;
	int n = 0;

	(void)state;
	for (int i = 0; i < 400; i++)
		wire_query(w, "SELECT 1");
	wire_send(w);
	shutdown(w->fd, SHUT_WR);
	answer = wire_answers(w, 401);
	while ((answer = strstr(answer, "C(SELECT 1)"))) {
		answer++;
		n++;
	}
	assert_int_equal(n, 400);
}

static void a_client_that_leaves_during_the_log_in_is_forgotten(void **state)
{
	int before = proxy_descriptors(proxy);

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct wire *w = wire_open(proxy->port);

		wire_startup(w, 0x30000, "app", "app", NULL);
		wire_send(w);
		if (i % 2)
			assert_string_equal(wire_until(w, "R"), "R(3)");
		wire_close(w);
	}
	WAIT_FOR(proxy_descriptors(proxy) <= before);
}

static void a_port_in_use_is_told_in_clear(void **state)
{
	(void)state;
	cluster_shell("%s serve --listen-port %d --upstream postgresql://127.0.0.1/app 2> %s/out; "
		      "test $? = 1 && grep -q 'pgaside: .*%d.*in use' %s/out",
		proxy_program(), proxy->port, cluster.dir, proxy->port, cluster.dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_terminated_backend_says_so),
		TEST(a_server_process_that_crashes_takes_only_the_server_down),
		TEST(a_server_that_starts_says_so_itself),
		TEST(a_client_that_vanishes_ends_its_query),
		TEST(a_client_that_vanishes_while_it_is_answered_ends_its_query),
		TEST(a_client_that_resets_the_connection_ends_its_session),
		TEST(a_reset_right_behind_bytes_ends_the_session),
		TEST(a_reset_behind_a_query_and_before_an_answer_ends_the_session),
		TEST(a_reset_right_behind_the_last_answer_reaches_the_client),
		TEST(a_reset_right_behind_an_error_reaches_the_client),
		TEST(the_last_words_of_a_client_are_heard),
		TEST(a_half_closed_client_gets_its_answer),
		TEST(a_half_closed_client_gets_all_its_answers),
		TEST(a_client_that_leaves_during_the_log_in_is_forgotten),
		TEST(a_port_in_use_is_told_in_clear),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
