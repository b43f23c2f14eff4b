/*
 * aside.h - one statement being run on a connection of its own.
 *
 *   CONNECTING -> SETTINGS -> LOOKING -> [REPAIRING] -> RUNNING -> VERIFYING -> ENDED
 *        |            |          |            |            |           |
 *        +------------+----------+------------+---> CLEANING <---------+  -> ENDED
 *
 * CONNECTING opens the aside and the watch connection. SETTINGS makes the first like the client's
 * own. LOOKING finds the relation, its indexes, and what is in the way. REPAIRING drops an INVALID
 * leftover of the wanted name. RUNNING is the statement, watched. VERIFYING asks whether the index
 * is valid. CLEANING drops what a failure has left.
 *
 * Lives on a worker, which it may keep alive longer than the session that began it. It never
 * touches the session's own connections.
 */
#ifndef PGASIDE_ASIDE_H
#define PGASIDE_ASIDE_H

#include <stdbool.h>

#include "placement.h"
#include "slice.h"
#include "statement.h"

struct aside;
struct bytes;
struct upstream_route;
struct worker;

/* Everything here is copied by aside_start(). */
struct aside_request {
	uint64_t session; /* for the log */
	const struct upstream_route *route;
	struct slice user, database, password, application_name;
	struct slice settings; /* name, zero, value, zero, ... of the server connection; with role
				  and session_authorization */
	int server_pid;	       /* of the server connection */
	struct slice text;     /* what to run: one statement, perhaps with comments */
	const struct statement *statement; /* the same, recognised; its slices point into `text` */
	struct sql_dialect dialect;
	uint32_t relation; /* OID to which the server connection resolves the table; 0 = none */
	uint32_t index;	   /* and the index, or the relation that has the new index's name */
};

enum aside_result {
	ASIDE_DONE,	 /* it ran, and what it made is valid */
	ASIDE_FAILED,	 /* it failed; `error` says how */
	ASIDE_NOT_NOW,	 /* nothing has happened: the transaction is in the way, see `obstacle` */
	ASIDE_INVISIBLE, /* nothing has happened: the aside connection does not see that relation */
};

struct aside_outcome {
	enum aside_result result;
	enum placement_obstacle obstacle;
	struct slice error; /* body of an ErrorResponse; borrowed inside the callback */
};

struct aside_events {
	/* The body of a NoticeResponse of the statement. */
	void (*notice)(void *owner, struct slice body);
	/* Called once, from the loop, unless abandoned. Clean-up may go on afterwards. */
	void (*done)(void *owner, const struct aside_outcome *outcome);
};

/* NULL without memory. The aside frees itself after `done`. */
struct aside *aside_start(struct worker *w, const struct aside_request *request,
	const struct aside_events *events, void *owner);
/* The client wants it cancelled: `done` follows with 57014, unless it is too late. */
void aside_cancel(struct aside *a);
/* The owner is gone: no event any more; the statement is cancelled and what it left is cleaned up.
 */
void aside_abandon(struct aside *a);
/* The worker must end: every aside is cancelled and cleaned up. */
void aside_cancel_all(struct worker *w);

/*
 * The question that finds the relation and its indexes, for the server connection as for the aside
 * connection. Parameters: $1 a possibly qualified name, $2 the name of a new index or "". No row:
 * there is no such relation. Columns: OID of the table; its indexes as "oid:valid,.."; OID of the
 * index named; whether that is valid; OID of its table; kind of the first.
 */
const char *aside_lookup_sql(const struct statement *s);
/* Writes the parameters for it, each with a zero byte. False when the statement's names are not
 * understood. */
bool aside_lookup_parameters(
	const struct statement *s, struct sql_dialect d, struct bytes *path, struct bytes *name);

#endif
