/*
 * check_state.h - what the statements of a file have done so far, for `pgaside check`.
 *
 * Relations by name, with what the transaction at hand has done to each, and the line on which. A
 * savepoint is a copy of it all, so that going back is exact. Assumes that a relation of which the
 * file says nothing exists, is an ordinary table, and can be seen by everybody.
 */
#ifndef PGASIDE_CHECK_STATE_H
#define PGASIDE_CHECK_STATE_H

#include "statement_effect.h"

#define CHECK_RELATIONS 20000u
#define CHECK_SAVEPOINTS 64u

enum check_mark {
	MARK_MADE,	 /* it is new in this transaction */
	MARK_WRITTEN,	 /* as EFFECT_LOCK_WRITE */
	MARK_DEFINITION, /* as EFFECT_LOCK_DEFINITION */
	MARK_STRONG,	 /* as EFFECT_LOCK_STRONG */
	MARK_RENAMED,
	MARK_OWED,	/* an index that comes after COMMIT */
	MARK_OWED_DROP, /* a relation that goes after COMMIT */
	MARKS
};

struct check_relation {
	struct sql_name schema, name;
	enum effect_thing thing;
	bool temporary;
	bool unique;  /* an index: of an aside statement */
	bool perhaps; /* IF NOT EXISTS made it, or found it */
	bool dropped;
	size_t table;	       /* of an index: number of its table + 1; 0 = not known */
	unsigned marks[MARKS]; /* lines; 0 = not */
};

/* An ordinary statement of the transaction. */
struct check_text {
	struct slice text; /* borrowed */
	unsigned line;
};

struct check_state {
	struct check_relation *relations; /* owned */
	size_t n_relations, relations_room;
	struct check_text *texts; /* owned: those of the transaction at hand */
	size_t n_texts, texts_room;
	char status; /* as in ReadyForQuery */
	enum statement_isolation isolation, next_isolation;
	bool read_only, next_read_only;
	struct sql_name schema; /* where unqualified names are */
	unsigned cursors;
	unsigned cursor_line, snapshot_line, object_line, calls_line, all_line, code_line,
		failed_line;
	unsigned owes; /* statements */
	bool failed;   /* out of memory, or more than the limit */
};

void check_state_init(struct check_state *s);
void check_state_release(struct check_state *s);
/* A copy; `failed` is set in both without memory. */
void check_state_copy(struct check_state *to, struct check_state *from);

/* NULL when nothing is known of it, or the name cannot be read. */
struct check_relation *check_find(
	struct check_state *s, struct slice name, struct sql_dialect dialect);
/* The same, and adds it. NULL when it cannot be read, or without memory. */
struct check_relation *check_find_or_add(struct check_state *s, struct slice name,
	struct sql_dialect dialect, enum effect_thing thing);
/* An index, in the schema of its table; NULL as above. `table` may be moved by the call. */
struct check_relation *check_add_index(struct check_state *s, struct slice name,
	struct sql_dialect dialect, const struct check_relation *table);
/* Of an index; NULL when it is not known. */
struct check_relation *check_table_of(struct check_state *s, const struct check_relation *index);
/* The file has dropped or renamed what had that name. */
bool check_is_gone(struct check_state *s, struct slice name, struct sql_dialect dialect);
/* Only this transaction can see it. */
bool check_is_own(const struct check_relation *r);

/* What the statement does; `line` > 0. */
void check_apply(struct check_state *s, const struct statement_effect *e, struct slice text,
	struct sql_dialect dialect, unsigned line);
void check_begin(struct check_state *s);
/* COMMIT: what was made stays, what was done is forgotten. */
void check_commit(struct check_state *s);

#endif
