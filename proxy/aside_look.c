/*
 * aside_look.c - before the statement: which relation it means, which indexes are there, what is in
 * the way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aside_state.h"
#include "sql_name.h"

#define INDEX_LIST                                                                              \
	"(SELECT pg_catalog.string_agg(i.indexrelid::text || CASE WHEN i.indisvalid THEN ':t' " \
	"ELSE ':f' END, ',') FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid)"

/* $1 names a table, $2 an index that is to be in the same schema. */
static const char table_sql[] =
	"SELECT c.oid, " INDEX_LIST ", x.oid, n.indisvalid AND n.indisready, n.indrelid, c.relkind "
	"FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class x "
	"ON x.relnamespace = c.relnamespace AND x.relname = $2::text "
	"LEFT JOIN pg_catalog.pg_index n ON n.indexrelid = x.oid "
	"WHERE c.oid = pg_catalog.to_regclass($1::text)";

/* $1 names an index; $2 is not used. */
static const char index_sql[] =
	"SELECT c.oid, " INDEX_LIST
	", n.indexrelid, n.indisvalid AND n.indisready, n.indrelid, c.relkind "
	"FROM pg_catalog.pg_index n JOIN pg_catalog.pg_class c ON c.oid = n.indrelid "
	"WHERE n.indexrelid = pg_catalog.to_regclass($1::text) AND $2::text IS NOT NULL";

static bool names_an_index(const struct statement *s)
{
	return s->kind == STATEMENT_DROP_INDEX ||
	       (s->kind == STATEMENT_REINDEX && s->aside.target == STATEMENT_TARGET_INDEX);
}

const char *aside_lookup_sql(const struct statement *s)
{
	return names_an_index(s) ? index_sql : table_sql;
}

bool aside_lookup_parameters(
	const struct statement *s, struct sql_dialect d, struct bytes *path, struct bytes *name)
{
	struct sql_path p;
	struct sql_name index = {.len = 0};

	if (!sql_path_decode(names_an_index(s) ? s->aside.index : s->aside.table, d, &p))
		return false;
	if (s->kind == STATEMENT_CREATE_INDEX && s->aside.index.len > 0 &&
		!sql_name_decode(s->aside.index, d, &index))
		return false;
	sql_path_write(path, &p);
	bytes_put_u8(path, 0);
	bytes_put_cstr(name, index.len > 0 ? index.text : "");
	return !bytes_failed(path) && !bytes_failed(name);
}

/*
 * Is the client's transaction in the way of the statement, or would it be in the way of others for
 * as long as the statement runs? Asked from outside, so that the transaction does not notice. $1
 * its pid, $2 the kind (cic, ric, dic, detach), $3 the table, $4 the index named or 0. The rules
 * and what they rest on: DIC, RIC and DETACH wait for everybody who has used the table; CIC for
 * those who may write to it; CIC and RIC for every older snapshot in the end.
 */
static const char obstacle_sql[] =
	"WITH RECURSIVE mine AS (SELECT l.* FROM pg_catalog.pg_locks l WHERE l.pid = $1::int AND "
	"l.granted "
	" AND (l.database IS NULL OR l.database = 0 OR l.database = (SELECT d.oid FROM "
	"pg_catalog.pg_database d "
	" WHERE d.datname = pg_catalog.current_database()))), "
	"waits(root, pid) AS (SELECT DISTINCT x.pid, b.pid FROM pg_catalog.pg_locks x, "
	" pg_catalog.unnest(pg_catalog.pg_blocking_pids(x.pid)) b(pid) WHERE NOT x.granted AND "
	"x.pid <> $1::int "
	" UNION SELECT w.root, b.pid FROM waits w, "
	"pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b(pid)), "
	"me AS (SELECT a.backend_xmin, a.backend_xid FROM pg_catalog.pg_stat_activity a WHERE "
	"a.pid = $1::int) "
	"SELECT CASE "
	"WHEN EXISTS (SELECT 1 FROM mine m WHERE m.locktype = 'relation' AND m.relation IN "
	"($3::oid, $4::oid) "
	" AND ($2 <> 'cic' OR m.mode NOT IN ('AccessShareLock', 'RowShareLock'))) THEN 'lock' "
	"WHEN $2 IN ('cic', 'ric') AND (SELECT me.backend_xmin FROM me) IS NOT NULL THEN "
	"'snapshot' "
	"WHEN $2 IN ('cic', 'ric') AND EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = "
	"$3::oid "
	" AND c.xmax <> '0'::pg_catalog.xid AND c.xmax::text = (SELECT me.backend_xid::text FROM "
	"me)) THEN 'catalog' "
	"WHEN EXISTS (SELECT 1 FROM mine m LEFT JOIN pg_catalog.pg_class c ON c.oid = m.relation "
	" WHERE m.locktype = 'relation' AND m.mode IN ('ShareLock', 'ShareRowExclusiveLock', "
	"'ExclusiveLock', "
	" 'AccessExclusiveLock') AND c.oid IS NOT NULL AND c.relkind IN ('r', 'm', 'p', 'S', 'v', "
	"'f') "
	" AND c.relpersistence <> 't' AND c.relnamespace <> 'pg_toast'::pg_catalog.regnamespace) "
	" THEN 'strong' "
	"WHEN EXISTS (SELECT 1 FROM waits w WHERE w.pid = $1::int AND ("
	" ($2 IN ('cic', 'ric') AND EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE "
	"a.pid = w.root "
	"  AND a.backend_xmin IS NOT NULL)) "
	" OR EXISTS (SELECT 1 FROM pg_catalog.pg_locks x WHERE x.pid = w.root AND x.locktype = "
	"'relation' "
	"  AND x.relation IN ($3::oid, $4::oid)))) THEN 'third' "
	"WHEN $2 = 'cic' AND EXISTS (SELECT 1 FROM mine m WHERE m.locktype = 'object' "
	" AND m.mode = 'AccessExclusiveLock' AND m.classid <> "
	"'pg_catalog.pg_namespace'::pg_catalog.regclass) "
	" THEN 'object' "
	"ELSE '' END";

static const char *class_of(const struct statement *s)
{
	switch (s->kind) {
	case STATEMENT_DROP_INDEX:
		return "dic";
	case STATEMENT_REINDEX:
		return "ric";
	case STATEMENT_DETACH_PARTITION:
		return "detach";
	default:
		return "cic";
	}
}

static enum placement_obstacle obstacle_of(const char *word)
{
	static const struct {
		const char *word;
		enum placement_obstacle obstacle;
	} words[] = {
		{"lock", OBSTACLE_LOCK},
		{"snapshot", OBSTACLE_SNAPSHOT},
		{"catalog", OBSTACLE_CATALOG},
		{"object", OBSTACLE_OBJECT},
		{"strong", OBSTACLE_STRONG_LOCK},
		{"third", OBSTACLE_THIRD},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].word, word) == 0)
			return words[i].obstacle;
	return OBSTACLE_NONE;
}

static void not_now(struct aside *a, enum placement_obstacle obstacle)
{
	aside_report(a, ASIDE_NOT_NOW, obstacle);
	aside_end(a);
}

static void on_obstacle(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;
	enum placement_obstacle obstacle;

	if (!r->ok || r->n_rows != 1) {
		aside_fail_with(a, r);
		return;
	}
	obstacle = obstacle_of(pq_value(r, 0, 0));
	if (obstacle == OBSTACLE_NONE)
		aside_run(a);
	else
		not_now(a, obstacle);
}

static void ask_for_obstacles(struct aside *a)
{
	char pid[16], table[16], index[16];
	const char *parameters[] = {pid, class_of(&a->statement), table, index};

	snprintf(pid, sizeof(pid), "%d", a->server_pid);
	snprintf(table, sizeof(table), "%u", a->relation);
	snprintf(index, sizeof(index), "%u", a->named_index);
	pq_query_params(a->watch, obstacle_sql, parameters, 4, on_obstacle, a);
}

/* What the server connection has found, inside its transaction, against what everybody sees. */
static void compare_with_server(struct aside *a)
{
	if (a->wanted_relation == 0 && a->relation != 0) {
		/* The transaction has dropped or renamed it. */
		aside_fail(a, "42P01", "the relation does not exist any more in this transaction",
			NULL);
	} else if (a->relation != a->wanted_relation) {
		aside_report(a, ASIDE_INVISIBLE, OBSTACLE_NONE);
		aside_end(a);
	} else if (a->relation == 0) {
		/* There is no such relation: the statement itself says that best. */
		aside_run(a);
	} else if (a->named_index != a->wanted_index) {
		not_now(a, OBSTACLE_NAME);
	} else {
		ask_for_obstacles(a);
	}
}

static void on_found(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (!r->ok) {
		aside_fail_with(a, r);
		return;
	}
	if (r->n_rows > 0) {
		a->relation = aside_oid(pq_value(r, 0, 0));
		aside_indexes_read(a, pq_value(r, 0, 1));
		a->named_index = aside_oid(pq_value(r, 0, 2));
		a->named_valid = pq_value(r, 0, 3) && pq_value(r, 0, 3)[0] == 't';
		a->named_table = aside_oid(pq_value(r, 0, 4));
	}
	if (a->cancelled)
		aside_fail(a, "57014", "canceling statement due to user request", NULL);
	else
		compare_with_server(a);
}

void aside_look(struct aside *a)
{
	const char *parameters[2];

	aside_enter(a, ASIDE_LOOKING);
	if (!aside_lookup_parameters(&a->statement, a->dialect, &a->path, &a->name)) {
		aside_fail(a, "0A000", "pgaside does not understand the names in this statement",
			NULL);
		return;
	}
	parameters[0] = (const char *)bytes_view(&a->path).data;
	parameters[1] = (const char *)bytes_view(&a->name).data;
	pq_query_params(a->aside, aside_lookup_sql(&a->statement), parameters, 2, on_found, a);
}
