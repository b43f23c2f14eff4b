/*
 * statement.h - the statements of a SQL text: where each begins and ends, and which ones concern
 * us.
 *
 * Splits at the semicolons at which PostgreSQL splits: not those in parentheses (the actions of
 * CREATE RULE) nor those in the BEGIN ATOMIC .. END body of a function. Recognises aside statements
 * and transaction control by their tokens and says where their names are; everything else, and
 * every unexpected shape, is STATEMENT_OTHER and belongs to the server.
 *
 * All slices are borrowed from the text. No recursion, no allocation, linear time.
 */
#ifndef PGASIDE_STATEMENT_H
#define PGASIDE_STATEMENT_H

#include "bytes.h"
#include "sql_lexer.h"

enum statement_kind {
	STATEMENT_EMPTY, /* whitespace and comments, or nothing at all */
	STATEMENT_OTHER,

	/* The aside statements. Their plain forms, without CONCURRENTLY, are STATEMENT_OTHER. */
	STATEMENT_CREATE_INDEX,
	STATEMENT_DROP_INDEX,
	STATEMENT_REINDEX,
	STATEMENT_DETACH_PARTITION,

	/* Transaction control. */
	STATEMENT_BEGIN,    /* BEGIN, START TRANSACTION */
	STATEMENT_COMMIT,   /* COMMIT, END */
	STATEMENT_ROLLBACK, /* ROLLBACK, ABORT */
	STATEMENT_SAVEPOINT,
	STATEMENT_RELEASE,
	STATEMENT_ROLLBACK_TO,
	STATEMENT_PREPARE_TRANSACTION,
	STATEMENT_COMMIT_PREPARED,
	STATEMENT_ROLLBACK_PREPARED,
};

enum statement_target {
	STATEMENT_TARGET_NONE, /* not a REINDEX */
	STATEMENT_TARGET_INDEX,
	STATEMENT_TARGET_TABLE,
	STATEMENT_TARGET_SCHEMA,
	STATEMENT_TARGET_DATABASE,
	STATEMENT_TARGET_SYSTEM,
};

#define STATEMENT_BLANKS 5

/* Details of an aside statement. A name that is absent is an empty slice; those present can be
 * given to sql_path_decode(). */
struct statement_aside {
	enum statement_target target;
	bool unique;
	bool if_exists; /* of the index (DROP) or of the table (DETACH) */
	bool if_not_exists;
	bool only;
	bool cascade;
	bool calls; /* CREATE INDEX: has an expression or a predicate, which may call functions */
	size_t n_names;		/* index names in a DROP INDEX */
	struct slice index;	/* CREATE INDEX (may be absent), the first of DROP, REINDEX INDEX */
	struct slice table;	/* CREATE INDEX, REINDEX TABLE, DETACH */
	struct slice partition; /* DETACH */
	struct slice scope;	/* REINDEX SCHEMA, DATABASE, SYSTEM (absent since version 16) */
	/* The tokens to overwrite with blanks so that the statement is valid and no longer
	 * concurrent: the keyword, and of REINDEX's option also its value and its comma or its
	 * parentheses. */
	struct slice blanks[STATEMENT_BLANKS];
	size_t n_blanks;
};

enum statement_isolation {
	STATEMENT_ISOLATION_UNSAID,
	STATEMENT_ISOLATION_READ_COMMITTED, /* and READ UNCOMMITTED, which is the same */
	STATEMENT_ISOLATION_REPEATABLE_READ,
	STATEMENT_ISOLATION_SERIALIZABLE,
};

enum statement_access {
	STATEMENT_ACCESS_UNSAID,
	STATEMENT_ACCESS_READ_ONLY,
	STATEMENT_ACCESS_READ_WRITE,
};

/* Details of transaction control. */
struct statement_control {
	enum statement_isolation isolation; /* BEGIN; the last one said counts */
	enum statement_access access;	    /* BEGIN; the last one said counts */
	bool chain;			    /* COMMIT, ROLLBACK .. AND CHAIN */
	struct slice savepoint;		    /* SAVEPOINT, RELEASE, ROLLBACK TO */
};

struct statement {
	enum statement_kind kind;
	struct slice text; /* first to last token, without the semicolon; empty if EMPTY */
	size_t offset;	   /* where `text` begins in the whole text, in bytes */
	size_t start;	   /* right behind the semicolon before it, or 0 */
	size_t end;	   /* its own semicolon, or the end of the whole text */
	struct statement_aside aside;	  /* all zero for other kinds */
	struct statement_control control; /* all zero for other kinds */
};

bool statement_is_aside(const struct statement *s);
bool statement_is_control(const struct statement *s);
/* The tag in PostgreSQL's CommandComplete: "CREATE INDEX"; NULL unless it is an aside statement. */
const char *statement_command_tag(const struct statement *s);
/* What PostgreSQL calls it when it refuses it in a transaction: "CREATE INDEX CONCURRENTLY"; NULL
 * unless it is an aside statement. */
const char *statement_name(const struct statement *s);
/* The text of an aside statement with CONCURRENTLY blanked out: as long as before, so that error
 * positions stay true. */
void statement_write_plain(struct bytes *out, const struct statement *s);

/* Its slices point into a text at `from`; now into the copy of that text at `to`. */
void statement_move(struct statement *s, const uint8_t *from, const uint8_t *to);

/* Walks over the statements of a text. A text with n splitting semicolons has n + 1 pieces, the
 * last of them often EMPTY. Together with their semicolons the pieces are the text. */
struct statement_iterator {
	struct sql_lexer lexer;
	size_t start; /* of the next piece */
	bool done;
	bool unsure; /* something was met that leaves in doubt where statements end */
};

void statement_iterator_init(
	struct statement_iterator *it, struct slice text, struct sql_dialect dialect);
/* The next piece; false when there is none. The piece in which `unsure` turns true is OTHER. */
bool statement_next(struct statement_iterator *it, struct statement *out);

/* The whole text at a glance. When `unsure`, PostgreSQL would most likely refuse the text before it
 * ran any of it: it must go to the server in one piece. */
struct statement_summary {
	bool unsure;
	size_t n_pieces; /* without the empty ones */
	size_t n_asides;
	size_t n_controls;
};

struct statement_summary statement_summarise(struct slice text, struct sql_dialect dialect);
/* The first statement that is not empty; for a Parse message, which holds at most one. False when
 * there is none. Reads no further than that statement. */
bool statement_first(struct slice text, struct sql_dialect dialect, struct statement *out);

#endif
