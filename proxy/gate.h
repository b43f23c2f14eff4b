/*
 * gate.h - what stops a client's stream at an aside statement, finds the statement's place, and
 * lets the stream go on.
 *
 *   OPEN --> ANSWERS --> [SYNC] --> the next unit --+--> UNIT (it goes to the server) --+--> the
 * next unit |                                   |    or OPEN
 *                                                   +--> ASKING -> ASIDE -> [KEEPING] --+
 *                                                   |                 |                 |
 *                                                   |                 +-> INLINE -------+
 *                                                   |                 +-> FAILING ------+
 *                                                   +--> PREPARING -> UNIT -> SETTLING -+
 *
 * A unit is one statement of a Query, or one Execute. The gate closes at an aside statement and,
 * while the transaction owes something, at transaction control. ANSWERS waits for what was asked
 * before; SYNC for the Sync that ends an open pipeline: only then is the transaction status true.
 * ASKING asks the server connection something of our own. ASIDE is a statement on its own
 * connection; KEEPING, also behind PREPARING and SETTLING, waits for the answer to a Sync that kept
 * the server connection alive meanwhile. INLINE has sent a statement without CONCURRENTLY. FAILING
 * has sent the server what it must refuse, and puts our error into its answer. PREPARING opens the
 * connections for what is owed before COMMIT goes; SETTLING runs it after COMMIT, or undoes after
 * ROLLBACK, before the client hears of it.
 *
 * The message that closed the gate is not forwarded as it is: the gate holds a copy and sends what
 * is due. Nothing behind it is forwarded before the gate is open again.
 */
#ifndef PGASIDE_GATE_H
#define PGASIDE_GATE_H

#include "flow.h"
#include "frame.h"

struct session;
struct statement;

/* A whole Query with this text is next. True: the gate is closed now and has the text. */
bool gate_meets_query(struct session *s, struct slice text);
/*
 * A whole Execute is next; behind its portal is this statement, prepared under the name
 * `statement`. True: the gate is closed now and has a copy.
 */
bool gate_meets_execute(struct session *s, struct slice message, struct slice portal,
	struct slice statement, struct slice text);
/* The statement is about an index that is only owed. */
bool gate_concerns_ledger(const struct session *s, const struct statement *st);
/* The open transaction owes something, or has made something that would have to be undone. */
bool gate_is_engaged(const struct session *s);

bool gate_is_busy(const struct session *s);
/* Whether this message of the server must be seen whole. */
bool gate_wants(const struct session *s, uint8_t type);
/* A whole message of the server, after the dialogue was told. */
enum flow_action gate_server_message(struct session *s, uint8_t type, struct slice message);
/* One that is wanted, an ErrorResponse, is too long to be seen: it goes through as it is. */
void gate_error_passes(struct session *s);
/* To be called after a walk of either direction: does what has become due. */
void gate_step(struct session *s);

/* ReadyForQuery has come, with that status, while the ledger has something in it and the gate is
 * open: the transaction may have ended unseen. */
void gate_ready(struct session *s, char status);
/* Whether what the server sends is an answer to us. */
bool gate_asks(const struct session *s);
/*
 * An aside of somebody else waits for this session, which may do nothing but sit in a transaction:
 * a portal that is done, and that the driver has left open, still holds a snapshot. It is closed.
 */
void gate_release_portal(struct session *s);
/* The client wants its statement cancelled. */
void gate_cancel(struct session *s);
/* The session ends: its aside goes on alone, to clean up, and so does what a committed transaction
 * owes. */
void gate_abandon(struct session *s);
void gate_free(struct session *s);

#endif
