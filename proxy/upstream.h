/*
 * upstream.h - the PostgreSQL server behind the proxy, and how a connection to it is made.
 *
 * A connection string is parsed once, at start (libpq's own parser does that, in pq.c). Each
 * session then connects by a job: name resolution, the hosts in the order they are named, TLS as
 * sslmode says. What comes out is a connection on which nothing has been said yet.
 */
#ifndef PGASIDE_UPSTREAM_H
#define PGASIDE_UPSTREAM_H

#include <stdbool.h>

#include "conn.h"
#include "err.h"
#include "tls.h"

#define UPSTREAM_HOSTS 16

struct worker;

/* One of the servers named. All strings owned by the upstream. */
struct upstream_host {
	char *host;   /* name, address or socket directory: for TLS and messages */
	char *target; /* what to resolve: hostaddr when given, else host */
	char *port;
};

struct upstream {
	struct upstream_host hosts[UPSTREAM_HOSTS];
	unsigned n_hosts;
	enum tls_mode tls_mode;
	bool direct_tls; /* sslnegotiation=direct: TLS without asking */
	/* All owned, "" = not given. */
	char *sslmode; /* tls_mode as a word */
	char *sslrootcert, *sslcert, *sslkey, *sslcrl, *sslpassword, *channel_binding;
	char *user, *password, *passfile, *dbname;
	struct ssl_ctx_st *tls; /* owned, NULL with sslmode=disable */
};

/* Reads a libpq connection string. On failure `e` says what is wrong with it, without its password.
 */
bool upstream_init(struct upstream *u, const char *conninfo, struct err *e);
/* Also of one that is all zero. */
void upstream_release(struct upstream *u);

/* Where a connection went: enough to make a second one to the same server. A value. */
struct upstream_route {
	const struct upstream_host *host; /* borrowed from the upstream */
	char address[64];		  /* numeric; "" for a unix socket */
	bool refuses_tls;		  /* it was asked, and has none */
};

struct upstream_job;

/*
 * Called once, from the loop. `c` is handed over, its events ignored until conn_set_owner(); NULL:
 * `e` has 08001 and names host, port and reason.
 */
typedef void (*upstream_done_fn)(
	void *owner, struct conn *c, const struct upstream_route *route, const struct err *e);

/* Each address gets `timeout_ms`, 0 = any time. NULL without memory; then `done` is not called. The
 * upstream must live as long as the job and its connection's route. */
struct upstream_job *upstream_connect(struct worker *w, const struct upstream *u,
	unsigned timeout_ms, upstream_done_fn done, void *owner);
/* The same to the very server to which a connection went before. */
struct upstream_job *upstream_connect_again(struct worker *w, const struct upstream *u,
	const struct upstream_route *route, unsigned timeout_ms, upstream_done_fn done,
	void *owner);
/* Ends the attempt; `done` will not be called. Not to be used after it was. Takes NULL. */
void upstream_cancel(struct upstream_job *job);

#endif
