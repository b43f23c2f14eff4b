/*
 * resolver.h - host names to addresses, without stopping the event loop.
 *
 * A name that needs the system's resolver is looked up on a thread of its own, which ends with the
 * answer. Numeric addresses and unix sockets need none, but answer from the loop all the same.
 */
#ifndef PGASIDE_RESOLVER_H
#define PGASIDE_RESOLVER_H

#include <sys/socket.h>

struct resolver_job;
struct worker;

struct resolver_address {
	struct sockaddr_storage address;
	socklen_t len;
};

#define RESOLVER_MAX 16

/* Called once, from the loop. `n` = 0: not found, and `error` says why. All borrowed until it
 * returns. */
typedef void (*resolver_done_fn)(
	void *owner, const struct resolver_address *found, unsigned n, const char *error);

/*
 * `host` is a name, a numeric address or a directory of unix sockets (begins with '/'); `port` a
 * number. NULL without memory or threads; then `done` is not called.
 */
struct resolver_job *resolver_start(
	struct worker *w, const char *host, const char *port, resolver_done_fn done, void *owner);
/* `done` will not be called any more. Not to be used after it was. Takes NULL. */
void resolver_cancel(struct resolver_job *job);
/* The worker's part: the answer has come through its inbox. Frees the job. */
void resolver_deliver(struct resolver_job *job);

#endif
