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

/* Takes over an accepted socket and serves it; with it there were `clients` when it was accepted.
 */
void session_accept(struct worker *w, int fd, unsigned clients);
/* A CancelRequest for this session has arrived; one that is gone meanwhile is ignored. */
void session_cancel(struct worker *w, uint64_t id);
/* An aside waits for that session: see gate_release_portal(). */
void session_release_portal(struct worker *w, uint64_t id);
/*
 * The worker is to end: closes with 57P01 each session that is in no transaction and has been
 * silent since the last call, so that a tool between two transactions is not cut off. To be called
 * every SESSION_DRAIN_MS. With `at_once` all are closed now, and their asides are cancelled and
 * cleaned up.
 */
#define SESSION_DRAIN_MS 500u
void session_stop_all(struct worker *w, bool at_once);
/* Makes up for conn_look_again() where it was skipped. */
void session_look_again_all(struct worker *w);

#endif
