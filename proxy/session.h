/*
 * session.h - a client, its server, and what lies between; as its worker sees it.
 *
 * A session belongs to one worker for life. It frees itself from the loop when it has ended.
 */
#ifndef PGASIDE_SESSION_H
#define PGASIDE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

/* Takes over an accepted socket and serves it. */
void session_accept(struct worker *w, int fd);
/* A CancelRequest for this session has arrived; one that is gone meanwhile is ignored. */
void session_cancel(struct worker *w, uint64_t id);
/*
 * The worker is to end: sessions that do nothing are closed with 57P01, and the others as soon as
 * their transaction has ended; with `at_once` all are closed now, and their asides are cancelled
 * and cleaned up.
 */
void session_stop_all(struct worker *w, bool at_once);

#endif
