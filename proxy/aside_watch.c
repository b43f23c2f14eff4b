/*
 * aside_watch.c - the second connection of an aside: who is in its way, and how it is cancelled.
 *
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
#include "timer.h"

/* A short statement is over before the server has planned the question. */
#define WATCH_FIRST_MS 8u
#define WATCH_MOST_MS 250u
#define RECONNECT_MS 1000u
#define TELL_BLOCKER_MS 10000u

/* A process that does nothing for so long while its answer is waited for: that was lost on the way.
 */
#define LOST_MS 20000u

#define SNAPSHOTS_SQL ASIDE_SNAPSHOTS_SQL("$2::pg_catalog.int4")

/* One row; columns: see enum watch_column. The search_path is pg_catalog. */
static const char watch_sql[] =
	"WITH RECURSIVE b(pid) AS (SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) "
	"UNION SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids(b.pid)) FROM b WHERE b.pid <> "
	"0) "
	"SELECT w.own, w.waits, p.index_relid, w.who, w.at_work, p.phase, p.command, "
	"p.lockers_total, "
	"p.lockers_done, p.blocks_total, p.blocks_done, p.tuples_total, p.tuples_done, "
	"(" SNAPSHOTS_SQL ") FROM "
	"(SELECT pg_catalog.bool_or(pid = $2::pg_catalog.int4) AS own, pg_catalog.count(*) > 0 AS "
	"waits, "
	"(SELECT pg_catalog.string_agg(pg_catalog.format('%s %s %s', a.pid, a.state, "
	"pg_catalog.quote_literal(a.application_name)), ', ') FROM pg_catalog.pg_stat_activity a "
	"WHERE a.pid = ANY (pg_catalog.pg_blocking_pids($1))) AS who, "
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

/* It is opened again; what it was to do waits. */
static void watch_lost(struct aside *a)
{
	a->watch_up = false;
	log_event(LOG_LEVEL_WARNING, "watch_lost", "session=%llu", (unsigned long long)a->session);
	timer_start(a->watch_timer, RECONNECT_MS);
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
		watch_lost(a);
	else if (a->watching)
		look_later(a);
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

static bool is_to_be_cancelled(const struct aside *a)
{
	if (a->state == ASIDE_CLEANING)
		return a->job.clean_later;
	if (a->state != ASIDE_RUNNING && a->state != ASIDE_REPAIRING)
		return false;
	return a->cancel_due || a->cancelled || a->job.in_the_way;
}

/* The first one: without it nothing is begun. */
static void cannot_be_had(struct aside *a, const char *sqlstate, const char *why)
{
	err_set(&a->watch_error, sqlstate, "%s", why);
	aside_watch_came(a);
}

/* It can be asked; that is waited for before the statement. */
static void is_free(struct aside *a)
{
	if (a->watch_tried)
		return;
	aside_look_ahead(a);
	aside_watch_came(a);
}

static void on_looked(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (r->lost) {
		watch_lost(a);
		if (!a->watch_tried)
			cannot_be_had(a, r->sqlstate, "the connection was lost");
		return;
	}
	if (!a->watching) {
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
	}
	/* A cancel that came between two waits was missed: it is sent until the statement ends. */
	if (is_to_be_cancelled(a))
		send_cancel(a);
	else
		look_later(a);
}

static const char watch_settings_sql[] =
	"SET search_path = pg_catalog; SET statement_timeout = '30s'; SET jit = off; "
	"SET idle_session_timeout = 0";

static void on_watch_ready(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (r->lost) {
		watch_lost(a);
		if (!a->watch_tried)
			cannot_be_had(a, r->sqlstate, "the connection was lost");
		return;
	}
	a->watch_up = true;
	if (a->watching)
		look(a);
	else
		is_free(a);
}

static void on_watch_connected(void *owner, const struct err *e)
{
	struct aside *a = owner;

	if (!e) {
		pq_limit(a->watch, ASIDE_ANSWER_MS);
		pq_query(a->watch, watch_settings_sql, on_watch_ready, a);
		return;
	}
	if (!a->watch_tried)
		cannot_be_had(a, e->sqlstate, e->text);
	else
		timer_start(a->watch_timer, RECONNECT_MS);
}

static bool connect_watch(struct aside *a);

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
		if (!connect_watch(a))
			timer_start(a->watch_timer, RECONNECT_MS);
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
	pq_query_params(a->watch, watch_sql, parameters, 2, on_looked, a);
}

static bool connect_watch(struct aside *a)
{
	static const struct pq_events events = {.connected = on_watch_connected, .notice = NULL};

	pq_close(a->watch);
	a->watch_up = false;
	a->watch = target_connect(&a->target, a->worker, "pgaside/watch", &events, a);
	return a->watch != NULL;
}

bool aside_watch_open(struct aside *a)
{
	a->watch_timer = timer_new(a->worker->base, look, a);
	return a->watch_timer && connect_watch(a);
}

void aside_watch_start(struct aside *a)
{
	a->watching = true;
	a->idle_since_ms = 0;
	a->job.blocked_since_ms = 0;
	a->job.told_blocker_ms = 0;
	a->watch_ms = WATCH_FIRST_MS;
	timer_start(a->watch_timer, a->watch_ms);
}

void aside_watch_stop(struct aside *a)
{
	a->watching = false;
	a->cancel_due = false;
	timer_stop(a->watch_timer);
}
