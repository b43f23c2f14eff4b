#include "prepared.h"

#include <stdlib.h>

#define MAX_ENTRIES 256u
#define MAX_TEXT (1024u * 1024u) /* bytes of names and texts in one session */

struct entry {
	struct entry *next; /* owned */
	uint64_t batch;
	size_t name_len;
	size_t statement_len; /* of a portal */
	size_t sql_len;
	uint8_t kind;	/* 'S' or 'P' */
	uint8_t text[]; /* the name, a portal's statement, the SQL */
};

struct prepared {
	struct entry *first; /* owned */
	unsigned count;
	size_t bytes;
};

struct prepared *prepared_new(void)
{
	return calloc(1, sizeof(struct prepared));
}

static struct slice name_of(const struct entry *e)
{
	return slice_of(e->text, e->name_len);
}

static struct slice statement_of(const struct entry *e)
{
	return slice_of(e->text + e->name_len, e->statement_len);
}

static struct slice sql_of(const struct entry *e)
{
	return slice_of(e->text + e->name_len + e->statement_len, e->sql_len);
}

static size_t size_of(const struct entry *e)
{
	return e->name_len + e->statement_len + e->sql_len;
}

static void remove_at(struct prepared *p, struct entry **place)
{
	struct entry *e = *place;

	*place = e->next;
	p->count--;
	p->bytes -= size_of(e);
	free(e);
}

void prepared_free(struct prepared *p)
{
	if (!p)
		return;
	while (p->first)
		remove_at(p, &p->first);
	free(p);
}

static struct entry *find(const struct prepared *p, uint8_t kind, struct slice name)
{
	for (struct entry *e = p->first; e; e = e->next)
		if (e->kind == kind && slice_equal(name_of(e), name))
			return e;
	return NULL;
}

void prepared_close(struct prepared *p, uint8_t kind, struct slice name)
{
	for (struct entry **at = &p->first; *at; at = &(*at)->next) {
		if ((*at)->kind == kind && slice_equal(name_of(*at), name)) {
			remove_at(p, at);
			return;
		}
	}
}

static void copy_slice(uint8_t *to, struct slice from)
{
	if (from.len > 0)
		memcpy(to, from.data, from.len);
}

/* Drivers that never close their statements would fill it up: the oldest is least likely to be met
 * again. */
static void remove_oldest(struct prepared *p)
{
	struct entry **at = &p->first;

	while ((*at)->next)
		at = &(*at)->next;
	remove_at(p, at);
}

/*
 * Takes the sizes and the kind from `like`; the three texts go behind it. They are copied before
 * room is made: the statement that a portal is bound to may be the oldest.
 */
static void add(struct prepared *p, const struct entry *like, const struct slice texts[3])
{
	struct entry *e;
	uint8_t *at;

	if (size_of(like) > MAX_TEXT)
		return;
	e = malloc(sizeof(*e) + size_of(like));
	if (!e)
		return;
	*e = *like;
	at = e->text;
	for (int i = 0; i < 3; i++) {
		copy_slice(at, texts[i]);
		at += texts[i].len;
	}
	while (p->count >= MAX_ENTRIES || size_of(e) > MAX_TEXT - p->bytes)
		remove_oldest(p);
	e->next = p->first;
	p->first = e;
	p->count++;
	p->bytes += size_of(e);
}

void prepared_parse(struct prepared *p, struct slice name, struct slice sql, uint64_t batch)
{
	prepared_close(p, 'S', name);
	if (sql.data)
		add(p,
			&(struct entry){.kind = 'S',
				.batch = batch,
				.name_len = name.len,
				.sql_len = sql.len},
			(struct slice[3]){name, {0}, sql});
}

void prepared_bind(struct prepared *p, struct slice portal, struct slice statement, uint64_t batch)
{
	const struct entry *s = find(p, 'S', statement);

	prepared_close(p, 'P', portal);
	if (s)
		add(p,
			&(struct entry){.kind = 'P',
				.batch = batch,
				.name_len = portal.len,
				.statement_len = statement.len,
				.sql_len = s->sql_len},
			(struct slice[3]){portal, statement, sql_of(s)});
}

void prepared_query(struct prepared *p)
{
	prepared_close(p, 'S', slice_of(NULL, 0));
	prepared_close(p, 'P', slice_of(NULL, 0));
}

void prepared_batch_failed(struct prepared *p, uint64_t batch)
{
	struct entry **at = &p->first;

	while (*at) {
		if ((*at)->batch == batch)
			remove_at(p, at);
		else
			at = &(*at)->next;
	}
}

void prepared_transaction_ended(struct prepared *p, uint64_t batch)
{
	struct entry **at = &p->first;

	while (*at) {
		if ((*at)->kind == 'P' && (*at)->batch <= batch)
			remove_at(p, at);
		else
			at = &(*at)->next;
	}
}

bool prepared_find(
	const struct prepared *p, struct slice portal, struct slice *statement, struct slice *sql)
{
	const struct entry *e = find(p, 'P', portal);

	if (e) {
		*statement = statement_of(e);
		*sql = sql_of(e);
	}
	return e != NULL;
}

bool prepared_is_empty(const struct prepared *p)
{
	return p->count == 0;
}
