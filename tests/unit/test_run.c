#include "run_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define AT "127.0.0.1:5499"
#define RANDOM "0123456789abcdef"

enum {
	MAX_VARIABLES = 12,
	MAX_NAMES = 3
};

/* What `pgaside run` is given. */
struct given {
	const char *upstream;
	const char *environment[MAX_VARIABLES];
	const char *names[MAX_NAMES];
	const char *passfile;
};

struct fixture {
	char *environment[MAX_VARIABLES + 1]; /* owned */
	struct run_request request;
	struct run_plan plan;
};

static bool plan(struct fixture *f, const struct given *g, struct err *e)
{
	size_t n = 0;

	*f = (struct fixture){0};
	for (; n < MAX_VARIABLES && g->environment[n]; n++)
		assert_non_null(f->environment[n] = strdup(g->environment[n]));
	f->request = (struct run_request){
		.upstream = g->upstream ? g->upstream : "",
		.environment = f->environment,
		.names = g->names,
		.random = RANDOM,
		.passfile = g->passfile ? g->passfile : "",
		.os_user = "os",
	};
	while (f->request.n_names < MAX_NAMES && g->names[f->request.n_names])
		f->request.n_names++;
	return run_plan_init(&f->plan, &f->request, e);
}

static void release(struct fixture *f)
{
	run_plan_release(&f->plan);
	for (size_t i = 0; f->environment[i]; i++)
		free(f->environment[i]);
}

static const struct {
	const char *label;
	struct given given;
	const char *upstream, *shown, *of_server;
	const char *want[MAX_VARIABLES]; /* the whole environment, in order */
} cases[] = {
	{"a URL with everything",
		{.environment = {"A=b", "DATABASE_URL=postgresql://u:p%40@h:5433/db?schema=s"}},
		"host='h' port='5433' user='u' password='p@' dbname='db'", "p@", "p@",
		{"A=b", "PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u",
			"PGDATABASE=db", "PGPASSWORD=p@",
			"DATABASE_URL=postgresql://u:p%40@" AT "/db?schema=s"}},
	{"no password: one is made up", {.environment = {"DATABASE_URL=postgresql://u@h/db"}},
		"host='h' user='u' dbname='db'", RANDOM, "",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u",
			"PGDATABASE=db", "PGPASSWORD=" RANDOM,
			"DATABASE_URL=postgresql://u:" RANDOM "@" AT "/db"}},
	{"no user: PGPASSWORD alone carries it",
		{.environment = {"DATABASE_URL=postgresql://h/db"}}, "host='h' dbname='db'", RANDOM,
		"",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGDATABASE=db",
			"PGPASSWORD=" RANDOM, "DATABASE_URL=postgresql://" AT "/db"}},
	{"the password is in PGPASSWORD",
		{.environment = {"PGPASSWORD=p'/", "DATABASE_URL=postgresql://u@h"}},
		"host='h' user='u'", "p'/", "p'/",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u",
			"PGPASSWORD=p'/", "DATABASE_URL=postgresql://u:p%27%2F@" AT}},
	{"what leads to the real server or secures the way is gone",
		{.environment = {"PGHOST=x", "PGHOSTADDR=::1", "PGPORT=1", "PGSERVICEFILE=f",
			 "PGSSLMODE=verify-full", "PGSSLROOTCERT=r", "PGCHANNELBINDING=require",
			 "PGREQUIREAUTH=md5", "PGTARGETSESSIONATTRS=any", "PGHOSTS=stays",
			 "DATABASE_URL=postgresql://u:p@h?sslmode=require"}},
		"host='h' port='1' user='u' password='p' sslmode='require' "
		"target_session_attrs='any' sslrootcert='r' channel_binding='require' "
		"require_auth='md5'",
		"p", "p",
		{"PGHOSTS=stays", "PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable",
			"PGUSER=u", "PGPASSWORD=p",
			"DATABASE_URL=postgresql://u:p@" AT "?sslmode=disable"}},
	{"PGUSER and PGDATABASE stay if they are set",
		{.environment = {"PGUSER=me", "PGDATABASE=mine", "PGAPPNAME=a",
			 "DATABASE_URL=postgresql://u:p@h/db"}},
		"host='h' user='u' password='p' dbname='db'", "p", "p",
		{"PGUSER=me", "PGDATABASE=mine", "PGAPPNAME=a", "PGHOST=127.0.0.1", "PGPORT=5499",
			"PGSSLMODE=disable", "PGPASSWORD=p",
			"DATABASE_URL=postgresql://u:p@" AT "/db"}},
	{"a stale PGPASSWORD is replaced",
		{.environment = {"PGPASSWORD=old", "DATABASE_URL=postgresql://u:p@h"}},
		"host='h' user='u' password='p'", "p", "p",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u", "PGPASSWORD=p",
			"DATABASE_URL=postgresql://u:p@" AT}},
	{"PGUSER with a password of its own may come as well",
		{.environment = {"PGUSER=me", "PGPASSWORD=mine",
			 "DATABASE_URL=postgresql://u:p@h"}},
		"host='h' user='u' password='p'", "", "",
		{"PGUSER=me", "PGPASSWORD=mine", "PGHOST=127.0.0.1", "PGPORT=5499",
			"PGSSLMODE=disable", "DATABASE_URL=postgresql://u:p@" AT}},
	{"--env with the same password",
		{.environment = {"DIRECT_URL=postgres://u:p@h/x?sslmode=require",
			 "DATABASE_URL=postgresql://u:p@h"},
			.names = {"DIRECT_URL", "DATABASE_URL", "DIRECT_URL"}},
		"host='h' user='u' password='p'", "p", "p",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u", "PGPASSWORD=p",
			"DATABASE_URL=postgresql://u:p@" AT,
			"DIRECT_URL=postgres://u:p@" AT "/x?sslmode=disable"}},
	{"--env with another user: the server decides",
		{.environment = {"OWNER_URL=postgresql://o:q@h", "DATABASE_URL=postgresql://u:p@h"},
			.names = {"OWNER_URL"}},
		"host='h' user='u' password='p'", "", "",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u", "PGPASSWORD=p",
			"DATABASE_URL=postgresql://u:p@" AT, "OWNER_URL=postgresql://o:q@" AT}},
	{"--env without a password gets that of DATABASE_URL",
		{.environment = {"X=postgresql://u@h", "DATABASE_URL=postgresql://u:p@h"},
			.names = {"X"}},
		"host='h' user='u' password='p'", "p", "p",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u", "PGPASSWORD=p",
			"DATABASE_URL=postgresql://u:p@" AT, "X=postgresql://u:p@" AT}},
	{"JDBC is given its password elsewhere",
		{.environment = {"DATABASE_URL=jdbc:postgresql://h/db?user=u", "PGPASSWORD=x"}},
		"host='h' user='u' dbname='db'", "", "",
		{"PGPASSWORD=x", "PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u",
			"PGDATABASE=db", "DATABASE_URL=jdbc:postgresql://" AT "/db?user=u"}},
	{"JDBC with its password",
		{.environment = {"DATABASE_URL=jdbc:postgresql://h/db?user=u&password=p"}},
		"host='h' user='u' password='p' dbname='db'", "p", "p",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u",
			"PGDATABASE=db", "PGPASSWORD=p",
			"DATABASE_URL=jdbc:postgresql://" AT "/db?user=u&password=p"}},
	{"--upstream and DATABASE_URL",
		{.upstream = "postgresql://a:b@real:5433/?sslmode=require",
			.environment = {"DATABASE_URL=postgresql://u:p@pooler:6432/db"}},
		"host='real' port='5433' user='a' password='b' sslmode='require'", "p", "p",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u",
			"PGDATABASE=db", "PGPASSWORD=p",
			"DATABASE_URL=postgresql://u:p@" AT "/db"}},
	{"--upstream has the password that DATABASE_URL has not",
		{.upstream = "postgresql://u:b@real",
			.environment = {"DATABASE_URL=postgresql://u@h"}},
		"host='real' user='u' password='b'", RANDOM, "b",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u",
			"PGPASSWORD=" RANDOM, "DATABASE_URL=postgresql://u:" RANDOM "@" AT}},
	{"--upstream has the password of another user",
		{.upstream = "postgresql://a:b@real",
			.environment = {"DATABASE_URL=postgresql://u@h"}},
		"host='real' user='a' password='b'", RANDOM, "",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u",
			"PGPASSWORD=" RANDOM, "DATABASE_URL=postgresql://u:" RANDOM "@" AT}},
	{"--upstream alone, a URL",
		{.upstream = "postgresql://a:b@real/db", .environment = {"HOME=/"}},
		"host='real' user='a' password='b' dbname='db'", "b", "b",
		{"HOME=/", "PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=a",
			"PGDATABASE=db", "PGPASSWORD=b",
			"DATABASE_URL=postgresql://a:b@" AT "/db"}},
	{"--upstream alone, a keyword string",
		{.upstream = "host=real user=a password='b c' krbsrvname=x",
			.environment = {"X=postgresql://a@real"},
			.names = {"X"}},
		"host=real user=a password='b c' krbsrvname=x", "b c", "b c",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=a",
			"PGPASSWORD=b c", "X=postgresql://a:b%20c@" AT}},
	{"--env may name what --upstream names, and DATABASE_URL something else",
		{.upstream = "postgresql://real",
			.environment = {"X=postgresql://u:p@real",
				"DATABASE_URL=postgresql://u:p@pooler"},
			.names = {"X"}},
		"host='real'", "p", "p",
		{"PGHOST=127.0.0.1", "PGPORT=5499", "PGSSLMODE=disable", "PGUSER=u", "PGPASSWORD=p",
			"DATABASE_URL=postgresql://u:p@" AT, "X=postgresql://u:p@" AT}},
};

static void the_upstream_is_the_one_that_was_meant(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct fixture f;
		struct err e;

		if (!plan(&f, &cases[i].given, &e))
			fail_msg("%s: %s", cases[i].label, e.text);
		if (strcmp(f.plan.upstream, cases[i].upstream) != 0)
			fail_msg("%s: %s", cases[i].label, f.plan.upstream);
		release(&f);
	}
}

static void the_private_port_wants_the_password_that_the_command_has(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct fixture f;
		struct err e;

		assert_true(plan(&f, &cases[i].given, &e));
		if (strcmp(f.plan.private_password, cases[i].shown) != 0 ||
			strcmp(f.plan.server_password, cases[i].of_server) != 0)
			fail_msg("%s: %s, %s", cases[i].label, f.plan.private_password,
				f.plan.server_password);
		release(&f);
	}
}

static void the_command_is_led_to_the_private_port(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const char *const *want = cases[i].want;
		char **environment;
		struct fixture f;
		struct err e;
		size_t n = 0;

		assert_true(plan(&f, &cases[i].given, &e));
		environment = run_plan_environment(&f.plan, 5499, &e);
		assert_non_null(environment);
		for (; environment[n] && want[n]; n++)
			if (strcmp(environment[n], want[n]) != 0)
				fail_msg("%s: %s", cases[i].label, environment[n]);
		if (environment[n] || (n < MAX_VARIABLES && want[n]))
			fail_msg("%s: more or less than %zu variables", cases[i].label, n);
		run_environment_free(environment);
		release(&f);
	}
	run_environment_free(NULL);
}

static const struct {
	const char *label;
	struct given given;
	const char *shown, *of_server;
} passfile_cases[] = {
	{"found",
		{.environment = {"DATABASE_URL=postgresql://u@h/db"}, .passfile = "h:5432:db:u:f"},
		RANDOM, "f"},
	{"what the URL leaves open is in the environment",
		{.environment = {"DATABASE_URL=postgresql:///", "PGHOST=h", "PGPORT=1", "PGUSER=u",
			 "PGDATABASE=db"},
			.passfile = "h:1:db:u:f"},
		RANDOM, "f"},
	{"or is a default",
		{.environment = {"DATABASE_URL=postgresql:///"},
			.passfile = "localhost:5432:os:os:f"},
		RANDOM, "f"},
	{"the default directory is localhost",
		{.environment = {"DATABASE_URL=postgresql:///?host=/var/run/postgresql"},
			.passfile = "localhost:5432:os:os:f"},
		RANDOM, "f"},
	{"the first of several hosts",
		{.environment = {"DATABASE_URL=postgresql://u@h1:1,h2:2/db"},
			.passfile = "h1:1:db:u:f"},
		RANDOM, "f"},
	{"the host of --upstream, the user of DATABASE_URL",
		{.upstream = "postgresql://x@real:7/y",
			.environment = {"DATABASE_URL=postgresql://u@h/db"},
			.passfile = "real:7:db:u:f"},
		RANDOM, "f"},
	{"a password in the URL counts more",
		{.environment = {"DATABASE_URL=postgresql://u:p@h/db"},
			.passfile = "h:5432:db:u:f"},
		"p", "p"},
	{"nothing fits",
		{.environment = {"DATABASE_URL=postgresql://u@h/db"}, .passfile = "x:*:*:*:f"},
		RANDOM, ""},
};

static void the_password_file_is_for_the_server_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(passfile_cases); i++) {
		struct fixture f;
		struct err e;

		if (!plan(&f, &passfile_cases[i].given, &e))
			fail_msg("%s: %s", passfile_cases[i].label, e.text);
		if (strcmp(f.plan.private_password, passfile_cases[i].shown) != 0 ||
			strcmp(f.plan.server_password, passfile_cases[i].of_server) != 0)
			fail_msg("%s: %s, %s", passfile_cases[i].label, f.plan.private_password,
				f.plan.server_password);
		release(&f);
	}
}

static const struct {
	struct given given;
	const char *want;
} refused[] = {
	{{.environment = {"A=b"}},
		"DATABASE_URL is not set: set it, or name the server with --upstream"},
	{{.environment = {"DATABASE_URL="}}, "DATABASE_URL is empty"},
	{{.environment = {"DATABASE_URL=mysql://u:secret@h"}},
		"DATABASE_URL is not a PostgreSQL URL: its scheme is \"mysql\""},
	{{.environment = {"DATABASE_URL=postgresql://h?sslmode=x"}},
		"DATABASE_URL has an sslmode that is not known"},
	{{.upstream = "x", .environment = {"DATABASE_URL=postgresql://h"}},
		"upstream is not a PostgreSQL URL"},
	{{.upstream = "postgresql://h?sslmod=require"},
		"upstream has a TLS parameter that is not known: sslmod"},
	{{.environment = {"DATABASE_URL=postgresql://h"}, .names = {"DIRECT_URL"}},
		"--env DIRECT_URL: there is no such variable"},
	{{.environment = {"DATABASE_URL=postgresql://h", "X=abc"}, .names = {"X"}},
		"X is not a PostgreSQL URL"},
	{{.environment = {"DATABASE_URL=postgresql://h", "X=postgresql://i"}, .names = {"X"}},
		"--env X: it leads to i, another server than DATABASE_URL"},
	{{.environment = {"DATABASE_URL=postgresql://h", "X=postgresql://h:1"}, .names = {"X"}},
		"--env X: it leads to h port 1, another server than DATABASE_URL"},
	{{.environment = {"DATABASE_URL=postgresql://h", "X=postgresql:///d"}, .names = {"X"}},
		"--env X: it leads to no host, another server than DATABASE_URL"},
	{{.upstream = "host=real", .environment = {"X=postgresql://i"}, .names = {"X"}},
		"--env X: it leads to i, another server than upstream"},
};

static void what_cannot_be_planned_is_refused_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(refused); i++) {
		struct fixture f;
		struct err e;

		if (plan(&f, &refused[i].given, &e))
			fail_msg("accepted: %s", refused[i].want);
		assert_string_equal(e.text, refused[i].want);
		release(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_upstream_is_the_one_that_was_meant),
		cmocka_unit_test(the_private_port_wants_the_password_that_the_command_has),
		cmocka_unit_test(the_command_is_led_to_the_private_port),
		cmocka_unit_test(the_password_file_is_for_the_server_only),
		cmocka_unit_test(what_cannot_be_planned_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
