/*
 * snapshot.h - what a session begins with and keeps: the settings, and what was made from them.
 *
 * A snapshot never changes. Reloading makes another one, which each worker takes over; whoever was
 * there before keeps the old one, which goes with the last who holds it. Counted across threads.
 */
#ifndef PGASIDE_SNAPSHOT_H
#define PGASIDE_SNAPSHOT_H

#include <stdatomic.h>

#include "config.h"
#include "err.h"
#include "upstream.h"

struct ssl_ctx_st;

/* Owns everything in it; for others to read only. */
struct snapshot {
	struct config config;
	struct upstream upstream;
	struct upstream other_upstream;	       /* empty when none is set */
	const struct upstream *aside_upstream; /* where asides go: one of both */
	struct ssl_ctx_st *client_tls;	       /* NULL: clients get no TLS */
	atomic_uint holders;
};

/*
 * Checks the settings that depend on each other, reads certificates, parses the upstreams. With one
 * holder, the caller. It takes over what `c` owns, which is empty then; on failure `e` says which
 * setting or file it was, and `c` is as before.
 */
struct snapshot *snapshot_new(struct config *c, struct err *e);
/* One more holder. Returns `s`. */
struct snapshot *snapshot_hold(struct snapshot *s);
/* One holder less. Takes NULL. */
void snapshot_release(struct snapshot *s);

#endif
