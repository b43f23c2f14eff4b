#include "aside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aside_state.h"
#include "config.h"
#include "log.h"
#include "message.h"
#include "timer.h"

#define ERROR_MAX (2u * 1024u * 1024u)
#define NAMES_MAX (256u * 1024u)
#define SETTINGS_MAX (4u * 1024u * 1024u)

#define TO(state) (1u << (state))
#define ENDS (TO(ASIDE_CLEANING) | TO(ASIDE_TOLD))

static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[ASIDE_CONNECTING] = {"connecting", TO(ASIDE_SETTINGS) | TO(ASIDE_KEPT) | ENDS},
	[ASIDE_SETTINGS] = {"settings", TO(ASIDE_READY) | TO(ASIDE_LOOKING) | ENDS},
	[ASIDE_READY] = {"ready", TO(ASIDE_LOOKING) | ENDS},
	[ASIDE_LOOKING] = {"looking", TO(ASIDE_REPAIRING) | TO(ASIDE_RUNNING) | ENDS},
	[ASIDE_REPAIRING] = {"repairing", TO(ASIDE_RUNNING) | ENDS},
	[ASIDE_RUNNING] = {"running", TO(ASIDE_VERIFYING) | TO(ASIDE_LOOKING) | ENDS},
	[ASIDE_VERIFYING] = {"verifying", TO(ASIDE_REPAIRING) | ENDS},
	[ASIDE_CLEANING] = {"cleaning", TO(ASIDE_SETTINGS) | TO(ASIDE_TOLD)},
	[ASIDE_TOLD] = {"told", TO(ASIDE_SETTINGS) | TO(ASIDE_KEPT) | TO(ASIDE_ENDED)},
	[ASIDE_KEPT] = {"kept", TO(ASIDE_CONNECTING) | TO(ASIDE_TOLD)},
	[ASIDE_ENDED] = {"ended", 0},
};

const char *aside_state_name(enum aside_state state)
{
	return states[state].name;
}

void aside_enter(struct aside *a, enum aside_state state)
{
	assert(states[a->state].next & TO(state));
	log_event(LOG_LEVEL_DEBUG, "aside_state", "session=%llu from=%s to=%s",
		(unsigned long long)a->session, states[a->state].name, states[state].name);
	a->state = state;
	a->job.seen.state = states[state].name;
	a->job.seen.aside_pid = a->aside_pid;
	if (a->started)
		stats_aside_show(a->worker->shared->stats, &a->job.seen);
}

static void init_job(struct aside_job *j)
{
	bytes_init(&j->text, SIZE_MAX / 2);
	bytes_init(&j->path, NAMES_MAX);
	bytes_init(&j->name, NAMES_MAX);
	bytes_init(&j->settings, SETTINGS_MAX);
	bytes_init(&j->changes, SETTINGS_MAX);
	locks_init(&j->client.locks);
	bytes_init(&j->error, ERROR_MAX);
	j->started_ms = timer_now_ms();
}

static void release_job(struct aside *a)
{
	struct aside_job *j = &a->job;

	if (a->started)
		stats_aside_gone(a->worker->shared->stats, j->seen.id);
	bytes_release(&j->text);
	bytes_release(&j->path);
	bytes_release(&j->name);
	bytes_release(&j->settings);
	bytes_release(&j->changes);
	locks_release(&j->client.locks);
	bytes_release(&j->error);
	memset(j, 0, sizeof(*j));
}

static void free_aside(void *arg)
{
	struct aside *a = arg;
	struct worker *w = a->worker;

	pq_close(a->aside);
	pq_close(a->watch);
	timer_free(a->watch_timer);
	timer_free(a->limit_timer);
	release_job(a);
	target_release(&a->target);
	free(a);
	worker_check_end(w);
}

static void end(struct aside *a)
{
	aside_enter(a, ASIDE_ENDED);
	aside_watch_stop(a);
	timer_stop(a->limit_timer);
	*a->link = a->next;
	if (a->next)
		a->next->link = a->link;
	/* Nothing that is under way on them is to be heard of any more. */
	pq_close(a->aside);
	pq_close(a->watch);
	a->aside = a->watch = NULL;
	worker_defer(a->worker, free_aside, a);
}

static void log_outcome(const struct aside *a, struct slice message)
{
	const struct stats_aside *seen = &a->job.seen;
	char quoted[400];

	log_event(seen->outcome == STATS_FAILED ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "aside_end",
		"session=%llu placement=%s outcome=%s duration_ms=%llu sqlstate=%s reason=%s",
		(unsigned long long)a->session, stats_placement_names[seen->placement],
		stats_outcome_names[seen->outcome], (unsigned long long)seen->duration_ms,
		a->job.sqlstate,
		log_quote(
			quoted, sizeof(quoted), (const char *)message.data, (unsigned)message.len));
}

/* Into the log, and to those who look from outside. */
static void publish_outcome(struct aside *a, enum aside_result result)
{
	struct stats *stats = a->worker->shared->stats;
	struct stats_aside *seen = &a->job.seen;
	struct slice message = slice_str("");

	error_field(bytes_view(&a->job.error), 'M', &message);
	seen->told = true;
	seen->outcome = (enum stats_outcome)result;
	seen->duration_ms = timer_now_ms() - seen->started_ms;
	memcpy(seen->sqlstate, a->job.sqlstate, sizeof(seen->sqlstate));
	stats_copy_text(seen->reason, sizeof(seen->reason), message);
	log_outcome(a, message);
	stats_aside_told(stats, seen);
	stats_aside_show(stats, seen);
}

void aside_tell(struct aside *a, enum aside_result result, enum placement_obstacle obstacle)
{
	struct aside_outcome outcome = {
		.result = result, .obstacle = obstacle, .error = bytes_view(&a->job.error)};

	if (a->job.told)
		return;
	a->job.told = true;
	if (result == ASIDE_DONE)
		outcome.made = a->job.made;
	outcome.likeness = a->job.likeness;
	outcome.condemned = a->job.for_later;
	outcome.n_condemned = a->job.n_for_later;
	publish_outcome(a, result);
	if (a->owner)
		a->events.done(a->owner, &outcome);
	/* An owner that has not given another statement is not to be called again; one that has
	 * kept the aside may have begun anew. */
	if (a->job.told && !a->again)
		a->owner = NULL;
}

void aside_finish(struct aside *a, enum aside_result result, enum placement_obstacle obstacle)
{
	aside_watch_stop(a);
	timer_stop(a->limit_timer);
	aside_enter(a, ASIDE_TOLD);
	aside_tell(a, result, obstacle);
	if (a->state != ASIDE_TOLD)
		return;
	if (!a->again) {
		end(a);
		return;
	}
	a->again = false;
	aside_settings_begin(a);
}

static void set_error(struct aside *a, const char *sqlstate, const char *message, const char *hint)
{
	struct bytes *error = &a->job.error;

	bytes_clear(error);
	report_put_error(error, sqlstate, message, NULL, hint);
	snprintf(a->job.sqlstate, sizeof(a->job.sqlstate), "%.5s", sqlstate);
}

/* Nothing is to take the place of the error that is being reported. */
static bool has_failed(const struct aside *a)
{
	return a->state == ASIDE_CLEANING || a->state == ASIDE_TOLD || a->state == ASIDE_ENDED;
}

void aside_fail(struct aside *a, const char *sqlstate, const char *message, const char *hint)
{
	if (has_failed(a))
		return;
	set_error(a, sqlstate, message, hint);
	aside_clean_up(a);
}

/* By us, since nobody could watch it. */
static bool was_cancelled_unwatched(const struct aside *a, const struct pq_result *r)
{
	return a->job.unwatched.text[0] && !a->cancelled && !r->lost &&
	       (r->ok || strcmp(r->sqlstate, "57014") == 0);
}

void aside_fail_with(struct aside *a, const struct pq_result *r)
{
	if (has_failed(a))
		return;
	if (was_cancelled_unwatched(a, r)) {
		aside_fail_connect(a, &a->job.unwatched);
		return;
	}
	if (!r->error) {
		aside_fail(a, "57014", ASIDE_CANCELLED, NULL);
		return;
	}
	bytes_clear(&a->job.error);
	bytes_put_slice(&a->job.error, bytes_view(r->error));
	memcpy(a->job.sqlstate, r->sqlstate, sizeof(a->job.sqlstate));
	if (bytes_failed(&a->job.error))
		set_error(a, "53200", "out of memory", NULL);
	aside_clean_up(a);
}

static void on_notice(void *owner, struct slice body)
{
	struct aside *a = owner;

	if (a->owner && !a->job.told && a->state == ASIDE_RUNNING && a->job.mode != ASIDE_UNDO)
		a->events.notice(a->owner, body);
}

void aside_fail_connect(struct aside *a, const struct err *e)
{
	aside_fail(a, e->sqlstate, e->text,
		"pgaside needs two more connections to run this statement outside of the "
		"transaction.");
}

/* Behind COMMIT it is too late to find out that a connection is missing. */
static void stand_ready(struct aside *a)
{
	if (a->cancelled) {
		aside_fail(a, "57014", ASIDE_CANCELLED, NULL);
		return;
	}
	aside_enter(a, ASIDE_READY);
	a->events.ready(a->owner);
}

void aside_settings_done(struct aside *a)
{
	if (a->state == ASIDE_CLEANING)
		aside_clean_up_on(a);
	else if (a->job.hold)
		aside_when_watched(a, stand_ready);
	else
		aside_look(a);
}

void aside_go(struct aside *a)
{
	assert(a->state == ASIDE_READY);
	aside_look(a);
}

/* The aside connection is there, or it is known that it will not be, and so is the statement. */
static void arrive(struct aside *a)
{
	if (a->aside_error.text[0])
		aside_fail_connect(a, &a->aside_error);
	else if (a->cancelled)
		aside_fail(a, "57014", ASIDE_CANCELLED, NULL);
	else
		aside_settings_begin(a);
}

static void on_connected(void *owner, const struct err *e)
{
	struct aside *a = owner;

	if (e && a->state == ASIDE_CONNECTING) {
		a->aside_error = *e;
	} else if (e) {
		/* A connection to clean up with: the server may be restarting. */
		timer_start(a->watch_timer, 1000);
		return;
	} else {
		a->aside_up = true;
		a->aside_pid = pq_backend_pid(a->aside);
		pq_limit(a->aside, ASIDE_ANSWER_MS);
	}
	if (a->state == ASIDE_CLEANING) {
		aside_watch_start(a);
		aside_clean_up_anew(a);
	} else if (a->started) {
		arrive(a);
	}
}

bool aside_reopen(struct aside *a)
{
	static const struct pq_events events = {.connected = on_connected, .notice = on_notice};

	pq_close(a->aside);
	a->aside_up = a->used = false;
	a->aside = target_connect(&a->target, a->worker, NULL, &events, a);
	return a->aside != NULL;
}

static void copy_statement(struct aside_job *j, const struct aside_request *r)
{
	bytes_put_slice(&j->text, r->text);
	bytes_put_u8(&j->text, 0);
	if (!r->statement || bytes_failed(&j->text))
		return;
	j->statement = *r->statement;
	statement_move(&j->statement, r->text.data, bytes_view(&j->text).data);
}

/* What others may see of the statement from here on. */
static void describe(struct aside *a)
{
	struct aside_job *j = &a->job;
	struct stats_aside *seen = &j->seen;

	seen->id = stats_next_aside(a->worker->shared->stats);
	seen->session = a->session;
	seen->worker = a->worker;
	seen->placement = (enum stats_placement)j->mode;
	seen->kind = stats_statement_of(j->statement.kind);
	seen->state = states[a->state].name;
	seen->server_pid = a->server_pid;
	seen->started_ms = j->started_ms;
	seen->started_at = time(NULL);
	seen->progress.percent = PROGRESS_NO_PERCENT;
	seen->progress.unit = "";
	stats_copy_text(seen->user, sizeof(seen->user), slice_str(a->target.user));
	stats_copy_text(seen->database, sizeof(seen->database), slice_str(a->target.database));
	if (j->mode == ASIDE_UNDO)
		snprintf(seen->statement, sizeof(seen->statement),
			"DROP INDEX CONCURRENTLY (OID %u)", j->wanted_index);
	else
		stats_copy_text(seen->statement, sizeof(seen->statement), j->statement.text);
	j->progress_logged_ms = j->progress_notified_ms = j->started_ms;
	stats_aside_show(a->worker->shared->stats, seen);
}

static bool take_request(struct aside *a, const struct aside_request *r)
{
	struct aside_job *j = &a->job;

	init_job(j);
	j->mode = r->mode;
	j->hold = r->hold;
	j->look_only = r->look_only;
	j->dialect = r->dialect;
	j->wanted_relation = r->relation;
	j->wanted_index = r->index;
	j->condemned = r->condemned;
	j->partition = r->partition;
	snprintf(j->likeness, sizeof(j->likeness), "%s", r->likeness ? r->likeness : "");
	if (r->mode == ASIDE_UNDO) {
		j->relation = r->relation;
		j->made = r->index;
	}
	if (r->locks)
		locks_copy(&j->client.locks, r->locks);
	bytes_put_slice(&j->settings, r->settings);
	copy_statement(j, r);
	describe(a);
	return !bytes_failed(&j->text) && !bytes_failed(&j->settings);
}

/* Its connection is as good as a new one: no cancel may still be on its way to it. */
static bool is_sound(const struct aside *a)
{
	return !a->cancelled && !a->cancelling && !a->job.cancelled_unwatched &&
	       pq_is_connected(a->aside);
}

/* True: it waits for another statement of the session. */
static bool keep(struct aside *a)
{
	unsigned ms = a->target.snapshot->config.aside_idle_timeout_ms;

	/* Only an answer that nobody minds may still be on its way. */
	if (ms == 0 || !is_sound(a))
		return false;
	aside_enter(a, ASIDE_KEPT);
	timer_start(a->limit_timer, ms);
	return true;
}

static void discard(struct aside *a)
{
	aside_enter(a, ASIDE_TOLD);
	end(a);
}

void aside_put_back(struct aside *a)
{
	if (a && !keep(a))
		discard(a);
}

static void on_limit(void *arg)
{
	struct aside *a = arg;

	/* The same timer begins with a connection that was there before the statement, and is the
	 * pause before another try. */
	if (a->state == ASIDE_CONNECTING)
		arrive(a);
	else if (a->state == ASIDE_KEPT)
		discard(a);
	else if (a->state == ASIDE_CLEANING && !a->watching)
		aside_settings_begin(a);
	else
		aside_clean_up_is_late(a);
}

static void link_to_worker(struct aside *a)
{
	struct worker *w = a->worker;

	a->next = w->asides;
	a->link = &w->asides;
	if (a->next)
		a->next->link = &a->next;
	w->asides = a;
}

/* What aside_keep() has left for the session, if the server has not ended it meanwhile. */
static struct aside *take_kept(struct worker *w, uint64_t session)
{
	for (struct aside *a = w->asides; a; a = a->next) {
		if (a->state != ASIDE_KEPT || a->session != session || a->cancelled)
			continue;
		if (pq_is_quiet(a->aside)) {
			timer_stop(a->limit_timer);
			aside_watch_check(a);
			aside_enter(a, ASIDE_CONNECTING);
			return a;
		}
		discard(a);
		return NULL;
	}
	return NULL;
}

struct aside *aside_open(struct worker *w, const struct target *target, uint64_t session)
{
	struct aside *a = take_kept(w, session);

	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->worker = w;
	a->session = session;
	a->limit_timer = timer_new(w->base, on_limit, a);
	if (!a->limit_timer || !target_copy(&a->target, target) || !aside_reopen(a) ||
		!aside_watch_init(a)) {
		free_aside(a);
		return NULL;
	}
	link_to_worker(a);
	return a;
}

bool aside_start(struct aside *a, int server_pid, const struct aside_request *request,
	const struct aside_events *events, void *owner)
{
	a->events = *events;
	a->owner = owner;
	a->server_pid = server_pid;
	a->started = true;
	if (!take_request(a, request)) {
		discard(a);
		return false;
	}
	if (a->aside_up || a->aside_error.text[0])
		timer_start(a->limit_timer, 0);
	if (request->mode == ASIDE_OWED)
		aside_watch_open(a);
	return true;
}

void aside_keep(struct aside *a)
{
	if (a->state != ASIDE_TOLD || !keep(a))
		return;
	release_job(a);
	a->started = false;
	a->owner = NULL;
}

void aside_forget(struct worker *w, uint64_t session)
{
	struct aside *next;

	for (struct aside *a = w->asides; a; a = next) {
		next = a->next;
		if (a->state == ASIDE_KEPT && a->session == session)
			discard(a);
	}
}

bool aside_next(struct aside *a, const struct aside_request *request)
{
	if (a->state != ASIDE_TOLD || !is_sound(a))
		return false;
	release_job(a);
	a->again = take_request(a, request);
	return a->again;
}

void aside_cancel(struct aside *a)
{
	if (a->cancelled || a->job.told)
		return;
	a->cancelled = true;
	if (a->state == ASIDE_RUNNING || a->state == ASIDE_REPAIRING)
		aside_watch_cancel(a);
	else if (a->state == ASIDE_READY)
		aside_fail(a, "57014", ASIDE_CANCELLED, NULL);
}

void aside_abandon(struct aside *a)
{
	a->owner = NULL;
	a->abandoned = true;
	aside_cancel(a);
	/* Nothing has run yet, and nobody waits for it: neither does it for the server. */
	if (a->state == ASIDE_CONNECTING || a->state == ASIDE_SETTINGS || a->state == ASIDE_LOOKING)
		aside_fail(a, "57014", ASIDE_CANCELLED, NULL);
}

void aside_cancel_number(struct worker *w, uint64_t id)
{
	for (struct aside *a = w->asides; a; a = a->next) {
		if (a->job.seen.id != id || a->job.mode == ASIDE_UNDO)
			continue;
		aside_cancel(a);
		return;
	}
}

void aside_cancel_all(struct worker *w)
{
	struct aside *next;

	for (struct aside *a = w->asides; a; a = next) {
		next = a->next;
		aside_cancel(a);
	}
}
