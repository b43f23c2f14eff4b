/*
 * paced.h - a build that goes on in four steps, when the test says so.
 *
 * The table `paced` (id int, v text) has rows enough for a quarter of its blocks in each step. An
 * index on the expression pace(id) waits at each quarter for a lock that the holder has.
 */
#ifndef PGASIDE_TESTS_PACED_H
#define PGASIDE_TESTS_PACED_H

#include "fixture.h"

#define PACED_INDEX "CREATE INDEX CONCURRENTLY paced_idx ON paced (pace(id))"

/* Makes table and function, in schema public, and takes all locks. */
PGconn *paced_hold(void);
/* A build waits at the end of the nth quarter, 1 to 3. */
bool paced_is_at(int quarter);
/* Lets it go on to the end of the next one; behind the last, to its own end. */
void paced_release(PGconn *holder, int quarter);

#endif
