/*
 * placement.h - where an aside statement runs: one pure function of what is known.
 */
#ifndef PGASIDE_PLACEMENT_H
#define PGASIDE_PLACEMENT_H

#include <stdbool.h>

#include "statement.h"

enum placement {
	PLACEMENT_NATIVE,    /* on the server connection, as it is */
	PLACEMENT_NOW,	     /* on the aside connection, while the client waits */
	PLACEMENT_INLINE,    /* on the server connection, without CONCURRENTLY */
	PLACEMENT_AT_COMMIT, /* after the transaction */
	PLACEMENT_REFUSE,    /* PostgreSQL would refuse it for another reason: let it */
};

/* What stands in the way of the aside, or would stand in the way of others while it runs. */
enum placement_obstacle {
	OBSTACLE_NONE,
	OBSTACLE_LOCK,	      /* this transaction has locked the relation */
	OBSTACLE_SNAPSHOT,    /* it holds a snapshot that the statement would wait for */
	OBSTACLE_CATALOG,     /* it has changed the relation's catalog row */
	OBSTACLE_NAME,	      /* it has dropped, renamed or made a relation of that name */
	OBSTACLE_OBJECT,      /* it has changed an object that the statement may use */
	OBSTACLE_STRONG_LOCK, /* it keeps readers or writers out of another relation */
	OBSTACLE_THIRD,	      /* another session waits for it and holds what the statement needs */
	OBSTACLE_ISOLATION,   /* it is REPEATABLE READ or SERIALIZABLE */
	OBSTACLE_DESTROYS,    /* what the statement destroys could not be brought back */
	OBSTACLE_ORDER,	      /* it owes an earlier statement already */
};

struct placement_facts {
	char status; /* of the server's last ReadyForQuery */
	bool guard;  /* native = guard: outside of a transaction, too, it is watched and verified */
	bool read_only;	     /* transaction_read_only */
	bool read_committed; /* transaction_isolation is READ COMMITTED or below */
	bool visible;	     /* the aside connection resolves the names to the same relation */
	bool exists;	     /* the server connection resolves them at all */
	bool destroys;	     /* DROP of a valid index, DETACH */
	bool redefines;	     /* the transaction has changed functions that the statement may call */
	bool owes;	     /* the transaction owes a statement already */
	enum placement_obstacle obstacle;
};

/* The reason not to run it now that needs no look at the catalog; NONE when there is none. */
enum placement_obstacle placement_policy(const struct placement_facts *f);

enum placement placement_decide(const struct placement_facts *f);
/* The placement as a word for log and messages. */
const char *placement_name(enum placement p);
/* What the obstacle is, as the end of a sentence that begins with "the transaction ". */
const char *placement_obstacle_text(enum placement_obstacle o);

#endif
