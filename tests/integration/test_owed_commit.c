/*
 * The COMMIT of a transaction that owes something: in every form, when it fails, and when client or
 * server are lost in the middle of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram");
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	tell("SET ROLE app; CREATE INDEX t_old ON t (v); CREATE TABLE other (id int PRIMARY KEY); "
	     "CREATE TABLE later (id int REFERENCES other DEFERRABLE INITIALLY DEFERRED); "
	     "RESET ROLE");
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

static bool has_row(int id)
{
	return ask_is("1", "SELECT count(*) FROM t WHERE id = %d", id);
}

static void owe(PGconn *conn)
{
	tell("DROP INDEX IF EXISTS ix");
	db_do(conn, "BEGIN");
	db_do(conn, "INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	assert_string_equal(index_state("ix"), "");
}

static void commit_is_known_in_every_form(void **state)
{
	static const struct {
		const char *text, *tag;
		char status;
	} forms[] = {
		{"COMMIT", "COMMIT", 'I'},
		{"end", "COMMIT", 'I'},
		{"COMMIT WORK;", "COMMIT", 'I'},
		{"/* c */ Commit /**/ Transaction ; -- c", "COMMIT", 'I'},
		{"COMMIT AND NO CHAIN", "COMMIT", 'I'},
		{"END AND CHAIN", "COMMIT", 'T'},
		{"INSERT INTO other VALUES (1); COMMIT", "COMMIT", 'I'},
		{"COMMIT; SELECT 1", "SELECT 1", 'I'},
		{"COMMIT; BEGIN; SELECT 1", "SELECT 1", 'T'},
		{"COMMIT; BEGIN; INSERT INTO t VALUES (5001); COMMIT", "COMMIT", 'I'},
		{"SAVEPOINT a; RELEASE a; COMMIT;; ", "COMMIT", 'I'},
	};
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (size_t i = 0; i < LENGTH(forms); i++) {
		PGresult *r;

		owe(conn);
		r = db_query(conn, forms[i].text);
		if (strcmp(PQcmdStatus(r), forms[i].tag) != 0 ||
			db_status(conn) != forms[i].status || strcmp(index_state("ix"), "t") != 0)
			fail_msg("%s: %s%s, status %c, index \"%s\"", forms[i].text, PQcmdStatus(r),
				PQresultErrorMessage(r), db_status(conn), index_state("ix"));
		PQclear(r);
		if (db_status(conn) == 'T')
			db_do(conn, "ROLLBACK");
		assert_string_equal(index_state("ix"), "t");
	}
}

static void a_prepared_commit_is_known(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGresult *r;

	(void)state;
	PQclear(PQprepare(conn, "c", "COMMIT", 0, NULL));
	PQclear(PQprepare(conn, "chain", "COMMIT AND CHAIN", 0, NULL));
	for (int i = 0; i < 4; i++) {
		owe(conn);
		if (i == 0)
			r = PQexecParams(conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0);
		else
			r = PQexecPrepared(
				conn, i == 3 ? "chain" : "c", 0, NULL, NULL, NULL, i == 2);
		assert_string_equal(PQcmdStatus(r), "COMMIT");
		PQclear(r);
		assert_string_equal(index_state("ix"), "t");
		assert_int_equal(db_status(conn), i == 3 ? 'T' : 'I');
	}
	db_do(conn, "COMMIT");
}

static void begin_owing(struct wire *w)
{
	tell("DROP INDEX IF EXISTS ix");
	wire_query(w, "BEGIN");
	wire_query(w, "INSERT INTO t VALUES (5000, 'x')");
	wire_query(w, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	wire_send(w);
	assert_non_null(strstr(wire_answers(w, 3), "C(CREATE INDEX) Z:T"));
}

static void put_execute(struct wire *w, const char *sql)
{
	wire_parse(w, "", sql);
	wire_bind(w, "", "", 0);
	wire_execute(w, "", 0);
}

static void commit_is_known_inside_a_pipeline(void **state)
{
	struct wire *w = wire_login(proxy->port, "-c client_min_messages=warning");

	(void)state;
	begin_owing(w);
	put_execute(w, "INSERT INTO other VALUES (1)");
	put_execute(w, "COMMIT");
	put_execute(w, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix'::regclass");
	wire_sync(w);
	wire_query(w, "SELECT 2");
	wire_send(w);
	assert_string_equal(wire_answers(w, 2),
		"1 2 C(INSERT 0 1) 1 2 C(COMMIT) 1 2 D(t) C(SELECT 1) Z:I T(1) D(2) C(SELECT 1) "
		"Z:I");
	/* Parsed and bound before something was owed; Flush in Sync's place. */
	wire_parse(w, "c", "COMMIT");
	wire_sync(w);
	wire_send(w);
	wire_answers(w, 1);
	begin_owing(w);
	wire_bind(w, "p", "c", 0);
	wire_describe(w, 'P', "p");
	wire_flush(w);
	wire_send(w);
	assert_string_equal(wire_until(w, "n"), "2 n");
	wire_execute(w, "p", 0);
	wire_flush(w);
	wire_send(w);
	assert_string_equal(wire_until(w, "C"), "C(COMMIT)");
	assert_string_equal(index_state("ix"), "t");
	wire_sync(w);
	wire_send(w);
	assert_string_equal(wire_answers(w, 1), "Z:I");
}

/* The rest of the pipeline is skipped, as after any error; and the status is true. */
static void a_failure_after_commit_ends_the_pipeline(void **state)
{
	struct wire *w = wire_login(proxy->port, "-c client_min_messages=warning");

	(void)state;
	wire_query(w, "BEGIN");
	wire_query(w, "INSERT INTO t VALUES (1, 'x')");
	wire_query(w, "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (id)");
	put_execute(w, "COMMIT AND CHAIN");
	put_execute(w, "SELECT 1");
	wire_sync(w);
	wire_query(w, "ROLLBACK");
	wire_send(w);
	assert_string_equal(wire_answers(w, 5),
		"C(BEGIN) Z:T C(INSERT 0 1) Z:T C(CREATE INDEX) Z:T 1 2 E(23505) Z:E C(ROLLBACK) "
		"Z:I");
	assert_string_equal(ask("SELECT count(*) FROM t WHERE id = 1"), "2");
}

/* SQLSTATE of COMMIT straight to PostgreSQL and through pgaside; nothing is left of it. */
static void a_commit_that_fails_is_a_rollback(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGconn *second = db_connect(cluster.port, "");

	(void)state;
	owe(conn);
	db_do(conn, "INSERT INTO later VALUES (77)");
	db_fail(conn, "23503", "COMMIT");
	assert_int_equal(db_status(conn), 'I');
	assert_false(has_row(5000));
	assert_string_equal(index_state("ix"), "");
	db_do(conn, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM other");
	db_do(second, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM t");
	db_do(conn, "INSERT INTO t VALUES (5001, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(second, "INSERT INTO other VALUES (5); COMMIT");
	db_fail(conn, "40001", "COMMIT");
	assert_int_equal(db_status(conn), 'I');
	assert_false(has_row(5001));
	assert_string_equal(index_state("ix"), "");
	db_do(conn, "INSERT INTO t VALUES (5002, 'x')");
}

static void a_failed_transaction_owes_nothing(void **state)
{
	static const char *const ends[] = {"COMMIT", "COMMIT AND CHAIN", "SELECT 1; COMMIT"};
	PGconn *conn = db_connect(proxy->port, "");
	PGresult *r;

	(void)state;
	for (size_t i = 0; i < LENGTH(ends); i++) {
		owe(conn);
		db_fail(conn, "22012", "SELECT 1/0");
		r = db_query(conn, ends[i]);
		if (i < 2)
			assert_string_equal(PQcmdStatus(r), "ROLLBACK");
		else
			assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "25P02");
		PQclear(r);
		assert_int_equal(db_status(conn), "ITE"[i]);
		db_do(conn, "ROLLBACK");
		db_do(conn, "BEGIN; INSERT INTO other VALUES (%zu); COMMIT", i);
		assert_string_equal(index_state("ix"), "");
	}
}

static void prepare_transaction_is_refused(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	owe(conn);
	db_fail(conn, "0A000", "PREPARE TRANSACTION 'gid'");
	assert_int_equal(db_status(conn), 'E');
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("ix"), "");
	/* What was made already is no obstacle, and stays. */
	db_do(conn, "BEGIN; INSERT INTO other VALUES (1)");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "PREPARE TRANSACTION 'gid'");
	db_do(conn, "ROLLBACK PREPARED 'gid'");
	assert_string_equal(index_state("ix"), "t");
}

/* Somebody else writes to t, so that what is owed waits. Ends with db_close() or COMMIT. */
static PGconn *writer(void)
{
	PGconn *conn = db_connect(cluster.port, "");

	db_do(conn, "BEGIN; INSERT INTO t VALUES (6000, 'w')");
	return conn;
}

static void what_is_owed_needs_no_client(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	PGconn *conn = db_connect(p->port, "");
	PGconn *other = writer();

	(void)state;
	owe(conn);
	db_do(conn, "CREATE INDEX CONCURRENTLY iy ON t (v)");
	db_send(conn, "COMMIT");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_progress_create_index WHERE command "
			     "LIKE '%%CONCURRENTLY'"));
	assert_true(has_row(5000));
	assert_false(db_has_answer(conn));
	db_close(conn);
	WAIT_FOR(proxy_has_logged(p, "event=disconnect", NULL));
	db_do(other, "COMMIT");
	WAIT_FOR(strcmp(index_state("iy"), "t") == 0);
	assert_string_equal(index_state("ix"), "t");
}

/* A cancel request reaches what is owed; COMMIT is answered with it. What it leaves can be dropped
 * only when the writer is gone, and then it is. */
static void what_is_owed_can_be_cancelled(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), "--cleanup-timeout", "100ms", NULL);
	PGconn *conn = db_connect(p->port, "");
	PGconn *other = writer();

	(void)state;
	owe(conn);
	db_send(conn, "COMMIT");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_progress_create_index WHERE command "
			     "LIKE '%%CONCURRENTLY'"));
	db_cancel(conn);
	assert_string_equal(db_outcome(conn), "57014");
	assert_int_equal(db_status(conn), 'I');
	assert_true(has_row(5000));
	db_do(other, "COMMIT");
	WAIT_FOR(strcmp(index_state("ix"), "") == 0);
}

/* A deferred trigger keeps COMMIT waiting for an advisory lock. */
static PGconn *slow_commit(void)
{
	PGconn *holder = db_connect(cluster.port, "");

	tell("CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
	     "'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END'; "
	     "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
	     "FOR EACH ROW EXECUTE FUNCTION wait()");
	db_do(holder, "SELECT pg_advisory_lock(1)");
	return holder;
}

static bool commit_waits_for(const char *event)
{
	return ask_is("1",
		"SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active' "
		"AND wait_event = '%s'",
		event);
}

static void a_client_that_leaves_during_commit_changes_nothing(void **state)
{
	struct proxy *p = proxy_start(fixture_url(""), NULL);
	PGconn *conn = db_connect(p->port, "");
	PGconn *holder = slow_commit();

	(void)state;
	owe(conn);
	db_send(conn, "COMMIT");
	WAIT_FOR(commit_waits_for("advisory"));
	db_close(conn);
	WAIT_FOR(proxy_has_logged(p, "event=disconnect", NULL));
	db_do(holder, "SELECT pg_advisory_unlock(1)");
	WAIT_FOR(strcmp(index_state("ix"), "t") == 0);
	assert_true(has_row(5000));
}

/* Whether or not the server remembers that there was such a transaction. */
static void a_server_that_dies_before_it_has_committed_owes_nothing(void **state)
{
	for (int flushed = 1; flushed >= 0; flushed--) {
		struct proxy *p = proxy_start(fixture_url(""), NULL);
		PGconn *conn = db_connect(p->port, "");

		prepare(state);
		slow_commit();
		tell("SELECT pg_switch_wal()");
		owe(conn);
		if (flushed)
			tell("SELECT pg_switch_wal()");
		db_send(conn, "COMMIT");
		WAIT_FOR(commit_waits_for("advisory"));
		cluster_crash(&cluster);
		assert_string_not_equal(db_outcome(conn), "00000");
		cluster_restart(&cluster);
		WAIT_FOR(proxy_has_logged(p, "event=outcome_found", "outcome=aborted"));
		assert_false(has_row(5000));
		assert_string_equal(index_state("ix"), "");
		db_close_all();
	}
}

/*
 * Who wants so waits for a standby that there is not, from when the checkpointer has heard of it:
 * until then this tries.
 */
static void let_commits_wait(void)
{
	PGconn *first = db_super(cluster.port);
	struct patience p = patience_of(PATIENCE_MS);
	bool waits = false;

	tell("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
	tell("SELECT pg_reload_conf()");
	db_do(first, "SET synchronous_commit = on");
	while (!waits && patience_left(&p)) {
		db_send(first, "SELECT pg_logical_emit_message(true, '', '')");
		WAIT_FOR(db_has_answer(first) ||
			 (waits = waits_in((uint32_t)PQbackendPID(first), "SyncRep")));
		if (!waits)
			assert_string_equal(db_outcome(first), "00000");
	}
	assert_true(waits);
}

/* A commit that waits for a standby is one already, and nobody hears of it. */
static void a_server_that_dies_after_it_has_committed_owes_all(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	owe(conn);
	db_do(conn, "SET LOCAL synchronous_commit = on");
	let_commits_wait();
	db_send(conn, "COMMIT");
	WAIT_FOR(commit_waits_for("SyncRep"));
	tell("ALTER SYSTEM RESET synchronous_standby_names");
	cluster_crash(&cluster);
	assert_string_not_equal(db_outcome(conn), "00000");
	cluster_restart(&cluster);
	WAIT_FOR(proxy_has_logged(proxy, "event=outcome_found", "outcome=committed"));
	assert_true(has_row(5000));
	WAIT_FOR(strcmp(index_state("ix"), "t") == 0);
}

/* Only the session's own backend is lost: the client hears why, and the rest is done. */
static void a_backend_that_is_lost_after_it_has_committed_owes_all(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	owe(conn);
	db_do(conn, "SET LOCAL synchronous_commit = on");
	let_commits_wait();
	db_send(conn, "COMMIT");
	WAIT_FOR(commit_waits_for("SyncRep"));
	tell("ALTER SYSTEM RESET synchronous_standby_names");
	tell("SELECT pg_terminate_backend(%d)", PQbackendPID(conn));
	/* A backend that hears of it while it still waits would answer. */
	assert_string_not_equal(db_outcome(conn), "00000");
	tell("SELECT pg_reload_conf()");
	assert_true(has_row(5000));
	WAIT_FOR(strcmp(index_state("ix"), "t") == 0);
	assert_true(proxy_has_logged(proxy, "event=outcome_found", "outcome=committed"));
}

/* What is asked before COMMIT fails: the transaction is lost, and COMMIT must not be answered as if
 * nothing were wrong. */
static void a_commit_that_cannot_be_prepared_says_so(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");
	PGresult *r;

	(void)state;
	tell("REVOKE EXECUTE ON FUNCTION pg_control_checkpoint() FROM PUBLIC");
	for (int extended = 0; extended <= 1; extended++) {
		owe(conn);
		r = extended ? PQexecParams(conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0)
			     : db_query(conn, "COMMIT");
		assert_string_equal(db_error_field(r, PG_DIAG_SQLSTATE), "42501");
		assert_string_equal(db_error_field(r, PG_DIAG_MESSAGE_DETAIL),
			"The transaction is rolled back.");
		PQclear(r);
		assert_int_equal(db_status(conn), 'I');
		assert_false(has_row(5000));
		assert_string_equal(index_state("ix"), "");
	}
	tell("GRANT EXECUTE ON FUNCTION pg_control_checkpoint() TO PUBLIC");
}

/* Idle timeouts of the session count neither while it owes nor while that runs. */
static void idle_timeouts_do_not_end_a_session_that_is_served(void **state)
{
	PGconn *conn = db_connect(proxy->port, "options='-c idle_session_timeout=300'");
	PGconn *other = writer();
	struct patience longer = patience_of(900);

	(void)state;
	owe(conn);
	db_send(conn, "COMMIT");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_progress_create_index WHERE command "
			     "LIKE '%%CONCURRENTLY'"));
	while (patience_left(&longer))
		assert_false(db_has_answer(conn));
	db_do(other, "COMMIT");
	assert_string_equal(db_outcome(conn), "00000");
	assert_string_equal(index_state("ix"), "t");
}

/* One too long to be looked at, which is not waited for in vain, and stops what comes behind it. */
static void an_error_of_any_length_is_one(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	tell("CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
	     "'BEGIN RAISE ''%%'', repeat(''x'', 1200000); END'; "
	     "CREATE CONSTRAINT TRIGGER r AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
	     "FOR EACH ROW EXECUTE FUNCTION public.refuse()");
	db_do(conn, "BEGIN; INSERT INTO t VALUES (5000, 'x')");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (v)");
	assert_int_equal(PQsendQueryParams(conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0), 1);
	assert_string_equal(db_outcome(conn), "P0001");
	assert_int_equal(db_status(conn), 'I');
	db_fail(conn, "P0001",
		"BEGIN; CREATE INDEX CONCURRENTLY i ON t (v); COMMIT; "
		"DO $$ BEGIN RAISE '%%', repeat('x', 1200000); END $$; CREATE TABLE too_far ()");
	assert_string_equal(db_text(conn, "SELECT to_regclass('too_far')"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(commit_is_known_in_every_form),
		CASE(a_prepared_commit_is_known),
		CASE(commit_is_known_inside_a_pipeline),
		CASE(a_failure_after_commit_ends_the_pipeline),
		CASE(a_commit_that_fails_is_a_rollback),
		CASE(a_failed_transaction_owes_nothing),
		CASE(prepare_transaction_is_refused),
		CASE(what_is_owed_needs_no_client),
		CASE(what_is_owed_can_be_cancelled),
		CASE(a_client_that_leaves_during_commit_changes_nothing),
		CASE(a_commit_that_cannot_be_prepared_says_so),
		CASE(idle_timeouts_do_not_end_a_session_that_is_served),
		CASE(a_backend_that_is_lost_after_it_has_committed_owes_all),
		CASE(a_server_that_dies_before_it_has_committed_owes_nothing),
		CASE(a_server_that_dies_after_it_has_committed_owes_all),
		CASE(an_error_of_any_length_is_one),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
