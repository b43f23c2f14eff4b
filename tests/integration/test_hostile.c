/*
 * Names, settings and schemas made to be taken for something else: what pgaside itself asks and
 * runs is about the relation that was meant, and calls nobody else's code.
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

/* Quoted as SQL wants it. */
static const char *const odd[] = {
	"\"a\"\"b\"",
	"\"x.y\"",
	"\"t; DROP TABLE public.t; --\"",
	"\"'; SELECT pg_sleep(9); --\"",
	"\"$$ $pgaside$ %s %n %I\"",
	"\"back\\slash\"",
	"\"concurrently\"",
	"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
	"\" \"",
	"\"line\nbreak\t\"",
};

/* How many valid indexes the table has, in a schema of the same name. */
static const char *indexes_of(PGconn *conn, const char *schema, const char *table)
{
	return db_text(conn,
		"SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid = "
		"to_regclass($q$%s.%s$q$)",
		schema, table);
}

/* Undone, failing, owed, dropped, inline: in a schema, on a table, under an index name of that. */
static void odd_names_are_only_names(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (size_t i = 0; i < LENGTH(odd); i++) {
		const char *n = odd[i];

		db_do(conn,
			"CREATE SCHEMA %s; CREATE TABLE %s.%s (%s int); INSERT INTO %s.%s VALUES "
			"(1), (1)",
			n, n, n, n, n, n);
		db_do(conn, "CREATE TABLE %s.other (%s int)", n, n);
		db_do(conn, "BEGIN");
		db_do(conn, "CREATE INDEX CONCURRENTLY i ON %s.%s (%s)", n, n, n);
		db_do(conn, "ROLLBACK");
		db_do(conn, "BEGIN");
		db_fail(conn, "23505", "CREATE UNIQUE INDEX CONCURRENTLY i ON %s.%s (%s)", n, n, n);
		db_do(conn, "ROLLBACK");
		assert_string_equal(indexes_of(conn, n, n), "0");
		db_do(conn, "BEGIN");
		db_do(conn, "INSERT INTO %s.other VALUES (1)", n);
		db_do(conn, "CREATE INDEX CONCURRENTLY %s_i ON %s.other (%s)", "x", n, n);
		db_do(conn, "COMMIT");
		assert_string_equal(indexes_of(conn, n, "other"), "1");
		db_do(conn, "BEGIN; CREATE TABLE %s.made (%s int)", n, n);
		db_do(conn, "CREATE INDEX CONCURRENTLY ON %s.made (%s)", n, n);
		db_do(conn, "COMMIT");
		db_do(conn, "DROP SCHEMA %s CASCADE", n);
	}
	assert_string_equal(ask("SELECT count(*) FROM t"), "1000");
}

/* The index itself, and the search_path by which everything is found. */
static void odd_names_of_indexes_are_only_names(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	for (size_t i = 0; i < LENGTH(odd); i++) {
		const char *n = odd[i];

		db_do(conn, "CREATE SCHEMA %s; CREATE TABLE %s.u (id int)", n, n);
		db_do(conn, "SET search_path = %s", n);
		db_do(conn, "BEGIN");
		db_do(conn, "CREATE INDEX CONCURRENTLY %s ON u (id)", n);
		db_do(conn, "COMMIT");
		assert_string_equal(indexes_of(conn, n, "u"), "1");
		db_do(conn, "BEGIN");
		db_do(conn, "REINDEX INDEX CONCURRENTLY %s", n);
		db_do(conn, "DROP INDEX CONCURRENTLY %s", n);
		db_do(conn, "COMMIT");
		assert_string_equal(indexes_of(conn, n, "u"), "0");
		db_do(conn, "BEGIN");
		db_do(conn, "CREATE INDEX CONCURRENTLY %s ON u (id)", n);
		db_do(conn, "ROLLBACK");
		assert_string_equal(indexes_of(conn, n, "u"), "0");
		db_do(conn, "RESET search_path; DROP SCHEMA %s CASCADE", n);
	}
}

/* The role that runs it, the name of the client, and values of settings. */
static void odd_settings_and_roles_are_copied_as_they_are(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(odd); i++) {
		PGconn *conn = db_super(proxy->port);
		const char *n = odd[i];

		db_do(conn, "CREATE ROLE %s; GRANT ALL ON SCHEMA public TO %s", n, n);
		db_do(conn, "SET application_name = %s; SET search_path = %s, public", n, n);
		db_do(conn, "SET default_tablespace = ''; SET timezone = 'UTC'");
		db_do(conn, "CREATE TABLE u (id int); ALTER TABLE u OWNER TO %s", n);
		db_do(conn, "SET ROLE %s", n);
		db_do(conn, "BEGIN");
		db_do(conn, "CREATE INDEX CONCURRENTLY i ON u (id)");
		db_do(conn, "COMMIT");
		assert_string_equal(
			db_text(conn, "SELECT current_user = relowner::regrole::text OR "
				      "quote_ident(current_user) = relowner::regrole::text "
				      "FROM pg_class WHERE relname = 'i'"),
			"t");
		db_do(conn, "RESET ROLE; DROP TABLE u; REVOKE ALL ON SCHEMA public FROM %s", n);
		db_do(conn, "DROP ROLE %s", n);
		db_close(conn);
	}
}

/* Whoever may write into a schema that stands before pg_catalog could put code of his there. */
static void make_shadows(void)
{
	static const char *const operands[] = {
		"oid", "name", "text", "int4", "xid", "\"char\"", "bool"};
	static const char *const operators[] = {"=", "<>"};
	static const char body[] =
		"LANGUAGE plpgsql AS $b$BEGIN PERFORM nextval('evil.calls'); RAISE EXCEPTION "
		"'shadowed'; END$b$";
	static const char *const types[] = {
		"oid", "name", "text", "int2", "int4", "int8", "xid", "bool", "regclass", "record"};

	tell("DROP SCHEMA IF EXISTS evil CASCADE; CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil "
	     "TO "
	     "PUBLIC; CREATE SEQUENCE evil.calls; GRANT ALL ON SEQUENCE evil.calls TO PUBLIC");
	for (size_t i = 0; i < LENGTH(operands); i++) {
		tell("CREATE FUNCTION evil.op(%s, %s) RETURNS bool %s", operands[i], operands[i],
			body);
		for (size_t k = 0; k < LENGTH(operators); k++)
			tell("CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = "
			     "evil.op)",
				operators[k], operands[i], operands[i]);
	}
	tell("CREATE FUNCTION evil.op(name, text) RETURNS bool %s", body);
	tell("CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.op)");
	tell("CREATE FUNCTION evil.cat(text, text) RETURNS text %s", body);
	tell("CREATE OPERATOR evil.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.cat)");
	tell("CREATE FUNCTION evil.set_config(text, text, bool) RETURNS text %s", body);
	tell("CREATE FUNCTION evil.to_regclass(text) RETURNS regclass %s", body);
	tell("CREATE FUNCTION evil.pg_backend_pid() RETURNS int %s", body);
	tell("CREATE FUNCTION evil.quote_ident(text) RETURNS text %s", body);
	tell("CREATE FUNCTION evil.format(text, text, text) RETURNS text %s", body);
	tell("CREATE FUNCTION evil.pg_sleep(float8) RETURNS void %s", body);
	tell("CREATE VIEW evil.pg_class AS SELECT 1 AS oid; CREATE VIEW evil.pg_index AS SELECT 1 "
	     "AS x");
	tell("CREATE FUNCTION evil.touch(bool) RETURNS bool %s", body);
	for (size_t i = 0; i < LENGTH(types); i++)
		tell("CREATE DOMAIN evil.%s AS pg_catalog.%s CHECK (evil.touch(VALUE IS NULL))",
			types[i], strcmp(types[i], "record") == 0 ? "oid" : types[i]);
}

/* Calls of it would be counted, whatever becomes of their transactions. */
static void shadows_were_not_called(void)
{
	assert_string_equal(ask("SELECT is_called FROM evil.calls"), "f");
	tell("DROP SCHEMA evil CASCADE");
}

static void nothing_in_the_search_path_is_called(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	make_shadows();
	db_do(conn, "SET search_path = evil, pg_catalog, public");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("public.i"), "");
	db_do(conn, "BEGIN");
	db_fail(conn, "23505", "CREATE UNIQUE INDEX CONCURRENTLY i ON t ((1))");
	db_do(conn, "ROLLBACK");
	assert_string_equal(index_state("public.i"), "");
	db_do(conn, "BEGIN");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("public.i"), "t");
	db_do(conn, "BEGIN");
	db_do(conn, "REINDEX INDEX CONCURRENTLY i");
	db_do(conn, "DROP INDEX CONCURRENTLY i");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("public.i"), "");
	shadows_were_not_called();
}

/* What is owed, looked at before COMMIT and named meanwhile; what goes to the server as it is. */
static void nor_by_what_is_owed_or_native(void **state)
{
	PGconn *conn = db_connect(proxy->port, ""), *other = db_connect(proxy->port, "");

	(void)state;
	make_shadows();
	tell("CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR "
	     "VALUES FROM (0) TO (9); ALTER TABLE p OWNER TO app; ALTER TABLE p1 OWNER TO app");
	db_do(conn, "SET search_path = evil, pg_catalog, public");
	db_do(other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t");
	db_do(other, "COMMIT");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "BEGIN");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "DROP INDEX CONCURRENTLY i");
	db_do(conn, "REINDEX TABLE CONCURRENTLY t");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "CREATE INDEX CONCURRENTLY iy ON t (id)");
	db_do(conn, "REINDEX INDEX CONCURRENTLY app.public.ix");
	db_do(conn, "DROP INDEX CONCURRENTLY iy");
	db_do(conn, "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("public.ix"), "t");
	assert_string_equal(index_state("public.iy"), "");
	assert_string_equal(index_state("public.i"), "");
	shadows_were_not_called();
}

/* That schema comes first for types, whatever search_path says. */
static void a_temporary_table_is_no_type_of_ours(void **state)
{
	PGconn *conn = db_connect(proxy->port, "");

	(void)state;
	db_do(conn, "CREATE TEMPORARY TABLE text (id int); CREATE TEMPORARY TABLE oid (id int); "
		    "CREATE TEMPORARY TABLE int4 (id int)");
	db_do(conn, "BEGIN");
	db_do(conn, "CREATE INDEX CONCURRENTLY i ON t (id)");
	db_do(conn, "UPDATE t SET v = 'x' WHERE false");
	db_do(conn, "CREATE INDEX CONCURRENTLY ix ON t (id)");
	db_do(conn, "CREATE INDEX CONCURRENTLY iy ON t (id)");
	db_do(conn, "DROP INDEX CONCURRENTLY iy");
	db_do(conn, "DROP INDEX CONCURRENTLY i");
	db_do(conn, "COMMIT");
	assert_string_equal(index_state("ix"), "t");
	assert_string_equal(index_state("i"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FRESH_TEST(odd_names_are_only_names),
		FRESH_TEST(odd_names_of_indexes_are_only_names),
		FRESH_TEST(odd_settings_and_roles_are_copied_as_they_are),
		FRESH_TEST(nothing_in_the_search_path_is_called),
		FRESH_TEST(nor_by_what_is_owed_or_native),
		FRESH_TEST(a_temporary_table_is_no_type_of_ours),
	};

	return cmocka_run_group_tests(tests, start, fixture_stop);
}
