/*
 * What `pgaside check` says of a file is what happens to it: every file of tests/check goes through
 * pgaside as the tool would send it, and the log is compared with the prediction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "check.h"
#include "fixture.h"

#define FILES_MAX 100
#define STEPS_MAX 100
#define TEXT_MAX 65536

struct prediction {
	char text[4096];
	enum check_verdict verdict;
	bool problem;
	char reason[512];
};

struct file {
	char path[300];
	enum check_as as;
	char text[TEXT_MAX];
	struct prediction steps[STEPS_MAX];
	size_t n_steps;
};

static unsigned seen[CHECK_NOT_REACHED + 1];

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram");
}

static void on_step(void *arg, const struct check_step *step)
{
	struct file *f = arg;
	struct prediction *p = &f->steps[f->n_steps++];

	assert_in_range(f->n_steps, 1, STEPS_MAX);
	assert_in_range(step->text.len, 0, sizeof(p->text) - 1);
	if (step->text.len > 0)
		memcpy(p->text, step->text.data, step->text.len);
	p->text[step->text.len] = '\0';
	p->verdict = step->verdict;
	p->problem = step->problem;
	snprintf(p->reason, sizeof(p->reason), "%s", step->reason);
	seen[step->verdict]++;
}

static void predict(struct file *f)
{
	struct config config;
	struct check *check;
	FILE *in = fopen(f->path, "r");
	size_t len;

	assert_non_null(in);
	len = fread(f->text, 1, sizeof(f->text) - 1, in);
	fclose(in);
	f->text[len] = '\0';
	f->as = strncmp(f->text, "-- as: query", 12) == 0	 ? CHECK_AS_QUERY
		: strncmp(f->text, "-- as: statements", 17) == 0 ? CHECK_AS_STATEMENTS
								 : CHECK_AS_TRANSACTION;
	f->n_steps = 0;
	config_init(&config);
	check = check_new(f->as, false, &config);
	assert_true(check_text(check, slice_of(f->text, len), on_step, f));
	check_free(check);
	config_release(&config);
}

static void prepare(PGconn *conn)
{
	db_do(conn, "DROP SCHEMA IF EXISTS public, app2 CASCADE; CREATE SCHEMA public "
		    "AUTHORIZATION app");
	db_do(conn, "SET ROLE app;"
		    "CREATE TABLE users (id int PRIMARY KEY, email text, name text);"
		    "CREATE INDEX users_name_idx ON users (name);"
		    "INSERT INTO users SELECT g, 'e' || g, 'n' || g FROM generate_series(1, 100) g;"
		    "CREATE TABLE orders (id int, user_id int);"
		    "CREATE INDEX orders_id_idx ON orders (id);"
		    "INSERT INTO orders SELECT g, g FROM generate_series(1, 100) g;"
		    "CREATE TABLE events (id int NOT NULL, day date) PARTITION BY RANGE (id);"
		    "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (100);"
		    "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (100) TO (200);"
		    "RESET ROLE");
}

/* What the log counts. */
struct counts {
	int now, owed, inlined, settled;
};

static struct counts count_events(void)
{
	return (struct counts){
		.now = proxy_count_logged(proxy, "placement=now outcome=done "),
		.owed = proxy_count_logged(proxy, "event=aside_owed session="),
		.inlined = proxy_count_logged(proxy, "event=aside_inline "),
		.settled = proxy_count_logged(proxy, "event=aside_owed_no_more "),
	};
}

static struct counts since(struct counts before)
{
	struct counts now = count_events();

	return (struct counts){.now = now.now - before.now,
		.owed = now.owed - before.owed,
		.inlined = now.inlined - before.inlined,
		.settled = now.settled - before.settled};
}

static bool is_error(enum check_verdict v)
{
	return v == CHECK_FAILS || v == CHECK_UNREAD || v == CHECK_NOT_REACHED;
}

static void add_expected(struct counts *c, enum check_verdict v)
{
	c->now += v == CHECK_NOW || v == CHECK_COMMIT_FIRST;
	c->owed += v == CHECK_AT_COMMIT;
	c->inlined += v == CHECK_INLINE;
	c->settled += v == CHECK_IN_LEDGER;
}

static bool counts_equal(struct counts a, struct counts b)
{
	return a.now == b.now && a.owed == b.owed && a.inlined == b.inlined &&
	       a.settled == b.settled;
}

static const char *run_text(PGconn *conn, const char *text)
{
	static char state[6];
	PGresult *r = PQexec(conn, text);
	const char *code;

	if (PQresultStatus(r) == PGRES_COPY_IN) {
		PQclear(r);
		assert_int_equal(PQputCopyEnd(conn, NULL), 1);
		r = PQgetResult(conn);
		while (PQresultStatus(r) == PGRES_COMMAND_OK) {
			PQclear(r);
			r = PQgetResult(conn);
		}
	}
	code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	snprintf(state, sizeof(state), "%s", code ? code : "00000");
	PQclear(r);
	while ((r = PQgetResult(conn)))
		PQclear(r);
	return state;
}

static int compare(const struct file *f, const char *text, struct counts want, struct counts got,
	bool error, const char *state, const char *verdict)
{
	if (counts_equal(want, got) && error == (strcmp(state, "00000") != 0))
		return 0;
	print_error("%s: %s\n  said: %s, got %s, now %d, at commit %d, inline %d, settled %d\n",
		f->path, text, verdict, state, got.now, got.owed, got.inlined, got.settled);
	return 1;
}

/* One statement after another, with the BEGIN and COMMIT of a tool. */
static int run_statements(const struct file *f, PGconn *conn)
{
	int wrong = 0;

	if (f->as == CHECK_AS_TRANSACTION)
		db_do(conn, "BEGIN");
	for (size_t i = 0; i < f->n_steps; i++) {
		const struct prediction *p = &f->steps[i];
		struct counts before = count_events(), want = {0};
		const char *state = run_text(conn, *p->text ? p->text : "COMMIT");

		add_expected(&want, p->verdict);
		wrong += compare(f, p->text, want, since(before), is_error(p->verdict), state,
			check_verdict_name(p->verdict));
	}
	if (PQtransactionStatus(conn) != PQTRANS_IDLE)
		run_text(conn, "COMMIT");
	return wrong;
}

static int run_query(const struct file *f, PGconn *conn)
{
	struct counts before = count_events(), want = {0};
	bool error = false;
	const char *state = run_text(conn, f->text);

	for (size_t i = 0; i < f->n_steps; i++) {
		add_expected(&want, f->steps[i].verdict);
		error = error || is_error(f->steps[i].verdict);
	}
	return compare(f, f->text, want, since(before), error, state, "all of it");
}

static size_t list_files(struct file *files)
{
	struct dirent **names;
	size_t n_files = 0;
	int n = scandir("tests/check", &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (strstr(names[i]->d_name, ".sql"))
			snprintf(files[n_files++].path, sizeof(files[0].path), "tests/check/%s",
				names[i]->d_name);
		assert_in_range(n_files, 0, FILES_MAX);
		free(names[i]);
	}
	free(names);
	return n_files;
}

static void what_is_said_of_a_file_is_what_happens_to_it(void **state)
{
	static struct file files[FILES_MAX];
	size_t n = list_files(files);
	int wrong = 0;

	(void)state;
	assert_in_range(n, 20, FILES_MAX);
	for (size_t i = 0; i < n; i++) {
		PGconn *super = db_super(cluster.port), *conn;

		prepare(super);
		db_close(super);
		predict(&files[i]);
		conn = db_connect(proxy->port, "");
		wrong += files[i].as == CHECK_AS_QUERY ? run_query(&files[i], conn)
						       : run_statements(&files[i], conn);
		db_close(conn);
	}
	if (wrong > 0)
		fail_msg("%d predictions were wrong", wrong);
	for (size_t v = 0; v <= CHECK_NOT_REACHED; v++)
		if (seen[v] == 0)
			fail_msg("no file was told \"%s\"",
				check_verdict_name((enum check_verdict)v));
}

/* The exit status of `pgaside check` and `rest`, a piece of shell. */
static int status_of(const char *rest)
{
	char command[1024];
	int status;

	snprintf(command, sizeof(command), "%s check %s", proxy_program(), rest);
	status = system(command); /* NOLINT: the shell is what users have, too */
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void the_command_ends_as_it_says(void **state)
{
	static const struct {
		const char *rest;
		int status;
	} samples[] = {
		{"tests/check/lone.sql >/dev/null", 0},
		{"tests/check/lone.sql tests/check/vacuum.sql >/dev/null", 1},
		{"--as statements tests/check/vacuum.sql >/dev/null", 0},
		{"--as=statements - <tests/check/vacuum.sql >/dev/null", 0},
		{"--format json tests/check/*.sql | python3 -m json.tool >/dev/null", 0},
		{"tests/check/lone.sql | grep -q '^tests/check/lone.sql:1: now: CREATE INDEX'", 0},
		{"--together tests/check/new-table.sql tests/check/partitioned.sql >/dev/null", 1},
		{"--help | grep -q -- --as", 0},
		{"2>/dev/null", 2},
		{"--as something tests/check/lone.sql 2>/dev/null", 2},
		{"--format xml tests/check/lone.sql 2>/dev/null", 2},
		{"--unknown tests/check/lone.sql 2>/dev/null", 2},
		{"no/such/file.sql 2>/dev/null", 2},
		{"tests/check 2>/dev/null", 2},
		{"tests/check/lone.sql >/dev/full 2>/dev/null", 2},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(samples); i++)
		if (status_of(samples[i].rest) != samples[i].status)
			fail_msg("check %s: ended with %d", samples[i].rest,
				status_of(samples[i].rest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_said_of_a_file_is_what_happens_to_it),
		TEST(the_command_ends_as_it_says),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
