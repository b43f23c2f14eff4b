#include "worker.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aside.h"
#include "log.h"
#include "loop.h"
#include "resolver.h"
#include "session.h"
#include "snapshot.h"
#include "timer.h"

/* The public part first, so that the two convert by a cast in one place. */
struct thread {
	struct worker worker;
	bool own; /* a thread and a loop of its own */
	bool ended;
	pthread_t id;
	int inbox[2]; /* a pipe: a message is one atomic write */
	struct event *inbox_event;
	struct timer *grace;
	struct timer *drain; /* the next look for sessions that do nothing */
	uint64_t end_ms;     /* of the patience, when stopping */
	struct timer *last;  /* the end of patience with clean-ups */
};

#define LAST_WORDS_MS 1000u
#define LOOKS_MS 1000u
#define LAST_ROUNDS 8

_Static_assert(
	sizeof(struct worker_message) <= 512, "a message must fit into one atomic pipe write");

static struct thread *thread_of(struct worker *w)
{
	return (struct thread *)(void *)w;
}

struct deferred {
	void (*fn)(void *arg);
	void *arg;
};

static void run_deferred(int fd, short what, void *arg)
{
	struct deferred d = *(struct deferred *)arg;

	(void)fd;
	(void)what;
	free(arg);
	d.fn(d.arg);
}

void worker_defer(struct worker *w, void (*fn)(void *arg), void *arg)
{
	static const struct timeval now = {0};
	struct deferred *d = malloc(sizeof(*d));

	/* Without memory for this the thing is leaked, which is better than freeing it under its
	 * caller. */
	if (!d)
		return;
	*d = (struct deferred){.fn = fn, .arg = arg};
	if (event_base_once(w->base, -1, EV_TIMEOUT, run_deferred, d, &now) != 0)
		free(d);
}

static void tell_end(const struct thread *t)
{
	while (write(t->worker.shared->ended_fd, "", 1) < 0 && errno == EINTR)
		continue;
}

static void end(struct thread *t)
{
	if (t->own)
		event_base_loopbreak(t->worker.base);
	else if (!t->ended)
		tell_end(t);
	t->ended = true;
}

void worker_look_later(struct worker *w)
{
	if (w->looks_due)
		return;
	w->looks_due = true;
	timer_start(w->looks, LOOKS_MS);
}

static void look_again(void *arg)
{
	struct worker *w = arg;

	w->looks_due = false;
	session_look_again_all(w);
}

void worker_check_end(struct worker *w)
{
	if (w->stopping && !w->sessions && !w->asides && w->settlements == 0)
		end(thread_of(w));
}

static void on_last(void *arg)
{
	log_event(LOG_LEVEL_ERROR, "cleanup_given_up",
		"reason=\"cleanup_timeout is over and the process ends: look for INVALID "
		"indexes\"");
	end(thread_of(arg));
}

static void stop_at_once(struct thread *t)
{
	timer_stop(t->grace);
	timer_stop(t->drain);
	timer_start(t->last, t->worker.snapshot->config.cleanup_timeout_ms + LAST_WORDS_MS);
	session_stop_all(&t->worker, true);
}

static void on_grace_over(void *arg)
{
	stop_at_once(arg);
	worker_check_end(&((struct thread *)arg)->worker);
}

static void drain(void *arg)
{
	struct thread *t = arg;

	session_stop_all(&t->worker, false);
	timer_start(t->drain, SESSION_DRAIN_MS);
}

/* Whoever says it a second time may shorten the patience, not renew it. */
static void stop(struct thread *t, unsigned grace_ms)
{
	uint64_t end_ms = timer_now_ms() + grace_ms;

	if (t->worker.stopping && end_ms >= t->end_ms)
		return;
	t->worker.stopping = true;
	t->end_ms = end_ms;
	if (grace_ms > 0) {
		timer_start(t->grace, grace_ms);
		drain(t);
	} else {
		stop_at_once(t);
	}
	worker_check_end(&t->worker);
}

static void take_over(struct worker *w, struct snapshot *snapshot)
{
	snapshot_release(w->snapshot);
	w->snapshot = snapshot;
}

static void receive(struct thread *t, const struct worker_message *m)
{
	switch (m->kind) {
	case WORKER_ACCEPT:
		session_accept(&t->worker, m->fd, m->clients);
		break;
	case WORKER_CANCEL:
		session_cancel(&t->worker, m->session);
		break;
	case WORKER_RELEASE_PORTAL:
		session_release_portal(&t->worker, m->session);
		break;
	case WORKER_CANCEL_ASIDE:
		aside_cancel_number(&t->worker, m->aside);
		break;
	case WORKER_RELOAD:
		take_over(&t->worker, m->snapshot);
		break;
	case WORKER_STOP:
		stop(t, m->grace_ms);
		break;
	case WORKER_RESOLVED:
		resolver_deliver(m->job);
		break;
	}
}

static void on_inbox(int fd, short what, void *arg)
{
	struct worker_message m;

	(void)what;
	while (read(fd, &m, sizeof(m)) == (ssize_t)sizeof(m))
		receive(arg, &m);
}

/* Only those who are no workers may wait for room: two workers would wait for each other. */
static bool wait_for_room(const struct worker_message *m, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	if (m->kind == WORKER_ACCEPT || m->kind == WORKER_CANCEL ||
		m->kind == WORKER_RELEASE_PORTAL || m->kind == WORKER_CANCEL_ASIDE)
		return false;
	return poll(&p, 1, 1000) >= 0 || errno == EINTR;
}

static bool is_of_server(const struct worker_message *m)
{
	return m->kind == WORKER_ACCEPT || m->kind == WORKER_RELOAD || m->kind == WORKER_STOP;
}

bool worker_post(struct worker *w, const struct worker_message *m)
{
	struct thread *t = thread_of(w);
	int fd = t->inbox[1];

	if (!t->own && is_of_server(m)) {
		receive(t, m);
		return true;
	}
	while (write(fd, m, sizeof(*m)) != (ssize_t)sizeof(*m)) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || !wait_for_room(m, fd))
			return false;
	}
	return true;
}

/*
 * Whoever has sent something is not interrupted for it: a worker waits for a processor that is
 * free, and finds more to do when it gets one. That is fewer switches for each message. A kernel
 * that forbids it (SCHED_BATCH needs no privilege) costs just that. Whoever was started with
 * another policy keeps it.
 */
static void be_patient(void)
{
	static const struct sched_param none = {.sched_priority = 0};

	if (sched_getscheduler(0) == SCHED_OTHER)
		sched_setscheduler(0, SCHED_BATCH, &none);
}

/* What was put off to the loop, such as freeing a session and its password, is still done. */
static void run_last_rounds(struct thread *t)
{
	for (int i = 0; i < LAST_ROUNDS; i++)
		event_base_loop(t->worker.base, EVLOOP_NONBLOCK);
}

static void *run(void *arg)
{
	struct thread *t = arg;

	be_patient();
	event_base_loop(t->worker.base, EVLOOP_NO_EXIT_ON_EMPTY);
	run_last_rounds(t);
	tell_end(t);
	return NULL;
}

static bool prepare(struct thread *t, struct event_base *base)
{
	struct worker *w = &t->worker;

	t->inbox[0] = t->inbox[1] = -1;
	t->own = !base;
	w->base = base ? base : loop_new();
	w->buffer = malloc(WORKER_BUFFER);
	if (!w->base || !w->buffer || pipe2(t->inbox, O_CLOEXEC | O_NONBLOCK) != 0)
		return false;
	t->inbox_event = event_new(w->base, t->inbox[0], EV_READ | EV_PERSIST, on_inbox, t);
	t->grace = timer_new(w->base, on_grace_over, t);
	t->drain = timer_new(w->base, drain, t);
	t->last = timer_new(w->base, on_last, w);
	w->looks = timer_new(w->base, look_again, w);
	return t->inbox_event && t->grace && t->drain && t->last && w->looks &&
	       event_add(t->inbox_event, NULL) == 0;
}

static void release(struct thread *t)
{
	timer_free(t->grace);
	timer_free(t->drain);
	timer_free(t->last);
	timer_free(t->worker.looks);
	if (t->inbox_event)
		event_free(t->inbox_event);
	if (t->own && t->worker.base)
		event_base_free(t->worker.base);
	if (t->inbox[0] >= 0) {
		close(t->inbox[0]);
		close(t->inbox[1]);
	}
	free(t->worker.buffer);
	snapshot_release(t->worker.snapshot);
	free(t);
}

static bool start(struct thread *t)
{
	if (t->own)
		return pthread_create(&t->id, NULL, run, t) == 0;
	be_patient();
	return true;
}

struct worker *worker_new(
	struct shared *shared, struct snapshot *snapshot, struct event_base *base, struct err *e)
{
	struct thread *t = calloc(1, sizeof(*t));

	if (!t) {
		err_set(e, "53200", "out of memory");
		return NULL;
	}
	t->worker.shared = shared;
	t->worker.snapshot = snapshot_hold(snapshot);
	if (!prepare(t, base) || !start(t)) {
		err_set(e, "53000", "a worker cannot be started: %s", strerror(errno));
		release(t);
		return NULL;
	}
	return &t->worker;
}

void worker_join(struct worker *w)
{
	struct thread *t = thread_of(w);

	if (t->own) {
		pthread_join(t->id, NULL);
	} else {
		while (!t->ended)
			event_base_loop(t->worker.base, EVLOOP_ONCE);
		run_last_rounds(t);
	}
	release(t);
}
