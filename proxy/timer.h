/*
 * timer.h - one shot after a time, on an event loop.
 *
 * A timer belongs to one thread, may be started again at any time (the last start counts), and may
 * be stopped or freed inside its own callback.
 */
#ifndef PGASIDE_TIMER_H
#define PGASIDE_TIMER_H

#include <stdint.h>

struct event_base;
struct timer;

typedef void (*timer_fn)(void *arg);

/* NULL without memory. */
struct timer *timer_new(struct event_base *base, timer_fn fn, void *arg);
void timer_start(struct timer *t, uint64_t ms);
/* Both take NULL. */
void timer_stop(struct timer *t);
void timer_free(struct timer *t);
/* Milliseconds of a clock that only goes forward. */
uint64_t timer_now_ms(void);

#endif
