/*
 * status_line.h - how far the asides of `pgaside run` are, on the terminal.
 *
 * One line, drawn below the cursor, which stays where the command has left it: what the command
 * writes is not touched, and an unfinished line of it may stand. It is drawn anew several times a
 * second while an aside runs, and wiped when none does. Lives on the main thread. Nothing of it
 * when standard error is no terminal, or one that knows no control sequences (TERM=dumb).
 */
#ifndef PGASIDE_STATUS_LINE_H
#define PGASIDE_STATUS_LINE_H

struct event_base;
struct stats;
struct status_line;

/* `stats` is borrowed until status_line_free(). NULL when there is no such terminal, or no memory.
 */
struct status_line *status_line_new(struct event_base *base, struct stats *stats);
/* Wipes it. Takes NULL. */
void status_line_free(struct status_line *l);

#endif
