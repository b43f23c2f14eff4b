/*
 * indexes_list.c - what is INVALID, and what that means.
 *
 * Every concurrent build holds SHARE UPDATE EXCLUSIVE on its table from before its index can be
 * seen until it is valid. So an INVALID index of a table that nobody holds in that mode is a
 * leftover; one of a table that somebody does is being built, unless that process says in
 * pg_stat_progress_create_index that it builds another one. (Whose progress may not be seen, is
 * taken for the builder.)
 */
#include <stdlib.h>
#include <string.h>

#include "indexes_state.h"

/* The search_path is pg_catalog. */
#define LIST_BEFORE                                                                           \
	"SELECT i.indexrelid, i.indrelid, pg_catalog.format('%I.%I', n.nspname, c.relname), " \
	"pg_catalog.format('%I.%I', tn.nspname, t.relname), "                                 \
	"pg_catalog.pg_relation_size(i.indexrelid), "                                         \
	"CASE WHEN pg_catalog.current_setting('track_commit_timestamp') = 'on' THEN "         \
	"pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - "                       \
	"pg_catalog.pg_xact_commit_timestamp(i.xmin))::pg_catalog.int8 END, "

/* The search_path is pg_catalog. */
#define LIST_BEHIND                                                                            \
	"CASE WHEN c.relkind = 'I' THEN 'partitioned' WHEN c.relispartition THEN 'attached' "  \
	"WHEN b.pid IS NOT NULL THEN 'building' ELSE 'leftover' END, "                         \
	"CASE WHEN c.relname ~ '^" INDEX_DROP_PREFIX "[0-9]+$' THEN 'drop' "                   \
	"WHEN c.relname ~ '_ccnew[0-9]*$' THEN 'ccnew' WHEN c.relname ~ '_ccold[0-9]*$' THEN " \
	"'ccold' "                                                                             \
	"WHEN NOT i.indislive THEN 'dying' ELSE 'build' END, "                                 \
	"t.relkind = 't', i.indisready, b.pid, b.phase "                                       \
	"FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "       \
	"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "                            \
	"JOIN pg_catalog.pg_class t ON t.oid = i.indrelid "                                    \
	"JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace "                          \
	"LEFT JOIN LATERAL (SELECT l.pid, p.command || ', ' || p.phase AS phase "              \
	" FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_progress_create_index p "    \
	" ON p.pid = l.pid WHERE l.locktype = 'relation' AND l.granted "                       \
	" AND l.mode = 'ShareUpdateExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid() "   \
	" AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = "     \
	" pg_catalog.current_database()) AND (l.relation = i.indrelid OR l.relation IN "       \
	" (SELECT o.oid FROM pg_catalog.pg_class o WHERE o.reltoastrelid = i.indrelid)) "      \
	" AND NOT COALESCE(p.command = 'CREATE INDEX CONCURRENTLY' AND p.index_relid <> 0 "    \
	" AND p.index_relid <> i.indexrelid, false) "                                          \
	" ORDER BY p.index_relid = i.indexrelid DESC NULLS LAST LIMIT 1) b ON true "           \
	"WHERE NOT i.indisvalid AND t.relpersistence <> 't' ORDER BY 4, 3"

/* A function that one may not call cannot even stand in a branch that is not taken. */
static const char list_sql[] = LIST_BEFORE "NULL, " LIST_BEHIND;
static const char list_files_sql[] = LIST_BEFORE
	"pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - (pg_catalog.pg_stat_file("
	"pg_catalog.pg_relation_filepath(i.indexrelid), "
	"true)).modification)::pg_catalog.int8, " LIST_BEHIND;

enum column {
	COLUMN_OID,
	COLUMN_TABLE_OID,
	COLUMN_NAME,
	COLUMN_TABLE,
	COLUMN_SIZE,
	COLUMN_AGE,
	COLUMN_WRITTEN,
	COLUMN_STATE,
	COLUMN_ORIGIN,
	COLUMN_TOAST,
	COLUMN_READY,
	COLUMN_HOLDER,
	COLUMN_PHASE,
};

static const char *const states[] = {
	[INDEX_LEFTOVER] = "leftover",
	[INDEX_BUILDING] = "building",
	[INDEX_PARTITIONED] = "partitioned",
	[INDEX_ATTACHED] = "attached",
};

static const char *const origins[] = {
	[ORIGIN_BUILD] = "build",
	[ORIGIN_CCNEW] = "ccnew",
	[ORIGIN_CCOLD] = "ccold",
	[ORIGIN_DROP] = "drop",
	[ORIGIN_DYING] = "dying",
};

static unsigned word_of(const char *text, const char *const *words, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return 0;
}

static const char *text_of(const struct pq_result *r, int row, enum column column)
{
	const char *value = pq_value(r, row, (int)column);

	return value ? value : "";
}

static long long seconds_of(const struct pq_result *r, int row, enum column column)
{
	const char *value = pq_value(r, row, (int)column);
	bool known = value && *value;
	long long s = known ? strtoll(value, NULL, 10) : -1;

	/* Clocks of two machines need not agree. */
	return known && s < 0 ? 0 : s;
}

void indexes_ask(struct indexes *x, pq_result_fn done)
{
	pq_query(x->pq, x->sees_files ? list_files_sql : list_sql, done, x);
}

static bool read_row(struct indexes_row *out, const struct pq_result *r, int row)
{
	*out = (struct indexes_row){
		.oid = (uint32_t)strtoul(text_of(r, row, COLUMN_OID), NULL, 10),
		.table_oid = (uint32_t)strtoul(text_of(r, row, COLUMN_TABLE_OID), NULL, 10),
		.name = strdup(text_of(r, row, COLUMN_NAME)),
		.table = strdup(text_of(r, row, COLUMN_TABLE)),
		.size = strtoull(text_of(r, row, COLUMN_SIZE), NULL, 10),
		.age_s = seconds_of(r, row, COLUMN_AGE),
		.written_s = seconds_of(r, row, COLUMN_WRITTEN),
		.state = (enum indexes_state)word_of(
			text_of(r, row, COLUMN_STATE), states, sizeof(states) / sizeof(states[0])),
		.origin = (enum indexes_origin)word_of(text_of(r, row, COLUMN_ORIGIN), origins,
			sizeof(origins) / sizeof(origins[0])),
		.toast = text_of(r, row, COLUMN_TOAST)[0] == 't',
		.ready = text_of(r, row, COLUMN_READY)[0] == 't',
		.holder = (int)strtol(text_of(r, row, COLUMN_HOLDER), NULL, 10),
		.phase = strdup(text_of(r, row, COLUMN_PHASE)),
	};
	return out->name && out->table && out->phase;
}

bool indexes_read(struct indexes_list *list, const struct pq_result *r)
{
	size_t n = r->n_rows > 0 ? (size_t)r->n_rows : 0;

	if (n > INDEXES_MAX)
		return false;
	list->rows = calloc(n + 1, sizeof(*list->rows));
	if (!list->rows)
		return false;
	for (; list->n < n; list->n++) {
		if (!read_row(&list->rows[list->n], r, (int)list->n)) {
			list->n++;
			return false;
		}
	}
	return true;
}

void indexes_release(struct indexes_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->rows[i].name);
		free(list->rows[i].table);
		free(list->rows[i].phase);
		free(list->rows[i].why);
	}
	free(list->rows);
	*list = (struct indexes_list){.rows = NULL};
}

const struct indexes_row *indexes_find(const struct indexes_list *list, uint32_t oid)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->rows[i].oid == oid)
			return &list->rows[i];
	return NULL;
}

size_t indexes_count(const struct indexes_list *list, enum indexes_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		n += list->rows[i].state == state;
	return n;
}

static const char *explain_origin(enum indexes_origin origin)
{
	switch (origin) {
	case ORIGIN_BUILD:
		return "a concurrent build that failed or was cut off has left it";
	case ORIGIN_CCNEW:
		return "a REINDEX CONCURRENTLY that failed has left it: it was to replace an index "
		       "that "
		       "is still there";
	case ORIGIN_CCOLD:
		return "a REINDEX CONCURRENTLY that was cut off has left it: its replacement is in "
		       "place";
	case ORIGIN_DROP:
		return "pgaside was cut off while it dropped it";
	case ORIGIN_DYING:
		return "a DROP INDEX CONCURRENTLY that was cut off has left it";
	}
	return "";
}

void indexes_explain(struct bytes *out, const struct indexes_row *row)
{
	switch (row->state) {
	case INDEX_LEFTOVER:
		bytes_printf(out, "%s; no query uses it%s%s", explain_origin(row->origin),
			row->ready ? ", every write pays for it" : "",
			row->toast ? "; of a TOAST table, only a superuser may drop it" : "");
		break;
	case INDEX_BUILDING:
		bytes_printf(out, "process %d holds the lock of a build on its table%s%s",
			row->holder, *row->phase ? ": " : "", row->phase);
		break;
	case INDEX_PARTITIONED:
		bytes_printf(out, "it becomes valid when an index of every partition is attached");
		break;
	case INDEX_ATTACHED:
		bytes_printf(out, "it belongs to a partitioned index, and is left alone");
		break;
	}
}
