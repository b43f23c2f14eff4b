/*
 * pgaside seen from outside: the page in a real browser, the metrics with Prometheus' own parser.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "paced.h"

static struct proxy *seen; /* one that can be seen */
static int port;	   /* where */

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram");
}

/* The port is in the line that says that it listens. */
static int http_port(const struct proxy *p)
{
	char line[4096];
	FILE *f = fopen(p->log, "r");
	int found = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "event=http_listening"))
			found = (int)strtol(strstr(line, " port=") + 6, NULL, 10);
	fclose(f);
	return found;
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	seen = proxy_start(
		fixture_url(""), "--http-listen-addr", "127.0.0.1", "--workers", "2", NULL);
	WAIT_FOR((port = http_port(seen)) > 0);
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static int connect_http(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* What it answers to these bytes, up to the end; in a static buffer. */
static const char *say(const char *request)
{
	static char text[262144];
	struct timeval limit = {.tv_sec = PATIENCE_MS / 1000};
	int fd = connect_http();
	size_t len = 0;
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	send(fd, request, strlen(request), MSG_NOSIGNAL);
	while ((n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fd);
	return text;
}

static const char *get(const char *path)
{
	char request[256];

	snprintf(request, sizeof(request),
		"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
	return say(request);
}

static const char *body_of(const char *answer)
{
	const char *body = strstr(answer, "\r\n\r\n");

	assert_non_null(body);
	return body + 4;
}

/* Hands a text to a program; what that says, in a static buffer. It must end with 0. */
static const char *filter(const char *command, const char *text)
{
	static char out[65536];
	char path[] = "/tmp/pgaside-test-XXXXXX", line[1024];
	int fd = mkstemp(path);
	size_t len;
	FILE *f;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	snprintf(line, sizeof(line), "%s <%s", command, path);
	f = popen(line, "r");
	assert_non_null(f);
	len = fread(out, 1, sizeof(out) - 1, f);
	out[len] = '\0';
	assert_int_equal(pclose(f), 0);
	unlink(path);
	return out;
}

static const char *metrics(const char *names)
{
	char command[900];

	snprintf(command, sizeof(command), "tests/support/metrics.py %s", names);
	return filter(command, body_of(get("/metrics")));
}

static void without_being_asked_nothing_listens(void **state)
{
	(void)state;
	assert_false(proxy_has_logged(proxy, "event=http_listening", NULL));
	assert_true(proxy_has_logged(seen, "event=http_listening", "address=127.0.0.1"));
}

static void metrics_are_what_prometheus_reads(void **state)
{
	PGconn *conn = db_connect(seen->port, "");

	(void)state;
	assert_string_equal(metrics("'pgaside_sessions{}' 'pgaside_owed_total{}'"), "1\n0\n");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "CREATE TABLE n (id int)");
	db_do(conn, "CREATE INDEX CONCURRENTLY n_id ON n (id)");
	db_do(conn, "COMMIT");
	db_do(conn, "BEGIN");
	db_do(conn, "ALTER TABLE t ADD COLUMN c int");
	db_do(conn, "DROP INDEX CONCURRENTLY i");
	assert_string_equal(metrics("'pgaside_owed_statements{transaction=\"open\"}' "
				    "'pgaside_owed_total{}'"),
		"1\n1\n");
	db_do(conn, "COMMIT");
	db_do(conn, "INSERT INTO t VALUES (1)");
	db_do(conn, "BEGIN");
	db_fail(conn, "23505", "CREATE UNIQUE INDEX CONCURRENTLY u ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(
		metrics("'pgaside_asides_total{outcome=\"done\",placement=\"now\",statement="
			"\"create_index\"}' "
			"'pgaside_asides_total{outcome=\"sent\",placement=\"inline\",statement="
			"\"create_index\"}' "
			"'pgaside_asides_total{outcome=\"done\",placement=\"at_commit\",statement="
			"\"drop_index\"}' "
			"'pgaside_asides_total{outcome=\"failed\",placement=\"now\",statement="
			"\"create_index\"}' "
			"'pgaside_errors_total{sqlstate=\"23505\"}' "
			"'pgaside_aside_duration_seconds_count{placement=\"now\",statement="
			"\"create_index\"}' "
			"'pgaside_owed_statements{transaction=\"open\"}' "
			"'pgaside_leftovers_dropped_total{}' 'pgaside_logins_total{}'"),
		"1\n1\n1\n1\n1\n2\n0\n1\n1\n");
}

static void bytes_are_those_that_the_session_has_sent_and_got(void **state)
{
	PGconn *conn = db_connect(seen->port, "");
	long before, after;

	(void)state;
	before = strtol(metrics("'pgaside_bytes_total{from=\"server\"}'"), NULL, 10);
	db_text(conn, "SELECT repeat('x', 200000)");
	after = strtol(metrics("'pgaside_bytes_total{from=\"server\"}'"), NULL, 10);
	assert_in_range(after - before, 200000, 201000);
	/* Those of a session that is gone are not forgotten. */
	db_close(conn);
	WAIT_FOR(strcmp(metrics("'pgaside_sessions{}'"), "0\n") == 0);
	assert_true(strtol(metrics("'pgaside_bytes_total{from=\"server\"}'"), NULL, 10) >= after);
}

static void health_ends_with_sigterm(void **state)
{
	PGconn *conn = db_connect(seen->port, "");

	(void)state;
	assert_non_null(strstr(get("/healthz"), "HTTP/1.1 200 OK"));
	db_do(conn, "BEGIN");
	kill(seen->pid, SIGTERM);
	WAIT_FOR(strstr(get("/healthz"), "HTTP/1.1 503 "));
	assert_non_null(strstr(get("/asides"), "HTTP/1.1 200 OK"));
	db_close(conn);
	assert_int_equal(proxy_wait(seen), 0);
}

static struct proxy *start_sharing(const char *http_port_number)
{
	return proxy_start(fixture_url(""), "--so-reuseport", "on", "--http-listen-addr",
		"127.0.0.1", "--http-listen-port", http_port_number, NULL);
}

static bool is_always_well(void)
{
	for (int i = 0; i < 50; i++)
		if (!strstr(get("/healthz"), "HTTP/1.1 200 OK"))
			return false;
	return true;
}

static void a_successor_is_not_taken_for_the_one_that_ends(void **state)
{
	struct proxy *old = start_sharing("0"), *new;
	PGconn *conn = db_connect(old->port, "");
	char text[16];

	(void)state;
	WAIT_FOR((port = http_port(old)) > 0);
	snprintf(text, sizeof(text), "%d", port);
	new = start_sharing(text);
	WAIT_FOR(http_port(new) == port);
	db_do(conn, "BEGIN");
	kill(old->pid, SIGTERM);
	WAIT_FOR_MS(3000, is_always_well());
	assert_true(proxy_is_alive(old));
	db_do(conn, "COMMIT");
	db_close(conn);
	assert_int_equal(proxy_wait(old), 0);
	assert_true(is_always_well());
}

static void a_web_page_elsewhere_cannot_have_it_read(void **state)
{
	static const char *const hosts[] = {
		"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "1.evil"};
	char request[256];

	(void)state;
	for (size_t i = 0; i < LENGTH(hosts); i++) {
		snprintf(request, sizeof(request),
			"GET /asides HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n\r\n",
			hosts[i], port);
		assert_non_null(strstr(say(request), "HTTP/1.1 421 "));
	}
	snprintf(request, sizeof(request),
		"GET /asides HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n", port);
	assert_non_null(strstr(say(request), "HTTP/1.1 200 "));
	assert_null(strstr(get("/"), "Access-Control"));
}

/* As checks of a load balancer do. */
static void simple_requests_are_answered_as_well(void **state)
{
	const char *answer;

	(void)state;
	assert_non_null(strstr(say("GET /healthz HTTP/1.0\r\n\r\n"), " 200 OK"));
	answer = say("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(answer, "HTTP/1.1 200 OK"));
	assert_non_null(strstr(answer, "Content-Length: 3\r\n"));
	assert_string_equal(body_of(answer), "");
}

static long size_of_log(const struct proxy *p)
{
	struct stat file;

	assert_int_equal(stat(p->log, &file), 0);
	return (long)file.st_size;
}

/* They wait before the door, and are in nobody's way. */
static void more_connections_than_there_is_room_for_do_no_harm(void **state)
{
	struct rlimit few = {100, 100};
	int fds[230], descriptors = proxy_descriptors(seen);

	(void)state;
	assert_int_equal(prlimit(seen->pid, RLIMIT_NOFILE, &few, NULL), 0);
	for (size_t i = 0; i < LENGTH(fds); i++)
		fds[i] = connect_http();
	WAIT_FOR(proxy_has_logged(seen, "event=http_paused", NULL));
	for (int i = 0; i < 10; i++)
		db_connect(seen->port, "");
	for (size_t i = 0; i < LENGTH(fds); i++)
		close(fds[i]);
	assert_non_null(strstr(get("/healthz"), "HTTP/1.1 200 OK"));
	db_close_all();
	WAIT_FOR(proxy_descriptors(seen) <= descriptors);
	assert_string_equal(db_login_error(seen->port, ""), "");
	assert_in_range(proxy_count_logged(seen, "event=http_paused"), 1, 3);
	assert_in_range(size_of_log(seen), 0, 16384);
}

/* The descriptors have gone elsewhere. */
static void without_descriptors_http_rests(void **state)
{
	struct rlimit none = {0, 0}, before;
	int fd;

	(void)state;
	assert_int_equal(prlimit(seen->pid, RLIMIT_NOFILE, NULL, &before), 0);
	none.rlim_max = before.rlim_max;
	assert_int_equal(prlimit(seen->pid, RLIMIT_NOFILE, &none, NULL), 0);
	fd = connect_http();
	WAIT_FOR(proxy_has_logged(seen, "event=http_paused", "open files"));
	assert_int_equal(prlimit(seen->pid, RLIMIT_NOFILE, &before, NULL), 0);
	assert_non_null(strstr(get("/healthz"), "HTTP/1.1 200 OK"));
	close(fd);
	assert_in_range(size_of_log(seen), 0, 16384);
}

static void requests_that_make_no_sense_are_refused(void **state)
{
	char *large = malloc(300000);

	(void)state;
	assert_non_null(strstr(get("/nope"), "HTTP/1.1 404 "));
	assert_non_null(strstr(get("/../../etc/passwd"), "HTTP/1.1 404 "));
	assert_null(strstr(say("POST /asides HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
			       "0\r\nConnection: close\r\n\r\n"),
		"HTTP/1.1 200 "));
	assert_null(strstr(say("\x16\x03\x01 not HTTP at all\r\n\r\n"), "HTTP/1.1 200 "));
	memset(large, 'x', 300000);
	memcpy(large, "GET /asides HTTP/1.1\r\nX: ", 25);
	large[299999] = '\0';
	assert_null(strstr(say(large), "HTTP/1.1 200 "));
	free(large);
	assert_non_null(strstr(get("/healthz"), "HTTP/1.1 200 OK"));
}

#define NASTY "\"<script>alert(1)</script>\xc3\xa4 ' \\ \""

static void the_json_is_well_formed_whatever_a_statement_holds(void **state)
{
	PGconn *conn = db_connect(seen->port, "");
	const char *out;

	(void)state;
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY " NASTY " ON t (id) /* \x01\x7f\n\t */");
	db_do(conn, "COMMIT; SET client_encoding = LATIN1; BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY \"latin \xe4\" ON t (id)");
	db_do(conn, "COMMIT");
	out = filter("python3 -c 'import json, sys\n"
		     "p = json.loads(sys.stdin.buffer.read().decode(\"utf-8\"))\n"
		     "for a in p[\"recent\"]: print(ascii(a[\"statement\"]), a[\"outcome\"])'",
		body_of(get("/asides")));
	assert_non_null(strstr(out, "latin \\ufffd\" ON t (id)' done"));
	assert_non_null(strstr(out, "<script>alert(1)</script>\\xe4"));
	assert_null(strstr(get("/asides"), "<script>"));
}

/* The browser, and what it has said so far. */
static struct {
	pid_t pid;
	char out[64], profile[64];
} browser;

static void open_browser(const char *width)
{
	char url[64];
	pid_t parent = getpid();

	snprintf(browser.out, sizeof(browser.out), "/tmp/pgaside-page-%d.out", (int)parent);
	snprintf(browser.profile, sizeof(browser.profile), "/tmp/pgaside-page-%d", (int)parent);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
	browser.pid = fork();
	assert_true(browser.pid >= 0);
	if (browser.pid == 0) {
		int out = open(browser.out, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(out, 1);
		dup2(out, 2);
		if (getppid() == parent)
			execlp("node", "node", "tests/support/page.mjs", url, browser.profile,
				width, (char *)NULL);
		_exit(127);
	}
}

static void close_browser(void)
{
	kill(browser.pid, SIGTERM);
	waitpid(browser.pid, NULL, 0);
	unlink(browser.out);
	cluster_shell("rm -rf %s", browser.profile);
}

/* The last line, which is what stands on the page now. */
static const char *page(void)
{
	static char last[16384];
	char line[16384];
	FILE *f = fopen(browser.out, "r");

	last[0] = '\0';
	if (!f)
		return last;
	while (fgets(line, sizeof(line), f)) {
		if (line[0] != '{')
			fail_msg("%s", line);
		memcpy(last, line, sizeof(last));
	}
	fclose(f);
	return last;
}

static bool page_has(const char *text)
{
	return strstr(page(), text) != NULL;
}

/* A browser takes its time to start on a busy machine. */
#define BROWSER_MS 60000u

static void the_page_shows_a_build_move_and_end(void **state)
{
	PGconn *holder = paced_hold(), *conn = db_connect(seen->port, "");
	PGconn *owing = db_connect(seen->port, "");
	char blocker[80];

	(void)state;
	snprintf(blocker, sizeof(blocker), "\"waits\":\"waits for %d idle 'holder'\"",
		PQbackendPID(holder));
	db_do(owing, "BEGIN; ALTER TABLE t ADD COLUMN c int");
	db_do(owing, "CREATE INDEX CONCURRENTLY t_c ON t (c)");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY " NASTY " ON paced (id)");
	db_send(conn, PACED_INDEX);
	open_browser("400");
	WAIT_FOR_MS(BROWSER_MS,
		page_has("\"phase\":\"building index: scanning table (2/9)\",\"percent\":\"24\","
			 "\"width\":\"24%\""));
	assert_true(page_has(blocker));
	assert_true(page_has("\"owed\":[\"CREATE INDEX CONCURRENTLY t_c ON t (c)\"]"));
	/* Text is text. */
	assert_true(page_has("\\\"<script>alert(1)</script>\xc3\xa4 ' \\\\ \\\" ON paced (id)\","
			     "\"outcome\":\"done\""));
	paced_release(holder, 1);
	WAIT_FOR_MS(BROWSER_MS, page_has("\"percent\":\"49\",\"width\":\"49%\""));
	paced_release(holder, 2);
	paced_release(holder, 3);
	assert_string_equal(db_outcome(conn), "00000");
	WAIT_FOR_MS(BROWSER_MS,
		page_has("\"recent\":[{\"statement\":\"" PACED_INDEX "\",\"outcome\":\"done\"}"));
	assert_true(page_has("\"running\":[]"));
	assert_true(page_has("\"trouble\":\"\",\"overflows\":false"));
	db_do(conn, "COMMIT");
	db_do(owing, "COMMIT");
	WAIT_FOR_MS(BROWSER_MS, page_has("\"owed\":[]"));
	close_browser();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(without_being_asked_nothing_listens),
		CASE(metrics_are_what_prometheus_reads),
		CASE(bytes_are_those_that_the_session_has_sent_and_got),
		CASE(health_ends_with_sigterm),
		CASE(a_successor_is_not_taken_for_the_one_that_ends),
		CASE(a_web_page_elsewhere_cannot_have_it_read),
		CASE(simple_requests_are_answered_as_well),
		CASE(more_connections_than_there_is_room_for_do_no_harm),
		CASE(without_descriptors_http_rests),
		CASE(requests_that_make_no_sense_are_refused),
		CASE(the_json_is_well_formed_whatever_a_statement_holds),
		CASE(the_page_shows_a_build_move_and_end),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
