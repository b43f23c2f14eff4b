/*
 * loop.h - an event loop as this program needs it: epoll, edges, one thread.
 */
#ifndef PGASIDE_LOOP_H
#define PGASIDE_LOOP_H

struct event_base;

/* For one thread: nothing in it is locked. The caller owns it. NULL without memory or epoll. */
struct event_base *loop_new(void);

#endif
