/*
 * listener.h - a listening socket on the main thread's loop.
 */
#ifndef PGASIDE_LISTENER_H
#define PGASIDE_LISTENER_H

#include <stdint.h>

#include "err.h"

struct event_base;
struct listener;

/* A new client; the callee owns the descriptor. */
typedef void (*listener_fn)(void *owner, int fd);

/*
 * Listens on a numeric address or a name (the first address of it), port 0 = any. NULL with `e`
 * saying what cannot be bound and why.
 */
struct listener *listener_new_tcp(struct event_base *base, const char *address, uint16_t port,
	listener_fn on_client, void *owner, struct err *e);
/* Listens on DIRECTORY/.s.PGSQL.PORT; a socket that nobody listens on any more is replaced. */
struct listener *listener_new_unix(struct event_base *base, const char *directory, uint16_t port,
	listener_fn on_client, void *owner, struct err *e);
/* Says in the log where it listens. */
void listener_log(const struct listener *l);
/* The TCP port really bound; 0 for a unix socket. */
uint16_t listener_port(const struct listener *l);
/* Closes it, and removes the file of a unix socket. Takes NULL. */
void listener_free(struct listener *l);

#endif
