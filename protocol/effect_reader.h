/*
 * effect_reader.h - what the files of statement_effect share. Private to them.
 */
#ifndef PGASIDE_EFFECT_READER_H
#define PGASIDE_EFFECT_READER_H

#include "statement_effect.h"
#include "statement_reader.h"

void effect_touch(struct statement_effect *e, struct slice name, enum effect_lock lock);
/* [ONLY] path, ONLY (path) */
bool effect_table(struct reader *r, struct slice *name);
/* The same, as a touch. */
void effect_touch_path(struct reader *r, struct statement_effect *e, enum effect_lock lock);
/* The one touched last shows itself to be a partitioned table. */
void effect_is_partitioned(struct statement_effect *e);
/* [ONLY] path [*] [, ..] */
void effect_touch_paths(struct reader *r, struct statement_effect *e, enum effect_lock lock);
/* Goes on behind the word, which is not in parentheses; false when it does not come. */
bool effect_skip_to(struct reader *r, const char *word);
void effect_skip_if_exists(struct reader *r);

/* Each reads the rest of a statement, behind its first word. */
void effect_read_create(struct reader *r, struct statement_effect *e);
void effect_read_alter(struct reader *r, struct statement_effect *e);
void effect_read_drop(struct reader *r, struct statement_effect *e);
/* Data: what is written, wherever in the statement that stands; `r` is at its first word. */
void effect_read_data(struct reader *r, struct statement_effect *e);
void effect_read_copy(struct reader *r, struct statement_effect *e);
void effect_read_set(struct reader *r, struct statement_effect *e);

#endif
