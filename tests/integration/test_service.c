/*
 * pgaside as a daemon: its pid file, the word that it gives to systemd, a successor on the same
 * port, socket options, descriptors.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth password");
}

static const char *content_of(const char *path)
{
	static char text[100];
	FILE *f = fopen(path, "r");
	size_t len = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[len] = '\0';
	return text;
}

static const char *pid_line(const struct proxy *p)
{
	static char text[24];

	snprintf(text, sizeof(text), "%d\n", (int)p->pid);
	return text;
}

/* Starts a second one with this pid file, which must end with 1 and say that. */
static void is_refused(const char *path, const char *why)
{
	cluster_shell("timeout 20 %s serve --listen-port 0 --upstream '%s' --pidfile %s 2>%s; "
		      "test $? = 1 && grep -q 'pidfile.*%s' %s",
		proxy_program(), fixture_url(""), path, cluster_file(&cluster, "out"), why,
		cluster_file(&cluster, "out"));
}

static void a_pid_file_lets_no_second_process_run(void **state)
{
	const char *path = cluster_file(&cluster, "pgaside.pid");
	struct proxy *p = proxy_start(fixture_url(""), "--pidfile", path, NULL);
	char why[64];

	(void)state;
	assert_string_equal(content_of(path), pid_line(p));
	snprintf(why, sizeof(why), "process %d has it", (int)p->pid);
	is_refused(path, why);
	assert_string_equal(content_of(path), pid_line(p));
	/* The file of a process that was killed is in nobody's way. */
	assert_int_equal(proxy_stop(p, SIGKILL), 128 + SIGKILL);
	assert_int_equal(access(path, F_OK), 0);
	p = proxy_start(fixture_url(""), "--pidfile", path, NULL);
	assert_string_equal(content_of(path), pid_line(p));
	assert_int_equal(proxy_stop(p, SIGTERM), 0);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void what_is_no_pid_file_is_left_alone(void **state)
{
	const char *path = cluster_file(&cluster, "precious");
	const char *link = cluster_file(&cluster, "link");
	FILE *f = fopen(path, "w");

	(void)state;
	assert_non_null(f);
	fputs("listen_port = 1\n", f);
	fclose(f);
	is_refused(path, "something else");
	assert_int_equal(symlink(path, link), 0);
	is_refused(link, "symbolic");
	assert_string_equal(content_of(path), "listen_port = 1\n");
	is_refused("/nowhere/pgaside.pid", "No such file");
}

/* The socket that systemd would listen on. */
static int manager_open(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const char *path = cluster_file(&cluster, "notify");

	assert_true(fd >= 0);
	assert_true(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path));
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", path, 1);
	return fd;
}

/* The next message, with a blank for each line end. */
static const char *manager_hears(int fd)
{
	static char text[1024];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n = 0;

	if (poll(&p, 1, PATIENCE_MS) > 0)
		n = recv(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	for (char *c = text; *c; c++)
		*c = *c == '\n' ? ' ' : *c;
	return text;
}

static void assert_begins(const char *text, const char *with)
{
	if (strncmp(text, with, strlen(with)) != 0)
		fail_msg("%s", text);
}

static unsigned long long number_behind(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	if (!at)
		fail_msg("no %s in %s", name, text);
	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static void systemd_is_told_of_every_change(void **state)
{
	int fd = manager_open();
	uint64_t now_usec;
	struct proxy *p = proxy_start(fixture_url(""), "--shutdown-timeout", "3s", NULL);
	const char *text;

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_begins(manager_hears(fd), "READY=1");
	WAIT_FOR(proxy_is_asleep(p));
	now_usec = patience_now_ms() * 1000;
	assert_int_equal(kill(p->pid, SIGHUP), 0);
	text = manager_hears(fd);
	assert_begins(text, "RELOADING=1");
	assert_in_range(
		number_behind(text, "MONOTONIC_USEC="), now_usec, now_usec + PATIENCE_MS * 1000);
	assert_begins(manager_hears(fd), "READY=1");
	WAIT_FOR(proxy_is_asleep(p));
	assert_int_equal(kill(p->pid, SIGTERM), 0);
	text = manager_hears(fd);
	assert_begins(text, "STOPPING=1");
	/* shutdown_timeout and cleanup_timeout at least. */
	assert_in_range(number_behind(text, "EXTEND_TIMEOUT_USEC="), 33000000u, 60000000u);
	assert_int_equal(proxy_wait(p), 0);
	close(fd);
}

/* Inside of a unit, `pgaside run` stays out of what the command has to say. */
static void the_command_of_run_has_the_service_manager_to_itself(void **state)
{
	int fd = manager_open();
	struct pollfd p = {.fd = fd, .events = POLLIN};

	(void)state;
	cluster_shell("DATABASE_URL='%s' %s run -- sh -c 'test -S \"$NOTIFY_SOCKET\"' 2>/dev/null",
		fixture_url(""), proxy_program());
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(poll(&p, 1, 0), 0);
	close(fd);
}

/* A parent may leave signals blocked; then the command's end, and our own, must still be heard of.
 */
static void blocked_signals_are_heard_all_the_same(void **state)
{
	(void)state;
	cluster_shell("DATABASE_URL='%s' timeout -s KILL 20 env --block-signal=CHLD,TERM,INT "
		      "%s run -- true 2>/dev/null",
		fixture_url(""), proxy_program());
	cluster_shell("timeout -k 10 1 env --block-signal=CHLD,TERM,INT %s serve --listen-port 0 "
		      "--upstream '%s' 2>/dev/null; test $? = 124",
		proxy_program(), fixture_url(""));
}

/* A session's first words all at once: so many clients need not be served one after the other. */
static void say_everything(struct wire *w)
{
	wire_startup(w, 0x30000, "app", "app", NULL);
	wire_password(w, "secret");
	wire_query(w, "SELECT 1");
	assert_true(wire_send(w));
}

static bool is_served(struct wire *w)
{
	return strstr(wire_until(w, "D("), "D(1)") && strstr(wire_until(w, "Z"), "Z:I");
}

static const char *number(int n)
{
	static char text[16];

	snprintf(text, sizeof(text), "%d", n);
	return text;
}

#define CLIENTS 24

/* All those who have connected are served, by the one or by the other. */
static void a_successor_takes_over_and_nobody_is_lost(void **state)
{
	struct wire *w[CLIENTS];
	struct proxy *old = proxy_start(fixture_url(""), "--so-reuseport", "on", NULL), *new;
	PGconn *conn = db_connect(old->port, "");

	(void)state;
	db_do(conn, "CREATE TABLE taken_over (id int)");
	db_do(conn, "BEGIN");
	db_do(conn, "INSERT INTO taken_over VALUES (1)");
	new = proxy_start(
		fixture_url(""), "--so-reuseport", "on", "--listen-port", number(old->port), NULL);
	/* These wait in the queue of the one or of the other. */
	assert_int_equal(kill(old->pid, SIGSTOP), 0);
	for (int i = 0; i < CLIENTS; i++)
		say_everything(w[i] = wire_open(old->port));
	assert_int_equal(kill(old->pid, SIGTERM), 0);
	assert_int_equal(kill(old->pid, SIGCONT), 0);
	for (int i = 0; i < CLIENTS; i++)
		assert_true(is_served(w[i]));
	db_do(conn, "INSERT INTO taken_over VALUES (2)");
	db_do(conn, "COMMIT");
	assert_int_equal(proxy_wait(old), 0);
	assert_string_equal(
		db_text(db_connect(new->port, ""), "SELECT count(*) FROM taken_over"), "2");
	tell("DROP TABLE taken_over");
}

/* pgbench, with a connection for each statement, all the while. It ends with 0 if none failed. */
static void client_after_client_sees_no_gap(void **state)
{
	const char *script = cluster_file(&cluster, "select.sql");
	struct proxy *p = proxy_start(fixture_url(""), "--so-reuseport", "on", "--log-connections",
		"off", "--log-disconnections", "off", NULL);
	char command[1024];
	int port = p->port, status;
	FILE *bench;

	(void)state;
	cluster_shell("echo 'SELECT 1' > %s", script);
	snprintf(command, sizeof(command),
		"PGPASSWORD=secret pgbench -n -C -c 4 -T 6 -f %s -h 127.0.0.1 -p %d -U app app >%s "
		"2>&1",
		script, port, cluster_file(&cluster, "bench"));
	bench = popen(command, "r");
	assert_non_null(bench);
	for (int i = 0; i < 5; i++) {
		struct proxy *next = proxy_start(fixture_url(""), "--so-reuseport", "on",
			"--log-connections", "off", "--log-disconnections", "off", "--listen-port",
			number(port), NULL);

		assert_int_equal(proxy_stop(p, SIGTERM), 0);
		p = next;
	}
	status = pclose(bench);
	cluster_shell("! grep -i 'fatal\\|error' %s >&2", cluster_file(&cluster, "bench"));
	assert_int_equal(status, 0);
}

static void without_so_reuseport_the_port_is_taken(void **state)
{
	(void)state;
	cluster_shell(
		"timeout 20 %s serve --so-reuseport on --listen-port %d --upstream '%s' 2>%s; "
		"test $? = 1 && grep -q 'port %d: Address already in use' %s",
		proxy_program(), proxy->port, fixture_url(""), cluster_file(&cluster, "out"),
		proxy->port, cluster_file(&cluster, "out"));
}

static void more_addresses_than_it_can_listen_on_are_an_error(void **state)
{
	(void)state;
	cluster_shell("for i in $(seq 16); do addresses=$addresses,127.0.0.$i; done; "
		      "timeout 20 %s serve --listen-port 0 --listen-addr \"${addresses#,}\" "
		      "--upstream '%s' "
		      "2>%s; test $? = 1 && grep -q 'listen_addr: more than 15 addresses' %s",
		proxy_program(), fixture_url(""), cluster_file(&cluster, "out"),
		cluster_file(&cluster, "out"));
}

static struct proxy *start_on_socket(const char *reuseport, int port)
{
	return proxy_start(fixture_url(""), "--unix-socket-dir", cluster.dir, "--so-reuseport",
		reuseport, "--listen-port", number(port), NULL);
}

static const char *by_socket(void)
{
	static char text[300];

	snprintf(text, sizeof(text), "host=%s", cluster.dir);
	return text;
}

static void a_successor_takes_over_a_unix_socket(void **state)
{
	struct proxy *old = start_on_socket("on", 0), *new;
	int port = old->port;
	PGconn *conn = db_connect(port, by_socket());

	(void)state;
	db_do(conn, "BEGIN");
	new = start_on_socket("on", port);
	assert_int_equal(kill(old->pid, SIGTERM), 0);
	WAIT_FOR(proxy_has_logged(old, "event=stopping", "SIGTERM"));
	/* The old one is there still, and does not take the new one's socket away when it goes. */
	assert_string_equal(db_login_error(port, by_socket()), "");
	db_do(conn, "COMMIT");
	assert_int_equal(proxy_wait(old), 0);
	assert_string_equal(db_login_error(port, by_socket()), "");
	assert_int_equal(proxy_stop(new, SIGTERM), 0);
	assert_non_null(strstr(db_login_error(port, by_socket()), "No such file"));
}

static void a_socket_in_use_is_not_taken_and_a_dead_one_is_replaced(void **state)
{
	struct proxy *p = start_on_socket("off", 0);
	int port = p->port;

	(void)state;
	cluster_shell("timeout 20 %s serve --listen-addr '' --listen-port %d --unix-socket-dir %s "
		      "--upstream '%s' 2>%s; test $? = 1 && grep -q 'Address already in use' %s",
		proxy_program(), port, cluster.dir, fixture_url(""), cluster_file(&cluster, "out"),
		cluster_file(&cluster, "out"));
	assert_string_equal(db_login_error(port, by_socket()), "");
	assert_int_equal(proxy_stop(p, SIGKILL), 128 + SIGKILL);
	start_on_socket("off", port);
	assert_string_equal(db_login_error(port, by_socket()), "");
}

/* A copy of one of the program's descriptors. */
static int copy_of(const struct proxy *p, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	int copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (pidfd >= 0)
		close(pidfd);
	return copy;
}

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

/* How many of its connected TCP sockets have just these options. */
static int count_sockets(const struct proxy *p, const int want[5])
{
	int n = 0;

	for (int fd = 3; fd < 100; fd++) {
		int copy = copy_of(p, fd);
		struct sockaddr_in peer;
		socklen_t len = sizeof(peer);

		if (copy < 0)
			continue;
		if (getpeername(copy, (struct sockaddr *)&peer, &len) == 0 &&
			peer.sin_family == AF_INET)
			n += option_of(copy, SOL_SOCKET, SO_KEEPALIVE) == want[0] &&
			     option_of(copy, IPPROTO_TCP, TCP_KEEPIDLE) == want[1] &&
			     option_of(copy, IPPROTO_TCP, TCP_KEEPINTVL) == want[2] &&
			     option_of(copy, IPPROTO_TCP, TCP_KEEPCNT) == want[3] &&
			     option_of(copy, IPPROTO_TCP, TCP_USER_TIMEOUT) == want[4];
		close(copy);
	}
	return n;
}

static void keepalive_settings_reach_every_socket(void **state)
{
	static const int wanted[] = {1, 77, 7, 3, 12345}, off[] = {0, 77, 7, 3, 12345};
	struct proxy *p = proxy_start(fixture_url("?sslmode=disable"), "--tcp-keepidle", "77",
		"--tcp-keepintvl", "7", "--tcp-keepcnt", "3", "--tcp-user-timeout", "12345", NULL);
	struct proxy *without = proxy_start(fixture_url("?sslmode=disable"), "--tcp-keepalive",
		"off", "--tcp-user-timeout", "12345", NULL);

	PGconn *conn, *holder;

	(void)state;
	if (copy_of(p, 0) < 0 && errno == EPERM)
		skip();
	fresh_table();
	conn = db_connect(p->port, "");
	assert_int_equal(count_sockets(p, wanted), 2);
	/* The connections of an aside are idle for hours, too. */
	holder = hold_builds();
	db_do(conn, "BEGIN");
	db_send(conn, "CREATE INDEX CONCURRENTLY i ON t (slow(id))");
	WAIT_FOR(build_is_watched());
	assert_int_equal(count_sockets(p, wanted), 4);
	release_builds(holder);
	assert_string_equal(db_outcome(conn), "00000");
	db_connect(without->port, "");
	assert_int_equal(count_sockets(without, wanted), 0);
	assert_int_equal(count_sockets(without, off), 0);
}

static void set_limit(const struct proxy *p, rlim_t n)
{
	struct rlimit limit = {n, n};

	assert_int_equal(prlimit(p->pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

static void without_descriptors_accepting_pauses_and_nothing_dies(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--workers", "1", NULL);
	struct wire *w[60];
	int served = 0;

	(void)state;
	set_limit(p, 100);
	for (size_t i = 0; i < LENGTH(w); i++)
		say_everything(w[i] = wire_open(p->port));
	WAIT_FOR(proxy_has_logged(p, "event=accept_paused", NULL));
	/* Those who got in are served, and have an aside, too. */
	for (size_t i = 0; i < 10; i++)
		assert_true(is_served(w[i]));
	tell("CREATE TABLE few (id int); ALTER TABLE few OWNER TO app");
	wire_query(w[0], "BEGIN");
	wire_query(w[0], "CREATE INDEX CONCURRENTLY few_id ON few (id)");
	wire_query(w[0], "COMMIT");
	wire_send(w[0]);
	assert_string_equal(
		wire_answers(w[0], 3), "C(BEGIN) Z:T N(00000) C(CREATE INDEX) Z:T C(COMMIT) Z:I");
	/* One after the other goes, and whoever waited comes in. */
	for (size_t i = 0; i < LENGTH(w); i++) {
		if (i >= 10)
			served += is_served(w[i]);
		wire_close(w[i]);
	}
	assert_int_equal(served, LENGTH(w) - 10);
	assert_true(proxy_is_alive(p));
	assert_in_range(proxy_count_logged(p, "event=accept_paused"), 1, 4);
	tell("DROP TABLE few");
}

static rlim_t soft_limit(const struct proxy *p)
{
	struct rlimit limit;

	assert_int_equal(prlimit(p->pid, RLIMIT_NOFILE, NULL, &limit), 0);
	return limit.rlim_cur;
}

static void the_descriptor_limit_is_raised_or_a_warning_given(void **state)
{
	const char *out = cluster_file(&cluster, "out");
	struct rlimit before, low;
	struct proxy *p;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	if (before.rlim_max < 4000)
		skip();
	low = (struct rlimit){256, before.rlim_max};
	setrlimit(RLIMIT_NOFILE, &low);
	p = proxy_start(fixture_url(""), "--max-client-conn", "900", NULL);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_in_range(soft_limit(p), 4 * 900, 4 * 900 + 200);
	cluster_shell(
		"ulimit -n 200; timeout -s INT 20 %s serve --listen-port 0 --upstream '%s' "
		"--max-client-conn 900 2>%s & until grep -q listening %s; do sleep 0.05; done; "
		"kill $!; wait; grep -q 'event=few_descriptors limit=200 .*max_client_conn = 900' "
		"%s",
		proxy_program(), fixture_url(""), out, out, out);
}

/* max_client_conn refuses sessions, but not those who want one cancelled. */
static void a_full_pgaside_still_passes_cancels_on(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--max-client-conn", "2", NULL);
	struct wire *busy = wire_login(p->port, NULL), *silent[8], *cancel;
	int alone;

	(void)state;
	wire_login(p->port, NULL);
	alone = proxy_descriptors(p);
	assert_memory_equal(db_login_error(p->port, ""), "53300: ", 7);
	wire_query(busy, "SELECT pg_sleep(60)");
	wire_send(busy);
	WAIT_FOR(waits_in(busy->pid, "PgSleep"));
	cancel = wire_open(p->port);
	wire_cancel(cancel, busy->pid, busy->secret);
	wire_send(cancel);
	assert_string_equal(wire_answers(busy, 1), "T(1) E(57014) Z:I");
	wire_close(cancel);
	WAIT_FOR(proxy_descriptors(p) <= alone);
	/* But there is an end to them, too: as many again, though all come at once. */
	assert_int_equal(kill(p->pid, SIGSTOP), 0);
	for (size_t i = 0; i < LENGTH(silent); i++)
		silent[i] = wire_open(p->port);
	assert_int_equal(kill(p->pid, SIGCONT), 0);
	for (size_t i = 2; i < LENGTH(silent); i++)
		assert_string_equal(wire_until(silent[i], "E"), "E(53300)");
	assert_false(wire_has_input(silent[0]));
	assert_false(wire_has_input(silent[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_pid_file_lets_no_second_process_run),
		TEST(what_is_no_pid_file_is_left_alone),
		TEST(systemd_is_told_of_every_change),
		TEST(the_command_of_run_has_the_service_manager_to_itself),
		TEST(blocked_signals_are_heard_all_the_same),
		TEST(a_successor_takes_over_and_nobody_is_lost),
		TEST(client_after_client_sees_no_gap),
		TEST(without_so_reuseport_the_port_is_taken),
		TEST(more_addresses_than_it_can_listen_on_are_an_error),
		TEST(a_successor_takes_over_a_unix_socket),
		TEST(a_socket_in_use_is_not_taken_and_a_dead_one_is_replaced),
		TEST(keepalive_settings_reach_every_socket),
		TEST(without_descriptors_accepting_pauses_and_nothing_dies),
		TEST(the_descriptor_limit_is_raised_or_a_warning_given),
		TEST(a_full_pgaside_still_passes_cancels_on),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
