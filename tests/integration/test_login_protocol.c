/*
 * What a log-in carries, and whether it arrives: protocol versions, options, cancel keys, statuses,
 * and every kind of address. The server is PostgreSQL 18, the first that speaks protocol 3.2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define PROTOCOL_3 0x30000u
#define PROTOCOL_3_2 0x30002u

static struct proxy *relay; /* the same with auth = relay */

static int start(void **state)
{
	char options[1024];

	(void)state;
	snprintf(options, sizeof(options),
		"--auth scram --set listen_addresses=127.0.0.1,::1 --bin %s", cluster_programs(18));
	fixture_start(options);
	tell("CREATE ROLE trusted LOGIN");
	cluster_write_hba(&cluster, "host all trusted 127.0.0.1/32 trust\n"
				    "local all all scram-sha-256\n"
				    "host all all 127.0.0.1/32 scram-sha-256\n"
				    "host all all ::1/128 scram-sha-256\n");
	tell("SELECT pg_reload_conf()");
	WAIT_FOR(db_login_error(cluster.port, "user=trusted password=nonsense")[0] == '\0');
	return 0;
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	relay = proxy_start(fixture_url(""), "--auth", "relay", NULL);
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

/* One that needs no password, so that the whole conversation can be compared. */
struct greeting {
	const char *label;
	uint32_t version;
	const char *parameters[9]; /* name, value, .. */
};

static const char *greet(int port, const struct greeting *g)
{
	static char text[3][18000];
	static unsigned next;
	char *out = text[next++ % 3];
	const char *const *p = g->parameters;
	struct wire *w = wire_open(port);

	wire_startup_with(w, g->version, "user", "trusted", "database", "app", p[0], p[1], p[2],
		p[3], p[4], p[5], p[6], p[7], NULL);
	wire_send(w);
	wire_answers(w, 1);
	snprintf(out, sizeof(text[0]), "%s %s key of %zu", w->text, w->error, w->key_len);
	wire_close(w);
	return out;
}

static void every_greeting_gets_the_servers_own_answer(void **state)
{
	static const struct greeting cases[] = {
		{"3.0", PROTOCOL_3, {0}},
		{"3.1", 0x30001, {0}},
		{"3.2", PROTOCOL_3_2, {0}},
		{"3.3", 0x30003, {0}},
		{"3.9999", 0x3270f, {0}},
		{"an option of the protocol", PROTOCOL_3, {"_pq_.x", "1"}},
		{"two of them, and a version", 0x30009, {"_pq_.x", "1", "_pq_.y", ""}},
		{"an option with 3.2", PROTOCOL_3_2, {"_pq_.test", "yes"}},
		{"settings", PROTOCOL_3,
			{"options", "-c search_path=a,b -c work_mem=7MB", "DateStyle", "German",
				"client_encoding", "LATIN1", "TimeZone", "Asia/Tokyo"}},
		{"escapes in options", PROTOCOL_3_2,
			{"options", "-c application_name=a\\ b\\\\c --geqo=off"}},
		{"an option that is none", PROTOCOL_3, {"options", "-x"}},
		{"a setting that is none", PROTOCOL_3, {"no_such_setting", "1"}},
		{"a custom setting", PROTOCOL_3, {"app.x", "1"}},
		{"a value that is none", PROTOCOL_3, {"work_mem", "much"}},
		{"an encoding that is none", PROTOCOL_3, {"client_encoding", "NONE"}},
		{"a database that is none", PROTOCOL_3, {"database", "nowhere"}},
		{"replication that is none", PROTOCOL_3, {"replication", "maybe"}},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const char *direct = greet(cluster.port, &cases[i]);
		const char *through = greet(proxy->port, &cases[i]);

		if (strcmp(through, direct) != 0)
			fail_msg("%s:\n%s\n, directly\n%s", cases[i].label, through, direct);
		through = greet(relay->port, &cases[i]);
		if (strcmp(through, direct) != 0)
			fail_msg("relayed, %s:\n%s\n, directly\n%s", cases[i].label, through,
				direct);
	}
	assert_non_null(strstr(greet(proxy->port, &cases[0]), " key of 8"));
	assert_non_null(strstr(greet(proxy->port, &cases[2]), "R(0) S("));
	assert_non_null(strstr(greet(proxy->port, &cases[2]), " key of 36"));
	assert_non_null(strstr(greet(proxy->port, &cases[4]), "v(2)"));
	assert_non_null(strstr(greet(proxy->port, &cases[6]), "v(2,_pq_.x,_pq_.y)"));
}

/* The key of 32 bytes is the server's own: a cancel works with it by every way. */
static void a_long_cancel_key_works_by_every_way(void **state)
{
	int ports[] = {proxy->port, relay->port, cluster.port};
	struct wire *w = wire_open(proxy->port);

	(void)state;
	wire_startup(w, PROTOCOL_3_2, "trusted", "app", NULL);
	wire_send(w);
	wire_answers(w, 1);
	assert_int_equal(w->key_len, 36);
	for (size_t i = 0; i < LENGTH(ports); i++) {
		struct wire *c;

		wire_query(w, "SELECT pg_sleep(60)");
		wire_send(w);
		WAIT_FOR(waits_in(w->pid, "PgSleep"));
		c = wire_open(ports[i]);
		wire_cancel_key(c, w->key, w->key_len);
		wire_send(c);
		assert_true(wire_ends(c));
		assert_string_equal(wire_answers(w, 1), "T(1) E(57014) Z:I");
	}
}

static void a_long_cancel_key_cancels_an_aside(void **state)
{
	PGconn *holder = hold_builds();
	struct wire *w = wire_open(proxy->port), *c;

	(void)state;
	wire_startup(w, PROTOCOL_3_2, "app", "app", NULL);
	wire_send(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	wire_password(w, "secret");
	wire_send(w);
	wire_answers(w, 1);
	wire_query(w, "BEGIN");
	wire_send(w);
	wire_answers(w, 1);
	wire_query(w, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	wire_send(w);
	WAIT_FOR(build_is_held());
	/* Right pid, and a key that is wrong in its last byte, or too short. */
	w->key[35] ^= 1;
	c = wire_open(proxy->port);
	wire_cancel_key(c, w->key, w->key_len);
	wire_send(c);
	assert_true(wire_ends(c));
	w->key[35] ^= 1;
	c = wire_open(proxy->port);
	wire_cancel_key(c, w->key, 8);
	wire_send(c);
	assert_true(wire_ends(c));
	assert_false(wire_has_input(w));
	c = wire_open(proxy->port);
	wire_cancel_key(c, w->key, w->key_len);
	wire_send(c);
	assert_true(wire_ends(c));
	assert_string_equal(wire_answers(w, 1), "E(57014) Z:E");
	release_builds(holder);
}

/* A client that insists on 3.2, with the libpq that has it. */
static void libpq_speaks_3_2_through_pgaside(void **state)
{
	struct proxy *both[] = {proxy, relay};

	(void)state;
	for (size_t i = 0; i < LENGTH(both); i++)
		cluster_shell("test \"$(LD_LIBRARY_PATH=%s/../lib psql -XAtc 'BEGIN' -c 'CREATE "
			      "INDEX CONCURRENTLY i%zu ON t (id)' -c 'COMMIT' 'host=127.0.0.1 "
			      "port=%d user=app password=secret dbname=app "
			      "min_protocol_version=3.2 max_protocol_version=latest' %s)\"",
			cluster_programs(18), i, both[i]->port,
			i == 0 ? "2>/dev/null" : "2>&1 | grep 'has none of user'");
	assert_string_equal(index_state("i0"), "t");
	assert_string_equal(index_state("i1"), "");
}

static void ipv6_is_as_good_as_ipv4(void **state)
{
	char upstream[128];
	struct proxy *p;
	PGconn *conn;

	(void)state;
	snprintf(upstream, sizeof(upstream), "postgresql://[::1]:%d/", cluster.port);
	p = proxy_start(upstream, "--listen-addr", "127.0.0.1,::1", NULL);
	conn = db_connect(p->port, "host=::1");
	assert_string_equal(db_text(conn, "SELECT host(inet_client_addr())"), "::1");
	p = proxy_start(upstream, "--listen-addr", "*", NULL);
	db_do(db_connect(p->port, "host=::1"), "SELECT 1");
	db_do(db_connect(p->port, "host=127.0.0.1"), "SELECT 1");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("i"), "t");
}

static void unix_sockets_on_both_legs_work(void **state)
{
	static const char *const auth[] = {"password", "relay"};
	char upstream[600], more[600];

	(void)state;
	snprintf(upstream, sizeof(upstream), "host=%s port=%d user=app password=secret",
		cluster.dir, cluster.port);
	for (size_t i = 0; i < LENGTH(auth); i++) {
		struct proxy *p =
			proxy_start(upstream, "--unix-socket-dir", "/tmp", "--auth", auth[i], NULL);
		PGconn *conn;

		snprintf(more, sizeof(more), "host=/tmp port=%d", p->port);
		conn = db_connect(p->port, more);
		assert_string_equal(db_text(conn, "SELECT inet_client_addr() IS NULL"), "t");
		db_do(conn, "BEGIN");
		db_do(conn, "CREATE INDEX CONCURRENTLY i%zu ON t (id)", i);
		db_do(conn, "COMMIT");
		db_close(conn);
		assert_int_equal(proxy_stop(p, 15), 0);
	}
	assert_string_equal(index_state("i0"), "t");
	assert_string_equal(index_state("i1"), "t");
}

/* At the first nobody listens, the second hangs up, the third speaks another language. */
static void a_host_that_does_not_answer_as_it_should_is_passed_over(void **state)
{
	int hangs_up, babbles, ports[2];
	char upstream[400];
	struct wire *client, *other;
	struct proxy *p;

	(void)state;
	hangs_up = wire_listen(&ports[0]);
	babbles = wire_listen(&ports[1]);
	snprintf(upstream, sizeof(upstream),
		"host=127.0.0.1,127.0.0.1,127.0.0.1,127.0.0.1 port=1,%d,%d,%d", ports[0], ports[1],
		cluster.port);
	p = proxy_start(upstream, NULL);
	client = wire_open(p->port);
	wire_startup(client, PROTOCOL_3, "trusted", "app", NULL);
	wire_send(client);
	wire_close(wire_accept(hangs_up));
	other = wire_accept(babbles);
	wire_raw(other, "SSH-2.0-OpenSSH_9.2\r\n", 21);
	wire_send(other);
	assert_non_null(strstr(wire_answers(client, 1), "Z:I"));
	close(hangs_up);
	close(babbles);
}

/* The same user, the same database, never another. */
static void an_aside_is_of_the_sessions_user_and_database(void **state)
{
	PGconn *holder = hold_builds();
	PGconn *conn = db_connect(proxy->port, "application_name=tool");

	(void)state;
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_watched());
	assert_string_equal(
		ask("SELECT string_agg(usename || '@' || datname, ' ') FROM pg_stat_activity "
		    "WHERE application_name LIKE 'pgaside/%%'"),
		"app@app app@app");
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
	db_do(conn, "COMMIT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_greeting_gets_the_servers_own_answer),
		CASE(a_long_cancel_key_works_by_every_way),
		CASE(a_long_cancel_key_cancels_an_aside),
		CASE(libpq_speaks_3_2_through_pgaside),
		CASE(ipv6_is_as_good_as_ipv4),
		CASE(unix_sockets_on_both_legs_work),
		CASE(a_host_that_does_not_answer_as_it_should_is_passed_over),
		CASE(an_aside_is_of_the_sessions_user_and_database),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
