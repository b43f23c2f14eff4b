/*
 * index_drop.h - an index is dropped by its OID.
 *
 * DROP takes a name, and by the time it has its lock the name may be another index: somebody may
 * have repaired the leftover and built it anew. So the index is first given a name that only it can
 * have, under the lock that every build holds, and only if it is still what it was thought to be:
 * not one that a constraint has taken since. That of a TOAST table cannot be renamed: it is dropped
 * by its own name, which no other index can have. PostgreSQL lets only a superuser do that, and
 * only INVALID ones go.
 */
#ifndef PGASIDE_INDEX_DROP_H
#define PGASIDE_INDEX_DROP_H

#include <stdbool.h>
#include <stdint.h>

#include "pq.h"

/* An index that is being dropped is called this and its OID. */
#define INDEX_DROP_PREFIX "pgaside_drop_"

/* One that is under way; the members are its own. */
struct index_drop {
	struct pq *pq; /* borrowed */
	uint32_t index;
	bool valid_too;
	bool renamed;	   /* it has lost its name, and is to be dropped */
	uint64_t until_ms; /* the lock is waited for until then; 0 = for ever */
	pq_result_fn done;
	void *owner; /* borrowed */
};

/*
 * Drops it if it is INVALID (or `valid_too`) once it has its lock; `lock_timeout_ms` 0: waits for
 * ever. `pq` must be idle, outside of a transaction, and stay until `done` is called with the
 * result of the last step: ok means that there is no such index any more, or a valid one.
 */
void index_drop(struct index_drop *d, struct pq *pq, uint32_t index, bool valid_too,
	unsigned lock_timeout_ms, pq_result_fn done, void *owner);

#endif
