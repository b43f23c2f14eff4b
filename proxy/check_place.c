/*
 * check_place.c - where an aside statement would run.
 *
 * The facts for placement_decide() in the order in which the gate and the aside look for them:
 * what is refused in any case, names, visibility, obstacles.
 */
#include <stdio.h>

#include "check_walk.h"

/* What the statement is about, as far as the file tells. */
struct subject {
	struct check_relation *table; /* NULL = not known: an index of some table */
	struct check_relation *index; /* named by it, or of the name it wants; NULL = not known */
	unsigned line;		      /* of the obstacle; 0 = none to name */
};

static const char *name_of(const struct check_relation *r)
{
	return r->name.text;
}

static bool names_an_index(const struct statement *st)
{
	return st->kind == STATEMENT_DROP_INDEX ||
	       (st->kind == STATEMENT_REINDEX && st->aside.target == STATEMENT_TARGET_INDEX);
}

/* The index that a CREATE INDEX would make is in the schema of its table. */
static struct check_relation *find_wanted(
	struct check *c, const struct statement *st, const struct check_relation *table)
{
	struct sql_name name;

	if (st->aside.index.len == 0 || !sql_name_decode(st->aside.index, c->dialect, &name))
		return NULL;
	for (size_t i = c->now.n_relations; i-- > 0;) {
		struct check_relation *r = &c->now.relations[i];

		if (!r->dropped && r->thing != EFFECT_OBJECT && sql_name_equal(&r->name, &name) &&
			sql_name_equal(&r->schema, &table->schema))
			return r;
	}
	return NULL;
}

static struct subject find_subject(struct check *c, const struct statement *st)
{
	struct subject s = {.table = NULL};

	if (names_an_index(st)) {
		s.index = check_find(&c->now, st->aside.index, c->dialect);
		s.table = s.index ? check_table_of(&c->now, s.index) : NULL;
	} else if (st->aside.table.len > 0) {
		s.table = check_find_or_add(&c->now, st->aside.table, c->dialect,
			st->kind == STATEMENT_DETACH_PARTITION ? EFFECT_PARTITIONED : EFFECT_TABLE);
		if (s.table && st->kind == STATEMENT_CREATE_INDEX)
			s.index = find_wanted(c, st, s.table);
	}
	return s;
}

static bool in_block(const struct check *c)
{
	return c->now.status == 'T' || c->implicit;
}

/* What PostgreSQL refuses wherever it stands, and with CONCURRENTLY only. */
static bool is_refused(struct check *c, const struct statement *st, const struct subject *s)
{
	const struct statement_aside *d = &st->aside;
	bool partitioned = s->table && s->table->thing == EFFECT_PARTITIONED;

	if (st->kind == STATEMENT_CREATE_INDEX && partitioned)
		check_fail(c,
			"PostgreSQL makes no index CONCURRENTLY on a partitioned table, which %s "
			"is: make it "
			"on each partition, then a plain one ON ONLY the table, and attach",
			name_of(s->table));
	else if (st->kind == STATEMENT_CREATE_INDEX && s->table && s->table->thing == EFFECT_VIEW)
		check_fail(c, "%s is no table", name_of(s->table));
	else if (st->kind == STATEMENT_DROP_INDEX && d->n_names > 1)
		check_fail(c, "PostgreSQL drops one index CONCURRENTLY at a time");
	else if (st->kind == STATEMENT_DROP_INDEX && d->cascade)
		check_fail(c, "DROP INDEX CONCURRENTLY does not support CASCADE");
	else if (st->kind == STATEMENT_DROP_INDEX && partitioned)
		check_fail(c,
			"PostgreSQL does not drop the index of a partitioned table "
			"CONCURRENTLY, and %s is one",
			name_of(s->table));
	else
		return false;
	return true;
}

static bool is_refused_in_block(
	struct check *c, const struct statement *st, const struct subject *s)
{
	if (!c->config->aside)
		check_fail(c, "aside = off: PostgreSQL refuses it in a transaction");
	else if (st->kind == STATEMENT_REINDEX && st->aside.table.len == 0 &&
		 st->aside.index.len == 0)
		check_fail(c, "pgaside does not move a REINDEX of a whole schema or database, "
			      "which PostgreSQL refuses in a transaction");
	else if (st->kind == STATEMENT_REINDEX && s->table && s->table->thing == EFFECT_PARTITIONED)
		check_fail(c, "pgaside does not move a REINDEX of a partitioned table, which "
			      "PostgreSQL refuses in a transaction");
	else if (c->now.read_only && st->kind != STATEMENT_REINDEX)
		check_fail(c, "the transaction is READ ONLY");
	else
		return false;
	return true;
}

/* REINDEX waits for everybody who has used the table, were it only to read. */
static unsigned line_of_use(struct check *c, const struct check_relation *r)
{
	for (size_t i = 0; r && i < c->now.n_texts; i++)
		if (statement_mentions(c->now.texts[i].text, c->dialect, &r->name))
			return c->now.texts[i].line;
	return 0;
}

static unsigned first_of(unsigned a, unsigned b)
{
	return a == 0 || (b > 0 && b < a) ? b : a;
}

static unsigned line_of_lock(struct check *c, const struct statement *st, const struct subject *s)
{
	const struct check_relation *t = s->table;
	unsigned line = c->now.all_line;

	if (st->kind != STATEMENT_CREATE_INDEX || !t)
		return first_of(line, first_of(line_of_use(c, t), line_of_use(c, s->index)));
	line = first_of(line, t->marks[MARK_WRITTEN]);
	line = first_of(line, t->marks[MARK_DEFINITION]);
	return first_of(line, t->marks[MARK_STRONG]);
}

/* Of relations that others can see; an index stands for a table that is not known. */
static unsigned line_of_strong_lock(const struct check *c)
{
	unsigned line = 0;

	for (size_t i = 0; i < c->now.n_relations; i++)
		line = first_of(line, c->now.relations[i].marks[MARK_STRONG]);
	return line;
}

/* What the text names and this transaction has made is not there for others. */
static unsigned line_of_new_object(struct check *c, const struct statement *st)
{
	for (size_t i = 0; i < c->now.n_relations; i++) {
		const struct check_relation *r = &c->now.relations[i];

		if (r->thing == EFFECT_OBJECT && r->marks[MARK_MADE] > 0 &&
			statement_mentions(st->text, c->dialect, &r->name))
			return r->marks[MARK_MADE];
	}
	return 0;
}

static enum placement_obstacle find_obstacle(
	struct check *c, const struct statement *st, struct subject *s)
{
	bool creates = st->kind == STATEMENT_CREATE_INDEX;
	bool builds = creates || st->kind == STATEMENT_REINDEX;

	if (s->table && (s->line = s->table->marks[MARK_RENAMED]))
		return OBSTACLE_NAME;
	if (s->index && creates && (s->line = s->index->marks[MARK_MADE]))
		return OBSTACLE_NAME;
	if ((s->line = line_of_lock(c, st, s)))
		return OBSTACLE_LOCK;
	if (builds && (s->line = first_of(c->now.cursor_line, c->now.snapshot_line)))
		return OBSTACLE_SNAPSHOT;
	if ((s->line = line_of_strong_lock(c)))
		return OBSTACLE_STRONG_LOCK;
	if (creates && (s->line = first_of(c->now.object_line, line_of_new_object(c, st))))
		return OBSTACLE_OBJECT;
	return OBSTACLE_NONE;
}

static struct placement_facts find_facts(
	struct check *c, const struct statement *st, struct subject *s)
{
	enum statement_isolation isolation = c->now.isolation;
	struct placement_facts f = {
		.status = c->now.status,
		.guard = c->own_block || c->config->native == NATIVE_GUARD,
		.read_only = c->now.read_only && st->kind != STATEMENT_REINDEX,
		.read_committed = isolation == STATEMENT_ISOLATION_UNSAID ||
				  isolation == STATEMENT_ISOLATION_READ_COMMITTED,
		.visible = !s->table || !check_is_own(s->table),
		.exists = true,
		.destroys =
			st->kind == STATEMENT_DROP_INDEX || st->kind == STATEMENT_DETACH_PARTITION,
		.owes = c->now.owes > 0,
		.redefines =
			c->now.calls_line > 0 && (st->kind == STATEMENT_REINDEX || st->aside.calls),
	};

	if (placement_policy(&f) == OBSTACLE_OBJECT)
		s->line = c->now.calls_line;
	if (f.status == 'T' && f.visible && placement_policy(&f) == OBSTACLE_NONE)
		f.obstacle = find_obstacle(c, st, s);
	return f;
}

static void owe(struct check *c, const struct statement *st, struct subject *s)
{
	struct check_relation *index = s->index;

	c->now.owes++;
	if (st->kind == STATEMENT_CREATE_INDEX && s->table)
		index = check_add_index(&c->now, st->aside.index, c->dialect, s->table);
	if (!index)
		return;
	index->unique = st->aside.unique;
	if (st->kind == STATEMENT_CREATE_INDEX)
		index->marks[MARK_OWED] = c->step.line;
	else if (st->kind == STATEMENT_DROP_INDEX)
		index->marks[MARK_OWED_DROP] = c->step.line;
}

/* It has run, on whatever connection. */
static void done(struct check *c, const struct statement *st, struct subject *s, bool new)
{
	struct check_relation *index;

	if (st->kind == STATEMENT_CREATE_INDEX && s->table) {
		index = check_add_index(&c->now, st->aside.index, c->dialect, s->table);
		if (index && new)
			index->marks[MARK_MADE] = c->step.line;
	} else if (st->kind == STATEMENT_DROP_INDEX && s->index) {
		s->index->dropped = true;
	}
}

static void say_why(
	struct check *c, enum check_verdict verdict, const struct placement_facts *f, unsigned line)
{
	enum placement_obstacle o =
		f->obstacle != OBSTACLE_NONE ? f->obstacle : placement_policy(f);
	char where[32] = "";

	if (line > 0)
		snprintf(where, sizeof(where), " (line %u)", line);
	check_say(c, verdict, "the transaction %s%s", placement_obstacle_text(o), where);
}

static void place_inline(
	struct check *c, const struct statement *st, struct subject *s, const char *why)
{
	if (s->table && s->table->thing == EFFECT_PARTITIONED) {
		check_fail(c, "it cannot run CONCURRENTLY on the partitioned table %s",
			name_of(s->table));
		return;
	}
	check_say(c, CHECK_INLINE, "%s", why);
	if (s->table && s->table->perhaps)
		check_note(c,
			"%s was made with IF NOT EXISTS: if it was there already, this is as for "
			"any "
			"other table",
			name_of(s->table));
	done(c, st, s, true);
}

/* The transaction is in the way. */
static void place_in_conflict(struct check *c, const struct statement *st, struct subject *s,
	const struct placement_facts *f)
{
	if (c->own_block) {
		say_why(c, CHECK_COMMIT_FIRST, f, s->line);
		check_end_block(c);
		*s = find_subject(c, st);
		done(c, st, s, false);
		return;
	}
	switch (c->config->conflict) {
	case CONFLICT_AT_COMMIT:
		say_why(c, CHECK_AT_COMMIT, f, s->line);
		owe(c, st, s);
		break;
	case CONFLICT_INLINE:
		place_inline(c, st, s, "conflict = inline: it locks others out meanwhile");
		break;
	case CONFLICT_ERROR:
		say_why(c, CHECK_FAILS, f, s->line);
		check_fail(c, "conflict = error, and %s", c->reason);
		break;
	}
}

static void say_unknown(struct check *c, const struct statement *st, const struct subject *s)
{
	if (st->kind == STATEMENT_DROP_INDEX && !s->index)
		check_note(c, "if the index is INVALID, nothing is lost with it: then it goes now");
	else if (names_an_index(st) && !s->index)
		check_note(c, "of which table the index is, and what was done to that, only the "
			      "server knows");
	else if (c->now.code_line > 0)
		check_note(
			c, "what the code on line %u has done is not seen here", c->now.code_line);
}

/* The name is taken: 42P07, unless that is an INVALID leftover. */
static bool is_taken(struct check *c, const struct statement *st, const struct subject *s)
{
	if (st->kind != STATEMENT_CREATE_INDEX || !s->index || st->aside.if_not_exists ||
		s->index->marks[MARK_OWED_DROP] > 0)
		return false;
	check_fail(c, "there is a relation %s already", name_of(s->index));
	return true;
}

static void place(struct check *c, const struct statement *st, struct subject *s)
{
	struct placement_facts f = find_facts(c, st, s);

	switch (placement_decide(&f)) {
	case PLACEMENT_NATIVE:
		check_say(c, CHECK_NATIVE, "no transaction is open");
		done(c, st, s, false);
		break;
	case PLACEMENT_NOW:
		check_say(c, CHECK_NOW, "%s",
			f.status == 'T' ? "the transaction is in nobody's way"
					: "no transaction is open");
		say_unknown(c, st, s);
		done(c, st, s, false);
		break;
	case PLACEMENT_INLINE:
		place_inline(c, st, s,
			s->table && s->table->temporary
				? "the table is a temporary one"
				: "only this transaction can see the table");
		break;
	case PLACEMENT_AT_COMMIT:
		place_in_conflict(c, st, s, &f);
		if (c->step.verdict == CHECK_AT_COMMIT)
			say_unknown(c, st, s);
		break;
	case PLACEMENT_REFUSE:
		check_fail(c, "PostgreSQL refuses it in this transaction");
		break;
	}
}

/* To the client an owed index exists: dropping it takes it out of the ledger, a REINDEX is done by
 * building it. */
static bool settle_owed(struct check *c, const struct statement *st, struct subject *s)
{
	if (!names_an_index(st) || !s->index || s->index->marks[MARK_OWED] == 0 ||
		st->aside.n_names > 1)
		return false;
	check_say(
		c, CHECK_IN_LEDGER, "the index is only owed (line %u)", s->index->marks[MARK_OWED]);
	if (st->kind == STATEMENT_DROP_INDEX) {
		s->index->dropped = true;
		c->now.owes -= c->now.owes > 0;
	}
	return true;
}

/* What it names is there no more. */
static bool is_gone(struct check *c, const struct statement *st)
{
	struct slice name = names_an_index(st) ? st->aside.index : st->aside.table;

	if (!check_is_gone(&c->now, name, c->dialect))
		return false;
	if (st->aside.if_exists)
		check_say(c, CHECK_NOW, "what it names is gone: a NOTICE, and nothing to do");
	else
		check_fail(c, "what it names was dropped or renamed before");
	return true;
}

void check_place(struct check *c, const struct statement *st)
{
	struct subject s;

	if (is_gone(c, st))
		return;
	s = find_subject(c, st);
	if (c->inseparable) {
		check_fail(c,
			"%s: pgaside leaves all of it to PostgreSQL, which refuses this statement",
			c->inseparable);
		return;
	}
	if (!s.table && !names_an_index(st) && st->aside.table.len > 0) {
		check_say(c, CHECK_UNREAD, "the table's name cannot be read");
		c->step.problem = true;
		return;
	}
	if ((c->query_len > 0 ? c->query_len : c->step.text.len) > c->config->max_statement_size) {
		check_fail(c, "it is longer than max_statement_size: pgaside does not read it");
		return;
	}
	if (in_block(c) && settle_owed(c, st, &s))
		return;
	if (in_block(c) ? is_refused_in_block(c, st, &s)
			: c->now.next_read_only && st->kind != STATEMENT_REINDEX) {
		if (!in_block(c))
			check_fail(c, "transactions are READ ONLY by default");
		return;
	}
	if (!is_refused(c, st, &s) && !is_taken(c, st, &s))
		place(c, st, &s);
}
