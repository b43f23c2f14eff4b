#include "timer.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <time.h>

struct timer {
	struct event event;
	timer_fn fn;
	void *arg; /* borrowed */
};

static void on_time(int fd, short what, void *arg)
{
	struct timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

struct timer *timer_new(struct event_base *base, timer_fn fn, void *arg)
{
	struct timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->fn = fn;
	t->arg = arg;
	event_assign(&t->event, base, -1, 0, on_time, t);
	return t;
}

void timer_start(struct timer *t, uint64_t ms)
{
	struct timeval tv = {
		.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	event_add(&t->event, &tv);
}

void timer_stop(struct timer *t)
{
	if (t)
		event_del(&t->event);
}

void timer_free(struct timer *t)
{
	if (!t)
		return;
	event_del(&t->event);
	free(t);
}

uint64_t timer_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
