/*
 * aside_oid.c - behind COMMIT or ROLLBACK, a statement is about relations by their OIDs: under
 * whatever names they are there, and for an index that a REINDEX has replaced the one in its place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aside_state.h"
#include "catalog.h"
#include "log.h"

/* A slice of the old text becomes one of the new: what stands behind `border` has moved by
 * `longer`. */
static void follow(
	struct slice *s, struct slice old, const uint8_t *text, size_t border, size_t longer)
{
	size_t at;

	if (!s->data)
		return;
	at = (size_t)(s->data - old.data);
	s->data = text + (at > border ? at + longer : at);
}

/* Puts another name in the place of one in the statement, whose slices then point into the new
 * text. */
static void rename_in(struct aside_job *j, struct slice *name, const char *now)
{
	struct statement_aside *d = &j->statement.aside;
	struct slice *slices[] = {&d->index, &d->table, &d->partition, &d->scope};
	struct slice old = bytes_view(&j->text);
	size_t before = (size_t)(name->data - old.data);
	size_t len = strlen(now);
	struct bytes renamed;

	bytes_init(&renamed, SIZE_MAX / 2);
	bytes_put(&renamed, old.data, before);
	bytes_put(&renamed, now, len);
	bytes_put(&renamed, name->data + name->len, old.len - before - name->len);
	if (bytes_failed(&renamed)) {
		bytes_release(&renamed);
		j->text.failed = true;
		return;
	}
	for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++)
		follow(slices[i], old, bytes_view(&renamed).data, before, len - name->len);
	name->len = len;
	d->n_blanks = 0;
	bytes_release(&j->text);
	j->text = renamed;
	j->statement.text = slice_of(bytes_view(&j->text).data, bytes_length(&j->text) - 1);
}

/* The relation was dropped by the very transaction that owes this: then it is done. */
static void done_by_itself(struct aside *a)
{
	if (a->job.mode == ASIDE_OWED)
		aside_tell_notice(a,
			"the relation of a statement that was to run at COMMIT was dropped by the "
			"same transaction");
	aside_finish(a, ASIDE_DONE, OBSTACLE_NONE);
}

static void on_partition(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (!r->ok) {
		aside_fail_with(a, r);
	} else if (r->n_rows == 0) {
		done_by_itself(a);
	} else {
		rename_in(&a->job, &a->job.statement.aside.partition, pq_value(r, 0, 0));
		if (bytes_failed(&a->job.text))
			aside_fail(a, "53200", "out of memory", NULL);
		else
			aside_release_and_run(a);
	}
}

static void look_up_partition(struct aside *a)
{
	char oid[16];
	const char *parameters[] = {oid};

	snprintf(oid, sizeof(oid), "%u", a->job.partition);
	pq_query_params(a->aside,
		"SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class "
		"c "
		"JOIN pg_catalog.pg_namespace n ON n.oid" EQ "c.relnamespace WHERE c.oid" EQ
		"$1::pg_catalog.oid",
		parameters, 1, on_partition, a);
}

/* Under whatever names the relations have now, the statement is about the ones it named then. */
static void run_by_oid(struct aside *a, const struct pq_result *r)
{
	struct aside_job *j = &a->job;
	char *name;

	if (j->mode == ASIDE_UNDO) {
		if (asprintf(&name, "DROP INDEX CONCURRENTLY IF EXISTS %s",
			    pq_value(r, 0, LOOKUP_INDEX_NAME)) < 0)
			name = NULL;
		bytes_clear(&j->text);
		bytes_put_cstr(&j->text, name ? name : "");
		j->statement.text = slice_of(bytes_view(&j->text).data, bytes_length(&j->text) - 1);
	} else if (aside_names_an_index(&j->statement)) {
		name = strdup(pq_value(r, 0, LOOKUP_INDEX_NAME));
		rename_in(j, &j->statement.aside.index, name ? name : "");
	} else {
		if (asprintf(&name, "%s.%s", pq_value(r, 0, LOOKUP_SCHEMA),
			    pq_value(r, 0, LOOKUP_NAME)) < 0)
			name = NULL;
		rename_in(j, &j->statement.aside.table, name ? name : "");
	}
	if (!name || bytes_failed(&j->text))
		aside_fail(a, "53200", "out of memory", NULL);
	else if (j->partition != 0)
		look_up_partition(a);
	else
		aside_release_and_run(a);
	free(name);
}

static void on_another(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;
	struct aside_job *j = &a->job;
	uint32_t another = 0;

	if (!r->ok) {
		aside_fail_with(a, r);
		return;
	}
	if (r->n_rows > 0)
		another = aside_oid(pq_value(r, 0, 0));
	if (another == 0 || another == j->wanted_index) {
		j->likeness[0] = '\0'; /* it is as it was */
	} else {
		log_event(LOG_LEVEL_INFO, "index_replaced", "session=%llu index=%u by=%u",
			(unsigned long long)a->session, j->wanted_index, another);
		j->wanted_index = another;
		if (j->mode == ASIDE_UNDO)
			j->made = j->wanted_index;
	}
	aside_look_up_oid(a);
}

static void ask_for_another(struct aside *a)
{
	char table[16];
	const char *parameters[] = {table, a->job.likeness};

	snprintf(table, sizeof(table), "%u", a->job.wanted_relation);
	pq_query_params(a->aside, INDEX_ALIKE_SQL("$1", "$2"), parameters, 2, on_another, a);
}

void aside_look_for_another(struct aside *a)
{
	aside_watch_stop(a);
	aside_enter(a, ASIDE_LOOKING);
	ask_for_another(a);
}

/*
 * REINDEX CONCURRENTLY makes another index, which takes the name, and drops the old one, INVALID
 * and under another name. One that an undo has taken the name from is being dropped already.
 */
static bool is_replaced(const struct aside *a, const struct pq_result *r)
{
	const struct aside_job *j = &a->job;

	if (!aside_names_an_index(&j->statement) || !j->likeness[0])
		return false;
	if (r->n_rows == 0)
		return j->mode != ASIDE_UNDO || j->tries == 0 || !a->drop.renamed;
	return !j->named_valid && strcmp(pq_value(r, 0, LOOKUP_LIKENESS), j->likeness) != 0 &&
	       !strstr(pq_value(r, 0, LOOKUP_INDEX_NAME), INDEX_DROP_PREFIX);
}

static void on_found(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (!r->ok) {
		aside_fail_with(a, r);
		return;
	}
	aside_take_lookup(&a->job, r);
	if (a->cancelled && a->job.mode != ASIDE_UNDO)
		aside_fail(a, "57014", ASIDE_CANCELLED, NULL);
	else if (is_replaced(a, r))
		ask_for_another(a);
	else if (r->n_rows == 0)
		done_by_itself(a);
	else
		run_by_oid(a, r);
}

void aside_look_up_oid(struct aside *a)
{
	struct aside_job *j = &a->job;
	char oid[16];
	const char *parameters[] = {oid, (const char *)bytes_view(&j->name).data};

	if (j->mode == ASIDE_UNDO)
		j->statement.kind = STATEMENT_DROP_INDEX;
	snprintf(oid, sizeof(oid), "%u",
		aside_names_an_index(&j->statement) ? j->wanted_index : j->wanted_relation);
	pq_query_params(a->aside, aside_lookup_oid_sql(&j->statement), parameters, 2, on_found, a);
}
