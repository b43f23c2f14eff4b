/*
 * aside_obstacle.c - is the client's transaction in the way of the statement, or would it be in the
 * way of others for as long as the statement runs?
 *
 * The rules and what they rest on: DIC, RIC and DETACH wait for everybody who has used the table;
 * CIC for those who may write to it; CIC and RIC for every older snapshot in the end. Which locks
 * the transaction has, it has said itself (locks.h). Its snapshot is seen from outside only,
 * without its noticing: on the aside connection, before that gets the role of the client, which may
 * not be allowed to see what the server's processes do. The client waits, so its transaction does
 * not get in the way meanwhile.
 *
 * The connection is new and knows nothing of the catalog, and planning costs it more than running:
 * so what is asked is little, and asked of functions instead of the views above them.
 */
#include <stdio.h>
#include <string.h>

#include "aside_state.h"
#include "catalog.h"

#define STRONG_MAX (1024u * 1024u)

/* Is one of them a relation that others see? 99 is pg_toast. The search_path is pg_catalog. */
static const char strong_sql[] = "SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = ANY "
				 "($1::pg_catalog.oid[]) AND c.relkind IN "
				 "('r', 'm', 'p', 'S', 'v', 'f') AND c.relpersistence <> 't' AND "
				 "c.relnamespace <> 99 LIMIT 1";

/* Does somebody wait for the transaction, though through others, who is in the statement's way? The
 * search_path is pg_catalog. */
static const char third_sql[] =
	"WITH RECURSIVE waits(root, pid) AS (SELECT DISTINCT x.pid, b.pid FROM pg_catalog.pg_locks "
	"x, "
	" pg_catalog.unnest(pg_catalog.pg_blocking_pids(x.pid)) b(pid) WHERE NOT x.granted AND "
	"x.pid <> $1::pg_catalog.int4 "
	" UNION SELECT w.root, b.pid FROM waits w, "
	"pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b(pid)) "
	"SELECT 1 FROM waits w WHERE w.pid = $1::pg_catalog.int4 AND ("
	" ($2::pg_catalog.bool AND EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE "
	"a.pid = w.root "
	"  AND a.backend_xmin IS NOT NULL)) "
	" OR EXISTS (SELECT 1 FROM pg_catalog.pg_locks x WHERE x.pid = w.root AND x.locktype = "
	"'relation' "
	"  AND x.relation IN ($3::pg_catalog.oid, $4::pg_catalog.oid)))";

enum activity_column {
	ACTIVITY_PID,
	ACTIVITY_SNAPSHOT,
	ACTIVITY_XID
};

/* The transaction, and others who sit there with a snapshot. */
#define ACTIVITY_SQL                                                                         \
	"SELECT s.pid, s.backend_xmin, s.backend_xid FROM "                                  \
	"pg_catalog.pg_stat_get_activity(NULL) s WHERE s.pid" EQ "%d OR (s.backend_xmin IS " \
	"NOT NULL AND s.state" EQ "'idle in transaction'); "

static bool builds(const struct aside_job *j)
{
	return j->statement.kind == STATEMENT_CREATE_INDEX;
}

static bool waits_for_snapshots(const struct aside_job *j)
{
	return builds(j) || j->statement.kind == STATEMENT_REINDEX;
}

bool aside_looks_for_obstacles(const struct aside *a)
{
	const struct aside_job *j = &a->job;

	return j->mode == ASIDE_NOW && j->wanted_relation != 0 && !j->look_only;
}

static void on_third(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	a->job.client.third = r->ok && r->n_rows > 0;
	if (r->ok)
		aside_settings_go_on(a);
	else
		aside_fail_with(a, r);
}

static void ask_for_third(struct aside *a)
{
	char pid[16], table[16], index[16];
	const char *parameters[] = {
		pid, waits_for_snapshots(&a->job) ? "true" : "false", table, index};

	if (!a->job.client.locks.waiting) {
		aside_settings_go_on(a);
		return;
	}
	snprintf(pid, sizeof(pid), "%d", a->server_pid);
	snprintf(table, sizeof(table), "%u", a->job.wanted_relation);
	snprintf(index, sizeof(index), "%u", a->job.wanted_index);
	pq_query_params(a->aside, third_sql, parameters, 4, on_third, a);
}

static void on_strong(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	a->job.client.strong = r->ok && r->n_rows > 0;
	if (r->ok)
		ask_for_third(a);
	else
		aside_fail_with(a, r);
}

static void ask_for_strong(struct aside *a)
{
	struct bytes oids;
	const char *parameter;

	if (!locks_has_strong(&a->job.client.locks)) {
		ask_for_third(a);
		return;
	}
	bytes_init(&oids, STRONG_MAX);
	locks_put_strong(&a->job.client.locks, &oids);
	if (bytes_failed(&oids)) {
		a->job.client.strong = true;
		ask_for_third(a);
	} else {
		parameter = (const char *)bytes_view(&oids).data;
		pq_query_params(a->aside, strong_sql, &parameter, 1, on_strong, a);
	}
	bytes_release(&oids);
}

static void on_ready_to_ask(void *owner, const struct pq_result *r)
{
	if (r->ok)
		ask_for_strong(owner);
	else
		aside_fail_with(owner, r);
}

void aside_ask_for_obstacles(struct aside *a)
{
	const struct locks *l = &a->job.client.locks;

	if (aside_looks_for_obstacles(a) && (l->waiting || locks_has_strong(l)))
		pq_query(a->aside, ASIDE_OWN_SETTINGS_SQL, on_ready_to_ask, a);
	else
		aside_settings_go_on(a);
}

void aside_put_question(const struct aside *a, struct bytes *sql)
{
	bytes_printf(sql, ACTIVITY_SQL, a->server_pid);
}

void aside_take_answer(struct aside *a, const struct pq_result *r)
{
	struct aside_transaction *t = &a->job.client;

	t->has_snapshot = t->snapshots = false;
	t->xid = 0;
	for (int i = 0; i < r->n_rows; i++) {
		if ((int)aside_oid(pq_value(r, i, ACTIVITY_PID)) != a->server_pid) {
			t->snapshots = true;
			continue;
		}
		t->has_snapshot = pq_value(r, i, ACTIVITY_SNAPSHOT)[0] != '\0';
		t->xid = aside_oid(pq_value(r, i, ACTIVITY_XID));
	}
}

static enum placement_obstacle obstacle_of(const struct aside_job *j)
{
	const struct aside_transaction *t = &j->client;

	if (locks_has(&t->locks, j->relation, builds(j)) ||
		(j->named_index != 0 && locks_has(&t->locks, j->named_index, builds(j))))
		return OBSTACLE_LOCK;
	if (waits_for_snapshots(j) && t->has_snapshot)
		return OBSTACLE_SNAPSHOT;
	if (waits_for_snapshots(j) && t->xid != 0 && j->changed_by == t->xid)
		return OBSTACLE_CATALOG;
	if (t->strong)
		return OBSTACLE_STRONG_LOCK;
	if (t->third)
		return OBSTACLE_THIRD;
	return builds(j) && t->locks.object ? OBSTACLE_OBJECT : OBSTACLE_NONE;
}

void aside_decide(struct aside *a)
{
	enum placement_obstacle obstacle = obstacle_of(&a->job);

	if (obstacle != OBSTACLE_NONE)
		aside_finish(a, ASIDE_NOT_NOW, obstacle);
	else if (a->job.client.snapshots)
		aside_release_and_run(a);
	else
		aside_run(a);
}
