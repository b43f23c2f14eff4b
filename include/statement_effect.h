/*
 * statement_effect.h - what an ordinary statement does to relations, as far as its tokens tell.
 *
 * For a look at a text without a server: which relations it makes, drops or renames, which it locks
 * and how strongly, whether PostgreSQL refuses it in a transaction block, and whether a string in
 * it hides a statement that would be executed. It does not know what functions, triggers and
 * foreign keys do besides. Where forms of a statement take different locks, the stronger one is
 * meant.
 *
 * All slices are borrowed from the text. No recursion, no allocation, linear time.
 */
#ifndef PGASIDE_STATEMENT_EFFECT_H
#define PGASIDE_STATEMENT_EFFECT_H

#include "sql_name.h"
#include "statement.h"

#define EFFECT_TOUCHES 16

enum effect_lock {
	EFFECT_LOCK_WRITE,	/* ROW EXCLUSIVE */
	EFFECT_LOCK_DEFINITION, /* SHARE UPDATE EXCLUSIVE, or a change of its row in pg_class */
	EFFECT_LOCK_STRONG,	/* SHARE and stronger: keeps readers or writers out */
};

enum effect_thing {
	EFFECT_NOTHING,
	EFFECT_TABLE, /* a materialized view, too */
	EFFECT_PARTITIONED,
	EFFECT_INDEX,
	EFFECT_VIEW,   /* a sequence, too: a relation without indexes */
	EFFECT_OBJECT, /* a function, a type, an extension, .. */
};

struct effect_touch {
	struct slice name;
	enum effect_lock lock;
	bool drops;
	bool partitioned; /* the statement shows it to be */
};

struct statement_effect {
	const char *refused; /* static: what PostgreSQL refuses in a transaction block; or NULL */
	enum effect_thing made;
	struct slice made_name; /* may be absent */
	struct slice made_on;	/* the table of an index */
	bool made_temporary;
	bool made_if_not_exists;
	struct slice renamed_to;   /* of the first touched */
	struct slice moved_to;	   /* its new schema */
	enum effect_thing touched; /* what the touched are; NOTHING when there is none */
	struct effect_touch touches[EFFECT_TOUCHES];
	size_t n_touches;
	bool touches_more; /* than are named here */
	bool opens_cursor;
	bool closes_cursor;
	bool closes_all;
	bool exports_snapshot;
	bool locks_object; /* it drops, renames or hands on an object that is no relation */
	bool redefines;	   /* it makes or changes functions, or what text search does */
	bool runs_code;	   /* DO and CALL */
	bool hides;	   /* an aside statement in a string that it may execute */
	bool keeps;	   /* an aside statement in the body of a function that it makes */
	bool on_conflict;
	bool copies_in; /* COPY .. FROM STDIN: data follows */
	bool sets_next; /* isolation and access are those of later transactions */
	enum statement_isolation isolation;
	enum statement_access access;
	struct slice search_path; /* the first schema of a new search_path */
};

/* Of a STATEMENT_OTHER; all zero for the other kinds. */
void statement_effect_read(
	const struct statement *s, struct sql_dialect dialect, struct statement_effect *out);
/* Whether a token of the text is that name. */
bool statement_mentions(struct slice text, struct sql_dialect dialect, const struct sql_name *name);
/* Whether a statement of the text sets client_encoding, standard_conforming_strings or
 * backslash_quote, and one behind it would be read otherwise then. PostgreSQL reads a Query whole
 * before it runs any of it. */
bool statement_rereads(struct slice text, struct sql_dialect dialect);
/* Whether it is named as an index: behind INDEX, USING or CONSTRAINT. */
bool statement_names_index(
	struct slice text, struct sql_dialect dialect, const struct sql_name *name);

#endif
