/*
 * aside_drop.c - an index is dropped by its OID.
 *
 * DROP takes a name, and by the time it has its lock the name may be another index: somebody may
 * have repaired the leftover and built it anew. So the index is first given a name that only it can
 * have, under the lock that every build holds, and only if it is still what it was thought to be:
 * not one that a constraint has taken since.
 */
#include <stdio.h>
#include <stdlib.h>

#include "aside_state.h"

static void ended(struct aside *a, const struct pq_result *r)
{
	pq_result_fn done = a->dropped;

	a->dropped = NULL;
	done(a, r);
}

static void on_dropped(void *owner, const struct pq_result *r)
{
	ended(owner, r);
}

static void on_named(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;
	char *sql;

	/* Nothing to drop any more: it is gone, or valid, which is as good. */
	if (!r->ok || r->n_rows == 0) {
		ended(a, r);
		return;
	}
	if (asprintf(&sql, "DROP INDEX CONCURRENTLY IF EXISTS %s", pq_value(r, 0, 0)) < 0)
		sql = NULL;
	pq_query(a->aside, sql ? sql : "", on_dropped, a);
	free(sql);
}

static void on_renamed(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;
	char oid[16];
	const char *parameters[] = {oid};

	if (!r->ok) {
		ended(a, r);
		return;
	}
	snprintf(oid, sizeof(oid), "%u", a->dropping);
	pq_query_params(a->aside,
		"SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class "
		"c "
		"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
		"WHERE c.oid = $1::oid AND c.relname = '" ASIDE_DROP_PREFIX "' || $1::text",
		parameters, 1, on_named, a);
}

void aside_drop(struct aside *a, uint32_t index, bool valid_too, unsigned lock_timeout_ms,
	pq_result_fn done)
{
	char *sql;

	a->dropped = done;
	a->dropping = index;
	if (asprintf(&sql,
		    "DO $pgaside$ DECLARE t record; BEGIN "
		    "PERFORM pg_catalog.set_config('lock_timeout', '%ums', true); "
		    "SELECT c.oid, c.relkind INTO t FROM pg_catalog.pg_index i "
		    "JOIN pg_catalog.pg_class c ON c.oid = i.indrelid WHERE i.indexrelid = %u; "
		    "IF t.relkind IN ('r', 'p') THEN EXECUTE pg_catalog.format("
		    "'LOCK TABLE %%s IN SHARE UPDATE EXCLUSIVE MODE', t.oid::pg_catalog.regclass); "
		    "END IF; "
		    "IF EXISTS (SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c "
		    "ON c.oid = i.indexrelid WHERE i.indexrelid = %u AND (%s OR NOT i.indisvalid) "
		    "AND c.relname <> '" ASIDE_DROP_PREFIX "%u' AND NOT EXISTS (SELECT 1 FROM "
		    "pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid)) THEN "
		    "EXECUTE pg_catalog.format('ALTER INDEX %%s RENAME TO " ASIDE_DROP_PREFIX
		    "%u', %u::pg_catalog.oid::pg_catalog.regclass); END IF; END $pgaside$",
		    lock_timeout_ms, index, index, valid_too ? "true" : "false", index, index,
		    index) < 0)
		sql = NULL;
	pq_query(a->aside, sql ? sql : "", on_renamed, a);
	free(sql);
}
