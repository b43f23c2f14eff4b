/*
 * ledger.h - what a transaction still owes: statements that wait for its COMMIT, and indexes that
 * were made during it and must go if it does not commit.
 *
 * Pure: lists and savepoints. Knows the transaction only from what it is told, after the server has
 * done it.
 */
#ifndef PGASIDE_LEDGER_H
#define PGASIDE_LEDGER_H

#include "bytes.h"
#include "catalog.h"
#include "sql_name.h"
#include "statement.h"

/* A statement that is owed. */
struct ledger_entry {
	struct ledger_entry *next;  /* owned */
	struct bytes text;	    /* owned, zero-terminated: one statement */
	struct statement statement; /* its slices point into `text` */
	struct bytes settings;	    /* owned: those in force where it stood */
	struct bytes columns;	    /* owned: numbers of those that a new index uses, "1,3" */
	struct sql_name schema;	    /* of the table */
	uint32_t relation;	    /* OID of the table, as the transaction saw it */
	uint32_t index;		    /* OID of the index to drop or rebuild; 0 for a new one */
	uint32_t partition;	    /* OID of the one to detach; 0 */
	uint32_t condemned;	    /* OID of one that has the new one's name and is to go; 0 */
	/* Of that index: finds the one that has come in its place; "": it is not looked for. */
	char likeness[LIKENESS_SIZE];
	bool name_was_free; /* of the new index; one that goes by then is none */
	unsigned depth;	    /* savepoints that were set */
	bool cancelled;	    /* and in which depth */
	unsigned cancel_depth;
};

/* An index that was made while the transaction was open. */
struct ledger_made {
	struct ledger_made *next; /* owned */
	struct bytes role;	  /* owned: settings that say as whom it was made */
	struct sql_name name;	  /* empty when the statement gave none */
	uint32_t relation;	  /* OID of its table */
	uint32_t index;
	char likeness[LIKENESS_SIZE]; /* as that of an entry */
	unsigned depth;
	bool undo;     /* the part of the transaction that wanted it is gone */
	bool leftover; /* nobody has ever wanted it: an earlier build's */
};

#define LEDGER_SAVEPOINTS 65536u

struct ledger {
	struct ledger_entry *owed;   /* owned, in order */
	struct ledger_made *made;    /* owned, latest first */
	struct sql_name *savepoints; /* owned, outermost first; only those seen */
	unsigned n_savepoints, room; /* set, and as many as there is memory for */
	bool untracked; /* one was set, released or rolled back to by a text that was not read */
	bool current;	/* indexes and likenesses are those of the moment before COMMIT */
};

void ledger_init(struct ledger *l);
void ledger_release(struct ledger *l);
/* Moves everything from `from`, which is empty then. */
void ledger_move(struct ledger *l, struct ledger *from);
/* Nothing is owed, and nothing would have to be undone. */
bool ledger_is_empty(const struct ledger *l);
/* Bytes of texts and settings. */
size_t ledger_size(const struct ledger *l);

/*
 * Copies a statement in. Its slices may point anywhere into `text`. NULL without memory; the caller
 * may set the OIDs of the result.
 */
struct ledger_entry *ledger_owe(
	struct ledger *l, struct slice text, const struct statement *s, struct slice settings);
/* The owed CREATE INDEX of that name, in that schema unless NULL; NULL when none is owed. */
struct ledger_entry *ledger_find_index(const struct ledger *l, const struct sql_name *schema,
	const struct sql_name *name, struct sql_dialect dialect);
/* The index was dropped again: it is owed no more, unless a ROLLBACK TO takes the drop back. */
void ledger_cancel(struct ledger *l, struct ledger_entry *e);
/* Frees what was cancelled: no savepoint brings it back, since the transaction ends. */
void ledger_forget_cancelled(struct ledger *l);
/* `role` and `name` are copied. False without memory. */
bool ledger_note_made(struct ledger *l, uint32_t relation, uint32_t index, struct slice role,
	const struct sql_name *name);
/* That index is to go at the transaction's end, however that ends. False without memory. */
bool ledger_condemn(struct ledger *l, uint32_t relation, uint32_t index, struct slice role);
/* Whether an index of that name, in that schema unless NULL, goes at the transaction's end: its
 * drop is owed, or it is condemned. */
bool ledger_dooms(const struct ledger *l, const struct sql_name *schema,
	const struct sql_name *name, struct sql_dialect dialect);
/* The same of the index with that OID. */
bool ledger_dooms_index(const struct ledger *l, uint32_t index);
/* Another index was made in the place of that one, if it is condemned: whatever is like it is not
 * it. */
void ledger_replaced(struct ledger *l, uint32_t index);
/* Whether that one is condemned. */
bool ledger_has_condemned(const struct ledger *l, uint32_t index);
/* Removes and frees the first statement. */
void ledger_drop_first(struct ledger *l);
void ledger_drop_made(struct ledger *l);

/* To be called before a savepoint is set: false without memory, and beyond LEDGER_SAVEPOINTS. */
bool ledger_has_room(struct ledger *l);
/* The server has set, released or gone back to a savepoint. One that was set before the ledger
 * began is unknown here. */
void ledger_savepoint(struct ledger *l, const struct sql_name *name);
void ledger_release_savepoint(struct ledger *l, const struct sql_name *name);
void ledger_rollback_to(struct ledger *l, const struct sql_name *name);
/* The transaction has committed: what was made stays, but for what a ROLLBACK TO has condemned. An
 * index that is gone may have been dropped by it, unless the ledger is current. */
void ledger_committed(struct ledger *l);
/* It has not: nothing is owed any more, and what was made is to be undone. */
void ledger_rolled_back(struct ledger *l);

#endif
