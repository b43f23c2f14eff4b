/*
 * aside_clean.c - what a failed statement has left, and nothing else.
 *
 * An index is dropped only when it is known to be ours: our own backend said that it builds it, or
 * it is INVALID, was not there before, bears the wanted name, if one was given, and nobody is
 * building on that table. The timeouts that may have killed the statement are off; cleanup_timeout
 * bounds how long the client waits for this.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aside_state.h"
#include "catalog.h"
#include "config.h"
#include "log.h"
#include "message.h"
#include "timer.h"

#define LOOK_AGAIN_MS 200u
#define MAX_LISTS 10u	      /* that fail */
#define MOST_LOST_ROUNDS 500u /* of 20 ms */
#define RETRY_MS 200u	      /* the first pause; each further one is twice as long */

static void drop_next(struct aside *a);

/* The leftover that stood there could not be dropped for a lock; it may be now. */
static bool met_a_leftover(const struct aside *a)
{
	const struct aside_job *j = &a->job;

	return strcmp(j->sqlstate, "42P07") == 0 && j->repairs > 0 && !j->named_valid &&
	       j->named_table == j->relation;
}

/* Locks and deadlocks may be gone next time; nothing else is worth another try. */
static bool worth_another_try(const struct aside *a)
{
	const struct aside_job *j = &a->job;

	if (a->cancelled || j->told || j->clean_later || (j->mode == ASIDE_NOW && j->in_the_way) ||
		j->tries >= a->target.snapshot->config.aside_retries || j->cancelled_unwatched)
		return false;
	if (j->in_vain && strcmp(j->sqlstate, "57014") == 0)
		return true;
	if (a->watch_stood && !a->watch_up)
		return false;
	return strcmp(j->sqlstate, "55P03") == 0 || strcmp(j->sqlstate, "40P01") == 0 ||
	       met_a_leftover(a);
}

static void try_again(struct aside *a)
{
	struct aside_job *j = &a->job;
	unsigned pause = RETRY_MS << j->tries;

	j->seen.tries = ++j->tries;
	stats_count(a->worker->shared->stats, STATS_RETRIES);
	j->hold = false;
	j->in_the_way = j->in_vain = false;
	j->building = 0;
	if (j->mode != ASIDE_UNDO)
		j->relation = 0;
	j->finished = false;
	aside_watch_stop(a);
	log_event(LOG_LEVEL_WARNING, "aside_retry", "session=%llu sqlstate=%s try=%u pause_ms=%u",
		(unsigned long long)a->session, j->sqlstate, j->tries, pause);
	bytes_clear(&j->error);
	timer_start(a->limit_timer, pause);
}

/* Outside of the transaction's own time, waiting for it is a deadlock as any other. */
static void call_it_a_deadlock(struct aside *a)
{
	bytes_clear(&a->job.error);
	report_put_error(&a->job.error, "40P01", "deadlock detected",
		"The statement waits for a session that waits for a lock of this session, such as "
		"an advisory lock.",
		NULL);
	memcpy(a->job.sqlstate, "40P01", 6);
}

/* Waiting for the client's own transaction is an obstacle while it is open, and a deadlock when it
 * has ended. */
static enum aside_result result_of(struct aside *a)
{
	if (a->job.in_the_way && a->job.mode == ASIDE_NOW && !a->cancelled)
		return ASIDE_NOT_NOW;
	if (bytes_length(&a->job.error) == 0)
		call_it_a_deadlock(a);
	return ASIDE_FAILED;
}

static void add_hint(struct aside *a, const char *hint)
{
	struct bytes changed;

	bytes_init(&changed, 4u * 1024 * 1024);
	error_put_changed(&changed, bytes_view(&a->job.error), 0, hint);
	bytes_release(&a->job.error);
	a->job.error = changed;
}

/* What stays behind is named, so that somebody can drop it. */
static void name_leftovers(struct aside *a)
{
	char hint[256];

	if (a->job.n_leftovers == 0)
		return;
	snprintf(hint, sizeof(hint),
		"An INVALID index could not be dropped: its OID is %u. Find its name with SELECT "
		"%u::pg_catalog.regclass, and drop it with DROP INDEX CONCURRENTLY, if need be as "
		"a "
		"superuser.",
		a->job.leftovers[0], a->job.leftovers[0]);
	add_hint(a, hint);
}

/* The answer is lost, and the index is there: made by this statement or by somebody else, who had
 * it ready in between. It may be theirs, so it stays. */
static void name_foundling(struct aside *a)
{
	struct slice wanted = bytes_view(&a->job.name);
	char name[300];

	if (a->job.foundling == 0 || a->job.told)
		return;
	log_event(LOG_LEVEL_WARNING, "index_of_unknown_origin", "session=%llu index=%u name=%s",
		(unsigned long long)a->session, a->job.foundling,
		log_quote(name, sizeof(name), (const char *)wanted.data,
			(unsigned)strlen((const char *)wanted.data)));
	add_hint(a,
		"A valid index of this name is there now, perhaps made by this statement: look at "
		"it before you run the migration again.");
}

void aside_tell_early(struct aside *a)
{
	enum aside_result result = result_of(a);

	name_leftovers(a);
	aside_tell(a, result, OBSTACLE_LOCK);
}

void aside_clean_up_is_late(struct aside *a)
{
	log_event(LOG_LEVEL_ERROR, "cleanup_unfinished",
		"session=%llu leftover=%u reason=\"cleanup_timeout is over; it goes on in the "
		"background\"",
		(unsigned long long)a->session, a->job.n_leftovers > 0 ? a->job.leftovers[0] : 0);
	aside_tell_early(a);
}

static void finish(struct aside *a)
{
	enum aside_result result;

	if (worth_another_try(a) && pq_is_connected(a->aside)) {
		try_again(a);
		return;
	}
	result = result_of(a);
	name_foundling(a);
	aside_finish(a, result, OBSTACLE_LOCK);
}

/* Nothing can have been left: the statement was never sent, and nothing is to be undone. */
static bool never_ran(const struct aside *a, enum aside_state state)
{
	return a->job.mode != ASIDE_UNDO && state != ASIDE_REPAIRING && state != ASIDE_RUNNING &&
	       state != ASIDE_VERIFYING;
}

void aside_clean_up(struct aside *a)
{
	enum aside_state before = a->state;

	if (before == ASIDE_CLEANING || before == ASIDE_TOLD || before == ASIDE_ENDED)
		return;
	aside_enter(a, ASIDE_CLEANING);
	a->cancel_due = false;
	if (a->job.in_the_way && a->job.mode != ASIDE_NOW && !a->cancelled)
		call_it_a_deadlock(a);
	if (never_ran(a, before) || a->job.relation == 0) {
		finish(a);
		return;
	}
	if (a->target.snapshot->config.cleanup_timeout_ms > 0)
		timer_start(a->limit_timer, a->target.snapshot->config.cleanup_timeout_ms);
	aside_watch_start(a);
	if (pq_is_connected(a->aside)) {
		aside_clean_up_on(a);
	} else {
		a->aside_up = false;
		timer_start(a->watch_timer, 0);
	}
}

/* The connection for cleaning up was lost, too: another one, soon. */
void aside_clean_up_elsewhere(struct aside *a)
{
	a->aside_up = false;
	timer_start(a->watch_timer, LOOK_AGAIN_MS);
}

static void end_lost(struct aside *a);

static void on_lost_ended(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (r->lost)
		aside_clean_up_elsewhere(a);
	else if (r->ok && r->n_rows > 0 && ++a->lost_rounds < MOST_LOST_ROUNDS)
		end_lost(a);
	else
		aside_settings_role(a);
}

/*
 * Whose connection is lost, goes on without knowing it, perhaps to the end of the build. What it
 * leaves can be told only when it is gone. The rest of the condition is for a number used again.
 */
static const char end_lost_sql[] =
	"SELECT pg_catalog.pg_terminate_backend(a.pid), pg_catalog.pg_sleep(0.02) "
	"FROM pg_catalog.pg_stat_activity a, pg_catalog.pg_stat_activity me "
	"WHERE a.pid" EQ "$1::pg_catalog.int4 AND me.pid" EQ "pg_catalog.pg_backend_pid() "
	"AND a.usesysid" EQ "me.usesysid AND a.datid" EQ "me.datid "
	"AND a.application_name" EQ "me.application_name AND a.backend_start" LT "me.backend_start";

static void end_lost(struct aside *a)
{
	char pid[16];
	const char *parameters[] = {pid};

	snprintf(pid, sizeof(pid), "%d", a->lost_pid);
	pq_query_params(a->aside, end_lost_sql, parameters, 1, on_lost_ended, a);
}

void aside_clean_up_anew(struct aside *a)
{
	a->lost_rounds = 0;
	end_lost(a);
}

/* "t_pkey_ccnew", "t_pkey_ccnew1": what REINDEX calls its own. */
static bool ends_with(const char *name, const char *ending)
{
	size_t len = strlen(name);
	size_t n = strlen(ending);

	while (len > 0 && name[len - 1] >= '0' && name[len - 1] <= '9')
		len--;
	return len > n && strncmp(name + len - n, ending, n) == 0;
}

/* The index that the error itself names: that of a violated unique constraint. */
static bool error_names(const struct aside *a, const char *name)
{
	struct slice constraint;

	return error_field(bytes_view(&a->job.error), 'n', &constraint) &&
	       slice_is(constraint, name);
}

/*
 * Ours is what our own backend said it builds, or what the error names, or what bears the name that
 * we asked for and was not there before. Somebody else may have built on this table since, and may
 * have failed, too.
 */
static bool made_by_us(const struct aside *a, const char *name)
{
	const char *wanted = (const char *)bytes_view(&a->job.name).data;

	if (error_names(a, name))
		return true;
	return wanted[0] && strcmp(wanted, name) == 0 && strcmp(a->job.sqlstate, "42P07") != 0;
}

/* What it left may have any name. INVALID, new, and not being built it is nobody's loss. */
static bool has_no_name(const struct aside *a)
{
	return bytes_view(&a->job.name).data[0] == '\0';
}

void aside_drop_later(struct aside *a)
{
	struct aside_job *j = &a->job;

	if (j->n_for_later < ASIDE_MAX_LEFTOVERS)
		j->for_later[j->n_for_later++] = a->drop.index;
}

static bool is_for_later(const struct aside_job *j, uint32_t oid)
{
	for (unsigned i = 0; i < j->n_for_later; i++)
		if (j->for_later[i] == oid)
			return true;
	return false;
}

static bool is_ours(const struct aside *a, uint32_t oid, const char *name)
{
	const struct aside_job *j = &a->job;
	bool valid = false;
	bool old = aside_index_was_there(j, oid, &valid);

	if (is_for_later(j, oid))
		return false;
	if (oid == j->made || oid == j->building ||
		strncmp(name, INDEX_DROP_PREFIX, strlen(INDEX_DROP_PREFIX)) == 0)
		return true;
	if (j->too_many)
		return false;
	switch (j->statement.kind) {
	case STATEMENT_CREATE_INDEX:
		return !old && oid != j->named_index && j->building == 0 &&
		       (made_by_us(a, name) || has_no_name(a));
	case STATEMENT_DROP_INDEX:
		return oid == j->named_index && valid;
	case STATEMENT_REINDEX:
		return old ? valid && ends_with(name, "_ccold") : ends_with(name, "_ccnew");
	default:
		return false;
	}
}

/* The statement has succeeded, but its answer, or whether its index is valid, was lost: a valid one
 * is ours, too. */
static bool was_made(const struct aside *a, uint32_t oid, const char *name)
{
	const struct aside_job *j = &a->job;
	bool valid;

	if (j->statement.kind != STATEMENT_CREATE_INDEX || j->statement.aside.if_not_exists ||
		aside_index_was_there(j, oid, &valid))
		return false;
	return oid == j->building || (j->finished && !j->too_many && made_by_us(a, name));
}

static bool is_foundling(const struct aside *a, uint32_t oid, const char *name)
{
	const struct aside_job *j = &a->job;
	bool valid;

	return j->statement.kind == STATEMENT_CREATE_INDEX && !j->statement.aside.if_not_exists &&
	       j->building == 0 && !j->too_many && strcmp(j->sqlstate, "08006") == 0 &&
	       made_by_us(a, name) && !aside_index_was_there(j, oid, &valid);
}

/* True when an index that may be ours may also be somebody's who is building it now. */
static bool collect(struct aside *a, const struct pq_result *r)
{
	struct aside_job *j = &a->job;
	bool doubtful = false;

	j->n_leftovers = 0;
	for (int i = 0; i < r->n_rows; i++) {
		uint32_t oid = aside_oid(pq_value(r, i, 0));
		bool valid = pq_value(r, i, 3)[0] == 't';

		if (valid && was_made(a, oid, pq_value(r, i, 1)))
			j->made = oid;
		else if (valid && is_foundling(a, oid, pq_value(r, i, 1)))
			j->foundling = oid;
		if (valid ? oid != j->made : !is_ours(a, oid, pq_value(r, i, 1)))
			continue;
		if (oid != j->building && oid != j->made && pq_value(r, i, 2)[0] == 't')
			doubtful = true;
		else if (j->n_leftovers < ASIDE_MAX_LEFTOVERS)
			j->leftovers[j->n_leftovers++] = oid;
	}
	return doubtful;
}

static void on_listed(void *owner, const struct pq_result *r);
static void wait_and_list(struct aside *a);

/*
 * The table's indexes: OID, name, whether somebody else is building on it, valid. $2 is our own
 * backend: it may hold its lock for a moment longer. $3 is the table if its TOAST table may have
 * been left one: dropped last, since that may be forbidden. Also the index of the wanted name, $4,
 * wherever it is: while the statement waited, another table may have taken the name of its own.
 */
static const char indexes_sql[] =
	"SELECT i.indexrelid, c.relname, "
	"EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.locktype" EQ "'relation' "
	"AND l.relation" EQ "i.indrelid AND l.mode" EQ "'ShareUpdateExclusiveLock' AND l.pid" NE
	"$2::pg_catalog.int4 "
	"AND l.database" EQ "(SELECT d.oid FROM pg_catalog.pg_database d "
	"WHERE d.datname" EQ "pg_catalog.current_database())), i.indisvalid "
	"FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid" EQ "i.indexrelid "
	"WHERE (i.indrelid" EQ "$1::pg_catalog.oid OR i.indrelid" EQ "(SELECT o.reltoastrelid FROM "
	"pg_catalog.pg_class o WHERE o.oid" EQ "$3::pg_catalog.oid) OR (c.relname" EQ
	"$4::pg_catalog.text AND "
	"c.relnamespace" EQ "(SELECT o.relnamespace FROM pg_catalog.pg_class o WHERE o.oid" EQ
	"$1::pg_catalog.oid))) AND c.relkind" EQ "'i' ORDER BY i.indrelid" EQ "$1::pg_catalog.oid";

static void list(struct aside *a)
{
	const struct statement *s = &a->job.statement;
	bool toast_too = s->kind == STATEMENT_REINDEX && s->aside.target == STATEMENT_TARGET_TABLE;
	bool creates = s->kind == STATEMENT_CREATE_INDEX;
	char oid[16], pid[16];
	const char *parameters[] = {oid, pid, toast_too ? oid : "0",
		creates ? (const char *)bytes_view(&a->job.name).data : ""};

	snprintf(oid, sizeof(oid), "%u", a->job.relation);
	snprintf(pid, sizeof(pid), "%d", a->aside_pid);
	pq_query_params(a->aside, indexes_sql, parameters, 4, on_listed, a);
}

static void on_waited(void *owner, const struct pq_result *r)
{
	if (r->lost)
		aside_clean_up_elsewhere(owner);
	else
		list(owner);
}

bool aside_was_cut_short(const struct pq_result *r)
{
	return strcmp(r->sqlstate, "40P01") == 0 || strcmp(r->sqlstate, "55P03") == 0 ||
	       strcmp(r->sqlstate, "57014") == 0;
}

/* Somebody may have cancelled just that. When it is not to be had, nothing is known of leftovers.
 */
static void list_again(struct aside *a, const struct pq_result *r)
{
	log_event(LOG_LEVEL_ERROR, "leftovers_unknown", "session=%llu table=%u try=%u sqlstate=%s",
		(unsigned long long)a->session, a->job.relation, a->job.lists, r->sqlstate);
	if (++a->job.lists < MAX_LISTS)
		aside_clean_up_elsewhere(a);
	else
		finish(a);
}

static void on_listed(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (r->lost) {
		aside_clean_up_elsewhere(a);
	} else if (!r->ok && aside_was_cut_short(r)) {
		wait_and_list(a);
	} else if (!r->ok) {
		list_again(a, r);
	} else if (collect(a, r)) {
		wait_and_list(a);
	} else {
		drop_next(a);
	}
}

static void wait_and_list(struct aside *a)
{
	pq_query(a->aside, "SELECT pg_catalog.pg_sleep(0.2)", on_waited, a);
}

static void on_dropped(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	pq_limit(a->aside, ASIDE_ANSWER_MS);
	log_event(r->ok ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "leftover_dropped",
		"session=%llu index=%u ok=%s sqlstate=%s", (unsigned long long)a->session,
		a->drop.index, r->ok ? "yes" : "no", r->sqlstate);
	if (r->ok)
		stats_count(a->worker->shared->stats, STATS_LEFTOVERS_DROPPED);
	if (r->lost) {
		aside_clean_up_elsewhere(a);
	} else if (!r->ok && a->job.clean_later) {
		aside_drop_later(a);
		a->job.n_leftovers--;
		drop_next(a);
	} else if (!r->ok && aside_was_cut_short(r)) {
		wait_and_list(a);
	} else if (!r->ok) {
		name_leftovers(a);
		a->job.n_leftovers = 0;
		finish(a);
	} else {
		a->job.n_leftovers--;
		drop_next(a);
	}
}

static void drop_next(struct aside *a)
{
	struct aside_job *j = &a->job;
	uint32_t next;

	if (j->n_leftovers == 0) {
		finish(a);
		return;
	}
	next = j->leftovers[j->n_leftovers - 1];
	pq_limit(a->aside, 0);
	index_drop(&a->drop, a->aside, next, next == j->made, ASIDE_DROP_LOCK_MS, on_dropped, a);
}

static void on_timeouts_off(void *owner, const struct pq_result *r)
{
	if (r->lost)
		aside_clean_up_elsewhere(owner);
	else if (aside_was_cut_short(r))
		aside_clean_up_on(owner);
	else
		list(owner);
}

void aside_clean_up_on(struct aside *a)
{
	pq_query(a->aside,
		"SELECT pg_catalog.set_config('statement_timeout', '0', false), "
		"pg_catalog.set_config('lock_timeout', '0', false)",
		on_timeouts_off, a);
}
