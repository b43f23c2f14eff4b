/*
 * gate_words.c - a statement that is owed is refused before COMMIT: in the words that the server's
 * version has for it.
 */
#include <stdio.h>

#include "gate_state.h"

/* "" when it cannot be read. */
static const char *decoded(const struct session *s, struct slice name, struct sql_name *out)
{
	if (!sql_name_decode(name, s->dialect, out))
		out->text[0] = '\0';
	return out->text;
}

/* Of the relation that was looked up. */
static const char *table_name(const struct session *s, struct sql_name *out)
{
	return decoded(s, slice_str(s->gate->found.name), out);
}

const char *gate_last_part(const struct session *s, struct slice name, struct sql_path *out)
{
	return sql_path_decode(name, s->dialect, out) ? out->parts[out->n_parts - 1].text : "";
}

static const char *index_name(const struct session *s, struct sql_path *out)
{
	return gate_last_part(s, s->gate->unit.aside.index, out);
}

void gate_fail_relation(
	struct session *s, const char *sqlstate, struct slice name, const char *what)
{
	struct sql_name relation;
	char text[256];

	snprintf(text, sizeof(text), "relation \"%s\" %s", decoded(s, name, &relation), what);
	gate_fail(s, sqlstate, text, NULL, NULL);
}

/* REINDEX asks for MAINTAIN since version 17. */
void gate_fail_not_owned(struct session *s)
{
	const struct gate *g = s->gate;
	bool index = g->unit.kind == STATEMENT_DROP_INDEX ||
		     g->unit.aside.target == STATEMENT_TARGET_INDEX;
	bool right = g->unit.kind == STATEMENT_REINDEX && g->found.version >= 170000;
	struct sql_name table;
	struct sql_path path;
	char text[300];

	snprintf(text, sizeof(text), "%s %s %s",
		right ? "permission denied for" : "must be owner of", index ? "index" : "table",
		index ? index_name(s, &path) : table_name(s, &table));
	gate_fail(s, "42501", text, NULL, NULL);
}

void gate_fail_partitioned_index(struct session *s)
{
	struct sql_path path;
	char text[200];

	snprintf(text, sizeof(text), "cannot drop partitioned index \"%s\" concurrently",
		index_name(s, &path));
	gate_fail(s, "0A000", text, NULL, NULL);
}

static const char *kind_detail(const struct gate_lookup *found)
{
	static const struct {
		char kind;
		const char *detail;
	} details[] = {
		{'r', "This operation is not supported for tables."},
		{'m', "This operation is not supported for materialized views."},
		{'v', "This operation is not supported for views."},
		{'S', "This operation is not supported for sequences."},
		{'f', "This operation is not supported for foreign tables."},
		{'c', "This operation is not supported for composite types."},
		{'i', "This operation is not supported for indexes."},
		{'I', "This operation is not supported for partitioned indexes."},
		{'t', "This operation is not supported for TOAST tables."},
	};

	for (size_t i = 0; i < sizeof(details) / sizeof(details[0]); i++)
		if (details[i].kind == found->kind && found->version >= 150000)
			return details[i].detail;
	return NULL;
}

/* A message with the relation's name in it. */
static void fail_kind(struct session *s, const char *sqlstate, const char *before,
	const char *after, const char *detail)
{
	struct sql_name table;
	char text[256];

	snprintf(text, sizeof(text), "%s\"%s\"%s", before, table_name(s, &table), after);
	gate_fail(s, sqlstate, text, detail, NULL);
}

void gate_fail_not_partitioned(struct session *s)
{
	const struct gate_lookup *found = &s->gate->found;

	if (found->kind == 'r' && found->version < 180000)
		fail_kind(s, "42P17", "table ", " is not partitioned", NULL);
	else if (found->version < 150000)
		fail_kind(s, "42809", "", " is not a table", NULL);
	else
		fail_kind(s, "42809",
			"ALTER action DETACH PARTITION cannot be performed on relation ", "",
			kind_detail(found));
}

void gate_fail_not_attached(struct session *s)
{
	struct sql_name partition, table;
	char text[400];

	snprintf(text, sizeof(text), "relation \"%s\" is not a partition of relation \"%s\"",
		decoded(s, s->gate->unit.aside.partition, &partition), table_name(s, &table));
	gate_fail(s, "42P01", text, NULL, NULL);
}

void gate_fail_pending(struct session *s)
{
	const struct gate_lookup *found = &s->gate->found;
	struct sql_name schema, table;
	char text[400];

	snprintf(text, sizeof(text),
		"partition \"%s\" already pending detach in partitioned table \"%s.%s\"",
		found->pending, decoded(s, slice_str(found->schema), &schema),
		table_name(s, &table));
	gate_fail(s, "55000", text, NULL,
		"Use ALTER TABLE ... DETACH PARTITION ... FINALIZE to complete the pending detach "
		"operation.");
}

void gate_fail_not_indexable(struct session *s)
{
	const struct gate_lookup *found = &s->gate->found;

	if (found->kind == 'p')
		fail_kind(s, "0A000", "cannot create index on partitioned table ", " concurrently",
			NULL);
	else if (found->version < 150000)
		fail_kind(s, "42809", "", " is not a table or materialized view", NULL);
	else
		fail_kind(s, "42809", "cannot create index on relation ", "", kind_detail(found));
}
