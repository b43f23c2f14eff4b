#include "config.h"
#include "config_table.h"
#include "log.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* A file of this text; its path is good until the next call. */
static const char *file_of(const char *text, size_t len)
{
	static char path[] = "/tmp/pgaside-test-XXXXXX";
	FILE *f;
	int fd;

	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
	return path;
}

static bool read_text(struct config *c, const char *text, size_t len, struct err *e)
{
	const char *path = file_of(text, len);
	bool ok = config_read_file(c, path, e);

	unlink(path);
	return ok;
}

static void defaults_are_those_of_the_documentation(void **state)
{
	struct config c;

	(void)state;
	config_init(&c);
	assert_string_equal(c.upstream, "");
	assert_string_equal(c.aside_upstream, "");
	assert_string_equal(c.listen_addr, "127.0.0.1");
	assert_int_equal(c.listen_port, 6432);
	assert_string_equal(c.unix_socket_dir, "");
	assert_int_equal(c.workers, 0);
	assert_int_equal(c.client_tls_sslmode, CLIENT_TLS_DISABLE);
	assert_string_equal(c.client_tls_key_file, "");
	assert_string_equal(c.client_tls_cert_file, "");
	assert_string_equal(c.client_tls_ca_file, "");
	assert_int_equal(c.auth, AUTH_PASSWORD);
	assert_int_equal(c.allow_cleartext, ALLOW_LOCAL);
	assert_int_equal(c.allow_passwordless, ALLOW_LOCAL);
	assert_int_equal(c.max_client_conn, 1000);
	assert_int_equal(c.client_login_timeout_ms, 60000);
	assert_int_equal(c.server_connect_timeout_ms, 15000);
	assert_int_equal(c.max_statement_size, 64 << 20);
	assert_true(c.aside);
	assert_int_equal(c.native, NATIVE_PASS);
	assert_int_equal(c.conflict, CONFLICT_AT_COMMIT);
	assert_int_equal(c.on_rollback, ROLLBACK_UNDO);
	assert_true(c.repair_invalid);
	assert_int_equal(c.aside_retries, 3);
	assert_int_equal(c.aside_idle_timeout_ms, 1000);
	assert_int_equal(c.undo_timeout_ms, 30000);
	assert_int_equal(c.notify, NOTIFY_NOTICE);
	assert_int_equal(c.aside_lock_timeout_ms, 0);
	assert_int_equal(c.aside_statement_timeout_ms, 0);
	assert_int_equal(c.cleanup_timeout_ms, 30000);
	assert_int_equal(c.shutdown_timeout_ms, 60000);
	assert_true(c.tcp_keepalive);
	assert_int_equal(c.tcp_keepidle, 0);
	assert_int_equal(c.tcp_user_timeout_ms, 0);
	assert_true(c.log_connections);
	assert_true(c.log_disconnections);
	assert_int_equal(c.log_format, LOG_AS_TEXT);
	assert_int_equal(c.log_timestamps, LOG_TIME_AUTO);
	assert_string_equal(c.log_level, "info");
	assert_string_equal(c.private_password, "");
	assert_string_equal(c.server_password, "");
	config_release(&c);
}

/* The field as a number, whatever its type. */
static uint64_t field_value(const struct config *c, const struct setting *s)
{
	const char *field = (const char *)c + s->offset;
	uint16_t port;
	unsigned number;
	size_t size;

	switch (s->kind) {
	case SETTING_PORT:
		memcpy(&port, field, sizeof(port));
		return port;
	case SETTING_SIZE:
		memcpy(&size, field, sizeof(size));
		return size;
	case SETTING_BOOL:
		return *field != 0;
	case SETTING_NUMBER:
	case SETTING_TIME:
	case SETTING_WORD:
		memcpy(&number, field, sizeof(number));
		return number;
	case SETTING_STRING:
	case SETTING_WORD_STRING:
		break;
	}
	fail_msg("%s is a string", s->name);
	return 0;
}

static const struct setting *setting_named(const char *name)
{
	const struct setting *s = setting_find(name, strlen(name));

	if (!s)
		fail_msg("no setting %s", name);
	return s;
}

static const struct {
	const char *name, *value;
	uint64_t want;
} good_values[] = {
	{"listen_port", "0", 0},
	{"listen_port", "65535", 65535},
	{"listen_port", "00080", 80},
	{"workers", "64", 64},
	{"max_client_conn", "1", 1},
	{"max_statement_size", "1024", 1024},
	{"max_statement_size", "2000B", 2000},
	{"max_statement_size", "64kB", 64 << 10},
	{"max_statement_size", "64KB", 64 << 10},
	{"max_statement_size", "64KiB", 64 << 10},
	{"max_statement_size", "64MB", 64 << 20},
	{"max_statement_size", "64 MiB", 64 << 20},
	{"max_statement_size", "1GB", 1 << 30},
	{"max_statement_size", "1GiB", 1 << 30},
	{"client_login_timeout", "0", 0},
	{"client_login_timeout", "30", 30000},
	{"client_login_timeout", "30s", 30000},
	{"client_login_timeout", "30 s", 30000},
	{"client_login_timeout", "500ms", 500},
	{"client_login_timeout", "1min", 60000},
	{"client_login_timeout", "1h", 3600000},
	{"client_login_timeout", "1d", 86400000},
	{"client_login_timeout", "2147483647ms", INT_MAX},
	{"aside_lock_timeout", "250", 250},
	{"aside_lock_timeout", "5s", 5000},
	{"tcp_keepidle", "60", 60},
	{"tcp_keepidle", "1min", 60},
	{"tcp_keepidle", "2000ms", 2},
	{"tcp_user_timeout", "30000", 30000},
	{"aside", "on", 1},
	{"aside", "off", 0},
	{"aside", "TRUE", 1},
	{"aside", "False", 0},
	{"aside", "yes", 1},
	{"aside", "no", 0},
	{"aside", "1", 1},
	{"aside", "0", 0},
	{"client_tls_sslmode", "require", CLIENT_TLS_REQUIRE},
	{"client_tls_sslmode", "prefer", CLIENT_TLS_ALLOW},
	{"client_tls_sslmode", "verify-ca", CLIENT_TLS_VERIFY},
	{"client_tls_sslmode", "verify-full", CLIENT_TLS_VERIFY},
	{"auth", "relay", AUTH_RELAY},
	{"allow_cleartext", "always", ALLOW_ALWAYS},
	{"notify", "off", NOTIFY_OFF},
};

static void values_are_read_with_their_units(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(good_values); i++) {
		const struct setting *s = setting_named(good_values[i].name);
		struct config c;
		struct err e;

		config_init(&c);
		if (!setting_set(&c, s, good_values[i].value, "x", &e))
			fail_msg("%s", e.text);
		if (field_value(&c, s) != good_values[i].want)
			fail_msg("%s = %s", good_values[i].name, good_values[i].value);
		config_release(&c);
	}
}

static const struct {
	const char *name, *value;
} bad_values[] = {
	{"listen_port", ""},
	{"listen_port", "70000"},
	{"listen_port", "65536"},
	{"listen_port", "-1"},
	{"listen_port", "+1"},
	{"listen_port", " 1"},
	{"listen_port", "1 "},
	{"listen_port", "0x50"},
	{"listen_port", "64 32"},
	{"listen_port", "18446744073709551617"},
	{"listen_port", "6432 ; comment"},
	{"workers", "65"},
	{"workers", "auto"},
	{"max_client_conn", "0"},
	{"max_statement_size", "1023"},
	{"max_statement_size", "2GB"},
	{"max_statement_size", "64 M"},
	{"max_statement_size", "64MB "},
	{"max_statement_size", "MB"},
	{"max_statement_size", "17179869185GB"},
	{"client_login_timeout", "1m"},
	{"client_login_timeout", "1.5s"},
	{"client_login_timeout", "-1s"},
	{"client_login_timeout", "2147483648ms"},
	{"client_login_timeout", "99999999999999999999d"},
	{"client_login_timeout", "999999999999d"},
	{"tcp_keepidle", "1500ms"},
	{"tcp_keepidle", "1d"},
	{"tcp_keepcnt", "128"},
	{"aside", ""},
	{"aside", "2"},
	{"aside", "onn"},
	{"client_tls_sslmode", "verify_full"},
	{"auth", "trust"},
	{"client_tls_sslmode", "Require"},
	{"notify", ""},
	{"log_level", "verbose"},
};

static void bad_values_are_refused_and_change_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(bad_values); i++) {
		const struct setting *s = setting_named(bad_values[i].name);
		struct config c, before;
		struct err e;

		config_init(&c);
		before = c;
		if (setting_set(&c, s, bad_values[i].value, "here", &e))
			fail_msg("%s = %s", bad_values[i].name, bad_values[i].value);
		assert_memory_equal(e.text, "here: \"", 7);
		assert_memory_equal(&c, &before, sizeof(c));
		config_release(&c);
	}
}

/* %s in `want` is the path. */
static const struct {
	const char *text, *want;
} file_errors[] = {
	{"listen_port = 70000\n", "%s:1: listen_port: \"70000\" is not a port (0 to 65535)"},
	{"; c\n\n# d\n[pgaside]\n\nworkers = x",
		"%s:6: workers: \"x\" is not a number from 0 to 64"},
	{"listen_porrt = 1\n", "%s:1: unknown setting \"listen_porrt\""},
	{"Listen_port = 1\n", "%s:1: unknown setting \"Listen_port\""},
	{"[databases]\nx = y\n", "%s:2: unknown section [databases]"},
	{"aside = on\nlisten_port\n", "%s:2: neither \"key = value\" nor a comment"},
	{"[pgaside\naside = on\n", "%s:1: neither \"key = value\" nor a comment"},
	{"private_password = x\n", "%s:1: unknown setting \"private_password\""},
	{"aside = maybe\n", "%s:1: aside: \"maybe\" is not on or off"},
	{"notify = x\n", "%s:1: notify: \"x\" is not one of notice, off"},
	{"cleanup_timeout = 1m\n",
		"%s:1: cleanup_timeout: \"1m\" is not a time from 0 to 2147483647 ms "
		"(units: ms, s, min, h, d; a plain number counts seconds)"},
	{"max_statement_size = 64M\n",
		"%s:1: max_statement_size: \"64M\" is not a size from 1024 to 1073741824 bytes "
		"(units: B, kB, MB, GB)"},
	{"listen_port = \033[1m\n", "%s:1: listen_port: \"\\x1b[1m\" is not a port (0 to 65535)"},
	/* Only the first of several is told. */
	{"aside = x\naside = y\n", "%s:1: aside: \"x\" is not on or off"},
};

static void an_error_in_a_file_names_file_and_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(file_errors); i++) {
		const char *path = file_of(file_errors[i].text, strlen(file_errors[i].text));
		const char *rest = file_errors[i].want + strlen("%s");
		struct config c;
		struct err e;

		config_init(&c);
		assert_false(config_read_file(&c, path, &e));
		unlink(path);
		assert_memory_equal(e.text, path, strlen(path));
		assert_string_equal(e.text + strlen(path), rest);
		config_release(&c);
	}
}

static void a_file_sets_what_it_names_and_nothing_else(void **state)
{
	static const char text[] = "\xef\xbb\xbf; byte order mark\r\n"
				   "listen_port=5433\r\n"
				   "[pgaside]\r\n"
				   "  upstream  =  host='a' password='x ;y = #z:1'  \r\n"
				   "aside: off\n"
				   "listen_addr =\n"
				   "listen_port = 5434";
	struct config c;
	struct err e;

	(void)state;
	config_init(&c);
	assert_true(read_text(&c, text, sizeof(text) - 1, &e));
	assert_string_equal(c.upstream, "host='a' password='x ;y = #z:1'");
	assert_int_equal(c.listen_port, 5434);
	assert_string_equal(c.listen_addr, "");
	assert_false(c.aside);
	assert_int_equal(c.max_client_conn, 1000);
	config_release(&c);
}

static void long_values_are_whole_and_do_not_upset_the_line_count(void **state)
{
	static const size_t lengths[] = {100, 180, 199, 200, 201, 400, 10000};
	static char text[11000];

	(void)state;
	for (size_t i = 0; i < LENGTH(lengths); i++) {
		const char *path;
		struct config c;
		struct err e;

		config_init(&c);
		memset(text, 'x', sizeof(text));
		memcpy(text, "upstream = ", 11);
		memcpy(text + 11 + lengths[i], "\nbad = 1\n", 10);
		path = file_of(text, strlen(text));
		assert_false(config_read_file(&c, path, &e));
		unlink(path);
		assert_int_equal(strlen(c.upstream), lengths[i]);
		assert_string_equal(e.text + strlen(path), ":2: unknown setting \"bad\"");
		config_release(&c);
	}
}

static void odd_files_are_refused_with_their_name(void **state)
{
	struct config c;
	struct err e;

	(void)state;
	config_init(&c);
	assert_false(config_read_file(&c, "/nonexistent/x.ini", &e));
	assert_string_equal(e.text, "/nonexistent/x.ini: No such file or directory");
	assert_false(config_read_file(&c, "/", &e));
	assert_string_equal(e.text, "/: Is a directory");
	config_release(&c);
}

/* Splits `words` at blanks. */
static int words_of(char *buffer, size_t size, const char *words, char *argv[20])
{
	int argc = 0;
	char *save = NULL;

	assert_true(strlen(words) < size);
	memcpy(buffer, words, strlen(words) + 1);
	for (char *w = strtok_r(buffer, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	return argc;
}

static const struct {
	const char *words;
	int want; /* 0 = error */
	const char *error;
} argument_cases[] = {
	{"serve", 1, NULL},
	{"serve --listen-port 1", 3, NULL},
	{"serve --listen-port=1 --aside off", 4, NULL},
	{"serve --unix-socket-dir=", 2, NULL},
	{"run --aside off -- psql --listen-port x", 4, NULL},
	{"run --aside off psql --listen-port x", 3, NULL},
	{"run -- --version", 2, NULL},
	{"run --", 2, NULL},
	{"serve --listen-port 70000", 0, "--listen-port: \"70000\" is not a port (0 to 65535)"},
	{"serve --listen-port=x", 0, "--listen-port: \"x\" is not a port (0 to 65535)"},
	{"serve --listen-port -1", 0, "--listen-port: \"-1\" is not a port (0 to 65535)"},
	{"serve --listen-port", 0, "--listen-port: needs a value"},
	{"serve --upstream --aside off", 0, "--upstream: needs a value"},
	{"run --upstream -- psql", 0, "--upstream: needs a value"},
	{"serve --listen_port 1", 0, "unknown flag --listen_port"},
	{"serve --Listen-Port 1", 0, "unknown flag --Listen-Port"},
	{"serve --upstreem=postgres://u:secret@h/", 0, "unknown flag --upstreem"},
	{"serve -p 1", 0, "unknown flag -p"},
	{"serve -", 0, "unknown flag -"},
	{"serve --=x", 0, "unknown flag --"},
	{"serve --listen-port-and-so-on-and-so-on-and-so-on-and-so-on-and-so-on-and-so-on 1", 0,
		"unknown flag "
		"--listen-port-and-so-on-and-so-on-and-so-on-and-so-on-and-so-on-and-so-on"},
};

static void flags_are_read_up_to_the_command(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(argument_cases); i++) {
		char buffer[200], *argv[20];
		int argc = words_of(buffer, sizeof(buffer), argument_cases[i].words, argv);
		struct config c;
		struct err e;
		int got;

		config_init(&c);
		got = config_read_arguments(&c, argc, argv, &e);
		if (got != argument_cases[i].want)
			fail_msg("%s: %d", argument_cases[i].words, got);
		if (got == 0)
			assert_string_equal(e.text, argument_cases[i].error);
		config_release(&c);
	}
}

static void flags_set_their_setting(void **state)
{
	char *argv[] = {(char[]){"serve"}, (char[]){"--listen-addr"}, (char[]){"::1"},
		(char[]){"--upstream=host=a port=1"}, (char[]){"--log-disconnections=off"}, NULL};
	struct config c;
	struct err e;

	(void)state;
	config_init(&c);
	assert_int_equal(config_read_arguments(&c, 5, argv, &e), 5);
	assert_string_equal(c.listen_addr, "::1");
	assert_string_equal(c.upstream, "host=a port=1");
	assert_false(c.log_disconnections);
	assert_true(c.log_connections);
	config_release(&c);
}

static void the_environment_sets_what_it_names(void **state)
{
	char *environment[] = {(char[]){"PATH=/bin"}, (char[]){"PGASIDE_LISTEN_PORT=7000"},
		(char[]){"PGASIDE_UPSTREAM=a=b"}, (char[]){"pgaside_workers=x"},
		(char[]){"PGASIDE=x"}, NULL};
	struct config c;
	struct err e;

	(void)state;
	config_init(&c);
	assert_true(config_read_environment(&c, environment, &e));
	assert_int_equal(c.listen_port, 7000);
	assert_string_equal(c.upstream, "a=b");
	config_release(&c);
}

static void variables_of_kubernetes_for_a_service_called_pgaside_are_passed_over(void **state)
{
	char *environment[] = {(char[]){"PGASIDE_PORT=tcp://10.0.0.7:6432"},
		(char[]){"PGASIDE_PORT_6432_TCP=tcp://10.0.0.7:6432"},
		(char[]){"PGASIDE_PORT_6432_TCP_ADDR=10.0.0.7"},
		(char[]){"PGASIDE_SERVICE_HOST=10.0.0.7"}, (char[]){"PGASIDE_SERVICE_PORT=6432"},
		(char[]){"PGASIDE_SERVICE_PORT_SQL=6432"}, (char[]){"PGASIDE_WORKERS=2"}, NULL};
	struct config c;
	struct err e;

	(void)state;
	config_init(&c);
	if (!config_read_environment(&c, environment, &e))
		fail_msg("%s", e.text);
	assert_int_equal(c.workers, 2);
	assert_int_equal(c.listen_port, 6432);
	config_release(&c);
}

static void an_error_in_the_environment_names_the_variable(void **state)
{
	static const struct {
		const char *variable, *want;
	} cases[] = {
		{"PGASIDE_LISTEN_PORT=70000",
			"PGASIDE_LISTEN_PORT: \"70000\" is not a port (0 to 65535)"},
		{"PGASIDE_LISTEN_PORT", "PGASIDE_LISTEN_PORT: \"\" is not a port (0 to 65535)"},
		{"PGASIDE_LISTEN_PRT=1",
			"PGASIDE_LISTEN_PRT: there is no setting for this variable"},
		{"PGASIDE_listen_port=1",
			"PGASIDE_listen_port: there is no setting for this variable"},
		{"PGASIDE_=1", "PGASIDE_: there is no setting for this variable"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		char variable[100];
		char *environment[] = {variable, NULL};
		struct config c;
		struct err e;

		memcpy(variable, cases[i].variable, strlen(cases[i].variable) + 1);
		config_init(&c);
		assert_false(config_read_environment(&c, environment, &e));
		assert_string_equal(e.text, cases[i].want);
		config_release(&c);
	}
}

static void a_later_source_overrides_an_earlier_one(void **state)
{
	char *environment[] = {(char[]){"PGASIDE_WORKERS=2"}, (char[]){"PGASIDE_ASIDE=off"}, NULL};
	char *argv[] = {(char[]){"serve"}, (char[]){"--workers"}, (char[]){"3"}, NULL};
	static const char text[] = "workers = 1\naside = on\nlisten_port = 1\n";
	struct config c;
	struct err e;

	(void)state;
	config_init(&c);
	assert_true(read_text(&c, text, sizeof(text) - 1, &e));
	assert_true(config_read_environment(&c, environment, &e));
	assert_int_equal(config_read_arguments(&c, 3, argv, &e), 3);
	assert_int_equal(c.workers, 3);
	assert_false(c.aside);
	assert_int_equal(c.listen_port, 1);
	config_release(&c);
}

static const struct {
	const char *label, *text;
	const char *want; /* part of the error, NULL = fine */
} check_cases[] = {
	{"nothing set", "", "--upstream"},
	{"upstream set", "upstream = x", NULL},
	{"no address", "upstream = x\nlisten_addr =", "nothing to listen on"},
	{"unix socket only", "upstream = x\nlisten_addr =\nunix_socket_dir = /tmp", NULL},
	{"TLS without files", "upstream = x\nclient_tls_sslmode = allow", "needs client_tls_key"},
	{"TLS without certificate",
		"upstream = x\nclient_tls_sslmode = require\nclient_tls_key_file = k",
		"needs client_tls_key_file and client_tls_cert_file"},
	{"TLS with both",
		"upstream = x\nclient_tls_sslmode = require\nclient_tls_key_file = k\n"
		"client_tls_cert_file = c",
		NULL},
	{"clients' certificates without an authority",
		"upstream = x\nclient_tls_sslmode = verify-ca\nclient_tls_key_file = k\n"
		"client_tls_cert_file = c",
		"client_tls_ca_file need each other"},
	{"an authority that nobody asks",
		"upstream = x\nclient_tls_sslmode = require\nclient_tls_key_file = k\n"
		"client_tls_cert_file = c\nclient_tls_ca_file = a",
		"client_tls_ca_file need each other"},
	{"clients' certificates",
		"upstream = x\nclient_tls_sslmode = verify-full\nclient_tls_key_file = k\n"
		"client_tls_cert_file = c\nclient_tls_ca_file = a",
		NULL},
	{"files without TLS", "upstream = x\nclient_tls_cert_file = c", "need client_tls_sslmode"},
};

static void settings_that_do_not_fit_together_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(check_cases); i++) {
		struct config c;
		struct err e;
		bool ok;

		config_init(&c);
		assert_true(read_text(&c, check_cases[i].text, strlen(check_cases[i].text), &e));
		ok = config_check(&c, &e);
		if (ok != (check_cases[i].want == NULL) ||
			(!ok && !strstr(e.text, check_cases[i].want)))
			fail_msg("%s: %s", check_cases[i].label, ok ? "accepted" : e.text);
		config_release(&c);
	}
}

static void workers_are_at_least_one_and_by_default_at_most_four(void **state)
{
	struct config c;

	(void)state;
	config_init(&c);
	assert_in_range(config_workers(&c), 1, 4);
	c.workers = 9;
	assert_int_equal(config_workers(&c), 9);
	config_release(&c);
}

static void add_name(const char *name, void *arg)
{
	char *names = arg;

	snprintf(names + strlen(names), 100 - strlen(names), "%s ", name);
}

static void what_cannot_change_stays_and_is_named(void **state)
{
	struct config running, c;
	char names[100] = "";
	struct err e;

	(void)state;
	config_init(&running);
	config_init(&c);
	config_keep_fixed(&c, &running, add_name, names);
	assert_string_equal(names, "");
	assert_true(read_text(
		&c, "listen_addr = ::1\nlisten_port = 1\nworkers = 9\nnotify = off\n", 59, &e));
	config_keep_fixed(&c, &running, add_name, names);
	assert_string_equal(names, "listen_addr listen_port workers ");
	assert_string_equal(c.listen_addr, "127.0.0.1");
	assert_ptr_not_equal(c.listen_addr, running.listen_addr);
	assert_int_equal(c.listen_port, 6432);
	assert_int_equal(c.workers, 0);
	assert_int_equal(c.notify, NOTIFY_OFF);
	config_release(&c);
	config_release(&running);
}

static void names_and_defaults_of_the_table_are_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &setting_table[i];

		assert_ptr_equal(setting_find(s->name, strlen(s->name)), s);
		assert_int_equal(strspn(s->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(s->name));
		assert_non_null(s->help);
		assert_non_null(s->initial);
	}
}

/* Read from where the tests are run, the root of the repository. */
static void read_sample(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t len;

	if (!f)
		fail_msg("cannot read %s", path);
	len = fread(text, 1, size - 1, f);
	assert_true(len < size - 1);
	text[len] = '\0';
	fclose(f);
}

static void the_sample_file_has_every_setting_with_its_default(void **state)
{
	static char text[20000];

	(void)state;
	read_sample("conf/pgaside.ini", text, sizeof(text));
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &setting_table[i];
		char line[200];

		snprintf(line, sizeof(line), "\n#%s =%s%s\n", s->name, *s->initial ? " " : "",
			s->initial);
		if (!strstr(text, line))
			fail_msg("no line %s", line);
	}
}

static void the_sample_file_can_be_read_also_with_its_settings_uncommented(void **state)
{
	static char text[20000];
	struct config c;
	struct err e;
	size_t uncommented = 0;

	(void)state;
	config_init(&c);
	assert_true(config_read_file(&c, "conf/pgaside.ini", &e));
	assert_false(config_check(&c, &e));
	read_sample("conf/pgaside.ini", text, sizeof(text));
	for (char *at = text; (at = strstr(at, "\n#")) != NULL; uncommented++)
		at[1] = ' ';
	assert_int_equal(uncommented, setting_count);
	if (!read_text(&c, text, strlen(text), &e))
		fail_msg("%s", e.text);
	config_release(&c);
}

static void the_minimal_file_is_enough(void **state)
{
	struct config c;
	struct err e;

	(void)state;
	config_init(&c);
	assert_true(config_read_file(&c, "conf/minimal.ini", &e));
	assert_true(config_check(&c, &e));
	config_release(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_documentation),
		cmocka_unit_test(values_are_read_with_their_units),
		cmocka_unit_test(bad_values_are_refused_and_change_nothing),
		cmocka_unit_test(an_error_in_a_file_names_file_and_line),
		cmocka_unit_test(a_file_sets_what_it_names_and_nothing_else),
		cmocka_unit_test(long_values_are_whole_and_do_not_upset_the_line_count),
		cmocka_unit_test(odd_files_are_refused_with_their_name),
		cmocka_unit_test(flags_are_read_up_to_the_command),
		cmocka_unit_test(flags_set_their_setting),
		cmocka_unit_test(the_environment_sets_what_it_names),
		cmocka_unit_test(
			variables_of_kubernetes_for_a_service_called_pgaside_are_passed_over),
		cmocka_unit_test(an_error_in_the_environment_names_the_variable),
		cmocka_unit_test(a_later_source_overrides_an_earlier_one),
		cmocka_unit_test(settings_that_do_not_fit_together_are_refused),
		cmocka_unit_test(workers_are_at_least_one_and_by_default_at_most_four),
		cmocka_unit_test(what_cannot_change_stays_and_is_named),
		cmocka_unit_test(names_and_defaults_of_the_table_are_sound),
		cmocka_unit_test(the_sample_file_has_every_setting_with_its_default),
		cmocka_unit_test(the_sample_file_can_be_read_also_with_its_settings_uncommented),
		cmocka_unit_test(the_minimal_file_is_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
