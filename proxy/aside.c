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

#define ERROR_MAX (256u * 1024u)
#define NAMES_MAX (256u * 1024u)

#define TO(state) (1u << (state))
#define ENDS (TO(ASIDE_CLEANING) | TO(ASIDE_ENDED))

static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[ASIDE_CONNECTING] = {"connecting", TO(ASIDE_SETTINGS) | ENDS},
	[ASIDE_SETTINGS] = {"settings", TO(ASIDE_LOOKING) | ENDS},
	[ASIDE_LOOKING] = {"looking", TO(ASIDE_REPAIRING) | TO(ASIDE_RUNNING) | ENDS},
	[ASIDE_REPAIRING] = {"repairing", TO(ASIDE_RUNNING) | ENDS},
	[ASIDE_RUNNING] = {"running", TO(ASIDE_VERIFYING) | ENDS},
	[ASIDE_VERIFYING] = {"verifying", TO(ASIDE_REPAIRING) | ENDS},
	[ASIDE_CLEANING] = {"cleaning", TO(ASIDE_ENDED)},
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
}

static void free_aside(void *arg)
{
	struct aside *a = arg;
	struct worker *w = a->worker;

	pq_close(a->aside);
	pq_close(a->watch);
	timer_free(a->watch_timer);
	timer_free(a->limit_timer);
	bytes_release(&a->text);
	bytes_release(&a->path);
	bytes_release(&a->name);
	bytes_wipe(&a->password);
	bytes_release(&a->settings);
	bytes_release(&a->changes);
	bytes_release(&a->error);
	bytes_release(&a->leftovers);
	bytes_release(&a->leftover_names);
	free(a->user);
	free(a->database);
	free(a->application_name);
	free(a);
	worker_check_end(w);
}

void aside_end(struct aside *a)
{
	if (a->state == ASIDE_ENDED)
		return;
	aside_enter(a, ASIDE_ENDED);
	aside_watch_stop(a);
	timer_stop(a->limit_timer);
	*a->link = a->next;
	if (a->next)
		a->next->link = a->link;
	worker_defer(a->worker, free_aside, a);
}

static void log_outcome(const struct aside *a, enum aside_result result)
{
	static const char *const words[] = {[ASIDE_DONE] = "done",
		[ASIDE_FAILED] = "failed",
		[ASIDE_NOT_NOW] = "in_the_way",
		[ASIDE_INVISIBLE] = "invisible"};
	struct slice state = slice_str(""), message = slice_str("");
	char quoted[400];

	error_field(bytes_view(&a->error), 'C', &state);
	error_field(bytes_view(&a->error), 'M', &message);
	log_event(result == ASIDE_FAILED ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "aside_end",
		"session=%llu database=%s outcome=%s duration_ms=%llu sqlstate=%.*s reason=%s",
		(unsigned long long)a->session, a->database, words[result],
		(unsigned long long)(timer_now_ms() - a->started_ms), (int)state.len,
		(const char *)state.data,
		log_quote(
			quoted, sizeof(quoted), (const char *)message.data, (unsigned)message.len));
}

void aside_report(struct aside *a, enum aside_result result, enum placement_obstacle obstacle)
{
	struct aside_outcome outcome = {
		.result = result, .obstacle = obstacle, .error = bytes_view(&a->error)};
	void *owner = a->owner;

	if (a->told)
		return;
	a->told = true;
	a->owner = NULL;
	log_outcome(a, result);
	if (owner)
		a->events.done(owner, &outcome);
}

static void set_error(struct aside *a, const char *sqlstate, const char *message, const char *hint)
{
	bytes_clear(&a->error);
	message_put_field(&a->error, 'S', "ERROR");
	message_put_field(&a->error, 'V', "ERROR");
	message_put_field(&a->error, 'C', sqlstate);
	message_put_field(&a->error, 'M', message);
	message_put_field(&a->error, 'H', hint);
	bytes_put_u8(&a->error, 0);
}

void aside_fail(struct aside *a, const char *sqlstate, const char *message, const char *hint)
{
	set_error(a, sqlstate, message, hint);
	aside_clean_up(a);
}

void aside_fail_with(struct aside *a, const struct pq_result *r)
{
	bytes_clear(&a->error);
	bytes_put_slice(&a->error, bytes_view(r->error));
	aside_clean_up(a);
}

static void on_notice(void *owner, struct slice body)
{
	struct aside *a = owner;

	if (a->owner && a->state == ASIDE_RUNNING)
		a->events.notice(a->owner, body);
}

void aside_on_connected(struct aside *a)
{
	if (a->state != ASIDE_CONNECTING || !a->aside_up || !a->watch_up)
		return;
	if (a->cancelled) {
		aside_fail(a, "57014", "canceling statement due to user request", NULL);
		return;
	}
	aside_settings_begin(a);
}

static void on_connected(void *owner, const struct err *e)
{
	struct aside *a = owner;

	if (e && a->state == ASIDE_CONNECTING) {
		aside_fail(a, e->sqlstate, e->text,
			"pgaside needs two more connections to run this statement outside of the "
			"transaction.");
		return;
	}
	if (e) {
		/* A connection to clean up with: the server may be restarting. */
		timer_start(a->watch_timer, 1000);
		return;
	}
	a->aside_up = true;
	a->aside_pid = pq_backend_pid(a->aside);
	if (a->state == ASIDE_CLEANING)
		aside_settings_role(a);
	else
		aside_on_connected(a);
}

struct pq *aside_connect(
	struct aside *a, const char *application_name, const struct pq_events *events)
{
	const struct upstream *u = a->worker->shared->upstream;
	const struct pq_parameter parameters[] = {
		{"host", a->route.host->host},
		{"hostaddr", a->route.address},
		{"port", a->route.host->port},
		{"user", a->user},
		{"password", (const char *)a->password.data},
		{"dbname", a->database},
		{"sslmode", u->sslmode},
		{"sslrootcert", u->sslrootcert},
		{"sslcert", u->sslcert},
		{"sslkey", u->sslkey},
		{"sslcrl", u->sslcrl},
		{"gssencmode", "disable"},
		{"application_name", application_name},
		{NULL, NULL},
	};

	return pq_connect(a->worker, parameters,
		a->worker->shared->config->server_connect_timeout_ms, events, a);
}

bool aside_open(struct aside *a)
{
	static const struct pq_events events = {.connected = on_connected, .notice = on_notice};

	pq_close(a->aside);
	a->aside_up = false;
	a->aside = aside_connect(a, a->application_name, &events);
	return a->aside != NULL;
}

static char *copy_text(struct slice s)
{
	return strndup(s.len > 0 ? (const char *)s.data : "", s.len);
}

/* A slice into the request's text becomes one into ours. */
static void move_slice(struct slice *s, const uint8_t *from, const uint8_t *to)
{
	if (s->data)
		s->data = to + (s->data - from);
}

static void copy_statement(struct aside *a, const struct aside_request *r)
{
	struct statement_aside *d = &a->statement.aside;
	struct slice *slices[] = {
		&a->statement.text, &d->index, &d->table, &d->partition, &d->scope};

	bytes_put_slice(&a->text, r->text);
	bytes_put_u8(&a->text, 0);
	a->statement = *r->statement;
	if (bytes_failed(&a->text))
		return;
	for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++)
		move_slice(slices[i], r->text.data, a->text.data);
	a->statement.aside.n_blanks = 0;
}

static void init_bytes(struct aside *a)
{
	bytes_init(&a->text, SIZE_MAX / 2);
	bytes_init(&a->path, NAMES_MAX);
	bytes_init(&a->name, NAMES_MAX);
	bytes_init(&a->password, 65536);
	bytes_init(&a->settings, 4u * 1024 * 1024);
	bytes_init(&a->changes, 4u * 1024 * 1024);
	bytes_init(&a->error, ERROR_MAX);
	bytes_init(&a->leftovers, NAMES_MAX);
	bytes_init(&a->leftover_names, NAMES_MAX);
}

static void copy_request(struct aside *a, const struct aside_request *r)
{
	a->session = r->session;
	a->route = *r->route;
	a->server_pid = r->server_pid;
	a->dialect = r->dialect;
	a->wanted_relation = r->relation;
	a->wanted_index = r->index;
	a->user = copy_text(r->user);
	a->database = copy_text(r->database.len > 0 ? r->database : r->user);
	if (asprintf(&a->application_name, "pgaside/%.*s", (int)r->application_name.len,
		    r->application_name.len > 0 ? (const char *)r->application_name.data : "") < 0)
		a->application_name = NULL;
	bytes_put_slice(&a->password, r->password);
	bytes_put_u8(&a->password, 0);
	bytes_put_slice(&a->settings, r->settings);
	copy_statement(a, r);
}

static bool is_complete(const struct aside *a)
{
	return a->user && a->database && a->application_name && !bytes_failed(&a->text) &&
	       !bytes_failed(&a->password) && !bytes_failed(&a->settings);
}

static void on_limit(void *arg)
{
	struct aside *a = arg;

	log_event(LOG_LEVEL_ERROR, "cleanup_unfinished",
		"session=%llu state=%s reason=\"cleanup_timeout is over; it goes on in the "
		"background\"",
		(unsigned long long)a->session, aside_state_name(a->state));
	aside_report(a, a->in_the_way ? ASIDE_NOT_NOW : ASIDE_FAILED, OBSTACLE_LOCK);
}

struct aside *aside_start(struct worker *w, const struct aside_request *request,
	const struct aside_events *events, void *owner)
{
	struct aside *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->worker = w;
	a->events = *events;
	a->owner = owner;
	a->started_ms = timer_now_ms();
	init_bytes(a);
	copy_request(a, request);
	a->limit_timer = timer_new(w->base, on_limit, a);
	if (!a->limit_timer || !is_complete(a) || !aside_watch_open(a) || !aside_open(a)) {
		free_aside(a);
		return NULL;
	}
	a->next = w->asides;
	a->link = &w->asides;
	if (a->next)
		a->next->link = &a->next;
	w->asides = a;
	return a;
}

void aside_cancel(struct aside *a)
{
	if (a->cancelled || a->told)
		return;
	a->cancelled = true;
	if (a->state == ASIDE_RUNNING || a->state == ASIDE_REPAIRING)
		aside_watch_cancel(a);
}

void aside_abandon(struct aside *a)
{
	a->owner = NULL;
	aside_cancel(a);
	a->told = true;
}

void aside_cancel_all(struct worker *w)
{
	for (struct aside *a = w->asides; a; a = a->next)
		aside_cancel(a);
}
