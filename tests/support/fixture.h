/*
 * fixture.h - what the integration programs have in common: a cluster, a pgaside in front of it,
 * and what must be true after every test.
 */
#ifndef PGASIDE_TESTS_FIXTURE_H
#define PGASIDE_TESTS_FIXTURE_H

#include "cluster.h"
#include "db.h"
#include "patience.h"
#include "proxy.h"
#include "wire.h"

extern struct cluster cluster;
extern struct proxy *proxy; /* in front of it, with proxy_workers() */

#define TEST(name) cmocka_unit_test_teardown(name, fixture_tidy)
/* The same, with fresh_table() before it. */
#define FRESH_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_fresh, fixture_tidy)
#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* Starts both; `options` are cluster.sh's. For a group setup. */
int fixture_start(const char *options);
/* A group teardown: pgaside must end with 0. */
int fixture_stop(void **state);
/*
 * A test's teardown: closes the test's connections and programs, and fails the test unless all that
 * it has started is gone from the server soon, no INVALID index is left, and pgaside still runs.
 */
int fixture_tidy(void **state);
/* A test's setup: fresh_table(). */
int fixture_fresh(void **state);
/* libpq's URL of the cluster; `more` is appended ("?sslmode=disable"). In a static buffer. */
const char *fixture_url(const char *more);
/* A question to the server over a connection of the fixture's own, as superuser; as db_text(). */
const char *ask(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Whether the answer to it is that. */
bool ask_is(const char *answer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether the server process waits, and for that: see wait_event of pg_stat_activity. */
bool waits_in(uint32_t pid, const char *event);
/* Runs something over that connection. */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Empties schema public of the database and makes the table t (id int, v text) with 1000 rows,
 * which app owns. */
void fresh_table(void);
/*
 * A build that takes as long as the test wants: the expression slow(id) waits while somebody holds
 * a lock, which is in nobody else's way. hold_builds() takes it and makes the function, in schema
 * public.
 */
PGconn *hold_builds(void);
/* Some build waits for it. */
bool build_is_held(void);
/* One aside has a watch connection that has looked. */
bool aside_is_watched(void);
/* Both. */
bool build_is_watched(void);
void release_builds(PGconn *holder);
/* "t" if the index is valid and ready, "f" if not, "" if there is none. */
const char *index_state(const char *name);

#endif
