/*
 * worker.h - sessions on one event loop, which is a thread's.
 *
 * Everything a session touches belongs to its worker. From other threads only worker_post() is
 * allowed. A worker that is the only one lives on the server's own loop: a process of one thread
 * has no atomic operation in each of its system calls, and needs nobody to hand a client over.
 */
#ifndef PGASIDE_WORKER_H
#define PGASIDE_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define WORKER_BUFFER (128u * 1024u)

struct event_base;
struct registry;
struct resolver_job;
struct session;
struct snapshot;
struct stats;
struct aside;

/* What all workers share; made before the first and freed after the last. All borrowed. */
struct shared {
	struct registry *registry;
	struct stats *stats;
	int ended_fd;	     /* a pipe's end: each worker writes one byte to it as its last act */
	atomic_uint clients; /* sockets of clients: counted when accepted, until their sessions are
				freed */
	atomic_size_t held;  /* bytes of statements that are not whole yet, or not sent yet */
	atomic_uint owed_failures; /* transactions that committed, and what they owed failed */
	atomic_ullong last_session;
};

struct worker {
	struct event_base *base;   /* owned, or the server's */
	struct shared *shared;	   /* borrowed */
	struct snapshot *snapshot; /* held: what new sessions begin with */
	uint8_t *buffer;	   /* owned, WORKER_BUFFER bytes: valid inside one callback */
	struct session *sessions;  /* owned, a list */
	struct aside *asides;	   /* a list: those running, with or without their sessions */
	unsigned settlements;	   /* that have not ended */
	struct timer *looks;	   /* owned: the next session_look_again_all() */
	bool looks_due;
	bool stopping;
};

enum worker_message_kind {
	WORKER_ACCEPT,
	WORKER_CANCEL,
	WORKER_RELEASE_PORTAL,
	WORKER_CANCEL_ASIDE,
	WORKER_RELOAD,
	WORKER_STOP,
	WORKER_RESOLVED
};

struct worker_message {
	enum worker_message_kind kind;
	int fd;			   /* ACCEPT: the new client, owned by the receiver */
	unsigned clients;	   /* ACCEPT: how many there are with it */
	uint64_t session;	   /* CANCEL, RELEASE_PORTAL */
	uint64_t aside;		   /* CANCEL_ASIDE: its number */
	struct snapshot *snapshot; /* RELOAD: held for the receiver */
	unsigned grace_ms;	   /* STOP */
	struct resolver_job *job;  /* RESOLVED */
};

/* Starts the thread or, with the server's loop as `base`, lives there. NULL with `e` filled when it
 * cannot. */
struct worker *worker_new(
	struct shared *shared, struct snapshot *snapshot, struct event_base *base, struct err *e);
/*
 * Hands a message over; callable from any thread. False when its inbox is full; RELOAD, STOP and
 * RESOLVED, which no worker posts, wait for room instead. On the server's own loop, what the server
 * posts (ACCEPT, RELOAD, STOP) is done when this returns.
 */
bool worker_post(struct worker *w, const struct worker_message *m);
/* Waits for its end, which WORKER_STOP brings about, and frees it. */
void worker_join(struct worker *w);

/* On the worker's own thread: calls `fn` from the loop, outside of any other callback. */
void worker_defer(struct worker *w, void (*fn)(void *arg), void *arg);
/* A session has skipped a conn_look_again(): it is made up for within a second. */
void worker_look_later(struct worker *w);
/* To be called when a session or an aside has ended: a stopping worker ends with the last of them.
 */
void worker_check_end(struct worker *w);

#endif
