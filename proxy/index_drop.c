#include "index_drop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "timer.h"

/* Much less than deadlock_timeout. */
#define TURN_MS 50u

static void rename_it(struct index_drop *d);

static void ended(struct index_drop *d, const struct pq_result *r)
{
	d->done(d->owner, r);
}

static void on_dropped(void *owner, const struct pq_result *r)
{
	ended(owner, r);
}

static void on_named(void *owner, const struct pq_result *r)
{
	struct index_drop *d = owner;
	char *sql;

	/* Nothing to drop any more: it is gone, or valid, which is as good. */
	if (!r->ok || r->n_rows == 0) {
		ended(d, r);
		return;
	}
	d->renamed = true;
	if (asprintf(&sql, "DROP INDEX CONCURRENTLY IF EXISTS %s", pq_value(r, 0, 0)) < 0)
		sql = NULL;
	pq_query(d->pq, sql ? sql : "", on_dropped, d);
	free(sql);
}

static void ask_for_name(struct index_drop *d)
{
	char oid[16];
	const char *parameters[] = {oid};

	snprintf(oid, sizeof(oid), "%u", d->index);
	pq_query_params(d->pq,
		"SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class "
		"c "
		"JOIN pg_catalog.pg_namespace n ON n.oid" EQ "c.relnamespace "
		"JOIN pg_catalog.pg_index i ON i.indexrelid" EQ "c.oid "
		"JOIN pg_catalog.pg_class t ON t.oid" EQ "i.indrelid "
		"WHERE c.oid" EQ "$1::pg_catalog.oid AND (c.relname" EQ "('" INDEX_DROP_PREFIX
		"'" CAT "$1::pg_catalog.text) OR (t.relkind" EQ
		"'t' AND NOT i.indisvalid AND NOT " SOMEBODY_BUILDS "))",
		parameters, 1, on_named, d);
}

/* Does the build that has the lock still need it? */
static void on_rested(void *owner, const struct pq_result *r)
{
	struct index_drop *d = owner;

	if (r->ok)
		rename_it(d);
	else
		ended(d, r);
}

static bool has_time(const struct index_drop *d)
{
	return d->until_ms == 0 || timer_now_ms() < d->until_ms;
}

static void on_renamed(void *owner, const struct pq_result *r)
{
	struct index_drop *d = owner;

	if (r->ok)
		ask_for_name(d);
	else if (strcmp(r->sqlstate, "55P03") == 0 && has_time(d))
		pq_query(d->pq, "SELECT pg_catalog.pg_sleep(0.02)", on_rested, d);
	else
		ended(d, r);
}

/*
 * A build lets its lock go a moment before the transaction that makes its index valid has
 * committed. (A materialized view cannot be locked: there it must be seen that nobody has that
 * lock.) Whoever has the lock then must not take the index for a leftover: its row says who is
 * about to change it, and what is read after that one is gone is true.
 *
 * The lock is waited for in short turns. Who waits has a snapshot, and a build that has the lock
 * waits for that in the end: it would be the one to die of that deadlock.
 */
static void rename_it(struct index_drop *d)
{
	const char *any = d->valid_too ? "true" : "false";
	uint32_t index = d->index;
	char *sql;

	/* From its first statement on, the search_path is pg_catalog. */
	if (asprintf(&sql,
		    "DO $pgaside$ DECLARE t pg_catalog.record; BEGIN "
		    "PERFORM pg_catalog.set_config('lock_timeout', '%ums', true), "
		    "pg_catalog.set_config('search_path', 'pg_catalog', true); "
		    "SELECT c.oid, c.relkind INTO t FROM pg_catalog.pg_index i "
		    "JOIN pg_catalog.pg_class c ON c.oid = i.indrelid WHERE i.indexrelid = %u; "
		    "IF t.relkind IN ('r', 'p') THEN EXECUTE pg_catalog.format("
		    "'LOCK TABLE %%s IN SHARE UPDATE EXCLUSIVE MODE', t.oid::pg_catalog.regclass); "
		    "END IF; "
		    "IF t.relkind = 'm' AND EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE "
		    "i.indexrelid = %u AND " SOMEBODY_BUILDS ") THEN RAISE EXCEPTION USING "
		    "ERRCODE = 'lock_not_available', MESSAGE = 'somebody builds on it'; END IF; "
		    "IF NOT %s AND EXISTS (SELECT 1 FROM pg_catalog.pg_index i "
		    "JOIN pg_catalog.pg_stat_activity a ON a.backend_xid = i.xmax "
		    "WHERE i.indexrelid = %u) THEN RETURN; END IF; "
		    "IF t.relkind = 't' THEN RETURN; END IF; "
		    "IF EXISTS (SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c "
		    "ON c.oid = i.indexrelid WHERE i.indexrelid = %u AND (%s OR NOT i.indisvalid) "
		    "AND c.relname <> '" INDEX_DROP_PREFIX "%u' AND NOT EXISTS (SELECT 1 FROM "
		    "pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid)) THEN "
		    "EXECUTE pg_catalog.format('ALTER INDEX %%s RENAME TO " INDEX_DROP_PREFIX
		    "%u', %u::pg_catalog.oid::pg_catalog.regclass); END IF; END $pgaside$",
		    TURN_MS, index, index, any, index, index, any, index, index, index) < 0)
		sql = NULL;
	pq_query(d->pq, sql ? sql : "", on_renamed, d);
	free(sql);
}

void index_drop(struct index_drop *d, struct pq *pq, uint32_t index, bool valid_too,
	unsigned lock_timeout_ms, pq_result_fn done, void *owner)
{
	*d = (struct index_drop){
		.pq = pq, .index = index, .valid_too = valid_too, .done = done, .owner = owner};
	if (lock_timeout_ms > 0)
		d->until_ms = timer_now_ms() + lock_timeout_ms;
	rename_it(d);
}
