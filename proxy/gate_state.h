/*
 * gate_state.h - the inside of the gate, for the files that make it up.
 */
#ifndef PGASIDE_GATE_STATE_H
#define PGASIDE_GATE_STATE_H

#include "aside.h"
#include "catalog.h"
#include "gate.h"
#include "inquiry.h"
#include "locks.h"
#include "placement.h"
#include "session_state.h"
#include "statement.h"
#include "target.h"

enum gate_state {
	GATE_OPEN,
	GATE_ANSWERS,
	GATE_SYNC,
	GATE_UNIT,
	GATE_ASKING,
	GATE_ASIDE,
	GATE_KEEPING,
	GATE_FAILING,
	GATE_INLINE,
	GATE_PREPARING,
	GATE_SETTLING,
};

typedef void (*gate_fn)(struct session *s);

struct settlement;
struct timer;

/* What the server connection says of the unit's relation: columns of aside_lookup_sql(). */
struct gate_lookup {
	uint32_t relation, index;
	uint32_t index_table;
	uint32_t partition; /* of DETACH */
	bool index_valid;
	bool owned, creates, schema_owned, maintained, temporary;
	bool partition_attached, has_default;
	char pending[66]; /* the partition whose DETACH has failed on its way; "" = none */
	char likeness[LIKENESS_SIZE]; /* of an index that is there already; "" */
	uint32_t version;	      /* of the server: 150004 */
	char kind;
	char table[2 * 2 * 66]; /* schema and name, each quoted */
	char schema[2 * 66];	/* quoted */
	char name[2 * 66];	/* quoted */
};

/* What came of trying an index out. */
enum gate_rehearsal {
	REHEARSAL_SAID_NOTHING,
	REHEARSAL_WORKED,
	REHEARSAL_FAILED, /* `error` has why, with the position in the statement's own text */
};

/* What would have PostgreSQL refuse a REINDEX; the tablespace is the one that it names. */
struct gate_reindex {
	bool exclusion;
	bool no_tablespace, no_right, global;
};

struct gate {
	enum gate_state state;
	/* The message that closed the gate. */
	bool extended;	       /* an Execute, not a Query */
	bool unnamed;	       /* of the unnamed portal */
	struct bytes head;     /* owned: the Execute, whole */
	struct bytes portal;   /* owned, zero-terminated: of the Execute */
	struct bytes prepared; /* owned, zero-terminated: the prepared statement behind it */
	struct bytes text;     /* owned: the SQL text */
	struct statement_iterator pieces; /* of a Query: what comes after the unit */
	bool lone;			  /* one statement only: the text goes as a whole */
	bool single_byte;		  /* each byte of the text is a character */
	bool own_block;	     /* several statements outside of a transaction: we make it one */
	bool block_open;     /* our BEGIN was sent, our COMMIT not */
	bool commit_first;   /* it is being ended for the unit, which runs behind it */
	bool failed_before;  /* an earlier statement of the same pipeline has failed */
	bool column_dropped; /* one that the index in `checking` uses */
	bool portal_lost;    /* our Sync has ended the portal's transaction */
	bool cut;	     /* and what the client had executed before in the pipeline */
	bool asks_native;    /* outside of a transaction, too, the server is asked first */
	bool bind_answer;    /* the next BindComplete is ours */
	bool local_known;    /* what ended with a COMMIT of ours */
	bool flushed;	     /* what the client has asked before in the pipeline */
	bool in_pipeline;    /* the inquiry */
	/* Tags since the last ReadyForQuery that did not come to a unit. */
	bool commit_seen, rollback_seen;

	/* The unit. */
	struct statement unit; /* its slices point into `text` */
	bool failed;	       /* its error was delivered: the rest of the Query is dropped */
	bool hold_complete;    /* its CommandComplete waits in `complete` */
	bool completed;	       /* CommandComplete has come */
	struct bytes complete; /* owned */
	char tag[32];	       /* of that */
	unsigned closes;       /* CloseComplete still to come in INLINE */
	struct placement_facts facts;
	struct gate_lookup found;
	struct locks locks; /* owned */
	enum gate_rehearsal rehearsal;
	int server_pid;
	struct gate_reindex reindex;
	bool quiet;	       /* client_min_messages is above NOTICE */
	bool cancel_wanted;    /* by the client, since what came before is answered */
	struct bytes settings; /* owned: see aside_request */
	struct bytes error;    /* owned: the body of an error to deliver */
	struct bytes failure;  /* owned: that of an aside, whose statement may work at COMMIT */

	const struct statement *rehearsed; /* borrowed: the unit, or an owed one */
	struct bytes columns; /* owned: numbers of those that the rehearsed index uses, "1,3" */
	struct bytes schemas; /* owned: those in search_path, each with whether it has the name */
	gate_fn after_rehearsal;
	gate_fn after_reindex;
	/* Over a COMMIT of ours. */
	struct bytes before;	 /* owned: the settings in front of it, in the form of `settings` */
	struct bytes local;	 /* owned: those of them that ended with it */
	struct bytes undeclared; /* owned: what to ask for besides SHOW ALL, "{a.b,a.c}" */
	unsigned n_local;
	unsigned n_front; /* questions in front of those of the look-up */

	struct ledger_entry *checking; /* borrowed: the owed one that is looked at before COMMIT */
	struct ledger_made *checking_made; /* borrowed: the same with one that is to be undone */
	gate_fn after_preflight;

	struct inquiry inquiry;
	gate_fn then;		/* after ASKING or KEEPING */
	char holders[512];	/* pids of those who hold a snapshot for nothing */
	uint64_t look_until_ms; /* for these */
	enum aside_result result;
	struct aside *ahead;	       /* owned: opened while the server is still asked */
	struct aside *aside;	       /* owned until it has told its outcome */
	struct settlement *settlement; /* owned until it is done */
	bool commit_sent;	       /* and not answered yet */
	bool owes;		       /* as others see it */
	struct upstream_job *finding;  /* owned while it runs: where aside_upstream is */
	struct target target;	       /* owned; user NULL until needed */
	struct timer *undo_timer;      /* owned */
	struct timer *timer;	/* owned: keeps the server connection alive, tells of long waits */
	bool newer;		/* than the transaction's snapshot: what the unit names */
	unsigned keep_alive_ms; /* 0 = not needed */
	uint64_t closed_ms;
	uint64_t released; /* ReadyForQuery seen when the left-over portal was closed last */
};

void gate_enter(struct session *s, enum gate_state state);
/* Asks the server connection; `then` is called when all is answered. */
void gate_ask_server(struct session *s, inquiry_row_fn on_row, bool close_portal,
	const struct question *questions, unsigned n, gate_fn then);
/* The same in an open pipeline of which everything is answered. It stays open. */
void gate_ask_in_pipeline(struct session *s, inquiry_row_fn on_row,
	const struct question *questions, unsigned n, gate_fn then);
/* The same with a command that has no rows. */
void gate_command(struct session *s, const char *sql, gate_fn then);
/* Event of an aside or a settlement, whose owner is the session: passes a notice on to the client.
 */
void gate_on_notice(void *owner, struct slice body);
/* Calls `then` when no Sync of ours is outstanding any more: at once, mostly. */
void gate_when_quiet(struct session *s, gate_fn then);
/* Sends a message of ours to the server. */
void gate_send_empty(struct session *s, char type);

/* gate.c: ends the client's open pipeline. */
void gate_end_pipeline(struct session *s);

#define GATE_LOCAL_MOST 64

/* Questions that set `local` again. */
struct gate_local {
	struct question questions[GATE_LOCAL_MOST + 4];
	const char *values[GATE_LOCAL_MOST + 4][2];
	char mode[160];
	unsigned n;
};

/* gate_local.c: reads which settings a text sets that SHOW ALL does not know. */
void gate_read_undeclared(struct session *s, struct slice text);
/* gate_local.c: `settings` are those in front of a COMMIT that is ours. */
void gate_keep_local(struct session *s);
/* gate_local.c: the same in front of our Sync, in a pipeline: true, and it is the one that ends
 * that. False: there is nothing to ask. */
bool gate_looks_before_sync(struct session *s);
/* gate_local.c: `settings` are those behind it: they become those in front, and what differs is
 * known then. False: that is too much. */
bool gate_find_local(struct session *s);
/* gate_local.c: outside of a transaction, the server would run the unit without some of them. */
bool gate_loses_local(const struct gate *g);
/* gate_local.c: appends those that set them for a transaction. */
void gate_local_questions(const struct gate *g, struct gate_local *l);
/* gate_local.c: BEGIN, and they are set in it. */
void gate_begin_local(struct session *s, gate_fn then);
/* gate_local.c: they are set in a pipeline, for the rest of it. */
void gate_set_local(struct session *s, gate_fn then);
void gate_forget_local(struct gate *g);

/* gate_unit.c: all is answered: begins with the first unit. */
void gate_begin(struct session *s);
/* gate_unit.c: the unit has ended: the next one, or the end. */
void gate_unit_done(struct session *s);
/* gate_unit.c: sends the unit to the server as it is. */
void gate_send_unit(struct session *s);
/* gate_native.c: the same, when nobody is in its way any more for nothing. */
void gate_send_native(struct session *s);
/* gate_unit.c: the text of the unit, and how many characters of the client's text come before it.
 */
struct slice gate_unit_text(const struct gate *g);
unsigned long gate_unit_offset(const struct gate *g);
unsigned long gate_characters(const struct gate *g, struct slice text);

/* gate_run.c: opens the connections that the unit will most likely need, if it is known where. */
void gate_open_ahead(struct session *s);
/* gate_ask.c: asks what placement needs to know; ends in gate_place(). */
void gate_ask(struct session *s);
/* gate_ask.c: asks for the settings alone, in a pipeline. */
void gate_ask_before_sync(struct session *s, gate_fn then);
/* gate_ask.c: a question has met the client's cancel request, or its statement_timeout. */
bool gate_was_cancelled(const struct gate *g);
/* gate_ask.c: the client's cancel request came between two questions, where the server had nothing
 * to cancel: true, and the unit fails by it. */
bool gate_heeds_cancel(struct session *s);
/* gate_ask.c: takes over a row of the look-up with all columns. */
void gate_note_lookup(struct gate_lookup *l, const struct slice *values);
/* gate_ask.c: the same with the four columns of gate_ask_for_partition(). */
void gate_note_partition(struct gate_lookup *l, const struct slice *values);
/* gate_owe.c: puts the statement into the ledger, if it would work. */
void gate_owe(struct session *s);
/* gate_owe.c: the same after its aside has failed with `error`: only if a rehearsal works. */
void gate_owe_in_spite(struct session *s);
/* gate_owe.c: whether `found`, looked up for a CREATE INDEX, has a relation of its name that stays
 * and is no leftover. */
bool gate_finds_name(const struct session *s);
/*
 * gate_rehearse.c: tries a CREATE INDEX out on a copy of `found`, read as it was with `settings`,
 * and leaves no trace; `then` finds the outcome in `rehearsal`. The statement is
 * borrowed until then.
 */
void gate_rehearse(
	struct session *s, const struct statement *st, struct slice settings, gate_fn then);
/* gate_reindex.c: fails what PostgreSQL would refuse of a REINDEX; else `then`. */
void gate_check_reindex(struct session *s, gate_fn then);
/* In the place of PostgreSQL's own words, with 55000. */
#define GATE_HAS_DEFAULT "cannot detach partitions concurrently when a default partition exists"
/* In the place of a statement that would skip because of an index that goes at COMMIT. */
#define GATE_NAME_IS_DOOMED \
	"an index of that name goes at COMMIT only: CREATE INDEX IF NOT EXISTS would skip it now"
/* gate_preflight.c: asks for a partition of the relation `parent`, by its OID or its name; `then`
 * finds it in `found`. */
void gate_ask_for_partition(
	struct session *s, bool by_oid, const char *value, uint32_t parent, gate_fn then);
/* gate_preflight.c: whether the index `found` could be dropped; `then` finds in `error` why not. */
void gate_ask_what_depends(struct session *s, gate_fn then);
/*
 * gate_preflight.c: looks at what is owed before COMMIT; `then` finds in `error` why that must not
 * go to the server, or nothing.
 */
void gate_preflight(struct session *s, gate_fn then);
/* gate_owed.c: whether the statement drops or rebuilds an index of a name that is owed, or goes at
 * the transaction's end, in whatever schema. */
bool gate_names_owed(const struct session *s, const struct statement *st);
/* gate_owed.c: whether the server would skip it, since it says IF EXISTS of one that is owed. Not
 * to be asked of what gate_names_owed() knows. */
bool gate_skips_owed(const struct session *s, const struct statement *st);
/* gate_owed.c: whether it would change rows of a partition that is no part of its table any more
 * once what is owed is done. */
bool gate_reaches_detached(const struct session *s, const struct statement *st);
/* gate_owed.c: whether it skips because of an index that goes at the transaction's end. */
bool gate_relies_on_doomed(const struct session *s, const struct statement *st);
/* gate_owed.c: the unit names one that is owed: if that one is meant, it is taken out of the
 * ledger, or done by it.
 */
void gate_run_named(struct session *s);
/* gate_owed.c: a hint for an error that may come of something being owed; NULL: none. Returns
 * `out`. */
const char *gate_owed_hint(const struct session *s, struct slice body, char *out, size_t size);
/* gate_run.c: the unit succeeded elsewhere: tells the client. */
void gate_succeed(struct session *s, const char *notice);
/* gate_run.c: everything is known: starts the aside. */
void gate_place(struct session *s);
/* gate_unit.c: finds the way for the unit, by the status that the server has now. */
void gate_run_unit(struct session *s);
/* gate_unit.c: the same for a unit that is not about something owed. */
void gate_run_other(struct session *s);
/* gate_run.c: delivers an error in the unit's place, our own or a body. */
void gate_fail(struct session *s, const char *sqlstate, const char *message, const char *detail,
	const char *hint);
void gate_fail_with(struct session *s, struct slice body);
/* gate_run.c: the same where the server would not refuse the unit by itself: transaction control.
 */
void gate_refuse(struct session *s, const char *sqlstate, const char *message);
void gate_refuse_with(struct session *s, struct slice body);

/* gate_words.c: the last part of a name, kept in `out`; "" when it cannot be read. */
const char *gate_last_part(const struct session *s, struct slice name, struct sql_path *out);
/* gate_words.c: as gate_fail(), for what the look-up has found. */
/* relation "name" already exists, does not exist: `what` */
void gate_fail_relation(
	struct session *s, const char *sqlstate, struct slice name, const char *what);
void gate_fail_not_owned(struct session *s);
void gate_fail_partitioned_index(struct session *s);
void gate_fail_not_partitioned(struct session *s);
void gate_fail_not_attached(struct session *s);
void gate_fail_pending(struct session *s);
void gate_fail_not_indexable(struct session *s);

/* gate_commit.c: the unit is transaction control, and the session is engaged. */
void gate_control(struct session *s);
/* gate_commit.c: the server has answered it. */
void gate_control_done(struct session *s);
/* gate_commit.c: an ErrorResponse with this body goes to the client. */
void gate_tell_error(struct session *s, struct slice body);
/* gate_commit.c: ends our own block; gate_finish() follows. */
void gate_end_block(struct session *s, bool commit);
/* gate_commit.c: commits our own block; the unit runs alone behind it, and the next ordinary
 * statement begins another. */
void gate_commit_block_first(struct session *s);
void gate_block_ended(struct session *s);
/* gate_commit.c: the transaction has ended, and nobody waits for what becomes of the ledger. */
void gate_settle_behind(struct session *s, bool committed);
/* gate_commit.c: the client waits no longer for what is undone, for that reason. */
void gate_undo_behind(struct session *s, const char *reason);
/* gate_unit.c: nothing is left: ReadyForQuery to the client of a Query, and the gate opens. */
void gate_finish(struct session *s);

#endif
