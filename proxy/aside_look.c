/*
 * aside_look.c - before the statement: which relation it means, and which indexes are there.
 */
#include <stdio.h>
#include <string.h>

#include "aside_state.h"
#include "catalog.h"
#include "message.h"
#include "sql_name.h"

#define INDEX_LIST                                                                            \
	"(SELECT pg_catalog.string_agg(i.indexrelid::pg_catalog.text" CAT                     \
	"CASE WHEN i.indisvalid THEN ':t' "                                                   \
	"WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_class r WHERE r.oid" EQ "i.indexrelid AND " \
	"r.relname" EQ "('" INDEX_DROP_PREFIX "'" CAT "r.oid::pg_catalog.text)) THEN ':d' "   \
	"ELSE ':f' END, ',') FROM pg_catalog.pg_index i WHERE i.indrelid" EQ "c.oid OR "      \
	"i.indrelid" EQ "c.reltoastrelid)"

/* The columns of enum aside_lookup_column: those that tell which relation and which index. That of
 * a partitioned table is INVALID until each partition has its own: no leftover. */
#define FOUND                                                                         \
	"SELECT c.oid, x.oid, x.relkind" EQ "'I' OR (n.indisvalid AND n.indisready)," \
	" n.indrelid, c.relkind "

/* Those that the aside connection wants besides. */
#define SEEN ", " INDEX_LIST ", c.xmax "

/* And the others, for which NAMES is joined. */
#define PROPERTIES                                                                         \
	", pg_catalog.quote_ident(s.nspname), "                                            \
	"pg_catalog.quote_ident(c.relname), pg_catalog.pg_has_role(c.relowner, 'USAGE'), " \
	"pg_catalog.has_schema_privilege(c.relnamespace, 'CREATE'), "                      \
	"pg_catalog.pg_has_role(s.nspowner, 'USAGE'), "                                    \
	"CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4" GE   \
	"170000 THEN "                                                                     \
	"pg_catalog.has_table_privilege(c.oid, 'MAINTAIN') ELSE false END, "               \
	"pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'), "  \
	"pg_catalog.current_setting('server_version_num'), "                               \
	"CASE WHEN x.oid IS NOT NULL THEN pg_catalog.format('%I.%I', y.nspname, x.relname) END"

/* An index that is to be in the same schema. */
#define FROM_TABLE                                                                               \
	"FROM pg_catalog.pg_class c "                                                            \
	"LEFT JOIN pg_catalog.pg_class x ON x.relnamespace" EQ "c.relnamespace AND x.relname" EQ \
	"$2::pg_catalog.text LEFT JOIN pg_catalog.pg_index n ON n.indexrelid" EQ "x.oid "

#define FROM_INDEX                                                                        \
	"FROM pg_catalog.pg_index n JOIN pg_catalog.pg_class c ON c.oid" EQ "n.indrelid " \
	"JOIN pg_catalog.pg_class x ON x.oid" EQ                                          \
	"n.indexrelid AND $2::pg_catalog.text IS NOT NULL "

#define NAMES                                                          \
	"JOIN pg_catalog.pg_namespace s ON s.oid" EQ "c.relnamespace " \
	"LEFT JOIN pg_catalog.pg_namespace y ON y.oid" EQ "x.relnamespace "

#define TABLE "WHERE c.oid" EQ
#define INDEX "WHERE n.indexrelid" EQ
#define BY_NAME "pg_catalog.to_regclass($1::pg_catalog.text)"
#define BY_OID "$1::pg_catalog.oid"

#define UNLIKE ", NULL "
#define LIKENESS ", " INDEX_LIKENESS("n", "x") " "

static const char table_all_sql[] = FOUND SEEN PROPERTIES UNLIKE FROM_TABLE NAMES TABLE BY_NAME;
static const char index_all_sql[] = FOUND SEEN PROPERTIES LIKENESS FROM_INDEX NAMES INDEX BY_NAME;
static const char table_oid_sql[] = FOUND SEEN PROPERTIES UNLIKE FROM_TABLE NAMES TABLE BY_OID;
static const char index_oid_sql[] = FOUND SEEN PROPERTIES LIKENESS FROM_INDEX NAMES INDEX BY_OID;
/* A new connection knows nothing of the catalog, so each thing that is asked for costs it. */
static const char table_sql[] = FOUND FROM_TABLE TABLE BY_NAME;
static const char index_sql[] = FOUND FROM_INDEX INDEX BY_NAME;
static const char table_seen_sql[] = FOUND SEEN FROM_TABLE TABLE BY_NAME;
static const char index_seen_sql[] = FOUND SEEN FROM_INDEX INDEX BY_NAME;

bool aside_names_an_index(const struct statement *s)
{
	return s->kind == STATEMENT_DROP_INDEX ||
	       (s->kind == STATEMENT_REINDEX && s->aside.target == STATEMENT_TARGET_INDEX);
}

const char *aside_lookup_sql(const struct statement *s)
{
	return aside_names_an_index(s) ? index_sql : table_sql;
}

const char *aside_lookup_all_sql(const struct statement *s)
{
	return aside_names_an_index(s) ? index_all_sql : table_all_sql;
}

const char *aside_lookup_oid_sql(const struct statement *s)
{
	return aside_names_an_index(s) ? index_oid_sql : table_oid_sql;
}

bool aside_lookup_parameters(
	const struct statement *s, struct sql_dialect d, struct bytes *path, struct bytes *name)
{
	struct sql_path p;
	struct sql_name index = {.len = 0};

	if (!sql_path_decode(aside_names_an_index(s) ? s->aside.index : s->aside.table, d, &p))
		return false;
	if (s->kind == STATEMENT_CREATE_INDEX && s->aside.index.len > 0 &&
		!sql_name_decode(s->aside.index, d, &index))
		return false;
	sql_path_write(path, &p);
	bytes_put_u8(path, 0);
	bytes_put_cstr(name, index.len > 0 ? index.text : "");
	return !bytes_failed(path) && !bytes_failed(name);
}

static bool is_true(const char *value)
{
	return value[0] == 't';
}

void aside_tell_notice(struct aside *a, const char *text)
{
	struct bytes notice;

	bytes_init(&notice, 4096);
	report_put_notice(&notice, text);
	if (a->owner)
		a->events.notice(a->owner, bytes_view(&notice));
	bytes_release(&notice);
}

static void not_now(struct aside *a, enum placement_obstacle obstacle)
{
	aside_finish(a, ASIDE_NOT_NOW, obstacle);
}

static void on_seen(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (!r->ok)
		aside_fail_with(a, r);
	else if (r->n_rows > 0)
		not_now(a, OBSTACLE_NAME);
	else
		aside_finish(a, ASIDE_INVISIBLE, OBSTACLE_NONE);
}

/*
 * The name means another relation to the server connection. Either nobody else can see that one, or
 * its transaction has renamed or hidden what everybody sees under another name.
 */
static void ask_who_sees_it(struct aside *a)
{
	char oid[16];
	const char *parameters[] = {oid};

	snprintf(oid, sizeof(oid), "%u", a->job.wanted_relation);
	pq_query_params(a->aside,
		"SELECT 1 FROM pg_catalog.pg_class WHERE oid" EQ
		"$1::pg_catalog.oid AND relpersistence" NE "'t'",
		parameters, 1, on_seen, a);
}

/* The transaction has dropped or renamed it: PostgreSQL's own words for that. */
static void missing_on_server(struct aside *a)
{
	struct aside_job *j = &a->job;
	struct slice name = aside_names_an_index(&j->statement) ? j->statement.aside.index
								: j->statement.aside.table;
	bool drop = j->statement.kind == STATEMENT_DROP_INDEX;
	char text[300];

	snprintf(text, sizeof(text), "%s \"%.*s\" does not exist%s", drop ? "index" : "relation",
		(int)name.len, (const char *)name.data,
		j->statement.aside.if_exists ? ", skipping" : "");
	if (!j->statement.aside.if_exists) {
		aside_fail(a, drop ? "42704" : "42P01", text, NULL);
		return;
	}
	aside_tell_notice(a, text);
	aside_finish(a, ASIDE_DONE, OBSTACLE_NONE);
}

/* What the server connection has found, inside its transaction, against what everybody sees. */
static void compare_with_server(struct aside *a)
{
	struct aside_job *j = &a->job;

	if (j->wanted_relation == 0 && j->relation != 0)
		missing_on_server(a);
	else if (j->relation != j->wanted_relation)
		ask_who_sees_it(a);
	else if (j->relation == 0)
		/* There is no such relation: the statement itself says that best. */
		aside_run(a);
	else if (j->look_only)
		not_now(a, OBSTACLE_NONE);
	else if (j->wanted_index != 0 && j->named_index != j->wanted_index)
		not_now(a, OBSTACLE_NAME);
	else
		aside_decide(a);
}

void aside_take_lookup(struct aside_job *j, const struct pq_result *r)
{
	if (r->n_rows == 0)
		return;
	j->relation = aside_oid(pq_value(r, 0, LOOKUP_TABLE));
	aside_indexes_read(j, pq_value(r, 0, LOOKUP_INDEXES));
	j->named_index = aside_oid(pq_value(r, 0, LOOKUP_INDEX));
	j->named_valid = is_true(pq_value(r, 0, LOOKUP_INDEX_VALID));
	j->named_table = aside_oid(pq_value(r, 0, LOOKUP_INDEX_TABLE));
	j->changed_by = aside_oid(pq_value(r, 0, LOOKUP_CHANGED_BY));
}

static void on_found(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (!r->ok) {
		aside_fail_with(a, r);
		return;
	}
	aside_take_lookup(&a->job, r);
	if (a->cancelled)
		aside_fail(a, "57014", ASIDE_CANCELLED, NULL);
	else
		compare_with_server(a);
}

static bool read_names(struct aside_job *j)
{
	bytes_clear(&j->path);
	bytes_clear(&j->name);
	if (j->mode != ASIDE_UNDO)
		return aside_lookup_parameters(&j->statement, j->dialect, &j->path, &j->name);
	bytes_put_u8(&j->name, 0);
	return !bytes_failed(&j->name);
}

void aside_look(struct aside *a)
{
	struct aside_job *j = &a->job;
	const char *parameters[2];

	aside_enter(a, ASIDE_LOOKING);
	/* Another try has its names already, and its text may have been changed to them. */
	if (j->tries == 0 && !read_names(j)) {
		aside_fail(a, "0A000", "pgaside does not understand the names in this statement",
			NULL);
		return;
	}
	if (j->mode != ASIDE_NOW) {
		aside_look_up_oid(a);
		return;
	}
	parameters[0] = (const char *)bytes_view(&j->path).data;
	parameters[1] = (const char *)bytes_view(&j->name).data;
	pq_query_params(a->aside,
		aside_names_an_index(&j->statement) ? index_seen_sql : table_seen_sql, parameters,
		2, on_found, a);
}
