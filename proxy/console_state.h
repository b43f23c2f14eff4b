/*
 * console_state.h - the inside of the console, for the files that make it up.
 */
#ifndef PGASIDE_CONSOLE_STATE_H
#define PGASIDE_CONSOLE_STATE_H

#include "console.h"
#include "err.h"

#define CONSOLE_COLUMNS 16u

struct console {
	struct session *session; /* borrowed */
	bool ready;		 /* the server has let the client in */
	bool begun;		 /* and is left */
	bool skipping;		 /* an error: up to the next Sync */
	struct bytes prepared; /* owned, zero-terminated: the name of the one prepared statement */
	struct bytes text;     /* owned: its text; the portal has the same */
	struct bytes out;      /* owned: what is to be sent */
};

/* One row that is being written; values as text. */
struct console_row {
	struct bytes *out; /* borrowed */
	size_t place;
	unsigned left; /* columns still to be put */
};

struct console_row console_row_begin(struct console *c, unsigned n_columns);
void console_put_text(struct console_row *r, const char *value);
void console_put_number(struct console_row *r, uint64_t value);
void console_put_null(struct console_row *r);
void console_row_end(struct console_row *r);
void console_notice(struct console *c, const char *text);

struct console_command {
	const char *words;		      /* in lower case, as `show asides` */
	const char *tag;		      /* of CommandComplete */
	const char *columns[CONSOLE_COLUMNS]; /* of its rows; none: it has no rows */
	const char *argument;		      /* what follows, for the help; NULL = nothing does */
	const char *help;		      /* NULL = a driver's own, not for people */
	/* Writes the rows. False with `e`: an ErrorResponse. */
	bool (*run)(struct console *c, const char *argument, struct err *e);
};

/* console_command.c: what a statement says; NULL with `e` when it is none of ours. `argument` gets
 * what follows the words. */
const struct console_command *console_find(
	struct slice text, char *argument, size_t size, struct err *e);

#endif
