/*
 * Log-in through pgaside: every way the server may ask for a password, and every way it may refuse.
 */
#include <ifaddrs.h>
#include <netdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

/* One role for each method; the rest log in with SCRAM. */
static int start(void **state)
{
	(void)state;
	fixture_start("--auth scram --set listen_addresses=127.0.0.1");
	tell("CREATE ROLE clear LOGIN PASSWORD 'secret'");
	tell("CREATE ROLE trusted LOGIN");
	tell("CREATE ROLE rejected LOGIN PASSWORD 'secret'");
	tell("CREATE ROLE full LOGIN PASSWORD 'secret' CONNECTION LIMIT 0");
	tell("CREATE ROLE late LOGIN PASSWORD 'secret' VALID UNTIL '2001-01-01'");
	tell("CREATE ROLE \"o'dd \"\"näme\" LOGIN PASSWORD 'p=ä %%''\\x'");
	tell("SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'secret'");
	cluster_write_hba(&cluster, "host all hashed 127.0.0.1/32 md5\n"
				    "host all clear 127.0.0.1/32 password\n"
				    "host all trusted 127.0.0.1/32 trust\n"
				    "host all rejected 127.0.0.1/32 reject\n"
				    "host all all 127.0.0.1/32 scram-sha-256\n"
				    "host replication all 127.0.0.1/32 scram-sha-256\n");
	tell("SELECT pg_reload_conf()");
	/* A server process reads the file anew when it gets round to it. */
	WAIT_FOR(ask_is("6", "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL"));
	WAIT_FOR(db_login_error(cluster.port, "user=trusted password=nonsense")[0] == '\0');
	return 0;
}

static void every_method_of_the_server_lets_the_right_password_in(void **state)
{
	static const char *const users[] = {"app", "hashed", "clear", "trusted"};

	(void)state;
	for (size_t i = 0; i < LENGTH(users); i++) {
		char more[64];
		PGconn *conn;

		snprintf(more, sizeof(more), "user=%s", users[i]);
		conn = db_connect(proxy->port, more);
		assert_string_equal(db_text(conn, "SELECT current_user"), users[i]);
		db_close(conn);
	}
}

static void the_server_sees_the_clients_own_startup_parameters(void **state)
{
	PGconn *conn = db_connect(proxy->port,
		"application_name='my tool' options='-c search_path=a,b -c statement_timeout=7s' "
		"client_encoding=LATIN1");

	(void)state;
	assert_string_equal(db_text(conn, "SHOW application_name"), "my tool");
	assert_string_equal(db_text(conn, "SHOW search_path"), "a,b");
	assert_string_equal(db_text(conn, "SHOW statement_timeout"), "7s");
	assert_string_equal(db_text(conn, "SHOW client_encoding"), "LATIN1");
	assert_string_equal(PQparameterStatus(conn, "client_encoding"), "LATIN1");
	assert_int_equal(
		PQbackendPID(conn), strtol(db_text(conn, "SELECT pg_backend_pid()"), NULL, 10));
}

static void a_refusal_is_the_servers_own(void **state)
{
	static const struct {
		const char *more, *state;
	} cases[] = {
		{"password=wrong", "28P01"},
		{"user=hashed password=wrong", "28P01"},
		{"user=clear password=wrong", "28P01"},
		{"user=nobody", "28P01"},
		{"user=rejected", "28000"},
		{"dbname=nowhere", "3D000"},
		{"user=trusted dbname=nowhere", "3D000"},
		{"user=full", "53300"},
		{"user=late", "28P01"},
		{"options='-c work_mem=nonsense'", "22023"},
		{"options='-c no_such_thing=1'", "42704"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const char *direct = db_login_error(cluster.port, cases[i].more);
		const char *through = db_login_error(proxy->port, cases[i].more);

		assert_memory_equal(through, cases[i].state, 5);
		assert_string_equal(through, direct);
	}
}

static void odd_names_and_passwords_work_as_they_do_directly(void **state)
{
	PGconn *conn = db_connect(
		proxy->port, "user='o\\'dd \"näme' password='p=ä %\\'\\\\x' client_encoding=UTF8");

	(void)state;
	assert_string_equal(db_text(conn, "SELECT current_user"), "o'dd \"näme");
}

/* Whether the role odd gets in with these bytes for a password. */
static bool is_let_in(int port, const char *shown)
{
	char number[16];
	const char *const keys[] = {"host", "port", "user", "password", "dbname", "sslmode", NULL};
	const char *const values[] = {"127.0.0.1", number, "odd", shown, "app", "disable", NULL};
	PGconn *conn;
	bool ok;

	snprintf(number, sizeof(number), "%d", port);
	conn = PQconnectdbParams(keys, values, 0);
	ok = PQstatus(conn) == CONNECTION_OK;
	PQfinish(conn);
	return ok;
}

static void a_password_beyond_ascii_is_worth_what_it_is_directly(void **state)
{
	static const struct {
		const char *given, *shown;
		bool ok;
	} cases[] = {
		{"p\xc3\xa9", "p\xc3\xa9", true},
		{"p\xc3\xa9", "pe\xcc\x81", true}, /* the accent apart, as macOS has it */
		{"pe\xcc\x81", "p\xc3\xa9", true},
		{"p\xc3\xa9", "pe", false},
		{"\xef\xac\x81n", "fin", true},
		{"\xef\xbc\xa1 b",
			"A\xc2\xa0"
			"b",
			true},
		{"a\xc2\xad"
		 "b",
			"ab", true},
		{"\xf0\x9f\x98\x80\xc2\xad", "\xf0\x9f\x98\x80\xc2\xad", true},
		{"\xf0\x9f\x98\x80\xc2\xad", "\xf0\x9f\x98\x80", false},
		{"\xe9t\xe9", "\xe9t\xe9", true},
		{"\xd8\xa7"
		 "1\xc2\xad",
			"\xd8\xa7"
			"1",
			false},
		{"e\xcd\x81\xc2\xad", "e\xcd\x81\xc2\xad", true},
		{"e\xcd\x81\xc2\xad", "e\xcc\x81", false},
		{"a\xe2\x84\xb5", "a\xe2\x84\xb5", true},
	};
	PGconn *super = db_super(cluster.port);

	(void)state;
	db_do(super, "CREATE ROLE odd LOGIN");
	for (size_t i = 0; i < LENGTH(cases); i++) {
		char *verifier =
			PQencryptPasswordConn(super, cases[i].given, "odd", "scram-sha-256");

		assert_non_null(verifier);
		db_do(super, "ALTER ROLE odd PASSWORD '%s'", verifier);
		PQfreemem(verifier);
		if (is_let_in(cluster.port, cases[i].shown) != cases[i].ok)
			fail_msg("directly, case %zu", i);
		if (is_let_in(proxy->port, cases[i].shown) != cases[i].ok)
			fail_msg("case %zu", i);
	}
	db_do(super, "DROP ROLE odd");
}

static void an_empty_password_is_refused(void **state)
{
	struct wire *w = wire_open(proxy->port);

	(void)state;
	wire_startup(w, 0x30000, "app", "app", NULL);
	wire_send(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	wire_password(w, "");
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "E(28P01) EOF");
}

static void the_database_is_the_user_when_none_is_named(void **state)
{
	struct wire *w = wire_open(proxy->port);

	(void)state;
	wire_login_as(w, "app", "secret", NULL, NULL);
	wire_query(w, "SELECT current_database()");
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "T(1) D(app) C(SELECT 1) Z:I");
}

static void a_server_that_is_down_is_told_in_clear(void **state)
{
	struct proxy *p;
	const char *error;

	(void)state;
	p = proxy_start("postgresql://127.0.0.1:1/app", NULL);
	error = db_login_error(p->port, "");
	assert_memory_equal(error, "08001: ", 7);
	assert_non_null(strstr(error, "127.0.0.1"));
	assert_non_null(strstr(error, "port 1 failed: Connection refused"));
	assert_true(proxy_has_logged(p, "event=upstream_unreachable", "Connection refused"));
}

static void a_host_that_does_not_exist_is_told_in_clear(void **state)
{
	struct proxy *p;
	const char *error;

	(void)state;
	p = proxy_start("postgresql://no-such-host.invalid/app", NULL);
	error = db_login_error(p->port, "");
	assert_memory_equal(error, "08001: ", 7);
	assert_non_null(strstr(error, "no-such-host.invalid"));
}

static void hosts_are_tried_in_their_order(void **state)
{
	char upstream[200];
	struct proxy *p;

	(void)state;
	snprintf(upstream, sizeof(upstream),
		"host=127.0.0.1,no-such-host.invalid,127.0.0.1 port=1,2,%d", cluster.port);
	p = proxy_start(upstream, NULL);
	db_connect(p->port, "");
}

static void a_client_that_does_not_log_in_is_ended(void **state)
{
	struct proxy *p;
	struct wire *silent, *half, *asked;

	(void)state;
	p = proxy_start(fixture_url(""), "--client-login-timeout", "1s", NULL);
	silent = wire_open(p->port);
	half = wire_open(p->port);
	wire_raw(half, "\0\0\0", 3);
	wire_send(half);
	asked = wire_open(p->port);
	wire_startup(asked, 0x30000, "app", "app", NULL);
	wire_send(asked);
	assert_string_equal(wire_answers(silent, 1), "E(08006) EOF");
	assert_string_equal(wire_answers(half, 1), "E(08006) EOF");
	assert_string_equal(wire_answers(asked, 1), "R(3) E(08006) EOF");
	assert_non_null(strstr(asked->error, "client_login_timeout"));
}

static void the_login_timeout_does_not_end_who_has_logged_in(void **state)
{
	struct proxy *p;
	PGconn *conn;

	(void)state;
	p = proxy_start(fixture_url(""), "--client-login-timeout", "300ms", NULL);
	conn = db_connect(p->port, "");
	assert_string_equal(db_text(conn, "SELECT 1 FROM pg_sleep(0.5)"), "1");
}

static void no_more_clients_than_max_client_conn_get_in(void **state)
{
	struct proxy *p;
	PGconn *first;

	(void)state;
	p = proxy_start(fixture_url(""), "--max-client-conn", "2", NULL);
	first = db_connect(p->port, "");
	db_connect(p->port, "");
	assert_memory_equal(db_login_error(p->port, ""), "53300: ", 7);
	db_close(first);
	WAIT_FOR(db_login_error(p->port, "")[0] == '\0');
}

static void a_unix_socket_is_as_good_as_a_port(void **state)
{
	struct proxy *p;
	char more[256];

	(void)state;
	p = proxy_start(fixture_url(""), "--unix-socket-dir", "/tmp", NULL);
	snprintf(more, sizeof(more), "host=/tmp port=%d", p->port);
	assert_string_equal(db_text(db_connect(p->port, more), "SELECT 1"), "1");
}

static void the_upstream_may_be_a_unix_socket(void **state)
{
	char upstream[600];
	struct proxy *p;

	(void)state;
	cluster_write_hba(&cluster, "local all all scram-sha-256\n"
				    "host all hashed 127.0.0.1/32 md5\n"
				    "host all clear 127.0.0.1/32 password\n"
				    "host all trusted 127.0.0.1/32 trust\n"
				    "host all rejected 127.0.0.1/32 reject\n"
				    "host all,replication all 127.0.0.1/32 scram-sha-256\n");
	tell("SELECT pg_reload_conf()");
	snprintf(upstream, sizeof(upstream), "host=%s port=%d", cluster.dir, cluster.port);
	p = proxy_start(upstream, NULL);
	WAIT_FOR(db_login_error(p->port, "")[0] == '\0');
	assert_string_equal(
		db_text(db_connect(p->port, ""), "SELECT inet_server_port() IS NULL"), "t");
}

/* An address of this machine that is not loopback, NULL if it has none. */
static const char *outer_address(void)
{
	static char address[64];
	struct ifaddrs *list, *i;

	address[0] = '\0';
	assert_int_equal(getifaddrs(&list), 0);
	for (i = list; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !address[0] &&
			strncmp(i->ifa_name, "lo", 2) != 0)
			getnameinfo(i->ifa_addr, sizeof(struct sockaddr_in), address,
				sizeof(address), NULL, 0, NI_NUMERICHOST);
	freeifaddrs(list);
	return address[0] ? address : NULL;
}

static void only_a_local_client_is_asked_for_a_password_in_clear(void **state)
{
	const char *address = outer_address();
	char more[128];
	struct proxy *p, *always;

	(void)state;
	if (!address) {
		print_message("this machine has no address but loopback\n");
		skip();
		return;
	}
	snprintf(more, sizeof(more), "host=%s", address);
	p = proxy_start(fixture_url(""), "--listen-addr", "0.0.0.0", NULL);
	assert_memory_equal(db_login_error(p->port, more), "28000: ", 7);
	assert_string_equal(db_login_error(p->port, ""), "");
	always = proxy_start(
		fixture_url(""), "--listen-addr", "0.0.0.0", "--allow-cleartext", "always", NULL);
	assert_string_equal(db_login_error(always->port, more), "");
}

static void only_a_local_client_gets_to_a_server_that_asks_for_no_password(void **state)
{
	const char *address = outer_address();
	char more[128];
	struct proxy *p, *always;

	(void)state;
	if (!address) {
		print_message("this machine has no address but loopback\n");
		skip();
		return;
	}
	snprintf(more, sizeof(more), "host=%s user=trusted", address);
	p = proxy_start(fixture_url(""), "--listen-addr", "0.0.0.0", NULL);
	assert_memory_equal(db_login_error(p->port, more), "28000: ", 7);
	assert_string_equal(db_login_error(p->port, "user=trusted"), "");
	always = proxy_start(fixture_url(""), "--listen-addr", "0.0.0.0", "--allow-passwordless",
		"always", NULL);
	assert_string_equal(db_login_error(always->port, more), "");
}

/* Runs a shell that says its DATABASE_URL and lives until its input ends. */
static FILE *start_private(char *url, size_t size)
{
	char command[1024], line[1024];
	char path[] = "/tmp/pgaside-url-XXXXXX";
	int fd = mkstemp(path);
	FILE *in, *out;

	assert_true(fd >= 0);
	snprintf(command, sizeof(command),
		"DATABASE_URL='postgresql://app:secret@127.0.0.1:%d/app' %s run -- "
		"sh -c 'echo \"$DATABASE_URL\" > %s; cat > %s.in'",
		cluster.port, proxy_program(), path, path);
	in = popen(command, "w"); /* NOLINT(cert-env33-c): a test's own command */
	assert_non_null(in);
	out = fdopen(fd, "r");
	line[0] = '\0';
	WAIT_FOR(fseek(out, 0, SEEK_SET) == 0 && fgets(line, sizeof(line), out) &&
		 strchr(line, '\n'));
	fclose(out);
	unlink(path);
	snprintf(url, size, "%.*s", (int)strcspn(line, "\n"), line);
	return in;
}

static void a_private_port_lets_in_only_who_has_its_url(void **state)
{
	char url[512];
	FILE *in = start_private(url, sizeof(url));
	const char *at = strrchr(url, '@');
	int port = at ? (int)strtol(strchr(at, ':') + 1, NULL, 10) : 0;
	PGconn *conn;

	(void)state;
	assert_true(port > 0 && port != cluster.port);
	assert_memory_equal(db_login_error(port, "password=wrong"), "28P01: ", 7);
	assert_memory_equal(db_login_error(port, "user=trusted password=wrong"), "28P01: ", 7);
	conn = PQconnectdb(url);
	assert_int_equal(PQstatus(conn), CONNECTION_OK);
	PQfinish(conn);
	assert_int_equal(pclose(in), 0);
}

static void no_password_is_ever_logged(void **state)
{
	struct proxy *p;

	(void)state;
	p = proxy_start(fixture_url(""), "--log-level", "debug", NULL);
	db_do(db_connect(p->port, "password=secret"), "SELECT 1");
	db_login_error(p->port, "password=not-the-secret");
	db_login_error(p->port, "user=clear password=not-the-secret");
	WAIT_FOR(proxy_has_logged(p, "event=disconnect", NULL));
	assert_false(proxy_has_logged(p, "secret", NULL));
}

static void control_characters_in_a_user_name_stay_on_one_log_line(void **state)
{
	struct proxy *p;
	struct wire *w;

	(void)state;
	p = proxy_start(fixture_url(""), NULL);
	w = wire_open(p->port);
	wire_startup(w, 0x30000, "trus\nerror event=fake\033[31m%s%n", "app", NULL);
	wire_send(w);
	assert_string_equal(wire_until(w, "R"), "R(3)");
	wire_close(w);
	WAIT_FOR(proxy_has_logged(p, "event=disconnect", "trus\\nerror event=fake\\x1b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_method_of_the_server_lets_the_right_password_in),
		TEST(the_server_sees_the_clients_own_startup_parameters),
		TEST(a_refusal_is_the_servers_own),
		TEST(odd_names_and_passwords_work_as_they_do_directly),
		TEST(a_password_beyond_ascii_is_worth_what_it_is_directly),
		TEST(an_empty_password_is_refused),
		TEST(the_database_is_the_user_when_none_is_named),
		TEST(a_server_that_is_down_is_told_in_clear),
		TEST(a_host_that_does_not_exist_is_told_in_clear),
		TEST(hosts_are_tried_in_their_order),
		TEST(a_client_that_does_not_log_in_is_ended),
		TEST(the_login_timeout_does_not_end_who_has_logged_in),
		TEST(no_more_clients_than_max_client_conn_get_in),
		TEST(a_unix_socket_is_as_good_as_a_port),
		TEST(the_upstream_may_be_a_unix_socket),
		TEST(only_a_local_client_is_asked_for_a_password_in_clear),
		TEST(only_a_local_client_gets_to_a_server_that_asks_for_no_password),
		TEST(a_private_port_lets_in_only_who_has_its_url),
		TEST(no_password_is_ever_logged),
		TEST(control_characters_in_a_user_name_stay_on_one_log_line),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
