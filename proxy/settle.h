/*
 * settle.h - a transaction's ledger is settled: what is owed runs after COMMIT, what was made in
 * vain is undone.
 *
 *   PREPARING --> READY --committed--> OWED --> UNDOING --> ENDED
 *       |           |                              ^
 *       +-----------+-------rolled back------------+
 *                   +--client or server lost--> UNKNOWN --pg_xact_status--> OWED or UNDOING
 *
 * PREPARING opens the connections before COMMIT is forwarded, so that whatever can fail fails
 * before it. The settlement belongs to the worker: once the transaction has committed, what is owed
 * runs to its end, client or not.
 */
#ifndef PGASIDE_SETTLE_H
#define PGASIDE_SETTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger.h"
#include "slice.h"

struct settlement;
struct target;
struct worker;

struct settlement_events {
	/* COMMIT may be forwarded, or, with the body of an ErrorResponse, it must not be. */
	void (*ready)(void *owner, struct slice error);
	/* The body of a NoticeResponse. */
	void (*notice)(void *owner, struct slice body);
	/* After COMMIT: what was owed has ended, with that error if any, and what was made in vain
	 * is still to be undone. */
	void (*undoing)(void *owner, struct slice error);
	/* Everything is done, or has failed with that error. Called once, unless abandoned. */
	void (*done)(void *owner, struct slice error);
};

/*
 * Takes over what is in the ledger. `ready` follows when something is owed. NULL without memory;
 * the ledger is then as it was.
 */
struct settlement *settle_start(struct worker *w, const struct target *target, int server_pid,
	uint64_t session, struct sql_dialect dialect, struct ledger *ledger,
	const struct settlement_events *events, void *owner);
/*
 * Before COMMIT is forwarded: the transaction's id ("" when it has none), where the server's log
 * stands, and where its last checkpoint was, all as text.
 */
void settle_set_xid(
	struct settlement *st, struct slice xid, struct slice insert_lsn, struct slice checkpoint);
/* The server has said so. `done` follows. */
void settle_committed(struct settlement *st);
void settle_rolled_back(struct settlement *st);
/* The client wants what is running cancelled. True when that is undoing, which goes on: the owner
 * need not wait for it. */
bool settle_cancel(struct settlement *st);
/*
 * The owner is gone. With `in_doubt`, COMMIT was forwarded and its answer is not known: the server
 * is asked until it says. Without, a settlement that has not begun counts as rolled back.
 */
void settle_abandon(struct settlement *st, bool in_doubt);

#endif
