/*
 * inquiry.h - questions of our own to the client's server connection, between two of the client's
 * messages.
 *
 * Each question is asked with a named statement and portal, which are closed again, so that the
 * client's unnamed ones stay what they are; one Sync ends them all, or none in an open pipeline.
 * Every answer but notices, parameter statuses, notifications and an error that ends the session
 * belongs to the inquiry and is kept from the client. Pure.
 *
 * Only to be used when nothing else is outstanding (dialogue_is_idle()).
 */
#ifndef PGASIDE_INQUIRY_H
#define PGASIDE_INQUIRY_H

#include "bytes.h"

/* Of an answer; further ones are not read. */
#define INQUIRY_MAX_COLUMNS 24

struct question {
	const char *sql;
	const char *const *values; /* text parameters */
	uint16_t n_values;
};

/* Called for each row of each question, in order. Values are borrowed; a NULL has data NULL. */
typedef void (*inquiry_row_fn)(
	void *owner, unsigned question, const struct slice *values, int n_values);

struct inquiry {
	inquiry_row_fn on_row;
	void *owner;	    /* borrowed */
	unsigned question;  /* the one being answered */
	bool silent;	    /* notices are the questions' own: set after inquiry_init() */
	unsigned questions; /* how many there are: set after inquiry_init() */
	bool done;	    /* ReadyForQuery has come */
	bool broken;	    /* and not all was answered, though nothing has failed */
	bool failed;	    /* an ErrorResponse came first: the transaction has failed now */
	char sqlstate[6];   /* of that error */
	struct bytes error; /* owned: its body */
};

/* Begins anew; what an earlier inquiry has left is dropped. `on_row` may be NULL. */
void inquiry_init(struct inquiry *q, inquiry_row_fn on_row, void *owner);
void inquiry_release(struct inquiry *q);
/*
 * Writes the messages for `n` questions and the Sync. With `close_portal` the unnamed portal goes
 * first: one that a SELECT has left open holds a snapshot.
 */
void inquiry_write(
	struct bytes *out, bool close_portal, const struct question *questions, unsigned n);
/*
 * The same in an open pipeline of which everything is answered, and which stays open: a Flush ends
 * them. `done` stays false: it is for the dialogue to say when all is answered.
 */
void inquiry_write_in_pipeline(struct bytes *out, const struct question *questions, unsigned n);
/* A message from the server. True when it belongs to the inquiry, false when it is the client's. */
bool inquiry_take(struct inquiry *q, uint8_t type, struct slice body);

#endif
