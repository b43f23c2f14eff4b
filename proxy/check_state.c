#include "check_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void set_name(struct sql_name *name, const char *text)
{
	name->len = strlen(text);
	memcpy(name->text, text, name->len + 1);
}

void check_state_init(struct check_state *s)
{
	*s = (struct check_state){.status = 'I'};
	set_name(&s->schema, "public");
}

void check_state_release(struct check_state *s)
{
	free(s->relations);
	free(s->texts);
	s->relations = NULL;
	s->texts = NULL;
	s->n_relations = s->n_texts = 0;
}

static void *copy_array(const void *from, size_t n, size_t size)
{
	void *to = malloc(n > 0 ? n * size : 1);

	if (to && n > 0)
		memcpy(to, from, n * size);
	return to;
}

void check_state_copy(struct check_state *to, struct check_state *from)
{
	*to = *from;
	to->relations = copy_array(from->relations, from->n_relations, sizeof(*from->relations));
	to->texts = copy_array(from->texts, from->n_texts, sizeof(*from->texts));
	to->relations_room = from->n_relations;
	to->texts_room = from->n_texts;
	if (to->relations && to->texts)
		return;
	check_state_release(to);
	to->failed = from->failed = true;
}

/* The array with room for one more; NULL, and the array as it was, without memory. */
static void *grow(void *array, size_t n, size_t *room, size_t size)
{
	size_t more = *room > 0 ? *room * 2 : 32;
	void *grown;

	if (n < *room)
		return array;
	grown = realloc(array, more * size);
	if (grown)
		*room = more;
	return grown;
}

static bool read_path(const struct check_state *s, struct slice text, struct sql_dialect dialect,
	struct sql_name *schema, struct sql_name *name)
{
	struct sql_path path;

	if (!sql_path_decode(text, dialect, &path))
		return false;
	*name = path.parts[path.n_parts - 1];
	*schema = path.n_parts > 1 ? path.parts[path.n_parts - 2] : s->schema;
	return true;
}

static bool is_named(const struct check_relation *r, const struct sql_name *schema,
	const struct sql_name *name, bool temporary)
{
	return !r->dropped && r->thing != EFFECT_OBJECT && sql_name_equal(&r->name, name) &&
	       (temporary ? r->temporary : sql_name_equal(&r->schema, schema));
}

static struct check_relation *find(struct check_state *s, const struct sql_name *schema,
	const struct sql_name *name, bool temporary)
{
	for (size_t i = s->n_relations; i-- > 0;)
		if (is_named(&s->relations[i], schema, name, temporary))
			return &s->relations[i];
	return NULL;
}

static bool is_qualified(struct slice text)
{
	return memchr(text.data, '.', text.len) != NULL;
}

struct check_relation *check_find(
	struct check_state *s, struct slice text, struct sql_dialect dialect)
{
	struct sql_name schema, name;
	struct check_relation *r;

	if (text.len == 0 || !read_path(s, text, dialect, &schema, &name))
		return NULL;
	/* Temporary ones hide others of their name. */
	r = is_qualified(text) && strcmp(schema.text, "pg_temp") != 0
		    ? NULL
		    : find(s, &schema, &name, true);
	return r ? r : find(s, &schema, &name, false);
}

/* Names by value: they may be another relation's, which moves. */
static struct check_relation *add(struct check_state *s, struct sql_name schema,
	struct sql_name name, enum effect_thing thing)
{
	struct check_relation *r = NULL;

	if (s->n_relations < CHECK_RELATIONS)
		r = grow(s->relations, s->n_relations, &s->relations_room, sizeof(*r));
	if (!r) {
		s->failed = true;
		return NULL;
	}
	s->relations = r;
	r = &s->relations[s->n_relations++];
	*r = (struct check_relation){.schema = schema, .name = name, .thing = thing};
	return r;
}

static struct check_relation *add_path(struct check_state *s, struct slice text,
	struct sql_dialect dialect, enum effect_thing thing)
{
	struct sql_name schema, name;

	if (text.len == 0 || !read_path(s, text, dialect, &schema, &name))
		return NULL;
	return add(s, schema, name, thing);
}

struct check_relation *check_find_or_add(struct check_state *s, struct slice text,
	struct sql_dialect dialect, enum effect_thing thing)
{
	struct check_relation *r = check_find(s, text, dialect);

	return r ? r : add_path(s, text, dialect, thing);
}

struct check_relation *check_add_index(struct check_state *s, struct slice text,
	struct sql_dialect dialect, const struct check_relation *table)
{
	size_t at = (size_t)(table - s->relations);
	struct check_relation *r = add_path(s, text, dialect, EFFECT_INDEX);

	if (!r)
		return NULL;
	r->table = at + 1;
	r->schema = s->relations[at].schema;
	r->temporary = s->relations[at].temporary;
	return r;
}

struct check_relation *check_table_of(struct check_state *s, const struct check_relation *index)
{
	return index->table > 0 ? &s->relations[index->table - 1] : NULL;
}

bool check_is_gone(struct check_state *s, struct slice text, struct sql_dialect dialect)
{
	struct sql_name schema, name;

	if (text.len == 0 || check_find(s, text, dialect) ||
		!read_path(s, text, dialect, &schema, &name))
		return false;
	for (size_t i = s->n_relations; i-- > 0;) {
		const struct check_relation *r = &s->relations[i];

		if (r->dropped && r->thing != EFFECT_OBJECT && sql_name_equal(&r->name, &name) &&
			sql_name_equal(&r->schema, &schema))
			return true;
	}
	return false;
}

bool check_is_own(const struct check_relation *r)
{
	return r->temporary || r->marks[MARK_MADE] > 0;
}

static void mark(struct check_relation *r, enum check_mark m, unsigned line)
{
	if (r && r->marks[m] == 0)
		r->marks[m] = line;
}

static enum check_mark mark_of(enum effect_lock lock)
{
	switch (lock) {
	case EFFECT_LOCK_WRITE:
		return MARK_WRITTEN;
	case EFFECT_LOCK_DEFINITION:
		return MARK_DEFINITION;
	case EFFECT_LOCK_STRONG:
		break;
	}
	return MARK_STRONG;
}

/* With a table go its indexes. */
static void drop(struct check_state *s, struct check_relation *r)
{
	size_t table = (size_t)(r - s->relations) + 1;

	assert(s->relations); /* r is one of them */
	r->dropped = true;
	for (size_t i = 0; i < s->n_relations; i++)
		if (s->relations[i].table == table)
			s->relations[i].dropped = true;
}

/* DROP INDEX and REINDEX lock the table, too. */
static void touch(struct check_state *s, const struct statement_effect *e,
	const struct effect_touch *t, struct sql_dialect dialect, unsigned line)
{
	struct check_relation *r = check_find_or_add(s, t->name, dialect, e->touched);
	struct check_relation *table;

	if (!r)
		return;
	table = check_table_of(s, r);
	if (!check_is_own(r))
		mark(r, mark_of(t->lock), line);
	if (table && !check_is_own(table) && t->lock == EFFECT_LOCK_STRONG)
		mark(table, MARK_STRONG, line);
	if (t->drops)
		drop(s, r);
	if (t->partitioned)
		r->thing = EFFECT_PARTITIONED;
}

static void rename_to(struct check_state *s, const struct statement_effect *e,
	struct sql_dialect dialect, unsigned line)
{
	struct check_relation *r, *old;
	struct sql_name name;
	struct slice to = e->renamed_to.len > 0 ? e->renamed_to : e->moved_to;
	size_t at;

	if (to.len == 0 || e->n_touches == 0 || !sql_name_decode(to, dialect, &name))
		return;
	r = check_find(s, e->touches[0].name, dialect);
	if (!r)
		return;
	at = (size_t)(r - s->relations);
	/* What had the name is there no more. */
	old = add(s, s->relations[at].schema, s->relations[at].name, s->relations[at].thing);
	if (old)
		old->dropped = true;
	r = &s->relations[at];
	if (e->renamed_to.len > 0)
		r->name = name;
	else
		r->schema = name;
	mark(r, MARK_RENAMED, line);
}

static void make(struct check_state *s, const struct statement_effect *e,
	struct sql_dialect dialect, unsigned line)
{
	struct check_relation *r = NULL, *table;

	if (e->made == EFFECT_NOTHING || e->made_name.len == 0)
		return;
	if (e->made_if_not_exists && check_find(s, e->made_name, dialect))
		return;
	if (e->made == EFFECT_INDEX) {
		table = check_find_or_add(s, e->made_on, dialect, EFFECT_TABLE);
		r = table ? check_add_index(s, e->made_name, dialect, table) : NULL;
	} else {
		r = add_path(s, e->made_name, dialect, e->made);
	}
	if (!r)
		return;
	if (e->made_temporary) {
		r->temporary = true;
		set_name(&r->schema, "pg_temp");
	}
	r->perhaps = e->made_if_not_exists && line > 0;
	mark(r, MARK_MADE, line);
}

static void note_settings(
	struct check_state *s, const struct statement_effect *e, struct sql_dialect dialect)
{
	if (e->isolation != STATEMENT_ISOLATION_UNSAID) {
		s->next_isolation = e->sets_next ? e->isolation : s->next_isolation;
		s->isolation = e->sets_next ? s->isolation : e->isolation;
	}
	if (e->access != STATEMENT_ACCESS_UNSAID) {
		bool on = e->access == STATEMENT_ACCESS_READ_ONLY;

		s->next_read_only = e->sets_next ? on : s->next_read_only;
		s->read_only = e->sets_next ? s->read_only : on;
	}
	if (e->search_path.len > 0)
		sql_name_decode(e->search_path, dialect, &s->schema);
}

static void note_once(unsigned *line, bool happens, unsigned now)
{
	if (happens && *line == 0)
		*line = now;
}

static void note_cursors(struct check_state *s, const struct statement_effect *e, unsigned line)
{
	s->cursors += e->opens_cursor;
	s->cursors -= e->closes_cursor && s->cursors > 0;
	if (e->closes_all)
		s->cursors = 0;
	note_once(&s->cursor_line, e->opens_cursor, line);
	if (s->cursors == 0)
		s->cursor_line = 0;
}

static void keep_text(struct check_state *s, struct slice text, unsigned line)
{
	struct check_text *texts = grow(s->texts, s->n_texts, &s->texts_room, sizeof(*texts));

	if (!texts) {
		s->failed = true;
		return;
	}
	s->texts = texts;
	s->texts[s->n_texts++] = (struct check_text){.text = text, .line = line};
}

static void forget_marks(struct check_state *s)
{
	for (size_t i = 0; i < s->n_relations; i++) {
		struct check_relation *r = &s->relations[i];

		r->dropped = r->dropped || r->marks[MARK_OWED_DROP] > 0;
		r->perhaps = false;
		memset(r->marks, 0, sizeof(r->marks));
	}
	s->n_texts = 0;
	s->cursors = 0;
	s->cursor_line = s->snapshot_line = s->object_line = s->calls_line = s->all_line =
		s->code_line = 0;
	s->failed_line = 0;
	s->owes = 0;
}

void check_apply(struct check_state *s, const struct statement_effect *e, struct slice text,
	struct sql_dialect dialect, unsigned line)
{
	/* Outside of a transaction what is done is done: there is no line to remember. */
	unsigned mark_line = s->status == 'T' ? line : 0;

	for (size_t i = 0; i < e->n_touches; i++)
		touch(s, e, &e->touches[i], dialect, mark_line);
	rename_to(s, e, dialect, mark_line);
	make(s, e, dialect, mark_line);
	note_settings(s, e, dialect);
	if (s->status != 'T')
		return;
	note_cursors(s, e, line);
	note_once(&s->snapshot_line, e->exports_snapshot, line);
	note_once(&s->object_line, e->locks_object, line);
	note_once(&s->calls_line, e->redefines, line);
	note_once(&s->all_line, e->touches_more, line);
	note_once(&s->code_line, e->runs_code, line);
	keep_text(s, text, line);
}

void check_begin(struct check_state *s)
{
	s->status = 'T';
	s->isolation = s->next_isolation;
	s->read_only = s->next_read_only;
}

void check_commit(struct check_state *s)
{
	forget_marks(s);
	s->status = 'I';
}
