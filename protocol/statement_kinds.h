/*
 * statement_kinds.h - the readers of the kinds of statements. Private to the statement*.c files.
 */
#ifndef PGASIDE_STATEMENT_KINDS_H
#define PGASIDE_STATEMENT_KINDS_H

#include "statement_reader.h"

/* Each reads the rest of a statement, behind its first word, and sets kind and details. False when
 * it is not what it seemed; what was set until then is worthless. */
bool statement_read_create(struct reader *r, struct statement *s);
bool statement_read_drop(struct reader *r, struct statement *s);
bool statement_read_reindex(struct reader *r, struct statement *s);
bool statement_read_alter(struct reader *r, struct statement *s);

bool statement_read_begin(struct reader *r, struct statement *s);
bool statement_read_start(struct reader *r, struct statement *s);
bool statement_read_commit(struct reader *r, struct statement *s);
bool statement_read_end(struct reader *r, struct statement *s);
bool statement_read_rollback(struct reader *r, struct statement *s);
bool statement_read_abort(struct reader *r, struct statement *s);
bool statement_read_savepoint(struct reader *r, struct statement *s);
bool statement_read_release(struct reader *r, struct statement *s);
bool statement_read_prepare(struct reader *r, struct statement *s);

#endif
