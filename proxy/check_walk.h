/*
 * check_walk.h - the inside of check, for the files that make it up.
 */
#ifndef PGASIDE_CHECK_WALK_H
#define PGASIDE_CHECK_WALK_H

#include "check.h"
#include "check_state.h"
#include "placement.h"

struct check {
	enum check_as as;
	bool together;
	const struct config *config; /* borrowed */
	struct sql_dialect dialect;
	struct check_state now;
	struct check_state begun; /* what to go back to */
	bool has_begun;
	struct check_savepoint {
		struct sql_name name;
		struct check_state state;
	} savepoints[CHECK_SAVEPOINTS];
	size_t n_savepoints;
	bool own_block;		 /* a Query of several statements: BEGIN and COMMIT are ours */
	bool implicit;		 /* such a Query, which goes to the server whole */
	bool skips_rest;	 /* it has failed */
	const char *inseparable; /* static: why such a Query is not taken; or NULL */
	struct check_step step;
	size_t query_len; /* of the one Query that the file is; 0 = its statements go alone */
	char reason[512], note[512];
};

void check_say(struct check *c, enum check_verdict verdict, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* It fails, which is a problem, and so does the transaction. */
void check_fail(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_note(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* check_marks.c: how much of a file is not there to take the rest back. */
size_t check_up_length(struct slice text);
/* check_marks.c: the tool is told to send this file without a transaction. */
bool check_has_no_transaction(struct slice text);

/* check_place.c: an aside statement. */
void check_place(struct check *c, const struct statement *st);
/* check_walk.c: the block that is ours ends here. */
void check_end_block(struct check *c);

#endif
