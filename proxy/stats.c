#include "stats.h"

#include <pthread.h>
#include <stdlib.h>

#include "ledger.h"
#include "message.h"

const char *const stats_placement_names[STATS_PLACEMENTS] = {"now", "at_commit", "undo", "inline"};
const char *const stats_outcome_names[STATS_OUTCOMES] = {
	"done", "failed", "in_the_way", "invisible", "sent"};
const char *const stats_statement_names[STATS_STATEMENTS] = {
	"create_index", "drop_index", "reindex", "detach_partition"};
const double stats_bounds[STATS_BUCKETS - 1] = {0.05, 0.25, 1, 5, 30, 300, 1800, 7200};

/* What an aside or a log-in is likely to fail with; a label must not have values without end. */
const char *const stats_sqlstates[STATS_SQLSTATES] = {"08000", "08001", "08006", "08P01", "0A000",
	"22012", "22023", "22P02", "23505", "23514", "25001", "25006", "25P02", "28000", "28P01",
	"2BP01", "3D000", "3F000", "40001", "40P01", "42501", "42601", "42701", "42703", "42704",
	"42804", "42809", "42883", "42P01", "42P07", "42P10", "42P16", "42P17", "53100", "53200",
	"53300", "54000", "55000", "55006", "55P03", "57014", "57P01", "57P02", "57P03", "58030",
	"XX000", "XX001", "other"};
const unsigned stats_n_sqlstates = STATS_SQLSTATES;

_Static_assert((int)STATS_NOW == ASIDE_NOW && (int)STATS_AT_COMMIT == ASIDE_OWED &&
		       (int)STATS_UNDO == ASIDE_UNDO,
	"a mode is a placement");
_Static_assert((int)STATS_DONE == ASIDE_DONE && (int)STATS_FAILED == ASIDE_FAILED &&
		       (int)STATS_IN_THE_WAY == ASIDE_NOT_NOW &&
		       (int)STATS_INVISIBLE == ASIDE_INVISIBLE,
	"a result is an outcome");

struct aside_node {
	struct aside_node *next; /* owned */
	struct stats_aside aside;
};

struct owed_node {
	struct owed_node *next; /* owned */
	struct stats_owed owed;
};

struct stats {
	time_t started_at;
	atomic_ullong last_aside;
	atomic_ullong counters[STATS_COUNTERS];
	atomic_ullong errors[STATS_SQLSTATES];

	pthread_mutex_t lock; /* for everything below */
	struct stats_session *sessions;
	size_t n_sessions;
	uint64_t ended_up, ended_down; /* bytes of sessions that are gone */
	struct aside_node *running;    /* oldest first */
	struct owed_node *owed;
	uint64_t asides[STATS_STATEMENTS][STATS_PLACEMENTS][STATS_OUTCOMES];
	uint64_t buckets[STATS_STATEMENTS][STATS_PLACEMENTS][STATS_BUCKETS];
	uint64_t duration_ms[STATS_STATEMENTS][STATS_PLACEMENTS];
	struct stats_aside recent[STATS_RECENT]; /* a ring */
	unsigned n_recent, next_recent;
};

struct stats *stats_new(void)
{
	struct stats *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->started_at = time(NULL);
	pthread_mutex_init(&st->lock, NULL);
	return st;
}

void stats_free(struct stats *st)
{
	if (!st)
		return;
	while (st->running) {
		struct aside_node *n = st->running;

		st->running = n->next;
		free(n);
	}
	while (st->owed) {
		struct owed_node *n = st->owed;

		st->owed = n->next;
		free(n);
	}
	pthread_mutex_destroy(&st->lock);
	free(st);
}

static void add(atomic_ullong *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static uint64_t value(const atomic_ullong *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void stats_count(struct stats *st, enum stats_counter which)
{
	add(&st->counters[which]);
}

void stats_error(struct stats *st, const char *sqlstate)
{
	unsigned i = 0;

	while (i < STATS_SQLSTATES - 1 && strcmp(stats_sqlstates[i], sqlstate) != 0)
		i++;
	add(&st->errors[i]);
}

enum stats_statement stats_statement_of(enum statement_kind kind)
{
	if (kind == STATEMENT_CREATE_INDEX)
		return STATS_CREATE_INDEX;
	if (kind == STATEMENT_REINDEX)
		return STATS_REINDEX;
	return kind == STATEMENT_DETACH_PARTITION ? STATS_DETACH_PARTITION : STATS_DROP_INDEX;
}

void stats_count_inline(struct stats *st, enum statement_kind kind)
{
	pthread_mutex_lock(&st->lock);
	st->asides[stats_statement_of(kind)][STATS_INLINE][STATS_SENT]++;
	pthread_mutex_unlock(&st->lock);
}

void stats_session_add(struct stats *st, struct stats_session *s)
{
	add(&st->counters[STATS_SESSIONS_TOTAL]);
	s->started_at = time(NULL);
	pthread_mutex_lock(&st->lock);
	s->next = st->sessions;
	s->link = &st->sessions;
	if (s->next)
		s->next->link = &s->next;
	st->sessions = s;
	st->n_sessions++;
	pthread_mutex_unlock(&st->lock);
}

void stats_session_login(struct stats *st, struct stats_session *s, struct slice startup, bool tls)
{
	add(&st->counters[STATS_LOGINS]);
	pthread_mutex_lock(&st->lock);
	s->startup = startup;
	s->tls = tls;
	pthread_mutex_unlock(&st->lock);
}

void stats_session_remove(struct stats *st, struct stats_session *s)
{
	/* A neighbour of another worker that goes writes this link, too. */
	pthread_mutex_lock(&st->lock);
	if (s->link) {
		*s->link = s->next;
		if (s->next)
			s->next->link = s->link;
		s->link = NULL;
		st->n_sessions--;
		st->ended_up += value(s->up);
		st->ended_down += value(s->down);
	}
	pthread_mutex_unlock(&st->lock);
}

uint64_t stats_next_aside(struct stats *st)
{
	return atomic_fetch_add(&st->last_aside, 1) + 1;
}

void stats_copy_text(char *out, size_t size, struct slice text)
{
	struct slice beginning = slice_cut(text, size - 1);

	if (beginning.len > 0)
		memcpy(out, beginning.data, beginning.len);
	out[beginning.len] = '\0';
}

static struct aside_node *find(struct stats *st, uint64_t id, struct aside_node ***link)
{
	struct aside_node **at = &st->running;

	while (*at && (*at)->aside.id != id)
		at = &(*at)->next;
	*link = at;
	return *at;
}

/* Without memory it is not shown; it runs all the same. */
void stats_aside_show(struct stats *st, const struct stats_aside *a)
{
	struct aside_node **link, *n;

	pthread_mutex_lock(&st->lock);
	n = find(st, a->id, &link);
	if (!n)
		n = *link = calloc(1, sizeof(*n));
	if (n)
		n->aside = *a;
	pthread_mutex_unlock(&st->lock);
}

static unsigned bucket_of(uint64_t ms)
{
	unsigned i = 0;

	while (i < STATS_BUCKETS - 1 && (double)ms / 1000 > stats_bounds[i])
		i++;
	return i;
}

/* Where nothing was run, there is nothing to be told later. */
static bool is_memorable(const struct stats_aside *a)
{
	return a->outcome == STATS_DONE || a->outcome == STATS_FAILED;
}

void stats_aside_told(struct stats *st, const struct stats_aside *a)
{
	if (a->outcome == STATS_FAILED)
		stats_error(st, a->sqlstate);
	pthread_mutex_lock(&st->lock);
	st->asides[a->kind][a->placement][a->outcome]++;
	if (is_memorable(a)) {
		st->buckets[a->kind][a->placement][bucket_of(a->duration_ms)]++;
		st->duration_ms[a->kind][a->placement] += a->duration_ms;
		st->recent[st->next_recent] = *a;
		st->next_recent = (st->next_recent + 1) % STATS_RECENT;
		st->n_recent += st->n_recent < STATS_RECENT;
	}
	pthread_mutex_unlock(&st->lock);
}

void stats_aside_gone(struct stats *st, uint64_t id)
{
	struct aside_node **link, *n;

	pthread_mutex_lock(&st->lock);
	n = find(st, id, &link);
	if (n)
		*link = n->next;
	pthread_mutex_unlock(&st->lock);
	free(n);
}

static void describe_owed(struct stats_owed *o, const struct ledger *l)
{
	o->n = 0;
	for (const struct ledger_entry *e = l->owed; e; e = e->next) {
		if (e->cancelled)
			continue;
		if (o->n < STATS_OWED)
			stats_copy_text(
				o->statements[o->n], sizeof(o->statements[0]), e->statement.text);
		o->n++;
	}
}

void stats_owe(struct stats *st, uint64_t session, bool committed, const struct ledger *l)
{
	struct owed_node **link = &st->owed, *n, *gone = NULL;

	pthread_mutex_lock(&st->lock);
	while (*link && (*link)->owed.session != session)
		link = &(*link)->next;
	n = *link;
	if (!n && l->owed)
		n = *link = calloc(1, sizeof(*n));
	if (n) {
		n->owed.session = session;
		n->owed.committed = committed;
		describe_owed(&n->owed, l);
		if (n->owed.n == 0) {
			*link = n->next;
			gone = n;
		}
	}
	pthread_mutex_unlock(&st->lock);
	free(gone);
}

unsigned stats_running(struct stats *st, struct stats_aside *oldest)
{
	unsigned n = 0;

	pthread_mutex_lock(&st->lock);
	if (st->running)
		*oldest = st->running->aside;
	for (const struct aside_node *at = st->running; at; at = at->next)
		n++;
	pthread_mutex_unlock(&st->lock);
	return n;
}

static void copy_parameter(char *out, struct slice startup, const char *name)
{
	struct slice found = {0};

	if (startup.len > 0)
		startup_parameter(startup, name, &found);
	stats_copy_text(out, STATS_NAME, found);
}

static void take_sessions(struct stats *st, struct stats_picture *p)
{
	p->bytes_up = st->ended_up;
	p->bytes_down = st->ended_down;
	for (const struct stats_session *s = st->sessions; s; s = s->next) {
		struct stats_seen_session *to = &p->sessions[p->n_sessions++];

		to->id = s->id;
		to->started_at = s->started_at;
		copy_parameter(to->user, s->startup, "user");
		copy_parameter(to->database, s->startup, "database");
		copy_parameter(to->application, s->startup, "application_name");
		stats_copy_text(to->client, sizeof(to->client), slice_str(s->client));
		to->server_pid = atomic_load_explicit(&s->server_pid, memory_order_relaxed);
		to->logged_in = s->startup.len > 0;
		to->tls = s->tls;
		to->bytes_up = value(s->up);
		to->bytes_down = value(s->down);
		p->bytes_up += to->bytes_up;
		p->bytes_down += to->bytes_down;
	}
}

static void take_lists(struct stats *st, struct stats_picture *p)
{
	for (const struct aside_node *n = st->running; n; n = n->next)
		p->running[p->n_running++] = n->aside;
	for (const struct owed_node *n = st->owed; n; n = n->next)
		p->owed[p->n_owed++] = n->owed;
	for (unsigned i = 0; i < st->n_recent; i++)
		p->recent[p->n_recent++] =
			st->recent[(st->next_recent + STATS_RECENT - 1 - i) % STATS_RECENT];
}

/* Room for what the lists hold now. */
static bool make_room(struct stats *st, struct stats_picture *p)
{
	size_t running = 0, owed = 0;

	for (const struct aside_node *n = st->running; n; n = n->next)
		running++;
	for (const struct owed_node *n = st->owed; n; n = n->next)
		owed++;
	p->sessions = calloc(st->n_sessions + 1, sizeof(*p->sessions));
	p->running = calloc(running + 1, sizeof(*p->running));
	p->owed = calloc(owed + 1, sizeof(*p->owed));
	p->recent = calloc(st->n_recent + 1, sizeof(*p->recent));
	return p->sessions && p->running && p->owed && p->recent;
}

bool stats_take(struct stats *st, struct stats_picture *p)
{
	bool ok;

	memset(p, 0, sizeof(*p));
	p->started_at = st->started_at;
	for (unsigned i = 0; i < STATS_COUNTERS; i++)
		p->counters[i] = value(&st->counters[i]);
	for (unsigned i = 0; i < STATS_SQLSTATES; i++)
		p->errors[i] = value(&st->errors[i]);
	pthread_mutex_lock(&st->lock);
	ok = make_room(st, p);
	if (ok) {
		take_sessions(st, p);
		take_lists(st, p);
		memcpy(p->asides, st->asides, sizeof(p->asides));
		memcpy(p->buckets, st->buckets, sizeof(p->buckets));
		memcpy(p->duration_ms, st->duration_ms, sizeof(p->duration_ms));
	}
	pthread_mutex_unlock(&st->lock);
	if (!ok)
		stats_release(p);
	return ok;
}

void stats_release(struct stats_picture *p)
{
	free(p->sessions);
	free(p->running);
	free(p->owed);
	free(p->recent);
	memset(p, 0, sizeof(*p));
}
