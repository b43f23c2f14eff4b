/*
 * Every input has a limit, and memory a ceiling: what is too long is refused as PostgreSQL does it,
 * and what is merely large passes without being held.
 */
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define MB (1024 * 1024)

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth password");
}

static void is_below(const struct proxy *p, long kb)
{
	if (!proxy_is_sanitized())
		assert_in_range(proxy_peak_kb(p), 0, kb);
}

static void no_file_limit(void)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* A message of that type, so long by its length field, behind a query whose answer is due. */
static const char *long_message(int port, char type, unsigned length)
{
	static char body[20000], text[sizeof(((struct wire *)0)->text)];
	struct wire *w = wire_login(port, NULL);

	wire_query(w, "SELECT 1");
	wire_message(w, type, body, length - 4);
	wire_sync(w);
	wire_send(w);
	snprintf(text, sizeof(text), "%s", wire_answers(w, 2));
	wire_close(w);
	return text;
}

static void small_messages_have_the_servers_own_limit(void **state)
{
	static const char types[] = "SHCDEcfX";

	(void)state;
	for (const char *type = types; *type; type++) {
		for (unsigned length = 10000; length <= 10001; length++) {
			char direct[300];

			snprintf(direct, sizeof(direct), "%s",
				long_message(cluster.port, *type, length));
			if (strcmp(long_message(proxy->port, *type, length), direct) != 0)
				fail_msg("%c of %u: %s instead of %s", *type, length,
					long_message(proxy->port, *type, length), direct);
		}
		/* The server has ended the connection, behind what was due. */
		assert_string_equal(
			long_message(proxy->port, *type, 10001), "T(1) D(1) C(SELECT 1) Z:I EOF");
	}
}

/* Also where Execute and Close are looked at, and where what would be skipped is dropped here. */
static void a_long_small_message_is_not_held_for_an_aside(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);
	static char drop[65536];
	long before = proxy_peak_kb(proxy);

	(void)state;
	wire_parse(w, "s", "CREATE INDEX CONCURRENTLY i ON nowhere (id)");
	wire_sync(w);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "1 Z:I");
	wire_raw(w, "E\x02\x00\x00\x00", 5); /* 32 MiB */
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "EOF");
	/* Whatever still comes is for nobody. */
	for (int i = 0; i < 16 && wire_send(w); i++)
		wire_raw(w, drop, sizeof(drop));
	is_below(proxy, before + 1024);
}

static void startup_packets_and_passwords_have_theirs(void **state)
{
	static char text[70000];
	struct wire *w;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	/* PostgreSQL counts without the length itself: 10,004 bytes in all. These are user, app,
	 * database, app, options, -c application_name=xxx.., zero; and 8 in front. */
	text[10004 - 8 - 5 - 4 - 9 - 4 - 8 - 2] = '\0';
	memcpy(text, "-c application_name=", 20);
	w = wire_open(proxy->port);
	wire_startup(w, 0x30000, "app", "app", text);
	assert_int_equal(bytes_length(&w->out), 10004);
	wire_send(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	w = wire_open(proxy->port);
	text[strlen(text)] = 'x';
	text[10004 - 8 - 5 - 4 - 9 - 4 - 8 - 1] = '\0';
	wire_startup(w, 0x30000, "app", "app", text);
	assert_int_equal(bytes_length(&w->out), 10005);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
	/* The length of a password message says 65,535 at most: the server gets such a one. */
	text[strlen(text)] = 'x';
	text[65535 - 4 - 1] = '\0';
	w = wire_open(proxy->port);
	wire_startup(w, 0x30000, "app", "app", NULL);
	wire_password(w, text);
	wire_send(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	assert_string_equal(wire_answers(w, 1), "E(28P01) EOF");
	/* Of a longer one nobody waits for the rest. */
	w = wire_open(proxy->port);
	wire_startup(w, 0x30000, "app", "app", NULL);
	wire_send(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	wire_raw(w, "p\0\x01\0\0", 5);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(08P01) EOF");
}

static bool server_waits_for_client(void)
{
	return ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%%' "
			   "AND wait_event = 'ClientWrite'");
}

/* What the server has made of its answer so far, in bytes. */
static unsigned long long copied(void)
{
	return strtoull(ask("SELECT bytes_processed FROM pg_stat_progress_copy"), NULL, 10);
}

static bool has_stopped(int ms)
{
	unsigned long long before = copied();

	poll(NULL, 0, ms);
	return copied() == before;
}

static void ten_gibibytes_stop_at_a_client_that_does_not_read(void **state)
{
	struct wire *w = wire_login(proxy->port, NULL);
	long before = proxy_memory_kb(proxy);

	(void)state;
	wire_query(
		w, "COPY (SELECT repeat('x', 1023) FROM generate_series(1, 10485760)) TO STDOUT");
	wire_send(w);
	WAIT_FOR(server_waits_for_client() && has_stopped(500));
	/* It has stopped, and not only just now. */
	assert_true(has_stopped(3000));
	assert_true(server_waits_for_client());
	assert_in_range(copied(), MB / 4, 100u * MB);
	is_below(proxy, before + 8 * 1024);
	wire_close(w);
	WAIT_FOR(ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%%'"));
}

static void a_gigabyte_of_bind_passes_without_being_held(void **state)
{
	enum {
		CHUNK = 4 * MB
	};
	const size_t length = (size_t)1023 * MB;
	struct wire *w = wire_login(proxy->port, NULL);
	long before = proxy_memory_kb(proxy);
	char *chunk = calloc(1, CHUNK);
	size_t sent = 4;

	(void)state;
	assert_non_null(chunk);
	/* There is no statement "": the server reads all of it before it says so. */
	wire_raw(w, "B\x3f\xf0\x00\x00", 5);
	wire_send(w);
	while (sent < length) {
		size_t n = length - sent < CHUNK ? length - sent : CHUNK;

		wire_raw(w, chunk, n);
		assert_true(wire_send(w));
		sent += n;
	}
	wire_sync(w);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(26000) Z:I");
	is_below(proxy, before + 8 * 1024);
	free(chunk);
}

static void an_announced_gigabyte_of_copy_passes_as_it_comes(void **state)
{
	static char drop[MB];
	struct wire *w = wire_login(proxy->port, NULL);
	long before = proxy_memory_kb(proxy);

	(void)state;
	wire_query(w, "CREATE TEMP TABLE c (v text)");
	wire_query(w, "COPY c FROM STDIN");
	wire_send(w);
	wire_until(w, "G");
	wire_raw(w, "d\x3f\xf0\x00\x00", 5);
	for (int i = 0; i < 200; i++) {
		wire_raw(w, drop, sizeof(drop));
		assert_true(wire_send(w));
	}
	is_below(proxy, before + 8 * 1024);
}

static int connect_to(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void a_thousand_half_open_log_ins_cost_little_and_end(void **state)
{
	struct proxy *p = proxy_start(
		fixture_url(""), "--client-login-timeout", "8s", "--max-client-conn", "2000", NULL);
	int descriptors = proxy_descriptors(p);
	long before = proxy_memory_kb(p);
	int fds[1000];
	struct wire *w = wire_open(p->port);

	(void)state;
	for (size_t i = 0; i < LENGTH(fds); i++) {
		fds[i] = connect_to(p->port);
		assert_true(i % 2 == 0 || send(fds[i], "\0\0\x27", 3, MSG_NOSIGNAL) == 3);
	}
	WAIT_FOR(proxy_descriptors(p) >= descriptors + 1000);
	if (!proxy_is_sanitized())
		assert_in_range(proxy_memory_kb(p), 0, before + 1000 * 8);
	/* Others log in all the while. */
	assert_string_equal(db_login_error(p->port, ""), "");
	assert_string_equal(wire_until(w, "E"), "E(08006)");
	WAIT_FOR(proxy_descriptors(p) <= descriptors);
	/* Nor does their end cost anything. */
	is_below(p, before + 1000 * 8);
	for (size_t i = 0; i < LENGTH(fds); i++)
		close(fds[i]);
}

/* `n` bytes of a Query of `length` bytes, a comment with that text at its end. */
static void send_part(struct wire *w, const char *end, size_t length, size_t from, size_t n)
{
	const char head[] = {'Q', (char)(length >> 24), (char)(length >> 16), (char)(length >> 8),
		(char)length, '/', '*'};
	char *text = malloc(length + 1);

	assert_non_null(text);
	memset(text, 'x', length + 1);
	memcpy(text, head, sizeof(head));
	memcpy(text + length - strlen(end), end, strlen(end) + 1);
	wire_raw(w, text + from, n);
	assert_true(wire_send(w));
	free(text);
}

static const char select_one[] = "*/ SELECT 1";

/* The ceiling for one session: the statement, and what the server has not taken of it. */
static void a_statement_is_held_twice_at_most(void **state)
{
	struct proxy *p =
		proxy_start(fixture_url("?sslmode=disable"), "--max-statement-size", "48MB", NULL);
	struct wire *w = wire_login(p->port, NULL);
	long before = proxy_memory_kb(p);

	(void)state;
	assert_int_equal(kill((pid_t)w->pid, SIGSTOP), 0);
	send_part(w, select_one, 47 * MB, 0, 47 * MB + 1);
	WAIT_FOR(!wire_has_input(w) && proxy_memory_kb(p) > before + 30 * 1024);
	assert_int_equal(kill((pid_t)w->pid, SIGCONT), 0);
	assert_string_equal(wire_answers(w, 1), "T(1) D(1) C(SELECT 1) Z:I");
	is_below(p, before + 2 * 48 * 1024 + 8 * 1024);
	/* And given back. */
	if (!proxy_is_sanitized())
		WAIT_FOR(proxy_memory_kb(p) < before + 8 * 1024);
}

static const char *send_large(struct wire *w, const char *end)
{
	send_part(w, end, 100 * MB, 0, 100 * MB + 1);
	return wire_answers(w, 1);
}

/* It passes unread, unless it is to be read. */
static void a_statement_of_a_hundred_megabytes_is_passed_on_or_read(void **state)
{
	struct proxy *reader = proxy_start(fixture_url(""), "--max-statement-size", "128MB", NULL);
	struct wire *w = wire_login(proxy->port, NULL), *r = wire_login(reader->port, NULL);
	long before = proxy_memory_kb(proxy), reader_before = proxy_memory_kb(reader);

	(void)state;
	tell("CREATE TABLE large (id int); ALTER TABLE large OWNER TO app");
	assert_string_equal(send_large(w, select_one), "T(1) D(1) C(SELECT 1) Z:I");
	assert_string_equal(send_large(w, "*/ BEGIN"), "C(BEGIN) Z:T");
	assert_string_equal(
		send_large(w, "*/ CREATE INDEX CONCURRENTLY i ON large (id)"), "E(25001) Z:E");
	assert_true(proxy_has_logged(proxy, "event=statement_unread", "max_statement_size"));
	is_below(proxy, before + 8 * 1024);
	assert_string_equal(send_large(r, "*/ BEGIN"), "C(BEGIN) Z:T");
	assert_string_equal(send_large(r, "*/ CREATE INDEX CONCURRENTLY i ON large (id)"),
		"N(00000) C(CREATE INDEX) Z:T");
	assert_string_equal(send_large(r, "*/ COMMIT"), "C(COMMIT) Z:I");
	assert_string_equal(index_state("i"), "t");
	is_below(reader, reader_before + 4 * 100 * 1024 + 8 * 1024);
	tell("DROP TABLE large");
}

/* And for all of them: what comes above is passed on unread. */
static void many_large_statements_at_once_have_a_ceiling(void **state)
{
	enum {
		SESSIONS = 24,
		LENGTH = 8 * MB - 4096,
		PART = 7 * MB
	};
	struct proxy *p = proxy_start(fixture_url(""), "--max-statement-size", "8MB", NULL);
	struct wire *w[SESSIONS];
	long before = proxy_memory_kb(p);

	(void)state;
	for (int i = 0; i < SESSIONS; i++)
		send_part(w[i] = wire_login(p->port, NULL), select_one, LENGTH, 0, PART);
	WAIT_FOR(proxy_has_logged(p, "event=statement_unread", "at once"));
	is_below(p, before + 10 * 8 * 1024 + 8 * 1024);
	for (int i = 0; i < SESSIONS; i++) {
		send_part(w[i], select_one, LENGTH, PART, LENGTH + 1 - PART);
		assert_string_equal(wire_answers(w[i], 1), "T(1) D(1) C(SELECT 1) Z:I");
	}
	is_below(p, before + 12 * 8 * 1024 + 8 * 1024);
	/* Nothing is left of the sum: a statement of that size is read again. */
	wire_query(w[0], "CREATE TABLE large (id int)");
	wire_query(w[0], "BEGIN");
	wire_send(w[0]);
	wire_answers(w[0], 2);
	{
		char *sql = malloc(5 * MB);

		assert_non_null(sql);
		memset(sql, ' ', 5 * MB);
		snprintf(sql + 4 * MB, 100, "CREATE INDEX CONCURRENTLY large_id ON large (id)");
		wire_query(w[0], sql);
		free(sql);
	}
	wire_query(w[0], "COMMIT");
	wire_send(w[0]);
	assert_string_equal(wire_answers(w[0], 2), "N(00000) C(CREATE INDEX) Z:T C(COMMIT) Z:I");
	tell("DROP TABLE large");
}

/* One more statement of ten megabytes is owed: its SQLSTATE. */
static const char *owe_much(PGconn *conn, int i)
{
	static char state[6];
	int len = 10 << 20;
	char *sql;
	PGresult *r;

	assert_true(
		asprintf(&sql, "CREATE INDEX CONCURRENTLY i%d /* %*s */ ON t (v)", i, len, "") > 0);
	r = db_query(conn, sql);
	snprintf(state, sizeof(state), "%s", db_error_field(r, PG_DIAG_SQLSTATE));
	PQclear(r);
	free(sql);
	return state;
}

static void what_is_owed_has_a_limit(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	fresh_table();
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
	for (int i = 0; i < 6; i++)
		assert_string_equal(owe_much(conn, i), "");
	assert_string_equal(owe_much(conn, 6), "54000");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(small_messages_have_the_servers_own_limit),
		TEST(a_long_small_message_is_not_held_for_an_aside),
		TEST(startup_packets_and_passwords_have_theirs),
		TEST(ten_gibibytes_stop_at_a_client_that_does_not_read),
		TEST(a_gigabyte_of_bind_passes_without_being_held),
		TEST(an_announced_gigabyte_of_copy_passes_as_it_comes),
		TEST(a_thousand_half_open_log_ins_cost_little_and_end),
		TEST(a_statement_is_held_twice_at_most),
		TEST(a_statement_of_a_hundred_megabytes_is_passed_on_or_read),
		TEST(many_large_statements_at_once_have_a_ceiling),
		TEST(what_is_owed_has_a_limit),
	};

	no_file_limit();
	return cmocka_run_group_tests(tests, start, fixture_stop);
}
