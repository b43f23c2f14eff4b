/*
 * aside_run.c - the statement itself, and whether it has done what it said.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "aside_state.h"
#include "catalog.h"
#include "config.h"
#include "log.h"
#include "timer.h"

#define REPAIR_LOCK_MS ASIDE_DROP_LOCK_MS
#define MAX_REPAIRS 3u
#define MAX_VERIFICATIONS 3u

static void run_statement(struct aside *a);
static void verify(struct aside *a);

/* The statement is over, for now or for good: `error` is set unless it succeeded. */
static void on_finished(void *owner, const struct pq_result *r);

static bool is_cic(const struct aside *a)
{
	return a->job.statement.kind == STATEMENT_CREATE_INDEX;
}

/* An index that the transaction does not want any more has the wanted name. */
static bool is_condemned(const struct aside *a)
{
	return a->job.condemned != 0 && a->job.named_index == a->job.condemned;
}

/* An INVALID index of the wanted name on the wanted table: what an earlier build has left. */
static bool has_leftover(const struct aside *a)
{
	if (!is_cic(a) || a->job.named_index == 0 || a->job.repairs >= MAX_REPAIRS)
		return false;
	return is_condemned(a) ||
	       (a->target.snapshot->config.repair_invalid && !a->job.named_valid &&
		       a->job.named_table == a->job.relation);
}

static void repair_next(struct aside *a);

/*
 * Dropping waits for everybody who has used the table, building does not: when it waits for the
 * client's own transaction, the index has lost its name already, and goes at the transaction's end.
 */
static void on_repaired(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;
	struct aside_job *j = &a->job;

	pq_limit(a->aside, ASIDE_ANSWER_MS);
	if (r->lost || a->cancelled || j->unwatched.text[0]) {
		aside_fail_with(a, r);
		return;
	}
	log_event(r->ok ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "leftover_dropped",
		"session=%llu index=%u ok=%s sqlstate=%s", (unsigned long long)a->session,
		a->drop.index, r->ok ? "yes" : "no", r->sqlstate);
	if (r->ok)
		stats_count(a->worker->shared->stats, STATS_LEFTOVERS_DROPPED);
	/* It may have lost its name, and the session's own timeout has ended the rest. */
	if (!r->ok && (j->in_the_way || (a->drop.renamed && aside_was_cut_short(r))))
		aside_drop_later(a);
	j->in_the_way = false;
	/* A cancel that is still on its way must not hit what comes next. */
	if (a->cancelling)
		j->repair_waits = true;
	else
		repair_next(a);
}

void aside_repair_goes_on(struct aside *a)
{
	a->job.repair_waits = false;
	if (a->state == ASIDE_REPAIRING)
		repair_next(a);
}

/*
 * With a short patience: who waits for that table waits for somebody who is building, and then the
 * statement itself is to wait, and to look again afterwards.
 */
static void repair_next(struct aside *a)
{
	struct aside_job *j = &a->job;
	uint32_t next;

	if (j->n_leftovers == 0) {
		run_statement(a);
		return;
	}
	next = j->leftovers[--j->n_leftovers];
	if (a->state != ASIDE_REPAIRING)
		aside_enter(a, ASIDE_REPAIRING);
	pq_limit(a->aside, 0);
	index_drop(&a->drop, a->aside, next, next == j->condemned, REPAIR_LOCK_MS, on_repaired, a);
}

static void note_leftover(struct aside_job *j, uint32_t index)
{
	if (j->n_leftovers < ASIDE_MAX_LEFTOVERS)
		j->leftovers[j->n_leftovers++] = index;
}

/* Those that somebody was dropping when he was killed, and the one that has the wanted name. */
static void find_leftovers(struct aside *a)
{
	struct aside_job *j = &a->job;

	j->n_leftovers = 0;
	for (unsigned i = 0; i < j->n_before; i++)
		if (j->before[i].renamed && is_cic(a) && a->target.snapshot->config.repair_invalid)
			note_leftover(j, j->before[i].oid);
	if (!has_leftover(a))
		return;
	j->repairs++;
	note_leftover(j, j->named_index);
}

void aside_run(struct aside *a)
{
	a->watch_stood = a->watch_up;
	aside_watch_start(a);
	find_leftovers(a);
	repair_next(a);
}

static void run_statement(struct aside *a)
{
	struct slice text = a->job.statement.text;
	char quoted[700], database[140];

	aside_enter(a, ASIDE_RUNNING);
	log_event(LOG_LEVEL_INFO, "aside_start",
		"session=%llu database=%s placement=%s server_pid=%d aside_pid=%d statement=%s",
		(unsigned long long)a->session,
		log_quote(database, sizeof(database), a->target.database,
			(unsigned)strlen(a->target.database)),
		stats_placement_names[a->job.seen.placement], a->server_pid, a->aside_pid,
		log_quote(quoted, sizeof(quoted), (const char *)text.data, (unsigned)text.len));
	pq_limit(a->aside, 0);
	if (a->job.mode == ASIDE_UNDO)
		index_drop(&a->drop, a->aside, a->job.made, true, 0, on_finished, a);
	else
		pq_query(a->aside, (const char *)a->job.text.data, on_finished, a);
}

static void succeed(struct aside *a)
{
	/* Nobody is left who wants it: the transaction that did has ended without us. */
	if (a->abandoned && a->job.mode == ASIDE_NOW && a->job.made != 0) {
		aside_fail(a, "57014", "the client is gone", NULL);
		return;
	}
	aside_finish(a, ASIDE_DONE, OBSTACLE_NONE);
}

/* Columns: OID, valid and ready, name, likeness. */
static const char verify_sql[] =
	"SELECT i.indexrelid, i.indisvalid AND i.indisready, c.relname, " INDEX_LIKENESS(
		"i", "c") " FROM pg_catalog.pg_index i "
			  "JOIN pg_catalog.pg_class c ON c.oid" EQ
			  "i.indexrelid WHERE i.indrelid" EQ "$1::pg_catalog.oid";

/* The index that was to be made: of the wanted name, or the one our own backend said it builds. */
static bool is_wanted(const struct aside *a, const struct pq_result *r, int row)
{
	const char *wanted = (const char *)bytes_view(&a->job.name).data;
	uint32_t oid = aside_oid(pq_value(r, row, 0));
	bool valid;

	if (wanted[0])
		return strcmp(wanted, pq_value(r, row, 2)) == 0;
	if (a->job.building != 0)
		return oid == a->job.building;
	/* Too fast to be seen. Others may be building here, too, but theirs are not valid yet. */
	return pq_value(r, row, 1)[0] == 't' && !aside_index_was_there(&a->job, oid, &valid);
}

/* With IF NOT EXISTS the index is for everybody who asked for it: it is nobody's to undo. Neither
 * is one of two of which it is not known which is ours. */
static void note_made(struct aside *a, uint32_t oid, const char *likeness)
{
	struct aside_job *j = &a->job;
	bool valid;

	if (j->statement.aside.if_not_exists || aside_index_was_there(j, oid, &valid))
		return;
	j->made = j->n_made++ == 0 ? oid : 0;
	snprintf(j->likeness, sizeof(j->likeness), "%s", likeness);
}

/*
 * IF NOT EXISTS succeeds on an INVALID index, too. Somebody may have been building it when the
 * leftover was looked for, and have failed since: then it is repaired now, once.
 */
static void on_verified(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	/* A cancel that came too late for the statement has hit the question about it. */
	if (!r->ok && !r->lost && a->job.verifications < MAX_VERIFICATIONS) {
		verify(a);
		return;
	}
	if (!r->ok) {
		aside_fail_with(a, r);
		return;
	}
	a->job.n_made = 0;
	for (int i = 0; i < r->n_rows; i++) {
		if (!is_wanted(a, r, i))
			continue;
		if (pq_value(r, i, 1)[0] == 't') {
			note_made(a, aside_oid(pq_value(r, i, 0)), pq_value(r, i, 3));
			continue;
		}
		a->job.named_index = aside_oid(pq_value(r, i, 0));
		a->job.named_table = a->job.relation;
		a->job.named_valid = false;
		if (has_leftover(a)) {
			a->job.repairs++;
			note_leftover(&a->job, a->job.named_index);
			repair_next(a);
		} else {
			aside_fail(a, "55000", "the index exists, but it is INVALID",
				"Drop it with DROP INDEX CONCURRENTLY and run the migration "
				"again.");
		}
		return;
	}
	succeed(a);
}

static void verify(struct aside *a)
{
	char oid[16];
	const char *parameters[] = {oid};

	a->job.verifications++;
	snprintf(oid, sizeof(oid), "%u", a->job.relation);
	pq_query_params(a->aside, verify_sql, parameters, 1, on_verified, a);
}

static void begin_to_verify(struct aside *a)
{
	aside_enter(a, ASIDE_VERIFYING);
	a->job.finished = true;
	a->job.verifications = 0;
	verify(a);
}

static void on_finished(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	pq_limit(a->aside, ASIDE_ANSWER_MS);
	if (!r->ok)
		aside_fail_with(a, r);
	else if (a->job.mode == ASIDE_UNDO && !a->drop.renamed && a->job.likeness[0])
		aside_look_for_another(a);
	else if (is_cic(a) && a->job.relation != 0)
		begin_to_verify(a);
	else
		succeed(a);
}
