/*
 * indexes_state.h - the inside of `pgaside indexes`.
 *
 *   connect -> settings -> list -> [repair one after another -> list once more] -> print
 *
 * One connection, on an event loop of its own. An index is an OID; its name comes from the catalog
 * at the moment in which it is needed.
 */
#ifndef PGASIDE_INDEXES_STATE_H
#define PGASIDE_INDEXES_STATE_H

#include "bytes.h"
#include "err.h"
#include "index_drop.h"
#include "pq.h"
#include "worker.h"

#define INDEXES_MAX 10000u

enum indexes_state {
	INDEX_LEFTOVER,
	INDEX_BUILDING,	   /* somebody holds the lock that a build holds */
	INDEX_PARTITIONED, /* waits for indexes of its partitions: that is how they are made */
	INDEX_ATTACHED,	   /* belongs to a partitioned index */
};

/* Who has left it, as its name tells. */
enum indexes_origin {
	ORIGIN_BUILD, /* CREATE INDEX CONCURRENTLY, most likely */
	ORIGIN_CCNEW, /* REINDEX CONCURRENTLY: was to become the new one */
	ORIGIN_CCOLD, /* REINDEX CONCURRENTLY: was the old one */
	ORIGIN_DROP,  /* pgaside, while it dropped it */
	ORIGIN_DYING, /* DROP INDEX CONCURRENTLY */
};

enum indexes_repair {
	REPAIR_NONE,
	REPAIR_DROP,
	REPAIR_REBUILD
};

struct indexes_row {
	uint32_t oid, table_oid;
	char *name, *table;  /* owned; with schema, quoted where that is needed */
	uint64_t size;	     /* bytes */
	long long age_s;     /* since its row in pg_index was written; -1 = not known */
	long long written_s; /* since its file was; -1 = not known */
	enum indexes_state state;
	enum indexes_origin origin;
	bool toast;
	bool ready;  /* every write pays for it */
	int holder;  /* BUILDING: the process */
	char *phase; /* owned; BUILDING: what it does, "" = not known */
	bool tried;
	enum indexes_repair done; /* what has become of it */
	char *why;		  /* owned; the error, NULL = none */
};

struct indexes_list {
	struct indexes_row *rows; /* owned */
	size_t n;
};

struct indexes {
	struct worker worker; /* only its event loop */
	struct pq *pq;	      /* owned */
	enum indexes_repair repair;
	unsigned lock_timeout_ms;
	bool json;
	bool sees_files;	   /* may ask when a file was written */
	struct indexes_list list;  /* as it was */
	struct indexes_list after; /* the repair */
	size_t next;		   /* to be repaired */
	struct index_drop drop;
	bool failed; /* `error` says how */
	struct err error;
};

/* indexes.c: the end, with an error if `r` is one. */
void indexes_end(struct indexes *x, const struct pq_result *r);
/* The loop is left. */
void indexes_stop(struct indexes *x);

/* indexes_list.c */
/* Asks for what is INVALID now. */
void indexes_ask(struct indexes *x, pq_result_fn done);
/* False without memory, or beyond the limit. */
bool indexes_read(struct indexes_list *list, const struct pq_result *r);
void indexes_release(struct indexes_list *list);
const struct indexes_row *indexes_find(const struct indexes_list *list, uint32_t oid);
size_t indexes_count(const struct indexes_list *list, enum indexes_state state);
/* What the index is, and why, in one sentence. */
void indexes_explain(struct bytes *out, const struct indexes_row *row);

/* indexes_repair.c: repairs what is left over, then lists once more. */
void indexes_repair_all(struct indexes *x);

/* indexes_print.c */
void indexes_print(const struct indexes *x);

#endif
