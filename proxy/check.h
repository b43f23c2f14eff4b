/*
 * check.h - `pgaside check`: what would become of the statements of a file, without a server.
 *
 * The text is split and recognised by what does that for a client's messages, and the place of an
 * aside statement is decided by placement_decide(), as ever. What that wants to know of the
 * transaction, and only a server could say, comes from the statements in front (check_state.h).
 */
#ifndef PGASIDE_CHECK_H
#define PGASIDE_CHECK_H

#include <stdbool.h>

#include "config.h"
#include "slice.h"
#include "statement.h"

struct check;

/* How the tool sends a file. */
enum check_as {
	CHECK_AS_TRANSACTION, /* BEGIN, one statement after the other, COMMIT */
	CHECK_AS_QUERY,	      /* all of it in one Query, outside of a transaction */
	CHECK_AS_STATEMENTS,  /* one statement after the other, outside of a transaction */
};

enum check_verdict {
	CHECK_PASSES, /* no aside statement: it goes to the server as it is */
	CHECK_NATIVE, /* the placements of placement.h */
	CHECK_NOW,
	CHECK_INLINE,
	CHECK_AT_COMMIT,
	CHECK_COMMIT_FIRST, /* our own block is committed, then it runs */
	CHECK_IN_LEDGER,    /* about an index that is owed: settled there */
	CHECK_FAILS,	    /* PostgreSQL refuses it, with pgaside or without */
	CHECK_UNREAD,	    /* it cannot be told */
	CHECK_NOT_REACHED,  /* the transaction has failed before */
};

struct check_step {
	struct slice text;		   /* borrowed; "" = the COMMIT at the end */
	const struct statement *statement; /* borrowed */
	unsigned line;
	enum check_verdict verdict;
	bool problem;	    /* it could not be helped */
	const char *reason; /* borrowed inside the callback; "" = none to give */
	const char *note;   /* what only the server knows; the same */
};

typedef void (*check_step_fn)(void *arg, const struct check_step *step);

/* `config` is borrowed. NULL without memory. */
struct check *check_new(enum check_as as, bool together, const struct config *config);
/*
 * Walks over one file; `text` is borrowed until check_free(). With `together`, the transaction of
 * one file is that of the next, too. False without memory, or beyond the limits of check_state.h.
 */
bool check_text(struct check *c, struct slice text, check_step_fn fn, void *arg);
void check_free(struct check *c);
/* "at commit", "fails", .. */
const char *check_verdict_name(enum check_verdict v);

/* The command; `argv` begins with its name. Returns the exit status. */
int check_main(int argc, char *const *argv);

#endif
