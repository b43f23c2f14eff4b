/*
 * gate_native.c - an aside statement outside of a transaction goes to the server as it is.
 *
 * Nobody watches it there, so whoever holds a snapshot for nothing must have let go of it before:
 * see aside_release.c. That is asked only where this process has another session.
 */
#include <stdio.h>

#include "catalog.h"
#include "gate_state.h"
#include "timer.h"
#include "worker.h"

static void ask(struct session *s, bool again);

/* A rest has an empty answer, and the snapshots are asked for behind it. */
static void on_snapshots(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	(void)question;
	if (n >= 1)
		snprintf(g->holders, sizeof(g->holders), "%.*s", (int)values[0].len,
			values[0].data ? (const char *)values[0].data : "");
}

static void snapshots_known(struct session *s)
{
	struct gate *g = s->gate;

	if (gate_was_cancelled(g)) {
		gate_fail_with(s, bytes_view(&g->inquiry.error));
		return;
	}
	if (gate_heeds_cancel(s))
		return;
	if (!g->inquiry.failed && timer_now_ms() < g->look_until_ms &&
		aside_release(s->worker, g->holders)) {
		ask(s, true);
		return;
	}
	gate_send_unit(s);
}

static void ask(struct session *s, bool again)
{
	static const struct question questions[] = {{.sql = ASIDE_REST_SQL},
		{.sql = ASIDE_SNAPSHOTS_SQL("pg_catalog.pg_backend_pid()")}};
	unsigned first = again ? 0 : 1;

	s->gate->holders[0] = '\0';
	gate_ask_server(s, on_snapshots, false, questions + first, 2 - first, snapshots_known);
}

void gate_send_native(struct session *s)
{
	s->gate->look_until_ms = timer_now_ms() + ASIDE_RELEASE_MS;
	if (s->gate->asks_native)
		ask(s, false);
	else
		gate_send_unit(s);
}
