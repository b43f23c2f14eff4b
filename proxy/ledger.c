#include "ledger.h"

#include <assert.h>
#include <stdlib.h>

void ledger_init(struct ledger *l)
{
	*l = (struct ledger){0};
}

static void free_entry(struct ledger_entry *e)
{
	bytes_release(&e->text);
	bytes_release(&e->settings);
	bytes_release(&e->columns);
	free(e);
}

void ledger_drop_first(struct ledger *l)
{
	struct ledger_entry *e = l->owed;

	if (!e)
		return;
	l->owed = e->next;
	free_entry(e);
}

static void free_made(struct ledger_made *m)
{
	bytes_release(&m->role);
	free(m);
}

void ledger_drop_made(struct ledger *l)
{
	struct ledger_made *m = l->made;

	if (!m)
		return;
	l->made = m->next;
	free_made(m);
}

void ledger_release(struct ledger *l)
{
	while (l->owed)
		ledger_drop_first(l);
	while (l->made)
		ledger_drop_made(l);
	free(l->savepoints);
	ledger_init(l);
}

void ledger_move(struct ledger *l, struct ledger *from)
{
	ledger_release(l);
	*l = *from;
	ledger_init(from);
}

bool ledger_is_empty(const struct ledger *l)
{
	return !l->owed && !l->made;
}

size_t ledger_size(const struct ledger *l)
{
	size_t size = 0;

	for (const struct ledger_entry *e = l->owed; e; e = e->next)
		size += e->text.cap + e->settings.cap;
	return size;
}

static void append(struct ledger *l, struct ledger_entry *e)
{
	struct ledger_entry **at = &l->owed;

	while (*at)
		at = &(*at)->next;
	*at = e;
}

struct ledger_entry *ledger_owe(
	struct ledger *l, struct slice text, const struct statement *s, struct slice settings)
{
	struct ledger_entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	bytes_init(&e->text, text.len + 1);
	bytes_init(&e->settings, settings.len + 1);
	bytes_init(&e->columns, 64u * 1024);
	bytes_put_slice(&e->text, text);
	bytes_put_u8(&e->text, 0);
	bytes_put_slice(&e->settings, settings);
	if (bytes_failed(&e->text) || bytes_failed(&e->settings)) {
		free_entry(e);
		return NULL;
	}
	e->statement = *s;
	statement_move(&e->statement, text.data, bytes_view(&e->text).data);
	e->depth = l->n_savepoints;
	append(l, e);
	return e;
}

struct ledger_entry *ledger_find_index(const struct ledger *l, const struct sql_name *schema,
	const struct sql_name *name, struct sql_dialect dialect)
{
	struct sql_name other;

	for (struct ledger_entry *e = l->owed; e; e = e->next) {
		if (e->cancelled || e->statement.kind != STATEMENT_CREATE_INDEX ||
			!sql_name_decode(e->statement.aside.index, dialect, &other))
			continue;
		if (sql_name_equal(&other, name) && (!schema || sql_name_equal(&e->schema, schema)))
			return e;
	}
	return NULL;
}

static void forget(struct ledger_entry **at)
{
	struct ledger_entry *e = *at;

	*at = e->next;
	free_entry(e);
}

void ledger_cancel(struct ledger *l, struct ledger_entry *e)
{
	struct ledger_entry **at = &l->owed;

	if (l->n_savepoints > e->depth) {
		e->cancelled = true;
		e->cancel_depth = l->n_savepoints;
		return;
	}
	while (*at != e)
		at = &(*at)->next;
	forget(at);
}

void ledger_forget_cancelled(struct ledger *l)
{
	struct ledger_entry **at = &l->owed;

	while (*at) {
		if ((*at)->cancelled)
			forget(at);
		else
			at = &(*at)->next;
	}
}

bool ledger_note_made(struct ledger *l, uint32_t relation, uint32_t index, struct slice role,
	const struct sql_name *name)
{
	struct ledger_made *m = calloc(1, sizeof(*m));

	if (!m)
		return false;
	*m = (struct ledger_made){.next = l->made,
		.name = *name,
		.relation = relation,
		.index = index,
		.depth = l->n_savepoints};
	bytes_init(&m->role, role.len + 1);
	bytes_put_slice(&m->role, role);
	if (bytes_failed(&m->role)) {
		free_made(m);
		return false;
	}
	l->made = m;
	return true;
}

static struct ledger_made *find_made(const struct ledger *l, uint32_t index)
{
	for (struct ledger_made *m = l->made; m; m = m->next)
		if (m->index == index)
			return m;
	return NULL;
}

bool ledger_condemn(struct ledger *l, uint32_t relation, uint32_t index, struct slice role)
{
	static const struct sql_name none = {.len = 0}; /* it has lost its name */
	struct ledger_made *m = find_made(l, index);

	if (m) {
		m->undo = true;
		return true;
	}
	if (!ledger_note_made(l, relation, index, role, &none))
		return false;
	l->made->undo = l->made->leftover = true;
	return true;
}

static bool drops(const struct ledger_entry *e, const struct sql_name *name, struct sql_dialect d)
{
	struct sql_path path;

	return e->statement.kind == STATEMENT_DROP_INDEX && !e->cancelled &&
	       sql_path_decode(e->statement.aside.index, d, &path) &&
	       sql_name_equal(&path.parts[path.n_parts - 1], name);
}

bool ledger_dooms(const struct ledger *l, const struct sql_name *schema,
	const struct sql_name *name, struct sql_dialect dialect)
{
	for (const struct ledger_entry *e = l->owed; e; e = e->next)
		if (drops(e, name, dialect) && (!schema || sql_name_equal(&e->schema, schema)))
			return true;
	for (const struct ledger_made *m = l->made; m; m = m->next)
		if (m->undo && sql_name_equal(&m->name, name))
			return true;
	return false;
}

void ledger_replaced(struct ledger *l, uint32_t index)
{
	struct ledger_made *m = find_made(l, index);

	if (m && m->undo)
		m->likeness[0] = '\0';
}

bool ledger_has_condemned(const struct ledger *l, uint32_t index)
{
	const struct ledger_made *m = find_made(l, index);

	return m && m->undo;
}

static bool owes_drop(const struct ledger *l, uint32_t index)
{
	for (const struct ledger_entry *e = l->owed; e; e = e->next)
		if (e->statement.kind == STATEMENT_DROP_INDEX && e->index == index)
			return true;
	return false;
}

bool ledger_dooms_index(const struct ledger *l, uint32_t index)
{
	return owes_drop(l, index) || ledger_has_condemned(l, index);
}

bool ledger_has_room(struct ledger *l)
{
	unsigned room = l->room > 0 ? 2 * l->room : 16;
	struct sql_name *more;

	if (l->n_savepoints < l->room)
		return true;
	if (room > LEDGER_SAVEPOINTS)
		return false;
	more = realloc(l->savepoints, room * sizeof(*more));
	if (!more)
		return false;
	l->savepoints = more;
	l->room = room;
	return true;
}

void ledger_savepoint(struct ledger *l, const struct sql_name *name)
{
	assert(l->n_savepoints < l->room);
	l->savepoints[l->n_savepoints++] = *name;
}

/* How many savepoints are outside of the latest of that name; none for one that is unknown. */
static unsigned outside_of(const struct ledger *l, const struct sql_name *name, bool *known)
{
	for (unsigned i = l->n_savepoints; i > 0; i--) {
		if (sql_name_equal(&l->savepoints[i - 1], name)) {
			*known = true;
			return i - 1;
		}
	}
	*known = false;
	return 0;
}

void ledger_release_savepoint(struct ledger *l, const struct sql_name *name)
{
	bool known;
	unsigned depth = outside_of(l, name, &known);

	for (struct ledger_entry *e = l->owed; e; e = e->next) {
		e->depth = e->depth < depth ? e->depth : depth;
		e->cancel_depth = e->cancel_depth < depth ? e->cancel_depth : depth;
	}
	for (struct ledger_made *m = l->made; m; m = m->next)
		m->depth = m->depth < depth ? m->depth : depth;
	l->n_savepoints = depth;
}

void ledger_rollback_to(struct ledger *l, const struct sql_name *name)
{
	bool known;
	unsigned depth = outside_of(l, name, &known);
	struct ledger_entry **at = &l->owed;

	while (*at) {
		struct ledger_entry *e = *at;

		if (known && e->depth <= depth) {
			e->cancelled = e->cancelled && e->cancel_depth <= depth;
			at = &e->next;
			continue;
		}
		*at = e->next;
		free_entry(e);
	}
	for (struct ledger_made *m = l->made; m; m = m->next)
		m->undo |= !known || m->depth > depth;
	l->n_savepoints = known ? depth + 1 : 0;
}

static void forget_likenesses(struct ledger *l)
{
	for (struct ledger_entry *e = l->owed; e; e = e->next)
		e->likeness[0] = '\0';
	for (struct ledger_made *m = l->made; m; m = m->next)
		m->likeness[0] = '\0';
}

void ledger_committed(struct ledger *l)
{
	struct ledger_made **at = &l->made;

	ledger_forget_cancelled(l);
	if (!l->current)
		forget_likenesses(l);
	while (*at) {
		struct ledger_made *m = *at;

		if (m->undo) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		free_made(m);
	}
	l->n_savepoints = 0;
	l->untracked = l->current = false;
}

void ledger_rolled_back(struct ledger *l)
{
	while (l->owed)
		ledger_drop_first(l);
	for (struct ledger_made *m = l->made; m; m = m->next)
		m->undo = true;
	l->n_savepoints = 0;
	l->untracked = l->current = false;
}
