/*
 * dialogue.h - where the conversation with the server stands.
 *
 * Told of every message that goes to the server and of the few server messages that matter, it
 * knows how many ReadyForQuery are still to come, whether the extended protocol is in the middle of
 * a pipeline, and the last true transaction status. It is exact for every client that keeps to the
 * protocol; after a message that makes the count doubtful it says so (`uncertain`), and the session
 * then takes nothing aside any more. Pure: no sockets, no allocation, no clock.
 *
 * Protocol documentation: sections "Message Flow", "Pipelining", "COPY Operations".
 */
#ifndef PGASIDE_DIALOGUE_H
#define PGASIDE_DIALOGUE_H

#include <stdbool.h>
#include <stdint.h>

/* ReadyForQuery outstanding at once; a client that pipelines deeper is read again when answers
 * come. */
#define DIALOGUE_DEPTH 256u

struct dialogue {
	/* enum dialogue_request, oldest first, four bits each: every session has one of these */
	uint8_t ring[DIALOGUE_DEPTH / 2];
	uint16_t head;
	uint16_t count;	     /* above 0 only while a ReadyForQuery is to come */
	uint64_t ready_sent; /* requests that end in ReadyForQuery, ever */
	uint64_t ready_got;
	unsigned unanswered; /* messages of the open pipeline, once all before it is answered */
	char status;	     /* of the last ReadyForQuery: 'I', 'T', 'E' */
	bool pipeline_open;  /* extended messages since the last Sync */
	bool executed;	     /* an Execute among them */
	bool failed;	     /* an ErrorResponse since the last ReadyForQuery */
	bool copy_in;	     /* the server takes CopyData and ignores Sync */
	bool copy_ended;     /* the open pipeline has a CopyDone for a COPY not yet answered */
	bool executed_since; /* an Execute behind that CopyDone */
	bool suspended;	     /* a portal of this transaction has more rows to give */
	bool bound;	     /* a Bind was sent, and no Execute behind it */
	bool uncertain;
};

/* Log-in is under way: the first ReadyForQuery comes unasked. */
void dialogue_init(struct dialogue *d);
/* A message of this type goes to the server. */
void dialogue_client(struct dialogue *d, uint8_t type);
/* A message of this type came from the server; `status` is ReadyForQuery's, 0 for others. */
void dialogue_server(struct dialogue *d, uint8_t type, char status);
/* Everything asked is answered, and no pipeline is open. */
bool dialogue_is_idle(const struct dialogue *d);
/* No room for another request: do not read the client until an answer has come. */
bool dialogue_is_full(const struct dialogue *d);

#endif
