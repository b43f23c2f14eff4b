/*
 * progress.h - how far a build is: what pg_stat_progress_create_index says, as numbers and as text.
 *
 * Pure: no clock, no connection, no terminal. A percentage is that of the phase at hand, from the
 * counter that PostgreSQL keeps for it; a phase that has none (sorting, waiting) has no percentage
 * either. Which phase of how many it is says the step. Phases are called what PostgreSQL calls
 * them.
 */
#ifndef PGASIDE_PROGRESS_H
#define PGASIDE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_PHASE 64 /* longest phase, terminated */
#define PROGRESS_NO_PERCENT (-1)

/* A row of the view; `phase` NULL when there was none. */
struct progress_sample {
	const char *phase; /* borrowed */
	bool reindex;
	uint64_t lockers_total, lockers_done;
	uint64_t blocks_total, blocks_done;
	uint64_t tuples_total, tuples_done;
};

struct progress {
	char phase[PROGRESS_PHASE]; /* "" = the server says nothing of it */
	unsigned step, steps;	    /* 3 of 9; 0 = a phase that is not known here */
	int percent;		    /* of the phase, 0 to 100, or PROGRESS_NO_PERCENT */
	uint64_t done, total;	    /* what it is made of; 0 of 0 = no measure */
	const char *unit;	    /* "blocks", "tuples", "sessions" that were waited for, or "" */
};

/* What one line of text tells. */
struct progress_line {
	const struct progress *progress;
	const char *doing;	/* what to say while there is no phase; "running" */
	const char *blocked_by; /* who is in the way, "" = nobody */
	uint64_t elapsed_ms;
	unsigned others; /* asides that run besides this one */
};

/* Without a phase: all empty. */
void progress_read(struct progress *p, const struct progress_sample *s);

/* "0:07", "12:34", "1:02:03". Returns `out`. */
const char *progress_time(char *out, size_t size, uint64_t ms);
/*
 * "[#####-----]", `width` characters with the brackets, at least 3; without a percentage a mark
 * that moves with the time. Returns `out`, which has room for width + 1.
 */
const char *progress_bar(char *out, unsigned width, int percent, uint64_t elapsed_ms);
/*
 * The line for a terminal of so many columns: at most columns - 1 characters, control characters
 * replaced. The bar takes the room that the rest leaves. Returns `out`.
 */
const char *progress_terminal(
	char *out, size_t size, unsigned columns, const struct progress_line *l);
/* The same as a sentence without a bar, for a NOTICE. Returns `out`. */
const char *progress_sentence(char *out, size_t size, const struct progress_line *l);

#endif
