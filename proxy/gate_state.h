/*
 * gate_state.h - the inside of the gate, for the files that make it up.
 */
#ifndef PGASIDE_GATE_STATE_H
#define PGASIDE_GATE_STATE_H

#include "gate.h"
#include "inquiry.h"
#include "placement.h"
#include "session_state.h"
#include "statement.h"

enum gate_state {
	GATE_OPEN,
	GATE_ANSWERS,
	GATE_SYNC,
	GATE_ASKING,
	GATE_RESOLVING,
	GATE_ASIDE,
	GATE_SETTLING,
	GATE_FAILING,
	GATE_INLINE,
};

struct aside;
struct timer;

struct gate {
	enum gate_state state;
	bool extended;	    /* the head message is an Execute, not a Query */
	bool unnamed;	    /* of the unnamed portal */
	bool decided;	    /* `head` says what becomes of the head message */
	bool failed_before; /* a statement of the same pipeline has failed */
	bool bind_answer;   /* the next BindComplete is ours */
	bool finished;	    /* the aside has ended; `result` is set */
	enum flow_action head;
	unsigned closes;	    /* CloseComplete still to come in INLINE */
	struct bytes portal;	    /* owned, zero-terminated: of the Execute */
	struct bytes prepared;	    /* owned, zero-terminated: the prepared statement behind it */
	struct bytes text;	    /* owned: the SQL text of the head message */
	struct statement statement; /* its slices point into `text` */
	struct inquiry inquiry;
	struct bytes settings; /* owned: see aside_request */
	struct bytes error;    /* owned: the body of the error to deliver */
	struct placement_facts facts;
	int server_pid;
	uint32_t relation, index; /* as the server connection resolves them */
	bool plain_is_same;	  /* nothing but CONCURRENTLY is in the way of the plain form */
	struct aside *aside;	  /* owned until it has told its outcome */
	struct timer *timer;	/* owned: keeps the server connection alive, tells of long waits */
	unsigned keep_alive_ms; /* 0 = not needed */
	uint64_t closed_ms;
};

void gate_enter(struct session *s, enum gate_state state);
/* The head message takes this way, and the gate opens (or goes to `next` when it has passed). */
void gate_decide(struct session *s, enum flow_action head, enum gate_state next);

/* gate_ask.c: asks the server connection; ends in gate_place(). */
void gate_ask(struct session *s);
void gate_ask_answered(struct session *s);
/* gate_run.c: everything is known: starts the aside. */
void gate_place(struct session *s);
/* gate_run.c: delivers an error of our own in the statement's place. */
void gate_fail(struct session *s, const char *sqlstate, const char *message, const char *detail,
	const char *hint);
/* gate_run.c: the aside has ended, and nothing is outstanding on the server connection. */
void gate_settle(struct session *s);

#endif
