/*
 * Much data, slow peers, many sessions: what goes in comes out, and memory stays bounded.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <libpq/libpq-fs.h>

#include "fixture.h"

#define ANY_POLICY (-1)

#define MB (1024 * 1024)
#define MEGABYTES_20 (20 * MB)
/* What a session may cost whatever its peers do, with what the allocator keeps for itself. */
#define SESSION_KB (8 * 1024)

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth password");
}

/* A repeating pattern that no shift of less than 9973 bytes leaves the same. */
static char *make_text(size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + i % 9973 % 26);
	text[len] = '\0';
	return text;
}

static void a_query_of_20_megabytes_arrives_whole(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	char *text = make_text(MEGABYTES_20), *sql = malloc(MEGABYTES_20 + 100);
	PGresult *r;

	(void)state;
	assert_non_null(sql);
	snprintf(sql, MEGABYTES_20 + 100, "SELECT '%s'", text);
	r = db_query(conn, sql);
	assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
	assert_int_equal(PQgetlength(r, 0, 0), MEGABYTES_20);
	assert_memory_equal(PQgetvalue(r, 0, 0), text, MEGABYTES_20);
	PQclear(r);
	free(sql);
	free(text);
}

static void a_bound_value_of_20_megabytes_arrives_whole(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	char *text = make_text(MEGABYTES_20);
	const char *values[] = {text};
	const int lengths[] = {MEGABYTES_20}, formats[] = {1};
	PGresult *r;

	(void)state;
	assert_int_equal(
		PQsendQueryParams(conn, "SELECT $1::bytea", 1, NULL, values, lengths, formats, 1),
		1);
	r = db_result(conn);
	assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
	assert_int_equal(PQgetlength(r, 0, 0), MEGABYTES_20);
	assert_memory_equal(PQgetvalue(r, 0, 0), text, MEGABYTES_20);
	PQclear(r);
	free(text);
}

static void a_statement_above_max_statement_size_is_passed_on_unread(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--max-statement-size", "64kB", NULL);
	PGconn *conn = db_connect(p->port, "");
	char *text = make_text(200000), *sql = malloc(300000);

	(void)state;
	assert_non_null(sql);
	snprintf(sql, 300000, "SELECT length('%s')", text);
	assert_int_equal(PQsendQuery(conn, sql), 1);
	assert_string_equal(db_outcome(conn), "00000");
	assert_true(proxy_has_logged(p, "event=statement_unread", "max_statement_size"));
	/* A statement that is not too large is still found in the same session. */
	db_do(conn, "CREATE TABLE small (id int)");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY small_id ON small (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("small_id"), "t");
	db_do(conn, "DROP TABLE small");
	free(sql);
	free(text);
}

static void large_objects_work(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	char *text = make_text(300000), *back = malloc(300000);
	Oid oid;
	int fd;

	(void)state;
	assert_non_null(back);
	db_do(conn, "BEGIN");
	oid = lo_creat(conn, INV_READ | INV_WRITE);
	assert_true(oid != InvalidOid);
	fd = lo_open(conn, oid, INV_READ | INV_WRITE);
	assert_true(fd >= 0);
	assert_int_equal(lo_write(conn, fd, text, 300000), 300000);
	assert_int_equal(lo_lseek(conn, fd, 0, SEEK_SET), 0);
	assert_int_equal(lo_read(conn, fd, back, 300000), 300000);
	assert_memory_equal(back, text, 300000);
	db_do(conn, "ROLLBACK");
	free(back);
	free(text);
}

static void stream_from(struct wire *w, int megabytes)
{
	char sql[200];

	snprintf(sql, sizeof(sql),
		"COPY (SELECT repeat('x', 1023) FROM generate_series(1, %d)) TO STDOUT",
		megabytes * 1024);
	wire_query(w, sql);
	wire_send(w);
}

static bool server_waits_for_client(void)
{
	return ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%%' "
			   "AND wait_event = 'ClientWrite'");
}

/* Reads without looking until the server has nothing more to say; returns how many bytes. */
static size_t drain(struct wire *w)
{
	static char buffer[MB];
	static const char end[] = {'Z', 0, 0, 0, 5, 'I'};
	size_t total = 0;

	for (;;) {
		struct pollfd fd = {.fd = w->fd, .events = POLLIN};
		ssize_t n;

		assert_true(poll(&fd, 1, PATIENCE_MS) > 0);
		n = recv(w->fd, buffer, sizeof(buffer), 0);
		assert_true(n > 0);
		total += (size_t)n;
		if (n >= (ssize_t)sizeof(end) &&
			memcmp(buffer + n - sizeof(end), end, sizeof(end)) == 0)
			return total;
	}
}

static void a_client_that_does_not_read_costs_bounded_memory(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);
	const int megabytes = proxy_is_sanitized() ? 50 : 300;
	long before = proxy_memory_kb(proxy);

	(void)state;
	stream_from(w, megabytes);
	WAIT_FOR(server_waits_for_client());
	if (!proxy_is_sanitized())
		assert_in_range(proxy_peak_kb(proxy), 0, before + SESSION_KB);
	assert_in_range(drain(w), (size_t)megabytes * MB, (size_t)megabytes * (MB + 8 * 1024));
	if (!proxy_is_sanitized())
		assert_in_range(proxy_peak_kb(proxy), 0, before + SESSION_KB);
}

static void a_client_that_does_not_read_stops_nobody_else(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--workers", "1", NULL);
	struct wire *stuck = wire_login(p->port, NULL);
	PGconn *conn;
	uint64_t begin;

	(void)state;
	stream_from(stuck, 50);
	WAIT_FOR(server_waits_for_client());
	begin = patience_now_ms();
	conn = db_connect(p->port, "");
	for (int i = 0; i < 100; i++)
		assert_string_equal(db_text(conn, "SELECT 1"), "1");
	assert_in_range(patience_now_ms() - begin, 0, 5000);
}

static void a_slow_reader_gets_every_byte(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);
	uint64_t sum = 0;
	int small = 64 * 1024;

	(void)state;
	setsockopt(w->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	wire_query(w, "SELECT repeat(chr(65 + i % 26), 1000) FROM generate_series(0, 4999) i");
	wire_send(w);
	assert_string_equal(wire_until(w, "T"), "T(1)");
	for (int i = 0; i < 5000; i++) {
		uint8_t row[1011];

		assert_true(wire_take(w, row, sizeof(row)));
		assert_int_equal(row[0], 'D');
		assert_int_equal(row[11], 'A' + i % 26);
		assert_int_equal(row[1010], 'A' + i % 26);
		sum++;
		if (i % 1000 == 0)
			poll(NULL, 0, 20);
	}
	assert_int_equal(sum, 5000);
	assert_string_equal(wire_answers(w, 1), "C(SELECT 5000) Z:I");
}

/* Of a CopyData message of 4096 bytes. */
static const uint8_t copy_header[] = {'d', 0, 0, 0x0f, 0xff};

/* Sends until nothing is taken for a while; returns how many bytes went. */
static size_t fill(struct wire *w, size_t most)
{
	static char buffer[65536];
	struct pollfd fd = {.fd = w->fd, .events = POLLOUT};
	size_t total = 0;

	for (size_t i = 0; i < sizeof(buffer); i += 4096)
		memcpy(buffer + i, copy_header, sizeof(copy_header));
	while (total < most && poll(&fd, 1, 500) > 0) {
		size_t at = total % sizeof(buffer);
		ssize_t n = send(w->fd, buffer + at, sizeof(buffer) - at, MSG_DONTWAIT);

		assert_true(n > 0 || errno == EAGAIN);
		total += n > 0 ? (size_t)n : 0;
	}
	return total;
}

static void a_server_that_does_not_read_costs_bounded_memory(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);
	pid_t backend = (pid_t)w->pid;
	long before = proxy_memory_kb(proxy);
	size_t sent;
	static char rest[65536];

	(void)state;
	wire_query(w, "CREATE TEMP TABLE x (v bytea)");
	wire_query(w, "COPY x FROM STDIN (FORMAT binary)");
	wire_send(w);
	wire_until(w, "G");
	assert_int_equal(kill(backend, SIGSTOP), 0);
	sent = fill(w, 200u * MB);
	if (!proxy_is_sanitized())
		assert_in_range(proxy_peak_kb(proxy), 0, before + SESSION_KB);
	assert_in_range(sent, 1, 100u * MB);
	assert_int_equal(kill(backend, SIGCONT), 0);
	/* What it says is nonsense to the server, which then ignores it up to the end. */
	if (sent % 4096 < 5)
		wire_raw(w, &copy_header[sent % 4096], sizeof(copy_header) - sent % 4096);
	wire_raw(w, rest, 4096 - (sent % 4096 < 5 ? 5 : sent % 4096));
	wire_message(w, 'c', "", 0);
	wire_query(w, "SELECT 1");
	assert_true(wire_send(w));
	assert_string_equal(wire_answers(w, 2), "E(22P04) Z:I T(1) D(1) C(SELECT 1) Z:I");
}

/* A message is announced with a gigabyte, and then comes drop by drop, or not at all. */
static void an_announced_gigabyte_costs_nothing_until_it_comes(void **state)
{
	static char drop[65536];
	struct wire *query = wire_login(proxy->port, NULL);
	struct wire *bind = wire_login(proxy->port, NULL);
	long before = proxy_memory_kb(proxy);

	(void)state;
	memset(drop, 'x', sizeof(drop));
	wire_raw(query, "Q\x3f\xff\xff\xf0", 5);
	wire_raw(query, drop, sizeof(drop));
	wire_raw(bind, "B\x3f\xff\xff\xf0", 5);
	wire_raw(bind, drop, sizeof(drop));
	wire_send(query);
	wire_send(bind);
	assert_string_equal(db_text(db_connect(proxy->port, ""), "SELECT 1"), "1");
	if (!proxy_is_sanitized())
		assert_in_range(proxy_peak_kb(proxy), 0, before + 2 * SESSION_KB);
}

/* Each of many sessions at once gets its own answers, and the workers share them. */
static void many_sessions_at_once_are_kept_apart(void **state)
{
	enum {
		SESSIONS = 60,
		ROUNDS = 30
	};
	PGconn *conns[SESSIONS];

	(void)state;
	for (int i = 0; i < SESSIONS; i++)
		conns[i] = db_connect(proxy->port, "");
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < SESSIONS; i++)
			db_send(conns[i], "SELECT %d, repeat('%c', %d)", i, 'a' + i % 26, i * 500);
		for (int i = SESSIONS - 1; i >= 0; i--) {
			PGresult *r = db_result(conns[i]);

			assert_int_equal(PQntuples(r), 1);
			assert_int_equal(strtol(PQgetvalue(r, 0, 0), NULL, 10), i);
			assert_int_equal(PQgetlength(r, 0, 1), i * 500);
			PQclear(r);
		}
	}
}

static void sessions_that_come_and_go_leave_nothing_behind(void **state)
{
	int before;

	(void)state;
	db_close(db_connect(proxy->port, ""));
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client "
			     "backend'"));
	before = proxy_descriptors(proxy);
	for (int i = 0; i < 300; i++) {
		PGconn *conn = db_connect(proxy->port, "");

		if (i % 3 == 0)
			db_send(conn, "SELECT pg_sleep(0.01)");
		db_close(conn);
		wire_close(wire_open(proxy->port));
	}
	WAIT_FOR(proxy_descriptors(proxy) <= before);
}

/* One segment that holds hundreds of requests, whose answers are large. */
static void a_deep_pipeline_with_large_answers_does_not_get_stuck(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);

	(void)state;
	for (int i = 0; i < 500; i++)
		wire_query(w, "SELECT repeat('x', 20000)");
	wire_query(w, "SELECT 'end'");
	wire_send(w);
	for (int i = 0; i < 501; i++)
		wire_answers(w, 1);
	assert_string_equal(w->text, "T(1) D(end) C(SELECT 1) Z:I");
}

/* How many threads it has, or how many of them have that policy of the scheduler. */
static int count_threads(const struct proxy *p, int policy)
{
	char path[64];
	struct dirent *thread;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pid);
	d = opendir(path);
	assert_non_null(d);
	while ((thread = readdir(d)))
		n += thread->d_name[0] != '.' &&
		     (policy == ANY_POLICY ||
			     sched_getscheduler((pid_t)strtol(thread->d_name, NULL, 10)) == policy);
	closedir(d);
	return n;
}

/* Workers take a free processor; nobody is interrupted for them. */
static void workers_are_patient(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--workers", "2", NULL);

	(void)state;
	WAIT_FOR(count_threads(p, SCHED_BATCH) == 2);
	assert_int_equal(sched_getscheduler(p->pid), SCHED_OTHER);
}

/* Atomic operations in each system call are what a second thread costs. */
static void one_worker_needs_no_thread(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--workers", "1", NULL);
	struct wire *w = wire_login(p->port, NULL);

	(void)state;
	wire_query(w, "SELECT 1");
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "T(1) D(1) C(SELECT 1) Z:I");
	/* A sanitizer may have one of its own. */
	assert_true(count_threads(p, ANY_POLICY) <= (proxy_is_sanitized() ? 2 : 1));
	assert_int_equal(count_threads(p, SCHED_BATCH), 1);
}

/* What pgaside runs does not inherit its patience. */
static void a_command_is_as_impatient_as_its_parent(void **state)
{
	(void)state;
	cluster_shell("DATABASE_URL='%s' %s run -- chrt -p 0 | grep -q SCHED_OTHER",
		fixture_url(""), proxy_program());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Peaks of memory first: what comes later raises them. */
		TEST(a_client_that_does_not_read_costs_bounded_memory),
		TEST(a_server_that_does_not_read_costs_bounded_memory),
		TEST(an_announced_gigabyte_costs_nothing_until_it_comes),
		TEST(a_query_of_20_megabytes_arrives_whole),
		TEST(a_bound_value_of_20_megabytes_arrives_whole),
		TEST(a_statement_above_max_statement_size_is_passed_on_unread),
		TEST(large_objects_work),
		TEST(a_client_that_does_not_read_stops_nobody_else),
		TEST(a_slow_reader_gets_every_byte),
		TEST(many_sessions_at_once_are_kept_apart),
		TEST(sessions_that_come_and_go_leave_nothing_behind),
		TEST(a_deep_pipeline_with_large_answers_does_not_get_stuck),
		TEST(workers_are_patient),
		TEST(one_worker_needs_no_thread),
		TEST(a_command_is_as_impatient_as_its_parent),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
