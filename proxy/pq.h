/*
 * pq.h - libpq on a worker's event loop: the only file that knows libpq.
 *
 * A pq is one connection that never blocks: connecting, one statement at a time, its notices, its
 * end. Callbacks come from the loop, never from inside a call of the owner. After pq_close() none
 * comes.
 */
#ifndef PGASIDE_PQ_H
#define PGASIDE_PQ_H

#include <stdbool.h>

#include "bytes.h"
#include "err.h"

struct pq;
struct worker;

/* What a statement gave, borrowed inside the callback. */
struct pq_result {
	bool ok;
	bool lost;		   /* the connection is gone: nothing more can be asked */
	char sqlstate[6];	   /* of the error, "" when ok */
	const struct bytes *error; /* the body of an ErrorResponse, when not ok */
	const void *rows;	   /* for pq_value() */
	int n_rows;
};

/* A column of a row as text; "" for a NULL, and for what a server that lies has not sent. Borrowed
 * like the result. */
const char *pq_value(const struct pq_result *r, int row, int column);

struct pq_events {
	/* The connection stands or, with `e`, has failed; `e` has the server's SQLSTATE where it
	 * said one. */
	void (*connected)(void *owner, const struct err *e);
	/* The body of a NoticeResponse. */
	void (*notice)(void *owner, struct slice body);
};

typedef void (*pq_result_fn)(void *owner, const struct pq_result *r);
typedef void (*pq_rows_fn)(void *owner, unsigned question, const struct pq_result *r);

struct pq_parameter {
	const char *keyword;
	const char *value;
};

/*
 * Begins to connect; `parameters` ends with a NULL keyword and is copied. The address must be
 * numeric (hostaddr) or a socket directory, so that nothing is looked up here. `timeout_ms` 0: no
 * limit. NULL without memory or threads. Notices of the log-in are not told.
 */
struct pq *pq_connect(struct worker *w, const struct pq_parameter *parameters, unsigned timeout_ms,
	const struct pq_events *events, void *owner);
/* Sends one statement as a simple Query; `done` is called once. Only when the one before has ended.
 */
void pq_query(struct pq *pq, const char *sql, pq_result_fn done, void *owner);
/* Several statements in one Query: `rows` is called for each that has rows, in their order from 0,
 * and must not close the pq; then `done`, as ever. */
void pq_script(struct pq *pq, const char *sql, pq_rows_fn rows, pq_result_fn done, void *owner);
/* One statement in the extended protocol, with text parameters; NULL values are NULLs. */
void pq_query_params(struct pq *pq, const char *sql, const char *const *values, int n,
	pq_result_fn done, void *owner);
/* From now on a statement that is not answered within `ms` is as lost as its connection; 0: waits.
 */
void pq_limit(struct pq *pq, unsigned ms);
/* The statement that runs is lost: `done` is called with that. From the loop only. */
void pq_give_up(struct pq *pq);
/* Asks the server by a connection of libpq's own to cancel what runs; it fails with 57014 then, or
 * has succeeded before. Returns at once, and knows nothing of how that went. */
void pq_cancel(struct pq *pq);
bool pq_is_connected(const struct pq *pq);
bool pq_is_busy(const struct pq *pq);
/* Nothing has come since the last answer: not the connection's end either. */
bool pq_is_quiet(const struct pq *pq);
int pq_backend_pid(const struct pq *pq);
/* Closes at once; a statement that runs goes on in the server. Callable from inside callbacks.
 * Takes NULL. */
void pq_close(struct pq *pq);

/*
 * Forgets the variables that libpq would take parameters from behind our back (PGOPTIONS,
 * PGSSLROOTCERT, ..): the connections of an aside are to be like the others. Before any thread
 * runs.
 */
void pq_forget_environment(void);
/* Whether sslrootcert=system means anything to it. */
bool pq_knows_system_roots(void);

/*
 * Reads a libpq URI or keyword string and calls `each` for what it sets. False when libpq cannot
 * read it; the text does not repeat the string.
 */
bool pq_parse_conninfo(const char *conninfo,
	bool (*each)(void *arg, const char *keyword, const char *value, struct err *e), void *arg,
	struct err *e);

#endif
