/*
 * locks.h - what the client's transaction has locked, as the server connection itself says. Pure.
 *
 * Whoever has little to do asks: that question costs a new connection a millisecond.
 */
#ifndef PGASIDE_LOCKS_H
#define PGASIDE_LOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "slice.h"

struct locks {
	struct bytes held; /* owned: of relations, struct held_lock one behind the other */
	bool object;	   /* something that is neither relation nor schema has been changed */
	bool waiting;	   /* somebody else waits for a lock */
};

/* The question, and how many columns an answer has. */
extern const char locks_sql[];
#define LOCKS_COLUMNS 5

void locks_init(struct locks *l);
void locks_release(struct locks *l);
void locks_clear(struct locks *l);
void locks_copy(struct locks *l, const struct locks *from);
/* Takes over a row of the answer. */
void locks_note(struct locks *l, const struct slice *values);
/* Whether that relation is locked; with `by_writing`, by more than reading. True without memory. */
bool locks_has(const struct locks *l, uint32_t relation, bool by_writing);
/* Whether readers or writers are kept out of any relation; or that is not known, without memory. */
bool locks_has_strong(const struct locks *l);
/* Writes the OIDs of those relations, "{16384,16390}", with a zero byte. */
void locks_put_strong(const struct locks *l, struct bytes *out);

#endif
