/*
 * aside_watch.c - the second connection of an aside: who is in its way, and how it is cancelled.
 *
 * It is opened for a statement that is not over in a moment, or for one that is still to be held.
 * It is never in a transaction, and so in nobody's way itself. While the statement runs it follows
 * the chain of pg_blocking_pids: when that leads to the client's own backend, which waits for us,
 * no server will ever see the deadlock, and it is for us to end it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aside_state.h"
#include "catalog.h"
#include "config.h"
#include "log.h"
#include "registry.h"
#include "timer.h"

/* A short statement is over before a connection for watching it would be there. */
#define WATCH_FIRST_MS 8u
#define WATCH_MOST_MS 250u
#define RECONNECT_MS 1000u
#define TELL_BLOCKER_MS 10000u

/* A process that does nothing for so long while its answer is waited for: that was lost on the way.
 */
#define LOST_MS 20000u

/* At least so long a statement waits before it is begun once more. */
#define IN_VAIN_MS 1000u

#define SNAPSHOTS_SQL ASIDE_SNAPSHOTS_SQL("$2::pg_catalog.int4")

/*
 * One row; columns: see enum watch_column. The search_path is pg_catalog. Who blocks it directly is
 * asked once, for pg_blocking_pids() locks out all who want a lock.
 */
static const char watch_sql[] =
	"WITH RECURSIVE d(pids) AS (SELECT pg_catalog.pg_blocking_pids($1)), "
	"b(pid) AS (SELECT pg_catalog.unnest(d.pids) FROM d "
	"UNION SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids(b.pid)) FROM b WHERE b.pid <> "
	"0) "
	"SELECT w.own, w.waits, p.index_relid, w.who, w.at_work, p.phase, p.command, "
	"p.lockers_total, "
	"p.lockers_done, p.blocks_total, p.blocks_done, p.tuples_total, p.tuples_done, "
	"(" SNAPSHOTS_SQL "), "
	"(SELECT a.pid FROM pg_catalog.pg_stat_activity a, d "
	"WHERE p.phase = 'waiting for old snapshots' AND a.backend_xmin IS NULL "
	"AND a.pid = ANY (d.pids) AND NOT EXISTS (SELECT 1 FROM "
	"pg_catalog.pg_locks l WHERE l.database = p.datid AND l.relation = p.relid AND l.pid <> "
	"$1) "
	"LIMIT 1) FROM "
	"(SELECT pg_catalog.bool_or(pid = $2::pg_catalog.int4) AS own, pg_catalog.count(*) > 0 AS "
	"waits, "
	"(SELECT pg_catalog.string_agg(pg_catalog.format('%s %s %s', a.pid, a.state, "
	"pg_catalog.quote_literal(a.application_name)), ', ') FROM pg_catalog.pg_stat_activity a, "
	"d "
	"WHERE a.pid = ANY (d.pids)) AS who, "
	"EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE a.pid = $1 "
	"AND a.state IS DISTINCT FROM 'idle') AS at_work FROM b) w "
	"LEFT JOIN pg_catalog.pg_stat_progress_create_index p ON p.pid = $1";

static void look(void *arg);

bool aside_watch_can_ask(const struct aside *a)
{
	return a->watch_up && pq_is_connected(a->watch) && !pq_is_busy(a->watch);
}

static void look_later(struct aside *a)
{
	a->watch_ms = a->watch_ms * 2 < WATCH_MOST_MS ? a->watch_ms * 2 : WATCH_MOST_MS;
	timer_start(a->watch_timer, a->watch_ms);
}

/*
 * What nobody has ever watched, a statement or the dropping of what it has left, might wait for the
 * client's own transaction for ever.
 */
static bool must_be_watched(const struct aside *a)
{
	return !a->watch_stood && !a->job.told && a->job.mode == ASIDE_NOW && a->aside_up &&
	       (a->state == ASIDE_RUNNING || a->state == ASIDE_REPAIRING ||
		       a->state == ASIDE_CLEANING);
}

static void cancel_unwatched(struct aside *a, const struct err *e)
{
	a->job.unwatched = *e;
	a->job.cancelled_unwatched = true;
	a->job.clean_later = a->state == ASIDE_CLEANING;
	pq_cancel(a->aside);
}

/* Nobody waits for it any more. What is owed runs all the same: the transaction is committed. */
static void go_on_without(struct aside *a, const struct err *e)
{
	a->when_watched = NULL;
	if (a->job.mode == ASIDE_OWED && a->state == ASIDE_LOOKING)
		aside_run(a);
	else
		aside_fail_connect(a, e);
}

/* It is opened again if there is something to watch. */
static void watch_failed(struct aside *a, const struct err *e)
{
	a->watch_up = a->watch_opening = false;
	if (a->when_watched) {
		go_on_without(a, e);
		return;
	}
	if (must_be_watched(a))
		cancel_unwatched(a, e);
	if (a->watching)
		timer_start(a->watch_timer, RECONNECT_MS);
}

/* It can be asked, or looks. */
static void is_free(struct aside *a)
{
	void (*then)(struct aside *) = a->when_watched;

	a->when_watched = NULL;
	if (then)
		then(a);
	else if (a->watching)
		look_later(a);
}

static void watch_lost(struct aside *a, const struct pq_result *r)
{
	struct err e;

	log_event(LOG_LEVEL_WARNING, "watch_lost", "session=%llu", (unsigned long long)a->session);
	err_set(&e, r->sqlstate, "the connection that watches was lost");
	watch_failed(a, &e);
}

static void on_cancel_sent(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	a->cancelling = false;
	if (a->job.repair_waits)
		aside_repair_goes_on(a);
	if (!r->ok) {
		log_event(LOG_LEVEL_ERROR, "cancel_failed", "session=%llu sqlstate=%s",
			(unsigned long long)a->session, r->sqlstate);
		a->cancel_due = true;
	}
	if (r->lost)
		watch_lost(a, r);
	else
		is_free(a);
}

static void send_cancel(struct aside *a)
{
	char pid[16];
	const char *parameters[] = {pid};

	a->cancel_due = false;
	a->cancelling = true;
	snprintf(pid, sizeof(pid), "%d", a->aside_pid);
	pq_query_params(a->watch, "SELECT pg_catalog.pg_cancel_backend($1::pg_catalog.int4)",
		parameters, 1, on_cancel_sent, a);
}

void aside_watch_cancel(struct aside *a)
{
	a->cancel_due = true;
	if (aside_watch_can_ask(a))
		send_cancel(a);
}

static void tell_blocker(struct aside *a, const char *who)
{
	uint64_t now = timer_now_ms();
	char quoted[600];

	if (a->job.blocked_since_ms == 0)
		a->job.blocked_since_ms = now;
	if (now - a->job.blocked_since_ms < 1000)
		return;
	if (a->job.told_blocker_ms != 0 && now - a->job.told_blocker_ms < TELL_BLOCKER_MS)
		return;
	a->job.told_blocker_ms = now;
	log_event(LOG_LEVEL_INFO, "aside_waits",
		"session=%llu waited_ms=%llu state=%s blocked_by=%s",
		(unsigned long long)a->session, (unsigned long long)(now - a->job.blocked_since_ms),
		aside_state_name(a->state),
		log_quote(quoted, sizeof(quoted), who, (unsigned)strlen(who)));
}

static bool is_true(const char *value)
{
	return value[0] == 't';
}

/* The statement waits for the client's backend. */
static void on_deadlock(struct aside *a)
{
	log_event(LOG_LEVEL_INFO, "aside_in_the_way",
		"session=%llu state=%s reason=\"it waits for the client's own transaction\"",
		(unsigned long long)a->session, aside_state_name(a->state));
	if (a->state != ASIDE_CLEANING) {
		a->job.in_the_way = true;
	} else if (a->job.mode == ASIDE_NOW) {
		/* Only the end of that transaction helps, and that needs our answer. */
		a->job.clean_later = true;
	} else {
		a->job.in_the_way = true;
		aside_tell_early(a);
		look_later(a);
		return;
	}
	aside_watch_cancel(a);
}

/*
 * A firewall in between may forget a connection that says nothing for the hours that a build takes;
 * the answer then never comes. Our process is idle, or gone, and stays so.
 */
static bool answer_is_lost(struct aside *a, bool at_work)
{
	uint64_t now = timer_now_ms();

	if (at_work || !pq_is_busy(a->aside)) {
		a->idle_since_ms = 0;
		return false;
	}
	if (a->idle_since_ms == 0)
		a->idle_since_ms = now;
	return now - a->idle_since_ms >= LOST_MS;
}

static void give_up_answer(struct aside *a)
{
	log_event(LOG_LEVEL_ERROR, "answer_lost", "session=%llu state=%s aside_pid=%d",
		(unsigned long long)a->session, aside_state_name(a->state), a->aside_pid);
	a->idle_since_ms = 0;
	look_later(a);
	pq_give_up(a->aside);
}

/*
 * At its end a build waits for every transaction that has a snapshot just then, and goes on waiting
 * when that is gone. For another session here it may have been a question of ours. Begun once more,
 * the build does not meet it again, which takes no longer than has been waited; nobody has a lock
 * that dropping what was built would wait for.
 */
static bool waits_in_vain(const struct aside *a, const struct pq_result *r)
{
	const struct aside_job *j = &a->job;
	uint32_t pid = aside_oid(pq_value(r, 0, WATCH_IN_VAIN));
	uint64_t waited = timer_now_ms() - j->blocked_since_ms;
	struct worker *owner;
	uint64_t session;

	if (pid == 0 || j->blocked_since_ms == 0 || a->state != ASIDE_RUNNING ||
		j->tries >= a->target.snapshot->config.aside_retries)
		return false;
	return waited >= IN_VAIN_MS && waited >= j->blocked_since_ms - j->started_ms &&
	       registry_find_pid(a->worker->shared->registry, pid, &owner, &session);
}

static void begin_once_more(struct aside *a)
{
	log_event(LOG_LEVEL_INFO, "aside_waits_in_vain",
		"session=%llu reason=\"the transaction that it waits for has no snapshot any "
		"more\"",
		(unsigned long long)a->session);
	a->job.in_vain = true;
	aside_watch_cancel(a);
}

static bool is_to_be_cancelled(const struct aside *a)
{
	if (a->state == ASIDE_CLEANING)
		return a->job.clean_later;
	if (a->state != ASIDE_RUNNING && a->state != ASIDE_REPAIRING)
		return false;
	return a->cancel_due || a->cancelled || a->job.in_the_way || a->job.in_vain;
}

static void on_looked(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (r->lost) {
		watch_lost(a, r);
		return;
	}
	/* What is watched now was not asked about. */
	if (!a->watching || a->looked_turn != a->watch_turn) {
		is_free(a);
		return;
	}
	if (r->ok && r->n_rows == 1) {
		if (aside_oid(pq_value(r, 0, WATCH_INDEX)) != 0 && a->state == ASIDE_RUNNING)
			a->job.building = aside_oid(pq_value(r, 0, WATCH_INDEX));
		aside_release(a->worker, pq_value(r, 0, WATCH_SNAPSHOTS));
		if (is_true(pq_value(r, 0, WATCH_WAITS)))
			tell_blocker(a, pq_value(r, 0, WATCH_BLOCKERS));
		else
			a->job.blocked_since_ms = 0;
		aside_progress_note(a, r);
		if (answer_is_lost(a, is_true(pq_value(r, 0, WATCH_AT_WORK)))) {
			give_up_answer(a);
			return;
		}
		if (is_true(pq_value(r, 0, WATCH_OWN)) && !a->job.told) {
			on_deadlock(a);
			return;
		}
		if (waits_in_vain(a, r)) {
			begin_once_more(a);
			return;
		}
	}
	/* A cancel that came between two waits was missed: it is sent until the statement ends. */
	if (is_to_be_cancelled(a))
		send_cancel(a);
	else
		look_later(a);
}

static void on_watch_ready(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (r->lost) {
		watch_lost(a, r);
		return;
	}
	a->watch_up = a->watch_stood = true;
	a->watch_opening = false;
	a->job.unwatched.text[0] = '\0';
	if (a->watching)
		look(a);
	else
		is_free(a);
}

static void on_watch_connected(void *owner, const struct err *e)
{
	struct aside *a = owner;

	if (e) {
		log_event(LOG_LEVEL_WARNING, "watch_failed", "session=%llu sqlstate=%s",
			(unsigned long long)a->session, e->sqlstate);
		watch_failed(a, e);
		return;
	}
	pq_limit(a->watch, ASIDE_ANSWER_MS);
	pq_query(a->watch, ASIDE_OWN_SETTINGS_SQL, on_watch_ready, a);
}

static void look(void *arg)
{
	struct aside *a = arg;
	char pid[16], server_pid[16];
	const char *parameters[] = {pid, server_pid};

	/* Waiting for a place to clean up with: that comes first. */
	if (a->state == ASIDE_CLEANING && !a->aside_up) {
		if (a->aside_pid != 0)
			a->lost_pid = a->aside_pid;
		a->aside_pid = 0;
		if (!aside_reopen(a))
			timer_start(a->watch_timer, RECONNECT_MS);
		return;
	}
	if (!a->watching)
		return;
	if (!a->watch_up) {
		aside_watch_open(a);
		return;
	}
	if (!aside_watch_can_ask(a)) {
		look_later(a);
		return;
	}
	if (a->cancel_due && is_to_be_cancelled(a)) {
		send_cancel(a);
		return;
	}
	snprintf(pid, sizeof(pid), "%d", a->aside_pid);
	snprintf(server_pid, sizeof(server_pid), "%d", a->server_pid);
	a->looked_turn = a->watch_turn;
	pq_query_params(a->watch, watch_sql, parameters, 2, on_looked, a);
}

bool aside_watch_init(struct aside *a)
{
	a->watch_timer = timer_new(a->worker->base, look, a);
	return a->watch_timer != NULL;
}

void aside_watch_open(struct aside *a)
{
	static const struct pq_events events = {.connected = on_watch_connected, .notice = NULL};
	struct err e;

	if (a->watch_up || a->watch_opening)
		return;
	pq_close(a->watch);
	a->watch = target_connect(&a->target, a->worker, "pgaside/watch", &events, a);
	a->watch_opening = a->watch != NULL;
	if (a->watch_opening)
		return;
	err_set(&e, "53200", "out of memory");
	watch_failed(a, &e);
}

void aside_when_watched(struct aside *a, void (*then)(struct aside *a))
{
	if (aside_watch_can_ask(a)) {
		then(a);
		return;
	}
	a->when_watched = then;
	aside_watch_open(a);
}

void aside_watch_check(struct aside *a)
{
	if (!a->watch_up || pq_is_busy(a->watch) || pq_is_quiet(a->watch))
		return;
	pq_close(a->watch);
	a->watch = NULL;
	a->watch_up = a->watch_stood = false;
}

void aside_watch_start(struct aside *a)
{
	a->watching = true;
	a->watch_turn++;
	a->idle_since_ms = 0;
	a->job.blocked_since_ms = 0;
	a->job.told_blocker_ms = 0;
	a->watch_ms = WATCH_FIRST_MS;
	timer_start(a->watch_timer, a->watch_ms);
}

void aside_watch_stop(struct aside *a)
{
	a->watching = false;
	a->when_watched = NULL;
	a->cancel_due = false;
	timer_stop(a->watch_timer);
}
