#include "check_walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *check_verdict_name(enum check_verdict v)
{
	switch (v) {
	case CHECK_PASSES:
		return "passes";
	case CHECK_NATIVE:
		return "native";
	case CHECK_NOW:
		return "now";
	case CHECK_INLINE:
		return "inline";
	case CHECK_AT_COMMIT:
		return "at commit";
	case CHECK_COMMIT_FIRST:
		return "commit first";
	case CHECK_IN_LEDGER:
		return "in ledger";
	case CHECK_FAILS:
		return "fails";
	case CHECK_UNREAD:
		return "unread";
	case CHECK_NOT_REACHED:
		return "not reached";
	}
	return "";
}

void check_say(struct check *c, enum check_verdict verdict, const char *format, ...)
{
	va_list args;

	c->step.verdict = verdict;
	va_start(args, format);
	vsnprintf(c->reason, sizeof(c->reason), format, args);
	va_end(args);
}

void check_note(struct check *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->note, sizeof(c->note), format, args);
	va_end(args);
}

static void set_failed(struct check *c)
{
	c->step.verdict = CHECK_FAILS;
	c->step.problem = true;
	c->skips_rest = c->own_block || c->implicit;
	if (c->now.status != 'T')
		return;
	c->now.status = 'E';
	c->now.failed_line = c->step.line;
}

void check_fail(struct check *c, const char *format, ...)
{
	char text[sizeof(c->reason)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(c->reason, text, sizeof(text));
	set_failed(c);
}

static void forget_savepoints(struct check *c, size_t from)
{
	while (c->n_savepoints > from)
		check_state_release(&c->savepoints[--c->n_savepoints].state);
}

static void begin(struct check *c)
{
	check_state_copy(&c->begun, &c->now);
	c->has_begun = true;
	check_begin(&c->now);
}

static void end(struct check *c, bool committed)
{
	bool failed = c->now.failed;

	forget_savepoints(c, 0);
	if (committed || !c->has_begun) {
		check_commit(&c->now);
		check_state_release(&c->begun);
	} else {
		check_state_release(&c->now);
		c->now = c->begun;
		c->begun = (struct check_state){0};
	}
	c->now.failed = failed;
	c->now.status = 'I';
	c->has_begun = false;
}

void check_end_block(struct check *c)
{
	end(c, true);
}

static void control_commit(struct check *c, bool chain)
{
	unsigned owes = c->now.owes;
	enum statement_isolation isolation = c->now.isolation;

	if (c->now.status == 'I') {
		check_say(c, CHECK_PASSES, "no transaction is open: PostgreSQL warns");
		return;
	}
	if (c->now.status == 'E')
		check_say(c, CHECK_PASSES,
			"the transaction has failed (line %u): it is rolled back",
			c->now.failed_line);
	else if (owes > 0)
		check_say(c, CHECK_PASSES, "then %u statement%s run%s, before it is answered", owes,
			owes == 1 ? "" : "s", owes == 1 ? "s" : "");
	end(c, c->now.status == 'T');
	if (!chain)
		return;
	begin(c);
	c->now.isolation = isolation;
}

static void control_rollback(struct check *c, bool chain)
{
	if (c->now.status == 'I') {
		check_say(c, CHECK_PASSES, "no transaction is open: PostgreSQL warns");
		return;
	}
	if (c->now.owes > 0)
		check_say(c, CHECK_PASSES, "what was to run at COMMIT is forgotten");
	end(c, false);
	if (chain)
		begin(c);
}

static void control_begin(struct check *c, const struct statement_control *d)
{
	if (c->now.status == 'I')
		begin(c);
	else
		check_say(c, CHECK_PASSES, "there is a transaction already: PostgreSQL warns");
	if (d->isolation != STATEMENT_ISOLATION_UNSAID)
		c->now.isolation = d->isolation;
	if (d->access != STATEMENT_ACCESS_UNSAID)
		c->now.read_only = d->access == STATEMENT_ACCESS_READ_ONLY;
}

static void set_savepoint(struct check *c, struct slice name)
{
	struct check_savepoint *s;

	if (c->now.status != 'T')
		return;
	if (c->n_savepoints == CHECK_SAVEPOINTS) {
		c->now.failed = true;
		return;
	}
	s = &c->savepoints[c->n_savepoints++];
	if (!sql_name_decode(name, c->dialect, &s->name))
		s->name.len = 0;
	check_state_copy(&s->state, &c->now);
}

/* The number of the innermost savepoint of that name; n_savepoints when there is none. */
static size_t find_savepoint(const struct check *c, struct slice name)
{
	struct sql_name wanted;

	if (!sql_name_decode(name, c->dialect, &wanted))
		return c->n_savepoints;
	for (size_t i = c->n_savepoints; i-- > 0;)
		if (sql_name_equal(&c->savepoints[i].name, &wanted))
			return i;
	return c->n_savepoints;
}

static void go_back_to(struct check *c, struct slice name)
{
	size_t at = find_savepoint(c, name);
	bool failed = c->now.failed;

	if (at == c->n_savepoints || c->now.status == 'I')
		return;
	forget_savepoints(c, at + 1);
	check_state_release(&c->now);
	check_state_copy(&c->now, &c->savepoints[at].state);
	c->now.failed = c->now.failed || failed;
}

static bool is_ended(struct check *c)
{
	if (c->now.status != 'E')
		return false;
	check_say(c, CHECK_NOT_REACHED, "the transaction has failed (line %u)", c->now.failed_line);
	return true;
}

static void control(struct check *c, const struct statement *st)
{
	switch (st->kind) {
	case STATEMENT_BEGIN:
		if (!is_ended(c))
			control_begin(c, &st->control);
		break;
	case STATEMENT_COMMIT:
		control_commit(c, st->control.chain);
		break;
	case STATEMENT_ROLLBACK:
		control_rollback(c, st->control.chain);
		break;
	case STATEMENT_SAVEPOINT:
		if (!is_ended(c))
			set_savepoint(c, st->control.savepoint);
		break;
	case STATEMENT_RELEASE:
		if (!is_ended(c) && find_savepoint(c, st->control.savepoint) < c->n_savepoints)
			forget_savepoints(c, find_savepoint(c, st->control.savepoint));
		break;
	case STATEMENT_ROLLBACK_TO:
		go_back_to(c, st->control.savepoint);
		break;
	case STATEMENT_PREPARE_TRANSACTION:
		if (c->now.status == 'T' && c->now.owes > 0)
			check_fail(c, "PREPARE TRANSACTION is refused while a statement is owed");
		else
			control_commit(c, false);
		break;
	default: /* COMMIT PREPARED, ROLLBACK PREPARED */
		if (c->now.status == 'T' || c->implicit)
			check_fail(c,
				"PostgreSQL refuses it in a transaction, and pgaside does not "
				"move it");
		break;
	}
}

/* DROP INDEX of an index that is only owed, and nothing else. */
static bool drops_owed(struct check *c, const struct statement_effect *e)
{
	struct check_relation *r;

	if (e->touched != EFFECT_INDEX || e->n_touches != 1 || !e->touches[0].drops)
		return false;
	r = check_find(&c->now, e->touches[0].name, c->dialect);
	if (!r || r->marks[MARK_OWED] == 0)
		return false;
	check_say(c, CHECK_IN_LEDGER, "the index is only owed (line %u)", r->marks[MARK_OWED]);
	r->dropped = true;
	c->now.owes -= c->now.owes > 0;
	return true;
}

/* An index that is only owed is not there yet. */
static bool uses_owed(struct check *c, const struct statement *st, const struct statement_effect *e)
{
	for (size_t i = 0; c->now.owes > 0 && i < c->now.n_relations; i++) {
		const struct check_relation *r = &c->now.relations[i];
		const struct check_relation *table = check_table_of(&c->now, r);

		if (r->marks[MARK_OWED] == 0 || r->dropped)
			continue;
		if (statement_names_index(st->text, c->dialect, &r->name)) {
			check_fail(c,
				"it uses the index %s, which comes after COMMIT only (line %u)",
				r->name.text, r->marks[MARK_OWED]);
			return true;
		}
		if (e->on_conflict && r->unique && table && e->n_touches > 0 &&
			check_find(&c->now, e->touches[0].name, c->dialect) == table) {
			check_fail(c,
				"ON CONFLICT needs the unique index %s, which comes after COMMIT "
				"only "
				"(line %u)",
				r->name.text, r->marks[MARK_OWED]);
			check_note(c, "unless another unique index or constraint serves it");
			return true;
		}
	}
	return false;
}

static const char *refused_in_block(
	struct check *c, const struct statement_effect *e, const struct statement *st)
{
	const struct check_relation *r;

	if (e->refused || e->n_touches != 1 || st->text.len < 7)
		return e->refused;
	r = check_find(&c->now, e->touches[0].name, c->dialect);
	if (r && e->touched == EFFECT_INDEX)
		r = check_table_of(&c->now, r);
	if (!r || r->thing != EFFECT_PARTITIONED)
		return NULL;
	if (strncasecmp((const char *)st->text.data, "reindex", 7) == 0)
		return "REINDEX of a partitioned table";
	if (strncasecmp((const char *)st->text.data, "cluster", 7) == 0)
		return "CLUSTER of a partitioned table";
	return NULL;
}

static void hidden(struct check *c)
{
	check_say(c, CHECK_UNREAD,
		"a string holds a statement that is CONCURRENTLY, which pgaside does not see: "
		"PostgreSQL refuses it inside of a function or a DO block");
	c->step.problem = true;
}

static void ordinary(struct check *c, const struct statement *st)
{
	struct statement_effect e;
	const char *refused;

	statement_effect_read(st, c->dialect, &e);
	refused = c->now.status == 'T' || c->implicit ? refused_in_block(c, &e, st) : NULL;
	if (refused) {
		check_fail(c,
			"PostgreSQL refuses %s in a transaction, and pgaside does not move it",
			refused);
		return;
	}
	if (drops_owed(c, &e) || uses_owed(c, st, &e))
		return;
	if (e.hides)
		hidden(c);
	else if (e.keeps)
		check_note(c,
			"the function has a statement that is CONCURRENTLY: PostgreSQL refuses "
			"it when it is called");
	check_apply(&c->now, &e, st->text, c->dialect, c->step.line);
}

static void step(struct check *c, const struct statement *st)
{
	c->reason[0] = c->note[0] = '\0';
	c->step.statement = st;
	c->step.text = st->text;
	c->step.verdict = CHECK_PASSES;
	c->step.problem = false;
	if (c->skips_rest) {
		check_say(c, CHECK_NOT_REACHED, "the Query has failed before");
	} else if (statement_is_control(st)) {
		control(c, st);
	} else if (!is_ended(c)) {
		if (!statement_is_aside(st) && c->own_block && c->now.status == 'I')
			begin(c);
		if (statement_is_aside(st))
			check_place(c, st);
		else
			ordinary(c, st);
	}
}

/* One file. */
struct walk {
	struct check *check;
	struct slice text;
	size_t from; /* where the iterator began */
	struct statement_iterator pieces;
	size_t counted; /* up to here lines are counted */
	unsigned line;
	check_step_fn fn;
	void *arg;
};

static void count_lines(struct walk *w, size_t to)
{
	for (; w->counted < to; w->counted++)
		w->line += w->text.data[w->counted] == '\n';
}

static void start_at(struct walk *w, size_t at)
{
	w->from = at;
	statement_iterator_init(
		&w->pieces, slice_of(w->text.data + at, w->text.len - at), w->check->dialect);
}

static void tell(struct walk *w)
{
	w->check->step.reason = w->check->reason;
	w->check->step.note = w->check->note;
	w->fn(w->arg, &w->check->step);
}

static size_t end_of_line(const struct walk *w, size_t at)
{
	const uint8_t *end = memchr(w->text.data + at, '\n', w->text.len - at);

	return end ? (size_t)(end - w->text.data) : w->text.len;
}

/* A line that begins with a backslash is psql's. What stands behind it is read on its own. */
static void skip_psql(struct walk *w, struct statement *st)
{
	struct check *c = w->check;
	size_t at = w->from + st->offset;
	size_t end = end_of_line(w, at);

	c->reason[0] = c->note[0] = '\0';
	st->text = slice_of(w->text.data + at, end - at);
	st->kind = STATEMENT_OTHER;
	c->step.statement = st;
	c->step.text = st->text;
	c->step.problem = false;
	check_say(c, CHECK_UNREAD, "a command of psql, and no SQL");
	start_at(w, end);
}

/* The rows that follow COPY FROM STDIN in a file of psql, up to the line that ends them. */
static void skip_rows(struct walk *w, const struct statement *st)
{
	static const char last[] = "\n\\.";
	size_t at = w->from + st->end;
	const uint8_t *rows = memmem(w->text.data + at, w->text.len - at, last, strlen(last));

	if (rows)
		start_at(w, end_of_line(w, (size_t)(rows - w->text.data) + 1));
}

static bool copies_in(const struct check *c, const struct statement *st)
{
	struct statement_effect e;

	statement_effect_read(st, c->dialect, &e);
	return e.copies_in;
}

static void unread(struct check *c)
{
	check_say(c, CHECK_UNREAD,
		"from here on it cannot be told where statements end: an open quote, comment or "
		"parenthesis, or bytes that are no text");
	c->step.problem = true;
}

static void walk_piece(struct walk *w, struct statement *st)
{
	struct check *c = w->check;

	count_lines(w, w->from + st->offset);
	c->step.line = w->line;
	if (st->text.data[0] == '\\') {
		skip_psql(w, st);
	} else if (w->pieces.unsure) {
		c->step.statement = st;
		c->step.text = st->text;
		c->note[0] = '\0';
		unread(c);
	} else {
		step(c, st);
		if (c->as != CHECK_AS_QUERY && copies_in(c, st))
			skip_rows(w, st);
	}
	tell(w);
}

/* The COMMIT that the tool, or pgaside, sends at the end. */
static void walk_end(struct walk *w)
{
	static const struct statement none = {.kind = STATEMENT_COMMIT};
	struct check *c = w->check;

	c->reason[0] = c->note[0] = '\0';
	count_lines(w, w->text.len);
	c->step = (struct check_step){.statement = &none, .line = w->line};
	control_commit(c, false);
	if (c->reason[0])
		tell(w);
}

static const char *inseparable(const struct check *c, struct slice text)
{
	struct statement_iterator it;
	struct statement st;

	statement_iterator_init(&it, text, c->dialect);
	while (statement_next(&it, &st))
		if (copies_in(c, &st))
			return "COPY FROM STDIN is in the same Query";
	if (statement_rereads(text, c->dialect))
		return "the same Query sets how strings in it are read";
	return NULL;
}

/* How the whole Query is taken. */
static void look_at_query(struct check *c, struct slice text)
{
	struct statement_summary sum = statement_summarise(text, c->dialect);
	bool lone = sum.n_pieces == 1;
	bool aside =
		sum.n_asides > 0 && c->config->aside && text.len <= c->config->max_statement_size;

	c->query_len = text.len;
	c->inseparable = lone ? NULL : inseparable(c, text);
	aside = aside && !c->inseparable;
	c->own_block = !lone && aside && sum.n_controls == 0;
	c->implicit = !lone && !aside;
}

struct check *check_new(enum check_as as, bool together, const struct config *config)
{
	struct check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->as = as;
	c->together = together;
	c->config = config;
	check_state_init(&c->now);
	return c;
}

/* From here on the file takes its migration back, which is another matter. */
static void tell_down(struct walk *w, struct slice rest)
{
	static const struct statement none = {.kind = STATEMENT_OTHER};
	struct check *c = w->check;

	count_lines(w, (size_t)(rest.data - w->text.data));
	c->note[0] = '\0';
	c->step = (struct check_step){.statement = &none, .text = rest, .line = w->line};
	check_say(c, CHECK_UNREAD, "from here on the file takes the migration back: not read");
	tell(w);
}

bool check_text(struct check *c, struct slice all, check_step_fn fn, void *arg)
{
	struct slice text = slice_of(all.data, check_up_length(all));
	struct walk w = {.check = c, .text = text, .line = 1, .fn = fn, .arg = arg};
	struct statement st;
	bool opens = c->as == CHECK_AS_TRANSACTION && c->now.status == 'I' &&
		     !check_has_no_transaction(all);

	c->skips_rest = false;
	if (c->as == CHECK_AS_QUERY)
		look_at_query(c, text);
	if (opens)
		begin(c);
	start_at(&w, 0);
	while (!c->now.failed && statement_next(&w.pieces, &st))
		if (st.kind != STATEMENT_EMPTY)
			walk_piece(&w, &st);
	if (c->own_block ? c->now.status != 'I' : opens && !c->together && c->now.status != 'I')
		walk_end(&w);
	if (text.len < all.len)
		tell_down(&w, slice_of(all.data + text.len, all.len - text.len));
	return !c->now.failed;
}

void check_free(struct check *c)
{
	if (!c)
		return;
	forget_savepoints(c, 0);
	check_state_release(&c->now);
	check_state_release(&c->begun);
	free(c);
}
