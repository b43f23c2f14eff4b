/*
 * gate.h - what stops a client's stream at an aside statement, finds the statement's place, and
 * lets the stream go on.
 *
 *   OPEN --aside statement--> ANSWERS --> [SYNC] --> ASKING --> RESOLVING --> ASIDE --> [SETTLING]
 * --> OPEN |          |          |            |           |
 *                                +----------+----------+------------+--> FAILING / INLINE --> OPEN
 *
 * ANSWERS waits for what was asked before; SYNC for the Sync that ends an open pipeline: only then
 * is the transaction status true. ASKING reads the settings of the server connection, RESOLVING its
 * pid and the relation. ASIDE is the statement on its own connection. SETTLING waits for the answer
 * to a Sync that kept the server connection alive. FAILING has sent the server the message that it
 * must refuse, and puts the aside's error into its answer. INLINE has sent the statement without
 * CONCURRENTLY.
 *
 * While the gate is not OPEN the statement's message is the first that the session holds, and
 * nothing of the client is forwarded.
 */
#ifndef PGASIDE_GATE_H
#define PGASIDE_GATE_H

#include "flow.h"
#include "frame.h"

struct session;

/* A whole Query with this text is next. True: it is an aside statement, the gate is closed now. */
bool gate_meets_query(struct session *s, struct slice text);
/*
 * A whole Execute of this portal is next, and behind it is this aside statement, prepared under the
 * name `statement`. Closes the gate; false without memory.
 */
bool gate_meets_execute(
	struct session *s, struct slice portal, struct slice statement, struct slice text);
/* Whether it is known what becomes of the head message; and, once, what. */
bool gate_head_is_decided(const struct session *s);
enum flow_action gate_head(struct session *s);

bool gate_is_busy(const struct session *s);
/* Whether this message of the server must be seen whole. */
bool gate_wants(const struct session *s, uint8_t type);
/* A whole message of the server, after the dialogue was told. */
enum flow_action gate_server_message(struct session *s, uint8_t type, struct slice message);
/* To be called after a walk of either direction: does what has become due. */
void gate_step(struct session *s);

/* The client wants its statement cancelled. */
void gate_cancel(struct session *s);
/* The session ends: its aside goes on alone, to clean up. */
void gate_abandon(struct session *s);
void gate_free(struct session *s);

#endif
