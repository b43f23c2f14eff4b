/*
 * indexes_repair.c - leftovers are dropped, or built anew.
 *
 * Dropping is index_drop()'s business: only what is still INVALID, under the lock that a build
 * would hold. What REINDEX or DROP has left is dropped in any case: the index that matters is
 * another one. Building anew is REINDEX INDEX CONCURRENTLY; when that fails, what it has left
 * itself is dropped again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "indexes_state.h"
#include "message.h"

static void repair_next(struct indexes *x);

static struct indexes_row *row_of(struct indexes *x)
{
	return &x->list.rows[x->next];
}

static void note_error(struct indexes_row *row, const struct pq_result *r)
{
	struct slice message = slice_str("the connection was lost");

	if (r->error)
		error_field(bytes_view(r->error), 'M', &message);
	free(row->why);
	if (asprintf(&row->why, "%s: %.*s", r->sqlstate, (int)message.len,
		    (const char *)message.data) < 0)
		row->why = NULL;
}

static void on_listed(void *owner, const struct pq_result *r)
{
	struct indexes *x = owner;

	if (r->ok && !indexes_read(&x->after, r)) {
		x->failed = true;
		err_set(&x->error, "53200", "out of memory, or too many indexes");
	}
	indexes_end(x, r);
}

static void go_on(struct indexes *x, const struct pq_result *r)
{
	if (r->lost) {
		indexes_end(x, r);
		return;
	}
	x->next++;
	repair_next(x);
}

static void on_dropped(void *owner, const struct pq_result *r)
{
	struct indexes *x = owner;

	if (r->ok)
		row_of(x)->done = REPAIR_DROP;
	else
		note_error(row_of(x), r);
	go_on(x, r);
}

static void on_remains_dropped(void *owner, const struct pq_result *r)
{
	go_on(owner, r);
}

/* What the failed REINDEX has left: at most one index, as it was one that was to be built. */
static void on_remains(void *owner, const struct pq_result *r)
{
	struct indexes *x = owner;
	uint32_t oid = 0;

	for (int i = 0; r->ok && i < r->n_rows && oid == 0; i++) {
		oid = (uint32_t)strtoul(pq_value(r, i, 0), NULL, 10);
		if (indexes_find(&x->list, oid))
			oid = 0;
	}
	if (oid == 0)
		go_on(x, r);
	else
		index_drop(&x->drop, x->pq, oid, false, x->lock_timeout_ms, on_remains_dropped, x);
}

static void find_remains(struct indexes *x)
{
	char table[16];
	const char *parameters[] = {table};

	snprintf(table, sizeof(table), "%u", row_of(x)->table_oid);
	/* The search_path is pg_catalog. */
	pq_query_params(x->pq,
		"SELECT i.indexrelid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c "
		"ON c.oid = i.indexrelid WHERE i.indrelid = $1::pg_catalog.oid AND NOT "
		"i.indisvalid "
		"AND c.relname ~ '_ccnew[0-9]*$'",
		parameters, 1, on_remains, x);
}

static void on_rebuilt(void *owner, const struct pq_result *r)
{
	struct indexes *x = owner;

	if (r->ok) {
		row_of(x)->done = REPAIR_REBUILD;
		go_on(x, r);
		return;
	}
	note_error(row_of(x), r);
	if (r->lost)
		indexes_end(x, r);
	else
		find_remains(x);
}

/* No row: it is gone, or valid by now, or somebody is at work on it. */
static void on_named(void *owner, const struct pq_result *r)
{
	struct indexes *x = owner;
	char *sql;

	if (!r->ok || r->n_rows == 0) {
		if (!r->ok)
			note_error(row_of(x), r);
		go_on(x, r);
		return;
	}
	if (asprintf(&sql, "REINDEX INDEX CONCURRENTLY %s", pq_value(r, 0, 0)) < 0)
		sql = NULL;
	pq_query(x->pq, sql ? sql : "", on_rebuilt, x);
	free(sql);
}

/* The name that the OID has now. */
static void find_name(struct indexes *x)
{
	char oid[16];
	const char *parameters[] = {oid};

	snprintf(oid, sizeof(oid), "%u", row_of(x)->oid);
	/* The search_path is pg_catalog. */
	pq_query_params(x->pq,
		"SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_index "
		"i "
		"JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
		"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
		"WHERE i.indexrelid = $1::pg_catalog.oid AND NOT i.indisvalid AND "
		"NOT " SOMEBODY_BUILDS,
		parameters, 1, on_named, x);
}

static void repair_next(struct indexes *x)
{
	struct indexes_row *row;

	while (x->next < x->list.n && row_of(x)->state != INDEX_LEFTOVER)
		x->next++;
	if (x->next == x->list.n) {
		indexes_ask(x, on_listed);
		return;
	}
	row = row_of(x);
	row->tried = true;
	if (!row->toast && x->repair == REPAIR_REBUILD && row->origin == ORIGIN_BUILD)
		find_name(x);
	else
		index_drop(&x->drop, x->pq, row->oid, false, x->lock_timeout_ms, on_dropped, x);
}

void indexes_repair_all(struct indexes *x)
{
	x->next = 0;
	repair_next(x);
}
