/*
 * talk.h - one conversation, held twice and compared.
 *
 * What PostgreSQL would say to an aside statement if it allowed it is known: it allows the same one
 * without CONCURRENTLY. So a shape is said to PostgreSQL directly with that, and through pgaside
 * with CONCURRENTLY, whole and in single bytes; answers, statuses, error positions and what is left
 * in the catalog must be the same.
 */
#ifndef PGASIDE_TESTS_TALK_H
#define PGASIDE_TESTS_TALK_H

#include "fixture.h"

/* One run of a shape. */
struct talk {
	struct wire *w;
	const char *word; /* "CONCURRENTLY", or as many blanks */
	void (*send)(struct wire *w);
	char seen[8192];
	char sql[1024];
};

struct shape {
	const char *name;
	void (*say)(struct talk *t);
};

/* A group setup: a cluster, and a pgaside that says nothing of its own. */
int talk_start(void **state);
/* Each shape finds the table of fresh_table(). */
void talk_compare(const struct shape *shapes, size_t n);

/* `before`, the word or nothing, `after`; good until the next call. */
const char *with(struct talk *t, const char *before, const char *after);
/* CREATE INDEX i ON t (id) */
const char *create(struct talk *t);
/* Sends what is queued and reads up to the nth ReadyForQuery. */
void hear(struct talk *t, unsigned n_ready);
/* The same up to a word of the transcript. */
void hear_until(struct talk *t, const char *word);
/* A Query and its answer. */
void query(struct talk *t, const char *sql);
/* Queues Bind, Describe, Execute of the unnamed portal; the second with Parse before. */
void bind_and_execute(struct talk *t, const char *statement, unsigned format);
void parse_to_execute(struct talk *t, const char *sql);

#endif
