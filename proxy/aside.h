/*
 * aside.h - one statement being run on a connection of its own.
 *
 *   CONNECTING -> SETTINGS -> [READY] -> LOOKING -> [REPAIRING] -> RUNNING -> VERIFYING -> TOLD
 *                    ^  ^                   |            |            |           |         |  |
 *                    |  +---- retry ---- CLEANING <------+------------+-----------+         |  |
 *                    |                      |                                               |  |
 *                    |                      +-----------------------------------------> TOLD|  |
 *                    +---------------------------- another statement ---------------------- +  |
 *   CONNECTING <- KEPT <-----------------------------------------------------------------------+
 *                   +---------------------------------------------------------------> ENDED <--+
 *
 * CONNECTING opens the aside connection. SETTINGS makes it like the client's own. READY waits for
 * aside_go(), and has the watch connection, which else is opened when the statement lasts. LOOKING
 * finds the relation, its indexes, and what is in the way. REPAIRING drops an INVALID leftover of
 * the wanted name. RUNNING is the statement, watched. VERIFYING asks whether the index is valid.
 * CLEANING drops what a failure has left. Every state before TOLD may go to CLEANING. KEPT waits
 * for another statement of the same session.
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
struct locks;
struct target;
struct worker;

enum aside_mode {
	ASIDE_NOW,  /* while its transaction is open: obstacles are looked for */
	ASIDE_OWED, /* after COMMIT: its relation is the OID, whatever it is called by now */
	ASIDE_UNDO, /* drops the index with the OID `index`, which this program has made on
		       `relation`; it does not give up before that is gone */
};

/* Everything here is copied. */
struct aside_request {
	enum aside_mode mode;
	bool hold;	/* stop in READY */
	bool look_only; /* only find out whether the relation is visible: ends in NOT_NOW if so */
	struct slice settings; /* name, zero, value, zero, ... of the server connection; with role
				  and session_authorization */
	struct slice text;     /* one statement, perhaps with comments; none for UNDO */
	const struct statement *statement; /* the same, recognised; its slices point into `text` */
	struct sql_dialect dialect;
	uint32_t relation; /* OID to which the server connection resolves the table; 0 = none */
	uint32_t index;	   /* and the index, or the relation that has the new index's name */
	const struct locks *locks; /* NOW: of the transaction */
	uint32_t condemned; /* OID of an index that has the new index's name and is to go; 0 */
	uint32_t partition; /* OID of the one that an owed statement detaches; 0 */
	/* Of the index, or "": when that is gone, the one that REINDEX has put in its place is
	 * meant. */
	const char *likeness;
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
	struct slice error;   /* body of an ErrorResponse; borrowed inside the callback */
	uint32_t made;	      /* OID of the index that was made; 0 = none */
	const char *likeness; /* of that; borrowed inside the callback */
	/* Indexes that lost their names and are still to go, but wait for the client's transaction;
	 * borrowed inside the callback. */
	const uint32_t *condemned;
	unsigned n_condemned;
};

struct aside_events {
	/* It stands in READY. */
	void (*ready)(void *owner);
	/* The body of a NoticeResponse of the statement. */
	void (*notice)(void *owner, struct slice body);
	/* Called once a statement, from the loop, unless abandoned. Clean-up may go on afterwards.
	 */
	void (*done)(void *owner, const struct aside_outcome *outcome);
};

/*
 * Opens the connections for a statement that is still to be looked at, or takes those that are kept
 * for `session`. Either aside_start() follows, or aside_put_back(). NULL without memory.
 */
struct aside *aside_open(struct worker *w, const struct target *target, uint64_t session);
/* Nothing has come of it: the connections are kept, or go. Takes NULL. */
void aside_put_back(struct aside *a);
/* `server_pid` is the backend of the server connection. False without memory: it is gone. */
bool aside_start(struct aside *a, int server_pid, const struct aside_request *request,
	const struct aside_events *events, void *owner);
/* From READY on. */
void aside_go(struct aside *a);
/*
 * From inside `done`: runs another statement on the same connections. False when they are needed to
 * clean up or lost; then another aside is to be started. An aside that gets no other statement
 * frees itself.
 */
bool aside_next(struct aside *a, const struct aside_request *request);
/*
 * From inside `done`, whose outcome is not valid any more then: for aside_idle_timeout, the
 * connections wait for the session's next aside_open(), if they are as good as new.
 */
void aside_keep(struct aside *a);
/* The session has ended: what is kept for it goes. */
void aside_forget(struct worker *w, uint64_t session);
/* The client wants it cancelled: `done` follows with 57014, unless it is too late. */
void aside_cancel(struct aside *a);
/*
 * The owner is gone: no event any more; the statement is cancelled, and what it made or left is
 * dropped.
 */
void aside_abandon(struct aside *a);
/* The same by the number that stats gave it; one that is gone, or an undo, is left alone. */
void aside_cancel_number(struct worker *w, uint64_t id);
/* The worker must end: every aside is cancelled and cleaned up. */
void aside_cancel_all(struct worker *w);

/* Whether the statement names an index that is there, not a table. */
bool aside_names_an_index(const struct statement *s);
/*
 * The question which relation is meant, for the server connection. Parameters: $1 a possibly
 * qualified name, $2 the name of a new index or "". No row: there is no such relation. Columns: the
 * first LOOKUP_FEW.
 */
enum aside_lookup_column {
	LOOKUP_TABLE,	    /* OID */
	LOOKUP_INDEX,	    /* OID of the index named, or of what has the new index's name */
	LOOKUP_INDEX_VALID, /* and ready */
	LOOKUP_INDEX_TABLE, /* OID of its table; NULL when it is no index */
	LOOKUP_KIND,	    /* relkind of the table */
	LOOKUP_FEW,
	LOOKUP_INDEXES = LOOKUP_FEW, /* "oid:valid,oid:valid" of the table */
	LOOKUP_CHANGED_BY,	     /* xmax of the table's row */
	LOOKUP_SCHEMA,		     /* quoted */
	LOOKUP_NAME,		     /* of the table, quoted */
	LOOKUP_OWNED,		     /* the role has the table's owner */
	LOOKUP_CREATES,		     /* the role may create in the table's schema */
	LOOKUP_SCHEMA_OWNED,	     /* the role has the schema's owner */
	LOOKUP_MAINTAINED,	     /* the role has MAINTAIN on the table (version 17) */
	LOOKUP_TEMPORARY,	     /* the role may make temporary tables */
	LOOKUP_VERSION,		     /* of the server: 150004 */
	LOOKUP_INDEX_NAME,	     /* of the index, quoted, with its schema */
	LOOKUP_LIKENESS,	     /* of an index that is there already; NULL */
	LOOKUP_COLUMNS,
};
const char *aside_lookup_sql(const struct statement *s);
/* The same with all columns. */
const char *aside_lookup_all_sql(const struct statement *s);
/* And with an OID as $1. */
const char *aside_lookup_oid_sql(const struct statement *s);
/* A value of such a list as aside_request's `settings`, borrowed; false when it is not there. */
bool aside_setting(struct slice settings, const char *name, struct slice *value);
/* Those of such a list that say as whom a statement runs, as a list. */
void aside_settings_of_role(struct slice settings, struct bytes *out);
/* Writes the parameters for it, each with a zero byte. False when the statement's names are not
 * understood. */
bool aside_lookup_parameters(
	const struct statement *s, struct sql_dialect d, struct bytes *path, struct bytes *name);

/* PostgreSQL's words for 57014, when it is the client that has cancelled. */
#define ASIDE_CANCELLED "canceling statement due to user request"
/* What is asked between two of these questions, as a rest. */
#define ASIDE_REST_SQL "SELECT pg_catalog.pg_sleep(0.002)"
/* How long it is asked before a statement goes all the same, milliseconds: time enough for another
 * worker, and for its server process, on a machine that is busy. */
#define ASIDE_RELEASE_MS 1000u
/* Asks those of them that are sessions here to let go of it; whether there are any. */
bool aside_release(struct worker *w, const char *pids);

#endif
