/*
 * aside_release.c - snapshots that nobody needs.
 *
 * A tool may keep its lock by a second connection, in a transaction of its own, as Flyway does.
 * There the portal of its last SELECT is left open, by pgjdbc as well as by libpq, and with it a
 * snapshot, which the build would wait for at its end, as the tool waits for the build. Where that
 * connection is a session of ours, and the portal has given all its rows, it is closed. That must
 * be done before the build meets it: from then on PostgreSQL waits for the end of the transaction,
 * snapshot or not.
 */
#include <stdio.h>
#include <stdlib.h>

#include "aside_state.h"
#include "catalog.h"
#include "registry.h"
#include "timer.h"

static void on_rested(void *owner, const struct pq_result *r);

bool aside_release(struct worker *w, const char *pids)
{
	struct worker_message m = {.kind = WORKER_RELEASE_PORTAL, .fd = -1};
	struct worker *owner;
	bool any = false;
	char *end;

	for (const char *at = pids; at && *at; at = end) {
		unsigned long pid = strtoul(at, &end, 10);

		if (end == at)
			break;
		if (registry_find_pid(w->shared->registry, (uint32_t)pid, &owner, &m.session))
			any = worker_post(owner, &m) || any;
	}
	return any;
}

static void on_answer(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	/* This is a courtesy: what is wrong here will be said by the statement itself. */
	if (r->lost)
		a->watch_up = false;
	if (a->cancelled && a->job.mode != ASIDE_UNDO)
		aside_fail(a, "57014", ASIDE_CANCELLED, NULL);
	else if (r->ok && r->n_rows == 1 && timer_now_ms() < a->job.look_until_ms &&
		 aside_release(a->worker, pq_value(r, 0, 0)))
		pq_query(a->watch, ASIDE_REST_SQL, on_rested, a);
	else
		aside_run(a);
}

static void ask(struct aside *a)
{
	char server_pid[16];
	const char *parameters[] = {server_pid};

	snprintf(server_pid, sizeof(server_pid), "%d", a->server_pid);
	pq_query_params(
		a->watch, ASIDE_SNAPSHOTS_SQL("$1::pg_catalog.int4"), parameters, 1, on_answer, a);
}

static void on_rested(void *owner, const struct pq_result *r)
{
	if (r->ok)
		ask(owner);
	else
		on_answer(owner, r);
}

void aside_release_and_run(struct aside *a)
{
	a->job.look_until_ms = timer_now_ms() + ASIDE_RELEASE_MS;
	if (a->job.mode != ASIDE_UNDO)
		aside_when_watched(a, ask);
	else if (aside_watch_can_ask(a))
		ask(a);
	else
		aside_run(a);
}
