/*
 * target.h - where and as whom the connections of an aside go: what the session's own log-in used.
 *
 * Owns copies of everything, the password among them, which it wipes.
 */
#ifndef PGASIDE_TARGET_H
#define PGASIDE_TARGET_H

#include <stdbool.h>

#include "bytes.h"
#include "pq.h"
#include "snapshot.h"
#include "upstream.h"

struct worker;

struct target {
	struct snapshot *snapshot;   /* held: its aside_upstream has the TLS parameters */
	struct upstream_route route; /* of that upstream */
	char *user, *database;	     /* owned */
	char *application_name;	     /* owned: "pgaside/" and the client's */
	struct bytes password;	     /* owned, zero-terminated */
};

/*
 * From a StartupMessage. `password` is what the client has shown; empty: the upstream's own is
 * used, if it names that very user, or else libpq finds one in the password file. False without
 * memory; the target is then released. */
bool target_init(struct target *t, struct snapshot *snapshot, const struct upstream_route *route,
	struct slice startup, struct slice password);
bool target_copy(struct target *t, const struct target *from);
void target_release(struct target *t);

/* A connection to that server; `application_name` NULL = the target's own. As pq_connect(). */
struct pq *target_connect(const struct target *t, struct worker *w, const char *application_name,
	const struct pq_events *events, void *owner);

#endif
