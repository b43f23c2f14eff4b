/*
 * aside_state.h - the inside of an aside, for the files that make it up.
 */
#ifndef PGASIDE_ASIDE_STATE_H
#define PGASIDE_ASIDE_STATE_H

#include "aside.h"
#include "bytes.h"
#include "catalog.h"
#include "err.h"
#include "index_drop.h"
#include "locks.h"
#include "pq.h"
#include "stats.h"
#include "target.h"
#include "worker.h"

#define ASIDE_MAX_LEFTOVERS 32u /* at a time */
#define ASIDE_MAX_INDEXES \
	512u /* on one table; more are not told apart, so nothing is dropped then */

/*
 * How long a question of ours may go unanswered, milliseconds: then its connection is as good as
 * dead. On the watch connection the server itself ends it before. Statements and drops take as long
 * as they take.
 */
#define ASIDE_ANSWER_MS 35000u
/* How long to wait for the lock under which an index is looked at once more, milliseconds: once. */
#define ASIDE_DROP_LOCK_MS 1u

enum aside_state {
	ASIDE_CONNECTING,
	ASIDE_SETTINGS,
	ASIDE_READY,
	ASIDE_LOOKING,
	ASIDE_REPAIRING,
	ASIDE_RUNNING,
	ASIDE_VERIFYING,
	ASIDE_CLEANING,
	ASIDE_TOLD,
	ASIDE_KEPT,
	ASIDE_ENDED,
};

/* An index of the table, as the catalog had it. */
struct aside_index {
	uint32_t oid;
	bool valid;
	bool renamed; /* INDEX_DROP_PREFIX: somebody was about to drop it */
};

struct timer;

/* What is known of the client's transaction. */
struct aside_transaction {
	struct locks locks; /* owned */
	uint32_t xid;	    /* 0 = none */
	bool has_snapshot;
	bool strong;	/* it keeps readers or writers out of a relation that others see */
	bool third;	/* somebody waits for it who is in the statement's way */
	bool snapshots; /* not its own: others have some, that may be let go of */
};

/* What belongs to the statement at hand, not to the connections. */
struct aside_job {
	enum aside_mode mode;
	bool hold, look_only;
	struct bytes text;	    /* owned, zero-terminated */
	struct statement statement; /* its slices point into `text` */
	struct sql_dialect dialect;
	struct bytes path, name; /* owned: parameters of the look-up */
	struct bytes settings;	 /* owned: what the server connection has */
	struct bytes changes;	 /* owned: what is to be replayed, same form */
	size_t next_change;
	uint32_t wanted_relation, wanted_index; /* as the server connection sees them */
	uint32_t condemned;			/* has the new index's name, and is to go */
	uint32_t partition;			/* is to be detached; 0 = by its name */
	char likeness[LIKENESS_SIZE]; /* of wanted_index, see aside_request; of what was made */

	struct aside_transaction client; /* its transaction, while that is open */
	uint32_t relation;
	uint32_t changed_by;  /* xmax of its row in pg_class */
	uint32_t named_index; /* the index of the wanted name: before the statement */
	uint32_t named_table; /* whose index that is */
	bool named_valid;
	struct aside_index before[ASIDE_MAX_INDEXES];
	unsigned n_before;
	bool too_many;	   /* more indexes than that */
	uint32_t building; /* the index our own backend said it builds; 0 = it did not */
	uint32_t made;
	unsigned n_made;	/* that may be it */
	uint32_t foundling;	/* valid, of the wanted name, and it is not known who has made it */
	bool finished;		/* the statement has succeeded */
	unsigned verifications; /* tries to find out whether its index is valid */

	bool in_the_way;  /* the transaction blocks the statement: it was cancelled for that */
	bool in_vain;	  /* it waits for nothing: it was cancelled for that, to begin again */
	unsigned repairs; /* of a leftover, so far */
	uint32_t for_later[ASIDE_MAX_LEFTOVERS]; /* only the transaction's end lets them go */
	unsigned n_for_later;
	bool repair_waits;    /* for the confirmation of a cancel */
	bool clean_later;     /* the transaction blocks the clean-up: it was cancelled for that */
	unsigned lists;	      /* of leftovers, that could not be had */
	struct err unwatched; /* why nobody can watch it: it was cancelled for that */
	bool cancelled_unwatched; /* that cancel may still be on its way */
	bool told;		  /* `done` was called */
	unsigned tries;
	uint64_t started_ms;
	uint64_t blocked_since_ms;
	uint64_t told_blocker_ms;
	uint64_t look_until_ms; /* for snapshots that are held for nothing */
	uint64_t progress_ms;	/* when it was last shown, logged, told to the client */
	uint64_t progress_logged_ms;
	uint64_t progress_notified_ms;
	struct stats_aside seen; /* what others may see of it */
	struct bytes error; /* owned: the body of the ErrorResponse to report; empty = success */
	char sqlstate[6];   /* of that */
	uint32_t leftovers[ASIDE_MAX_LEFTOVERS]; /* OIDs still to be dropped, the last first */
	unsigned n_leftovers;
};

struct aside {
	struct aside *next, **link; /* the worker's asides */
	struct worker *worker;	    /* borrowed */
	enum aside_state state;
	bool started; /* it has a statement */
	struct aside_events events;
	void *owner; /* borrowed; NULL when abandoned or told */
	uint64_t session;
	struct target target; /* owned */
	int server_pid;

	struct pq *aside; /* owned */
	struct pq *watch; /* owned */
	bool aside_up, watch_up;
	struct err aside_error; /* why the aside connection could not be had before the start */
	bool used;		/* the aside connection has had settings of a statement */
	bool watch_opening;	/* it is being connected */
	bool watch_stood;	/* while the statement runs: it has been there once */
	/* Goes on when it can be asked; NULL = nothing waits. */
	void (*when_watched)(struct aside *a);
	unsigned watch_turn;  /* of watching: an answer to an earlier one says nothing */
	unsigned looked_turn; /* the one in which the last question was asked */
	int aside_pid;
	int lost_pid;	      /* of a connection that was lost; its process may still be at work */
	unsigned lost_rounds; /* of waiting for its end */

	struct timer *watch_timer; /* owned */
	struct timer *limit_timer; /* owned: the end of patience with clean-up; the pause before a
				      retry */
	unsigned watch_ms;	   /* until the next look */
	uint64_t idle_since_ms; /* its process does nothing, though we wait for it; 0 = it works */
	bool watching;		/* a look is under way */
	bool cancel_due;	/* pg_cancel_backend is still to be sent */
	bool cancelling;	/* that was sent, and is not confirmed yet */
	bool cancelled;		/* by the client, or because the owner is gone */
	bool abandoned;
	struct index_drop drop;
	bool again; /* another statement was given from inside `done` */
	struct aside_job job;
};

void aside_enter(struct aside *a, enum aside_state state);
const char *aside_state_name(enum aside_state state);
/* Ends the statement with an error of our own: cleans up if it may have run, and reports. */
void aside_fail(struct aside *a, const char *sqlstate, const char *message, const char *hint);
/* The same with the error of a result; one that has none means that the client has cancelled. */
void aside_fail_with(struct aside *a, const struct pq_result *r);
/* Tells the owner, once a statement. */
void aside_tell(struct aside *a, enum aside_result result, enum placement_obstacle obstacle);
/* Tells, and goes on with another statement or ends. */
void aside_finish(struct aside *a, enum aside_result result, enum placement_obstacle obstacle);
/* Opens the aside connection (again). False without memory. */
bool aside_reopen(struct aside *a);
/* Another connection cannot be had, and the statement ends with that. */
void aside_fail_connect(struct aside *a, const struct err *e);

/* aside_settings.c: makes the aside connection like the server connection. */
void aside_settings_begin(struct aside *a);
/* aside_settings.c: only the role, for a connection that cleans up; then calls aside_clean_up_on().
 */
void aside_settings_role(struct aside *a);
/* aside_settings.c: nothing else is to be asked before. */
void aside_settings_go_on(struct aside *a);
/* aside.c: the settings are done. */
void aside_settings_done(struct aside *a);

/* aside_look.c: relation, indexes; then aside_decide(). */
void aside_look(struct aside *a);
/* aside_look.c: takes over a row of the look-up, if there is one. */
void aside_take_lookup(struct aside_job *j, const struct pq_result *r);
/* aside_look.c: a NoticeResponse of our own. */
void aside_tell_notice(struct aside *a, const char *text);
/* aside_oid.c: the same as aside_look() by OID; then runs. */
void aside_look_up_oid(struct aside *a);
/* aside_oid.c: the index that was to be dropped was gone when its lock was had: perhaps a REINDEX
 * had the lock before. */
void aside_look_for_another(struct aside *a);
/* aside_release.c: aside_release() in front of the statement. */
void aside_release_and_run(struct aside *a);
/* aside_run.c: the statement, its verification. */
void aside_run(struct aside *a);
/* aside_run.c: the cancel that ended a repair is confirmed. */
void aside_repair_goes_on(struct aside *a);
/* aside_clean.c: ended by a lock, or by a cancel that may have been meant for something else. */
bool aside_was_cut_short(const struct pq_result *r);
/* aside_clean.c: the index that was to be dropped waits for the transaction's end. */
void aside_drop_later(struct aside *a);
/* aside_clean.c: `error` is set: drops what the statement has left, then retries or reports. */
void aside_clean_up(struct aside *a);
void aside_clean_up_on(struct aside *a);
/* aside_clean.c: there is a connection again to clean up with. */
void aside_clean_up_anew(struct aside *a);
/* aside_clean.c: tells the owner how it ended; the clean-up goes on. */
void aside_tell_early(struct aside *a);
/* aside_clean.c: cleanup_timeout is over: tells the owner, and goes on. */
void aside_clean_up_is_late(struct aside *a);
/* aside_clean.c: the connection was lost: another one, soon. */
void aside_clean_up_elsewhere(struct aside *a);

/* What the watch connection asks. */
enum watch_column {
	WATCH_OWN,	/* the client's backend is in the chain of those who block the aside */
	WATCH_WAITS,	/* anybody is */
	WATCH_INDEX,	/* OID of the index being built */
	WATCH_BLOCKERS, /* who blocks it directly */
	WATCH_AT_WORK,	/* our own process is */
	WATCH_PHASE,	/* and the rest of pg_stat_progress_create_index */
	WATCH_COMMAND,
	WATCH_LOCKERS_TOTAL,
	WATCH_LOCKERS_DONE,
	WATCH_BLOCKS_TOTAL,
	WATCH_BLOCKS_DONE,
	WATCH_TUPLES_TOTAL,
	WATCH_TUPLES_DONE,
	WATCH_SNAPSHOTS, /* see ASIDE_SNAPSHOTS_SQL */
	WATCH_IN_VAIN,	 /* who blocks it by a snapshot that is gone */
};

/* aside_progress.c: tells of a row of that, at most once a second. */
void aside_progress_note(struct aside *a, const struct pq_result *r);

/*
 * For questions about others, on either connection: its own path, and time enough whatever the role
 * has as a default.
 */
#define ASIDE_OWN_SETTINGS_SQL                                                         \
	"SET search_path = pg_catalog; SET statement_timeout = '30s'; SET jit = off; " \
	"SET idle_session_timeout = 0"
/* aside_obstacle.c: whether it is to be found out what is in the way. */
bool aside_looks_for_obstacles(const struct aside *a);
/* aside_obstacle.c: asks about others that the transaction is in the way of, if there are any; then
 * comes aside_settings_go_on(). */
void aside_ask_for_obstacles(struct aside *a);
/* aside_obstacle.c: writes the question about the transaction itself. */
void aside_put_question(const struct aside *a, struct bytes *sql);
/* aside_obstacle.c: takes over the answer to that. */
void aside_take_answer(struct aside *a, const struct pq_result *r);
/* aside_obstacle.c: the statement means what it means to the client: it runs, or something is in
 * its way. */
void aside_decide(struct aside *a);

/*
 * aside_watch.c. The connection is opened when it is needed, or by aside_watch_open(): a statement
 * that is over in a moment has none.
 */
bool aside_watch_init(struct aside *a);
void aside_watch_open(struct aside *a);
/* It is connected, and answers nothing else at the moment. */
bool aside_watch_can_ask(const struct aside *a);
/* Goes on as soon as that is so. Without a connection the statement ends, or, behind COMMIT, runs.
 */
void aside_when_watched(struct aside *a, void (*then)(struct aside *a));
/* What has been kept is as good as new, or goes. */
void aside_watch_check(struct aside *a);
void aside_watch_start(struct aside *a);
void aside_watch_stop(struct aside *a);
/* Sends pg_cancel_backend as soon as the watch connection can. */
void aside_watch_cancel(struct aside *a);

/* aside_indexes.c: reading and comparing lists of indexes. */
void aside_indexes_read(struct aside_job *j, const char *list);
bool aside_index_was_there(const struct aside_job *j, uint32_t oid, bool *valid);
uint32_t aside_oid(const char *text);

#endif
