/*
 * effect_define.c - the effects of CREATE, ALTER and DROP.
 */
#include "effect_reader.h"

static void touch_parent(struct reader *r, struct statement_effect *e)
{
	effect_touch_path(r, e, EFFECT_LOCK_STRONG);
	effect_is_partitioned(e);
}

/* "PARTITION BY", "PARTITION OF parent", "REFERENCES table", "INHERITS (..)": behind the name. */
static void read_table_body(struct reader *r, struct statement_effect *e)
{
	size_t depth = 0;

	for (; reader_at_token(r); reader_advance(r)) {
		while (reader_accept_word(r, "references"))
			effect_touch_path(r, e, EFFECT_LOCK_STRONG);
		if (depth == 0 && reader_accept_words(r, "partition", "by"))
			e->made = EFFECT_PARTITIONED;
		else if (depth == 0 && reader_accept_words(r, "partition", "of"))
			touch_parent(r, e);
		else if (depth == 0 && reader_accept_word(r, "inherits") &&
			 reader_accept_char(r, '('))
			effect_touch_paths(r, e, EFFECT_LOCK_DEFINITION);
		depth += reader_at_char(r, '(');
		depth -= depth > 0 && reader_at_char(r, ')');
	}
}

static void read_made_name(struct reader *r, struct statement_effect *e)
{
	e->made_if_not_exists = reader_accept_words(r, "if", "not");
	if (e->made_if_not_exists)
		reader_accept_word(r, "exists");
	reader_path(r, &e->made_name);
}

static void read_index(struct reader *r, struct statement_effect *e)
{
	e->made = EFFECT_INDEX;
	if (!reader_at_word(r, "on"))
		read_made_name(r, e);
	if (!reader_accept_word(r, "on"))
		return;
	if (effect_table(r, &e->made_on))
		effect_touch(e, e->made_on, EFFECT_LOCK_STRONG);
}

static void read_view(struct reader *r, struct statement_effect *e, bool replaces)
{
	e->made = EFFECT_VIEW;
	read_made_name(r, e);
	if (!replaces)
		return;
	effect_touch(e, e->made_name, EFFECT_LOCK_STRONG);
	e->touched = EFFECT_VIEW;
}

/* CREATE SUBSCRIPTION makes a slot on the other server, unless it is told not to. */
static bool makes_slot(struct reader *r)
{
	for (; reader_at_token(r); reader_advance(r))
		if ((reader_accept_word(r, "create_slot") || reader_accept_word(r, "connect")) &&
			reader_accept_char(r, '=') && reader_at_word(r, "false"))
			return false;
	return true;
}

static void read_refused(struct reader *r, struct statement_effect *e)
{
	if (reader_accept_word(r, "database"))
		e->refused = "CREATE DATABASE";
	else if (reader_accept_word(r, "tablespace"))
		e->refused = "CREATE TABLESPACE";
	else if (reader_accept_word(r, "subscription") && makes_slot(r))
		e->refused = "CREATE SUBSCRIPTION with a replication slot";
}

/* A thing that belongs to a table, which a word stands before. */
static bool read_attached(struct reader *r, struct statement_effect *e)
{
	static const struct {
		const char *word, *before;
		enum effect_lock lock;
	} things[] = {{"trigger", "on", EFFECT_LOCK_STRONG}, {"policy", "on", EFFECT_LOCK_STRONG},
		{"rule", "to", EFFECT_LOCK_STRONG}, {"statistics", "from", EFFECT_LOCK_DEFINITION},
		{"publication", "table", EFFECT_LOCK_DEFINITION}};

	for (size_t i = 0; i < sizeof(things) / sizeof(things[0]); i++) {
		if (!reader_accept_word(r, things[i].word))
			continue;
		if (effect_skip_to(r, things[i].before))
			effect_touch_path(r, e, things[i].lock);
		return true;
	}
	return false;
}

/* What an index may call, and an extension, which brings such things. */
static bool at_callable(const struct reader *r)
{
	static const char *const words[] = {
		"function", "procedure", "routine", "aggregate", "extension", "text"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (reader_at_word(r, words[i]))
			return true;
	return false;
}

static bool read_object(struct reader *r, struct statement_effect *e)
{
	static const char *const objects[] = {"aggregate", "collation", "domain", "extension",
		"function", "operator", "procedure", "schema", "type"};

	e->redefines = at_callable(r);
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		if (!reader_accept_word(r, objects[i]))
			continue;
		e->made = EFFECT_OBJECT;
		if (!reader_accept_word(r, "class"))
			reader_accept_word(r, "family");
		read_made_name(r, e);
		return true;
	}
	return false;
}

static bool accept_modifier(struct reader *r, bool *temporary)
{
	static const char *const words[] = {
		"global", "local", "unlogged", "recursive", "unique", "foreign", "constraint"};

	if (reader_accept_word(r, "temp") || reader_accept_word(r, "temporary")) {
		*temporary = true;
		return true;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (reader_accept_word(r, words[i]))
			return true;
	return false;
}

void effect_read_create(struct reader *r, struct statement_effect *e)
{
	bool replaces = reader_accept_words(r, "or", "replace");

	while (accept_modifier(r, &e->made_temporary))
		;
	if (reader_accept_word(r, "table") || reader_accept_words(r, "materialized", "view")) {
		e->made = EFFECT_TABLE;
		read_made_name(r, e);
		read_table_body(r, e);
	} else if (reader_accept_word(r, "index")) {
		read_index(r, e);
	} else if (reader_accept_word(r, "view") || reader_accept_word(r, "sequence")) {
		read_view(r, e, replaces);
	} else if (!read_attached(r, e) && !read_object(r, e)) {
		read_refused(r, e);
	}
}

/* Actions of ALTER TABLE that lock others' changes out, but no reader and no writer. */
static enum effect_lock lock_of_action(const struct reader *at)
{
	struct reader r = *at;
	struct slice column;

	if (reader_accept_words(&r, "validate", "constraint") ||
		reader_accept_words(&r, "cluster", "on") ||
		(reader_accept_word(&r, "set") && reader_at_char(&r, '(')))
		return EFFECT_LOCK_DEFINITION;
	if (!reader_accept_word(&r, "alter"))
		return EFFECT_LOCK_STRONG;
	reader_accept_word(&r, "column");
	if (reader_name(&r, &column) && reader_accept_words(&r, "set", "statistics"))
		return EFFECT_LOCK_DEFINITION;
	return EFFECT_LOCK_STRONG;
}

/* The strongest of all actions, and tables that they refer to. */
static void read_actions(struct reader *r, struct statement_effect *e, struct slice table)
{
	enum effect_lock lock = lock_of_action(r);
	size_t depth = 0;

	for (; reader_at_token(r); reader_advance(r)) {
		while (reader_accept_word(r, "references"))
			effect_touch_path(r, e, EFFECT_LOCK_STRONG);
		depth += reader_at_char(r, '(');
		depth -= depth > 0 && reader_at_char(r, ')');
		if (depth == 0 && reader_accept_char(r, ',') && lock_of_action(r) > lock)
			lock = EFFECT_LOCK_STRONG;
	}
	effect_touch(e, table, lock);
}

/* ALTER TABLE and its kin, behind the name. */
static void read_table_actions(struct reader *r, struct statement_effect *e, struct slice table)
{
	if (reader_accept_words(r, "rename", "to")) {
		effect_touch(e, table, EFFECT_LOCK_STRONG);
		reader_name(r, &e->renamed_to);
	} else if (reader_accept_words(r, "set", "schema")) {
		effect_touch(e, table, EFFECT_LOCK_STRONG);
		reader_name(r, &e->moved_to);
	} else if (reader_accept_words(r, "attach", "partition")) {
		effect_touch(e, table, EFFECT_LOCK_DEFINITION);
		effect_is_partitioned(e);
		effect_touch_path(r, e, EFFECT_LOCK_STRONG);
	} else if (reader_accept_words(r, "detach", "partition")) {
		effect_touch(e, table, EFFECT_LOCK_STRONG);
		effect_is_partitioned(e);
		effect_touch_path(r, e, EFFECT_LOCK_STRONG);
	} else {
		read_actions(r, e, table);
	}
}

static void read_alter_relation(struct reader *r, struct statement_effect *e)
{
	struct slice name;

	effect_skip_if_exists(r);
	if (reader_accept_words(r, "all", "in")) {
		e->touches_more = true;
		return;
	}
	if (!effect_table(r, &name))
		return;
	reader_accept_char(r, '*');
	read_table_actions(r, e, name);
}

static void read_alter_index(struct reader *r, struct statement_effect *e)
{
	e->touched = EFFECT_INDEX;
	effect_skip_if_exists(r);
	effect_touch_path(r, e, EFFECT_LOCK_DEFINITION);
	if (reader_accept_words(r, "rename", "to"))
		reader_name(r, &e->renamed_to);
}

static bool refreshes(struct reader *r)
{
	bool does = false;

	for (; reader_at_token(r); reader_advance(r)) {
		does = does || reader_at_word(r, "publication");
		if (reader_at_word(r, "refresh") && sql_token_is_char(r->text, r->next, '=')) {
			reader_advance(r);
			reader_advance(r);
			if (reader_at_word(r, "false"))
				return false;
		}
	}
	return does;
}

/* Objects that are no relations: only their names, owners and schemas are under a lock. */
static void read_alter_object(struct reader *r, struct statement_effect *e)
{
	e->redefines = at_callable(r);
	for (; reader_at_token(r); reader_advance(r))
		if (reader_at_word(r, "rename") || reader_at_word(r, "owner") ||
			reader_accept_words(r, "set", "schema")) {
			e->locks_object = true;
			return;
		}
}

void effect_read_alter(struct reader *r, struct statement_effect *e)
{
	reader_accept_word(r, "materialized");
	reader_accept_word(r, "foreign");
	if (reader_accept_word(r, "table")) {
		read_alter_relation(r, e);
	} else if (reader_accept_word(r, "view") || reader_accept_word(r, "sequence")) {
		read_alter_relation(r, e);
		e->touched = EFFECT_VIEW;
	} else if (reader_accept_word(r, "index")) {
		read_alter_index(r, e);
	} else if (reader_accept_word(r, "system")) {
		e->refused = "ALTER SYSTEM";
	} else if (reader_accept_word(r, "database")) {
		if (effect_skip_to(r, "set") && reader_at_word(r, "tablespace"))
			e->refused = "ALTER DATABASE SET TABLESPACE";
	} else if (reader_accept_word(r, "subscription")) {
		if (refreshes(r))
			e->refused = "ALTER SUBSCRIPTION with a refresh";
	} else {
		read_alter_object(r, e);
	}
}

static void read_drop_relations(
	struct reader *r, struct statement_effect *e, enum effect_thing what)
{
	effect_skip_if_exists(r);
	e->touched = what;
	effect_touch_paths(r, e, EFFECT_LOCK_STRONG);
	for (size_t i = 0; i < e->n_touches; i++)
		e->touches[i].drops = true;
}

static void read_drop_other(struct reader *r, struct statement_effect *e)
{
	if (reader_accept_word(r, "trigger") || reader_accept_word(r, "policy") ||
		reader_accept_word(r, "rule")) {
		if (effect_skip_to(r, "on"))
			effect_touch_path(r, e, EFFECT_LOCK_STRONG);
	} else if (reader_accept_word(r, "database")) {
		e->refused = "DROP DATABASE";
	} else if (reader_accept_word(r, "tablespace")) {
		e->refused = "DROP TABLESPACE";
	} else if (reader_accept_word(r, "subscription")) {
		e->refused = "DROP SUBSCRIPTION with a replication slot";
	} else {
		e->locks_object = true;
		/* What is in a schema, or belongs to an extension or a role, is not told here. */
		e->touches_more = reader_at_word(r, "schema") || reader_at_word(r, "owned");
	}
}

void effect_read_drop(struct reader *r, struct statement_effect *e)
{
	reader_accept_word(r, "foreign");
	if (reader_accept_words(r, "materialized", "view") || reader_accept_word(r, "table"))
		read_drop_relations(r, e, EFFECT_TABLE);
	else if (reader_accept_word(r, "index"))
		read_drop_relations(r, e, EFFECT_INDEX);
	else if (reader_accept_word(r, "view") || reader_accept_word(r, "sequence"))
		read_drop_relations(r, e, EFFECT_VIEW);
	else
		read_drop_other(r, e);
}
