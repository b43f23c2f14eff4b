/*
 * Replication connections, physical and logical: they pass through unread, as PostgreSQL's own
 * programs use them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static struct proxy *relay; /* the same with auth = relay */

static int start(void **state)
{
	(void)state;
	return fixture_start("--auth scram --set wal_level=logical --set max_wal_senders=8");
}

static int prepare(void **state)
{
	(void)state;
	fresh_table();
	relay = proxy_start(fixture_url(""), "--auth", "relay", NULL);
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, fixture_tidy)

/* The programs of the newest server that Debian has; cluster.sh takes the same. */
static const char *program(const char *name)
{
	static char path[400];
	char line[300];
	FILE *f = fopen(cluster_file(&cluster, ".pgaside-cluster"), "r");

	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	snprintf(path, sizeof(path), "%.*s/%s", (int)strcspn(line, "\n"), line, name);
	return path;
}

static const char *uri(const struct proxy *p, const char *database)
{
	static char text[200];

	snprintf(text, sizeof(text), "postgresql://postgres:postgres@127.0.0.1:%d/%s", p->port,
		database);
	return text;
}

static void a_base_backup_comes_through_whole(void **state)
{
	struct proxy *both[] = {proxy, relay};

	(void)state;
	tell("CREATE TABLE bulk AS SELECT i, repeat(md5(i::text), 20) v "
	     "FROM generate_series(1, 20000) i");
	for (size_t i = 0; i < LENGTH(both); i++) {
		cluster_shell("%s -d %s -D %s/backup%zu -X stream -c fast > %s/backup.log 2>&1",
			program("pg_basebackup"), uri(both[i], ""), cluster.dir, i, cluster.dir);
		cluster_shell("%s -n %s/backup%zu >/dev/null", program("pg_verifybackup"),
			cluster.dir, i);
	}
	tell("DROP TABLE bulk");
}

static void wal_is_received(void **state)
{
	struct proxy *both[] = {proxy, relay};

	(void)state;
	for (size_t i = 0; i < LENGTH(both); i++) {
		cluster_shell("mkdir %s/wal%zu && %s -d %s --create-slot -S physical%zu",
			cluster.dir, i, program("pg_receivewal"), uri(both[i], ""), i);
		tell("SELECT pg_switch_wal()");
		tell("SET synchronous_commit = on; INSERT INTO t VALUES (4711)");
		cluster_shell("timeout 30 %s -d %s -D %s/wal%zu -S physical%zu -n --endpos \"%s\"",
			program("pg_receivewal"), uri(both[i], ""), cluster.dir, i, i,
			ask("SELECT pg_current_wal_flush_lsn()"));
		cluster_shell("test -n \"$(ls %s/wal%zu)\"", cluster.dir, i);
		tell("SELECT pg_drop_replication_slot('physical%zu')", i);
	}
}

/* The word is in the data of rows, and in statements of the session: neither is looked at. */
static void logical_changes_are_received(void **state)
{
	struct proxy *both[] = {proxy, relay};

	(void)state;
	for (size_t i = 0; i < LENGTH(both); i++) {
		cluster_shell("%s -d %s -S logical%zu --create-slot -P test_decoding",
			program("pg_recvlogical"), uri(both[i], "app"), i);
		tell("SET synchronous_commit = on; INSERT INTO t VALUES (4711, 'CREATE INDEX "
		     "CONCURRENTLY i ON t (id)')");
		cluster_shell("timeout 30 %s -d %s -S logical%zu --start -f %s/changes -n "
			      "--endpos \"%s\" && grep -q \"id.integer.:4711 "
			      "v.text.:'CREATE INDEX CONCURRENTLY\" %s/changes",
			program("pg_recvlogical"), uri(both[i], "app"), i, cluster.dir,
			ask("SELECT pg_current_wal_flush_lsn()"), cluster.dir);
		tell("SELECT pg_drop_replication_slot('logical%zu')", i);
	}
}

/* A logical replication connection takes SQL as well; asides are off there, as PostgreSQL has it.
 */
static void sql_of_a_replication_connection_is_not_read(void **state)
{
	PGconn *conn =
		db_connect(proxy->port, "user=postgres password=postgres replication=database");

	(void)state;
	assert_string_equal(db_text(conn, "SELECT 1"), "1");
	db_do(conn, "BEGIN");
	db_fail(conn, "25001", "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(db_text(conn, "SELECT backend_type FROM pg_stat_activity WHERE pid = "
					  "pg_backend_pid()"),
		"walsender");
}

/* Its cancel key is not known here, and goes to the server as it is. */
static void a_replication_connection_can_be_cancelled(void **state)
{
	PGconn *conn =
		db_connect(proxy->port, "user=postgres password=postgres replication=database");

	(void)state;
	db_send(conn, "SELECT pg_sleep(60)");
	WAIT_FOR(ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"));
	db_cancel(conn);
	assert_string_equal(db_outcome(conn), "57014");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_base_backup_comes_through_whole),
		CASE(wal_is_received),
		CASE(logical_changes_are_received),
		CASE(sql_of_a_replication_connection_is_not_read),
		CASE(a_replication_connection_can_be_cancelled),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
