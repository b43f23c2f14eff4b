/*
 * listener.h - a listening socket on the main thread's loop.
 */
#ifndef PGASIDE_LISTENER_H
#define PGASIDE_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct event_base;
struct listener;

struct listener_owner {
	/* Whether there is room for one more client; when not, accepting rests for a while. */
	bool (*has_room)(void *arg);
	/* A new client; the callee owns the descriptor. */
	void (*on_client)(void *arg, int fd);
	void *arg;	/* borrowed */
	bool reuseport; /* others may listen on the same port, or take the place of the socket */
};

/* A socket that listens, for another who accepts: the caller owns it. -1 with `e` as below. */
int listener_socket(const char *address, uint16_t port, bool reuseport, struct err *e);
/*
 * Listens on a numeric address or a name (the first address of it), port 0 = any. NULL with `e`
 * saying what cannot be bound and why.
 */
struct listener *listener_new_tcp(struct event_base *base, const char *address, uint16_t port,
	const struct listener_owner *owner, struct err *e);
/* Whether the system has IPv6 at all. */
bool listener_knows_ipv6(void);
/* Listens on DIRECTORY/.s.PGSQL.PORT; a socket that nobody listens on any more is replaced. */
struct listener *listener_new_unix(struct event_base *base, const char *directory, uint16_t port,
	const struct listener_owner *owner, struct err *e);
/* Says in the log where it listens. */
void listener_log(const struct listener *l);
/* The TCP port really bound; 0 for a unix socket. */
uint16_t listener_port(const struct listener *l);
/*
 * From now on new connections go to another process that listens on the port. Where the kernel
 * gives us one all the same its first segment is dropped: the client sends it again a second later.
 * Handshakes that have begun go on. False where that cannot be, or where nobody else may listen.
 */
bool listener_shut_door(struct listener *l);
/* Hands over who has connected meanwhile, closes it, and removes the file of a unix socket, if it
 * is still ours. Takes NULL. */
void listener_free(struct listener *l);

#endif
