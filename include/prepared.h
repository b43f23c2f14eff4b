/*
 * prepared.h - which prepared statements and portals hold an aside statement.
 *
 * Execute names only a portal; the text behind it was said earlier, in Parse. This keeps the texts
 * of aside statements, and of nothing else, under the names that Parse and Bind gave them. What a
 * failed pipeline has recorded is forgotten, so that an entry always stands for what the server
 * has: `batch` is the dialogue's ready_sent when the message was sent. When it cannot be sure, it
 * forgets, and PostgreSQL's own refusal reaches the client.
 */
#ifndef PGASIDE_PREPARED_H
#define PGASIDE_PREPARED_H

#include "slice.h"

struct prepared;

/* NULL without memory. */
struct prepared *prepared_new(void);
void prepared_free(struct prepared *p);

/* A Parse was sent: `sql` is copied; a text that is no aside statement has data NULL. */
void prepared_parse(struct prepared *p, struct slice name, struct slice sql, uint64_t batch);
/* A Bind was sent. */
void prepared_bind(struct prepared *p, struct slice portal, struct slice statement, uint64_t batch);
/* A Close was sent, `kind` 'S' or 'P'. */
void prepared_close(struct prepared *p, uint8_t kind, struct slice name);
/* A simple Query was sent: the unnamed statement and portal are gone. */
void prepared_query(struct prepared *p);
/* The pipeline that ends with this ReadyForQuery has failed. */
void prepared_batch_failed(struct prepared *p, uint64_t batch);
/* The transaction has ended with this batch, and every portal made until then with it. */
void prepared_transaction_ended(struct prepared *p, uint64_t batch);

/*
 * The aside statement behind a portal: the prepared statement's name and its text, borrowed until
 * the next change. False when the portal holds none.
 */
bool prepared_find(
	const struct prepared *p, struct slice portal, struct slice *statement, struct slice *sql);
bool prepared_is_empty(const struct prepared *p);

#endif
