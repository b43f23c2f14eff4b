/*
 * stats.h - what the process is doing, for those who look at it from outside.
 *
 * Counts, the sessions, the asides that run and those that ended lately, and what transactions owe.
 * Shared by all threads; every call locks, but for the counters, which are atomic. Nothing here is
 * called for a message that is relayed: a session tells of itself when it comes, logs in and goes,
 * an aside when its state changes and once a second. The bytes of a session are read where it
 * counts them for itself.
 */
#ifndef PGASIDE_STATS_H
#define PGASIDE_STATS_H

#include <stdatomic.h>
#include <time.h>

#include "aside.h"
#include "progress.h"

#define STATS_TEXT 400u	 /* most bytes of a statement or of who blocks it, terminated */
#define STATS_NAME 64u	 /* of a user, database or application */
#define STATS_RECENT 50u /* asides that ended lately */
#define STATS_OWED 8u	 /* statements that are shown of what one transaction owes */
#define STATS_BUCKETS 9u
#define STATS_SQLSTATES 48u

struct ledger;
struct stats;
struct worker;

enum stats_counter {
	STATS_SESSIONS_TOTAL,
	STATS_LOGINS,
	STATS_CANCELS,
	STATS_RETRIES,
	STATS_LEFTOVERS_DROPPED,
	STATS_OWED_TOTAL,
	STATS_COUNTERS,
};

/* Where the statement of an aside ran. The first three are those of aside_mode. */
enum stats_placement {
	STATS_NOW,
	STATS_AT_COMMIT,
	STATS_UNDO,
	STATS_INLINE,
	STATS_PLACEMENTS,
};

/* The first four are those of aside_result. */
enum stats_outcome {
	STATS_DONE,
	STATS_FAILED,
	STATS_IN_THE_WAY,
	STATS_INVISIBLE,
	STATS_SENT, /* inline: the server connection has it */
	STATS_OUTCOMES,
};

enum stats_statement {
	STATS_CREATE_INDEX,
	STATS_DROP_INDEX,
	STATS_REINDEX,
	STATS_DETACH_PARTITION,
	STATS_STATEMENTS,
};

extern const char *const stats_placement_names[STATS_PLACEMENTS];
extern const char *const stats_outcome_names[STATS_OUTCOMES];
extern const char *const stats_statement_names[STATS_STATEMENTS];
/* Upper bounds of the duration buckets in seconds; the last is without a bound. */
extern const double stats_bounds[STATS_BUCKETS - 1];
/* The SQLSTATEs that are counted by themselves; the last, "other", has the rest. */
extern const char *const stats_sqlstates[STATS_SQLSTATES];
extern const unsigned stats_n_sqlstates;

/* A session, inside of which it lives: added once, removed before it is freed. */
struct stats_session {
	struct stats_session *next, **link; /* of the list */
	uint64_t id;
	time_t started_at;
	struct slice startup;  /* the StartupMessage, borrowed from the session; {0} before */
	char client[64];       /* address and port, or "unix" */
	atomic_int server_pid; /* 0 = not known */
	const atomic_ullong *up, *down; /* bytes, borrowed from the session */
	bool tls;
};

/* A value: the worker that runs it has one, and those who look get copies. */
struct stats_aside {
	uint64_t id, session;
	struct worker *worker; /* borrowed: whom to post to about it */
	enum stats_placement placement;
	enum stats_statement kind;
	const char *state; /* static */
	char user[STATS_NAME], database[STATS_NAME];
	char statement[STATS_TEXT], blocked_by[STATS_TEXT];
	int server_pid, aside_pid;
	unsigned tries;
	uint64_t started_ms; /* timer_now_ms() */
	time_t started_at;
	struct progress progress;
	/* Of one that has an outcome. */
	bool told;
	enum stats_outcome outcome;
	char sqlstate[6], reason[STATS_TEXT];
	uint64_t duration_ms;
};

/* What one transaction owes. */
struct stats_owed {
	uint64_t session;
	bool committed; /* it is being settled */
	unsigned n;	/* all of them; the first STATS_OWED have texts */
	char statements[STATS_OWED][STATS_TEXT];
};

struct stats *stats_new(void);
void stats_free(struct stats *st);

void stats_count(struct stats *st, enum stats_counter which);
void stats_error(struct stats *st, const char *sqlstate);
/* An inline statement, which is no aside. */
void stats_count_inline(struct stats *st, enum statement_kind kind);

void stats_session_add(struct stats *st, struct stats_session *s);
/* `startup` is borrowed until the session is removed. */
void stats_session_login(struct stats *st, struct stats_session *s, struct slice startup, bool tls);
void stats_session_remove(struct stats *st, struct stats_session *s);

/* A new aside's number. */
uint64_t stats_next_aside(struct stats *st);
enum stats_statement stats_statement_of(enum statement_kind kind);
/* Copies `text` as far as it fits, cut between two characters of UTF-8. */
void stats_copy_text(char *out, size_t size, struct slice text);
/* Shows it as it is now: a new one, or one that is known already. */
void stats_aside_show(struct stats *st, const struct stats_aside *a);
/* It has an outcome: it is counted, and belongs to those that ended lately. */
void stats_aside_told(struct stats *st, const struct stats_aside *a);
/* It runs no more. */
void stats_aside_gone(struct stats *st, uint64_t id);

/* What the session's transaction owes now; an empty ledger takes it from the list. */
void stats_owe(struct stats *st, uint64_t session, bool committed, const struct ledger *l);

/* Everything at one moment; the lists are owned by the picture. */
struct stats_picture {
	time_t started_at;
	uint64_t counters[STATS_COUNTERS];
	uint64_t errors[STATS_SQLSTATES];
	uint64_t asides[STATS_STATEMENTS][STATS_PLACEMENTS][STATS_OUTCOMES];
	uint64_t buckets[STATS_STATEMENTS][STATS_PLACEMENTS][STATS_BUCKETS]; /* not cumulated */
	uint64_t duration_ms[STATS_STATEMENTS][STATS_PLACEMENTS];
	uint64_t bytes_up, bytes_down;
	struct stats_seen_session {
		uint64_t id;
		time_t started_at;
		char user[STATS_NAME], database[STATS_NAME], application[STATS_NAME];
		char client[STATS_NAME];
		int server_pid;
		bool logged_in, tls;
		uint64_t bytes_up, bytes_down;
	} * sessions;
	struct stats_aside *running, *recent; /* oldest first; latest first */
	struct stats_owed *owed;
	size_t n_sessions, n_running, n_recent, n_owed;
};

/* False without memory; there is nothing to release then. */
bool stats_take(struct stats *st, struct stats_picture *p);
void stats_release(struct stats_picture *p);
/* How many run; the oldest of them, if there is one, into `oldest`. */
unsigned stats_running(struct stats *st, struct stats_aside *oldest);

#endif
