/*
 * gate_owe.c - a statement is put into the ledger, to run after COMMIT.
 *
 * Whatever can fail is to fail now, while the transaction can still be rolled back: a CREATE INDEX
 * is rehearsed; names, privileges and what depends on an index are checked in the catalog. Only
 * what depends on the rows, or on others, is left to chance.
 */
#include <stdio.h>
#include <stdlib.h>

#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "stats.h"

/* Bytes of all together, their settings included. */
#define OWED_MAX (64u * 1024u * 1024u)

bool gate_finds_name(const struct session *s)
{
	const struct gate_lookup *found = &s->gate->found;
	bool leftover = found->index_table == found->relation && !found->index_valid;

	return found->index != 0 && !leftover && !ledger_dooms_index(&s->ledger, found->index);
}

/* A relation of the new index's name is there already, or will be. */
static bool name_is_taken(const struct session *s)
{
	const struct gate *g = s->gate;
	const struct statement_aside *d = &g->unit.aside;
	struct sql_name name, schema;

	if (d->index.len == 0)
		return false;
	if (gate_finds_name(s))
		return true;
	return sql_name_decode(d->index, s->dialect, &name) &&
	       sql_name_decode(slice_str(g->found.schema), s->dialect, &schema) &&
	       ledger_find_index(&s->ledger, &schema, &name, s->dialect);
}

static void put_in_ledger(struct session *s)
{
	struct gate *g = s->gate;
	struct slice text = gate_unit_text(g);
	struct ledger_entry *e;
	bool taken = name_is_taken(s);
	char quoted[600], notice[160];

	if (ledger_size(&s->ledger) + text.len > OWED_MAX) {
		gate_fail(s, "54000",
			"the statements that are to run after COMMIT are longer than 64 MiB", NULL,
			"Put them into several transactions.");
		return;
	}
	e = ledger_owe(&s->ledger, text, &g->unit, bytes_view(&g->settings));
	if (!e) {
		gate_fail(s, "53200", "out of memory", NULL, NULL);
		return;
	}
	if (!sql_name_decode(slice_str(g->found.schema), s->dialect, &e->schema))
		e->schema.len = 0;
	bytes_put_slice(&e->columns, bytes_view(&g->columns));
	e->name_was_free = !taken;
	e->relation = g->found.relation;
	e->index = g->unit.kind == STATEMENT_CREATE_INDEX ? 0 : g->found.index;
	memcpy(e->likeness, g->found.likeness, sizeof(e->likeness));
	if (g->unit.kind == STATEMENT_DETACH_PARTITION)
		e->partition = g->found.partition;
	if (ledger_has_condemned(&s->ledger, g->found.index))
		e->condemned = g->found.index;
	stats_count(s->worker->shared->stats, STATS_OWED_TOTAL);
	log_event(LOG_LEVEL_INFO, "aside_owed",
		"session=%llu placement=at_commit reason=\"the transaction %s\" statement=%s",
		(unsigned long long)s->id,
		placement_obstacle_text(g->facts.obstacle != OBSTACLE_NONE
						? g->facts.obstacle
						: placement_policy(&g->facts)),
		log_quote(quoted, sizeof(quoted), (const char *)g->unit.text.data,
			(unsigned)g->unit.text.len));
	snprintf(notice, sizeof(notice), "pgaside will run %s right after COMMIT",
		statement_name(&g->unit));
	gate_succeed(s, notice);
}

/* It would work, as far as that can be known. In a block of our own it need not wait for the
 * client's COMMIT. */
static void accepted(struct session *s)
{
	if (gate_heeds_cancel(s))
		return;
	if (s->gate->block_open)
		gate_commit_block_first(s);
	else
		put_in_ledger(s);
}

static bool may_do_it(const struct gate *g)
{
	switch (g->unit.kind) {
	case STATEMENT_CREATE_INDEX:
		return g->found.owned;
	case STATEMENT_DROP_INDEX:
		return g->found.owned || g->found.schema_owned;
	default:
		return g->found.owned;
	}
}

static void partition_known(struct session *s)
{
	struct gate *g = s->gate;

	if (g->inquiry.failed)
		gate_fail_with(s, bytes_view(&g->inquiry.error));
	else if (g->found.kind != 'p')
		gate_fail_not_partitioned(s);
	else if (!g->found.partition)
		gate_fail_relation(s, "42P01", g->unit.aside.partition, "does not exist");
	else if (!g->found.partition_attached)
		gate_fail_not_attached(s);
	else if (g->found.pending[0])
		gate_fail_pending(s);
	else if (g->found.has_default)
		gate_fail(s, "55000", GATE_HAS_DEFAULT, NULL, NULL);
	else
		accepted(s);
}

/* A partition is known by the catalog alone; trying it out would lock out everybody. */
static void ask_for_partition(struct session *s)
{
	struct gate *g = s->gate;
	struct sql_path path;
	struct bytes name;

	bytes_init(&name, 4096);
	if (sql_path_decode(g->unit.aside.partition, s->dialect, &path))
		sql_path_write(&name, &path);
	bytes_put_u8(&name, 0);
	gate_ask_for_partition(
		s, false, (const char *)bytes_view(&name).data, g->found.relation, partition_known);
	bytes_release(&name);
}

static void rehearsed(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes error;
	unsigned long offset =
		g->lone ? gate_characters(g, slice_of(bytes_view(&g->text).data, g->unit.offset))
			: 0;

	if (g->rehearsal == REHEARSAL_SAID_NOTHING && bytes_length(&g->failure) > 0) {
		gate_fail_with(s, bytes_view(&g->failure));
		return;
	}
	if (g->rehearsal != REHEARSAL_FAILED) {
		accepted(s);
		return;
	}
	bytes_init(&error, 256u * 1024);
	error_put_changed(&error, bytes_view(&g->error), offset, NULL);
	gate_fail_with(s, bytes_view(&error));
	bytes_release(&error);
}

static void droppable_known(struct session *s)
{
	struct gate *g = s->gate;

	if (g->inquiry.failed)
		gate_fail_with(s, bytes_view(&g->inquiry.error));
	else if (bytes_length(&g->error) > 0)
		gate_fail_with(s, bytes_view(&g->error));
	else
		accepted(s);
}

static void decide(struct session *s)
{
	struct gate *g = s->gate;

	bytes_clear(&g->columns);
	if (g->unit.kind == STATEMENT_REINDEX)
		gate_check_reindex(s, accepted);
	else if (!may_do_it(g))
		gate_fail_not_owned(s);
	else if (g->unit.kind == STATEMENT_DROP_INDEX && g->unit.aside.n_names > 1)
		gate_fail(s, "0A000",
			"DROP INDEX CONCURRENTLY does not support dropping multiple objects", NULL,
			NULL);
	else if (g->unit.kind == STATEMENT_DROP_INDEX && g->unit.aside.cascade)
		gate_fail(
			s, "0A000", "DROP INDEX CONCURRENTLY does not support CASCADE", NULL, NULL);
	else if (g->unit.kind == STATEMENT_DROP_INDEX && g->found.kind == 'p')
		gate_fail_partitioned_index(s);
	else if (g->unit.kind == STATEMENT_DROP_INDEX && g->found.index != 0)
		gate_ask_what_depends(s, droppable_known);
	else if (g->unit.kind == STATEMENT_DETACH_PARTITION)
		ask_for_partition(s);
	else if (g->unit.kind != STATEMENT_CREATE_INDEX)
		accepted(s);
	else if (!g->found.creates)
		gate_fail(s, "42501", "permission denied for schema", NULL, NULL);
	else if (!g->unit.aside.if_not_exists && name_is_taken(s))
		gate_fail_relation(s, "42P07", g->unit.aside.index, "already exists");
	else if (g->found.kind != 'r' && g->found.kind != 'm')
		gate_fail_not_indexable(s);
	else if (g->found.temporary)
		gate_rehearse(s, &g->unit, bytes_view(&g->settings), rehearsed);
	else if (bytes_length(&g->failure) > 0)
		gate_fail_with(s, bytes_view(&g->failure));
	else
		accepted(s);
}

static void on_properties(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	(void)question;
	if (n == LOOKUP_COLUMNS)
		gate_note_lookup(&g->found, values);
}

static void properties_known(struct session *s)
{
	const struct gate *g = s->gate;
	const struct statement_aside *d = &g->unit.aside;

	if (g->inquiry.failed)
		gate_fail_with(s, bytes_view(&g->inquiry.error));
	else if (g->found.relation == 0)
		gate_fail_relation(
			s, "42P01", d->table.len > 0 ? d->table : d->index, "does not exist");
	else
		decide(s);
}

/* Where it runs was decided with less. By name once more: another session may have rebuilt it. */
static void owe(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes path, name;
	const char *values[2];

	bytes_init(&path, 4096);
	bytes_init(&name, 4096);
	if (aside_lookup_parameters(&g->unit, s->dialect, &path, &name)) {
		const struct question question = {
			.sql = aside_lookup_all_sql(&g->unit), .values = values, .n_values = 2};

		values[0] = (const char *)bytes_view(&path).data;
		values[1] = (const char *)bytes_view(&name).data;
		g->found = (struct gate_lookup){0};
		gate_ask_server(s, on_properties, false, &question, 1, properties_known);
	} else {
		gate_fail(s, "53200", "out of memory", NULL, NULL);
	}
	bytes_release(&path);
	bytes_release(&name);
}

void gate_owe(struct session *s)
{
	bytes_clear(&s->gate->failure);
	owe(s);
}

void gate_owe_in_spite(struct session *s)
{
	bytes_clear(&s->gate->failure);
	bytes_put_slice(&s->gate->failure, bytes_view(&s->gate->error));
	owe(s);
}
